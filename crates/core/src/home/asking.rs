//! What a room asks the store: one request at a time, made again until it is answered.

use std::sync::Arc;

use roomcast_protocol::mutated;

use crate::home::gate::Gate;
use crate::store::{Request, Ticket};
use crate::time::{Now, micros};

/// Milliseconds after which what the store did not answer is asked again: the first time, and at most.
const RETRY: (u64, u64) = (20, 1_000);
/// The same where it said that it will not do it as things are.
const RARELY: u64 = 10_000;

/// A request that has no answer yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// `None`: it is not under way, and made again at `retry_at`.
    pub(super) ticket: Option<Ticket>,
    tries: u32,
    pub(super) retry_at: u64,
}

impl Gate {
    /// Something is to be asked. [`Gate::begin_asking`] says when.
    pub(super) fn ask(&mut self, request: Request) {
        self.asked = Some(Asked {
            request,
            ticket: None,
            tries: 0,
            retry_at: 0,
        });
    }

    /// It is not asked before this time, in microseconds.
    pub(super) fn wait_until(&mut self, micros: u64) {
        if let Some(asked) = self.asked.as_mut().filter(|it| it.ticket.is_none()) {
            asked.retry_at = micros;
        }
    }

    /// What was never asked yet is asked at once.
    pub(super) fn stop_waiting_for_first(&mut self) {
        if self.asked.as_ref().is_some_and(|it| it.tries == 0) && !self.in_line {
            self.wait_until(0);
        }
    }

    /// Whether something is to be asked that is not under way.
    pub(super) fn waits(&self) -> bool {
        self.asked.as_ref().is_some_and(|it| it.ticket.is_none())
    }

    /// Whether something is to be asked now.
    pub(super) fn is_due(&self, now: Now) -> bool {
        let due = |it: &Asked| it.ticket.is_none() && it.retry_at <= now.micros;
        self.asked.as_ref().is_some_and(due)
    }

    /// The same question in other words, the next time that it is asked.
    pub(super) fn ask_this(&mut self, request: Request) {
        if let Some(asked) = self.asked.as_mut().filter(|it| it.ticket.is_none()) {
            asked.request = request;
        }
    }

    /// The request whose time has come. It is under way with this ticket from here on.
    pub(super) fn begin_asking(&mut self, now: Now, ticket: Ticket) -> Option<(Request, bool)> {
        if !self.is_due(now) {
            return None;
        }
        let asked = self.asked.as_mut()?;
        if mutated!("append_repeated_with_another_n")
            && asked.tries > 0
            && let Request::Append(append) = &mut asked.request
        {
            Arc::make_mut(append).header.n += 1;
        }
        asked.ticket = Some(ticket);
        asked.tries += 1;
        Some((asked.request.clone(), asked.tries > 1))
    }

    /// What was asked with this ticket, if its answer is waited for.
    pub(super) fn asked_with(&self, ticket: Ticket) -> Option<&Request> {
        let asked = self.asked.as_ref()?;
        (asked.ticket == Some(ticket)).then_some(&asked.request)
    }

    /// The request was answered for good.
    pub(super) fn answered(&mut self) {
        self.asked = None;
    }

    /// What is asked, the answer to which does not count any more.
    pub(super) fn take_asked(&mut self) -> Option<Request> {
        self.asked.take().map(|it| it.request)
    }

    /// The request is to be made again after a while, which `random` spreads. It may be another one, where the one before
    /// was not done.
    pub(super) fn retry(&mut self, now: Now, random: u64, other: Option<Request>) {
        let tries = self.asked.as_ref().map_or(0, |asked| asked.tries);
        let (first, most) = RETRY;
        self.retry_within((first << tries.min(16)).min(most), now, random);
        if let Some((asked, other)) = self.asked.as_mut().zip(other) {
            asked.request = other;
        }
    }

    /// The store does not do it until somebody has changed something.
    pub(super) fn retry_rarely(&mut self, now: Now, random: u64) {
        self.retry_within(RARELY, now, random);
    }

    fn retry_within(&mut self, delay: u64, now: Now, random: u64) {
        let Some(asked) = &mut self.asked else {
            return;
        };
        let delay = delay / 2 + random % (delay / 2 + 1);
        asked.ticket = None;
        asked.retry_at = now.micros.saturating_add(micros(delay));
    }
}
