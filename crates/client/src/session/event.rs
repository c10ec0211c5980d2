//! What a session tells, and what it is given.

use std::fmt;
use std::sync::Arc;

use roomcast_protocol::Format;
use roomcast_protocol::client::{Member, StateSync};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::message::{Message, Position};

/// Names what was asked for, in the [`Event`] that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// What the driver is to do with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Have none: it is not the time yet ([`Session::poll_timeout`](super::Session::poll_timeout)), or all is over.
    Down,
    /// Open one, and report [`connected`](super::Session::connected) or
    /// [`disconnected`](super::Session::disconnected).
    Connect,
    /// Keep the one that there is.
    Up,
    /// Close the one that there is with this code, wait for no answer, and report
    /// [`disconnected`](super::Session::disconnected).
    Close(u16),
}

/// How it stands with the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// For the first time.
    Connecting,
    /// The server has said `welcome`.
    Connected {
        /// The session of before goes on.
        resumed: bool,
    },
    /// It is gone and will be opened again.
    Reconnecting {
        /// Why.
        reason: Error,
        /// When, by the clock of the session's `now`.
        at: u64,
    },
    /// For good.
    Closed(Error),
}

/// What happened. Events of a room come between its `Joined` and its `Left`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The connection's status has changed.
    Status(Status),
    /// A room is joined: after [`Session::join`](super::Session::join), and again after each reconnection.
    Joined {
        /// The room.
        room: Arc<str>,
        /// All since the position that was asked for follows; false where none was, or a [`Event::Gap`] tells more.
        recovered: bool,
    },
    /// A room is not joined any more, or could not be.
    Left {
        /// The room.
        room: Arc<str>,
        /// Why; `None`: it was asked for.
        error: Option<Error>,
    },
    /// An event of a room: once, in the room's order.
    Message {
        /// The room.
        room: Arc<str>,
        /// The event.
        message: Message,
    },
    /// A direct message: once, in the order of the inbox.
    Direct(Message),
    /// Events may be missing, and won't come.
    Gap {
        /// The room; `None`: direct messages.
        room: Option<Arc<str>>,
        /// The last one that came, if any.
        since: Option<Position>,
        /// What comes next is after this.
        now: Position,
    },
    /// The room's members have changed: see [`Session::members`](super::Session::members).
    Members {
        /// The room.
        room: Arc<str>,
    },
    /// The state that the server owns, or what changed in it: [`Session::state`](super::Session::state) has all.
    Sync {
        /// The room.
        room: Arc<str>,
        /// The state.
        sync: StateSync,
    },
    /// A message has its answer. There is one for each ticket of a message.
    Settled {
        /// Which message.
        ticket: Ticket,
        /// What became of it.
        result: Result<Receipt, Error>,
    },
    /// A page of a room's events, in the order that was asked for.
    History {
        /// Which request.
        ticket: Ticket,
        /// The page.
        result: Result<HistoryPage, Error>,
    },
    /// A page of a room's members.
    MembersPage {
        /// Which request.
        ticket: Ticket,
        /// The page.
        result: Result<MembersPage, Error>,
    },
    /// Something without a ticket was refused: an action, an ephemeral event, presence, a token.
    Refused {
        /// The room, if it was of one.
        room: Option<Arc<str>>,
        /// The type of the message.
        request: String,
        /// Why.
        error: Error,
    },
    /// The token ends soon: give another with [`Session::set_token`](super::Session::set_token).
    TokenEnds,
    /// The server sent what can't be read; events may be missing.
    Unreadable(Error),
}

/// A message is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Its number: with the `client_id` what names it to receivers.
    pub seq: u64,
    /// Its place in the room's log, or in the recipient's inbox. 0 where the server acks nothing
    /// ([`Terms::seq_acked`]): then it was given to the connection, and more is not known.
    pub offset: u64,
}

/// A page of a room's events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryPage {
    /// As they were delivered.
    pub events: Vec<Message>,
    /// Where the next page begins; 0: this is the last.
    pub next: u64,
    /// The log that they are of.
    pub epoch: String,
}

