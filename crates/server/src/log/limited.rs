//! Log lines per cause: the first few, then how many more there were.

use std::collections::HashMap;
use std::time::Duration;

/// Limits log lines per cause. One belongs to one thread; time is given, as microseconds of any running clock.
///
/// In each period a cause may log `first` lines. What comes beyond is counted, and the count goes with the first line
/// of a later period, or, where no more come, with [`RateLimited::overdue`].
#[derive(Debug)]
pub struct RateLimited {
    first: u32,
    period: u64,
    /// Causes are names in the program, so there are few.
    causes: HashMap<&'static str, Cause>,
}

#[derive(Debug, Default)]
struct Cause {
    /// When its period began.
    since: u64,
    logged: u32,
    suppressed: u64,
}

/// A line that may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Lines of this cause that were not logged before this one: to be told with it.
    pub suppressed: u64,
}

impl Default for RateLimited {
    /// Five lines in ten seconds.
    fn default() -> RateLimited {
        RateLimited::new(5, Duration::from_secs(10))
    }
}

impl RateLimited {
    /// `first` lines of each cause in each `period`.
    pub fn new(first: u32, period: Duration) -> RateLimited {
        let period = u64::try_from(period.as_micros()).unwrap_or(u64::MAX);
        RateLimited {
            first,
            period,
            causes: HashMap::new(),
        }
    }

    /// Whether a line of this cause may be logged at `now`; if not, it is counted.
    pub fn admit(&mut self, cause: &'static str, now: u64) -> Option<Admitted> {
        let known = self.causes.entry(cause).or_insert(Cause {
            since: now,
            ..Cause::default()
        });
        if now.saturating_sub(known.since) >= self.period {
            known.since = now;
            known.logged = 0;
        }
        if known.logged >= self.first {
            known.suppressed += 1;
            return None;
        }
        known.logged += 1;
        Some(Admitted {
            suppressed: std::mem::take(&mut known.suppressed),
        })
    }

    /// A cause whose period is over and whose count nobody has told yet, with that count. To be called now and then
    /// until it gives nothing.
    pub fn overdue(&mut self, now: u64) -> Option<(&'static str, u64)> {
        let period = self.period;
        let over =
            |cause: &Cause| cause.suppressed != 0 && now.saturating_sub(cause.since) >= period;
        let (name, cause) = self.causes.iter_mut().find(|(_, cause)| over(cause))?;
        Some((*name, std::mem::take(&mut cause.suppressed)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000;

    fn limited() -> RateLimited {
        RateLimited::new(2, Duration::from_secs(10))
    }

    #[test]
    fn the_first_lines_pass_and_the_rest_are_told_in_the_next_period() {
        let mut log = limited();
        let passed = (0..10)
            .filter(|i| log.admit("full", 5 * SECOND + i).is_some())
            .count();
        assert_eq!(passed, 2);
        assert_eq!(
            log.admit("full", 15 * SECOND),
            Some(Admitted { suppressed: 8 })
        );
        assert_eq!(
            log.admit("full", 15 * SECOND),
            Some(Admitted { suppressed: 0 })
        );
        assert_eq!(log.admit("full", 16 * SECOND), None);
    }

    #[test]
    fn causes_do_not_count_for_each_other() {
        let mut log = limited();
        while log.admit("full", 0).is_some() {}
        assert_eq!(log.admit("slow", 0), Some(Admitted { suppressed: 0 }));
    }

    #[test]
    fn a_cause_that_went_quiet_is_summed_up_once() {
        let mut log = limited();
        for _ in 0..5 {
            log.admit("full", 0);
        }
        assert_eq!(log.overdue(9 * SECOND), None);
        assert_eq!(log.overdue(10 * SECOND), Some(("full", 3)));
        assert_eq!(log.overdue(10 * SECOND), None);
    }

    proptest! {
        #[test]
        fn every_line_is_logged_or_told(steps in prop::collection::vec((0..3usize, 0..4 * SECOND), 0..200)) {
            let mut log = limited();
            let (mut now, mut calls, mut seen) = (0, 0, 0);
            for (cause, pause) in steps {
                now += pause;
                calls += 1;
                if let Some(admitted) = log.admit(["a", "b", "c"][cause], now) {
                    seen += 1 + admitted.suppressed;
                }
            }
            while let Some((_, suppressed)) = log.overdue(now + 10 * SECOND) {
                seen += suppressed;
            }
            prop_assert_eq!(seen, calls);
        }
    }
}
