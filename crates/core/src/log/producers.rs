//! Who has published what in a room: so that nothing is logged twice, and nothing out of its order.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};
use roomcast_protocol::{ErrorCode, mutated};

use crate::id::ClientId;

/// Answers that are kept for each client: as many as may wait for one.
const ANSWERS: usize = 32;
/// Messages of backends that logic has handled, so that no event has them: so many of the newest are known.
const HANDLED: usize = 64;

/// What is to be done with a numbered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Next,
    /// It was logged before, at this offset; 0 where nothing was to be logged, or it is too old to tell.
    Logged(u64),
    /// It was refused before, for good.
    Refused(ErrorCode),
    /// This one is missing before it.
    Gap {
        /// The lowest number that is missing.
        missing: u64,
        /// Whether the client was not told yet.
        first: bool,
    },
}

/// The clients whose messages to a room are numbered.
#[derive(Debug, Default)]
pub struct Producers {
    clients: HashMap<ClientId, Box<Producer>, own_bits::Hash>,
    /// Bytes that they hold beside the table.
    held: usize,
    /// How many of them are not in the room.
    absent: usize,
    /// Those of whom a message was handled once, the newest last.
    #[expect(
        clippy::box_collection,
        reason = "most rooms have none: a pointer is a quarter of it"
    )]
    handled: Option<Box<VecDeque<ClientId>>>,
    /// Who has changed since a store was told last; nothing where there is none.
    changed: Option<Box<HashSet<ClientId, own_bits::Hash>>>,
}

mod own_bits {
    //! Client ids are drawn by the server and can't be aimed at a bucket: their own bits are the hash.

    use std::hash::{BuildHasherDefault, Hasher};

    pub(super) type Hash = BuildHasherDefault<OwnBits>;

    #[derive(Debug, Default)]
    pub(super) struct OwnBits(u64);

    impl Hasher for OwnBits {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = self.0.rotate_left(5) ^ u64::from(*byte);
            }
        }

        fn finish(&self) -> u64 {
            self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        }
    }
}

/// What is known of one client's numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Producer {
    /// The highest number that was used up, with all below it.
    pub(crate) last: u64,
    /// Of the last ones, the newest at the end.
    pub(crate) answers: VecDeque<Answer>,
    /// Numbers above the next one that were refused for good before they came here.
    pub(crate) ahead: Vec<(u64, ErrorCode)>,
    /// The number whose absence the client was told of.
    pub(crate) reported_gap: u64,
    /// Numbers below this may have been logged before it was known here: the client may have had no chance to hear so.
    pub(crate) unsure: u64,
    /// The offset of its last event.
    pub(crate) offset: u64,
    /// It is in the room, so that it is not forgotten.
    pub(crate) present: bool,
}

/// What became of a number that was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Logged(u64),
    Refused(ErrorCode),
}

impl Producers {
    /// Clients that are known.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether no client is known.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many of them are not in the room.
    pub fn absent(&self) -> usize {
        self.absent
    }

    /// Whether this one is known.
    pub(crate) fn knows(&self, client: &ClientId) -> bool {
        self.clients.contains_key(client)
    }

    /// Memory that they hold, in bytes.
    pub fn held(&self) -> usize {
        let changed = self.changed.as_ref();
        let changed = changed.map_or(0, |it| it.allocation_size() + size_of_val(&**it));
        let handled = self.handled.as_ref();
        let handled = handled.map_or(0, |it| {
            size_of_val(&**it) + it.capacity() * size_of::<ClientId>() + 2 * super::ALLOCATION
        });
        self.clients.allocation_size() + self.held + changed + handled
    }

    /// From here on it is known who has changed.
    pub(crate) fn track(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// Whether anybody has changed since [`Producers::take_changed`].
    pub(crate) fn has_changed(&self) -> bool {
        self.changed.as_ref().is_some_and(|it| !it.is_empty())
    }

    /// Who has changed since the last time, with what is known of each now: nothing of who was forgotten.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = (ClientId, Option<&Producer>)> {
        let changed = self.changed.as_mut().map(|it| std::mem::take(&mut **it));
        let known = &self.clients;
        let changed = changed.into_iter().flatten();
        changed.map(|client| (client, known.get(&client).map(|it| &**it)))
    }

    /// What was taken is to be told again.
    pub(crate) fn note_changed(&mut self, clients: impl IntoIterator<Item = ClientId>) {
        if let Some(changed) = &mut self.changed {
            changed.extend(clients);
        }
    }

