//! Direct messages from here on their way into inboxes in the store, and those whose recipients are being sought.

use std::collections::{BTreeMap, VecDeque};

use crate::edge::keeper::Asked;
use crate::id::ClientId;
use crate::letter::DirectMessage;

/// Bytes of copies of messages to users that are on their way at once.
const COPIES: usize = 1024 * 1024;

/// What is on its way. It is in the publish windows of its senders, while they are connected.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// By recipient. One message to each is asked of the store at a time, so they stay in their order.
    outboxes: BTreeMap<ClientId, Outbox>,
    searches: BTreeMap<u64, Search>,
    last_search: u64,
    /// Bytes of all these messages.
    bytes: usize,
}

/// Messages to one inbox, never none.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) waiting: VecDeque<Mailing>,
    /// The request with the first of them.
    pub(super) asked: Option<Asked>,
}

/// A message to one inbox.
#[derive(Debug)]
pub(super) struct Mailing {
    pub(super) message: DirectMessage,
    /// Milliseconds since the Unix epoch at which it was taken.
    pub(super) unix_ms: i64,
    /// Microseconds until which it may wait for those before it. Once the store was asked, only the store knows whether it
    /// is done.
    pub(super) until: u64,
}

/// A message whose recipients, or their node, the store is asked for.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) message: DirectMessage,
    pub(super) until: u64,
    pub(super) asked: Option<Asked>,
}

impl Mail {
    /// Puts a message behind those to the same inbox. Whether it is the first.
    pub(super) fn put(&mut self, to: ClientId, mailing: Mailing) -> bool {
        self.bytes += mailing.message.body.size();
        let outbox = self.outboxes.entry(to).or_default();
        outbox.waiting.push_back(mailing);
        outbox.waiting.len() == 1
    }

    pub(super) fn outbox(&mut self, to: ClientId) -> Option<&mut Outbox> {
        self.outboxes.get_mut(&to)
    }

    /// Takes out those whose time is over, of which the store was not asked. And when the next one's is.
    pub(super) fn take_over(&mut self, to: ClientId, micros: u64) -> (Vec<Mailing>, Option<u64>) {
        let Some(outbox) = self.outboxes.get_mut(&to) else {
            return (Vec::new(), None);
        };
        // All have the same patience, so they are at the front: behind the first, which was asked of the store.
        let waiting = &mut outbox.waiting;
        let end = waiting.iter().skip(1).take_while(|it| it.until <= micros);
        let end = 1 + end.count();
        let over: Vec<_> = waiting.drain(1..end.min(waiting.len()).max(1)).collect();
        let bytes: usize = over.iter().map(|it| it.message.body.size()).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        (over, waiting.get(1).map(|it| it.until))
    }

    /// Takes the first message to an inbox out. An outbox goes with its last one.
    pub(super) fn take_first(&mut self, to: ClientId) -> Option<Mailing> {
        let outbox = self.outboxes.get_mut(&to)?;
        let mailing = outbox.waiting.pop_front();
        if outbox.waiting.is_empty() {
            self.outboxes.remove(&to);
        }
        let bytes = mailing.as_ref().map_or(0, |it| it.message.body.size());
        self.bytes = self.bytes.saturating_sub(bytes);
        mailing
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of copies that may go on their way now.
    pub(super) fn room_for_copies(&self) -> usize {
        COPIES.saturating_sub(self.bytes)
    }

    /// Begins a search. Its number.
    pub(super) fn search(&mut self, search: Search) -> u64 {
        self.last_search += 1;
        self.bytes += search.message.body.size();
        self.searches.insert(self.last_search, search);
        self.last_search
    }

    pub(super) fn searching(&mut self, number: u64) -> Option<&mut Search> {
        self.searches.get_mut(&number)
    }

    pub(super) fn end_search(&mut self, number: u64) -> Option<Search> {
        let search = self.searches.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(search.message.body.size());
        Some(search)
    }
}
