//! The numbers of the direct messages that a session has sent, and their answers.

use std::collections::VecDeque;

use roomcast_protocol::ErrorCode;

use crate::letter::Receipt;
use crate::wire::session::{PackedAnswer, PackedSent};

/// Answers that are kept, and messages that may wait for one.
pub(super) const UNANSWERED: usize = 32;

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
    /// Whether another node had them, which may have done more than is known here.
    elsewhere: Elsewhere,
}

/// Whether another node may have done more, and its client knows. With the generation of the last token that was given
/// there: who shows that one may have it from there, and has heard nothing of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Elsewhere {
    #[default]
    No,
    Untold(u32),
    /// In a `welcome` that may be lost.
    Told(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Waits for so many inboxes to answer; below 0 where they were faster than whoever knows how many there are.
    UnderWay {
        left: i32,
        offset: u64,
        failed: Option<ErrorCode>,
    },
    /// It could not be done, and its number is to be used again. An inbox that has it all the same has it there.
    Open {
        offset: u64,
    },
    Acked(u64),
    Refused(ErrorCode),
}

impl Sent {
    /// The client has answers to all numbers below `first`. Whether one that it sends again may be delivered twice.
    pub(super) fn enter(&mut self, first: u64) -> bool {
        // What it was told last may have been lost with its connection.
        self.reported_gap = 0;
        let elsewhere = self.elsewhere != Elsewhere::No;
        if let Elsewhere::Untold(generation) = self.elsewhere {
            self.elsewhere = Elsewhere::Told(generation);
        }
        if first <= self.last + 1 {
            return elsewhere;
        }
        let unknown = self.last == 0 || elsewhere;
        self.last = first - 1;
        self.answers.clear();
        self.ahead.retain(|(seq, _)| *seq >= first);
        unknown
    }

    /// The client has shown the newest token, and so has got the `welcome` that it came with first.
    pub(super) fn was_heard(&mut self, shown: u32) {
        if let Elsewhere::Told(generation) = self.elsewhere
            && shown > generation
        {
            self.elsewhere = Elsewhere::No;
        }
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
                let offset = answer.offset();
                *answer = Answer::UnderWay {
                    left: 0,
                    offset,
                    failed: None,
                };
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
            Some(Answer::Open { .. }) => return None,
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
            Receipt::Copies(copies) => {
                *left = left.saturating_add(i32::try_from(copies).unwrap_or(i32::MAX));
            }
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
            Err(_) => Answer::Open { offset: *offset },
        };
        Some(result)
    }

    /// The client gives a number up.
    pub(super) fn skip(&mut self, seq: u64) -> Check {
        match self.check(seq) {
            Check::Send => {
                // Some of those whom it was for may have it.
                let offset = self.answer(seq).map_or(0, |answer| answer.offset());
                self.finish(seq, Answer::Acked(offset));
                Check::Acked(offset)
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
        } else if let Some(answer @ Answer::Open { .. }) = self.answer(seq) {
            *answer = Answer::Refused(code);
        }
    }

    /// What another node has to know of them. What is on its way is to be sent again there: an inbox takes it once.
    pub(super) fn save(&self) -> PackedSent {
        let answers = self.answers.iter().map(|answer| match answer {
            Answer::UnderWay { .. } | Answer::Open { .. } => PackedAnswer::Open,
            Answer::Acked(offset) => PackedAnswer::Acked(*offset),
            Answer::Refused(code) => PackedAnswer::Refused(*code),
        });
        PackedSent {
            last: self.last,
            answers: answers.collect(),
            ahead: self.ahead.clone(),
        }
    }

    /// The reverse of [`Sent::save`]. `generation`: of the newest token of the session as it was saved.
    pub(super) fn restore(saved: &PackedSent, generation: u32) -> Sent {
        let answers = saved.answers.iter().map(|answer| match answer {
            PackedAnswer::Open => Answer::Open { offset: 0 },
            PackedAnswer::Acked(offset) => Answer::Acked(*offset),
            PackedAnswer::Refused(code) => Answer::Refused(*code),
        });
        Sent {
            last: saved.last,
            answers: answers.collect(),
            ahead: saved.ahead.clone(),
            reported_gap: 0,
            elsewhere: Elsewhere::Untold(generation),
        }
    }

    /// The lowest number that the client has to send next.
    fn missing(&self) -> u64 {
        let is_open = |it: &Answer| matches!(it, Answer::Open { .. });
        let open = self.answers.iter().position(is_open);
        self.last + 1 - open.map_or(0, |at| (self.answers.len() - at) as u64)
    }

    /// Gives the next number its answer, if there is room for it.
    fn push(&mut self, answer: Answer) -> bool {
        if self.answers.len() == UNANSWERED {
            if let Some(Answer::UnderWay { .. } | Answer::Open { .. }) = self.answers.front() {
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

    /// The offset at which an inbox has the message, as far as is known; 0: none.
    fn offset(&self) -> u64 {
        match self {
            Answer::UnderWay { offset, .. } | Answer::Open { offset } | Answer::Acked(offset) => {
                *offset
            }
            Answer::Refused(_) => 0,
        }
    }
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
        // One that some have is not given up as if nobody had it.
        let busy = Receipt::Failed(ErrorCode::Unavailable);
        assert_eq!(sent.check(2), Check::Send);
        assert_eq!(sent.settle(2, Receipt::Copies(2)), None);
        assert_eq!(sent.settle(2, Receipt::Stored(9)), None);
        let result = sent.settle(2, busy);
        assert_eq!(result, Some(Err(ErrorCode::Unavailable)));
        assert_eq!(sent.skip(2), Check::Acked(9));
        let nobody = Err(ErrorCode::RecipientNotFound);
        assert_eq!(sent.check(3), Check::Send);
        assert_eq!(sent.settle(3, Receipt::Copies(0)), Some(nobody));
    }

    /// A `hello` of a connection that was given up has come late, with the token before the newest: the `welcome` that says
    /// what another node may have done was answered to nobody.
    #[test]
    fn whose_token_is_of_another_node_has_not_heard_what_this_one_said() {
        let mut sent = Sent::restore(&Sent::default().save(), 3);
        assert!(sent.enter(1));
        sent.was_heard(3);
        assert!(sent.enter(1), "it is told again");
        sent.was_heard(4);
        assert!(!sent.enter(1));
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
}
