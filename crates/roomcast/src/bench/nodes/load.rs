//! What processes use of the machine while something happens.

use std::time::{Duration, Instant};

use crate::bench::proc;

/// Part of a second that shares are counted over.
const SLICE: Duration = Duration::from_millis(100);

/// The parts of a core that some processes use together, slice by slice.
pub(crate) struct Load {
    pids: Vec<u32>,
    begin: Instant,
    first: Duration,
    at: Instant,
    last: Duration,
    most: f64,
}

impl Load {
    pub(crate) fn begin(pids: Vec<u32>) -> Load {
        let (now, cpu) = (Instant::now(), cpu(&pids));
        Load {
            pids,
            begin: now,
            first: cpu,
            at: now,
            last: cpu,
            most: 0.0,
        }
    }

    /// To be called more often than once a slice.
    pub(crate) fn look(&mut self) {
        let time = self.at.elapsed();
        if time >= SLICE {
            let cpu = cpu(&self.pids);
            let used = cpu.saturating_sub(self.last);
            self.most = self.most.max(used.as_secs_f64() / time.as_secs_f64());
            (self.at, self.last) = (Instant::now(), cpu);
        }
    }

    /// The same where a look takes long, as at many processes: once in five seconds.
    pub(crate) fn look_slowly(&mut self) {
        if self.at.elapsed() >= 50 * SLICE {
            self.look();
        }
    }

    /// From the beginning to the last look.
    pub(crate) fn seconds(&self) -> f64 {
        self.at.duration_since(self.begin).as_secs_f64()
    }

    /// On average since the beginning.
    pub(crate) fn mean(&self) -> f64 {
        self.last.saturating_sub(self.first).as_secs_f64() / self.seconds().max(1e-3)
    }

    /// In the busiest slice.
    pub(crate) fn most(&self) -> f64 {
        self.most
    }
}

fn cpu(pids: &[u32]) -> Duration {
    pids.iter().filter_map(|pid| proc::cpu(*pid)).sum()
}
