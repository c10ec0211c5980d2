//! The names of the keys. All that belongs to one room or one session has one slot of a Redis Cluster.

use roomcast_core::ClientId;
use roomcast_core::store::HomeName;

use super::commands::home_text;

/// The names of keys below one prefix. Another prefix is another cluster of nodes.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Box<str>,
}

impl Keys {
    /// With this prefix.
    pub fn new(prefix: &str) -> Keys {
        Keys {
            prefix: prefix.into(),
        }
    }

    /// The entries of the nodes at one of several masters, to which the tag brings the key; empty: at the only one.
    pub fn nodes(&self, tag: &str) -> Vec<u8> {
        match tag {
            "" => format!("{}nodes", self.prefix).into(),
            tag => format!("{}{{{tag}}}:nodes", self.prefix).into(),
        }
    }

    /// A room's record.
    pub fn room(&self, name: &str) -> Vec<u8> {
        self.tagged(b'r', name)
    }

    /// A room's log.
    pub fn log(&self, name: &str) -> Vec<u8> {
        with(self.room(name), b":log")
    }

    /// What waits of a renewal in parts: fields, and the log.
    pub(super) fn parts(&self, name: &str, home: Option<HomeName>) -> [Vec<u8>; 2] {
        let home = home_text(home);
        let parts = with(with(self.room(name), b":part:"), home.as_bytes());
        [parts.clone(), with(parts, b":log")]
    }

    /// A session's record.
    pub fn session(&self, client: &ClientId) -> Vec<u8> {
        self.tagged(b's', client.as_str())
    }

    pub(super) fn inbox(&self, client: &ClientId) -> Vec<u8> {
        with(self.session(client), b":inbox")
    }

    pub(super) fn user(&self, user: &str) -> Vec<u8> {
        self.tagged(b'u', user)
    }

    /// A name between braces says the slot. Braces within it are escaped: else whoever chooses names could put all of
    /// them into one slot.
    fn tagged(&self, kind: u8, name: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + name.len() + 4);
        key.extend_from_slice(self.prefix.as_bytes());
        key.extend_from_slice(&[b'{', kind, b':']);
        for &byte in name.as_bytes() {
            match byte {
                b'%' => key.extend_from_slice(b"%25"),
                b'{' => key.extend_from_slice(b"%7B"),
                b'}' => key.extend_from_slice(b"%7D"),
                _ => key.push(byte),
            }
        }
        key.push(b'}');
        key
    }
}

fn with(mut key: Vec<u8>, end: &[u8]) -> Vec<u8> {
    key.extend_from_slice(end);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> String {
        String::from_utf8(Keys::new("rc:").room(name)).unwrap()
    }

    #[test]
    fn a_name_has_one_key_and_its_own_slot() {
        assert_eq!(room("lobby"), "rc:{r:lobby}");
        assert_eq!(room("a}b{c%"), "rc:{r:a%7Db%7Bc%25}");
        assert_ne!(room("%7D"), room("}"));
        assert_eq!(Keys::new("rc:").log("x"), b"rc:{r:x}:log");
    }
}
