//! The nodes' entries, and their leases.

use roomcast_core::store::{Beat, Beaten, NodeEntry};

use super::Model;

impl Model {
    pub(super) fn beat(&mut self, now_ms: u64, beat: &Beat) -> Beaten {
        let own = self.nodes.get(&beat.home.node);
        let lives =
            own.is_some_and(|it| it.home == beat.home && now_ms.abs_diff(it.beat) < beat.lease_ms);
        if beat.begins || lives {
            let entry = NodeEntry {
                home: beat.home,
                beat: now_ms,
                settled: beat.settled,
                shards: beat.shards,
                version: beat.version,
                key: beat.key,
                settings: beat.settings.clone(),
                address: beat.address.clone(),
            };
            self.nodes.insert(beat.home.node, entry);
        }
        self.nodes
            .retain(|_, it| now_ms < it.beat.saturating_add(beat.keep_ms.max(beat.lease_ms)));
        Beaten {
            gone: !beat.begins && !lives,
            now: now_ms,
            nodes: self.nodes.values().cloned().collect(),
        }
    }
}
