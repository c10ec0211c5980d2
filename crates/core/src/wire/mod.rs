//! What leaves a node as bytes: letters to other nodes, and what a store keeps.

mod bytes;
pub(crate) mod events;
pub(crate) mod inbox;
mod kept;
pub(crate) mod letter;
pub(crate) mod room;
pub(crate) mod session;
mod values;
#[cfg(test)]
pub(crate) mod vectors;
pub(crate) mod version;

pub(crate) use bytes::Reader;
pub use bytes::WireError;
pub use kept::{read_kept, write_kept};
pub use version::VERSION;

use crate::address::{NodeNumber, ShardAddress};
use crate::chunk::ChunkPool;
use crate::id::NameHash;
use crate::letter::ShardMessage;
use crate::spare::SpareBuffers;
use crate::time::Now;
use letter::{Receiving, Sending};
use session::PackedSession;
use version::Version;

/// Appends a letter for a shard of another node. [`Shard::from_node`](crate::Shard::from_node) reads it there; several
/// may follow one another. What is only for shards of the own node is left out.
pub fn write_letter(now: Now, to: ShardAddress, letter: &ShardMessage, out: &mut Vec<u8>) {
    let sending = Sending {
        to,
        now: now.micros,
        version: Version::OWN,
    };
    letter::write(sending, &letter.0, out);
}

/// Reads letters as a shard does that another node sends them to, and appends them as they are known here. How many are
/// not known. For fuzzing.
///
/// # Errors
/// They are not letters.
#[doc(hidden)]
pub fn rewrite_letters(letters: &[u8], out: &mut Vec<u8>) -> Result<u32, WireError> {
    let now = 1 << 50;
    // As if this node had sent them to itself: what it reads is its own, and may be written.
    let own = ShardAddress::own(0);
    let mut at = Receiving {
        from: NodeNumber::OWN,
        own,
        now,
        names: &NameHash::new([0, 0]),
        pool: &mut ChunkPool::new(),
        buffers: &mut SpareBuffers::new(0),
    };
    let mut bytes = Reader::new(letters);
    let sending = Sending {
        to: own,
        now,
        version: Version::OWN,
    };
    let mut unknown = 0;
    while !bytes.is_empty() {
        match letter::read(&mut bytes, &mut at)? {
            Some(letter) => letter::write(sending, &letter, out),
            None => unknown += 1,
        }
    }
    Ok(unknown)
}

/// Reads a session as a store keeps it, and appends it as it is known here. For fuzzing.
///
/// # Errors
/// It is not one.
#[doc(hidden)]
pub fn rewrite_session(value: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
    PackedSession::read(value)?.write(Version::OWN, out);
    Ok(())
}