/// A page of a room's members.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MembersPage {
    /// In the order of their numbers.
    pub members: Vec<Member>,
    /// How many the room has.
    pub total: u64,
    /// The number after which the next page begins; 0: this is the last.
    pub next: u32,
}

/// What the server's `welcome` said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Whom the token names; empty without one.
    pub user_id: String,
    /// Milliseconds from one `ping` to the next.
    pub ping_interval_ms: u64,
    /// How long the session lives without a connection.
    pub grace_ms: u64,
    /// Whether numbered messages are answered.
    pub seq_acked: bool,
    /// What the server takes; 0: no limit.
    pub limits: roomcast_protocol::WelcomeLimits,
    /// When the token ends, in milliseconds since the Unix epoch; 0: never.
    pub token_expires_at: i64,
}

/// What a session is made with. The defaults are those of the SDKs.
#[derive(Clone)]
pub struct Config {
    /// JSON, unless changed.
    pub format: Format,
    /// Bytes of messages that may wait for answers, payloads and 128 a message: 1 MiB. One more is refused with
    /// `outbox_full`; those that wait are never dropped for it.
    pub outbox_bytes: usize,
    /// The shortest wait before a reconnection: 500.
    pub backoff_min_ms: u64,
    /// The longest: 20,000.
    pub backoff_max_ms: u64,
    /// How long `hello`, a join and a probe may go unanswered: 10,000.
    pub answer_ms: u64,
    /// Says who the client is.
    pub token: Option<String>,
    /// The session of before, from [`Session::save`](super::Session::save).
    pub saved: Option<Saved>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            format: Format::Json,
            outbox_bytes: 1 << 20,
            backoff_min_ms: 500,
            backoff_max_ms: 20_000,
            answer_ms: 10_000,
            token: None,
            saved: None,
        }
    }
}

impl fmt::Debug for Config {
    /// Without the tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("format", &self.format)
            .field("outbox_bytes", &self.outbox_bytes)
            .field("backoff_min_ms", &self.backoff_min_ms)
            .field("backoff_max_ms", &self.backoff_max_ms)
            .finish_non_exhaustive()
    }
}

/// What it takes to go on with a session in another process. Its `resume_token` is a secret; it may be used once, and by
/// one. Messages without an answer are not in it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The session's id.
    pub client_id: String,
    /// Opens the session.
    pub resume_token: String,
    /// The last direct message received.
    pub inbox: Option<Position>,
    /// The number of the next direct message.
    pub next_direct_seq: u64,
    /// The rooms that are joined, and those where messages were numbered.
    pub rooms: Vec<SavedRoom>,
}

/// A room of [`Saved`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRoom {
    /// Its name.
    pub room: String,
    /// Whether it is joined.
    pub joined: bool,
    /// What others see.
    pub nickname: Option<String>,
    /// The last event received.
    pub position: Option<Position>,
    /// The number of the next message.
    pub next_seq: u64,
}

impl fmt::Debug for Saved {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved")
            .field("client_id", &self.client_id)
            .field("rooms", &self.rooms)
            .finish_non_exhaustive()
    }
}

/// How a room is joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinOptions {
    /// The last event received in another life, to get what came after it.
    pub since: Option<Position>,
    /// What others see.
    pub nickname: Option<String>,
    /// Keys of one's own entry.
    pub presence: Map<String, Value>,
    /// For servers that ask for one.
    pub token: Option<String>,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// Given up when it was not sent for so long. One that may have arrived is settled when the server has said whether
    /// it did. `None`: it waits for as long as the session lives.
    pub ttl_ms: Option<u64>,
    /// Whether the sender goes without its own copy; `None`: as the room's kind is configured.
    pub no_echo: Option<bool>,
    /// Sent again also where the server has forgotten who sent it, so that receivers may get it twice and can't tell.
    /// Else it fails then with the code `unconfirmed`.
    pub at_least_once: bool,
}
