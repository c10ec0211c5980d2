//! One store for both halves of a shard: answers about sessions are for the edge, all others for the home.

use std::collections::VecDeque;

use super::{Answer, Request, Store, StoreError, Ticket};
use crate::time::Now;

type Answered = (Ticket, Result<Answer, StoreError>);

impl Ticket {
    /// Tickets of the edge have this bit. Those of the home count from 0, and do not come so far.
    const OF_SESSION: u64 = 1 << 63;

    /// The edge's ticket with this number.
    pub(crate) fn of_session(number: u64) -> Ticket {
        Ticket(number | Ticket::OF_SESSION)
    }

    fn is_of_session(self) -> bool {
        self.0 & Ticket::OF_SESSION != 0
    }
}

/// A store whose answers are told apart by their tickets. As a [`Store`] it is that of the home.
#[derive(Debug)]
pub(crate) struct Sorted<S> {
    store: S,
    /// Answers that came while the other half was looking for its own.
    of_rooms: VecDeque<Answered>,
    of_sessions: VecDeque<Answered>,
}

impl<S: Store> Sorted<S> {
    pub(crate) fn new(store: S) -> Sorted<S> {
        Sorted {
            store,
            of_rooms: VecDeque::new(),
            of_sessions: VecDeque::new(),
        }
    }

    pub(crate) fn inner(&mut self) -> &mut S {
        &mut self.store
    }

    /// The next answer about a session.
    pub(crate) fn poll_session(&mut self, now: Now) -> Option<Answered> {
        if let Some(answered) = self.of_sessions.pop_front() {
            return Some(answered);
        }
        while let Some(answered) = self.store.poll(now) {
            if answered.0.is_of_session() {
                return Some(answered);
            }
            self.of_rooms.push_back(answered);
        }
        None
    }

    /// Whether there is an answer that was read from the store already.
    pub(crate) fn has_answers(&self) -> bool {
        !self.of_rooms.is_empty() || !self.of_sessions.is_empty()
    }
}

impl<S: Store> Store for Sorted<S> {
    const WAITS: bool = S::WAITS;

    fn submit(&mut self, now: Now, ticket: Ticket, request: Request) {
        self.store.submit(now, ticket, request);
    }

    fn flush(&mut self) {
        self.store.flush();
    }

    fn poll(&mut self, now: Now) -> Option<Answered> {
        if let Some(answered) = self.of_rooms.pop_front() {
            return Some(answered);
        }
        while let Some(answered) = self.store.poll(now) {
            if !answered.0.is_of_session() {
                return Some(answered);
            }
            self.of_sessions.push_back(answered);
        }
        None
    }

    fn next_wake(&self) -> Option<u64> {
        if self.has_answers() {
            return Some(0);
        }
        self.store.next_wake()
    }
}
