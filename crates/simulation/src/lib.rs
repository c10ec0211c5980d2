//! Server and clients in one process under a virtual clock: the shards of `core`, the session machine of the Rust SDK,
//! and between them the bytes of their WebSockets over a network that delays, stalls and cuts at any byte.
//!
//! A schedule is all that happens, and comes from one seed. A model checks it while it runs, and panics where something
//! is not as docs/reliability.md says. This crate is for tests only.
#![allow(clippy::unwrap_used, reason = "a panic is how a schedule fails")]

mod act;
mod asker;
mod clock;
mod ending;
mod facts;
mod faults;
mod fleet;
mod fragile;
mod host;
mod intruder;
mod leaving;
mod ledger;
mod links;
mod lost;
mod machine;
mod network;
mod nodes;
mod outsider;
mod peer;
mod post;
mod random;
mod raw_client;
mod server;
mod setup;
mod store;
mod view;
mod world;

pub use nodes::{NodesCounts, run_nodes};
pub use post::{PostCounts, run_post};

/// What several nodes meet beside what each schedule of several nodes has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Usual,
    /// The store comes back with what it had, or less.
    StoreRestarts,
    /// A node is cut off from the store for more than a third of the grace.
    LongCuts,
}

/// How often things happened that a simulation is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub acked: u64,
    pub delivered: u64,
    pub direct: u64,
    pub pages: u64,
    pub cuts: u64,
    pub reloads: u64,
    pub restarts: u64,
    pub resumed: u64,
    pub taken_over: u64,
    pub recovered: u64,
    pub gaps: u64,
    pub behind: u64,
    pub overrun: u64,
    pub repeats: u64,
    pub stale_tokens: u64,
    pub outsiders: u64,
    pub answers: u64,
    pub failures: u64,
    pub kills: u64,
    pub stops: u64,
    pub partitions: u64,
    pub links_lost: u64,
    pub drained: u64,
    pub store_restarts: u64,
    pub sent_away: u64,
}

impl Counts {
    /// All of them, with their names.
    pub fn list(&self) -> [(&'static str, u64); 25] {
        [
            ("acked", self.acked),
            ("delivered", self.delivered),
            ("direct", self.direct),
            ("pages", self.pages),
            ("cuts", self.cuts),
            ("reloads", self.reloads),
            ("restarts", self.restarts),
            ("resumed", self.resumed),
            ("taken_over", self.taken_over),
            ("recovered", self.recovered),
            ("gaps", self.gaps),
            ("behind", self.behind),
            ("overrun", self.overrun),
            ("repeats", self.repeats),
            ("stale_tokens", self.stale_tokens),
            ("outsiders", self.outsiders),
            ("answers", self.answers),
            ("failures", self.failures),
            ("kills", self.kills),
            ("stops", self.stops),
            ("partitions", self.partitions),
            ("links_lost", self.links_lost),
            ("drained", self.drained),
            ("store_restarts", self.store_restarts),
            ("sent_away", self.sent_away),
        ]
    }

    /// Adds those of another schedule.
    pub fn add(&mut self, other: &Counts) {
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.direct += other.direct;
        self.pages += other.pages;
        self.cuts += other.cuts;
        self.reloads += other.reloads;
        self.restarts += other.restarts;
        self.resumed += other.resumed;
        self.taken_over += other.taken_over;
        self.recovered += other.recovered;
        self.gaps += other.gaps;
        self.behind += other.behind;
        self.overrun += other.overrun;
        self.repeats += other.repeats;
        self.stale_tokens += other.stale_tokens;
        self.outsiders += other.outsiders;
        self.answers += other.answers;
        self.failures += other.failures;
        self.kills += other.kills;
        self.stops += other.stops;
        self.partitions += other.partitions;
        self.links_lost += other.links_lost;
        self.drained += other.drained;
        self.store_restarts += other.store_restarts;
        self.sent_away += other.sent_away;
    }
}

/// Runs a schedule. What happened, and a number that is the same if every byte that clients were sent is.
///
/// # Panics
/// Something is not as it was promised.
pub fn run(seed: u64) -> (Counts, u64) {
    world::World::new(seed, false).run()
}

/// The same, and prints what each client is told.
///
/// # Panics
/// Something is not as it was promised.
pub fn run_aloud(seed: u64) -> (Counts, u64) {
    world::World::new(seed, true).run()
}

/// Runs a schedule of several nodes with one store. What happened, and a number that is the same if every byte that
/// clients were sent is. `aloud`: it prints what each client is told.
///
/// # Panics
/// Something is not as it was promised.
pub fn run_fleet(seed: u64, aloud: bool) -> (Counts, u64) {
    world::World::several(seed, aloud, Trouble::Usual).run()
}

/// The same, where the store comes back with what it had, with older data, or with nothing.
///
/// # Panics
/// Something is not as it was promised.
pub fn run_restarts(seed: u64, aloud: bool) -> (Counts, u64) {
    world::World::several(seed, aloud, Trouble::StoreRestarts).run()
}

/// The same, where the store stays, and a node may be cut off from it for longer than its clients wait: it asks them to
/// come back elsewhere.
///
/// # Panics
/// Something is not as it was promised.
pub fn run_cuts(seed: u64, aloud: bool) -> (Counts, u64) {
    world::World::several(seed, aloud, Trouble::LongCuts).run()
}
