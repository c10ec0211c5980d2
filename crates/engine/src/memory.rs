//! The engine inside the process: order, logs and what was logged before, in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use roomcast_core::engine::{
    Completion, Engine, Epoch, LogId, Opened, Record, Retention, Submitted, Verdict,
};
use roomcast_core::log::{EventLog, Producers};
use roomcast_core::{ClientId, Now};
use roomcast_protocol::{ErrorCode, mutated};

/// Exits after which those of whom nothing is kept are looked for.
const EXITS: usize = 64;

/// Orders events in this process's memory; each submission completes at once.
///
/// A log outlives its room for its retention: whoever opens the room again meanwhile goes on with it. All logs
/// together stay under a ceiling. Over it, logs go whole: those of rooms that are closed, the one closed first first;
/// then those of open rooms, the one that was written to last the longest ago first.
#[derive(Debug)]
pub struct MemoryEngine {
    logs: slab::Slab<Log>,
    by_name: HashMap<Arc<str>, usize>,
    /// Logs of rooms that are closed, with the microsecond at which each was; that never falls.
    closed: VecDeque<(u64, usize)>,
    /// Bytes that all logs may hold; 0 is any.
    ceiling: usize,
    held: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Log {
    name: Arc<str>,
    epoch: Epoch,
    timestamp: i64,
    retention: Retention,
    events: EventLog,
    producers: Producers,
    exits: usize,
    /// Since when the room is not there, in microseconds.
    closed_at: Option<u64>,
}

impl Default for MemoryEngine {
    fn default() -> MemoryEngine {
        MemoryEngine::new(0)
    }
}

impl MemoryEngine {
    /// An engine without rooms, whose logs hold at most `ceiling` bytes together; 0 is any.
    pub fn new(ceiling: usize) -> MemoryEngine {
        MemoryEngine {
            logs: slab::Slab::new(),
            by_name: HashMap::new(),
            closed: VecDeque::new(),
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

    /// Bytes that all logs hold.
    pub fn held(&self) -> usize {
        self.held
    }

    fn log(&mut self, log: LogId) -> Option<&mut Log> {
        self.logs.get_mut(log.0 as usize)
    }

    fn remove(&mut self, slot: usize) {
        if let Some(log) = self.logs.try_remove(slot) {
            self.held -= log.events.held();
            self.by_name.remove(&log.name);
        }
    }

    /// Ends logs of closed rooms whose time is over.
    fn sweep(&mut self, now: Now) {
        while let Some((at, slot)) = self.closed.front().copied() {
            let log = self.logs.get(slot);
            let Some(log) = log.filter(|log| log.closed_at == Some(at)) else {
                // It was opened again, or is gone.
                self.closed.pop_front();
                continue;
            };
            let age = log.retention.age.saturating_mul(1_000);
            if age == 0 || now.micros < at.saturating_add(age) {
                return;
            }
            self.closed.pop_front();
            self.remove(slot);
        }
    }

    /// Makes room under the ceiling: a sixteenth of it at once, as looking for the oldest costs.
    fn evict(&mut self) {
        let goal = self.ceiling - self.ceiling / 16;
        while self.held > goal
            && let Some((at, slot)) = self.closed.pop_front()
        {
            let log = self.logs.get(slot);
            if log.is_some_and(|log| log.closed_at == Some(at)) {
                self.evicted += 1;
                self.remove(slot);
            }
        }
        if self.held <= goal {
            return;
        }
        let newest = |(slot, log): (usize, &Log)| (log.events.newest().unwrap_or(i64::MAX), slot);
        let mut open: Vec<_> = self.logs.iter().map(newest).collect();
        open.sort_unstable();
        for (_, slot) in open {
            let Some(log) = self.logs.get_mut(slot).filter(|_| self.held > goal) else {
                return;
            };
            self.held -= log.events.held();
            log.events.clear();
            self.evicted += 1;
        }
    }
}

impl Engine for MemoryEngine {
    fn open(&mut self, now: Now, room: &str, retention: Retention, random: u64) -> Opened {
        self.sweep(now);
        let slot = match self.by_name.get(room) {
            Some(slot) => *slot,
            None => {
                let name: Arc<str> = room.into();
                let slot = self.logs.insert(Log {
                    name: name.clone(),
                    epoch: Epoch::from_random(random),
                    timestamp: now.unix_ms,
                    retention,
                    events: EventLog::default(),
                    producers: Producers::default(),
                    exits: 0,
                    closed_at: None,
                });
                self.by_name.insert(name, slot);
                slot
            }
        };
        let log = &mut self.logs[slot];
        (log.closed_at, log.retention) = (None, retention);
        Opened {
            log: LogId(slot as u32),
            epoch: log.epoch,
            offset: log.events.last(),
        }
    }

    fn submit(
        &mut self,
        now: Now,
        log: LogId,
        sender: Option<ClientId>,
        record: Record<'_>,
    ) -> Submitted {
        let Some(log) = self.logs.get_mut(log.0 as usize) else {
            return Submitted::Unavailable { retry_after_ms: 0 };
        };
        let numbered = sender.filter(|_| record.seq > 0);
        if let Some(client) = numbered {
            match log.producers.check(client, record.seq) {
                Verdict::Next => {}
                Verdict::Logged(_) if mutated!("repeat_is_logged_again") => {}
                known => return Submitted::Known(known),
            }
        }
        // The wall clock may step back; a room's time may not.
        log.timestamp = log.timestamp.max(now.unix_ms);
        let before = log.events.held();
        let offset = log.events.append(&log.retention, log.timestamp, &record);
        self.held = self.held + log.events.held() - before;
        if let Some(client) = numbered {
            log.producers.logged(client, offset);
        }
        let timestamp = log.timestamp;
        if self.ceiling > 0 && self.held > self.ceiling {
            self.evict();
        }
        Submitted::Done(Completion { offset, timestamp })
    }

    fn poll(&mut self, now: Now) -> Option<(LogId, Submitted)> {
        self.sweep(now);
        None
    }

    fn enter(&mut self, log: LogId, client: ClientId, first_seq: u64, back: bool) -> bool {
        self.log(log)
            .is_some_and(|log| log.producers.enter(client, first_seq, back))
    }

    fn exit(&mut self, log: LogId, client: ClientId) {
        let Some(log) = self.log(log) else { return };
        let first = log.events.first();
        log.producers.exit(client, first);
        log.exits += 1;
        if log.exits >= EXITS + log.producers.len() {
            log.exits = 0;
            log.producers.forget(first);
        }
    }

    fn check(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict {
        self.log(log)
            .map_or(Verdict::Next, |log| log.producers.check(client, seq))
    }

    fn skip(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict {
        self.log(log)
            .map_or(Verdict::Logged(0), |log| log.producers.skip(client, seq))
    }

    fn refuse(&mut self, log: LogId, client: ClientId, seq: u64, code: ErrorCode) {
        if let Some(log) = self.log(log) {
            log.producers.refuse(client, seq, code);
        }
    }

    fn events(&self, log: LogId) -> Option<&EventLog> {
        self.logs.get(log.0 as usize).map(|log| &log.events)
    }

    fn usage(&self) -> (usize, u64) {
        (self.held, self.evicted)
    }

    fn close(&mut self, now: Now, log: LogId) {
        let slot = log.0 as usize;
        let Some(log) = self.log(log) else { return };
        log.closed_at = Some(now.micros);
        if log.events.is_empty() && log.producers.is_empty() {
            self.remove(slot);
        } else {
            self.closed.push_back((now.micros, slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Now {
        Now {
            micros: ms as u64 * 1_000,
            unix_ms: ms,
        }
    }

    fn open(engine: &mut MemoryEngine, room: &str, ms: i64) -> Opened {
        engine.open(at(ms), room, Retention::default(), ms as u64)
    }

    fn submit(engine: &mut MemoryEngine, log: LogId, ms: i64) -> Completion {
        let record = Record {
            payload: &[b'x'; 100],
            ..Record::default()
        };
        match engine.submit(at(ms), log, None, record) {
            Submitted::Done(completion) => completion,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn offsets_count_and_time_never_falls() {
        let mut engine = MemoryEngine::default();
        let log = open(&mut engine, "room", 7).log;
        let first = submit(&mut engine, log, 1_000);
        let second = submit(&mut engine, log, 900);
        assert_eq!((first.offset, first.timestamp), (1, 1_000));
        assert_eq!((second.offset, second.timestamp), (2, 1_000));
    }

    #[test]
    fn a_log_outlives_its_room_for_its_retention() {
        let mut engine = MemoryEngine::default();
        let first = open(&mut engine, "room", 0);
        submit(&mut engine, first.log, 0);
        engine.close(at(1_000), first.log);
        let second = open(&mut engine, "room", 2_000);
        assert_eq!((second.epoch, second.offset), (first.epoch, 1));
        engine.close(at(3_000), second.log);
        assert!(engine.poll(at(302_000)).is_none());
        assert_eq!(engine.len(), 1);
        assert!(engine.poll(at(303_000)).is_none());
        assert!(engine.is_empty() && engine.held() == 0 && engine.closed.is_empty());
        let third = open(&mut engine, "room", 400_000);
        assert_ne!(third.epoch, first.epoch);
    }

    #[test]
    fn a_log_without_events_leaves_nothing() {
        let mut engine = MemoryEngine::default();
        let log = open(&mut engine, "room", 7).log;
        engine.close(at(8), log);
        assert!(engine.is_empty() && engine.by_name.is_empty());
    }

    #[test]
    fn under_the_ceiling_closed_rooms_go_first_then_the_quietest() {
        let mut engine = MemoryEngine::new(40_000);
        let logs: Vec<_> = (0..4)
            .map(|n| open(&mut engine, &format!("room-{n}"), n).log)
            .collect();
        for (n, log) in logs.iter().enumerate() {
            for _ in 0..30 {
                submit(&mut engine, *log, n as i64);
            }
        }
        engine.close(at(10), logs[3]);
        for ms in 20..300 {
            submit(&mut engine, logs[2], ms);
            assert!(engine.held() <= 40_000 + 33_000, "{}", engine.held());
        }
        assert_eq!(engine.len(), 3, "the closed one went whole");
        let first = |engine: &MemoryEngine, n: usize| engine.events(logs[n]).unwrap().first();
        assert_eq!(first(&engine, 0), 31, "the quietest was emptied");
        assert_eq!(
            submit(&mut engine, logs[0], 400).offset,
            31,
            "its order goes on"
        );
    }
}
