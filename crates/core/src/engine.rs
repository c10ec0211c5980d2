//! The narrow place at which a room gets its order: a publish is submitted, its completion comes back.
//!
//! Nothing is delivered or answered before its completion. An engine inside the process completes
//! in the same call; one across a network says [`Submitted::Pending`] and completes later, each
//! room's submissions in the order in which they were made.

use roomcast_protocol::ErrorCode;

use crate::id::ClientId;
use crate::log::EventLog;
pub use crate::log::{Record, Retention, Verdict};
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

    /// An epoch as it stands in a message; `None`: it is none.
    pub fn parse(text: &str) -> Option<Epoch> {
        let mut epoch = Epoch {
            text: [0; Epoch::MAX],
            length: u8::try_from(text.len()).ok()?,
        };
        epoch
            .text
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(epoch)
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

/// A place in a log: after the event with this offset, of this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// Which log.
    pub epoch: Epoch,
    /// 0 is the beginning.
    pub offset: u64,
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
    /// Its number was used up before, or is not the sender's next. Never [`Verdict::Next`].
    Known(Verdict),
    /// It can't be logged now.
    Unavailable {
        /// Milliseconds after which another try makes sense.
        retry_after_ms: u64,
    },
}

/// Gives each room the order of its events, keeps the newest, and knows what was logged before.
pub trait Engine {
    /// Opens a room's log: the one that is still there from before, or a new one. `random` names the epoch then.
    /// `None`: open rooms take all the memory that logs may take, so that there is none for a new one.
    fn open(&mut self, now: Now, room: &str, retention: Retention, random: u64) -> Option<Opened>;

    /// Submits an event. One with a `seq` is logged once, in its sender's order.
    fn submit(
        &mut self,
        now: Now,
        log: LogId,
        sender: Option<ClientId>,
        record: Record<'_>,
    ) -> Submitted;

    /// The next completion of a submission that was pending, in each room in order.
    fn poll(&mut self, now: Now) -> Option<(LogId, Submitted)>;

    /// A client is in the room, and has no answer for numbers from `first_seq` on; 0 where it does not say. It may have
    /// been there before if it is `back`. Whether what it sends again may be logged twice.
    fn enter(&mut self, log: LogId, client: ClientId, first_seq: u64, back: bool) -> bool;

    /// A client is no longer in the room.
    fn exit(&mut self, log: LogId, client: ClientId);

    /// What is to be done with a number that may not be for the log.
    fn check(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict;

    /// A client gives a number up.
    fn skip(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict;

    /// A number was refused for good before it was submitted.
    fn refuse(&mut self, log: LogId, client: ClientId, seq: u64, code: ErrorCode);

    /// The newest events of a room, as far as this node keeps them: none that is older than the room's retention.
    fn events(&mut self, now: Now, log: LogId) -> Option<&EventLog>;

    /// Events of a room that went too early: [`EventLog::cut`]. It is asked after each event, and trims nothing.
    fn cut(&self, log: LogId) -> u64;

    /// Microseconds at which [`Engine::poll`] has something to do that no submission brings.
    fn next_wake(&self) -> Option<u64> {
        None
    }

    /// Bytes that logs hold here, and how many logs went whole to stay under a ceiling.
    fn usage(&self) -> (usize, u64) {
        (0, 0)
    }

    /// The room is empty and closed here. Its log stays for its retention.
    fn close(&mut self, now: Now, log: LogId);
}
