//! Names of connections and clients.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::address::ShardAddress;
use crate::table::{Number, number};

/// A connection of one shard: a slot and how often the slot was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// Names no connection.
    pub(crate) const NONE: ConnId = ConnId(u64::MAX);
    /// The slot of all backends' questions.
    const QUESTION: u32 = u32::MAX - 1;

    /// The slot: small, used again after the connection is gone.
    pub fn slot(self) -> u32 {
        self.0 as u32
    }

    /// Names a backend's question instead of a connection: no connection has this slot.
    pub(crate) fn of_question(question: u32) -> ConnId {
        ConnId::new(ConnId::QUESTION, question)
    }

    /// Names no connection, and is another one than those of others.
    pub(crate) fn of_nobody(number: u32) -> ConnId {
        ConnId::new(ConnId::QUESTION - 1, number)
    }

    /// The question that it names, if it names none of the connections.
    pub(crate) fn question(self) -> Option<u32> {
        (self.slot() == ConnId::QUESTION).then(|| self.uses())
    }

    /// As a number, for instance a poll's token.
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// The reverse of [`ConnId::to_u64`]; a number that never was one names no connection.
    pub fn from_u64(number: u64) -> ConnId {
        ConnId(number)
    }
}

impl Number for ConnId {
    fn new(place: u32, uses: u32) -> ConnId {
        ConnId(u64::from(uses) << 32 | u64::from(place))
    }

    fn place(self) -> u32 {
        self.slot()
    }

    fn uses(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

number! {
    /// A room that connections of one shard are in, as that shard numbers it.
    EdgeRoomId
}

number! {
    /// A room, as the shard numbers it on which it is at home.
    HomeRoomId
}

/// A connection of any shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnRef {
    /// The shard that it lives on.
    pub shard: ShardAddress,
    /// Its name there.
    pub conn: ConnId,
}

/// A client's name on the wire: 20 characters that nobody can guess (100 bits, Crockford's base 32).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId([u8; ClientId::LENGTH]);

impl ClientId {
    /// Characters of a client id.
    pub const LENGTH: usize = 20;

    /// From 128 random bits, of which 100 are used.
    pub fn from_random(random: [u64; 2]) -> ClientId {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let bits = u128::from(random[0]) << 64 | u128::from(random[1]);
        ClientId(std::array::from_fn(|i| {
            ALPHABET[(bits >> (5 * i)) as usize % ALPHABET.len()]
        }))
    }

    /// A client id as it stands in a message.
    pub fn parse(text: &str) -> Option<ClientId> {
        let bytes: [u8; ClientId::LENGTH] = text.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(u8::is_ascii_alphanumeric)
            .then_some(ClientId(bytes))
    }

    /// Whose a message is that is published once: the same for the same key of the same application. No client has this
    /// id, as `u` is no digit of theirs.
    pub fn of_key(application: &str, key: &str) -> ClientId {
        let mut digest = Sha256::new();
        digest.update((application.len() as u64).to_be_bytes());
        digest.update(application);
        digest.update(key);
        let digest = digest.finalize();
        let number = |from: usize| {
            let bytes = digest.iter().skip(from).take(8);
            bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let ClientId(mut id) = ClientId::from_random([number(0), number(8)]);
        id[0] = b'u';
        ClientId(id)
    }

    /// The same for a message that is nobody's and has no key.
    pub(crate) fn of_nobody(random: [u64; 2]) -> ClientId {
        let ClientId(mut id) = ClientId::from_random(random);
        id[0] = b'u';
        ClientId(id)
    }

    /// Whether it is none of a client: [`ClientId::of_key`].
    pub(crate) fn is_nobodys(&self) -> bool {
        self.0[0] == b'u'
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // All constructors let only ASCII in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where names are at home, for all nodes that have this [session key](crate::session_key): each has to find the shard of
/// each other one. Nobody else may choose names that all share a shard.
pub fn hash_key(session_key: &[u8; 32]) -> [u64; 2] {
    let mut derived =
        Hmac::<Sha256>::new_from_slice(session_key).expect("HMAC takes a key of any length");
    derived.update(b"names:");
    let bytes = derived.finalize().into_bytes();
    let number = |from: usize| {
        let bytes = bytes.iter().skip(from).take(8);
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    [number(0), number(8)]
}

/// Keyed hash (SipHash-1-3) for names that clients choose: which shard is home, and table lookups.
///
/// The key is random or a secret, so that nobody can aim at one shard or one bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameHash {
    key: [u64; 2],
}

impl NameHash {
    pub(crate) fn new(key: [u64; 2]) -> NameHash {
        NameHash { key }
    }

    pub(crate) fn hash(&self, name: &str) -> u64 {
        use std::hash::Hasher;
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write(name.as_bytes());
        hasher.finish()
    }

    /// The shard, of `count`, that a name is at home on.
    pub(crate) fn home(hash: u64, count: u16) -> u16 {
        ((u128::from(hash) * u128::from(count.max(1))) >> 64) as u16
    }
}
