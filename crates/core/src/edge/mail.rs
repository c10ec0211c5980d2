//! Direct messages from here on their way into inboxes in the store, and those whose recipients are being sought.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::edge::keeper::Asked;
use crate::id::ClientId;
use crate::letter::{DirectMessage, Recipient};

/// Bytes of copies of messages to users that are on their way at once.
const COPIES: usize = 1024 * 1024;

/// What is on its way. It is in the publish windows of its senders, while they are connected.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// By recipient. One message to each is asked of the store at a time, so they stay in their order.
    outboxes: BTreeMap<ClientId, Outbox>,
    searches: BTreeMap<u64, Search>,
    /// The searches for a user by one sender, in the order of its messages. They go on in it, whoever is found first.
    to_users: BTreeMap<(Box<str>, ClientId), VecDeque<u64>>,
    last_search: u64,
    /// Bytes of all these messages.
    bytes: usize,
    /// Senders whose sessions have gone to other nodes in this turn.
    moved: BTreeSet<ClientId>,
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
    /// The store is not asked once more.
    pub(super) is_withdrawn: bool,
}

/// A message whose recipients, or their node, the store is asked for.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) message: DirectMessage,
    pub(super) until: u64,
    pub(super) asked: Option<Asked>,
    /// The sessions of a user, which wait for an earlier message to the same.
    pub(super) found: Option<Vec<ClientId>>,
}

impl Search {
    fn in_order(&self) -> Option<(Box<str>, ClientId)> {
        let body = &self.message.body;
        let ordered = self.message.to == Recipient::User && !body.ephemeral;
        ordered.then(|| (body.to_user.clone(), body.from))
    }
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

    /// A session is another node's now.
    pub(super) fn sender_moved(&mut self, sender: ClientId) {
        self.moved.insert(sender);
    }

    pub(super) fn take_moved(&mut self) -> BTreeSet<ClientId> {
        std::mem::take(&mut self.moved)
    }

    /// Takes such messages out of the outboxes. What the store is being asked about stays there until it has answered.
    /// Returns the outboxes in which another message is the first now.
    pub(super) fn withdraw(&mut self, is_such: impl Fn(&DirectMessage) -> bool) -> Vec<ClientId> {
        let mut others_first = Vec::new();
        let bytes = &mut self.bytes;
        self.outboxes.retain(|to, outbox| {
            let is_asking = outbox.asked.as_ref().is_some_and(Asked::is_under_way);
            let waiting = &mut outbox.waiting;
            let Some(first) = waiting.front_mut() else {
                return false;
            };
            first.is_withdrawn |= is_such(&first.message);
            if first.is_withdrawn && !is_asking {
                outbox.asked = None;
                others_first.push(*to);
            }
            let mut is_first = true;
            waiting.retain(|it| {
                let is_asked = std::mem::take(&mut is_first) && is_asking;
                let stays = is_asked || !is_such(&it.message);
                *bytes = bytes.saturating_sub(if stays { 0 } else { it.message.body.size() });
                stays
            });
            !waiting.is_empty()
        });
        others_first
    }

    /// Searches for the recipients of such messages.
    pub(super) fn searches_for(&self, is_such: impl Fn(&DirectMessage) -> bool) -> Vec<u64> {
        let such = self.searches.iter().filter(|(_, it)| is_such(&it.message));
        such.map(|(number, _)| *number).collect()
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
        if let Some(order) = search.in_order() {
            let order = self.to_users.entry(order).or_default();
            order.push_back(self.last_search);
        }
        self.searches.insert(self.last_search, search);
        self.last_search
    }

    pub(super) fn searching(&mut self, number: u64) -> Option<&mut Search> {
        self.searches.get_mut(&number)
    }

    /// Whether no earlier message of its sender to its user is still under way.
    pub(super) fn is_next(&self, number: u64) -> bool {
        let order = self.searches.get(&number).and_then(Search::in_order);
        let order = order.and_then(|it| self.to_users.get(&it));
        order.is_none_or(|order| order.front() == Some(&number))
    }

    /// Ends a search. And which one waited for it, and has found.
    pub(super) fn end_search(&mut self, number: u64) -> Option<(Search, Option<u64>)> {
        let search = self.searches.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(search.message.body.size());
        let mut next = None;
        if let Some(key) = search.in_order()
            && let Some(order) = self.to_users.get_mut(&key)
        {
            order.retain(|it| *it != number);
            next = order.front().copied();
            if order.is_empty() {
                self.to_users.remove(&key);
            }
        }
        let found = |it: &u64| self.searches.get(it).is_some_and(|it| it.found.is_some());
        Some((search, next.filter(found)))
    }
}
