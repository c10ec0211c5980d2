//! Letters between nodes. Between shards of one node they are moved as they are, and nothing of this is used.
//!
//! # Form
//! A letter is its format ([`FORMAT`]), its kind, and a body with its length before it. Letters may follow one another.
//! These three never change, so that a letter of which nothing else is known can be skipped.
//!
//! # Nodes of adjacent versions
//! A node sends only what the oldest version among the living nodes knows ([`version`](super::version)). So that a mistake
//! costs one letter and not the link, what is not known is skipped: a letter of another format or kind, one with a value
//! that is not known (such as a type of message), and in a body the fields that come behind the known ones.
//!
//! **To add a field**, write it at the end of its letter's body where [`Sending::version`] has it, and read it with a
//! default for an older node that has written none (`if body.is_empty()`). It may hold a list or a frame of its own. **To
//! add a letter**, give it a new kind, with the version that brings it (`kind.rs`). No field is taken away, changes its
//! meaning or gets another place while nodes of the version before may live. What can't be done so needs a new format,
//! which is sent when no older node lives.
//!
//! # Whose numbers
//! A number that a home or an edge gave means something to that one, and to the other that it was given to. In a letter
//!
//! - a [`ConnRef`](crate::ConnRef) is of the sender's node. Its shard and its number are written, and the reader puts the
//!   sender's [`NodeNumber`] to them. So a letter can't name a connection of a third node;
//! - a [`ConnId`](crate::ConnId) alone is of the shard that the letter goes to, whether it is in what a home says or in a
//!   range that its sender does not get. Ranges of others' connections are not written;
//! - an `EdgeRoomId` is the edge's that asks or is told, a `HomeRoomId` the home's, from whichever side it comes. They go
//!   as they are.
//!
//! A room's hash is not written: the reader makes it anew. Nor is the node on which a sender knows its home. Times are written as ages, since each node has its own clock;
//! the time on the way is not in them.

mod backend;
mod direct;
mod kind;
mod op;
#[cfg(test)]
mod tests;
mod to_edge;

pub(crate) use direct::{read_body, write_body};
pub(crate) use kind::{needs, needs_of_op};

use std::sync::Arc;

use super::bytes::{Reader, WireError, Writer};
use super::version::Version;
use crate::address::{NodeNumber, ShardAddress};
use crate::chunk::ChunkPool;
use crate::id::{ConnId, ConnRef, NameHash};
use crate::letter::Letter;
use crate::spare::SpareBuffers;
use crate::store::{HomeName, NodeId};

/// The format of all letters.
pub(crate) const FORMAT: u8 = 1;

/// Where letters go, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    /// The shard, of another node, as this node numbers it.
    pub(crate) to: ShardAddress,
    /// Microseconds.
    pub(crate) now: u64,
    /// The oldest version among the living nodes: what a newer one has added is left out.
    pub(crate) version: Version,
}

/// Where letters have come, and what is needed to take them.
pub(crate) struct Receiving<'a> {
    /// The node that has sent them, as this one numbers it.
    pub(crate) from: NodeNumber,
    /// The shard that they are for.
    pub(crate) own: ShardAddress,
    /// Microseconds.
    pub(crate) now: u64,
    pub(crate) names: &'a NameHash,
    pub(crate) pool: &'a mut ChunkPool,
    /// Empty buffers for payloads.
    pub(crate) buffers: &'a mut SpareBuffers<u8>,
}

/// Appends a letter. What is only for a shard of the own node is left out.
pub(crate) fn write(sending: Sending, letter: &Letter, out: &mut Vec<u8>) {
    let Some(kind) = kind_of(letter) else {
        return;
    };
    let mut out = Writer::new(out);
    out.u8(FORMAT);
    out.u8(kind);
    out.framed(|out| match letter {
        Letter::Op(it) => op::write(out, sending, it),
        Letter::Edge(message) => to_edge::write(out, sending, message),
        Letter::Direct(message) => direct::write_message(out, sending, message),
        Letter::Receipt(receipt) => direct::write_receipt(out, sending, receipt),
        Letter::User(user) => direct::write_user(out, user),
        Letter::SessionRefused(client) => out.client(*client),
        Letter::News(news) => direct::write_news(out, sending, news),
        Letter::SessionTaken(taken) => direct::write_taken(out, *taken),
        Letter::Credit(bytes) => out.size(*bytes),
        Letter::HomeGone { room, ends } => {
            out.text(room);
            if sending.version >= Version::V2 {
                out.flags([*ends]);
            }
        }
        Letter::Wanted(room) => out.text(room),
        Letter::Whose(whose) => write_whose(out, whose),
        Letter::Query(query) => backend::write_query(out, query),
        Letter::Found(found) => backend::write_found(out, found),
        Letter::NewsLost | Letter::Spare(_) => {}
    });
}

