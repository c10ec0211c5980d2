//! Nodes that have lost their way to the store ask their clients to come back elsewhere, where another node lives.

use super::{Fleet, Node};

impl Fleet {
    /// Nodes ask their clients to come back elsewhere once they have had no lease for so many milliseconds.
    pub(crate) fn sends_away_after(&mut self, ms: u64) {
        if let Some(shared) = &mut self.shared {
            shared.cut_off_after = Some(ms);
        }
    }

    /// How often a node has done so.
    pub(crate) fn sent_away(&self) -> u64 {
        self.shared.as_ref().map_or(0, |it| it.sent_away)
    }

    /// Nodes look whether they are cut off, as the server does: another one that has a lease and can be reached has heard
    /// from the store that this one is dead.
    pub(super) fn look_who_is_cut_off(&mut self, now: u64) {
        let Some(shared) = &self.shared else { return };
        let Some(after) = shared.cut_off_after else {
            return;
        };
        for which in 0..self.nodes.len() {
            let node = &self.nodes[which];
            if node.stopped_until > now {
                continue;
            }
            let (id, at) = (node.id, node.server.clock.at(now));
            let gives_up = |other: &Node| {
                let at = other.server.clock.at(now).micros;
                let view = other.cluster.as_ref().map(|it| it.view());
                let view = view.filter(|view| view.acts(at).is_some());
                view.is_some_and(|view| view.node(id).is_none())
            };
            let reached = |other: &&Node| {
                let links = &shared.links;
                other.id != id
                    && other.stopped_until <= now
                    && !links.is_cut(now, id, other.id)
                    && !links.is_cut(now, other.id, id)
            };
            let another_lives = self.nodes.iter().filter(reached).any(gives_up);
            let node = &mut self.nodes[which];
            if let Some(cluster) = &mut node.cluster {
                cluster.look_if_cut_off(at, after, || another_lives);
                let has_none = cluster.view().acts(at.micros).is_none();
                node.is_red &= has_none;
                node.touched |= has_none;
            }
        }
    }
}
