//! Direct messages: a session's inbox, and the numbers of those that it sent.

use std::collections::VecDeque;

use roomcast_protocol::ErrorCode;

use crate::engine::{Epoch, Since};
use crate::letter::Receipt;
use crate::log::{EventLog, Logged, Record, Retention};
use crate::time::Now;

/// How much an inbox keeps.
const INBOX: Retention = Retention {
    events: 64,
    bytes: 64 * 1024,
    age: 0,
    grace: 0,
};
/// What a message takes in an inbox beside its ids, its name and its payload, in bytes at most.
const OVERHEAD: usize = 64;
/// Answers that are kept, and messages that may wait for one.
pub(super) const UNANSWERED: usize = 32;

/// The direct messages of a session. Made with the first one.
#[derive(Debug, Default)]
pub(super) struct DirectMessages {
    pub(super) inbox: Option<Inbox>,
    pub(super) sent: Sent,
}

/// What a session was sent, for when it comes back.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) epoch: Epoch,
    log: EventLog,
}

impl Inbox {
    /// Why a message is not taken that no inbox would keep.
    pub(super) const TOO_LARGE: &str = "a direct message has at most 65472 bytes: its payload, its name, the sender's id and the user's id that it is for";

    pub(super) fn new(epoch: Epoch) -> Inbox {
        Inbox {
            epoch,
            log: EventLog::default(),
        }
    }

    /// Whether an inbox keeps a message with so many bytes of ids, name and payload: else it must not be taken.
    pub(super) fn keeps(bytes: usize) -> bool {
        bytes + OVERHEAD <= INBOX.bytes
    }

    /// Puts a message in, one that it keeps. The offset, and whether it is a new one: one that its sender numbered is not put in again
    /// while the inbox has it.
    pub(super) fn put(&mut self, now: Now, record: &Record<'_>) -> (u64, bool) {
        let mut known = None;
        if record.seq > 0 {
            self.log.before(u64::MAX, |it| {
                let same = it.record.client_id == record.client_id && it.record.seq == record.seq;
                known = same.then_some(it.offset);
                !same
            });
        }
        match known {
            Some(offset) => (offset, false),
            None => (self.log.append(&INBOX, now, record), true),
        }
    }

    /// From where a client that has come to `since` is to be given messages, and whether these are all that it lacks.
    pub(super) fn position(&self, since: Option<Since>) -> (u64, bool) {
        let oldest = self.log.first() - 1;
        match since {
            None => (oldest, oldest == 0),
            Some(since) if since.epoch == self.epoch && self.log.reaches(since.offset) => {
                (since.offset, true)
            }
            Some(_) => (oldest, false),
        }
    }

    pub(super) fn after(&self, offset: u64, each: impl FnMut(Logged<'_>) -> bool) {
        self.log.after(offset, each);
    }
}

/// What is to be done with a numbered direct message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// It is to be sent.
    Send,
    /// It was sent, and its answer will come.
    UnderWay,
    Acked(u64),
    Refused(ErrorCode),
    /// This one is missing; whether the client was not told yet.
    Gap(u64, bool),
    /// As many wait as may.
    TooMany,
}

/// The numbered direct messages that a session has sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// The greatest number with an answer, on its way, or to be sent again; so are all below it.
    last: u64,
    /// Of the last ones, the newest at the end.
    answers: VecDeque<Answer>,
    /// Numbers above the next one that were refused for good before they came here.
    ahead: Vec<(u64, ErrorCode)>,
    /// The number whose absence the client was told of.
    reported_gap: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Waits for so many inboxes to answer; below 0 where they were faster than whoever knows how many there are.
    UnderWay {
        left: i32,
        offset: u64,
        failed: Option<ErrorCode>,
    },
    /// It could not be done, and its number is to be used again.
    Open,
    Acked(u64),
    Refused(ErrorCode),
}

