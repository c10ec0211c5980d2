//! The logs of a shard's rooms, those of closed rooms among them: they give events their order, keep the newest, and
//! know what was logged before.

mod log;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use roomcast_protocol::{ErrorCode, mutated};

use crate::id::ClientId;
use crate::log::{Completion, Epoch, EventLog, Logged, Producer, Record, Retention, Verdict};
use crate::time::Now;
use log::{Log, Ordered};

/// Logs that are looked at in one turn.
const LOOKS: usize = 64;

/// Names a log that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub u32);

impl LogId {
    /// Names no log.
    pub(crate) const NONE: LogId = LogId(u32::MAX);
}

/// Where a room's log stands.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Its name here.
    pub log: LogId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The offset of its last event; 0 before the first.
    pub offset: u64,
}

/// What became of an event.
#[derive(Clone, Copy, Debug)]
pub enum Appended {
    /// It is in the log.
    Done(Completion),
    /// Its number was used up before, or is not the sender's next. Never [`Verdict::Next`].
    Known(Verdict),
}

/// The logs of a shard.
///
/// A log outlives its room for its retention: whoever opens the room again meanwhile goes on with it. No event is read
/// after its age, and its memory is given back soon after.
///
/// All logs together, with all that they cost, stay under a ceiling. Over it, logs go whole: those of rooms that are
/// closed, the one closed first first; then those of open rooms, the one that was written to last the longest ago first.
/// What an open room needs to be open can't go: where that takes all, no new room is opened.
#[derive(Debug)]
pub struct Logs {
    logs: slab::Slab<Box<Log>>,
    by_name: HashMap<Arc<str>, u32>,
    /// By [`Log::rank`]; that of an open log may have grown since.
    order: Ordered,
    /// By [`Log::next_look`].
    due: Ordered,
    /// Microseconds before which none is due: each turn asks.
    idle_until: u64,
    /// Bytes that all logs may cost; 0 is any.
    ceiling: usize,
    held: usize,
    evicted: u64,
}

impl Default for Logs {
    fn default() -> Logs {
        Logs::new(0)
    }
}

impl Logs {
    /// None yet. All that there will be cost at most `ceiling` bytes together; 0 is any.
    pub fn new(ceiling: usize) -> Logs {
        Logs {
            logs: slab::Slab::new(),
            by_name: HashMap::new(),
            order: Ordered::new(),
            due: Ordered::new(),
            idle_until: u64::MAX,
            ceiling,
            held: 0,
            evicted: 0,
        }
    }

    /// Whether a room has a log, open or closed.
    pub(crate) fn has_one_of(&self, room: &str) -> bool {
        self.by_name.contains_key(room)
    }

    /// Logs that are kept, those of closed rooms among them.
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether no log is kept.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Bytes that all logs cost.
    pub fn held(&self) -> usize {
        self.held
    }

    fn add(&mut self, log: Log) -> u32 {
        self.held += log.cost();
        let name = log.name.clone();
        let slot = self.logs.insert(Box::new(log)) as u32;
        self.by_name.insert(name, slot);
        slot
    }

    /// Changes a log; what it costs is counted anew. Nothing else changes what one costs.
    fn change<T>(&mut self, slot: u32, change: impl FnOnce(&mut Log) -> T) -> Option<T> {
        let log = self.logs.get_mut(slot as usize)?;
        let before = log.cost();
        let result = change(log);
        self.held = self.held + log.cost() - before;
        Some(result)
    }

    fn remove(&mut self, slot: u32) {
        let Some(log) = self.logs.try_remove(slot as usize) else {
            return;
        };
        self.held -= log.cost();
        self.by_name.remove(&log.name);
        log.order.map(|at| self.order.remove(&(at, slot)));
        log.due.map(|at| self.due.remove(&(at, slot)));
        // What a burst of names took is not kept.
        if self.by_name.len() < self.by_name.capacity() / 4 {
            self.by_name.shrink_to(2 * self.by_name.len());
        }
        if self.logs.is_empty() {
            self.logs = slab::Slab::new();
        }
    }

