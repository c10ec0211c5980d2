//! Slots of keys: which of several stores has a room, a session, or a user's set.
//!
//! They are those of Redis Cluster: CRC-16 (XMODEM) of the tag, modulo 16384. A Cluster has its keys by them, and several
//! Redis without one share them in the same way.

use crate::id::ClientId;

/// One of [`Slot::COUNT`] parts of all keys. What has one slot is at one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// What a key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOf<'a> {
    /// A room, by its name.
    Room(&'a str),
    /// A session, and its inbox.
    Session(&'a ClientId),
    /// The sessions of a user.
    User(&'a str),
}

impl Slot {
    /// How many there are.
    pub const COUNT: u16 = 16_384;

    /// The slot of a tag: of what stands between braces in a key.
    pub fn of_tag(tag: &[u8]) -> Slot {
        Slot(tag.iter().fold(0, |crc, byte| crc16(crc, *byte)) % Slot::COUNT)
    }

    /// The slot of what a key is about.
    pub fn of(key: KeyOf<'_>) -> Slot {
        let mut crc = 0;
        key.tag(|byte| crc = crc16(crc, byte));
        Slot(crc % Slot::COUNT)
    }
}

impl KeyOf<'_> {
    /// The tag, byte by byte. Braces within a name are escaped: else whoever chooses names could put all of them into one
    /// slot.
    pub fn tag(self, mut put: impl FnMut(u8)) {
        let (kind, name) = match &self {
            KeyOf::Room(name) => (b'r', *name),
            KeyOf::Session(client) => (b's', client.as_str()),
            KeyOf::User(user) => (b'u', *user),
        };
        put(kind);
        put(b':');
        for byte in name.bytes() {
            match byte {
                b'%' => b"%25".iter().copied().for_each(&mut put),
                b'{' => b"%7B".iter().copied().for_each(&mut put),
                b'}' => b"%7D".iter().copied().for_each(&mut put),
                _ => put(byte),
            }
        }
    }
}

fn crc16(crc: u16, byte: u8) -> u16 {
    crc << 8 ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)]
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = (at as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = match crc & 0x8000 {
                0 => crc << 1,
                _ => crc << 1 ^ 0x1021,
            };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_as_the_specification_of_redis_cluster_has_them() {
        assert_eq!(
            b"123456789".iter().fold(0, |crc, it| crc16(crc, *it)),
            0x31c3
        );
        assert_eq!(Slot::of_tag(b"foo"), Slot(12182));
        assert_eq!(
            Slot::of(KeyOf::Room("a}b{c%")),
            Slot::of_tag(b"r:a%7Db%7Bc%25")
        );
        let client = ClientId::from_random([1, 2]);
        let tag = format!("s:{}", client.as_str());
        assert_eq!(
            Slot::of(KeyOf::Session(&client)),
            Slot::of_tag(tag.as_bytes())
        );
        assert_ne!(Slot::of(KeyOf::Room("x")), Slot::of(KeyOf::User("x")));
    }
}
