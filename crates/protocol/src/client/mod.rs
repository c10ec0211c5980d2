//! The client's side of the codec: for SDKs, benchmarks and tests.

mod read;
mod request;

use std::borrow::Cow;

use crate::envelope::{Envelope, Side};
use crate::{
    BadMessage, Format, GameAction, Incoming, IncomingPayload, Limits, LogPosition, MessageType,
};

/// What a client sends is what the server decodes.
pub type ClientMessage<'a> = Incoming<'a>;

pub use request::encode_request;

/// Reads a message from the server. A client believes its server: there are no limits but the nesting, at 255.
///
/// # Errors
/// What is wrong with it.
pub fn decode_server(format: Format, message: &[u8]) -> Result<ServerMessage<'_>, BadMessage> {
    let mut envelope = Envelope::default();
    let body = envelope
        .read(format, message, &Limits::OFF, Side::Server)
        .and_then(|message_type| read::body(message_type, format, &mut envelope));
    match body {
        Ok(body) => Ok(ServerMessage::new(envelope, body)),
        Err(fault) => Err(envelope.bad(fault)),
    }
}

/// A message from the server. Fields that are unset are empty or 0.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerMessage<'a> {
    /// The session that sent it.
    pub from_client_id: Cow<'a, str>,
    /// The user that the sender's token names.
    pub from_user_id: Cow<'a, str>,
    /// The sender's number in the room.
    pub from_player_num: u32,
    /// The service that sent it, where no client did.
    pub from_service: Cow<'a, str>,
    /// The session that a direct message is for.
    pub to_client_id: Cow<'a, str>,
    /// The user that a direct message is for.
    pub to_user_id: Cow<'a, str>,
    /// The room that it belongs to.
    pub room_id: Cow<'a, str>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The sender's.
    pub seq: u64,
    /// The place in the room's log; of a direct message, in one's own inbox.
    pub offset: u64,
    /// The log that `offset` belongs to.
    pub epoch: Cow<'a, str>,
    /// Not in the log.
    pub ephemeral: bool,
    /// The client's own number for the request that this answers.
    pub request_id: u32,
    /// What it says.
    pub body: ServerBody<'a>,
}

impl<'a> ServerMessage<'a> {
    fn new(envelope: Envelope<'a>, body: ServerBody<'a>) -> ServerMessage<'a> {
        ServerMessage {
            from_client_id: envelope.from_client_id,
            from_user_id: envelope.from_user_id,
            from_player_num: envelope.from_player_num,
            from_service: envelope.from_service,
            to_client_id: envelope.to_client_id.unwrap_or_default(),
            to_user_id: envelope.to_user_id.unwrap_or_default(),
            room_id: envelope.room_id.unwrap_or_default(),
            timestamp: envelope.timestamp,
            seq: envelope.seq.unwrap_or_default(),
            offset: envelope.offset,
            epoch: envelope.epoch,
            ephemeral: envelope.ephemeral,
            request_id: envelope.request_id,
            body,
        }
    }
}

