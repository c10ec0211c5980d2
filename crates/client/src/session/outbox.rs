//! Messages of one order that wait for their answers: those to a room, or the direct ones.

use std::collections::VecDeque;

use roomcast_protocol::mutated;

use crate::error::{Error, code};
use crate::message::{Publish, Recipient};

/// Numbers that are given up at once where the server lacks them and nobody here has them either.
const FILL: usize = 64;
/// After so many refusals as "missing" of a message that was sent, it is given up: the server can't read its number.
const STUCK: u32 = 6;

/// A message that has no answer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Whose it is; 0: nobody waits for it.
    pub(super) ticket: u64,
    /// 0: it was never given to a connection.
    pub(super) seq: u64,
    pub(super) publish: Publish,
    /// `None`: the room.
    pub(super) to: Option<Recipient>,
    pub(super) no_echo: Option<bool>,
    pub(super) at_least_once: bool,
    /// Milliseconds; `u64::MAX`: never.
    pub(super) expires_at: u64,
    /// What it takes of the outbox.
    pub(super) weight: usize,
    /// Its number is skipped, and this is told if it was not done before.
    pub(super) given_up: Option<Error>,
    /// It was sent to a log, or a session, that is gone: it may have been done there, whatever is answered now.
    pub(super) doubtful: bool,
}

impl Entry {
    fn filler(seq: u64) -> Entry {
        Entry {
            ticket: 0,
            seq,
            publish: Publish::nothing(),
            to: None,
            no_echo: None,
            at_least_once: false,
            expires_at: u64::MAX,
            weight: 0,
            given_up: Some(Error::new(code::ABORTED, "it was given up")),
            doubtful: false,
        }
    }

    fn give_up(&mut self, error: Error) {
        self.publish = Publish::nothing();
        self.given_up = Some(error);
    }
}

/// What is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Skip(u64),
    /// The entry at the cursor; [`Stream::sent`] or [`Stream::refuse`] comes after it.
    Message,
}

/// Invariants: numbers rise; the entries that have one come first; those before `cursor` have one, and were given to
/// the present connection.
#[derive(Debug)]
pub(super) struct Stream {
    entries: VecDeque<Entry>,
    cursor: usize,
    /// The lowest number that was never used.
    next_seq: u64,
    /// Nothing is sent before this time.
    pub(super) paused_until: u64,
    /// Refusals since the last progress.
    strikes: u32,
    /// The number that was missing last, and how often in a row.
    missing: (u64, u32),
    /// Whether it waits in the list of those that have something to send.
    pub(super) queued: bool,
}

impl Stream {
    /// The first number that it will give is `next_seq`.
    pub(super) fn new(next_seq: u64) -> Stream {
        Stream {
            entries: VecDeque::new(),
            cursor: 0,
            next_seq: next_seq.max(1),
            paused_until: 0,
            strikes: 0,
            missing: (0, 0),
            queued: false,
        }
    }

    /// Messages that somebody waits for.
    pub(super) fn len(&self) -> usize {
        self.entries.iter().filter(|it| it.ticket > 0).count()
    }

    /// Messages that the present connection was given and that have no answer.
    pub(super) fn under_way(&self) -> usize {
        self.cursor
    }

