//! How fast the server takes messages: what is sent sooner is refused, and too much of that ends the connection for good.

use roomcast_protocol::WelcomeLimits;

use crate::error::BELIEVED_MS;

/// A bucket of messages, as the server keeps one: `burst` of them, and `messages_per_second` more each second.
#[derive(Debug, Default)]
pub(super) struct Pace {
    per_second: u64,
    /// Thousandths of a message, like `left`; 0: there is no limit.
    most: u64,
    left: u64,
    /// When `left` was true. In the future where the server has named a time.
    at: u64,
}

impl Pace {
    pub(super) fn new(now: u64, limits: &WelcomeLimits) -> Pace {
        let most = match limits.messages_per_second {
            0 => 0,
            _ => u64::from(limits.burst) * 1_000,
        };
        Pace {
            per_second: u64::from(limits.messages_per_second),
            most,
            left: most,
            at: now,
        }
    }

    /// Messages that may be under way at once: as many as arrive, and are refused, together and without offence.
    pub(super) fn window(&self) -> usize {
        match self.most {
            0 => usize::MAX,
            most => usize::try_from(most / 1_000).unwrap_or(usize::MAX),
        }
    }

    /// A message was sent.
    pub(super) fn sent(&mut self, now: u64) {
        self.refill(now);
        self.left = self.left.saturating_sub(1_000);
    }

    /// The server has taken none, and will not for so many milliseconds.
    pub(super) fn refused(&mut self, now: u64, retry_after_ms: u64) {
        self.left = 0;
        self.at = self
            .at
            .max(now.saturating_add(retry_after_ms.min(BELIEVED_MS)));
    }

    /// When the next one may be sent; `None`: now.
    pub(super) fn wait(&mut self, now: u64) -> Option<u64> {
        self.refill(now);
        if self.most == 0 || self.left >= 1_000.min(self.most) {
            return None;
        }
        let missing = 1_000 - self.left;
        let more = missing.div_ceil(self.per_second.max(1));
        Some(self.at.saturating_add(more))
    }

    fn refill(&mut self, now: u64) {
        if now > self.at {
            let more = (now - self.at).saturating_mul(self.per_second);
            self.left = self.left.saturating_add(more).min(self.most);
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        let limits = WelcomeLimits {
            messages_per_second: 40,
            burst: 2,
            ..WelcomeLimits::default()
        };
        Pace::new(0, &limits)
    }

    #[test]
    fn a_burst_is_followed_by_a_steady_pace() {
        let mut pace = pace();
        for now in [0, 0, 25, 50] {
            assert_eq!(pace.wait(now), None, "{now}");
            pace.sent(now);
        }
        assert_eq!(pace.wait(60), Some(75));
        pace.refused(60, 100);
        assert_eq!(pace.wait(80), Some(185), "after the time that was named");
        assert_eq!(pace.wait(185), None);
    }

    #[test]
    fn no_time_that_a_server_names_is_for_ever() {
        let mut pace = pace();
        pace.refused(60, u64::MAX);
        let at = pace.wait(60).unwrap();
        assert!((60..700_000).contains(&at), "{at}");
        assert_eq!(pace.wait(at), None);
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut pace = Pace::new(0, &WelcomeLimits::default());
        (0..1_000).for_each(|_| pace.sent(0));
        assert_eq!((pace.wait(0), pace.window()), (None, usize::MAX));
    }
}
