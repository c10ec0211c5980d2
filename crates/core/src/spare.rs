//! Empty buffers that are kept to be used again: a bounded number of bytes, and only while they are in use now and then.

use crate::log::ALLOCATION;

/// Empty buffers. Those that were given back last are taken first, so that those that nobody needs are at the bottom.
#[derive(Debug)]
pub(crate) struct SpareBuffers<T> {
    free: Vec<Vec<T>>,
    /// Bytes that they take.
    held: usize,
    /// Bytes that they may take.
    most: usize,
    /// The fewest that there were since [`SpareBuffers::trim`].
    unused: usize,
}

impl<T> SpareBuffers<T> {
    /// None yet, and never more than `most` bytes.
    pub(crate) fn new(most: usize) -> SpareBuffers<T> {
        SpareBuffers {
            free: Vec::new(),
            held: 0,
            most,
            unused: 0,
        }
    }

    /// An empty buffer.
    pub(crate) fn take(&mut self) -> Vec<T> {
        let Some(buffer) = self.free.pop() else {
            return Vec::new();
        };
        self.held -= cost(&buffer);
        self.unused = self.unused.min(self.free.len());
        buffer
    }

    /// Takes a buffer back, and empties it.
    pub(crate) fn give_back(&mut self, mut buffer: Vec<T>) {
        let cost = cost(&buffer);
        if buffer.capacity() > 0 && self.held + cost <= self.most {
            buffer.clear();
            self.held += cost;
            self.free.push(buffer);
        }
    }

    /// Frees what was not needed since the last time.
    pub(crate) fn trim(&mut self) {
        for buffer in self.free.drain(..self.unused) {
            self.held -= cost(&buffer);
        }
        self.free.shrink_to(2 * self.free.len());
        self.unused = self.free.len();
    }

    /// Bytes that they take.
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}

/// What a buffer takes, in bytes.
fn cost<T>(buffer: &Vec<T>) -> usize {
    buffer.capacity() * size_of::<T>() + size_of::<Vec<T>>() + ALLOCATION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_any_size_take_a_bounded_number_of_bytes() {
        let mut spare = SpareBuffers::new(10_000);
        for size in [0, 1, 8, 100, 4_096, 20_000].repeat(1_000) {
            spare.give_back(Vec::<u8>::with_capacity(size));
            assert!(spare.held() <= 10_000);
        }
        assert!(spare.held() > 9_000 && spare.free.len() < 300);
        while spare.take().capacity() > 0 {}
        assert_eq!(spare.held(), 0);
    }

    #[test]
    fn what_is_needed_stays_and_the_rest_goes() {
        let mut spare = SpareBuffers::new(10_000);
        let use_some = |spare: &mut SpareBuffers<u8>, count: usize| {
            let taken: Vec<_> = (0..count).map(|_| spare.take()).collect();
            let allocated = taken.iter().filter(|it| it.capacity() == 0).count();
            for mut buffer in taken {
                buffer.push(1);
                spare.give_back(buffer);
            }
            allocated
        };
        assert_eq!(use_some(&mut spare, 50), 50);
        for _ in 0..3 {
            assert_eq!(use_some(&mut spare, 5), 0);
            spare.trim();
        }
        assert_eq!(spare.free.len(), 5);
        spare.trim();
        assert_eq!(spare.held(), 0);
    }
}
