//! What is found beside lost and repeated messages: a count for each rule, and the first findings in words.

use std::sync::Mutex;

/// What has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A player's number is its own, joins and leaves are done once, and nobody loses its place.
    Members,
    /// No room has more players than it may have, and none is refused where there is a place.
    Capacity,
    /// A page of history has what was heard, all of it, and in that order.
    History,
    /// State goes on and not back.
    Frames,
    /// In the end each sees who is there, and what they have set last.
    Truth,
}

const RULES: usize = 5;
/// Findings of a rule that are told in words.
const IN_WORDS: usize = 8;

/// Shared by all who look.
#[derive(Debug, Default)]
pub struct Found(Mutex<(Counts, Vec<String>)>);

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts([usize; RULES]);

impl Counts {
    pub fn of(&self, rule: Rule) -> usize {
        self.0[rule as usize]
    }

    pub fn all(&self) -> usize {
        self.0.iter().sum()
    }
}

impl Found {
    pub fn broken(&self, rule: Rule, what: String) {
        let mut found = self.0.lock().unwrap();
        found.0.0[rule as usize] += 1;
        if found.0.of(rule) <= IN_WORDS {
            found.1.push(format!("{rule:?}: {what}"));
        }
    }

    pub fn take(&self) -> (Counts, Vec<String>) {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
