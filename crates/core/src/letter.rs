//! What goes from shard to shard: operations to a room's home, deliveries and answers back.

use std::sync::Arc;

use crate::chunk::Chunk;
use crate::direct::DirectBody;
use crate::engine::Since;
use crate::host::Encoding;
use crate::id::{ClientId, ConnId, ConnRef, EdgeRoomId, HomeRoomId};
use crate::player::PlayerNum;
use crate::state_position::StatePosition;
use roomcast_protocol::{
    ErrorCode, Format, HistoryRequest, MessageType, PayloadKind, PresenceUpdate,
};
use smallvec::SmallVec;

/// A message between two shards of a node. Opaque; carry it in order.
#[derive(Debug)]
pub struct ShardMessage(pub(crate) Letter);

#[derive(Debug)]
pub(crate) enum Letter {
    Op(Op),
    Edge(ToEdge),
    /// A direct message to a client whose id, or to a user who, is at home on the other shard.
    Direct(Box<DirectMessage>),
    /// What became of one.
    Receipt(Receipted),
    /// A user who is at home on the other shard has a session more, or one less.
    User(Box<UserSession>),
    /// A session at home on the other shard is one more than its user may have.
    SessionRefused(ClientId),
    /// Bytes of deliveries that the sender of this has taken over: the link has room again.
    Credit(usize),
    /// An empty buffer that came from the other shard with a publish.
    Spare(Vec<u8>),
}

/// What a connection asks of a room, on its way to the room's home.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) head: OpHead,
    pub(crate) request: OpKind,
}

/// What is told with each operation: whose it is, and where its answer goes.
#[derive(Debug)]
pub(crate) struct OpHead {
    pub(crate) room: RoomRef,
    pub(crate) conn: ConnRef,
    pub(crate) encoding: Encoding,
    /// 0 where the home has not told it yet, [`OpHead::NEWCOMER`] where it can't be in the room.
    pub(crate) player: PlayerNum,
    /// Microseconds at which it was read.
    pub(crate) born: u64,
    /// Bytes that it takes of its connection's publish window until the home has accepted it.
    pub(crate) window: u32,
    /// The sender's number for it, which an error repeats; 0 for none.
    pub(crate) seq: u64,
    /// The client's number for the request, which its answer repeats; 0 for none.
    pub(crate) request_id: u32,
}

impl OpHead {
    pub(crate) const NEWCOMER: PlayerNum = PlayerNum::MAX;
}

impl OpKind {
    /// Whether it changes who is in the room, or which connection a member has: it keeps its place among publishes.
    pub(crate) fn comes_or_goes(&self) -> bool {
        matches!(
            self,
            OpKind::Join(_) | OpKind::Leave(_) | OpKind::Detach | OpKind::Resume(_)
        )
    }

    /// Bytes that it holds while it waits.
    pub(crate) fn held(&self) -> usize {
        let keys = |update: &PresenceUpdate<'_>| -> usize {
            let sizes = update.keys.iter();
            sizes
                .map(|(key, value)| 64 + key.len() + value.as_ref().map_or(0, |v| v.len()))
                .sum()
        };
        match self {
            OpKind::Publish(publish) => publish.bytes.len(),
            OpKind::Presence(update) => keys(update),
            OpKind::Join(join) => join.nickname.len() + keys(&join.presence),
            _ => 0,
        }
    }
}

/// A room, by the number that its home gave it or, before that is known, by name.
#[derive(Clone, Debug)]
pub(crate) struct RoomRef {
    pub(crate) name: Arc<str>,
    pub(crate) hash: u64,
    pub(crate) id: HomeRoomId,
}