impl Sent {
    /// The client has answers to all numbers below `first`. Whether one that it sends again may be delivered twice.
    pub(super) fn enter(&mut self, first: u64) -> bool {
        // What it was told last may have been lost with its connection.
        self.reported_gap = 0;
        if first <= self.last + 1 {
            return false;
        }
        let unknown = self.last == 0;
        self.last = first - 1;
        self.answers.clear();
        self.ahead.retain(|(seq, _)| *seq >= first);
        unknown
    }

    /// What is to be done with this number. After [`Check::Send`] it is on its way.
    pub(super) fn check(&mut self, seq: u64) -> Check {
        self.take_refused();
        if seq > self.last {
            if let Some((_, code)) = self.ahead.iter().find(|(ahead, _)| *ahead == seq) {
                return Check::Refused(*code);
            }
            let missing = self.missing();
            if seq != missing {
                let first = std::mem::replace(&mut self.reported_gap, missing) != missing;
                return Check::Gap(missing, first);
            }
            if !self.push(Answer::UNSENT) {
                return Check::TooMany;
            }
            return Check::Send;
        }
        self.known(seq).unwrap_or_else(|| {
            if let Some(answer) = self.answer(seq) {
                *answer = Answer::UNSENT;
            }
            Check::Send
        })
    }

    /// What is to be said of a number that was used before; `None` for one that is still to be.
    pub(super) fn known(&mut self, seq: u64) -> Option<Check> {
        if seq > self.last {
            return None;
        }
        Some(match self.answer(seq) {
            Some(Answer::Open) => return None,
            Some(Answer::UnderWay { .. }) => Check::UnderWay,
            Some(Answer::Acked(offset)) => Check::Acked(*offset),
            Some(Answer::Refused(code)) => Check::Refused(*code),
            None => Check::Acked(0),
        })
    }

    /// What became of a number that is on its way; `None` while more is to come.
    pub(super) fn settle(&mut self, seq: u64, receipt: Receipt) -> Option<Result<u64, ErrorCode>> {
        let answer = self.answer(seq)?;
        let Answer::UnderWay {
            left,
            offset,
            failed,
        } = answer
        else {
            return None;
        };
        match receipt {
            Receipt::Stored(at) => (*left, *offset) = (*left - 1, at.max(*offset)),
            Receipt::Failed(code) => {
                *left -= 1;
                // One that is to be sent again outweighs the others.
                if failed.is_none_or(ErrorCode::uses_seq) {
                    *failed = Some(code);
                }
            }
            Receipt::Copies(0) => (*left, *failed) = (0, Some(ErrorCode::RecipientNotFound)),
            Receipt::Copies(copies) => *left += i32::try_from(copies).unwrap_or(i32::MAX),
        }
        if *left != 0 {
            return None;
        }
        let result = match (*failed, *offset) {
            (Some(code), _) if !code.uses_seq() => Err(code),
            (Some(code), 0) => Err(code),
            (_, offset) => Ok(offset),
        };
        *answer = match result {
            Ok(offset) => Answer::Acked(offset),
            Err(code) if code.uses_seq() => Answer::Refused(code),
            Err(_) => Answer::Open,
        };
        Some(result)
    }

    /// The client gives a number up.
    pub(super) fn skip(&mut self, seq: u64) -> Check {
        match self.check(seq) {
            Check::Send => {
                self.finish(seq, Answer::Acked(0));
                Check::Acked(0)
            }
            known => known,
        }
    }

    /// A message was refused for good before it was sent on.
    pub(super) fn refuse(&mut self, seq: u64, code: ErrorCode) {
        self.take_refused();
        let ahead = seq > self.last && (seq != self.missing() || !self.push(Answer::Refused(code)));
        if ahead {
            // What is missing before it may still come: then this one counts.
            let is_new = self.ahead.iter().all(|(other, _)| *other != seq);
            if is_new && self.ahead.len() < UNANSWERED {
                self.ahead.push((seq, code));
            }
        } else if let Some(answer @ Answer::Open) = self.answer(seq) {
            *answer = Answer::Refused(code);
        }
    }

