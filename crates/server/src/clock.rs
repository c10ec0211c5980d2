//! The time, as every shard of a node sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roomcast_core::Now;

/// Where the scale begins, in microseconds: what a store has from before the start needs a place on it too. A year.
const BEFORE: u64 = 365 * 24 * 3_600 * 1_000_000;
/// No store has told its time.
const UNKNOWN: i64 = i64::MIN;
/// Milliseconds by which a clock does not go wrong without being set.
pub(crate) const SET: u64 = 10_000;

/// One scale of microseconds for all shards: they compare moments that others have read. With a store the date is the
/// store's: nodes read what others have dated, and their own clocks may be hours apart.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Milliseconds since the Unix epoch at 0 microseconds, by the store.
    store: Arc<AtomicI64>,
}

/// What a store's clock was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// As before, or not far from it.
    Right,
    /// The first time: so many milliseconds ahead of this machine's.
    First(i64),
    /// It was set, and is so many milliseconds ahead now. This node goes on without it, since what it has is dated.
    Set(i64),
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock {
            start: Instant::now(),
            store: Arc::new(AtomicI64::new(UNKNOWN)),
        }
    }

    /// Microseconds since a year before the start.
    pub(crate) fn micros(&self) -> u64 {
        BEFORE + self.start.elapsed().as_micros() as u64
    }

    /// This moment for the core.
    pub(crate) fn now(&self) -> Now {
        let micros = self.micros();
        let unix_ms = match self.store.load(Ordering::Relaxed) {
            UNKNOWN => own_unix_ms(),
            began => began.saturating_add((micros / 1_000) as i64),
        };
        Now { micros, unix_ms }
    }

    /// Takes in what a store has just said. It may be late, and is never early: so it is believed at once where it is
    /// ahead, and little by little where it is behind.
    pub(crate) fn hear(&self, store_ms: u64) -> Heard {
        let micros = self.micros();
        let began = (store_ms as i64).saturating_sub((micros / 1_000) as i64);
        let before = self.store.load(Ordering::Relaxed);
        let (began, heard) = match before {
            UNKNOWN => (began, Heard::First((store_ms as i64) - own_unix_ms())),
            _ if before.abs_diff(began) > SET => (before, Heard::Set(began - before)),
            _ => (began.max(before - 1), Heard::Right),
        };
        self.store.store(began, Ordering::Relaxed);
        heard
    }
}

/// The date by this machine's own clock, since the Unix epoch. Other nodes may have another one: it is for those who know
/// nothing of a store, such as receivers of signed requests.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn own_time() -> Duration {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    unix.unwrap_or_default()
}

/// The same in milliseconds.
pub(crate) fn own_unix_ms() -> i64 {
    own_time().as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_the_stores_and_does_not_jump() {
        let clock = Clock::start();
        let near = |at: i64| (clock.now().unix_ms - at).abs() < 1_000;
        assert!(near(own_unix_ms()));
        let hour = 3_600_000;
        let store = own_unix_ms() + hour;
        let Heard::First(ahead) = clock.hear(store as u64) else {
            panic!("it is the first time");
        };
        assert!((hour - 1_000..hour + 1_000).contains(&ahead));
        assert!(near(store));
        assert_eq!(clock.hear(store as u64 + 500), Heard::Right);
        assert!(near(store + 500));
        // An answer that was long under way.
        assert_eq!(clock.hear(store as u64 - 3_000), Heard::Right);
        assert!(near(store + 500));
        for by in [hour, -hour] {
            assert!(matches!(clock.hear((store + by) as u64), Heard::Set(_)));
            assert!(near(store + 500));
        }
    }
}
