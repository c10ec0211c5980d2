//! Which numbered events were received, by their sender: what is logged twice is delivered once.

use std::collections::HashMap;

/// Senders that are remembered in one generation; there are two.
const SENDERS: usize = 512;

/// A sender's last numbers.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// The greatest.
    newest: u64,
    /// Those before it: bit n is `newest - n`. More than 32 are never unanswered, so none older is sent again.
    before: u64,
}

/// Bounded: of more senders than fit, those heard longest ago are forgotten.
#[derive(Debug, Default)]
pub(super) struct Seen {
    young: HashMap<Box<str>, Window>,
    old: HashMap<Box<str>, Window>,
}

impl Seen {
    /// Whether this one is new.
    pub(super) fn insert(&mut self, sender: &str, seq: u64) -> bool {
        if let Some(window) = self.young.get_mut(sender) {
            return window.insert(seq);
        }
        let known = self.old.remove(sender);
        let fresh = Window {
            newest: 0,
            before: 0,
        };
        let mut window = known.unwrap_or(fresh);
        let new = window.insert(seq);
        if self.young.len() >= SENDERS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(sender.into(), window);
        new
    }
}

impl Window {
    fn insert(&mut self, seq: u64) -> bool {
        if seq > self.newest {
            let step = seq - self.newest;
            self.before = self
                .before
                .checked_shl(u32::try_from(step).unwrap_or(64))
                .unwrap_or(0);
            // Bit 0 is the newest itself.
            self.before |= 1;
            self.newest = seq;
            return true;
        }
        let back = self.newest - seq;
        if back >= 64 {
            return false;
        }
        let new = self.before & (1 << back) == 0;
        self.before |= 1 << back;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once_also_where_some_are_missing() {
        let mut seen = Seen::default();
        for seq in [1, 2, 5, 4, 70, 69] {
            assert!(seen.insert("a", seq), "{seq}");
            assert!(!seen.insert("a", seq), "{seq}");
        }
        assert!(seen.insert("b", 5));
        assert!(!seen.insert("a", 5), "too old to be sent again");
        assert!(seen.insert("a", 1 << 52));
    }

    #[test]
    fn senders_are_bounded_and_those_who_speak_are_kept() {
        let mut seen = Seen::default();
        for n in 0..10 * SENDERS {
            assert!(seen.insert(&n.to_string(), 1));
            assert_eq!(seen.insert("talker", 1), n == 0);
        }
        assert!(seen.young.len() + seen.old.len() <= 2 * SENDERS);
    }
}