fn kind_of(letter: &Letter) -> Option<u8> {
    Some(match letter {
        Letter::Op(it) => op::kind_of(&it.request),
        Letter::Edge(message) => return to_edge::kind_of(message),
        Letter::Direct(_) => kind::DIRECT,
        Letter::Receipt(_) => kind::RECEIPT,
        Letter::User(_) => kind::USER,
        Letter::SessionRefused(_) => kind::SESSION_REFUSED,
        Letter::News(_) => kind::NEWS,
        Letter::NewsLost => kind::NEWS_LOST,
        Letter::SessionTaken(_) => kind::SESSION_TAKEN,
        Letter::Credit(_) => kind::CREDIT,
        Letter::HomeGone { .. } => kind::GATEWAY_HOME_GONE,
        Letter::Wanted(_) => kind::WANTED,
        Letter::Whose(_) => kind::WHOSE,
        Letter::Query(_) => kind::QUERY,
        Letter::Found(_) => kind::FOUND,
        Letter::Spare(_) => return None,
    })
}

/// Reads the next letter; `None`: it is one that is not known here, and was skipped.
///
/// # Errors
/// It is not whole, or not what any version writes: nothing behind it can be read.
pub(crate) fn read(
    bytes: &mut Reader<'_>,
    at: &mut Receiving<'_>,
) -> Result<Option<Letter>, WireError> {
    let (format, kind) = (bytes.u8()?, bytes.u8()?);
    let mut body = bytes.framed()?;
    if format != FORMAT {
        return Ok(None);
    }
    let letter = match kind {
        kind::JOIN..=kind::READ_STATE | kind::BACKEND => {
            op::read(kind, &mut body, at).map(Letter::Op)
        }
        kind::DELIVER..=kind::RENAMED | kind::BACKEND_REPLY => {
            to_edge::read(kind, &mut body, at).map(Letter::Edge)
        }
        kind::DIRECT => direct::read_message(&mut body, at).map(|it| Letter::Direct(Box::new(it))),
        kind::RECEIPT => direct::read_receipt(&mut body).map(Letter::Receipt),
        kind::USER => direct::read_user(&mut body).map(|it| Letter::User(Box::new(it))),
        kind::SESSION_REFUSED => body.client().map(Letter::SessionRefused),
        kind::NEWS => direct::read_news(&mut body).map(|it| Letter::News(Box::new(it))),
        kind::NEWS_LOST => Ok(Letter::NewsLost),
        kind::SESSION_TAKEN => direct::read_taken(&mut body).map(Letter::SessionTaken),
        kind::CREDIT => body.varint().map(Letter::Credit),
        kind::GATEWAY_HOME_GONE => read_home_gone(&mut body),
        kind::WANTED => body.text().map(|room| Letter::Wanted(room.into())),
        kind::QUERY => backend::read_query(&mut body).map(|it| Letter::Query(Box::new(it))),
        kind::FOUND => backend::read_found(&mut body).map(|it| Letter::Found(Box::new(it))),
        kind::WHOSE => read_whose(&mut body).map(|it| Letter::Whose(Box::new(it))),
        _ => return Ok(None),
    };
    match letter {
        Ok(letter) => Ok(Some(letter)),
        Err(WireError::Unknown) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_home_gone(bytes: &mut Reader<'_>) -> Result<Letter, WireError> {
    let room = bytes.text()?.into();
    // Version 1 does not say it.
    let [ends] = match bytes.is_empty() {
        true => [false],
        false => bytes.flags()?,
    };
    Ok(Letter::HomeGone { room, ends })
}

fn write_whose(out: &mut Writer<'_>, (room, home): &(Arc<str>, Option<HomeName>)) {
    out.text(room);
    out.flags([home.is_some()]);
    if let Some(home) = home {
        out.u64(home.node.0);
        out.varint(home.lease);
    }
}

fn read_whose(bytes: &mut Reader<'_>) -> Result<(Arc<str>, Option<HomeName>), WireError> {
    let room = bytes.text()?.into();
    let [is_known] = bytes.flags()?;
    if !is_known {
        return Ok((room, None));
    }
    let node = NodeId(bytes.u64()?);
    let lease = bytes.varint()?;
    Ok((room, Some(HomeName { node, lease })))
}

impl Sending {
    /// How long ago it was.
    fn age(self, born: u64) -> u64 {
        self.now.saturating_sub(born)
    }

    /// A connection of this node. One of another would be taken for another connection there: it is written as none.
    fn own_conn(self, out: &mut Writer<'_>, conn: ConnRef) {
        debug_assert!(conn.shard.is_own(), "{conn:?} in a letter to {:?}", self.to);
        let id = if conn.shard.is_own() {
            conn.conn
        } else {
            ConnId::NONE
        };
        out.varint(conn.shard.shard());
        out.number(id);
    }
}

impl Receiving<'_> {
    /// When it was.
    fn born(&self, age: u64) -> u64 {
        self.now.saturating_sub(age)
    }

    /// A connection of the node that has sent the letter.
    fn their_conn(&self, bytes: &mut Reader<'_>) -> Result<ConnRef, WireError> {
        let shard = bytes.varint()?;
        Ok(ConnRef {
            shard: ShardAddress::new(self.from, shard),
            conn: bytes.number()?,
        })
    }
}
