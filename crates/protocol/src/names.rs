//! What names may be.

use crate::ErrorCode;
use crate::limits::{Limits, over};

/// A room's name: not empty, at most `message.max_name` bytes, no control characters, no white space, nothing that turns
/// the direction of the text around it.
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

/// What the names of the server's own events begin with. No client sends one.
pub const OWN_EVENTS: &str = "roomcast.";

/// A nickname: at least one character that can be seen, at most `message.max_nickname` bytes, no control characters, nothing
/// that turns the direction of the text around it; white space only inside.
///
/// # Errors
/// [`ErrorCode::InvalidName`].
pub fn validate_nickname(name: &str, limits: &Limits) -> Result<(), ErrorCode> {
    validate(name, limits.max_nickname, White::Inside)?;
    if name.chars().all(is_invisible) {
        return Err(ErrorCode::InvalidName);
    }
    Ok(())
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
                .any(|c| is_unsafe(c) || c.is_whitespace() && white == White::No)
                && name.trim().len() == name.len()
        };
    if good {
        Ok(())
    } else {
        Err(ErrorCode::InvalidName)
    }
}

/// Control characters, and the explicit bidirectional formatting of UAX #9 section 2: one of these in a name changes the
/// order in which the text after it is shown, so that a name can look like another one.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// White space, what Unicode 16 calls `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt), and the braille pattern
/// without dots: nothing is seen of them.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fff8}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
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
            "a\u{202e}b",
            "a\u{2066}b",
            &long,
        ] {
            assert_eq!(
                validate_room(bad, &limits),
                Err(ErrorCode::InvalidName),
                "{bad:?}"
            );
        }
        assert_eq!(validate_nickname("Ada von Lovelace", &limits), Ok(()));
        // Right-to-left names and joined emoji need marks that can't be seen.
        for good in ["עדה\u{200f}", "👩\u{200d}🚀", "Ada\u{fe0f}"] {
            assert_eq!(validate_nickname(good, &limits), Ok(()), "{good:?}");
        }
        let unseen = ["\u{200b}", "\u{3164}", "\u{2800}\u{2800}", "\u{ad}\u{feff}"];
        let turned = ["\u{202e}adA", "A\u{202a}da", "\u{2067}Ada"];
        let spaced = [" Ada", "Ada ", "A\tda", "", " "];
        for bad in spaced.into_iter().chain(unseen).chain(turned) {
            assert_eq!(
                validate_nickname(bad, &limits),
                Err(ErrorCode::InvalidName),
                "{bad:?}"
            );
        }
        assert_eq!(validate_room(&long, &Limits::OFF), Ok(()));
    }
}