    /// Puts a log where it now belongs in both orders.
    fn place(&mut self, now: Now, slot: u32) {
        let Some(log) = self.logs.get_mut(slot as usize) else {
            return;
        };
        let (order, due) = (log.rank(), log.next_look(now));
        self.idle_until = due.map_or(self.idle_until, |at| at.min(self.idle_until));
        let orders = [
            (&mut self.order, &mut log.order, order),
            (&mut self.due, &mut log.due, due),
        ];
        for (ordered, place, new) in orders {
            if *place != new {
                place.map(|at| ordered.remove(&(at, slot)));
                new.map(|at| ordered.insert((at, slot)));
                *place = new;
            }
        }
    }

    /// Looks at logs of which something has aged out, and ends those whose time is over. Each turn asks.
    pub fn sweep(&mut self, now: Now) {
        if now.micros < self.idle_until {
            return;
        }
        for _ in 0..LOOKS {
            let first = self.due.first().copied();
            let Some((_, slot)) = first.filter(|it| it.0 <= now.micros) else {
                self.idle_until = first.map_or(u64::MAX, |it| it.0);
                return;
            };
            if self.is_over(now, slot) {
                self.remove(slot);
            } else {
                self.change(slot, |log| log.tidy(now));
                self.place(now, slot);
            }
        }
    }

    fn is_over(&self, now: Now, slot: u32) -> bool {
        let ends_at = self.logs.get(slot as usize).and_then(|it| it.ends_at());
        ends_at.is_some_and(|at| at <= now.micros)
    }

    /// Makes room under the ceiling.
    fn evict(&mut self) {
        self.make_room(0);
    }

    /// Makes room under the ceiling for so many bytes more. False: there is not enough that can go.
    fn make_room(&mut self, more: usize) -> bool {
        let ceiling = match self.ceiling {
            0 => usize::MAX,
            ceiling => ceiling,
        };
        while self.held.saturating_add(more) > ceiling
            && let Some((at, slot)) = self.order.pop_first()
        {
            let Some(log) = self.logs.get_mut(slot as usize) else {
                continue;
            };
            log.order = None;
            let rank = log.rank();
            if let Some(rank) = rank.filter(|rank| *rank > at) {
                // It was written to since it was put here.
                log.order = Some(rank);
                self.order.insert((rank, slot));
                continue;
            }
            self.evicted += u64::from(rank.is_some());
            if log.closed_at.is_some() {
                self.remove(slot);
                continue;
            }
            self.change(slot, |log| {
                log.events.clear();
                // They are all looked at: for a few it is not worth it.
                if 4 * log.producers.absent() >= log.producers.len() {
                    log.producers.forget(u64::MAX);
                }
            });
        }
        self.held.saturating_add(more) <= ceiling
    }
}

impl Logs {
    /// Opens a room's log: the one that is still there from before, or a new one. `random` names the epoch then.
    /// `None`: open rooms take all the memory that logs may take, so that there is none for a new one.
    pub fn open(
        &mut self,
        now: Now,
        room: &str,
        retention: Retention,
        random: u64,
    ) -> Option<Opened> {
        self.sweep(now);
        let known = self.by_name.get(room).copied();
        let slot = match known {
            Some(slot) if !self.is_over(now, slot) => slot,
            over => {
                if let Some(slot) = over {
                    self.remove(slot);
                }
                let epoch = Epoch::from_random(random);
                let log = Log::new(room.into(), epoch, now, retention);
                if !self.make_room(log.cost()) {
                    return None;
                }
                self.add(log)
            }
        };
        let log = &mut self.logs[slot as usize];
        (log.closed_at, log.retention) = (None, retention);
        let opened = Opened {
            log: LogId(slot),
            epoch: log.epoch,
            offset: log.events.last(),
        };
        self.place(now, slot);
        self.evict();
        Some(opened)
    }

