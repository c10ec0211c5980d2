//! Answers of backends that are good for a time, by what was asked.
//!
//! Their number is bounded. Where there are too many, one goes of whoever has most of them: so who asks for much displaces
//! answers of its own, and never those of somebody who has fewer.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::authorize::Decision;
use crate::time::{Now, micros};

/// Answers of a shard that are kept, and of one user.
const MOST: usize = 16_384;
const MOST_OF_ONE: usize = 256;
/// Answers whose time is over that go when one comes: more than come, so that none stays for long.
const SWEPT: usize = 2;

/// What an answer is about.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// The user, or the session of one without.
    pub(super) who: Arc<str>,
    /// All that the answer depends on, the user too.
    pub(super) what: Arc<str>,
}

#[derive(Debug)]
struct Kept {
    until: u64,
    decision: Decision,
    who: Arc<str>,
}

#[derive(Debug, Default)]
pub(super) struct Answers {
    by_what: HashMap<Arc<str>, Kept>,
    /// By their ends, in microseconds: all, and those of each user.
    ends: BTreeSet<(u64, Arc<str>)>,
    of: HashMap<Arc<str>, BTreeSet<(u64, Arc<str>)>>,
    /// How many each user has.
    counts: BTreeSet<(usize, Arc<str>)>,
}

impl Answers {
    pub(super) fn get(&mut self, now: Now, what: &str) -> Option<Decision> {
        let kept = self.by_what.get(what)?;
        if kept.until > now.micros {
            return Some(kept.decision.clone());
        }
        self.remove(what);
        None
    }

    /// Keeps an answer for as long as it says.
    pub(super) fn note(&mut self, now: Now, about: About, decision: &Decision) {
        let cache = match decision {
            Decision::Allow { cache, .. } | Decision::Refuse { cache, .. } => *cache,
            Decision::Silent => 0,
        };
        if cache == 0 {
            return;
        }
        self.remove(&about.what);
        for _ in 0..SWEPT {
            match self.ends.first() {
                Some((until, what)) if *until <= now.micros => {
                    let what = Arc::clone(what);
                    self.remove(&what);
                }
                _ => break,
            }
        }
        let About { who, what } = about;
        let until = now.micros.saturating_add(micros(cache));
        let own = self.of.entry(Arc::clone(&who)).or_default();
        self.counts.remove(&(own.len(), Arc::clone(&who)));
        own.insert((until, Arc::clone(&what)));
        let count = own.len();
        self.counts.insert((count, Arc::clone(&who)));
        self.ends.insert((until, Arc::clone(&what)));
        let kept = Kept {
            until,
            decision: decision.clone(),
            who: Arc::clone(&who),
        };
        self.by_what.insert(what, kept);
        let has_most = match self.counts.last() {
            Some((most, other)) if *most > count => Arc::clone(other),
            _ => Arc::clone(&who),
        };
        if count > MOST_OF_ONE {
            self.displace(&who);
        } else if self.by_what.len() > MOST {
            self.displace(&has_most);
        }
    }

    /// Of a user's answers that goes which would go first anyway.
    fn displace(&mut self, who: &str) {
        let first = self.of.get(who).and_then(BTreeSet::first);
        if let Some((_, what)) = first {
            let what = Arc::clone(what);
            self.remove(&what);
        }
    }

    fn remove(&mut self, what: &str) {
        let Some((what, kept)) = self.by_what.remove_entry(what) else {
            return;
        };
        let end = (kept.until, what);
        self.ends.remove(&end);
        let Some(own) = self.of.get_mut(&kept.who) else {
            return;
        };
        self.counts.remove(&(own.len(), Arc::clone(&kept.who)));
        own.remove(&end);
        match own.len() {
            0 => drop(self.of.remove(&kept.who)),
            count => drop(self.counts.insert((count, kept.who))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            micros: micros(ms),
            unix_ms: ms as i64,
        }
    }

    fn about(who: usize, what: usize) -> About {
        About {
            who: format!("{who}").into(),
            what: format!("{who} {what}").into(),
        }
    }

    fn note(answers: &mut Answers, now: u64, about: About, cache: u64) {
        let decision = Decision::Allow {
            nickname: None,
            cache,
        };
        answers.note(at(now), about, &decision);
        let sizes = [answers.by_what.len(), answers.ends.len()];
        let of: usize = answers.of.values().map(BTreeSet::len).sum();
        assert_eq!(sizes, [of, of]);
        assert_eq!(answers.of.len(), answers.counts.len());
        assert!(of <= MOST);
    }

    fn knows(answers: &mut Answers, now: u64, about: &About) -> bool {
        answers.get(at(now), &about.what).is_some()
    }

    #[test]
    fn one_user_displaces_answers_of_its_own() {
        let mut answers = Answers::default();
        note(&mut answers, 0, about(1, 0), 60_000);
        for what in 0..2 * MOST {
            note(&mut answers, 1, about(2, what), 60_000 + what as u64);
        }
        assert!(knows(&mut answers, 2, &about(1, 0)));
        assert!(!knows(&mut answers, 2, &about(2, 0)));
        assert!(knows(&mut answers, 2, &about(2, 2 * MOST - 1)));
        assert_eq!(answers.by_what.len(), 1 + MOST_OF_ONE);
    }

    #[test]
    fn who_has_fewer_is_kept_where_a_shard_is_full() {
        let mut answers = Answers::default();
        // As full as it gets by those who have many.
        for who in 0..MOST / 64 + 9 {
            for what in 0..64 {
                note(&mut answers, 0, about(who, what), 60_000);
            }
        }
        assert_eq!(answers.by_what.len(), MOST);
        for what in 0..5 {
            note(&mut answers, 1, about(1_000, what), 1_000);
        }
        for who in 2_000..3_000 {
            note(&mut answers, 1, about(who, 0), 60_000);
        }
        assert!((0..5).all(|what| knows(&mut answers, 2, &about(1_000, what))));
        assert!((2_000..3_000).all(|who| knows(&mut answers, 2, &about(who, 0))));
    }

    #[test]
    fn answers_whose_time_is_over_go_without_being_asked_for() {
        let mut answers = Answers::default();
        for who in 0..1_000 {
            note(&mut answers, 0, about(who, 0), 100);
        }
        assert!(!knows(&mut answers, 100, &about(0, 0)));
        for who in 1_000..1_500 {
            note(&mut answers, 200, about(who, 0), 100);
        }
        assert_eq!(answers.by_what.len(), 500);
    }
}