    /// All clients that are known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClientId, &Producer)> {
        self.clients.iter().map(|(client, it)| (*client, &**it))
    }

    /// Takes in what a store has of a client. `present`: it is in the room.
    pub(crate) fn load(&mut self, client: ClientId, producer: Producer, present: bool) {
        self.absent += usize::from(!present);
        self.held += producer.held();
        let producer = Producer {
            present,
            ..producer
        };
        let is_handled = producer.is_handled();
        self.clients.insert(client, Box::new(producer));
        if is_handled {
            self.note_handled(client);
        }
    }

    fn note(&mut self, client: ClientId) {
        if let Some(changed) = &mut self.changed {
            changed.insert(client);
        }
    }

    /// Changes one that is known, and counts it anew. Nothing else changes one.
    fn change<T>(
        &mut self,
        client: &ClientId,
        change: impl FnOnce(&mut Producer) -> T,
    ) -> Option<T> {
        let known = self.clients.get_mut(client)?;
        let (held, present) = (known.held(), known.present);
        let result = change(known);
        self.held = self.held + known.held() - held;
        self.absent = self.absent + usize::from(present) - usize::from(known.present);
        self.note(*client);
        Some(result)
    }

    /// The same for one that is in the room: who is not known there has sent nothing before, and begins with 1.
    fn known<T>(&mut self, client: ClientId, change: impl Fn(&mut Producer) -> T) -> T {
        if let Some(result) = self.change(&client, &change) {
            return result;
        }
        let mut producer = Producer {
            present: true,
            ..Producer::default()
        };
        let result = change(&mut producer);
        self.insert(client, producer);
        result
    }

    /// One that is in the room, and not known.
    fn insert(&mut self, client: ClientId, producer: Producer) {
        self.held += producer.held();
        self.clients.insert(client, Box::new(producer));
        self.note(client);
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut Producer) -> bool) {
        (self.held, self.absent) = (0, 0);
        self.clients.retain(|client, known| {
            let keep = keep(known);
            if let Some(changed) = self.changed.as_mut().filter(|_| !keep) {
                changed.insert(*client);
            }
            self.held += if keep { known.held() } else { 0 };
            self.absent += usize::from(keep && !known.present);
            keep
        });
        if self.clients.len() < self.clients.capacity() / 4 {
            self.clients.shrink_to(2 * self.clients.len());
        }
    }

    /// A client is in the room; `back`: it has been before. `first_seq` is the lowest number that it has no answer for,
    /// 0 where it does not say. Whether what it sends again may be logged twice, as it is not known here.
    pub fn enter(&mut self, client: ClientId, first_seq: u64, back: bool) -> bool {
        let known = self.change(&client, |known| {
            known.present = true;
            // What it was told last may have been lost with its connection.
            known.reported_gap = 0;
            // The client has answers to all before: some of them may not have come from here.
            if first_seq > known.last + 1 {
                known.last = first_seq - 1;
                known.answers.clear();
                known.ahead.retain(|(seq, _)| *seq >= first_seq);
                known.take_refused();
            }
            first_seq < known.unsure
        });
        if let Some(unsure) = known {
            return unsure;
        }
        let first_seq = first_seq.max(1);
        if first_seq == 1 && !back {
            // Known with its first number, if it ever sends one.
            return false;
        }
        let producer = Producer {
            last: first_seq - 1,
            unsure: first_seq.saturating_add(ANSWERS as u64),
            present: true,
            ..Producer::default()
        };
        self.insert(client, producer);
        true
    }

    /// A client is no longer in the room, which keeps its events from `first` on.
    pub fn exit(&mut self, client: ClientId, first: u64) {
        let forget = self.change(&client, |known| {
            known.present = false;
            known.offset < first
        });
        if forget == Some(true)
            && let Some(known) = self.clients.remove(&client)
        {
            self.held -= known.held();
            self.absent -= 1;
        }
    }

    /// Nobody is in the room any more, which keeps its events from `first` on.
    pub fn exit_all(&mut self, first: u64) {
        self.retain(|known| {
            known.present = false;
            known.offset >= first
        });
    }

    /// Forgets those who are not in the room and of whom it keeps no event: it keeps those from `first` on.
    pub fn forget(&mut self, first: u64) {
        self.retain(|known| known.present || known.offset >= first);
    }

    /// What is to be done with number `seq`. After [`Verdict::Next`] comes [`Producers::logged`].
    pub fn check(&mut self, client: ClientId, seq: u64) -> Verdict {
        self.known(client, |known| known.check(seq))
    }

    /// The next number was logged at `offset`.
    pub fn logged(&mut self, client: ClientId, offset: u64) {
        self.change(&client, |known| {
            known.offset = offset;
            known.answer(Answer::Logged(offset));
        });
    }

    /// The only message of somebody who is in no room was logged at `offset`. It is known as long as that is kept.
    pub fn logged_once(&mut self, client: ClientId, offset: u64) {
        self.change(&client, |known| {
            known.offset = offset;
            known.answer(Answer::Logged(offset));
            known.present = false;
        });
    }

    /// The only message of somebody who is in no room was handled, and no event has it. `next` is the offset of the event that
    /// comes next: it is known as long as that is kept, and it is among the newest of its kind.
    pub fn handled_once(&mut self, client: ClientId, next: u64) {
        if self.check(client, 1) != Verdict::Next {
            return;
        }
        self.change(&client, |known| {
            known.offset = next;
            known.answer(Answer::Logged(0));
            known.present = false;
        });
        self.note_handled(client);
    }

    fn note_handled(&mut self, client: ClientId) {
        let handled = self.handled.get_or_insert_default();
        // One that was forgotten and comes again is new: its older place must not end it.
        handled.retain(|it| *it != client);
        handled.push_back(client);
        if handled.len() <= HANDLED {
            return;
        }
        let oldest = handled.pop_front();
        if let Some(client) =
            oldest.filter(|it| self.clients.get(it).is_some_and(|it| it.is_handled()))
            && let Some(known) = self.clients.remove(&client)
        {
            self.held -= known.held();
            self.absent -= 1;
            self.note(client);
        }
    }

    /// A number was given up by its client, and won't come. Nothing happens where it was used up before.
    pub fn skip(&mut self, client: ClientId, seq: u64) -> Verdict {
        let verdict = self.check(client, seq);
        if verdict == Verdict::Next {
            self.change(&client, |known| known.answer(Answer::Logged(0)));
        }
        verdict
    }

    /// A number was refused for good before it came here. It is used up, also out of its turn.
    pub fn refuse(&mut self, client: ClientId, seq: u64, code: ErrorCode) {
        self.known(client, |known| known.refuse(seq, code));
    }
}

