//! What goes from shard to shard: operations to a room's home, deliveries and answers back.

mod direct;
mod op;
mod to_edge;

pub(crate) use direct::{
    DirectMessage, News, Receipt, Receipted, Recipient, SessionTaken, UserSession,
};
pub(crate) use op::{
    Join, Leave, MembersPage, Op, OpHead, OpKind, Place, Publish, ReadLog, ReadState, Resume,
    RoomRef,
};
pub(crate) use to_edge::{Delivery, Encoded, Exclusion, Joined, NewestState, Slice, ToEdge};

use std::sync::Arc;

use crate::backend::{Found, Query};
use crate::id::ClientId;
use crate::store::HomeName;

/// A message between two shards of a node. Opaque; carry it in order.
#[derive(Debug)]
pub struct ShardMessage(pub(crate) Letter);

#[derive(Debug)]
pub(crate) enum Letter {
    Op(Op),
    Edge(ToEdge),
    /// From a room's home that it was until now: to the shard of another node that sends operations for this room there.
    /// `ends`: the sender claims no room any more.
    HomeGone {
        room: Arc<str>,
        ends: bool,
    },
    /// To the node that is to claim this room, which the sender needs and nobody has.
    Wanted(Arc<str>),
    /// The answer: whose the room is, as the store says; `None`: whoever has asked looks itself.
    Whose(Box<(Arc<str>, Option<HomeName>)>),
    /// A direct message to a client whose id, or to a user who, is at home on the other shard.
    Direct(Box<DirectMessage>),
    /// What became of one.
    Receipt(Receipted),
    /// A user who is at home on the other shard has a session more, or one less.
    User(Box<UserSession>),
    /// A session at home on the other shard is one more than its user may have.
    SessionRefused(ClientId),
    /// A direct message is in the inbox, in the store, of a client that is at home on the other shard.
    News(Box<News>),
    /// News that went from here to the other shard may be lost, with the link over which it went.
    NewsLost,
    /// A session that was at home on the other shard has another node.
    SessionTaken(SessionTaken),
    /// A backend asks this of all shards: the question's number, and what is asked.
    Query(Box<(u32, Query)>),
    /// What one of them has found.
    Found(Box<(u32, Found)>),
    /// Bytes of deliveries that the sender of this has taken over: the link has room again.
    Credit(usize),
    /// An empty buffer that came from the other shard with a publish.
    Spare(Vec<u8>),
}