#[derive(Debug)]
pub(crate) enum OpKind {
    Join(Box<Join>),
    Leave(Leave),
    /// The connection is gone, and its session is not. Not answered.
    Detach,
    /// The session has another connection. Answered as a join is.
    Resume(Box<Resume>),
    /// What comes next in the log, for a member that is behind.
    ReadLog(ReadLog),
    History(HistoryRequest),
    /// The sender gives its number up.
    Skip,
    /// A message was refused for good before it came here, and its sender was told.
    Refused(ErrorCode),
    /// A numbered message of this type that its sender may not send, and the sentence that says so. One that was sent
    /// when it was allowed gets its first answer again.
    Forbidden(MessageType, &'static str),
    Publish(Publish),
    Presence(PresenceUpdate<'static>),
    Members(MembersPage),
    /// What is newest of the room's state, for a connection that missed some.
    ReadState(ReadState),
}

#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) client_id: ClientId,
    pub(crate) nickname: Box<str>,
    pub(crate) presence: PresenceUpdate<'static>,
    /// The edge's number for the room.
    pub(crate) edge_room: EdgeRoomId,
    /// Empty where no token names one.
    pub(crate) user_id: Box<str>,
    pub(crate) place: Place,
}

/// Answered with [`ToEdge::Left`], unless the connection is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leave {
    pub(crate) gone: bool,
    pub(crate) edge_room: EdgeRoomId,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLog {
    /// The offset of the last event that the member has.
    pub(crate) after: u64,
    pub(crate) edge_room: EdgeRoomId,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadState {
    /// What the connection has.
    pub(crate) from: StatePosition,
    pub(crate) edge_room: EdgeRoomId,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct MembersPage {
    pub(crate) after: PlayerNum,
    /// 0: as many as fit.
    pub(crate) limit: u32,
}

/// How far a client has come in a room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// The last event that it received.
    pub(crate) since: Option<Since>,
    /// The lowest of its numbers without an answer; 0 where it does not say.
    pub(crate) first_seq: u64,
}

#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) client_id: ClientId,
    pub(crate) edge_room: EdgeRoomId,
    pub(crate) place: Place,
}

/// A chat, an event or an action, with everything in one reused buffer.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) message_type: MessageType,
    /// The form in which an action was sent.
    pub(crate) format: Format,
    pub(crate) payload_kind: PayloadKind,
    /// The event's name, then the payload.
    pub(crate) bytes: Vec<u8>,
    pub(crate) name_length: u32,
    pub(crate) seq: u64,
    pub(crate) ephemeral: bool,
    pub(crate) no_echo: Option<bool>,
}

impl Publish {
    pub(crate) fn name(&self) -> &str {
        let name = self
            .bytes
            .get(..self.name_length as usize)
            .unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes
            .get(self.name_length as usize..)
            .unwrap_or_default()
    }
}

/// A direct message on its way.
#[derive(Debug)]
pub(crate) struct DirectMessage {
    pub(crate) to: Recipient,
    pub(crate) from: ConnRef,
    pub(crate) from_encoding: Encoding,
    pub(crate) born: u64,
    /// As in [`Op::window`]; 0 of a copy.
    pub(crate) window: u32,
    pub(crate) request_id: u32,
    pub(crate) body: Arc<DirectBody>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// Clients that are at home on one shard.
    Clients(SmallVec<[ClientId; 1]>),
    /// All sessions of [`DirectBody::to_user`].
    User,
}

impl Recipient {
    pub(crate) fn client(client: ClientId) -> Recipient {
        Recipient::Clients(SmallVec::from_slice(&[client]))
    }
}

/// What became of a direct message that its sender had numbered.
#[derive(Debug)]
pub(crate) struct Receipted {
    pub(crate) sender: ClientId,
    pub(crate) seq: u64,
    pub(crate) request: MessageType,
    pub(crate) request_id: u32,
    pub(crate) receipt: Receipt,
}

/// What an inbox, or whoever knows a user's sessions, says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is in an inbox, at this offset.
    Stored(u64),
    /// It is not.
    Failed(ErrorCode),
    /// So many inboxes will say.
    Copies(u32),
}

#[derive(Debug)]
pub(crate) struct UserSession {
    pub(crate) user_id: Box<str>,
    pub(crate) session: ClientId,
    /// Whether it is there, or gone.
    pub(crate) present: bool,
}

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

/// A room's events and state of one turn, encoded once for each encoding in use.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) edge_room: EdgeRoomId,
    pub(crate) events: Encoded,
    pub(crate) state: Encoded,
    /// The offset before the first of its events.
    pub(crate) base: u64,
    /// The room's state version with this delivery, where it carries versioned state.
    pub(crate) version: Option<u64>,
    /// Ranges that their senders don't get.
    pub(crate) exclusions: Vec<Exclusion>,
    /// Bytes that this delivery is counted with on its link.
    pub(crate) bytes: usize,
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
