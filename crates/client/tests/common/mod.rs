//! A server of a few hundred lines that does what docs/protocol.md says of sessions, logs and answers, and refuses and
//! forgets as often as it is told to; and what else several tests need.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses its part"
)]

pub mod peer;
pub mod rig;
mod server;
mod session;

use std::collections::BTreeMap;

use roomcast_protocol::ErrorCode;
#[allow(unused_imports, reason = "each test uses its part")]
pub use server::{Server, Trouble};

/// splitmix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, of_thousand: u64) -> bool {
        self.below(1000) < of_thousand
    }
}

pub const UNANSWERED: u64 = 8;
pub const UNIX: i64 = 1_763_856_000_000;

/// What a log holds.
#[derive(Clone, Debug)]
pub enum What {
    Said(String),
    Came { num: u32 },
    Went { num: u32 },
}

#[derive(Clone, Debug)]
pub struct Logged {
    pub offset: u64,
    pub at: i64,
    pub from: String,
    pub seq: u64,
    pub what: What,
}

/// Numbers of one sender that were used up.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    pub last: u64,
    pub answers: BTreeMap<u64, Result<u64, ErrorCode>>,
    pub told: u64,
}

pub enum Verdict {
    Next,
    Known(Result<u64, ErrorCode>),
    Gap(u64, bool),
}

impl Numbers {
    pub fn enter(&mut self, first: u64) {
        if first > self.last + 1 {
            self.last = first - 1;
        }
    }

    pub fn check(&mut self, seq: u64) -> Verdict {
        if seq == self.last + 1 {
            return Verdict::Next;
        }
        if seq > self.last {
            let missing = self.last + 1;
            let first = std::mem::replace(&mut self.told, missing) != missing;
            return Verdict::Gap(missing, first);
        }
        Verdict::Known(self.answers.get(&seq).copied().unwrap_or(Ok(0)))
    }

    pub fn used(&mut self, answer: Result<u64, ErrorCode>) {
        self.last += 1;
        self.answers.insert(self.last, answer);
        if self.answers.len() > 32 {
            self.answers.pop_first();
        }
    }
}
