//! One room's log, what it costs, and when something of it ages out.

use std::collections::BTreeSet;
use std::sync::Arc;

use roomcast_protocol::mutated;

use super::Appended;
use crate::id::ClientId;
use crate::log::{
    ALLOCATION, Completion, Epoch, EventLog, Logged, Producers, Record, Retention, Verdict,
};
use crate::time::Now;

/// Logs are looked at when their times come, all of one second together.
const TICK: u64 = 1_000_000;
/// A log that goes on to be written to is looked at so often in the time that its events are kept.
const LOOKS: u64 = 8;

#[derive(Debug)]
pub(super) struct Log {
    pub(super) name: Arc<str>,
    pub(super) epoch: Epoch,
    pub(super) timestamp: i64,
    pub(super) retention: Retention,
    pub(super) events: EventLog,
    pub(super) producers: Producers,
    pub(super) exits: usize,
    /// Since when the room is not there, in microseconds.
    pub(super) closed_at: Option<u64>,
    /// Where it stands in the order in which logs go.
    pub(super) order: Option<u64>,
    /// Where it stands in the order in which logs are looked at.
    pub(super) due: Option<u64>,
}

/// Logs by a number of each: an entry is taken out when its log moves or goes.
pub(super) type Ordered = BTreeSet<(u64, u32)>;

/// Exits after which those of whom nothing is kept are looked for.
const EXITS: usize = 64;

/// Its share of the tables, at the time when they have just grown: a slot, a name, and a place in each order.
const TABLES: usize = 2 * 16 + 60 + 2 * 40;

impl Log {
    pub(super) fn new(name: Arc<str>, epoch: Epoch, now: Now, retention: Retention) -> Log {
        Log {
            name,
            epoch,
            timestamp: now.unix_ms,
            retention,
            events: EventLog::default(),
            producers: Producers::default(),
            exits: 0,
            closed_at: None,
            order: None,
            due: None,
        }
    }

    /// All the memory that there would not be without it, in bytes.
    pub(super) fn cost(&self) -> usize {
        // Itself, the name with its counters, the two parts of the ring.
        size_of::<Log>()
            + TABLES
            + 4 * ALLOCATION
            + 2 * size_of::<usize>()
            + self.name.len()
            + self.events.held()
            + self.producers.held()
    }

    pub(super) fn append(
        &mut self,
        now: Now,
        sender: Option<ClientId>,
        record: &Record<'_>,
    ) -> Appended {
        let numbered = sender.filter(|_| record.seq > 0);
        if let Some(client) = numbered {
            match self.producers.check(client, record.seq) {
                Verdict::Next => {}
                Verdict::Logged(_) if mutated!("repeat_is_logged_again") => {}
                known => return Appended::Known(known),
            }
        }
        // The wall clock may step back; a room's time may not.
        self.timestamp = self.timestamp.max(now.unix_ms);
        let timestamp = self.timestamp;
        let now = Now {
            unix_ms: timestamp,
            ..now
        };
        let offset = self.events.append(&self.retention, now, record);
        if let Some(client) = numbered {
            self.producers.logged(client, offset);
        }
        Appended::Done(Completion { offset, timestamp })
    }

    /// Appends an event, unless one was appended with this id.
    pub(super) fn append_once(
        &mut self,
        now: Now,
        once: ClientId,
        record: &Record<'_>,
    ) -> Appended {
        match self.producers.check(once, 1) {
            Verdict::Next => {}
            known => return Appended::Known(known),
        }
        let appended = self.append(now, None, record);
        if let Appended::Done(completion) = appended {
            self.producers.logged_once(once, completion.offset);
            // Each of whom something is kept has an event: the others are looked for when they are as many.
            if self.producers.absent() > 2 * self.events.len() + EXITS {
                self.producers.forget(self.events.first());
            }
        }
        appended
    }

    /// A client has left: those of whom nothing is kept are looked for at times.
    pub(super) fn forget_exits(&mut self) {
        self.exits += 1;
        if self.exits >= EXITS + self.producers.len() {
            self.exits = 0;
            self.producers.forget(self.events.first());
        }
    }

    /// Takes in an event that was logged before, at the time that it says. One that does not come behind the last one
    /// ends what was there: there would be a gap.
    pub(super) fn load(&mut self, now: Now, event: &Logged<'_>) {
        if event.offset != self.events.last() + 1 {
            self.events.begin_after(event.offset.saturating_sub(1));
        }
        let age = u64::try_from(now.unix_ms.saturating_sub(event.timestamp)).unwrap_or(0);
        let at = Now {
            micros: now.micros.saturating_sub(age.saturating_mul(1_000)),
            unix_ms: event.timestamp,
        };
        self.events.append(&self.retention, at, &event.record);
        self.trim(now);
    }

    /// Drops what is older than it may be.
    pub(super) fn trim(&mut self, now: Now) {
        self.events.trim(&self.retention, now);
    }

    /// Drops what is older than it may be, who is known by that alone, and memory that it needs no more.
    pub(super) fn tidy(&mut self, now: Now) {
        self.trim(now);
        self.events.shrink();
        self.producers.forget(self.events.first());
    }

    /// Microseconds at which it ends.
    pub(super) fn ends_at(&self) -> Option<u64> {
        let age = self.retention.age.saturating_mul(1_000);
        let closed = self.closed_at.filter(|_| age > 0)?;
        Some(closed.saturating_add(age))
    }

    /// Microseconds at which it is to be looked at next.
    pub(super) fn next_look(&self, now: Now) -> Option<u64> {
        let age = self.retention.age.saturating_mul(1_000);
        let oldest = self.events.oldest().filter(|_| age > 0);
        let aged = oldest.map(|oldest| {
            let over = oldest.saturating_add(1).saturating_mul(1_000);
            let over = over.saturating_add(age);
            over.max(now.micros.saturating_add(age / LOOKS))
        });
        let at = [aged, self.ends_at()].into_iter().flatten().min()?;
        Some(at.div_ceil(TICK).saturating_mul(TICK))
    }

    /// Whether it is missing where it belongs. Where it is, its place may be earlier than it had to be.
    pub(super) fn is_misplaced(&self) -> bool {
        self.order.is_none() || self.due.is_none() && self.retention.age > 0
    }

    /// Its place among those that go to make room: those of closed rooms, then the quietest of the others. An open one
    /// without events can't go.
    pub(super) fn rank(&self) -> Option<u64> {
        const OPEN: u64 = 1 << 63;
        match self.closed_at {
            Some(at) => Some(at),
            None => self.events.newest().map(|newest| OPEN | newest),
        }
    }
}
