//! What is counted of one table of questions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How a question may end: it was allowed or refused, there was no answer, or it was not sent as too many were under way.
pub(crate) const OUTCOMES: [&str; 4] = ["allowed", "refused", "silent", "busy"];

/// Between two lines of the log about one backend that does not answer.
const QUIET: Duration = Duration::from_secs(60);

/// Counters since the start of the process.
#[derive(Debug)]
pub(crate) struct TableStats {
    /// The table.
    pub(crate) name: Box<str>,
    /// In the order of [`OUTCOMES`].
    pub(crate) outcomes: [AtomicU64; OUTCOMES.len()],
    /// Microseconds from each question that was answered to its answer, in all.
    pub(crate) micros: AtomicU64,
    said: Mutex<Option<Instant>>,
}

/// An outcome, by its place in [`OUTCOMES`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Allowed,
    Refused,
    Silent,
    Busy,
}

impl TableStats {
    pub(super) fn new(name: &str) -> TableStats {
        TableStats {
            name: name.into(),
            outcomes: Default::default(),
            micros: AtomicU64::new(0),
            said: Mutex::new(None),
        }
    }

    pub(super) fn count(&self, outcome: Outcome) {
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn took(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Whether the log is told of one more question without an answer.
    pub(super) fn is_to_be_told(&self) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = said.is_some_and(|at| at.elapsed() < QUIET);
        if !is_quiet {
            *said = Some(Instant::now());
        }
        !is_quiet
    }
}