    /// Whether a message was ever numbered: then the next number has to be remembered.
    pub(super) fn is_used(&self) -> bool {
        self.next_seq > 1 || !self.entries.is_empty()
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The lowest number that has no answer.
    pub(super) fn first_seq(&self) -> u64 {
        match self.entries.front() {
            Some(entry) if entry.seq > 0 => entry.seq,
            _ => self.next_seq,
        }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// A new connection: nothing was sent on it.
    pub(super) fn new_link(&mut self) {
        self.cursor = 0;
        if mutated!("client_renumbers") {
            self.entries.iter_mut().for_each(|it| it.seq = 0);
        }
        self.paused_until = 0;
        self.strikes = 0;
        self.missing = (0, 0);
    }

    /// What to send, with at most `window` messages under way.
    pub(super) fn next(&mut self, window: usize) -> Next {
        if self.cursor >= window {
            return Next::Nothing;
        }
        match self.entries.get(self.cursor) {
            None => Next::Nothing,
            Some(Entry {
                given_up: Some(_),
                seq,
                ..
            }) => {
                self.cursor += 1;
                Next::Skip(*seq)
            }
            Some(_) => Next::Message,
        }
    }

    /// The entry to send and the number that it has or gets.
    pub(super) fn head(&self) -> Option<(&Entry, u64)> {
        let entry = self.entries.get(self.cursor)?;
        Some((
            entry,
            if entry.seq > 0 {
                entry.seq
            } else {
                self.next_seq
            },
        ))
    }

    /// The head was given to the connection, with its number.
    pub(super) fn sent(&mut self) {
        if let Some(entry) = self.entries.get_mut(self.cursor) {
            if entry.seq == 0 {
                entry.seq = self.next_seq;
                self.next_seq += 1;
            }
            self.cursor += 1;
        }
    }

    /// The head was given to a connection that numbers nothing.
    pub(super) fn forget_head(&mut self) -> Option<Entry> {
        self.entries.remove(self.cursor)
    }

    /// The head can't be sent. It is returned, unless its number has to be skipped first.
    pub(super) fn refuse_head(&mut self, error: Error) -> Option<Entry> {
        let entry = self.entries.get_mut(self.cursor)?;
        if entry.seq == 0 {
            return self.entries.remove(self.cursor);
        }
        entry.give_up(error);
        None
    }

    /// A message was answered for good.
    pub(super) fn answered(&mut self, seq: u64) -> Option<Entry> {
        let at = self.index(seq)?;
        self.strikes = 0;
        self.remove(at)
    }

    /// A message that is not to be sent again. Its number is skipped, should there be a connection for it.
    pub(super) fn abandon(&mut self, seq: u64) -> Option<Entry> {
        let at = self.index(seq)?;
        Some(std::mem::replace(&mut self.entries[at], Entry::filler(seq)))
    }

    /// A message is to be sent again, with those after it: after `retry_after_ms`, or a time that grows from try to
    /// try. Returns until when nothing is sent.
    pub(super) fn retry(&mut self, now: u64, seq: u64, retry_after_ms: u64) -> u64 {
        let Some(at) = self.index(seq) else {
            return self.paused_until;
        };
        self.cursor = self.cursor.min(at);
        self.pause(now, retry_after_ms)
    }

    /// The server lacks a number. Returns until when nothing is sent.
    pub(super) fn gap(&mut self, now: u64, missing: u64) -> u64 {
        // Of a number that was never given nobody waits for an answer.
        if missing >= self.next_seq || missing == 0 {
            return self.paused_until;
        }
        let times = match self.missing {
            (seq, times) if seq == missing => times + 1,
            _ => 1,
        };
        self.missing = (missing, times);
        let at = match self.index(missing) {
            Some(at) => {
                // The cursor is behind it if it was sent on this connection.
                if at < self.cursor && times > STUCK {
                    self.entries[at].give_up(Error::new(
                        code::UNCONFIRMED,
                        "the server answers as if it had not come",
                    ));
                }
                at
            }
            None => self.fill(missing),
        };
        self.cursor = self.cursor.min(at);
        if times == 1 && self.paused_until <= now {
            return 0;
        }
        self.pause(now, 0)
    }

    /// Puts numbers that nobody waits for where the server lacks them.
    fn fill(&mut self, missing: u64) -> usize {
        let at = self
            .entries
            .partition_point(|it| it.seq > 0 && it.seq < missing);
        let end = match self.entries.get(at) {
            Some(entry) if entry.seq > 0 => entry.seq,
            _ => self.next_seq,
        };
        let fillers = (missing..end).take(FILL).map(Entry::filler);
        for (index, filler) in fillers.enumerate() {
            self.entries.insert(at + index, filler);
        }
        at
    }

    pub(super) fn pause(&mut self, now: u64, retry_after_ms: u64) -> u64 {
        self.strikes = self.strikes.saturating_add(1);
        let own = 25u64 << self.strikes.min(8);
        let until = now.saturating_add(if retry_after_ms > 0 {
            retry_after_ms
        } else {
            own
        });
        self.paused_until = self.paused_until.max(until);
        self.paused_until
    }

    /// Gives up a message. It is returned if that is all; else the server has to say first whether it was done.
    pub(super) fn give_up(&mut self, ticket: u64, error: Error) -> Option<Entry> {
        let at = self.entries.iter().position(|it| it.ticket == ticket)?;
        if self.entries[at].seq == 0 {
            return self.entries.remove(at);
        }
        // One that is under way has its answer soon, or is skipped instead of sent again.
        let entry = &mut self.entries[at];
        if entry.given_up.is_none() {
            entry.give_up(error);
        }
        if mutated!("client_denies_what_it_sent") {
            let seq = entry.seq;
            return Some(std::mem::replace(entry, Entry::filler(seq)));
        }
        None
    }

    /// The server may remember nothing: what was sent may have been done, and numbers that have their answers are missing
    /// between those that have none. They are skipped.
    pub(super) fn doubt(&mut self) {
        let mut at = 0;
        while let Some(entry) = self.entries.get_mut(at).filter(|it| it.seq > 0) {
            entry.doubtful = true;
            let next = entry.seq + 1;
            at += 1;
            if next < self.next_seq && self.index(next).is_none() {
                self.fill(next);
            }
        }
    }

    /// Takes out those that were never given to a connection.
    pub(super) fn take_unsent(&mut self) -> Vec<Entry> {
        let at = self.entries.partition_point(|it| it.seq > 0);
        self.entries.split_off(at).into()
    }

    /// Takes out those that were. Their numbers are skipped, should there be a connection for it.
    pub(super) fn take_numbered(&mut self) -> Vec<Entry> {
        let numbered = self.entries.iter_mut().filter(|it| it.seq > 0);
        let numbered = numbered.map(|it| std::mem::replace(it, Entry::filler(it.seq)));
        numbered.filter(|it| it.ticket > 0).collect()
    }

    /// Takes out all.
    pub(super) fn take_all(&mut self) -> Vec<Entry> {
        self.cursor = 0;
        std::mem::take(&mut self.entries).into()
    }

    /// The client is another one to the server, which counts from 1 again. Takes out what may have been done as the
    /// client of before, and can't be told from a repeat.
    pub(super) fn begin_again(&mut self) -> Vec<Entry> {
        self.new_link();
        self.next_seq = 1;
        let (mut kept, mut doubtful) = (VecDeque::new(), Vec::new());
        for mut entry in self.entries.drain(..) {
            if entry.seq == 0 {
                kept.push_back(entry);
            } else if entry.ticket == 0 {
                // Nobody asks for it any more.
            } else if entry.at_least_once && entry.given_up.is_none() {
                entry.seq = 0;
                kept.push_back(entry);
            } else {
                doubtful.push(entry);
            }
        }
        self.entries = kept;
        doubtful
    }

    fn index(&self, seq: u64) -> Option<usize> {
        let at = self
            .entries
            .partition_point(|it| it.seq > 0 && it.seq < seq);
        self.entries
            .get(at)
            .is_some_and(|it| it.seq == seq)
            .then_some(at)
    }

    fn remove(&mut self, at: usize) -> Option<Entry> {
        let entry = self.entries.remove(at)?;
        if at < self.cursor {
            self.cursor -= 1;
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Payload;

    fn entry(ticket: u64) -> Entry {
        Entry {
            ticket,
            publish: Publish::Chat(Payload::text("x")),
            given_up: None,
            ..Entry::filler(0)
        }
    }

    fn stream(messages: u64) -> Stream {
        let mut stream = Stream::new(1);
        (1..=messages).for_each(|ticket| stream.push(entry(ticket)));
        stream
    }

    /// Sends what may be sent.
    fn send(stream: &mut Stream, window: usize) -> Vec<u64> {
        let mut seqs = Vec::new();
        loop {
            match stream.next(window) {
                Next::Nothing => return seqs,
                Next::Skip(seq) => seqs.push(seq + 1000),
                Next::Message => {
                    seqs.push(stream.head().unwrap().1);
                    stream.sent();
                }
            }
        }
    }

    #[test]
    fn numbers_are_given_once_and_sent_again_on_a_new_connection() {
        let mut stream = stream(5);
        assert_eq!(send(&mut stream, 3), [1, 2, 3]);
        assert_eq!(stream.answered(2).unwrap().ticket, 2);
        assert!(stream.answered(2).is_none());
        assert_eq!(send(&mut stream, 3), [4]);
        assert_eq!(stream.first_seq(), 1);
        stream.new_link();
        assert_eq!(send(&mut stream, 32), [1, 3, 4, 5]);
        for seq in [5, 4, 3, 1] {
            assert!(stream.answered(seq).is_some());
        }
        assert_eq!((stream.first_seq(), stream.len()), (6, 0));
    }

    #[test]
    fn what_is_missing_is_sent_again_with_all_after_it_or_skipped() {
        let mut stream = stream(4);
        send(&mut stream, 32);
        assert_eq!(stream.retry(10, 2, 100), 110);
        assert_eq!(stream.gap(10, 2), 110, "it is waited for already");
        assert_eq!(send(&mut stream, 32), [2, 3, 4]);
        assert!(stream.answered(1).is_some());
        // Of a life before this one.
        let mut stream = Stream::new(7);
        stream.push(entry(1));
        assert_eq!(send(&mut stream, 32), [7]);
        assert_eq!(stream.gap(10, 5), 0);
        assert_eq!(send(&mut stream, 32), [1005, 1006, 7]);
        assert_eq!(stream.answered(5).unwrap().ticket, 0);
    }

    #[test]
    fn what_is_given_up_is_skipped_if_it_was_ever_sent() {
        let mut stream = stream(3);
        let error = || Error::new(code::EXPIRED, "");
        assert_eq!(send(&mut stream, 2), [1, 2]);
        assert_eq!(stream.give_up(3, error()).unwrap().seq, 0);
        assert!(stream.give_up(1, error()).is_none());
        assert!(send(&mut stream, 32).is_empty(), "its answer is on its way");
        stream.new_link();
        assert_eq!(send(&mut stream, 32), [1001, 2]);
        assert!(stream.answered(1).unwrap().given_up.is_some());
    }

    #[test]
    fn another_client_counts_from_1_and_repeats_only_what_may_be_repeated() {
        let mut stream = stream(2);
        let again = Entry {
            at_least_once: true,
            ..entry(3)
        };
        stream.push(again);
        stream.push(entry(4));
        assert_eq!(send(&mut stream, 3), [1, 2, 3]);
        let doubtful = stream.begin_again();
        assert_eq!(
            doubtful.iter().map(|it| it.ticket).collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(send(&mut stream, 32), [1, 2]);
        assert_eq!(stream.answered(1).unwrap().ticket, 3);
    }

    #[test]
    fn a_message_whose_number_the_server_cannot_read_is_given_up() {
        let mut stream = stream(2);
        let mut skipped = false;
        for _ in 0..20 {
            skipped |= send(&mut stream, 32).contains(&1001);
            stream.gap(0, 1);
        }
        assert!(skipped);
    }
}
