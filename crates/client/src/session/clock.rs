//! What pings tell: the server's clock and the round trip.

use std::collections::VecDeque;

/// Samples that count.
const SAMPLES: usize = 8;

/// Times are milliseconds; the local ones of any steady clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Round trip, and the server's clock minus the local one in its middle.
    samples: VecDeque<(u64, i64)>,
}

impl Clock {
    /// What was asked at `sent` is answered at `now` by a server whose clock says `server`.
    pub(super) fn sample(&mut self, sent: u64, now: u64, server: i64) {
        let trip = now.saturating_sub(sent);
        let middle = sent.saturating_add(trip / 2);
        let ahead = server.saturating_sub(i64::try_from(middle).unwrap_or(i64::MAX));
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((trip, ahead));
    }

    /// Another connection may have another way.
    pub(super) fn reset(&mut self) {
        self.samples.clear();
    }

    /// The median of the last round trips.
    pub(super) fn rtt(&self) -> Option<u64> {
        let mut trips: Vec<u64> = self.samples.iter().map(|(trip, _)| *trip).collect();
        trips.sort_unstable();
        trips.get(trips.len() / 2).copied()
    }

    /// The server's clock, as the quickest of the last answers told it: it waited least.
    pub(super) fn server_now(&self, now: u64) -> Option<i64> {
        let (_, ahead) = self.samples.iter().min_by_key(|(trip, _)| *trip)?;
        Some(i64::try_from(now).ok()?.saturating_add(*ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_does_not_move_the_clock() {
        let mut clock = Clock::default();
        assert_eq!((clock.rtt(), clock.server_now(5)), (None, None));
        clock.sample(100, 120, 1_000_110);
        clock.sample(200, 900, 1_000_890);
        clock.sample(1000, 1024, 1_001_012);
        assert_eq!(clock.rtt(), Some(24));
        assert_eq!(clock.server_now(2000), Some(1_002_000));
        for sent in (3000..).step_by(100).take(SAMPLES) {
            clock.sample(sent, sent + 40, 5_000_020 + i64::try_from(sent).unwrap());
        }
        assert_eq!(
            clock.server_now(4000),
            Some(5_004_000),
            "the server's clock was set"
        );
    }
}
