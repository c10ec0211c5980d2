//! What a room's home says to the shards that have its members.

use std::sync::Arc;

use roomcast_protocol::ErrorCode;

use crate::backend::Reply;
use crate::chunk::Chunk;
use crate::fact::Fact;
use crate::host::Encoding;
use crate::id::{ConnId, ConnRef, EdgeRoomId, HomeRoomId};
use crate::log::Epoch;
use crate::player::PlayerNum;
use crate::state_position::StatePosition;
use crate::trace::AllTraced;

/// From a room's home to a shard with members.
#[derive(Debug)]
pub(crate) enum ToEdge {
    Deliver(Delivery),
    Joined(Box<Joined>),
    /// Who joins is in the room already.
    JoinedAgain {
        conn: ConnId,
        edge_room: EdgeRoomId,
        answer: Arc<Chunk>,
    },
    /// A join was refused, with the error that says why.
    JoinRefused {
        conn: ConnId,
        edge_room: EdgeRoomId,
        error: Arc<Chunk>,
        code: ErrorCode,
    },
    /// The connection is out of the room, with what tells it so. `asked`: answers a `leave_room`.
    Left {
        conn: ConnId,
        edge_room: EdgeRoomId,
        asked: bool,
        farewell: Option<Arc<Chunk>>,
    },
    /// An answer that needs no room.
    Answer {
        conn: ConnId,
        answer: Arc<Chunk>,
        offence: Option<ErrorCode>,
        ordered: bool,
    },
    /// Publishes were accepted, or refused for good: their bytes leave the connection's window.
    Accepted {
        conn: ConnId,
        window: u32,
        operations: u32,
    },
    /// The room is not at home any more where it was. Who is in it goes on where it is next.
    HomeGone {
        room: Arc<str>,
    },
    /// The room's log goes on under another name: what follows has that.
    Renamed {
        edge_room: EdgeRoomId,
        epoch: Epoch,
    },
    /// What was said to this connection of a room is lost with the room's home: it has to come back, and ask again.
    ComeBack {
        conn: ConnId,
    },
    /// What a backend has asked is answered. `None`: it was not done, and is to be asked again.
    Backend {
        conn: ConnId,
        reply: Option<Box<Reply>>,
    },
    /// What an application's backend is told. From a home to its own shard: it never goes further.
    Fact(Box<Fact>),
    /// What comes next in the log, for a member that is behind. Nothing for who is not in the room.
    LogSlice {
        conn: ConnId,
        edge_room: EdgeRoomId,
        slice: Option<Slice>,
    },
    /// The newest state, for a connection that missed some. Nothing for who is not in the room.
    NewestState {
        conn: ConnId,
        edge_room: EdgeRoomId,
        /// What the connection had when it asked.
        from: StatePosition,
        newest: Option<NewestState>,
    },
}

impl ToEdge {
    /// Bytes that it holds while it waits, and the connection that it is for; none where it is for all in the room.
    pub(crate) fn held(&self) -> (usize, Option<ConnId>) {
        let chunk = |chunk: &Option<Arc<Chunk>>| chunk.as_ref().map_or(0, |it| it.held());
        let slice = |slice: &Slice| chunk(&slice.events);
        let (bytes, conn) = match self {
            ToEdge::Deliver(delivery) => {
                let chunks = delivery.events.iter().chain(&delivery.state);
                (chunks.map(chunk).sum(), None)
            }
            ToEdge::Joined(it) => (it.answer.held() + slice(&it.slice), Some(it.conn)),
            ToEdge::JoinedAgain { conn, answer, .. } | ToEdge::Answer { conn, answer, .. } => {
                (answer.held(), Some(*conn))
            }
            ToEdge::JoinRefused { conn, error, .. } => (error.held(), Some(*conn)),
            ToEdge::Left { conn, farewell, .. } => (chunk(farewell), Some(*conn)),
            ToEdge::HomeGone { .. } | ToEdge::Renamed { .. } => (0, None),
            ToEdge::Fact(fact) => (fact.held(), None),
            ToEdge::Accepted { conn, .. } | ToEdge::ComeBack { conn } => (0, Some(*conn)),
            ToEdge::Backend { conn, reply } => {
                (reply.as_ref().map_or(0, |it| it.held()), Some(*conn))
            }
            ToEdge::LogSlice {
                conn, slice: it, ..
            } => (it.as_ref().map_or(0, slice), Some(*conn)),
            ToEdge::NewestState { conn, newest, .. } => {
                let state = newest.as_ref().map_or(0, |it| chunk(&it.state));
                (state, Some(*conn))
            }
        };
        (bytes + size_of::<ToEdge>(), conn)
    }

    /// The backend's question that it is for.
    pub(crate) fn question(&self) -> Option<u32> {
        match self {
            ToEdge::Backend { conn, .. } | ToEdge::ComeBack { conn } => conn.question(),
            _ => None,
        }
    }
}

/// A room's events and state of one turn, encoded once for each encoding in use.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) edge_room: EdgeRoomId,
    pub(crate) events: Encoded,
    pub(crate) state: Encoded,
    /// The offset before the first of its events.
    pub(crate) base: u64,
    /// The offset of the last of them; 0 where there are none.
    pub(crate) last: u64,
    /// The room's state version with this delivery, where it carries versioned state.
    pub(crate) version: Option<u64>,
    /// Ranges that their senders don't get.
    pub(crate) exclusions: Vec<Exclusion>,
    /// Bytes that this delivery is counted with on its link.
    pub(crate) bytes: usize,
    /// Its messages that are traced.
    pub(crate) traced: AllTraced,
}

pub(crate) type Encoded = [Option<Arc<Chunk>>; Encoding::COUNT];

/// A range of the chunk in the sender's encoding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exclusion {
    pub(crate) conn: ConnRef,
    pub(crate) state_lane: bool,
    /// The event's, where it has one.
    pub(crate) offset: u64,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) conn: ConnId,
    pub(crate) edge_room: EdgeRoomId,
    pub(crate) room: HomeRoomId,
    pub(crate) player: PlayerNum,
    /// Of which log its events are.
    pub(crate) epoch: Epoch,
    /// The room's state version.
    pub(crate) version: u64,
    /// The `joined` message, and what else only the joiner gets, in order.
    pub(crate) answer: Arc<Chunk>,
    /// What was missed, the first part of it.
    pub(crate) slice: Slice,
    /// Nobody asked: what the connection lacks is no longer in the log.
    pub(crate) unasked: bool,
    /// State follows unasked; what the connection has of it until then.
    pub(crate) state: Option<StatePosition>,
}

/// The newest state of a room, or a part of it.
#[derive(Debug)]
pub(crate) struct NewestState {
    /// What the connection has with it.
    pub(crate) to: StatePosition,
    /// What is to be told of it, if anything is.
    pub(crate) state: Option<Arc<Chunk>>,
}

/// A part of a room's log, for one member.
#[derive(Debug, Default)]
pub(crate) struct Slice {
    pub(crate) events: Option<Arc<Chunk>>,
    /// The offset before the first of them.
    pub(crate) after: u64,
    /// The offset of the last of them.
    pub(crate) to: u64,
    /// That is the newest: what follows is delivered.
    pub(crate) caught_up: bool,
}
