//! What goes wrong where there are several nodes.

use crate::store::Data;
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
                self.disturb_rooms(which, u64::MAX);
                self.server.kill(which, self.now, &mut self.net);
                (self.intruder, self.outsider) = (None, None);
                // The new one begins at once, or somewhat later.
                if self.server.serving() < NODES.0 || self.random.chance(500) {
                    self.begin_node();
                }
            }
            40..48 if self.server.drain(which, self.now) => {
                self.say(format_args!("node {which} ends"));
                self.disturb_rooms(which, u64::MAX);
                (self.intruder, self.outsider) = (None, None);
                if self.server.serving() < NODES.0 || self.random.chance(500) {
                    self.begin_node();
                }
            }
            8..14 if nodes < NODES.1 => self.begin_node(),
            14..22 => {
                self.say(format_args!("node {which} stops until {until}"));
                self.facts.stops += 1;
                self.disturb_rooms(which, until);
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
                self.disturb_rooms(which, until);
                self.server.cut(which, None, true, until);
            }
            _ => {}
        }
        if self.weather.long_cuts > 0 && self.random.chance(self.weather.long_cuts) {
            self.cut_off_for_long();
        }
        if self.random.chance(self.weather.store_restarts) {
            self.restart_store();
        }
        if self.random.chance(2 * self.weather.store_restarts)
            && let Some(cloud) = &self.cloud
        {
            cloud.borrow_mut().dump();
        }
    }

    /// What only this node has may be lost.
    fn disturb_rooms(&self, which: usize, until: u64) {
        let node = self.server.node_id(which);
        self.ledger.borrow_mut().lost.disturb(node, until);
    }

    /// A node has no store for so long that its clients are better off elsewhere. It may hear of no other node either.
    fn cut_off_for_long(&mut self) {
        let nodes = self.server.len();
        let which = self.random.below(nodes as u64) as usize;
        let grace = self.setup.settings.session_grace;
        let until = self.now + grace / 2 + self.random.below(2 * grace);
        let alone = self.random.chance(300);
        self.say(format_args!(
            "node {which} has no store until {until}, and nobody else: {alone}"
        ));
        self.facts.partitions += 1;
        self.disturb_rooms(which, until);
        self.server.cut(which, None, true, until);
        for other in (0..nodes).filter(|other| alone && *other != which) {
            self.server.cut(which, Some(other), true, until);
        }
    }

    /// The store is away for a while, and comes back with what it had, or less.
    fn restart_store(&mut self) {
        let Some(cloud) = &self.cloud else { return };
        let data = self.random.pick(&[Data::Same, Data::Older, Data::Nothing]);
        let away = self.random.below(3_000);
        {
            let mut cloud = cloud.borrow_mut();
            cloud.come_back(self.now, data);
            cloud.pause(self.now, away);
        }
        self.ledger.borrow_mut().came_back = true;
        if data != Data::Same {
            self.facts.store_has_lost = true;
        }
        self.facts.store_restarts += 1;
        self.say(format_args!(
            "the store comes back with {data:?} after {away} ms"
        ));
    }

    fn begin_node(&mut self) {
        self.say(format_args!("a node begins"));
        self.server.begin(self.now, &self.setup, &self.ledger);
    }
}
