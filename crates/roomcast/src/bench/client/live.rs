//! Traffic that goes on, in a thread of its own, while something else happens to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::check::Faults;
use super::pace::PATIENCE;
use super::swarm::{Swarm, latencies};
use crate::bench::error::{Error, Result};
use crate::bench::proc;

/// How much the thread goes before others of this processor, as `nice` counts: what it measures is the server's time,
/// and not its own wait for the processor.
const FIRST: i32 = -10;

/// A swarm that sends at its plan's rate until it is told to stop.
pub(crate) struct Live {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<Result<Heard>>>,
    /// Whether the thread goes before others.
    pub(crate) first: bool,
}

#[derive(Default)]
struct Orders {
    windows: AtomicU32,
    stop: AtomicBool,
}

/// What the traffic has shown.
pub(crate) struct Heard {
    /// Microseconds from when a message was due until it arrived, for each window.
    pub(crate) windows: Vec<Histogram<u64>>,
    /// Faults of all the time.
    pub(crate) faults: Faults,
    /// The first `error` from the server.
    pub(crate) first_error: Option<String>,
}

impl Live {
    /// Begins to send. Nothing is counted before the first [`window`](Live::window).
    pub(crate) fn start(swarm: Swarm) -> Live {
        let orders = Arc::new(Orders::default());
        let shared = orders.clone();
        // A thread begins with the priority of the one that starts it.
        let first = proc::set_priority(FIRST);
        let thread = std::thread::spawn(move || swarm.live(&shared));
        proc::set_priority(0);
        Live {
            orders,
            thread: Some(thread),
            first,
        }
    }

    /// What is due from now on counts in the next window.
    pub(crate) fn window(&self) {
        self.orders.windows.fetch_add(1, Ordering::Release);
    }

    /// Sends no more, and waits for what is on its way.
    pub(crate) fn finish(mut self) -> Result<Heard> {
        self.orders.stop.store(true, Ordering::Release);
        let thread = self.thread.take();
        let heard = thread.and_then(|thread| thread.join().ok());
        heard.unwrap_or_else(|| Err(Error::new("the thread of the live traffic has failed")))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.orders.stop.store(true, Ordering::Release);
    }
}

impl Swarm {
    fn live(mut self, orders: &Orders) -> Result<Heard> {
        let begin = self.now() + 1_000;
        self.begin(begin);
        let (mut next, mut windows) = (0, 0);
        while !orders.stop.load(Ordering::Acquire) {
            let now = self.now();
            if orders.windows.load(Ordering::Acquire) != windows {
                windows += 1;
                self.next_window(now)?;
            }
            let wait = self.send_due(&mut next, now);
            self.turn(wait.min(Duration::from_millis(50)))?;
        }
        let now = self.now();
        self.next_window(now)?;
        let (mut seen, mut quiet_since) = (self.counts.deliveries, Instant::now());
        while !self.complete() && quiet_since.elapsed() < PATIENCE {
            self.turn(Duration::from_millis(50))?;
            if self.counts.deliveries != seen {
                (seen, quiet_since) = (self.counts.deliveries, Instant::now());
            }
        }
        self.finish();
        self.close();
        Ok(Heard {
            // The first was what came before any.
            windows: self.earlier.drain(..).skip(1).map(|(_, it)| it).collect(),
            faults: self.faults,
            first_error: self.first_error,
        })
    }

    fn next_window(&mut self, now: u32) -> Result<()> {
        let before = std::mem::replace(&mut self.latency, latencies()?);
        let (from, _) = self.window;
        self.earlier.push(((from.min(now), now), before));
        self.window = (now, u32::MAX);
        Ok(())
    }
}
