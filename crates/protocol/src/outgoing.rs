//! What the server sends, to be encoded.

use std::fmt;

use crate::{ErrorCode, GameAction, LogPosition, MessageType, Payload};

/// A message to a client. `""`, 0 and `false` in the envelope mean unset.
///
/// ```
/// use roomcast_protocol::{Body, Format, Outgoing, Payload, Sender, encode};
///
/// let chat = Outgoing {
///     room_id: "room-1",
///     from: Sender { client_id: "c1", player_num: 2, ..Sender::NOBODY },
///     offset: 7,
///     timestamp: 1_700_000_000_000,
///     body: Body::Chat(Payload::text("hello")),
///     ..Outgoing::default()
/// };
/// let mut out = Vec::new();
/// encode(Format::Json, &chat, &mut out);
/// assert_eq!(
///     String::from_utf8(out).unwrap(),
///     r#"{"type":"chat","from_client_id":"c1","room_id":"room-1","payload":"hello","timestamp":1700000000000,"offset":7,"payload_kind":"text","from_player_num":2}"#
/// );
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Outgoing<'a> {
    /// Who sent it.
    pub from: Sender<'a>,
    /// The session that a direct message is for.
    pub to_client_id: &'a str,
    /// The user that a direct message is for.
    pub to_user_id: &'a str,
    /// The room that it belongs to.
    pub room_id: &'a str,
    /// Milliseconds since the Unix epoch. Always written.
    pub timestamp: i64,
    /// The sender's.
    pub seq: u64,
    /// The place in the room's log; of a direct message, in the receiver's inbox.
    pub offset: u64,
    /// The log that `offset` belongs to.
    pub epoch: &'a str,
    /// Not in the log.
    pub ephemeral: bool,
    /// The client's number for the request that this answers.
    pub request_id: u32,
    /// What it says.
    pub body: Body<'a>,
}

/// Who a message is from, as the server knows it: `from_client_id` and the other `from_` fields of the envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender<'a> {
    /// The session. `""`: no client sent it.
    pub client_id: &'a str,
    /// The user that the session's token names, or that a service names. `""`: nobody in particular.
    pub user_id: &'a str,
    /// The player's number in the room, at most [`i32::MAX`]. 0: it has none.
    pub player_num: u32,
    /// The service that sent it: there is no `client_id` then. `""`: a client sent it, or the room itself.
    pub service: &'a str,
}

impl<'a> Sender<'a> {
    /// The room itself, or the server.
    pub const NOBODY: Sender<'static> = Sender::client("");

