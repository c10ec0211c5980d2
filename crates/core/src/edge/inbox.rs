//! Direct messages: what a session was sent, for when it comes back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::direct::{CountedBody, DirectBody, InboxShare};
use crate::edge::sent::Sent;
use crate::log::{Epoch, Since};
use crate::time::Now;

/// How much an inbox keeps: messages, and bytes of them.
pub(super) const MESSAGES: usize = 64;
pub(super) const BYTES: usize = 64 * 1024;

/// The direct messages of a session. Made with the first one.
#[derive(Debug, Default)]
pub(super) struct DirectMessages {
    pub(super) inbox: Option<Inbox>,
    pub(super) sent: Sent,
}

/// The newest messages that a session was sent. Their texts are shared with other inboxes that have them.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) epoch: Epoch,
    /// The offset of the newest; 0 before the first.
    last: u64,
    /// What the messages that are kept count for.
    bytes: usize,
    kept: VecDeque<Kept>,
    /// Microseconds at which the newest came.
    newest: u64,
    /// Its own, without that of its messages.
    memory: InboxShare,
}

#[derive(Debug)]
struct Kept {
    unix_ms: i64,
    counted: Arc<CountedBody>,
}

/// A message with its place in an inbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    pub(super) offset: u64,
    pub(super) unix_ms: i64,
    pub(super) body: &'a DirectBody,
}

impl Inbox {
    /// Why a message is not taken that no inbox would keep.
    pub(super) const TOO_LARGE: &str = "a direct message has at most 65472 bytes; its payload, its name, the ids of the sender and of its user, and the id of the user that it is for count";
    pub(super) fn new(epoch: Epoch, memory: InboxShare) -> Inbox {
        let mut inbox = Inbox {
            epoch,
            last: 0,
            bytes: 0,
            kept: VecDeque::new(),
            newest: 0,
            memory,
        };
        inbox.count();
        inbox
    }

    fn count(&mut self) {
        let kept = self.kept.capacity() * size_of::<Kept>();
        self.memory.set(size_of::<DirectMessages>() + kept);
    }

    /// Whether an inbox keeps a message that counts for so many bytes: else it must not be taken.
    pub(super) fn keeps(size: usize) -> bool {
        size <= BYTES
    }

    /// Puts a message in, one that it keeps. The offset, and whether it is a new one: one that its sender numbered is
    /// not put in again while the inbox has it.
    pub(super) fn put(&mut self, now: Now, counted: &Arc<CountedBody>) -> (u64, bool) {
        let body = &counted.body;
        let same = |it: &Kept| it.counted.body.seq == body.seq && it.counted.body.from == body.from;
        let known = self.kept.iter().rev().position(same);
        if let Some(back) = known.filter(|_| body.seq > 0) {
            return (self.last - back as u64, false);
        }
        self.last += 1;
        self.bytes += body.size();
        let counted = Arc::clone(counted);
        let unix_ms = now.unix_ms;
        self.kept.push_back(Kept { unix_ms, counted });
        self.newest = now.micros;
        while self.kept.len() > MESSAGES || self.bytes > BYTES {
            let oldest = self.kept.pop_front();
            self.bytes -= oldest.map_or(self.bytes, |it| it.counted.body.size());
        }
        self.count();
        (self.last, true)
    }

    /// Microseconds at which the newest that it keeps came; `None` where it keeps none.
    pub(super) fn newest(&self) -> Option<u64> {
        self.kept.back().map(|_| self.newest)
    }

    /// Loses all messages, and goes on counting.
    pub(super) fn clear(&mut self) {
        self.kept = VecDeque::new();
        self.bytes = 0;
        self.count();
    }

    /// From where a client that has come to `since` is to be given messages, and whether these are all that it lacks.
    pub(super) fn position(&self, since: Option<Since>) -> (u64, bool) {
        let oldest = self.last - self.kept.len() as u64;
        match since {
            None => (oldest, oldest == 0),
            Some(Since { epoch, offset })
                if epoch == self.epoch && (oldest..=self.last).contains(&offset) =>
            {
                (offset, true)
            }
            Some(_) => (oldest, false),
        }
    }

