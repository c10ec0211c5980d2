//! A room's recent events, in a ring of bytes: what a client that comes back is given.
//!
//! The ring grows by doubling up to its bound and then allocates nothing: an event costs what it
//! says, a header, and 16 bytes of index. An engine keeps one for each room that it knows.

mod producers;
mod record;

use std::collections::VecDeque;

pub use producers::{Producers, Verdict};
pub use record::{Logged, Record};

/// How much of a room's log is kept; whichever bound is met first counts. 0 switches a bound off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events.
    pub events: usize,
    /// Bytes, headers included.
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

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where it begins, counted from the first byte that was ever put in.
    start: u64,
    timestamp: i64,
}

/// The newest events of one room, without gaps.
#[derive(Debug, Default)]
pub struct EventLog {
    bytes: VecDeque<u8>,
    entries: VecDeque<Entry>,
    /// Bytes that were dropped from the front.
    dropped: u64,
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

    /// When the newest event that is kept was logged, in milliseconds since the Unix epoch.
    pub fn newest(&self) -> Option<i64> {
        self.entries.back().map(|entry| entry.timestamp)
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
    pub fn append(&mut self, retention: &Retention, timestamp: i64, record: &Record<'_>) -> u64 {
        let start = self.dropped + self.bytes.len() as u64;
        record.write(&mut self.bytes);
        self.entries.push_back(Entry { start, timestamp });
        self.last += 1;
        self.trim(retention, timestamp);
        self.last
    }

    /// Drops what goes over the bounds at this time.
    pub fn trim(&mut self, retention: &Retention, unix_ms: i64) {
        let over = |limit: usize, is: usize| limit > 0 && is > limit;
        let oldest = |age: u64| unix_ms.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX));
        while let Some(first) = self.entries.front() {
            let held = self.bytes.len() + self.entries.len() * size_of::<Entry>();
            let old = retention.age > 0 && first.timestamp < oldest(retention.age);
            if !old && !over(retention.events, self.entries.len()) && !over(retention.bytes, held) {
                return;
            }
            self.cut += u64::from(first.timestamp > oldest(retention.grace));
            self.drop_first();
        }
        // Aged out whole: what it held is worth more elsewhere.
        self.bytes = VecDeque::new();
        self.entries = VecDeque::new();
    }

    /// Forgets all events, and goes on counting.
    pub fn clear(&mut self) {
        self.dropped += self.bytes.len() as u64;
        self.bytes = VecDeque::new();
        self.entries = VecDeque::new();
    }

    fn drop_first(&mut self) {
        self.entries.pop_front();
        let end = match self.entries.front() {
            Some(next) => next.start,
            None => self.dropped + self.bytes.len() as u64,
        };
        self.bytes.drain(..(end - self.dropped) as usize);
        self.dropped = end;
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
        let start = (entry.start - self.dropped) as usize;
        let end = match self.entries.get(index + 1) {
            Some(next) => (next.start - self.dropped) as usize,
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
        let (timestamp, record) = (entry.timestamp, Record::read(bytes)?);
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

    #[test]
    fn an_age_of_its_own_ends_each_event() {
        let (mut log, retention) = (EventLog::default(), Retention::default());
        for n in 0..10 {
            log.append(&retention, n * 60_000, &event(b"x"));
        }
        assert_eq!((log.first(), log.last(), log.len()), (5, 10, 6));
        log.trim(&retention, 15 * 60_000);
        assert_eq!((log.first(), log.last(), log.held()), (11, 10, 0));
        assert!(log.reaches(10) && !log.reaches(9) && !log.reaches(11));
        assert_eq!(log.append(&retention, 16 * 60_000, &event(b"y")), 11);
        assert_eq!(after(&log, 0), [(11, b"y".to_vec())]);
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
                let offset = log.append(&retention, n as i64, &event(payload));
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
