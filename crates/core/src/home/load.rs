//! How many messages a room gets, as that was lately.

use crate::time::Now;

/// Microseconds in which messages are only counted.
const WINDOW: u64 = 1_000_000;
/// Seconds after which what was counts half.
const HALF_LIFE: f32 = 5.0;

/// A rate that forgets. What a message costs is a comparison and an addition; once a second there is more to reckon.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// Microseconds at which the window began.
    since: u64,
    count: u32,
    /// Messages a second, before the window.
    rate: f32,
}

impl Load {
    /// A message was published.
    pub(super) fn note(&mut self, now: Now) {
        if now.micros.saturating_sub(self.since) >= WINDOW {
            self.rate = self.rate(now);
            (self.since, self.count) = (now.micros, 0);
        }
        self.count = self.count.saturating_add(1);
    }

    /// Messages a second.
    pub(super) fn rate(&self, now: Now) -> f32 {
        let elapsed = now.micros.saturating_sub(self.since).max(1);
        let seconds = elapsed as f32 / 1e6;
        let kept = 0.5_f32.powf(seconds / HALF_LIFE);
        self.rate * kept + self.count as f32 / seconds * (1.0 - kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_rises_to_what_comes_and_falls_when_nothing_does() {
        let at = |micros| Now { unix_ms: 0, micros };
        let (mut load, mut micros) = (Load::default(), 1_000_000_000);
        for _ in 0..100 * 60 {
            micros += 10_000;
            load.note(at(micros));
        }
        let rate = load.rate(at(micros));
        assert!((95.0..105.0).contains(&rate), "{rate}");
        let later = load.rate(at(micros + 60_000_000));
        assert!(later < 3.0, "{later}");
        assert!(load.rate(at(micros + 600_000_000)) < 0.2);
        assert!(Load::default().rate(at(micros)) < f32::EPSILON);
    }
}
