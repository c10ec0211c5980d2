//! Presence: keys that a player sets on its own entry in a room's list of members.

use std::borrow::Cow;

use crate::error::{ErrorCode, Fault};
use crate::json::{self, Scanner};
use crate::limits::{Limits, over};
use crate::read::Value;

/// What a player changes in its own entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresenceUpdate<'a> {
    /// Each key once, with the JSON text of its value; `None` removes the key.
    pub keys: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
    /// The nickname from now on; `None`: as before. What joins has its nickname elsewhere.
    pub nickname: Option<Cow<'a, str>>,
}

impl PresenceUpdate<'_> {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.nickname.is_none()
    }
}

/// The presence after an update: the text of a JSON object with sorted keys, or `""` when no key is left.
///
/// `current` is such a text. The limits that count are `max_presence` and `max_presence_keys`.
///
/// ```
/// use roomcast_protocol::{Limits, PresenceUpdate, presence};
///
/// let update = PresenceUpdate {
///     keys: vec![("status".into(), Some("\"away\"".into())), ("typing".into(), None)],
///     nickname: None,
/// };
/// let merged = presence::merge(r#"{"level":3,"typing":true}"#, &update, &Limits::default());
/// assert_eq!(merged.unwrap(), r#"{"level":3,"status":"away"}"#);
/// ```
///
/// # Errors
/// [`ErrorCode::PresenceTooLarge`]; [`ErrorCode::InvalidJson`] when `current` is not such a text.
pub fn merge(
    current: &str,
    update: &PresenceUpdate<'_>,
    limits: &Limits,
) -> Result<String, ErrorCode> {
    let mut keys: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    if !current.is_empty() {
        let read = Scanner::again(current).object(|key, value| {
            keys.push((json::read_str(key)?, Cow::Borrowed(value)));
            Ok(())
        });
        read.map_err(|_| ErrorCode::InvalidJson)?;
    }
    for (key, value) in &update.keys {
        let place = keys.iter().position(|(known, _)| known == key);
        match (place, value) {
            (Some(place), None) => {
                keys.swap_remove(place);
            }
            (Some(place), Some(value)) => keys[place].1 = Cow::Borrowed(value),
            (None, Some(value)) => keys.push((Cow::Borrowed(key), Cow::Borrowed(value))),
            (None, None) => {}
        }
    }
    if keys.is_empty() {
        return Ok(String::new());
    }
    keys.sort();
    let mut out = Vec::with_capacity(current.len() + 64);
    for (key, value) in &keys {
        out.push(if out.is_empty() { b'{' } else { b',' });
        json::write_str(key, &mut out);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
    if over(keys.len(), limits.max_presence_keys) || over(out.len(), limits.max_presence) {
        return Err(ErrorCode::PresenceTooLarge);
    }
    String::from_utf8(out).map_err(|_| ErrorCode::InvalidJson)
}

/// Adds the entries of a map. A key that is there already gets the later value.
pub(crate) fn read<'a>(
    value: Value<'a>,
    update: &mut PresenceUpdate<'a>,
    limits: &Limits,
) -> Result<(), Fault> {
    if value.replaces() {
        update.keys.clear();
    }
    value.entries(|key, value| {
        if key.is_empty() {
            return Err(Fault::field(ErrorCode::InvalidName, "has an empty key"));
        }
        let value = value.json_text(limits)?;
        if let Some(known) = update.keys.iter_mut().find(|(known, _)| *known == key) {
            known.1 = value;
            return Ok(());
        }
        if over(update.keys.len() + 1, limits.max_presence_keys) {
            return Err(Fault::field(
                ErrorCode::PresenceTooLarge,
                "has more keys than `message.max_presence_keys` allows",
            ));
        }
        update.keys.push((key, value));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update<'a>(keys: &[(&'a str, Option<&'a str>)]) -> PresenceUpdate<'a> {
        let keys = keys
            .iter()
            .map(|(key, value)| ((*key).into(), value.map(Into::into)));
        PresenceUpdate {
            keys: keys.collect(),
            nickname: None,
        }
    }

    #[test]
    fn keys_are_set_replaced_removed_and_sorted() {
        let limits = Limits::default();
        let first = merge(
            "",
            &update(&[("b", Some("1")), ("a", Some("[1, 2]"))]),
            &limits,
        )
        .unwrap();
        assert_eq!(first, r#"{"a":[1, 2],"b":1}"#);
        let second = merge(
            &first,
            &update(&[("b", Some("\"x\"")), ("q\"", Some("{}"))]),
            &limits,
        )
        .unwrap();
        assert_eq!(second, r#"{"a":[1, 2],"b":"x","q\"":{}}"#);
        let removed = update(&[("a", None), ("b", None), ("q\"", None), ("never", None)]);
        assert_eq!(merge(&second, &removed, &limits).unwrap(), "");
    }

    #[test]
    fn bytes_and_keys_are_bounded() {
        let limits = Limits {
            max_presence: 12,
            max_presence_keys: 2,
            ..Limits::default()
        };
        assert!(merge("", &update(&[("a", Some("123456"))]), &limits).is_ok());
        let too_large = Err(ErrorCode::PresenceTooLarge);
        assert_eq!(
            merge("", &update(&[("a", Some("1234567"))]), &limits),
            too_large
        );
        assert_eq!(
            merge(
                r#"{"a":1,"b":2}"#,
                &update(&[("c", Some("3"))]),
                &Limits {
                    max_presence: 0,
                    ..limits
                }
            ),
            too_large
        );
        assert_eq!(
            merge("nonsense", &update(&[]), &limits),
            Err(ErrorCode::InvalidJson)
        );
    }
}
