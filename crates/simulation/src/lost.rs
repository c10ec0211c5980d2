//! Which rooms and sessions a store and their nodes have lost together, where the store has come back with less than it
//! had. Only of those something is gone.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::store::NodeId;

#[derive(Debug, Default)]
pub(crate) struct Lost {
    /// Rooms, and sessions by their clients' names, of which the store lacks something that it had, and the node that has all
    /// of it.
    at_risk: BTreeMap<String, Option<NodeId>>,
    /// Nodes that were killed, are ending, or were stopped or without a store until then, in milliseconds.
    disturbed: BTreeMap<NodeId, u64>,
    gone: BTreeSet<String>,
}

/// Milliseconds after which a node that was stopped, or had no store, has what was its own again, or never.
const RECOVERS: u64 = 6_000;

impl Lost {
    /// The store has come back without something of these. `homes` are the nodes that had them in their memory.
    pub(crate) fn put_at_risk(
        &mut self,
        now: u64,
        homes: impl Iterator<Item = (String, Option<NodeId>)>,
    ) {
        self.disturbed.retain(|_, until| *until > now);
        for (name, home) in homes {
            // One that nobody has written since the last time is still only where it was then.
            self.at_risk.entry(name).or_insert(home);
        }
    }

    pub(crate) fn disturb(&mut self, node: NodeId, until: u64) {
        let known = self.disturbed.entry(node).or_default();
        *known = until.saturating_add(RECOVERS).max(*known);
    }

    /// A node has written it at the store that there is now.
    pub(crate) fn is_written(&mut self, name: &str, by: NodeId) {
        if self.at_risk.get(name) != Some(&Some(by)) {
            self.is_loaded(name);
        }
        self.at_risk.remove(name);
    }

    /// A node has loaded it from the store that there is now: what that lacks is gone.
    pub(crate) fn is_loaded(&mut self, name: &str) {
        if self.has_lost(name) {
            self.at_risk.remove(name);
            self.gone.insert(name.to_owned());
        }
    }

    /// Whether something of a room, or of a client's session, may be gone for good.
    pub(crate) fn has_lost(&self, name: &str) -> bool {
        let at_risk = self.at_risk.get(name);
        let homeless =
            at_risk.is_some_and(|home| home.is_none_or(|it| self.disturbed.contains_key(&it)));
        homeless || self.gone.contains(name)
    }
}
