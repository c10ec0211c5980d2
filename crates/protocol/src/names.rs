//! What names may be.

use crate::ErrorCode;
use crate::limits::{Limits, over};

/// A room's name: not empty, at most `message.max_name` bytes, no control characters, no white space.
///
/// # Errors
/// [`ErrorCode::InvalidName`].
pub fn validate_room(name: &str, limits: &Limits) -> Result<(), ErrorCode> {
    validate(name, limits.max_name, White::No)
}

/// An event's name, and the `action` of a `game_action`: as a room's, at most `message.max_event_name` bytes.
///
/// # Errors
/// [`ErrorCode::InvalidName`].
pub fn validate_event(name: &str, limits: &Limits) -> Result<(), ErrorCode> {
    validate(name, limits.max_event_name, White::No)
}

/// A nickname: not empty, at most `message.max_nickname` bytes, no control characters; white space only inside.
///
/// # Errors
/// [`ErrorCode::InvalidName`].
pub fn validate_nickname(name: &str, limits: &Limits) -> Result<(), ErrorCode> {
    validate(name, limits.max_nickname, White::Inside)
}

/// A client's or user's id: as a room's, at most `message.max_id` bytes.
///
/// # Errors
/// [`ErrorCode::InvalidName`].
pub fn validate_id(id: &str, limits: &Limits) -> Result<(), ErrorCode> {
    validate(id, limits.max_id, White::No)
}

#[derive(Clone, Copy, PartialEq)]
enum White {
    No,
    Inside,
}

fn validate(name: &str, max: usize, white: White) -> Result<(), ErrorCode> {
    let good = !name.is_empty()
        && !over(name.len(), max)
        && if name.bytes().all(|byte| byte.is_ascii_graphic()) {
            true
        } else {
            !name
                .chars()
                .any(|c| c.is_control() || c.is_whitespace() && white == White::No)
                && name.trim().len() == name.len()
        };
    if good {
        Ok(())
    } else {
        Err(ErrorCode::InvalidName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let limits = Limits::default();
        for good in ["room-123", "arena:42", "a", "部屋", "é🎮", &"x".repeat(128)] {
            assert_eq!(validate_room(good, &limits), Ok(()), "{good}");
        }
        let long = "x".repeat(129);
        for bad in [
            "",
            " ",
            "a b",
            "a\0",
            "a\nb",
            "a\u{85}",
            "a\u{2028}",
            "a\u{a0}b",
            "\u{7f}",
            &long,
        ] {
            assert_eq!(
                validate_room(bad, &limits),
                Err(ErrorCode::InvalidName),
                "{bad:?}"
            );
        }
        assert_eq!(validate_nickname("Ada von Lovelace", &limits), Ok(()));
        for bad in [" Ada", "Ada ", "A\tda", "", " "] {
            assert_eq!(
                validate_nickname(bad, &limits),
                Err(ErrorCode::InvalidName),
                "{bad:?}"
            );
        }
        assert_eq!(validate_room(&long, &Limits::OFF), Ok(()));
    }
}