/// What the server says.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerBody<'a> {
    /// The answer to `hello`.
    Welcome(Welcome),
    /// The answer to `join_room`.
    Joined(Joined),
    /// A player came.
    PlayerJoined(Member),
    /// A player left.
    PlayerLeft {
        /// Who.
        player_id: String,
        /// The player's number in the room.
        player_num: u32,
    },
    /// The whole entry of one player.
    Presence(Member),
    /// How many players are in the room.
    PresenceCount {
        /// So many.
        total: u64,
    },
    /// The state that the server owns.
    Sync(StateSync),
    /// Something said.
    Chat(IncomingPayload<'a>),
    /// An event with any payload.
    Event {
        /// Its name.
        name: Cow<'a, str>,
        /// Its payload, or [`IncomingPayload::NONE`].
        payload: IncomingPayload<'a>,
    },
    /// Something done in a game.
    GameAction(GameAction<'a>),
    /// Each `seq` with the offset that it got (0: it was given up). Without a room: direct messages.
    Ack(Vec<(u64, u64)>),
    /// A refusal.
    Error(ErrorBody),
    /// The answer to `ping`; the message's timestamp is the server's clock.
    Pong(IncomingPayload<'a>),
    /// A page of members.
    Members {
        /// In the order of their numbers.
        members: Vec<Member>,
        /// How many the room has.
        total: u64,
        /// Where the next page begins; 0: this is the last.
        next: u32,
    },
    /// A page of a room's events.
    History {
        /// Each as it was delivered, in the order that was asked for; none is itself a `history`.
        events: Vec<ServerMessage<'a>>,
        /// `before` or `after` of the next page; 0: this is the last.
        next: u64,
        /// The log that they are from.
        epoch: String,
    },
    /// The answer to a client's `auth`.
    Auth {
        /// When the token ends, in milliseconds since the Unix epoch; 0: never.
        token_expires_at: i64,
        /// Whom it names.
        user_id: String,
    },
    /// Please connect again.
    Reconnect {
        /// After this many milliseconds.
        delay_ms: u64,
        /// Where; empty is the same place.
        url: String,
        /// Why.
        reason: String,
    },
}

impl ServerBody<'_> {
    /// The type of the message.
    pub const fn message_type(&self) -> MessageType {
        match self {
            ServerBody::Welcome(_) => MessageType::Welcome,
            ServerBody::Joined(_) => MessageType::Joined,
            ServerBody::PlayerJoined(_) => MessageType::PlayerJoined,
            ServerBody::PlayerLeft { .. } => MessageType::PlayerLeft,
            ServerBody::Presence(_) | ServerBody::PresenceCount { .. } => MessageType::Presence,
            ServerBody::Sync(_) => MessageType::Sync,
            ServerBody::Chat(_) => MessageType::Chat,
            ServerBody::Event { .. } => MessageType::Event,
            ServerBody::GameAction(_) => MessageType::GameAction,
            ServerBody::Ack(_) => MessageType::Ack,
            ServerBody::Error(_) => MessageType::Error,
            ServerBody::Pong(_) => MessageType::Pong,
            ServerBody::Members { .. } => MessageType::Members,
            ServerBody::History { .. } => MessageType::History,
            ServerBody::Auth { .. } => MessageType::Auth,
            ServerBody::Reconnect { .. } => MessageType::Reconnect,
        }
    }
}

/// See [`crate::Welcome`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the type it mirrors")]
pub struct Welcome {
    pub client_id: String,
    pub resume_token: String,
    pub resumed: bool,
    pub ping_interval_ms: u64,
    pub limits: crate::WelcomeLimits,
    pub server_time: i64,
    pub version: u32,
    pub seq_acked: bool,
    pub grace_ms: u64,
    pub inbox: Option<LogPosition<'static>>,
    pub inbox_recovered: bool,
    pub user_id: String,
    pub token_expires_at: i64,
    pub direct_repeats_possible: bool,
}

/// See [`crate::Joined`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the type it mirrors")]
pub struct Joined {
    pub player_id: String,
    pub player_num: u32,
    pub mode: String,
    pub presence: String,
    pub total: u64,
    pub epoch: String,
    pub offset: u64,
    pub recovered: bool,
    pub repeats_possible: bool,
    pub members: Vec<Member>,
    pub properties: String,
}

/// See [`crate::Member`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the type it mirrors")]
pub struct Member {
    pub player_id: String,
    pub player_num: u32,
    pub nickname: String,
    pub presence: String,
    pub connected: bool,
}

/// See [`crate::StateSync`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the type it mirrors")]
pub struct StateSync {
    pub frame_num: i64,
    pub players: Vec<PlayerState>,
    pub timestamp: i64,
    pub full: bool,
    pub left: Vec<String>,
    pub offset: u64,
}

/// See [`crate::PlayerState`].
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the type it mirrors")]
pub struct PlayerState {
    pub player_id: String,
    pub position: crate::Position,
    pub velocity: crate::Velocity,
    pub health: i32,
    pub score: i32,
    pub player_num: i32,
}

/// See [`crate::ErrorBody`]. The code and the type are texts: a server may know more of them.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of the type it mirrors")]
pub struct ErrorBody {
    pub code: String,
    pub message: String,
    pub seq: u64,
    pub retry_after_ms: u64,
    pub request: String,
}
