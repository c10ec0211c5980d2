//! The names of the keys. All that belongs to one room or one session has one slot of a Redis Cluster.

use roomcast_core::ClientId;
use roomcast_core::store::{HomeName, KeyOf};

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
        self.tagged(KeyOf::Room(name))
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
        self.tagged(KeyOf::Session(client))
    }

    pub(super) fn inbox(&self, client: &ClientId) -> Vec<u8> {
        with(self.session(client), b":inbox")
    }

    pub(super) fn user(&self, user: &str) -> Vec<u8> {
        self.tagged(KeyOf::User(user))
    }

    /// The counts of a webhook's queue. All of one webhook is in one slot.
    pub(super) fn webhook(&self, name: &str) -> Vec<u8> {
        format!("{}{{h:{name}}}", self.prefix).into()
    }

    pub(super) fn webhook_lane(&self, name: &str, lane: usize) -> Vec<u8> {
        with(self.webhook(name), format!(":{lane}").as_bytes())
    }

    /// The tag between braces says the slot.
    fn tagged(&self, of: KeyOf<'_>) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + 48);
        key.extend_from_slice(self.prefix.as_bytes());
        key.push(b'{');
        of.tag(|byte| key.push(byte));
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
    use roomcast_core::store::Slot;

    use super::super::slot::slot_of;
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

    #[test]
    fn core_and_redis_find_the_same_slot() {
        let keys = Keys::new("rc:");
        let client = ClientId::from_random([3, 4]);
        for name in ["x", "a}b{c%", "a room: ä"] {
            assert_eq!(slot_of(&keys.room(name)), Slot::of(KeyOf::Room(name)).0);
            assert_eq!(slot_of(&keys.log(name)), Slot::of(KeyOf::Room(name)).0);
            assert_eq!(slot_of(&keys.user(name)), Slot::of(KeyOf::User(name)).0);
        }
        let slot = Slot::of(KeyOf::Session(&client)).0;
        assert_eq!(slot_of(&keys.session(&client)), slot);
        assert_eq!(slot_of(&keys.inbox(&client)), slot);
    }
}
