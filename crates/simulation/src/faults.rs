//! What goes wrong where there are several nodes.

use crate::world::World;

/// Nodes that there are, at least and at most.
const NODES: (usize, usize) = (2, 3);

impl World {
    /// Something that happens to nodes, and between them.
    pub(crate) fn disturb_nodes(&mut self) {
        let nodes = self.server.len();
        let which = self.random.below(nodes as u64) as usize;
        let other = self.random.below(nodes as u64) as usize;
        // Half of a lease, several, or longer than anybody waits.
        let lasts = self.random.pick(&[1_500, 4_000, 10_000]);
        let until = self.now + self.random.below(lasts);
        match self.random.below(1_000) {
            0..8 => {
                self.say(format_args!("node {which} is killed"));
                self.facts.kills += 1;
                self.server.kill(which, self.now, &mut self.net);
                (self.intruder, self.outsider) = (None, None);
                // The new one begins at once, or somewhat later.
                if self.server.len() < NODES.0 || self.random.chance(500) {
                    self.begin_node();
                }
            }
            8..14 if nodes < NODES.1 => self.begin_node(),
            14..22 => {
                self.say(format_args!("node {which} stops until {until}"));
                self.facts.stops += 1;
                self.server.stop(which, self.now, until);
            }
            22..32 if which != other => {
                let both = self.random.chance(500);
                self.say(format_args!(
                    "nodes {which}, {other} are cut until {until}, both ways {both}"
                ));
                self.facts.partitions += 1;
                self.server.cut(which, Some(other), both, until);
            }
            32..40 => {
                self.say(format_args!("node {which} has no store until {until}"));
                self.facts.partitions += 1;
                self.server.cut(which, None, true, until);
            }
            _ => {}
        }
    }

    fn begin_node(&mut self) {
        self.say(format_args!("a node begins"));
        self.server.begin(self.now, &self.setup, &self.ledger);
    }
}
