//! A room's recent events, in a ring of bytes: what a client that comes back is given.
//!
//! The ring grows by half up to its bound and then allocates nothing: an event costs what it
//! says, a header, and 16 bytes of index. [`Logs`](crate::logs::Logs) keeps one for each room.
//!
//! Ages are told by the clock that can't be set. A log does not look at it by itself: who is about to read trims it
//! first ([`EventLog::trim`]), so that nobody is given an event that is older than it may be.

mod place;
mod producers;
mod record;

use std::collections::VecDeque;

use crate::time::Now;

pub use place::{Completion, Epoch, Since};
pub(crate) use producers::{Answer, Producer};
pub use producers::{Producers, Verdict};
pub use record::{Logged, Record};

/// Bytes that an allocator adds to what it is asked for, about: they count as held.
pub const ALLOCATION: usize = 16;

/// How much of a room's log is kept; whichever bound is met first counts. 0 switches a bound off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events.
    pub events: usize,
    /// Bytes, headers included; 4 GiB where it is off.
    pub bytes: usize,
    /// Milliseconds since an event was logged.
    pub age: u64,
    /// Milliseconds for which sessions live without a connection: [`EventLog::cut`] counts those that other bounds ended before.
    pub grace: u64,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            events: 4_096,
            bytes: 256 * 1024,
            age: 5 * 60_000,
            grace: 0,
        }
    }
}

/// What a log knows of an event beside its bytes. Two times of 48 bits each: every event has one of these.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where it begins: the lower half of a count from the first byte that was ever put in.
    start: u32,
    timestamp: [u16; 3],
    logged: [u16; 3],
}

impl Entry {
    fn new(start: u32, now: Now) -> Entry {
        let low = |of: u64| [of as u16, (of >> 16) as u16, (of >> 32) as u16];
        Entry {
            start,
            timestamp: low(now.unix_ms as u64),
            logged: low(now.micros / 1_000),
        }
    }

    /// Milliseconds since the Unix epoch, of either sign.
    fn timestamp(&self) -> i64 {
        (whole(self.timestamp) << 16) as i64 >> 16
    }

    /// Milliseconds of the clock that can't be set.
    fn logged(&self) -> u64 {
        whole(self.logged)
    }
}

fn whole([low, middle, high]: [u16; 3]) -> u64 {
    u64::from(low) | u64::from(middle) << 16 | u64::from(high) << 32
}

/// The newest events of one room, without gaps.
#[derive(Debug, Default)]
pub struct EventLog {
    bytes: VecDeque<u8>,
    entries: VecDeque<Entry>,
    /// Bytes that were dropped from the front: the lower half of their count.
    dropped: u32,
    /// The offset of the last event; 0 before the first.
    last: u64,
    cut: u64,
}

impl EventLog {
    /// The offset of the last event; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The offset of the oldest event that is kept; one more than [`EventLog::last`] where none is.
    pub fn first(&self) -> u64 {
        self.last + 1 - self.entries.len() as u64
    }

    /// Events that are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no event is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the oldest event that is kept was logged, in milliseconds of the clock that can't be set.
    pub fn oldest(&self) -> Option<u64> {
        self.entries.front().map(Entry::logged)
    }

    /// The same of the newest.
    pub fn newest(&self) -> Option<u64> {
        self.entries.back().map(Entry::logged)
    }

