//! The narrow place at which a room gets its order: a publish is submitted, its completion comes back.
//!
//! Nothing is delivered or answered before its completion. An engine inside the process completes
//! in the same call; one across a network says [`Submitted::Pending`] and completes later, each
//! room's submissions in the order in which they were made.

use roomcast_protocol::{MessageType, PayloadKind};

use crate::time::Now;

/// Names one life of a room's log: opaque text of at most 16 characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    text: [u8; Epoch::MAX],
    length: u8,
}

impl Epoch {
    /// Most characters of an epoch.
    pub const MAX: usize = 16;

    /// From 64 random bits.
    pub fn from_random(random: u64) -> Epoch {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let text = std::array::from_fn(|i| HEX[(random >> (4 * i)) as usize % HEX.len()]);
        Epoch {
            text,
            length: Epoch::MAX as u8,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let bytes = self
            .text
            .get(..usize::from(self.length))
            .unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl std::fmt::Debug for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An engine's name for a room that it has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub u32);

/// Where a room's log stands.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// The engine's name for it.
    pub log: LogId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The offset of its last event; 0 before the first.
    pub offset: u64,
}

/// An event on its way into a room's log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// `PLAYER_JOINED`, `PLAYER_LEFT`, `CHAT`, `EVENT` or `GAME_ACTION`.
    pub message_type: MessageType,
    /// Whose it is; empty for the room's own.
    pub client_id: &'a str,
    /// The sender's number for it; 0 for none.
    pub seq: u64,
    /// An event's name.
    pub name: &'a str,
    /// What the payload is.
    pub payload_kind: PayloadKind,
    /// The payload.
    pub payload: &'a [u8],
}

/// An event's place in its room.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// 1 for a log's first event, then always one more.
    pub offset: u64,
    /// Milliseconds since the Unix epoch; never falls within a room.
    pub timestamp: i64,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug)]
pub enum Submitted {
    /// It is in the log.
    Done(Completion),
    /// [`Engine::poll`] will say.
    Pending,
    /// It can't be logged now.
    Unavailable {
        /// Milliseconds after which another try makes sense.
        retry_after_ms: u64,
    },
}

/// Gives each room the order of its events.
pub trait Engine {
    /// Opens a room's log. `random` names the epoch if it is a new one.
    fn open(&mut self, now: Now, room: &str, random: u64) -> Opened;

    /// Submits an event.
    fn submit(&mut self, now: Now, log: LogId, record: Record<'_>) -> Submitted;

    /// The next completion of a submission that was pending, in each room in order.
    fn poll(&mut self, now: Now) -> Option<(LogId, Submitted)>;

    /// The room is empty and closed here.
    fn close(&mut self, now: Now, log: LogId);
}
