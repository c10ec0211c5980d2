//! Posts of several nodes under a virtual clock, over a channel that loses, doubles, delays, cuts and changes what it
//! carries, and brings it again much later. Nodes stop, lose their leases, begin anew, and learn late of each other.

mod node;
mod world;

/// How often things happened that this simulation is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PostCounts {
    pub delivered: u64,
    pub sent_again: u64,
    pub links: u64,
    pub lost: u64,
    pub given_up: u64,
    pub refused: u64,
    pub large: u64,
    pub gaps: u64,
    pub unproven: u64,
    pub old: u64,
}

impl PostCounts {
    /// All of them, with their names.
    pub fn list(&self) -> [(&'static str, u64); 10] {
        [
            ("delivered", self.delivered),
            ("sent_again", self.sent_again),
            ("links", self.links),
            ("lost", self.lost),
            ("given_up", self.given_up),
            ("refused", self.refused),
            ("large", self.large),
            ("gaps", self.gaps),
            ("unproven", self.unproven),
            ("old", self.old),
        ]
    }

    /// Adds those of another schedule.
    pub fn add(&mut self, other: &PostCounts) {
        self.delivered += other.delivered;
        self.sent_again += other.sent_again;
        self.links += other.links;
        self.lost += other.lost;
        self.given_up += other.given_up;
        self.refused += other.refused;
        self.large += other.large;
        self.gaps += other.gaps;
        self.unproven += other.unproven;
        self.old += other.old;
    }
}

/// Runs a schedule.
///
/// # Panics
/// A letter is lost, comes twice, out of order, over another link or not at all; a bound is not kept.
pub fn run_post(seed: u64) -> PostCounts {
    world::World::new(seed).run()
}