    /// A log that a store has is taken in, to be filled with what it has. Changes of its senders are noted from here on.
    /// `None`: as with [`Logs::open`].
    pub(crate) fn load(
        &mut self,
        now: Now,
        room: &str,
        retention: Retention,
        epoch: Epoch,
    ) -> Option<LogId> {
        self.sweep(now);
        if let Some(slot) = self.by_name.get(room).copied() {
            self.remove(slot);
        }
        let mut log = Log::new(room.into(), epoch, now, retention);
        log.producers.track();
        if !self.make_room(log.cost()) {
            return None;
        }
        let slot = self.add(log);
        self.place(now, slot);
        Some(LogId(slot))
    }

    /// An event of a log that is loaded, which was logged at the time that it says.
    pub(crate) fn load_event(&mut self, now: Now, log: LogId, event: &Logged<'_>) {
        let LogId(slot) = log;
        self.change(slot, |log| log.load(now, event));
        self.place(now, slot);
        self.evict();
    }

    /// What is logged from here on is not dated before this, in milliseconds since the Unix epoch.
    pub(crate) fn not_before(&mut self, log: LogId, timestamp: i64) {
        self.change(log.0, |log| log.timestamp = log.timestamp.max(timestamp));
    }

    /// All events of a log are loaded: the offset of its last one, and the time before which it logs nothing.
    pub(crate) fn load_end(&mut self, log: LogId, offset: u64, timestamp: i64) {
        self.change(log.0, |log| {
            if !mutated!("room_time_steps_back") {
                log.timestamp = log.timestamp.max(timestamp);
            }
            if log.events.last() != offset {
                log.events.begin_after(offset);
            }
        });
    }

    /// A sender of a log that is loaded; `present`: it is in the room.
    pub(crate) fn load_sender(
        &mut self,
        log: LogId,
        client: ClientId,
        sender: Producer,
        present: bool,
    ) {
        self.change(log.0, |log| log.producers.load(client, sender, present));
        self.evict();
    }

    /// Whether senders have changed since [`Logs::take_changed`].
    pub(crate) fn has_changed(&self, log: LogId) -> bool {
        let log = self.logs.get(log.0 as usize);
        log.is_some_and(|log| log.producers.has_changed())
    }

    /// Calls `each` with the senders that have changed since the last time: nothing of one that was forgotten.
    pub(crate) fn take_changed(
        &mut self,
        log: LogId,
        mut each: impl FnMut(ClientId, Option<&Producer>),
    ) {
        self.change(log.0, |log| {
            for (client, sender) in log.producers.take_changed() {
                each(client, sender);
            }
        });
    }

    /// Senders that were taken with [`Logs::take_changed`], and are to be taken again.
    pub(crate) fn note_changed(&mut self, log: LogId, clients: impl IntoIterator<Item = ClientId>) {
        self.change(log.0, |log| log.producers.note_changed(clients));
    }

    /// Calls `each` with all senders that are known.
    pub(crate) fn each_sender(&self, log: LogId, mut each: impl FnMut(ClientId, &Producer)) {
        if let Some(log) = self.logs.get(log.0 as usize) {
            log.producers
                .iter()
                .for_each(|(client, it)| each(client, it));
        }
    }

    /// Whether it keeps nothing that anybody could ask for.
    pub(crate) fn is_bare(&self, log: LogId) -> bool {
        let log = self.logs.get(log.0 as usize);
        log.is_none_or(|log| log.events.is_empty() && log.producers.is_empty())
    }

    /// A store has it, or another home: it is not kept.
    pub(crate) fn forget(&mut self, log: LogId) {
        self.remove(log.0);
    }

    /// Appends an event. One with a `seq` is logged once, in its sender's order. `None`: there is no such log.
    pub fn append(
        &mut self,
        now: Now,
        log: LogId,
        sender: Option<ClientId>,
        record: &Record<'_>,
    ) -> Option<Appended> {
        let LogId(slot) = log;
        let append = |log: &mut Log| (log.append(now, sender, record), log.is_misplaced());
        let (appended, is_misplaced) = self.change(slot, append)?;
        if is_misplaced {
            self.place(now, slot);
        }
        self.evict();
        Some(appended)
    }