impl Producer {
    /// Memory that it holds, in bytes.
    fn held(&self) -> usize {
        size_of::<Producer>()
            + 2 * super::ALLOCATION
            + self.answers.capacity() * size_of::<Answer>()
            + self.ahead.capacity() * size_of::<(u64, ErrorCode)>()
    }

    /// Whether it is of somebody in no room, whose only message no event has.
    fn is_handled(&self) -> bool {
        !self.present && self.last == 1 && self.answers == [Answer::Logged(0)]
    }

    fn check(&mut self, seq: u64) -> Verdict {
        if seq == self.last + 1 {
            return Verdict::Next;
        }
        if seq > self.last && mutated!("missing_seq_is_passed_over") {
            self.last = seq - 1;
            return Verdict::Next;
        }
        if seq > self.last {
            if let Some((_, code)) = self.ahead.iter().find(|(ahead, _)| *ahead == seq) {
                return Verdict::Refused(*code);
            }
            let missing = self.last + 1;
            let first = std::mem::replace(&mut self.reported_gap, missing) != missing;
            return Verdict::Gap { missing, first };
        }
        let back = (self.last - seq) as usize;
        match self.answers.iter().rev().nth(back) {
            Some(Answer::Logged(offset)) => Verdict::Logged(*offset),
            Some(Answer::Refused(code)) => Verdict::Refused(*code),
            None => Verdict::Logged(0),
        }
    }

    fn refuse(&mut self, seq: u64, code: ErrorCode) {
        let known = self.ahead.iter().any(|(ahead, _)| *ahead == seq);
        if seq == self.last + 1 {
            self.answer(Answer::Refused(code));
        } else if seq > self.last
            && self.ahead.len() < ANSWERS
            && !known
            && !mutated!("refusal_before_its_turn_is_lost")
        {
            self.ahead.push((seq, code));
        }
    }

    /// Uses up the next number, and those after it that were used up before.
    fn answer(&mut self, answer: Answer) {
        self.push(answer);
        self.take_refused();
    }

    /// Uses up the numbers behind the last one that were refused before their turn.
    fn take_refused(&mut self) {
        while let Some(at) = self.ahead.iter().position(|(seq, _)| *seq <= self.last + 1) {
            let (seq, code) = self.ahead.swap_remove(at);
            if seq == self.last + 1 {
                self.push(Answer::Refused(code));
            }
        }
    }

