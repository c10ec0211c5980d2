//! What is counted of one webhook.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines of the log about one receiver that fails.
const QUIET: Duration = Duration::from_secs(60);

/// Counters since the start of the process.
#[derive(Debug)]
pub(crate) struct HookStats {
    /// The webhook.
    pub(crate) name: Box<str>,
    /// Events that the receiver has.
    pub(crate) sent: AtomicU64,
    /// Events that there was no room for.
    pub(crate) full: AtomicU64,
    /// Events that were sent again for too long.
    pub(crate) expired: AtomicU64,
    /// Requests that the receiver took, and that it did not.
    pub(crate) requests: [AtomicU64; 2],
    /// Events that wait in this process, and in Redis as it said last.
    pub(crate) waiting: [AtomicU64; 2],
    /// Microseconds from the first event of each request until the receiver had it, in all.
    pub(crate) micros: AtomicU64,
    fails: AtomicBool,
    said: Mutex<Option<Instant>>,
}

impl HookStats {
    pub(super) fn new(name: &str) -> HookStats {
        HookStats {
            name: name.into(),
            sent: AtomicU64::new(0),
            full: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            requests: Default::default(),
            waiting: Default::default(),
            micros: AtomicU64::new(0),
            fails: AtomicBool::new(false),
            said: Mutex::new(None),
        }
    }

    /// The receiver has so many events, of which the first happened so many milliseconds ago.
    pub(super) fn sent(&self, count: u64, millis: i64) {
        self.sent.fetch_add(count, Ordering::Relaxed);
        let micros = u64::try_from(millis).unwrap_or(0).saturating_mul(1_000);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(super) fn expired(&self, count: u64) {
        self.expired.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, well: bool) {
        let [done, failed] = &self.requests;
        let counter = if well { done } else { failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A request failed. Whether the log is told.
    pub(super) fn failed(&self) -> bool {
        self.fails.store(true, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = said.is_some_and(|at| at.elapsed() < QUIET);
        if !is_quiet {
            *said = Some(Instant::now());
        }
        !is_quiet
    }

    /// A request was taken. Whether those before it were not.
    pub(super) fn recovered(&self) -> bool {
        self.fails.swap(false, Ordering::Relaxed)
    }
}
