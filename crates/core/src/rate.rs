//! Rate limits in eight bytes a limit.

/// The generic cell rate algorithm (ITU-T I.371, annex A): a token bucket kept as one time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// Microseconds at which the bucket would be full again.
    full_at: u64,
}

/// How many may come, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// Microseconds that one costs; 0 switches the limit off.
    cost: u64,
    /// Microseconds' worth that may come at once.
    burst: u64,
}

impl Quota {
    /// `burst` at once, then `rate` every `period` microseconds; a `rate` of 0 is no limit.
    pub(crate) fn new(rate: u32, period: u64, burst: u32) -> Quota {
        let cost = if rate == 0 {
            0
        } else {
            (period / u64::from(rate)).max(1)
        };
        Quota {
            cost,
            burst: cost * u64::from(burst.max(1)),
        }
    }
}

impl Rate {
    /// Takes one. Refused, it says after how many microseconds the next one would pass.
    pub(crate) fn take(&mut self, now: u64, quota: Quota) -> Result<(), u64> {
        if quota.cost == 0 {
            return Ok(());
        }
        let full_at = self.full_at.max(now) + quota.cost;
        let debt = full_at - now;
        if debt > quota.burst {
            return Err(debt - quota.burst);
        }
        self.full_at = full_at;
        Ok(())
    }

    /// Microseconds until all that was taken is made up for.
    pub(crate) fn debt(self, now: u64) -> u64 {
        self.full_at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let quota = Quota::new(120, SECOND, 240);
        let mut rate = Rate::default();
        let passed = (0..1_000)
            .filter(|_| rate.take(5 * SECOND, quota).is_ok())
            .count();
        assert_eq!(passed, 240);
        let passed = (0..1_000)
            .filter(|_| rate.take(6 * SECOND, quota).is_ok())
            .count();
        assert_eq!(passed, 120);
    }

    #[test]
    fn who_waits_as_told_passes() {
        let quota = Quota::new(2, SECOND, 1);
        let mut rate = Rate::default();
        rate.take(0, quota).unwrap();
        let wait = rate.take(0, quota).unwrap_err();
        assert!(rate.take(wait - 1, quota).is_err());
        rate.take(wait, quota).unwrap();
    }

    #[test]
    fn zero_is_no_limit() {
        let quota = Quota::new(0, SECOND, 0);
        let mut rate = Rate::default();
        assert!((0..10_000).all(|_| rate.take(0, quota).is_ok()));
    }
}