    /// A session without a token, outside of rooms.
    pub const fn client(client_id: &'a str) -> Sender<'a> {
        Sender {
            client_id,
            user_id: "",
            player_num: 0,
            service: "",
        }
    }
}

/// What the server says, by [`MessageType`].
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// The answer to `hello`. By reference, so that no other pays for its size when it is moved.
    Welcome(&'a Welcome<'a>),
    /// The answer to `join_room`.
    Joined(Joined<'a>),
    /// A player came.
    PlayerJoined(Member<'a>),
    /// A player left.
    PlayerLeft {
        /// Who.
        player_id: &'a str,
        /// The player's number in the room.
        player_num: u32,
    },
    /// The whole entry of one player.
    Presence(Member<'a>),
    /// How many players are in the room.
    PresenceCount {
        /// So many.
        total: u64,
    },
    /// The state that the server owns.
    Sync(StateSync<'a>),
    /// Something said.
    Chat(Payload<'a>),
    /// An event with any payload.
    Event {
        /// Its name.
        name: &'a str,
        /// Its payload, or [`Payload::NONE`].
        payload: Payload<'a>,
    },
    /// Something done in a game.
    GameAction(&'a GameAction<'a>),
    /// Each `seq` with the offset that it got (0: it was given up). Without a room: direct messages.
    Ack(&'a [(u64, u64)]),
    /// A refusal.
    Error(ErrorBody<'a>),
    /// The answer to `ping`.
    Pong {
        /// The ping's payload, or [`Payload::NONE`].
        payload: Payload<'a>,
        /// Milliseconds since the Unix epoch: the message's timestamp, whatever [`Outgoing::timestamp`] says.
        server_time: i64,
    },
    /// A page of members.
    Members {
        /// In the order of their numbers.
        members: &'a [Member<'a>],
        /// How many the room has.
        total: u64,
        /// Where the next page begins; 0: this is the last.
        next: u32,
    },
    /// A page of a room's events.
    History(History<'a>),
    /// The answer to a client's `auth`.
    Auth {
        /// When the token ends, in milliseconds since the Unix epoch; 0: never.
        token_expires_at: i64,
        /// Whom it names.
        user_id: &'a str,
    },
    /// Please connect again.
    Reconnect {
        /// After this many milliseconds.
        delay_ms: u64,
        /// Where; `""` is the same place.
        url: &'a str,
        /// Why.
        reason: &'a str,
    },
}

impl Default for Body<'_> {
    fn default() -> Self {
        Body::Ack(&[])
    }
}

impl Body<'_> {
    /// The type of the message.
    pub const fn message_type(&self) -> MessageType {
        match self {
            Body::Welcome(_) => MessageType::Welcome,
            Body::Joined(_) => MessageType::Joined,
            Body::PlayerJoined(_) => MessageType::PlayerJoined,
            Body::PlayerLeft { .. } => MessageType::PlayerLeft,
            Body::Presence(_) | Body::PresenceCount { .. } => MessageType::Presence,
            Body::Sync(_) => MessageType::Sync,
            Body::Chat(_) => MessageType::Chat,
            Body::Event { .. } => MessageType::Event,
            Body::GameAction(_) => MessageType::GameAction,
            Body::Ack(_) => MessageType::Ack,
            Body::Error(_) => MessageType::Error,
            Body::Pong { .. } => MessageType::Pong,
            Body::Members { .. } => MessageType::Members,
            Body::History(_) => MessageType::History,
            Body::Auth { .. } => MessageType::Auth,
            Body::Reconnect { .. } => MessageType::Reconnect,
        }
    }
}

/// The payload of `welcome`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Welcome<'a> {
    /// The session's id.
    pub client_id: &'a str,
    /// For the next `hello`; `""`: sessions end with their connections.
    pub resume_token: &'a str,
    /// Whether the session of the client's resume token goes on.
    pub resumed: bool,
    /// Milliseconds between the `ping`s that a client should send.
    pub ping_interval_ms: u64,
    /// What the server takes.
    pub limits: WelcomeLimits,
    /// Milliseconds since the Unix epoch.
    pub server_time: i64,
    /// The protocol's version that the server speaks.
    pub version: u32,
    /// Whether a `seq` is answered by an `ack`.
    pub seq_acked: bool,
    /// Milliseconds that the session lives without a connection; 0: none.
    pub grace_ms: u64,
    /// Direct messages after this one follow; `None`: there is no inbox.
    pub inbox: Option<&'a LogPosition<'a>>,
    /// Whether these are all since the position that was asked for.
    pub inbox_recovered: bool,
    /// Whom the token names; `""`: nobody.
    pub user_id: &'a str,
    /// When the token ends, in milliseconds since the Unix epoch; 0: never.
    pub token_expires_at: i64,
    /// Whether a direct message sent again may be delivered twice.
    pub direct_repeats_possible: bool,
}

/// What the server takes; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WelcomeLimits {
    /// Bytes of a message.
    pub max_message: u64,
    /// Rooms of a session.
    pub max_rooms: u32,
    /// Messages a second in the long run.
    pub messages_per_second: u32,
    /// Messages at once.
    pub burst: u32,
    /// Bytes of one's presence as JSON text.
    pub max_presence: u64,
    /// Bytes of a room's name.
    pub max_name: u32,
    /// Messages of a room that may wait for an answer.
    pub max_unanswered: u32,
}

/// The payload of `joined`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Joined<'a> {
    /// One's own player.
    pub player_id: &'a str,
    /// One's own number in the room.
    pub player_num: u32,
    /// The mode of the room's kind: `state` or `relay`.
    pub mode: &'a str,
    /// What the room tells about its members: `full`, `count` or `none`.
    pub presence: &'a str,
    /// How many players the room has.
    pub total: u64,
    /// The room's log.
    pub epoch: &'a str,
    /// Events after this one follow.
    pub offset: u64,
    /// Whether everything since the position that was asked for follows.
    pub recovered: bool,
    /// Whether a message sent again may be done twice.
    pub repeats_possible: bool,
    /// The first of them, at most 100.
    pub members: &'a [Member<'a>],
    /// What the application says of the room: the text of a JSON object, as [`presence::merge`](crate::presence::merge)
    /// gives it; `""`: nothing.
    pub properties: &'a str,
}

/// A player of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member<'a> {
    /// The user's id; without auth the `client_id`.
    pub player_id: &'a str,
    /// The number in the room, from 1.
    pub player_num: u32,
    /// `""`: none.
    pub nickname: &'a str,
    /// The text of a JSON object, as [`presence::merge`](crate::presence::merge) gives it; `""`: none.
    pub presence: &'a str,
    /// Whether a connection is there at the moment.
    pub connected: bool,
}

/// The payload of `sync`.
#[derive(Clone, Copy)]
pub struct StateSync<'a> {
    /// Rises with each `sync` of a room.
    pub frame_num: i64,
    /// Those that changed, or all.
    pub players: &'a dyn Players,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Whether these are all players.
    pub full: bool,
    /// The ids of those who left.
    pub left: &'a dyn Ids,
    /// The last event of the room's log that the state includes.
    pub offset: u64,
}

