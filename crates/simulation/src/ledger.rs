//! What is true: each event that the engine has appended to a log, kept beside it for as long as the schedule runs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use roomcast_core::engine::{
    Completion, Engine, LogId, Opened, Record, Retention, Submitted, Verdict,
};
use roomcast_core::log::EventLog;
use roomcast_core::{ClientId, Now};
use roomcast_engine::MemoryEngine;
use roomcast_protocol::{ErrorCode, Format, MessageType, PayloadKind};

use crate::random::Random;

/// An event as it was appended.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: MessageType,
    payload_kind: PayloadKind,
    format: Format,
    pub(crate) silent: bool,
    pub(crate) from: String,
    player: String,
    pub(crate) num: u32,
    pub(crate) seq: u64,
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) timestamp: i64,
    /// Microseconds at which it was appended.
    at: u64,
}

/// One life of a room's log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) room: String,
    pub(crate) epoch: String,
    /// All events, those that are no longer kept among them: the first has the offset 1.
    pub(crate) entries: Vec<Entry>,
}

/// All logs that there ever were.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) logs: Vec<Log>,
    pub(crate) temper: Temper,
}

impl Ledger {
    pub(crate) fn log(&self, room: &str, epoch: &str) -> Option<&Log> {
        let mut logs = self.logs.iter().rev();
        logs.find(|log| log.room == room && log.epoch == epoch)
    }

    /// The last life of a room's log.
    pub(crate) fn newest(&self, room: &str) -> Option<&Log> {
        self.logs.iter().rev().find(|log| log.room == room)
    }

    pub(crate) fn entry(&self, room: &str, epoch: &str, offset: u64) -> Option<&Entry> {
        let at = usize::try_from(offset).ok()?.checked_sub(1)?;
        self.log(room, epoch)?.entries.get(at)
    }
}

/// How an engine behaves that is not as fast and sure as memory.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Temper {
    /// Milliseconds that an append takes at most; 0: it is done at once.
    pub(crate) delay: u64,
    /// Of a thousand appends, how many are not possible now.
    pub(crate) unavailable: u64,
}

/// The memory engine, with each append written down, late or refused at times.
pub(crate) struct Truth {
    inner: MemoryEngine,
    ledger: Rc<RefCell<Ledger>>,
    /// Where the ledger has each log that is open, and its bounds.
    logs: BTreeMap<u32, (usize, Retention)>,
    waiting: VecDeque<Waiting>,
    random: Random,
    /// Clients that are in the room of an open log.
    present: BTreeSet<(u32, String)>,
}

struct Waiting {
    due: u64,
    log: LogId,
    sender: Option<ClientId>,
    entry: Entry,
}

impl Truth {
    /// `ceiling`: bytes that all logs may hold, 0 is any.
    pub(crate) fn new(ledger: Rc<RefCell<Ledger>>, ceiling: usize, random: Random) -> Truth {
        Truth {
            inner: MemoryEngine::new(ceiling),
            ledger,
            logs: BTreeMap::new(),
            waiting: VecDeque::new(),
            random,
            present: BTreeSet::new(),
        }
    }

    fn append(
        &mut self,
        now: Now,
        log: LogId,
        sender: Option<ClientId>,
        entry: Entry,
    ) -> Submitted {
        let submitted = self.inner.submit(now, log, sender, entry.record());
        let Submitted::Done(Completion { offset, timestamp }) = submitted else {
            return submitted;
        };
        let (at, retention) = self.logs[&log.0];
        let kept = self.inner.events(now, log).unwrap();
        let most = retention.events;
        assert!(most == 0 || kept.len() <= most, "{} events", kept.len());
        let entries = &mut self.ledger.borrow_mut().logs[at].entries;
        entries.push(Entry {
            timestamp,
            at: now.micros,
            ..entry
        });
        assert_eq!(offset, entries.len() as u64, "offsets count");
        submitted
    }
}

impl Entry {
    fn of(record: &Record<'_>) -> Entry {
        Entry {
            kind: record.message_type,
            payload_kind: record.payload_kind,
            format: record.format,
            silent: record.silent,
            from: record.client_id.to_owned(),
            player: record.player_id.to_owned(),
            num: record.player_num,
            seq: record.seq,
            name: record.name.to_owned(),
            payload: record.payload.to_vec(),
            timestamp: 0,
            at: 0,
        }
    }

