//! Where shards leave facts, on their way to be events.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

use roomcast_core::fact::Fact;
use tokio::sync::Notify;

/// Bytes of facts that shards may leave before events are made of them.
const INTAKE: usize = 16 * 1024 * 1024;
/// Where shards leave facts.
#[derive(Debug, Default)]
pub(crate) struct Intake {
    facts: Mutex<(Vec<Fact>, usize)>,
    changed: Notify,
    /// Facts that there was no room for.
    dropped: AtomicU64,
    /// Facts of rooms that were lost before the store had confirmed them.
    lost: AtomicU64,
    /// Who wants to know when all that was left before is taken.
    flushed: Mutex<Vec<mpsc::Sender<()>>>,
}

impl Intake {
    /// Leaves a fact. Waits for nothing.
    pub(crate) fn put(&self, fact: Fact) {
        let mut facts = lock(&self.facts);
        let held = fact.held();
        if facts.1 + held > INTAKE {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        facts.1 += held;
        facts.0.push(fact);
        let is_first = facts.0.len() == 1;
        drop(facts);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Nobody will leave so many facts: their room is at another server.
    pub(crate) fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Tells when all that was left before is taken, and dealt with.
    pub(super) fn flush(&self) -> mpsc::Receiver<()> {
        let (flushed, has_flushed) = mpsc::channel();
        lock(&self.flushed).push(flushed);
        self.changed.notify_one();
        has_flushed
    }

    /// Waits until something is left.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Facts that there was no room for.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Facts that were lost with their rooms.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Who is to be told once the facts that are taken next are dealt with.
    pub(super) fn take_flushed(&self) -> Vec<mpsc::Sender<()>> {
        std::mem::take(&mut *lock(&self.flushed))
    }

    pub(super) fn take(&self) -> Vec<Fact> {
        let mut facts = lock(&self.facts);
        facts.1 = 0;
        std::mem::take(&mut facts.0)
    }
}

/// A panic elsewhere leaves these as good as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
