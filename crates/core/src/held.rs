//! Bytes that count in a sum with a bound, for as long as what they are of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A sum. Its holders are on one thread, and may be moved to another one with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sum(Arc<AtomicUsize>);

impl Sum {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one holder has of it, given back on drop.
#[derive(Debug)]
pub(crate) struct Held {
    sum: Sum,
    bytes: usize,
}

impl Held {
    pub(crate) fn new(sum: &Sum) -> Held {
        Held {
            sum: sum.clone(),
            bytes: 0,
        }
    }

    /// It has so many bytes from here on.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.sum.0.fetch_add(bytes, Ordering::Relaxed);
        self.sum.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}