impl Default for StateSync<'_> {
    fn default() -> Self {
        let nobody: &'static [PlayerState<'static>; 0] = &[];
        let none: &'static [&'static str; 0] = &[];
        StateSync {
            frame_num: 0,
            players: nobody,
            timestamp: 0,
            full: false,
            left: none,
            offset: 0,
        }
    }
}

impl fmt::Debug for StateSync<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateSync")
            .field("frame_num", &self.frame_num)
            .field("timestamp", &self.timestamp)
            .field("full", &self.full)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// The payload of `history`.
#[derive(Clone, Copy)]
pub struct History<'a> {
    /// The events, each as it was delivered, in the order that was asked for.
    pub events: &'a dyn Messages,
    /// `before` or `after` of the next page; 0: this is the last.
    pub next: u64,
    /// The log that they are from.
    pub epoch: &'a str,
}

impl Default for History<'_> {
    fn default() -> Self {
        let none: &'static [Outgoing<'static>; 0] = &[];
        History {
            events: none,
            next: 0,
            epoch: "",
        }
    }
}

impl fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("next", &self.next)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// Messages that an encoder can go through. Implemented for arrays, vectors and slices of [`Outgoing`]; a log implements
/// it for a part of itself, so that a page of `history` is made without a list of its events.
///
/// None of them is itself a `history`: a client refuses one inside another.
pub trait Messages {
    /// Calls `each` for every one, in the same order at every call.
    fn for_each(&self, each: &mut dyn FnMut(&Outgoing<'_>));
}

impl Messages for Vec<Outgoing<'_>> {
    fn for_each(&self, each: &mut dyn FnMut(&Outgoing<'_>)) {
        self.iter().for_each(each);
    }
}

impl Messages for &[Outgoing<'_>] {
    fn for_each(&self, each: &mut dyn FnMut(&Outgoing<'_>)) {
        self.iter().for_each(each);
    }
}

impl<const N: usize> Messages for [Outgoing<'_>; N] {
    fn for_each(&self, each: &mut dyn FnMut(&Outgoing<'_>)) {
        self.iter().for_each(each);
    }
}

/// Players that an encoder can go through. Implemented for arrays, vectors and slices of [`PlayerState`]; a room
/// implements it for its own table, so that a `sync` copies nothing first.
pub trait Players {
    /// Calls `each` for every one, in the same order at every call.
    fn for_each(&self, each: &mut dyn FnMut(&PlayerState<'_>));
}

impl Players for Vec<PlayerState<'_>> {
    fn for_each(&self, each: &mut dyn FnMut(&PlayerState<'_>)) {
        self.iter().for_each(each);
    }
}

impl Players for &[PlayerState<'_>] {
    fn for_each(&self, each: &mut dyn FnMut(&PlayerState<'_>)) {
        self.iter().for_each(each);
    }
}

impl<const N: usize> Players for [PlayerState<'_>; N] {
    fn for_each(&self, each: &mut dyn FnMut(&PlayerState<'_>)) {
        self.iter().for_each(each);
    }
}

/// Ids that an encoder can go through. Implemented for arrays, vectors and slices of strings.
pub trait Ids {
    /// Calls `each` for every one, in the same order at every call.
    fn for_each(&self, each: &mut dyn FnMut(&str));
}

impl<T: AsRef<str>> Ids for Vec<T> {
    fn for_each(&self, each: &mut dyn FnMut(&str)) {
        self.iter().for_each(|id| each(id.as_ref()));
    }
}

impl<T: AsRef<str>> Ids for &[T] {
    fn for_each(&self, each: &mut dyn FnMut(&str)) {
        self.iter().for_each(|id| each(id.as_ref()));
    }
}

impl<T: AsRef<str>, const N: usize> Ids for [T; N] {
    fn for_each(&self, each: &mut dyn FnMut(&str)) {
        self.iter().for_each(|id| each(id.as_ref()));
    }
}

/// A player's state in a `state` room. What is not finite is written as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlayerState<'a> {
    /// Who.
    pub player_id: &'a str,
    /// Where.
    pub position: Position,
    /// Units a second.
    pub velocity: Velocity,
    /// 0: down.
    pub health: i32,
    /// Points.
    pub score: i32,
    /// The number in the room, from 1.
    pub player_num: i32,
}

/// A place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Position {
    /// First axis.
    pub x: f64,
    /// Second axis.
    pub y: f64,
    /// Third axis.
    pub z: f64,
}

/// A speed, in units a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Velocity {
    /// First axis.
    pub x: f64,
    /// Second axis.
    pub y: f64,
    /// Third axis.
    pub z: f64,
}

/// The payload of `error`. 0 and `None` mean unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorBody<'a> {
    /// The code.
    pub code: ErrorCode,
    /// A sentence for a developer.
    pub message: &'a str,
    /// The `seq` of the message that it answers.
    pub seq: u64,
    /// Milliseconds after which sending it again may help.
    pub retry_after_ms: u64,
    /// The type of the message that it answers.
    pub request: Option<MessageType>,
}