    /// The lowest number that the client has to send next.
    fn missing(&self) -> u64 {
        let open = self.answers.iter().position(|it| *it == Answer::Open);
        self.last + 1 - open.map_or(0, |at| (self.answers.len() - at) as u64)
    }

    /// Gives the next number its answer, if there is room for it.
    fn push(&mut self, answer: Answer) -> bool {
        if self.answers.len() == UNANSWERED {
            if let Some(Answer::UnderWay { .. } | Answer::Open) = self.answers.front() {
                return false;
            }
            self.answers.pop_front();
        }
        self.last += 1;
        self.answers.push_back(answer);
        true
    }

    /// Uses up the numbers that were refused before their turn came.
    fn take_refused(&mut self) {
        let next = |sent: &Sent| sent.ahead.iter().position(|(seq, _)| *seq <= sent.last + 1);
        while let Some(at) = next(self) {
            let (seq, code) = self.ahead.swap_remove(at);
            if seq > self.last && !self.push(Answer::Refused(code)) {
                return self.ahead.push((seq, code));
            }
        }
    }

    fn finish(&mut self, seq: u64, with: Answer) {
        if let Some(answer) = self.answer(seq) {
            *answer = with;
        }
    }

    fn answer(&mut self, seq: u64) -> Option<&mut Answer> {
        let back = usize::try_from(self.last.checked_sub(seq)?).ok()?;
        let at = self.answers.len().checked_sub(back + 1)?;
        self.answers.get_mut(at)
    }
}

