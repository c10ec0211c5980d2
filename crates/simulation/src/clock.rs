//! The clock of a node, which may run too fast or too slow, and be wrong.

use roomcast_core::Now;

use crate::random::Random;

/// Milliseconds since the Unix epoch at which the virtual clock begins.
pub(crate) const START: i64 = 1_700_000_000_000;
/// Microseconds that a node's clock shows then, at least.
const FIRST: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Its microseconds in a millisecond of the virtual clock.
    rate: u64,
    offset: u64,
    /// Milliseconds by which its time of day is ahead.
    ahead: i64,
}

impl Clock {
    /// The virtual clock itself.
    pub(crate) const TRUE: Clock = Clock {
        rate: 1_000,
        offset: 0,
        ahead: 0,
    };

    /// One that is a little wrong.
    pub(crate) fn draw(random: &mut Random) -> Clock {
        Clock {
            rate: 950 + random.below(101),
            offset: random.below(10_000_000_000),
            ahead: random.below(1_000) as i64 - 500,
        }
    }

    /// The time that the core is given at a millisecond of the virtual clock.
    pub(crate) fn at(&self, now: u64) -> Now {
        Now {
            micros: FIRST + self.offset + now * self.rate,
            unix_ms: START + now as i64 + self.ahead,
        }
    }

    /// The millisecond of the virtual clock at which it is that late for the core.
    pub(crate) fn moment(&self, micros: u64) -> u64 {
        let since = micros.saturating_sub(FIRST + self.offset);
        since.div_ceil(self.rate)
    }

    /// The millisecond of the virtual clock, where it is a whole one.
    pub(crate) fn now(&self, now: Now) -> u64 {
        now.micros.saturating_sub(FIRST + self.offset) / self.rate
    }

    /// The true time at a time of this clock.
    pub(crate) fn truth(&self, now: Now) -> Now {
        Clock::TRUE.at(self.now(now))
    }
}