    fn push(&mut self, answer: Answer) {
        self.last += 1;
        if self.answers.len() == ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> ClientId {
        ClientId::from_random([1, 2])
    }

    #[test]
    fn numbers_are_taken_once_and_in_order() {
        let mut producers = Producers::default();
        let gap = |missing, first| Verdict::Gap { missing, first };
        assert_eq!(producers.check(client(), 2), gap(1, true));
        assert_eq!(producers.check(client(), 3), gap(1, false), "told once");
        for seq in 1..=40 {
            assert_eq!(producers.check(client(), seq), Verdict::Next);
            producers.logged(client(), 100 + seq);
        }
        assert_eq!(producers.check(client(), 40), Verdict::Logged(140));
        assert_eq!(producers.check(client(), 9), Verdict::Logged(109));
        assert_eq!(
            producers.check(client(), 8),
            Verdict::Logged(0),
            "the last 32"
        );
        assert_eq!(producers.check(client(), 42), gap(41, true));
        assert_eq!(producers.check(client(), 43), gap(41, false));
        assert!(!producers.enter(client(), 41, true));
        assert_eq!(producers.check(client(), 42), gap(41, true), "told anew");
        assert_eq!(producers.skip(client(), 41), Verdict::Next);
        assert_eq!(producers.check(client(), 42), Verdict::Next);
    }

    #[test]
    fn what_was_handled_once_is_known_as_long_as_it_is_among_the_newest() {
        let mut producers = Producers::default();
        producers.track();
        let id = |n: usize| ClientId::from_random([n as u64, 7]);
        for n in 0..HANDLED + 10 {
            producers.handled_once(id(n), 1);
            producers.handled_once(id(n), 1);
        }
        producers.forget(1);
        assert_eq!((producers.len(), producers.absent()), (HANDLED, HANDLED));
        assert!(!producers.knows(&id(9)) && producers.knows(&id(10)));
        assert_eq!(producers.check(id(10), 1), Verdict::Logged(0));
        let forgotten = producers.take_changed().filter(|(_, it)| it.is_none());
        assert_eq!(forgotten.count(), 10);
        // The next event is kept no more.
        producers.forget(2);
        assert!(producers.is_empty());
    }

    #[test]
    fn a_refusal_before_the_client_is_known_is_no_gap_and_is_told_again() {
        let mut producers = Producers::default();
        let code = ErrorCode::InvalidName;
        for seq in [2, 2, 4] {
            producers.refuse(client(), seq, code);
        }
        assert_eq!(producers.check(client(), 2), Verdict::Refused(code));
        assert_eq!(producers.check(client(), 1), Verdict::Next);
        producers.logged(client(), 1);
        assert_eq!(producers.check(client(), 3), Verdict::Next);
        // It comes back, with answers to all below 4.
        assert!(!producers.enter(client(), 4, true));
        assert_eq!(producers.check(client(), 4), Verdict::Refused(code));
        assert_eq!(producers.check(client(), 5), Verdict::Next);
    }

    #[test]
    fn a_final_refusal_uses_its_number_up_even_before_its_turn() {
        let mut producers = Producers::default();
        let code = ErrorCode::TooLarge;
        producers.refuse(client(), 1, code);
        producers.refuse(client(), 3, code);
        producers.refuse(client(), 4, code);
        assert_eq!(producers.check(client(), 1), Verdict::Refused(code));
        assert_eq!(producers.check(client(), 2), Verdict::Next);
        producers.logged(client(), 7);
        assert_eq!(producers.check(client(), 4), Verdict::Refused(code));
        assert_eq!(producers.check(client(), 5), Verdict::Next);
    }

    #[test]
    fn a_final_refusal_comes_before_all_else() {
        let mut producers = Producers::default();
        let code = ErrorCode::TooLarge;
        producers.refuse(client(), 2, code);
        assert_eq!(producers.check(client(), 1), Verdict::Next);
        producers.logged(client(), 7);
        assert_eq!(producers.check(client(), 2), Verdict::Refused(code));
        assert_eq!(producers.check(client(), 3), Verdict::Next);
    }

    #[test]
    fn who_is_gone_is_forgotten_with_its_last_event() {
        let mut producers = Producers::default();
        assert!(
            !producers.enter(client(), 1, false),
            "nothing was sent before"
        );
        assert!(producers.is_empty());
        producers.check(client(), 1);
        producers.logged(client(), 9);
        producers.exit(client(), 5);
        assert!(!producers.enter(client(), 2, true), "known");
        producers.exit(client(), 5);
        producers.forget(10);
        assert!(producers.is_empty());
        assert!(producers.enter(client(), 5, true), "not known any more");
        assert!(
            producers.enter(client(), 5, true),
            "and that may not have been heard"
        );
        assert_eq!(producers.check(client(), 5), Verdict::Next);
    }
}
