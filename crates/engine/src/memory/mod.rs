//! The engine inside the process: order, logs and what was logged before, in memory.

mod log;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use roomcast_core::engine::{Engine, Epoch, LogId, Opened, Record, Retention, Submitted, Verdict};
use roomcast_core::log::EventLog;
use roomcast_core::{ClientId, Now};
use roomcast_protocol::{ErrorCode, mutated};

use log::{Log, Ordered};

/// Exits after which those of whom nothing is kept are looked for.
const EXITS: usize = 64;
/// Logs that are looked at in one turn.
const LOOKS: usize = 64;

/// Orders events in this process's memory; each submission completes at once.
///
/// A log outlives its room for its retention: whoever opens the room again meanwhile goes on with it. No event is read
/// after its age, and its memory is given back soon after.
///
/// All logs together, with all that they cost, stay under a ceiling. Over it, logs go whole: those of rooms that are
/// closed, the one closed first first; then those of open rooms, the one that was written to last the longest ago first.
/// What an open room needs to be open can't go: where that takes all, no new room is opened.
#[derive(Debug)]
pub struct MemoryEngine {
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

impl Default for MemoryEngine {
    fn default() -> MemoryEngine {
        MemoryEngine::new(0)
    }
}

impl MemoryEngine {
    /// An engine without rooms, whose logs cost at most `ceiling` bytes together; 0 is any.
    pub fn new(ceiling: usize) -> MemoryEngine {
        MemoryEngine {
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

    /// Looks at logs of which something has aged out, and ends those whose time is over.
    fn sweep(&mut self, now: Now) {
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
                    log.producers.forget(log.events.first());
                }
            });
        }
        self.held.saturating_add(more) <= ceiling
    }
}

impl Engine for MemoryEngine {
    fn open(&mut self, now: Now, room: &str, retention: Retention, random: u64) -> Option<Opened> {
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

    fn submit(
        &mut self,
        now: Now,
        log: LogId,
        sender: Option<ClientId>,
        record: Record<'_>,
    ) -> Submitted {
        let LogId(slot) = log;
        let submit = |log: &mut Log| (log.submit(now, sender, record), log.is_misplaced());
        let Some((submitted, is_misplaced)) = self.change(slot, submit) else {
            return Submitted::Unavailable { retry_after_ms: 0 };
        };
        if is_misplaced {
            self.place(now, slot);
        }
        self.evict();
        submitted
    }

    fn poll(&mut self, now: Now) -> Option<(LogId, Submitted)> {
        self.sweep(now);
        None
    }

    fn next_wake(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    fn enter(&mut self, log: LogId, client: ClientId, first_seq: u64, back: bool) -> bool {
        let enter = |log: &mut Log| log.producers.enter(client, first_seq, back);
        let unsure = self.change(log.0, enter);
        self.evict();
        unsure.unwrap_or(false)
    }

    fn exit(&mut self, log: LogId, client: ClientId) {
        self.change(log.0, |log| {
            let first = log.events.first();
            log.producers.exit(client, first);
            log.exits += 1;
            if log.exits >= EXITS + log.producers.len() {
                log.exits = 0;
                log.producers.forget(first);
            }
        });
    }

    fn check(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict {
        let verdict = self.change(log.0, |log| log.producers.check(client, seq));
        self.evict();
        verdict.unwrap_or(Verdict::Next)
    }

    fn skip(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict {
        let verdict = self.change(log.0, |log| log.producers.skip(client, seq));
        self.evict();
        verdict.unwrap_or(Verdict::Logged(0))
    }

    fn refuse(&mut self, log: LogId, client: ClientId, seq: u64, code: ErrorCode) {
        self.change(log.0, |log| log.producers.refuse(client, seq, code));
        self.evict();
    }

    fn events(&mut self, now: Now, log: LogId) -> Option<&EventLog> {
        if !mutated!("age_is_not_kept") {
            self.change(log.0, |log| log.trim(now));
        }
        self.logs.get(log.0 as usize).map(|log| &log.events)
    }

    fn cut(&self, log: LogId) -> u64 {
        let log = self.logs.get(log.0 as usize);
        log.map_or(0, |log| log.events.cut())
    }

    fn usage(&self) -> (usize, u64) {
        (self.held, self.evicted)
    }

    fn close(&mut self, now: Now, log: LogId) {
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
