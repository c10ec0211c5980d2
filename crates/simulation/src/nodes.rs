//! Node agents under a virtual clock, each with a clock of its own that runs too fast or too slow, at a store whose clock
//! does too. Answers come late, twice or not at all; nodes stop, go on, hang and end; the store comes back with the same
//! data, with older data, or without any.

mod agent;
mod world;

/// How often things happened that this simulation is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct NodesCounts {
    pub beats: u64,
    pub gone: u64,
    pub dead: u64,
    pub stores: u64,
    pub settled: u64,
    pub late: u64,
    pub errors: u64,
    pub silent: u64,
    pub renumbered: u64,
}

impl NodesCounts {
    /// All of them, with their names.
    pub fn list(&self) -> [(&'static str, u64); 9] {
        [
            ("beats", self.beats),
            ("gone", self.gone),
            ("dead", self.dead),
            ("stores", self.stores),
            ("settled", self.settled),
            ("late", self.late),
            ("errors", self.errors),
            ("silent", self.silent),
            ("renumbered", self.renumbered),
        ]
    }

    /// Adds those of another schedule.
    pub fn add(&mut self, other: &NodesCounts) {
        self.beats += other.beats;
        self.gone += other.gone;
        self.dead += other.dead;
        self.stores += other.stores;
        self.settled += other.settled;
        self.late += other.late;
        self.errors += other.errors;
        self.silent += other.silent;
        self.renumbered += other.renumbered;
    }
}

/// Runs a schedule.
///
/// # Panics
/// A node acts for a lease that the store has given up, settles too early, or beats while a shard hangs.
pub fn run_nodes(seed: u64) -> NodesCounts {
    world::World::new(seed).run()
}