    /// The same of somebody who is in no room, and has only this event: it is logged once, as long as the log keeps it.
    /// The record has no `seq`.
    pub fn append_once(
        &mut self,
        now: Now,
        log: LogId,
        once: ClientId,
        record: &Record<'_>,
    ) -> Option<Appended> {
        let LogId(slot) = log;
        let append = |log: &mut Log| (log.append_once(now, once, record), log.is_misplaced());
        let (appended, is_misplaced) = self.change(slot, append)?;
        if is_misplaced {
            self.place(now, slot);
        }
        self.evict();
        Some(appended)
    }

    /// Forgets all events of a log, and who is known by them alone. It goes on counting.
    pub(crate) fn clear(&mut self, log: LogId) {
        self.change(log.0, |log| {
            log.events.clear();
            log.producers.forget(log.events.first());
        });
    }

    /// Microseconds at which something of a log ages out: call [`Logs::sweep`] then.
    pub fn next_wake(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A client is in the room, and has no answer for numbers from `first_seq` on; 0 where it does not say. It may have
    /// been there before if it is `back`. Whether what it sends again may be logged twice.
    pub fn enter(&mut self, log: LogId, client: ClientId, first_seq: u64, back: bool) -> bool {
        let enter = |log: &mut Log| log.producers.enter(client, first_seq, back);
        let unsure = self.change(log.0, enter);
        self.evict();
        unsure.unwrap_or(false)
    }

    /// A client is no longer in the room.
    pub fn exit(&mut self, log: LogId, client: ClientId) {
        self.change(log.0, |log| {
            let first = log.events.first();
            log.producers.exit(client, first);
            log.forget_exits();
        });
    }

    /// What is to be done with a number that may not be for the log.
    pub fn check(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict {
        let verdict = self.change(log.0, |log| log.producers.check(client, seq));
        self.evict();
        verdict.unwrap_or(Verdict::Next)
    }

    /// Whether a client's messages are known, or the one that was published with this id.
    pub(crate) fn knows(&self, log: LogId, client: ClientId) -> bool {
        let log = self.logs.get(log.0 as usize);
        log.is_some_and(|log| log.producers.knows(&client))
    }

    /// A client gives a number up.
    pub fn skip(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict {
        let verdict = self.change(log.0, |log| log.producers.skip(client, seq));
        self.evict();
        verdict.unwrap_or(Verdict::Logged(0))
    }

    /// What was published with this id was handled, and is in no log: it is known as one that was logged.
    pub fn handled_once(&mut self, log: LogId, once: ClientId) {
        self.change(log.0, |log| {
            let next = log.events.last() + 1;
            log.producers.handled_once(once, next);
        });
        self.evict();
    }

    /// A number was refused for good before it came to the log.
    pub fn refuse(&mut self, log: LogId, client: ClientId, seq: u64, code: ErrorCode) {
        self.change(log.0, |log| log.producers.refuse(client, seq, code));
        self.evict();
    }

    /// The newest events of a room: none that is older than the room's retention.
    pub fn events(&mut self, now: Now, log: LogId) -> Option<&EventLog> {
        if !mutated!("age_is_not_kept") {
            self.change(log.0, |log| log.trim(now));
        }
        self.logs.get(log.0 as usize).map(|log| &log.events)
    }

    /// Events of a room that went too early: [`EventLog::cut`]. It is asked after each event, and trims nothing.
    pub fn cut(&self, log: LogId) -> u64 {
        let log = self.logs.get(log.0 as usize);
        log.map_or(0, |log| log.events.cut())
    }

    /// Bytes that logs hold, and how many logs went whole to stay under the ceiling.
    pub fn usage(&self) -> (usize, u64) {
        (self.held, self.evicted)
    }

    /// The room is empty and closed. Its log stays for its retention.
    pub fn close(&mut self, now: Now, log: LogId) {
        let LogId(slot) = log;
        let is_empty = self.change(slot, |log| {
            log.closed_at = Some(now.micros);
            log.trim(now);
            log.producers.exit_all(log.events.first());
            log.events.is_empty() && log.producers.is_empty()
        });
        if is_empty == Some(true) {
            self.remove(slot);
        } else {
            self.place(now, slot);
        }
        self.evict();
    }
}