    /// Events that were dropped although they were younger than [`Retention::grace`].
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// Memory that it holds, in bytes.
    pub fn held(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Whether all that came after `offset` is still here.
    pub fn reaches(&self, offset: u64) -> bool {
        offset <= self.last && offset + 1 >= self.first()
    }

    /// Appends an event and drops what goes over the bounds. Returns its offset.
    pub fn append(&mut self, retention: &Retention, now: Now, record: &Record<'_>) -> u64 {
        let start = self.dropped.wrapping_add(self.bytes.len() as u32);
        record.write(&mut self.bytes);
        self.entries.push_back(Entry::new(start, now));
        self.last += 1;
        self.trim(retention, now);
        self.last
    }

    /// Drops what goes over the bounds at this time.
    pub fn trim(&mut self, retention: &Retention, now: Now) {
        let over = |limit: usize, is: usize| limit > 0 && is > limit;
        let most = match retention.bytes {
            0 => u32::MAX as usize,
            bytes => bytes.min(u32::MAX as usize),
        };
        let age = |entry: &Entry| (now.micros / 1_000).saturating_sub(entry.logged());
        while let Some(first) = self.entries.front() {
            let held = self.bytes.len() + self.entries.len() * size_of::<Entry>();
            let old = retention.age > 0 && age(first) > retention.age;
            if !old && !over(retention.events, self.entries.len()) && !over(most, held) {
                return;
            }
            self.cut += u64::from(age(first) < retention.grace);
            self.drop_first();
        }
        // Aged out whole: what it held is worth more elsewhere.
        self.bytes = VecDeque::new();
        self.entries = VecDeque::new();
    }

    /// Gives back what it holds far beyond what it needs. It costs a copy.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() > 4 * self.bytes.len() {
            self.bytes.shrink_to(2 * self.bytes.len());
        }
        if self.entries.capacity() > 4 * self.entries.len() {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Forgets all events, and goes on counting.
    pub fn clear(&mut self) {
        self.dropped = self.dropped.wrapping_add(self.bytes.len() as u32);
        self.bytes = VecDeque::new();
        self.entries = VecDeque::new();
    }

    /// The event with this offset was the last one of which anything is known: the next one comes behind it.
    pub(crate) fn begin_after(&mut self, offset: u64) {
        self.clear();
        self.last = offset;
    }

    /// Where an event begins in the ring, which holds less than 4 GiB.
    fn place(&self, entry: &Entry) -> usize {
        entry.start.wrapping_sub(self.dropped) as usize
    }

    fn drop_first(&mut self) {
        self.entries.pop_front();
        let length = match self.entries.front() {
            Some(next) => self.place(next),
            None => self.bytes.len(),
        };
        self.bytes.drain(..length);
        self.dropped = self.dropped.wrapping_add(length as u32);
    }

    /// Calls `each` for the events after `offset` in their order, from the oldest that is kept, until it returns false.
    pub fn after(&self, offset: u64, mut each: impl FnMut(Logged<'_>) -> bool) {
        let mut scratch = Vec::new();
        for at in (offset + 1).max(self.first())..=self.last {
            if !self.get(at, &mut scratch).is_some_and(&mut each) {
                return;
            }
        }
    }

    /// Calls `each` for the events before `offset`, the newest first, until it returns false.
    pub fn before(&self, offset: u64, mut each: impl FnMut(Logged<'_>) -> bool) {
        let mut scratch = Vec::new();
        for at in (self.first()..offset.min(self.last + 1)).rev() {
            if !self.get(at, &mut scratch).is_some_and(&mut each) {
                return;
            }
        }
    }

    /// `scratch` is used for one that lies around the ring's end.
    fn get<'a>(&'a self, offset: u64, scratch: &'a mut Vec<u8>) -> Option<Logged<'a>> {
        let index = offset.checked_sub(self.first())? as usize;
        let entry = self.entries.get(index)?;
        let start = self.place(entry);
        let end = match self.entries.get(index + 1) {
            Some(next) => self.place(next),
            None => self.bytes.len(),
        };
        let (front, back) = self.bytes.as_slices();
        let bytes = if end <= front.len() {
            front.get(start..end)?
        } else if start >= front.len() {
            back.get(start - front.len()..end - front.len())?
        } else {
            scratch.clear();
            scratch.extend_from_slice(front.get(start..)?);
            scratch.extend_from_slice(back.get(..end - front.len())?);
            scratch
        };
        let (timestamp, record) = (entry.timestamp(), Record::read(bytes)?);
        Some(Logged {
            offset,
            timestamp,
            record,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roomcast_protocol::MessageType;

    use super::*;

    fn event(payload: &[u8]) -> Record<'_> {
        Record {
            message_type: MessageType::Chat,
            client_id: "somebody",
            payload,
            ..Record::default()
        }
    }

    fn after(log: &EventLog, offset: u64) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        log.after(offset, |it| {
            all.push((it.offset, it.record.payload.to_vec()));
            true
        });
        all
    }

    fn at(ms: u64) -> Now {
        Now {
            micros: ms * 1_000,
            unix_ms: 1_700_000_000_000 + ms as i64,
        }
    }

    #[test]
    fn an_age_of_its_own_ends_each_event() {
        let (mut log, retention) = (EventLog::default(), Retention::default());
        for n in 0..10 {
            log.append(&retention, at(n * 60_000), &event(b"x"));
        }
        assert_eq!((log.first(), log.last(), log.len()), (5, 10, 6));
        log.trim(&retention, at(15 * 60_000));
        assert_eq!((log.first(), log.last(), log.held()), (11, 10, 0));
        assert!(log.reaches(10) && !log.reaches(9) && !log.reaches(11));
        assert_eq!(log.append(&retention, at(16 * 60_000), &event(b"y")), 11);
        assert_eq!(after(&log, 0), [(11, b"y".to_vec())]);
    }

    #[test]
    fn a_wall_clock_that_is_set_ends_no_event() {
        let (mut log, retention) = (EventLog::default(), Retention::default());
        let clocks = [0, 4_000_000_000_000, -5_000_000, 7];
        for (n, unix_ms) in clocks.into_iter().enumerate() {
            let now = Now {
                unix_ms,
                ..at(1_000 * n as u64)
            };
            log.append(&retention, now, &event(b"x"));
        }
        let mut told = Vec::new();
        log.after(0, |it| {
            told.push(it.timestamp);
            true
        });
        assert_eq!(told, clocks, "each with the time that it was told with");
    }

    #[test]
    fn a_ring_that_has_turned_four_gibibytes_goes_on() {
        let mut log = EventLog {
            dropped: u32::MAX - 100,
            ..EventLog::default()
        };
        let retention = Retention {
            events: 3,
            ..Retention::default()
        };
        for n in 0..20_u8 {
            log.append(&retention, at(0), &event(&[n; 9]));
            let kept: Vec<_> = after(&log, 0).into_iter().map(|it| it.1).collect();
            let newest: Vec<_> = (n.saturating_sub(2)..=n).map(|n| vec![n; 9]).collect();
            assert_eq!(kept, newest);
        }
    }

    #[test]
    fn what_a_burst_took_is_given_back() {
        let (mut log, retention) = (EventLog::default(), Retention::default());
        for n in 0..1_000 {
            log.append(&retention, at(n), &event(&[b'x'; 100]));
        }
        let burst = log.held();
        log.append(&retention, at(300_000), &event(b"y"));
        log.trim(&retention, at(301_100));
        log.shrink();
        assert_eq!(after(&log, 0), [(1_001, b"y".to_vec())]);
        assert!(log.held() * 100 < burst, "{} of {burst}", log.held());
    }

    proptest! {
        #[test]
        fn the_ring_holds_the_newest_in_order(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..200),
            events in 1usize..50, bytes in 200usize..5_000,
        ) {
            let retention = Retention { events, bytes, age: 0, grace: 0 };
            let mut log = EventLog::default();
            for (n, payload) in payloads.iter().enumerate() {
                let offset = log.append(&retention, at(n as u64), &event(payload));
                prop_assert_eq!(offset, n as u64 + 1);
                prop_assert!(log.len() <= events);
                prop_assert!(log.held() <= 4 * bytes.max(512), "{} of {bytes}", log.held());
                let all = after(&log, 0);
                prop_assert_eq!(all.len(), log.len());
                for (offset, kept) in &all {
                    prop_assert_eq!(kept, &payloads[*offset as usize - 1]);
                }
                let mut back = Vec::new();
                log.before(u64::MAX, |it| { back.push(it.offset); true });
                back.reverse();
                prop_assert_eq!(back, all.iter().map(|it| it.0).collect::<Vec<_>>());
            }
        }
    }
}
