//! The store of one shard of a cluster of tests: what is asked is done at once, unless a test makes it late.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use roomcast_core::Now;
use roomcast_core::store::{Answer, Cause, Request, Store, StoreError, Ticket};
use roomcast_engine::model::Model;

pub type Answered = (Ticket, Result<Answer, StoreError>);

/// A node that goes on with the store that all had before.
pub type Alone = Rc<RefCell<Option<(usize, Model)>>>;

/// Requests of one node whose answers are late.
pub type Late = Option<(usize, fn(&Request) -> bool)>;

/// The store of one shard: what is asked is done at once.
pub struct AtOnce {
    pub model: Rc<RefCell<Model>>,
    pub unanswered: Rc<Cell<usize>>,
    pub unread: Rc<Cell<bool>>,
    pub answers: VecDeque<Answered>,
    pub node: usize,
    pub alone: Alone,
    pub late: Rc<Cell<Late>>,
    pub late_answers: Vec<Answered>,
    /// How often what was late until then was answered, and the same as of this store.
    pub caught_up: Rc<Cell<u64>>,
    pub caught: u64,
}

impl AtOnce {
    fn apply(&self, now: Now, request: &Request) -> Result<Answer, StoreError> {
        let at = now.unix_ms as u64;
        match &mut *self.alone.borrow_mut() {
            Some((node, model)) if *node == self.node => model.apply(at, request),
            _ => self.model.borrow_mut().apply(at, request),
        }
    }

    fn is_late(&self) -> bool {
        self.late.get().is_some_and(|(node, _)| node == self.node)
    }
}

impl Store for AtOnce {
    const WAITS: bool = true;

    fn submit(&mut self, now: Now, ticket: Ticket, request: Request) {
        let unanswered = self.unanswered.get();
        let is_unread = self.unread.get() && matches!(request, Request::InboxRead(_));
        let answer = match unanswered {
            0 if !is_unread => self.apply(now, &request),
            _ => Err(StoreError::Again(Cause::Timeout)),
        };
        self.unanswered.set(unanswered.saturating_sub(1));
        match self.late.get() {
            Some((node, is_late)) if node == self.node && is_late(&request) => {
                self.late_answers.push((ticket, answer));
            }
            _ => self.answers.push_back((ticket, answer)),
        }
    }

    fn poll(&mut self, _: Now) -> Option<Answered> {
        let caught = std::mem::replace(&mut self.caught, self.caught_up.get());
        if !self.is_late() || caught < self.caught {
            self.answers.extend(self.late_answers.drain(..));
        }
        self.answers.pop_front()
    }

    fn next_wake(&self) -> Option<u64> {
        let may_answer = !self.is_late() || self.caught < self.caught_up.get();
        let waits = !self.answers.is_empty() || may_answer && !self.late_answers.is_empty();
        waits.then_some(0)
    }
}
