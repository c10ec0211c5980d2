//! Operations: what a connection asks of a room, on its way to the room's home.

use std::sync::Arc;

use roomcast_protocol::{
    ErrorCode, Format, HistoryRequest, MessageType, PayloadKind, PresenceUpdate,
};

use crate::address::NodeNumber;
use crate::backend::Ask;
use crate::host::Encoding;
use crate::id::{ClientId, ConnRef, EdgeRoomId, HomeRoomId};
use crate::identity::Rights;
use crate::log::{Record, Since};
use crate::player::PlayerNum;
use crate::state_position::StatePosition;

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

impl Op {
    /// Whether it is for whoever is the room's home: it names its session, or is of none.
    pub(crate) fn is_for_any_home(&self) -> bool {
        matches!(
            self.request,
            OpKind::Join(_) | OpKind::Leave(_) | OpKind::Resume(_) | OpKind::Backend(_)
        )
    }

    /// Whether it follows a join or a resume that has no answer yet: that may have gone to another home.
    pub(crate) fn follows_unanswered(&self) -> bool {
        self.head.room.node == NodeNumber::NONE
            && !self.is_for_any_home()
            && !matches!(self.request, OpKind::Detach)
    }

    /// Whether the edge has sent it to another home than the one on `node`: it has yet to hear that the room has moved.
    pub(crate) fn is_for_another_home(&self, node: NodeNumber) -> bool {
        let believed = self.head.room.node;
        believed != NodeNumber::NONE
            && believed != node
            && !self.is_for_any_home()
            && !matches!(self.request, OpKind::Detach)
    }
}

impl OpHead {
    pub(crate) const NEWCOMER: PlayerNum = PlayerNum::MAX;
}

impl OpKind {
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
            OpKind::Presence(update) => {
                keys(update) + update.nickname.as_ref().map_or(0, |it| it.len())
            }
            OpKind::Join(join) => join.nickname.len() + keys(&join.presence),
            OpKind::Backend(ask) => ask.held(),
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
    /// The node that its home is on, as the edge was told; [`NodeNumber::NONE`] where it was not yet.
    pub(crate) node: NodeNumber,
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
    /// A numbered message of this type that its sender may not send, and the right that is missing. One that was sent
    /// when it was allowed gets its first answer again.
    Forbidden(MessageType, Rights),
    Publish(Publish),
    Presence(PresenceUpdate<'static>),
    Members(MembersPage),
    /// What is newest of the room's state, for a connection that missed some.
    ReadState(ReadState),
    /// An application's backend asks. Its head has a [`ConnId`](crate::ConnId) that names the question.
    Backend(Arc<Ask>),
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
    /// As in [`Resume::turn`].
    pub(crate) turn: u64,
}

/// Answered with [`ToEdge::Left`], unless the connection is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leave {
    pub(crate) gone: bool,
    pub(crate) edge_room: EdgeRoomId,
    /// Its seat may be one of which the home knows no connection, or another one.
    pub(crate) client_id: ClientId,
    /// As in [`Resume::turn`]. 0 where nobody says it.
    pub(crate) turn: u64,
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
    /// The room has moved, and the session's connection is the one of before: its client does not know.
    pub(crate) by_edge: bool,
    /// The session's turn, which rises each time that a node takes it: what an earlier one says comes late. 0 where it has
    /// none.
    pub(crate) turn: u64,
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

    /// As a log keeps it. `silent`: whether its sender goes without it where it does not say.
    pub(crate) fn record<'a>(&'a self, client_id: &'a str, silent: bool) -> Record<'a> {
        Record {
            message_type: self.message_type,
            payload_kind: self.payload_kind,
            format: self.format,
            silent: self.no_echo.unwrap_or(silent),
            client_id,
            seq: self.seq,
            name: self.name(),
            payload: self.payload(),
            ..Record::default()
        }
    }
}
