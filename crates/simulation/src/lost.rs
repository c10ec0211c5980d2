//! Which rooms a store and their homes have lost together, where the store has come back with less than it had. Only of
//! those something is gone.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::store::NodeId;

#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// Rooms of which the store lacks something that it had, and the node that has all of it.
    at_risk: BTreeMap<String, Option<NodeId>>,
    /// Nodes that were killed, are ending, or were stopped or without a store until then, in milliseconds.
    disturbed: BTreeMap<NodeId, u64>,
    rooms: BTreeSet<String>,
}

/// Milliseconds after which a node that was stopped, or had no store, has what was its own again, or never.
const RECOVERS: u64 = 6_000;

impl Lost {
    /// The store has come back without something of these rooms. `homes` are the nodes that had them in their memory.
    pub(crate) fn put_at_risk(
        &mut self,
        now: u64,
        homes: impl Iterator<Item = (String, Option<NodeId>)>,
    ) {
        self.disturbed.retain(|_, until| *until > now);
        for (room, home) in homes {
            // One that nobody has written since the last time is still only where it was then.
            self.at_risk.entry(room).or_insert(home);
        }
    }

    pub(crate) fn disturb(&mut self, node: NodeId, until: u64) {
        let known = self.disturbed.entry(node).or_default();
        *known = until.saturating_add(RECOVERS).max(*known);
    }

    /// A node has written a room at the store that there is now.
    pub(crate) fn is_written(&mut self, room: &str, by: NodeId) {
        if self.at_risk.get(room) == Some(&Some(by)) {
            self.at_risk.remove(room);
        } else if self.has_lost(room) {
            self.at_risk.remove(room);
            self.rooms.insert(room.to_owned());
        }
    }

    /// A node has loaded a room from the store that there is now: what it lacks is gone.
    pub(crate) fn is_loaded(&mut self, room: &str) {
        if self.has_lost(room) {
            self.at_risk.remove(room);
            self.rooms.insert(room.to_owned());
        }
    }

    /// Whether something of a room may be gone for good.
    pub(crate) fn has_lost(&self, room: &str) -> bool {
        let at_risk = self.at_risk.get(room);
        let unhomed =
            at_risk.is_some_and(|home| home.is_none_or(|it| self.disturbed.contains_key(&it)));
        unhomed || self.rooms.contains(room)
    }
}
