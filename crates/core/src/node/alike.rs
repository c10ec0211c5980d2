//! What all nodes of a cluster should have alike, as each says it of itself: names with what stands for their values.

use std::collections::BTreeMap;
use std::hash::Hasher;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use siphasher::sip::SipHasher13;

/// A number for the key that datagrams are authenticated with, from the [session key](crate::session_key). It tells who
/// has another one, and nothing of the key.
pub fn key_number(session_key: &[u8; 32]) -> u32 {
    number(session_key, [b"key number:", b""])
}

/// What stands for a setting that is not for whoever reads Redis, such as a URL that may have a key in it: only who has the
/// session key can try what it is. To be given to [`settings_text`].
pub fn hidden(session_key: &[u8; 32], value: &str) -> String {
    format!(
        "{:08x}",
        number(session_key, [b"setting:", value.as_bytes()])
    )
}

fn number(session_key: &[u8; 32], parts: [&[u8]; 2]) -> u32 {
    let mut derived =
        Hmac::<Sha256>::new_from_slice(session_key).expect("HMAC takes a key of any length");
    for part in parts {
        derived.update(part);
    }
    let bytes = derived.finalize().into_bytes();
    let first = bytes.iter().take(4);
    first.fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Settings in the form in which nodes tell each other of them: of each its name, and a digest of its value.
pub fn settings_text<'a>(settings: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let digest = |value: &str| {
        let mut hasher = SipHasher13::new();
        hasher.write(value.as_bytes());
        hasher.finish() as u32
    };
    let named = settings.into_iter();
    let named: Vec<_> = named
        .map(|(name, value)| format!("{name}={:08x}", digest(&value)))
        .collect();
    named.join(" ")
}

/// The names of the settings that differ. One that only one of the two knows is of another version, and passed over.
pub fn different_settings<'a>(one: &'a str, other: &str) -> Vec<&'a str> {
    let (one, other) = (parsed(one), parsed(other));
    let differs = |name: &str, value: &str| other.get(name).is_some_and(|it| *it != value);
    let different = one.into_iter().filter(|(name, value)| differs(name, value));
    different.map(|(name, _)| name).collect()
}

fn parsed(text: &str) -> BTreeMap<&str, &str> {
    let settings = text.split(' ');
    settings.filter_map(|it| it.split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let text = |lease: u32, kinds: &str| {
            settings_text([("lease", lease.to_string()), ("kinds", kinds.to_owned())])
        };
        let own = text(3, "a, b");
        assert!(different_settings(&own, &text(3, "a, b")).is_empty());
        assert_eq!(different_settings(&own, &text(4, "a, b")), ["lease"]);
        assert_eq!(different_settings(&own, &text(4, "a")), ["kinds", "lease"]);
        let newer = format!("{own} else=1");
        assert!(different_settings(&own, &newer).is_empty());
        assert!(different_settings(&newer, &own).is_empty());
        assert!(different_settings(&own, "").is_empty());
    }

    #[test]
    fn each_key_has_its_number() {
        assert_ne!(key_number(&[1; 32]), key_number(&[2; 32]));
        // Nodes of several versions compare it.
        assert_eq!(key_number(&[7; 32]), NUMBER);
    }

    #[test]
    fn what_is_hidden_differs_with_its_value_and_with_the_key() {
        let [one, other] = [[1; 32], [2; 32]];
        assert_eq!(hidden(&one, "a"), hidden(&one, "a"));
        assert_ne!(hidden(&one, "a"), hidden(&one, "b"));
        assert_ne!(hidden(&one, "a"), hidden(&other, "a"));
    }

    const NUMBER: u32 = 0x8a72_cad6;
}
