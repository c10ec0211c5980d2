//! Buffers for payloads that are used again.

use super::Context;
use crate::address::ShardAddress;
use crate::letter::Letter;

/// Free payload buffers that a shard keeps, and the largest that it keeps, in bytes.
const SPARE_BUFFERS: usize = 4_096;
const SPARE_BUFFER_SIZE: usize = 4_096;

impl<H> Context<H> {
    /// A buffer for a payload; [`Context::recycle`] takes it back.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare_buffers.pop().unwrap_or_default()
    }

    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare_buffers.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_BUFFER_SIZE {
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }

    /// Takes a buffer back that came from a shard, for that shard: what goes one way only would run out there.
    pub(crate) fn recycle_for(&mut self, shard: ShardAddress, buffer: Vec<u8>) {
        let is_other = shard.is_own() && shard != self.own;
        if is_other && buffer.capacity() <= SPARE_BUFFER_SIZE {
            self.post(shard, Letter::Spare(buffer));
        } else {
            self.recycle(buffer);
        }
    }
}
