//! What is on its way to Redis, and back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use roomcast_core::store::{Cause, Request, StoreError, StoreId, Ticket};
use tokio::sync::{Notify, oneshot, watch};

use super::command::Command;
use super::resp::Value;

/// What became of a command, and at which store.
pub(crate) type Outcome = Result<(StoreId, Value), StoreError>;

/// A command, until when it has to be answered, and to whom.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) what: What,
    pub(crate) deadline: Instant,
    pub(crate) reply: Reply,
    /// Redis did not know the script, and has been asked which one it is.
    pub(crate) repeated: bool,
    /// Bytes that it counts in its queue; 0: its sender counts it.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) enum What {
    Run(Command),
    /// A command without a script.
    Plain(Vec<Vec<u8>>),
}

impl Job {
    pub(crate) fn answer(self, outcome: Outcome) {
        if let Some(done) = self.answer_quietly(outcome) {
            done.wake();
        }
    }

    /// The same, but the shard is not woken: this says which one is to be.
    pub(crate) fn answer_quietly(mut self, outcome: Outcome) -> Option<Arc<Done>> {
        self.reply.put(outcome)
    }
}

/// Who waits. Nobody waits in vain: what is dropped without an answer is answered that the connection was lost.
#[derive(Debug)]
pub(crate) struct Reply(Option<To>);

#[derive(Debug)]
enum To {
    Shard {
        done: Arc<Done>,
        ticket: Ticket,
        request: Request,
        bytes: usize,
    },
    Task(oneshot::Sender<Outcome>),
}

impl Reply {
    /// Of what is sent once, whether it arrives or not.
    pub(crate) fn to_nobody() -> Self {
        Self(None)
    }

    pub(crate) fn to_shard(
        done: Arc<Done>,
        ticket: Ticket,
        request: Request,
        bytes: usize,
    ) -> Self {
        Self(Some(To::Shard {
            done,
            ticket,
            request,
            bytes,
        }))
    }

    pub(crate) fn to_task() -> (Self, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(To::Task(sender))), receiver)
    }

    /// Returns who is to be woken.
    fn put(&mut self, outcome: Outcome) -> Option<Arc<Done>> {
        match self.0.take() {
            None => None,
            // Whoever does not wait any more needs no answer.
            Some(To::Task(sender)) => {
                drop(sender.send(outcome));
                None
            }
            Some(To::Shard {
                done,
                ticket,
                request,
                bytes,
            }) => {
                let answered = Answered {
                    ticket,
                    request,
                    bytes,
                    outcome,
                };
                done.put(answered).then_some(done)
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(done) = self.put(Err(StoreError::Again(Cause::Connection))) {
            done.wake();
        }
    }
}

/// What a shard has been answered, and how it is woken.
pub(crate) struct Done {
    answered: Mutex<VecDeque<Answered>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// An answer to a shard. As many as its requests that are under way: it takes them before it submits more.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) ticket: Ticket,
    pub(crate) request: Request,
    pub(crate) bytes: usize,
    pub(crate) outcome: Outcome,
}

impl Done {
    pub(crate) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            answered: Mutex::default(),
            wake,
        }
    }

    /// Whether the shard is to be woken: there was no answer for it before.
    fn put(&self, answered: Answered) -> bool {
        let mut all = lock(&self.answered);
        all.push_back(answered);
        all.len() == 1
    }

    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    pub(crate) fn take(&self, into: &mut VecDeque<Answered>) {
        into.append(&mut lock(&self.answered));
    }
}

impl std::fmt::Debug for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Done").finish_non_exhaustive()
    }
}

/// What waits for a connection to one master, in its order. Jobs of shards are bounded by the shards, the others here.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    most: usize,
    closed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
    logs_in: bool,
}

impl Queue {
    /// For `most` bytes that their senders don't count.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// Puts jobs in at once, so that they go out together.
    pub(crate) fn put(&self, jobs: Vec<Job>) {
        let mut refused = Vec::new();
        {
            let mut state = lock(&self.state);
            for job in jobs {
                if job.bytes > 0 && state.bytes + job.bytes > self.most {
                    refused.push((job, Cause::Queue));
                } else if state.closed {
                    refused.push((job, Cause::Busy));
                } else {
                    state.bytes += job.bytes;
                    state.jobs.push_back(job);
                }
            }
        }
        self.changed.notify_one();
        for (job, cause) in refused {
            job.answer(Err(StoreError::Again(cause)));
        }
    }

    /// The next job.
    pub(crate) fn take(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        let job = state.jobs.pop_front()?;
        state.bytes -= job.bytes;
        Some(job)
    }

    /// Answers all that wait.
    pub(crate) fn fail(&self, error: &StoreError) {
        let jobs = {
            let mut state = lock(&self.state);
            state.bytes = 0;
            std::mem::take(&mut state.jobs)
        };
        for job in jobs {
            job.answer(Err(error.clone()));
        }
    }

    /// Nothing more is taken, and what waits is answered: the master is none any more, or nobody has use for it.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.closed.send_replace(true);
        self.fail(&StoreError::Again(Cause::Busy));
    }

    /// Lets the connection log in again.
    pub(crate) fn log_in(&self) {
        lock(&self.state).logs_in = true;
        self.changed.notify_one();
    }

    pub(crate) fn takes_log_in(&self) -> bool {
        std::mem::take(&mut lock(&self.state).logs_in)
    }

    /// Waits for a change: a job, a login, the end.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits for the end.
    pub(crate) async fn closed(&self) {
        // It can't fail, as the sender is here.
        let _ = self.end().wait_for(|closed| *closed).await;
    }

    /// True at the end.
    pub(crate) fn end(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }
}

/// A thread that panicked has left nothing half done under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
