//! The time, as every shard of a node sees it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use roomcast_core::Now;

/// Where the scale begins, in microseconds: what a store has from before the start needs a place on it too. A year.
const BEFORE: u64 = 365 * 24 * 3_600 * 1_000_000;

/// One scale of microseconds for all shards: they compare moments that others have read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock {
            start: Instant::now(),
        }
    }

    /// Microseconds since a year before the start.
    pub(crate) fn micros(&self) -> u64 {
        BEFORE + self.start.elapsed().as_micros() as u64
    }

    /// This moment for the core.
    pub(crate) fn now(&self) -> Now {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            micros: self.micros(),
            unix_ms: unix.as_millis() as i64,
        }
    }
}
