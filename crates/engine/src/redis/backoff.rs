//! How long to wait before the next attempt.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Doubles from attempt to attempt, with a random part, so that many nodes don't come at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(20);
    const MOST: Duration = Duration::from_millis(1_000);

    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// The next attempt is a first one again.
    pub(crate) fn reset(&mut self) {
        self.next = Self::FIRST;
    }

    /// Between half of it and all of it.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(Self::MOST);
        whole.mul_f64(0.5 + random() * 0.5)
    }
}

/// From 0 to 1. The keys of std's hash maps are random; here that is good enough.
fn random() -> f64 {
    let number = RandomState::new().build_hasher().finish();
    (number >> 11) as f64 / (1u64 << 53) as f64
}

/// A number below `most`, which is not 0.
pub(crate) fn random_below(most: usize) -> usize {
    ((random() * most as f64) as usize).min(most.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_second() {
        let mut backoff = Backoff::new();
        let all: Vec<_> = (0..10).map(|_| backoff.next()).collect();
        assert!(all[0] >= Backoff::FIRST / 2 && all[0] <= Backoff::FIRST);
        assert!(all[9] >= Backoff::MOST / 2 && all[9] <= Backoff::MOST);
        backoff.reset();
        assert!(backoff.next() <= Backoff::FIRST);
    }
}