    fn record(&self) -> Record<'_> {
        Record {
            message_type: self.kind,
            payload_kind: self.payload_kind,
            format: self.format,
            silent: self.silent,
            client_id: &self.from,
            player_id: &self.player,
            player_num: self.num,
            seq: self.seq,
            name: &self.name,
            payload: &self.payload,
        }
    }
}

impl Engine for Truth {
    fn open(&mut self, now: Now, room: &str, retention: Retention, random: u64) -> Option<Opened> {
        let opened = self.inner.open(now, room, retention, random)?;
        let mut ledger = self.ledger.borrow_mut();
        let epoch = opened.epoch.as_str();
        let known = ledger
            .logs
            .iter()
            .position(|log| log.room == room && log.epoch == epoch);
        let at = known.unwrap_or(ledger.logs.len());
        if known.is_none() {
            ledger.logs.push(Log {
                room: room.to_owned(),
                epoch: epoch.to_owned(),
                entries: Vec::new(),
            });
        }
        let newest = ledger.logs[at].entries.len() as u64;
        assert_eq!(
            opened.offset, newest,
            "a log that goes on goes on where it was"
        );
        self.logs.insert(opened.log.0, (at, retention));
        Some(opened)
    }

    fn submit(
        &mut self,
        now: Now,
        log: LogId,
        sender: Option<ClientId>,
        record: Record<'_>,
    ) -> Submitted {
        // Whoever leaves has left, whether or not that can be told.
        let may_fail = record.message_type != MessageType::PlayerLeft;
        let Temper { delay, unavailable } = self.ledger.borrow().temper;
        if may_fail && self.random.chance(unavailable) {
            let retry_after_ms = self.random.pick(&[0, 50, 300]);
            return Submitted::Unavailable { retry_after_ms };
        }
        let entry = Entry::of(&record);
        if delay == 0 && self.waiting.is_empty() {
            return self.append(now, log, sender, entry);
        }
        let due = now.micros + 1_000 * self.random.below(delay + 1);
        let due = due.max(self.waiting.back().map_or(0, |it| it.due));
        self.waiting.push_back(Waiting {
            due,
            log,
            sender,
            entry,
        });
        Submitted::Pending
    }

    fn poll(&mut self, now: Now) -> Option<(LogId, Submitted)> {
        self.inner.poll(now);
        if self.waiting.front()?.due > now.micros {
            return None;
        }
        let Waiting {
            log, sender, entry, ..
        } = self.waiting.pop_front()?;
        Some((log, self.append(now, log, sender, entry)))
    }

    fn enter(&mut self, log: LogId, client: ClientId, first_seq: u64, back: bool) -> bool {
        self.present.insert((log.0, client.as_str().to_owned()));
        self.inner.enter(log, client, first_seq, back)
    }

    fn exit(&mut self, log: LogId, client: ClientId) {
        self.present.remove(&(log.0, client.as_str().to_owned()));
        self.inner.exit(log, client);
    }

    fn check(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict {
        self.inner.check(log, client, seq)
    }

    fn skip(&mut self, log: LogId, client: ClientId, seq: u64) -> Verdict {
        self.inner.skip(log, client, seq)
    }

    fn refuse(&mut self, log: LogId, client: ClientId, seq: u64, code: ErrorCode) {
        self.inner.refuse(log, client, seq, code);
    }

    fn cut(&self, log: LogId) -> u64 {
        self.inner.cut(log)
    }

    fn events(&mut self, now: Now, log: LogId) -> Option<&EventLog> {
        let kept = self.inner.events(now, log)?;
        let (at, retention) = self.logs[&log.0];
        let ledger = self.ledger.borrow();
        let entries = &ledger.logs[at].entries;
        if let Some(oldest) = entries.get(kept.first() as usize - 1) {
            let age = (now.micros - oldest.at) / 1_000;
            assert!(age <= retention.age, "an event of {age} ms is read");
        }
        Some(kept)
    }

    fn next_wake(&self) -> Option<u64> {
        let waiting = self.waiting.front().map(|it| it.due);
        waiting.into_iter().chain(self.inner.next_wake()).min()
    }

    fn usage(&self) -> (usize, u64) {
        self.inner.usage()
    }

    fn close(&mut self, now: Now, log: LogId) {
        let left = self.present.iter().find(|(of, _)| *of == log.0);
        assert!(
            left.is_none(),
            "a log is closed, and {left:?} is present in it"
        );
        self.inner.close(now, log);
    }
}
