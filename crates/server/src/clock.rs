//! The time, as every shard of a node sees it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use roomcast_core::Now;

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

    /// Microseconds since the start.
    pub(crate) fn micros(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
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
