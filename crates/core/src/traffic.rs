//! How much is sent lately, and so how long it is gathered before it is sent.
//!
//! Each sending costs about the same, however much goes with it. Where there is little to send, that is cheap, and waiting
//! would only take time. Where there is much, few sendings leave more for the rest of the work.

/// Microseconds for which something counts: what is older fades.
const LATELY: u64 = 25_000;
/// Parts of one that are counted.
const PARTS: u64 = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Parts of what was sent lately.
    lately: u64,
    at: u64,
}

impl Traffic {
    /// So many go out.
    pub(crate) fn add(&mut self, now: u64, count: u64) {
        let since = now.saturating_sub(self.at);
        let left = u128::from(self.lately) * u128::from(LATELY) / u128::from(LATELY + since);
        self.lately = (left as u64).saturating_add(count.saturating_mul(PARTS));
        self.at = now;
    }

    /// Microseconds in which so many go out.
    pub(crate) fn time_of(&self, count: u64) -> u64 {
        let all = u128::from(count) * u128::from(PARTS * LATELY);
        u64::try_from(all / u128::from(self.lately.max(1))).unwrap_or(u64::MAX)
    }

    /// Microseconds from what goes out now to what goes out next: `longest` where `busy` a second go out, and less with the
    /// square of what does.
    pub(crate) fn gather(&self, longest: u64, busy: u64) -> u64 {
        let busy = u128::from(busy.max(1)) * u128::from(LATELY * PARTS) / 1_000_000;
        let lately = u128::from(self.lately).min(busy);
        (u128::from(longest) * lately * lately / (busy * busy).max(1)) as u64
    }
}
