//! The batcher: connections that have something to write, until it is their time.
//!
//! What a connection gets is collected and written at once: when `max_wait` has passed since the
//! first of it, or as soon as `max_size` bytes wait. With a `max_wait` of 0 that is the end of the turn.

use std::collections::VecDeque;

use crate::id::ConnId;

/// The batcher's two settings.
#[derive(Clone, Copy, Debug)]
pub struct BatcherLimits {
    /// Bytes that wait for a connection before it is written to at once; 0 is any.
    pub max_size: usize,
    /// Microseconds that something may wait; 0 is until the end of the turn.
    pub max_wait: u64,
}

impl Default for BatcherLimits {
    fn default() -> BatcherLimits {
        BatcherLimits {
            max_size: 64 * 1024,
            max_wait: 0,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Batcher {
    pub(crate) limits: BatcherLimits,
    /// With the time at which each one entered; that never falls.
    waiting: VecDeque<(ConnId, u64)>,
    /// Those that have reached `max_size`.
    full: Vec<ConnId>,
}

impl Batcher {
    /// A connection has its first byte to write.
    pub(crate) fn add(&mut self, conn: ConnId, now: u64) {
        self.waiting.push_back((conn, now));
    }

    /// A connection that waits has grown from `before` to `after` bytes.
    pub(crate) fn grew(&mut self, conn: ConnId, before: usize, after: usize) {
        let limit = self.limits.max_size;
        if self.limits.max_wait > 0 && before < limit && after >= limit {
            self.full.push(conn);
        }
    }

    /// The next connection to write to now. May name one that was written to before.
    pub(crate) fn next(&mut self, now: u64) -> Option<ConnId> {
        if let Some(conn) = self.full.pop() {
            return Some(conn);
        }
        let (_, since) = self.waiting.front()?;
        if since.saturating_add(self.limits.max_wait) > now {
            return None;
        }
        self.waiting.pop_front().map(|(conn, _)| conn)
    }

    /// Microseconds at which [`Batcher::next`] has one.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        let (_, since) = self.waiting.front()?;
        Some(since.saturating_add(self.limits.max_wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32) -> ConnId {
        ConnId::from_u64(u64::from(slot))
    }

    #[test]
    fn without_a_wait_all_are_due_at_once() {
        let mut batcher = Batcher::default();
        batcher.add(conn(1), 5);
        batcher.add(conn(2), 5);
        assert_eq!(batcher.next(5), Some(conn(1)));
        assert_eq!(batcher.next(5), Some(conn(2)));
        assert_eq!(batcher.next(5), None);
    }

    #[test]
    fn with_a_wait_each_is_due_after_it_every_time() {
        let limits = BatcherLimits {
            max_size: 100,
            max_wait: 10,
        };
        let mut batcher = Batcher {
            limits,
            ..Batcher::default()
        };
        for round in 0..3 {
            let now = round * 100;
            assert_eq!(batcher.next(now), None, "an empty round stops nothing");
            batcher.add(conn(1), now);
            assert_eq!(batcher.next_wake(), Some(now + 10));
            assert_eq!(batcher.next(now + 9), None);
            assert_eq!(batcher.next(now + 10), Some(conn(1)));
        }
    }

    #[test]
    fn one_that_is_full_does_not_wait() {
        let limits = BatcherLimits {
            max_size: 100,
            max_wait: 10,
        };
        let mut batcher = Batcher {
            limits,
            ..Batcher::default()
        };
        batcher.add(conn(1), 0);
        batcher.grew(conn(1), 0, 99);
        assert_eq!(batcher.next(1), None);
        batcher.grew(conn(1), 99, 100);
        assert_eq!(batcher.next(1), Some(conn(1)));
    }
}