impl Answer {
    /// One inbox is to answer, unless it is for a user: then [`Receipt::Copies`] says how many more.
    const UNSENT: Answer = Answer::UnderWay {
        left: 0,
        offset: 0,
        failed: None,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direct_message_is_numbered_sent_once_and_answered_again() {
        let mut sent = Sent::default();
        assert_eq!(sent.check(2), Check::Gap(1, true));
        assert_eq!(sent.check(3), Check::Gap(1, false));
        assert!(!sent.enter(1));
        assert_eq!(sent.check(3), Check::Gap(1, true), "told anew");
        assert_eq!(sent.check(1), Check::Send);
        assert_eq!(sent.check(1), Check::UnderWay);
        assert_eq!(sent.settle(1, Receipt::Copies(1)), None);
        assert_eq!(sent.settle(1, Receipt::Stored(7)), Some(Ok(7)));
        assert_eq!(sent.settle(1, Receipt::Stored(8)), None, "answered");
        assert_eq!(sent.check(1), Check::Acked(7));
        assert_eq!(sent.skip(2), Check::Acked(0));
        sent.refuse(3, ErrorCode::TooLarge);
        assert_eq!(sent.check(3), Check::Refused(ErrorCode::TooLarge));
        assert_eq!(sent.check(4), Check::Send);
    }

    #[test]
    fn one_that_was_not_possible_is_sent_again_before_what_follows() {
        let mut sent = Sent::default();
        for seq in 1..=3 {
            assert_eq!(sent.check(seq), Check::Send);
            sent.settle(seq, Receipt::Copies(1));
        }
        assert_eq!(sent.settle(3, Receipt::Stored(3)), Some(Ok(3)));
        let failed = Receipt::Failed(ErrorCode::Unavailable);
        assert_eq!(sent.settle(2, failed), Some(Err(ErrorCode::Unavailable)));
        assert_eq!(sent.check(4), Check::Gap(2, true));
        assert_eq!(sent.check(2), Check::Send);
        assert_eq!(sent.check(4), Check::Send);
    }

    #[test]
    fn one_refused_ahead_of_its_turn_counts_when_that_comes() {
        let mut sent = Sent::default();
        sent.refuse(2, ErrorCode::InvalidName);
        sent.refuse(2, ErrorCode::TooLarge);
        assert_eq!(sent.check(2), Check::Refused(ErrorCode::InvalidName));
        assert_eq!(
            sent.check(3),
            Check::Gap(1, true),
            "of this the client was not told"
        );
        assert_eq!(sent.check(1), Check::Send);
        assert_eq!(sent.check(3), Check::Send);
        assert_eq!(sent.check(2), Check::Refused(ErrorCode::InvalidName));
        // Refused while as many wait as may: it counts once there is room for its answer.
        for seq in 4..=UNANSWERED as u64 {
            assert_eq!(sent.check(seq), Check::Send);
        }
        sent.refuse(33, ErrorCode::TooLarge);
        assert_eq!(sent.check(33), Check::Refused(ErrorCode::TooLarge));
        for seq in [1, 3] {
            sent.settle(seq, Receipt::Copies(1));
            sent.settle(seq, Receipt::Stored(seq));
        }
        assert_eq!(sent.check(34), Check::Send);
    }

    #[test]
    fn a_message_to_a_user_waits_for_all_inboxes() {
        let mut sent = Sent::default();
        assert_eq!(sent.check(1), Check::Send);
        assert_eq!(
            sent.settle(1, Receipt::Stored(4)),
            None,
            "faster than the count"
        );
        assert_eq!(sent.settle(1, Receipt::Copies(2)), None);
        assert_eq!(sent.settle(1, Receipt::Stored(2)), Some(Ok(4)));
        assert_eq!(sent.check(2), Check::Send);
        let nobody = Err(ErrorCode::RecipientNotFound);
        assert_eq!(sent.settle(2, Receipt::Copies(0)), Some(nobody));
    }

    #[test]
    fn as_many_as_are_remembered_may_wait() {
        let mut sent = Sent::default();
        for seq in 1..=UNANSWERED as u64 {
            assert_eq!(sent.check(seq), Check::Send);
        }
        assert_eq!(sent.check(33), Check::TooMany);
        sent.settle(1, Receipt::Copies(1));
        sent.settle(1, Receipt::Stored(1));
        assert_eq!(sent.check(33), Check::Send);
        assert_eq!(sent.check(1), Check::Acked(0), "forgotten, and done");
    }

    #[test]
    fn what_is_taken_is_kept() {
        let payload = vec![0; 65_472 - 2];
        let record = Record {
            client_id: "a",
            name: "n",
            payload: &payload,
            ..Record::default()
        };
        assert!(Inbox::keeps(65_472) && !Inbox::keeps(65_473));
        assert!(Inbox::TOO_LARGE.contains("65472"));
        let mut inbox = Inbox::new(Epoch::from_random(1));
        for offset in 1..=3 {
            inbox.put(Now::default(), &record);
            assert_eq!(inbox.position(None), (offset - 1, offset == 1));
        }
    }

    #[test]
    fn an_inbox_takes_a_numbered_message_once() {
        let mut inbox = Inbox::new(Epoch::from_random(1));
        let record = |client_id, seq| Record {
            client_id,
            seq,
            ..Record::default()
        };
        assert_eq!(inbox.put(Now::default(), &record("a", 1)), (1, true));
        assert_eq!(inbox.put(Now::default(), &record("b", 1)), (2, true));
        assert_eq!(inbox.put(Now::default(), &record("a", 1)), (1, false));
        assert_eq!(inbox.put(Now::default(), &record("a", 0)), (3, true));
        assert_eq!(inbox.put(Now::default(), &record("a", 0)), (4, true));
        assert_eq!(inbox.position(None), (0, true));
        let epoch = inbox.epoch;
        let since = |offset| Some(Since { epoch, offset });
        assert_eq!(inbox.position(since(3)), (3, true));
        assert_eq!(inbox.position(since(5)), (0, false));
        for _ in 0..100 {
            inbox.put(Now::default(), &record("a", 0));
        }
        assert_eq!(inbox.position(since(39)), (40, false), "too long ago");
        assert_eq!(inbox.position(since(40)), (40, true));
        assert_eq!(inbox.position(None), (40, false));
    }
}