    /// The messages after an offset, the oldest first.
    pub(super) fn after(&self, offset: u64) -> impl Iterator<Item = Placed<'_>> {
        let first = self.last + 1 - self.kept.len() as u64;
        let all = (first..).zip(&self.kept).map(|(offset, kept)| Placed {
            offset,
            unix_ms: kept.unix_ms,
            body: &kept.counted.body,
        });
        all.skip_while(move |it| it.offset <= offset)
    }
}

#[cfg(test)]
mod tests {
    use roomcast_protocol::{MessageType, PayloadKind};

    use super::*;
    use crate::direct::InboxMemory;
    use crate::id::ClientId;

    struct Setup {
        memory: Arc<InboxMemory>,
        inbox: Inbox,
    }

    fn setup() -> Setup {
        let memory = Arc::<InboxMemory>::default();
        let inbox = Inbox::new(Epoch::from_random(1), memory.take(0));
        Setup { memory, inbox }
    }

    impl Setup {
        fn body(&self, from: u64, seq: u64, payload: usize) -> Arc<CountedBody> {
            let body = DirectBody {
                message_type: MessageType::Chat,
                payload_kind: PayloadKind::Json,
                from: ClientId::from_random([from, 1]),
                from_user: "".into(),
                service: "".into(),
                to_user: "".into(),
                seq,
                ephemeral: false,
                bytes: vec![b'1'; payload].into(),
                name_length: 0,
            };
            CountedBody::new(&Arc::new(body), &self.memory)
        }

        fn put(&mut self, from: u64, seq: u64, payload: usize) -> (u64, bool) {
            let counted = self.body(from, seq, payload);
            self.inbox.put(Now::default(), &counted)
        }
    }

    #[test]
    fn what_is_taken_is_kept() {
        let mut it = setup();
        let largest = 65_472 - ClientId::LENGTH;
        assert!(Inbox::keeps(it.body(1, 0, largest).body.size()));
        assert!(!Inbox::keeps(it.body(1, 0, largest + 1).body.size()));
        assert!(Inbox::TOO_LARGE.contains("65472"));
        let empty = it.memory.held();
        for offset in 1..=3 {
            it.put(1, 0, largest);
            assert_eq!(it.inbox.position(None), (offset - 1, offset == 1));
        }
        let held = it.memory.held() - empty;
        assert!((BYTES..BYTES + 1_100).contains(&held), "{held}");
        it.inbox.clear();
        assert_eq!(it.memory.held(), empty);
        assert_eq!(it.inbox.position(None), (3, false), "and it is told");
        assert_eq!(it.put(1, 0, 1), (4, true));
        let Setup { memory, inbox } = it;
        drop(inbox);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn an_inbox_takes_a_numbered_message_once() {
        let mut it = setup();
        assert_eq!(it.put(1, 1, 1), (1, true));
        assert_eq!(it.put(2, 1, 1), (2, true));
        assert_eq!(it.put(1, 1, 1), (1, false));
        assert_eq!(it.put(1, 0, 1), (3, true));
        assert_eq!(it.put(1, 0, 1), (4, true));
        assert_eq!(it.inbox.position(None), (0, true));
        let epoch = it.inbox.epoch;
        let since = |offset| Some(Since { epoch, offset });
        assert_eq!(it.inbox.position(since(3)), (3, true));
        assert_eq!(it.inbox.position(since(5)), (0, false));
        let offsets: Vec<_> = it.inbox.after(2).map(|it| it.offset).collect();
        assert_eq!(offsets, [3, 4]);
        for _ in 0..100 {
            it.put(1, 0, 1);
        }
        assert_eq!(it.inbox.position(since(39)), (40, false), "too long ago");
        assert_eq!(it.inbox.position(since(40)), (40, true));
        assert_eq!(it.inbox.position(None), (40, false));
    }
}
