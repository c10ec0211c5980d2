//! The store of one shard: what it submits in a turn goes out in one write.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use roomcast_core::Now;
use roomcast_core::store::{Answer, Cause, Request, Store, StoreError, Ticket};

use super::client::Client;
use super::command::Commands;
use super::job::{Answered, Done, Job, Reply, What};
use super::master::Shared;
use super::slot::slot_of;

/// Redis, as one shard reaches it.
#[derive(Debug)]
pub struct RedisStore<C> {
    client: Client,
    commands: C,
    submitted: Vec<(Arc<Shared>, Vec<Job>)>,
    /// What was refused at once.
    refused: VecDeque<(Ticket, StoreError)>,
    done: Arc<Done>,
    answered: VecDeque<Answered>,
    /// Requests without an answer that the shard has taken, and the bytes of their commands.
    entries: usize,
    bytes: usize,
}

impl<C: Commands> RedisStore<C> {
    /// `wake` is called from another thread when there is an answer after there was none: the shard then polls.
    pub fn new(client: &Client, commands: C, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            client: client.clone(),
            commands,
            submitted: Vec::new(),
            refused: VecDeque::new(),
            done: Arc::new(Done::new(Box::new(wake))),
            answered: VecDeque::new(),
            entries: 0,
            bytes: 0,
        }
    }

    /// Where a request goes, as a job.
    fn job(&mut self, ticket: Ticket, request: Request) -> Result<(Arc<Shared>, Job), StoreError> {
        let table = self.client.table();
        let meant_for = match &request {
            Request::Beat(beat) => {
                let entry = table.master_at(beat.store);
                Some(entry.ok_or(StoreError::Again(Cause::OtherStore))?)
            }
            _ => None,
        };
        let tag = meant_for.map_or("", |entry| &entry.tag);
        let command = self.commands.command(&request, tag);
        let bytes = command.bytes();
        let config = self.client.config();
        if self.entries == config.queue_entries
            || (self.entries > 0 && self.bytes + bytes > config.queue_bytes)
        {
            return Err(StoreError::Again(Cause::Queue));
        }
        let slot = command.keys.first().map_or(0, |key| slot_of(key));
        let entry = meant_for.or_else(|| table.master_of(slot));
        let shared = Arc::clone(&entry.ok_or(StoreError::Again(Cause::Busy))?.shared);
        self.entries += 1;
        self.bytes += bytes;
        let job = Job {
            what: What::Run(command),
            deadline: Instant::now() + config.response_timeout,
            reply: Reply::to_shard(Arc::clone(&self.done), ticket, request, bytes),
            repeated: false,
            bytes: 0,
        };
        Ok((shared, job))
    }
}

impl<C: Commands> Store for RedisStore<C> {
    const WAITS: bool = true;

    fn submit(&mut self, _now: Now, ticket: Ticket, request: Request) {
        match self.job(ticket, request) {
            Err(error) => self.refused.push_back((ticket, error)),
            Ok((shared, job)) => {
                let same = self
                    .submitted
                    .iter_mut()
                    .find(|(other, _)| Arc::ptr_eq(other, &shared));
                match same {
                    Some((_, jobs)) => jobs.push(job),
                    None => self.submitted.push((shared, vec![job])),
                }
            }
        }
    }

    fn flush(&mut self) {
        for (shared, jobs) in self.submitted.drain(..) {
            shared.queue.put(jobs);
        }
    }

    fn poll(&mut self, _now: Now) -> Option<(Ticket, Result<Answer, StoreError>)> {
        self.flush();
        if let Some((ticket, error)) = self.refused.pop_front() {
            return Some((ticket, Err(error)));
        }
        if self.answered.is_empty() {
            self.done.take(&mut self.answered);
        }
        let Answered {
            ticket,
            request,
            bytes,
            outcome,
        } = self.answered.pop_front()?;
        self.entries -= 1;
        self.bytes -= bytes;
        let answer = outcome.and_then(|(_, value)| self.commands.answer(&request, value));
        Some((ticket, answer))
    }

    fn next_wake(&self) -> Option<u64> {
        // What was refused at once is taken at once; all else wakes.
        (!self.refused.is_empty()).then_some(0)
    }
}
