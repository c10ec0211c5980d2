//! What a client sends, decoded.

use std::borrow::Cow;

use crate::presence::PresenceUpdate;
use crate::{GameAction, IncomingPayload, MessageType};

/// A message from a client. Fields that are empty or 0 on the wire are `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming<'a> {
    /// The room. From the envelope; in `join_room` and `leave_room` else from the payload. A direct message has none.
    pub room_id: Option<Cow<'a, str>>,
    /// The session that a direct message is for. Only a `chat` or an `event` can be one.
    pub to_client_id: Option<Cow<'a, str>>,
    /// The user that a direct message is for. It has one recipient: where this is set, the other isn't.
    pub to_user_id: Option<Cow<'a, str>>,
    /// From 1 to [`MAX_NUMBER`](crate::MAX_NUMBER).
    pub seq: Option<u64>,
    /// The client's number for this request, which what answers it repeats; 0: it has none.
    pub request_id: u32,
    /// Not to be logged.
    pub ephemeral: bool,
    /// Whether the sender goes without its own; `None`: as the room's kind is configured.
    pub no_echo: Option<bool>,
    /// What it asks.
    pub request: Request<'a>,
}

impl<'a> Incoming<'a> {
    /// A message with nothing but this request.
    pub const fn new(request: Request<'a>) -> Incoming<'a> {
        Incoming {
            room_id: None,
            to_client_id: None,
            to_user_id: None,
            seq: None,
            request_id: 0,
            ephemeral: false,
            no_echo: None,
            request,
        }
    }

    /// The same, for a room.
    pub fn in_room(self, room_id: &'a str) -> Incoming<'a> {
        Incoming {
            room_id: Some(Cow::Borrowed(room_id)),
            ..self
        }
    }
}

/// What a client asks, by [`MessageType`].
#[derive(Clone, Debug, PartialEq)]
pub enum Request<'a> {
    /// The first message. Boxed, so that no other pays for its size when it is moved.
    Hello(Box<Hello<'a>>),
    /// Join a room. [`Incoming::room_id`] is there.
    JoinRoom(JoinRoom<'a>),
    /// Leave a room.
    LeaveRoom,
    /// Do something in a game.
    GameAction(GameAction<'a>),
    /// Say something. There is a payload.
    Chat(IncomingPayload<'a>),
    /// An event with any payload.
    Event {
        /// Its name, valid.
        name: Cow<'a, str>,
        /// Its payload, or [`IncomingPayload::NONE`].
        payload: IncomingPayload<'a>,
    },
    /// Set or remove keys of one's own entry.
    Presence(PresenceUpdate<'a>),
    /// Give up a `seq`.
    Skip(Skip),
    /// Asks for a `pong` with this payload, or with [`IncomingPayload::NONE`].
    Ping(IncomingPayload<'a>),
    /// Asks for a page of members.
    Members(MembersRequest),
    /// Asks for a page of events.
    History(HistoryRequest),
    /// Renews the token of the connection.
    Auth {
        /// Says who the client is.
        token: Cow<'a, str>,
    },
}

impl Request<'_> {
    /// The type of the message.
    pub const fn message_type(&self) -> MessageType {
        match self {
            Request::Hello(_) => MessageType::Hello,
            Request::JoinRoom(_) => MessageType::JoinRoom,
            Request::LeaveRoom => MessageType::LeaveRoom,
            Request::GameAction(_) => MessageType::GameAction,
            Request::Chat(_) => MessageType::Chat,
            Request::Event { .. } => MessageType::Event,
            Request::Presence(_) => MessageType::Presence,
            Request::Skip(_) => MessageType::Skip,
            Request::Ping(_) => MessageType::Ping,
            Request::Members(_) => MessageType::Members,
            Request::History(_) => MessageType::History,
            Request::Auth { .. } => MessageType::Auth,
        }
    }
}

/// The payload of `hello`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hello<'a> {
    /// The protocol's version that the client speaks; 0 where it does not say.
    pub version: u32,
    /// What the client can do beyond the version.
    pub capabilities: Vec<Cow<'a, str>>,
    /// Says who the client is.
    pub token: Option<Cow<'a, str>>,
    /// Asks for the session of before.
    pub resume_token: Option<Cow<'a, str>>,
    /// How far the client has come, by room.
    pub positions: Vec<RoomPosition<'a>>,
    /// The last direct message received.
    pub inbox: Option<LogPosition<'a>>,
    /// The lowest `seq` of its own direct messages without an answer.
    pub first_direct_seq: Option<u64>,
}

/// How far a client has come in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct RoomPosition<'a> {
    /// The room, a valid name.
    pub room_id: Cow<'a, str>,
    /// The last event received.
    pub since: Option<LogPosition<'a>>,
    /// The lowest `seq` without an answer.
    pub first_seq: Option<u64>,
}

/// A place in a room's log, or in a session's inbox.
#[derive(Clone, Debug, PartialEq)]
pub struct LogPosition<'a> {
    /// Which log: at most [`MAX_EPOCH`](crate::MAX_EPOCH) characters.
    pub epoch: Cow<'a, str>,
    /// After the event with this offset; 0 is the beginning.
    pub offset: u64,
}

impl LogPosition<'_> {
    /// The same, with an epoch of its own.
    pub fn into_owned(self) -> LogPosition<'static> {
        LogPosition {
            epoch: Cow::Owned(self.epoch.into_owned()),
            offset: self.offset,
        }
    }
}

/// The payload of `join_room`. Its room is [`Incoming::room_id`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinRoom<'a> {
    /// What others see, valid.
    pub nickname: Option<Cow<'a, str>>,
    /// The last event received, to get what came after it.
    pub since: Option<LogPosition<'a>>,
    /// The lowest `seq` without an answer.
    pub first_seq: Option<u64>,
    /// Keys of the member entry.
    pub presence: PresenceUpdate<'a>,
    /// Says that the client may join.
    pub token: Option<Cow<'a, str>>,
}

/// The payload of `skip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The `seq` that is given up, from 1.
    pub seq: u64,
}

/// The payload of `members`, from a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MembersRequest {
    /// Members with a greater `player_num`.
    pub after: u32,
    /// At most so many; 0 leaves it to the server.
    pub limit: u32,
}

/// The payload of `history`, from a client. With `after` there is no `before`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Events before this offset, the newest first; 0, without `after`, begins at the newest.
    pub before: u64,
    /// Events after this offset, the oldest first; 0 is the beginning of the log.
    pub after: Option<u64>,
    /// At most so many; 0 leaves it to the server.
    pub limit: u32,
}
