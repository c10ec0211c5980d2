//! Buffers that are used again, and when those that nobody needs are freed.

use std::collections::VecDeque;

use super::Context;
use crate::address::ShardAddress;
use crate::letter::{Letter, Op};
use crate::time::Now;

/// Bytes of free payload buffers that a shard keeps, and the largest that it keeps.
pub(super) const SPARE_PAYLOADS: usize = 512 * 1024;
const SPARE_PAYLOAD: usize = 4_096;
/// Bytes of free lists of exclusions that a shard keeps.
pub(super) const SPARE_EXCLUSIONS: usize = 128 * 1024;
/// Bytes of free queues of rooms that a shard keeps, and the operations of the largest that it keeps.
pub(super) const SPARE_QUEUES: usize = 1024 * 1024;
const SPARE_QUEUE: usize = 64;
/// Microseconds after which what was not used is freed.
const UNUSED: u64 = 10_000_000;

impl<H> Context<H> {
    /// A buffer for a payload; [`Context::recycle`] takes it back.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare_payloads.take()
    }

    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= SPARE_PAYLOAD {
            self.spare_payloads.give_back(buffer);
        }
    }

    /// Takes a buffer back that came from a shard, for that shard: what goes one way only would run out there.
    pub(crate) fn recycle_for(&mut self, shard: ShardAddress, buffer: Vec<u8>) {
        let is_other = shard.is_own() && shard != self.own;
        if is_other && buffer.capacity() <= SPARE_PAYLOAD {
            self.post(shard, Letter::Spare(buffer));
        } else {
            self.recycle(buffer);
        }
    }

    /// Queues an operation of a room, which has a queue only while operations wait.
    pub(crate) fn enqueue(&mut self, queue: &mut VecDeque<Op>, op: Op) {
        if queue.capacity() == 0 {
            *queue = self.spare_queues.take().into();
        }
        queue.push_back(op);
    }

    /// Takes a room's queue back if nothing waits in it.
    pub(crate) fn recycle_queue(&mut self, queue: &mut VecDeque<Op>) {
        if queue.is_empty() {
            let queue = std::mem::take(queue);
            if queue.capacity() <= SPARE_QUEUE {
                self.spare_queues.give_back(queue.into());
            }
        }
    }

    /// Bytes that are kept for reuse.
    pub(crate) fn spare_bytes(&self) -> usize {
        self.pool.held()
            + self.spare_payloads.held()
            + self.spare_exclusions.held()
            + self.spare_queues.held()
    }

    /// Frees what was kept for reuse and not used for a while. Whether it was time to look.
    pub(crate) fn trim_spares(&mut self, now: Now) -> bool {
        let is_time = now.micros >= self.trim_at && self.spare_bytes() > 0;
        if is_time {
            self.trim_at = now.micros + UNUSED;
            self.pool.trim();
            self.spare_payloads.trim();
            self.spare_exclusions.trim();
            self.spare_queues.trim();
        }
        is_time
    }

    /// Microseconds at which [`Context::trim_spares`] has something to do.
    pub(crate) fn next_trim(&self) -> Option<u64> {
        (self.spare_bytes() > 0).then_some(self.trim_at)
    }
}
