//! The memory that the process has in use against a limit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::memory::CountingAllocator;

/// Between two looks at the memory in use, in milliseconds.
const LOOK_EVERY: u64 = 50;
/// What a newcomer is taken to cost until the next look sees what it really did: its handshake's buffers.
const NEWCOMER: u64 = 16 * 1024;

/// Says whether there is memory for one more connection, from a sample that is at most 50 ms old.
///
/// The limit is what must not be reached, so newcomers are refused from 15/16 of it on: what is there already goes on
/// using memory (queues that fill up, rooms).
#[derive(Debug)]
pub(crate) struct MemoryGauge {
    limit: u64,
    start: Instant,
    /// Milliseconds since `start` of the last look, plus one; 0 before the first.
    looked: AtomicU64,
    /// Bytes in use at the last look, and [`NEWCOMER`] for each connection since.
    used: AtomicU64,
}

impl MemoryGauge {
    /// `limit`: bytes; 0 is off.
    pub(crate) fn new(limit: u64) -> MemoryGauge {
        MemoryGauge {
            limit,
            start: Instant::now(),
            looked: AtomicU64::new(0),
            used: AtomicU64::new(0),
        }
    }

    /// Whether a newcomer has room; counts it until the next look.
    pub(crate) fn has_room(&self) -> bool {
        if self.limit == 0 {
            return true;
        }
        let now = self.start.elapsed().as_millis() as u64 + 1;
        let looked = self.looked.load(Ordering::Relaxed);
        if looked == 0 || now >= looked + LOOK_EVERY {
            self.looked.store(now, Ordering::Relaxed);
            // Where nothing counts it, this limit does not hold: `warn_if_not_kept`.
            self.used
                .store(CountingAllocator::in_use() as u64, Ordering::Relaxed);
        }
        let used = self.used.fetch_add(NEWCOMER, Ordering::Relaxed);
        used < self.limit - self.limit / 16
    }
}

/// Says so where a limit of memory is set that can't be kept.
pub(crate) fn warn_if_not_kept(limit: u64) {
    if limit > 0 && !CountingAllocator::is_used() {
        tracing::warn!(
            "limits.memory does not hold in this program: its allocator is not roomcast_server::CountingAllocator"
        );
    }
}

/// Resident memory of this process in bytes, where the system tells.
#[cfg(target_os = "linux")]
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Resident memory of this process in bytes, where the system tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn resident_bytes() -> Option<u64> {
    None
}
