//! What a shard says of its node, for whoever runs it.

use super::Shard;
use crate::address::ShardAddress;
use crate::backend::NodeLine;
use crate::host::Host;
use crate::store::Store;
use crate::time::Now;

impl<H: Host, S: Store> Shard<H, S> {
    /// Says what its node is called, for whoever looks at nodes.
    pub fn call_node(&mut self, name: &str) {
        self.node_name = name.into();
    }

    /// This shard's part of its node. It looks at each connection.
    pub(super) fn node_line(&mut self, now: Now, asked_by: ShardAddress) -> NodeLine {
        let (connections, (rooms, _)) = (self.connections(), self.rooms());
        let (parked, _) = self.sessions();
        let (lagging, pending) = self.edge.lag();
        let stores = self.ctx.cluster.stores();
        let leased = !S::WAITS || stores.iter().any(|it| it.acts(now.micros).is_some());
        let settled = !S::WAITS || stores.iter().all(|it| it.settled);
        let draining = self.home.is_draining();
        let stats = self.stats();
        let sum = |counts: &[[u64; crate::stats::Stats::TYPES]; 2]| -> u64 {
            counts.iter().flatten().sum()
        };
        let counters = [
            ("connections", connections as u64),
            ("sessions_waiting", parked as u64),
            ("rooms", rooms as u64),
            ("messages_in", sum(&stats.messages_in)),
            ("messages_out", sum(&stats.messages_out)),
            ("acks", stats.acks),
            ("errors", stats.errors.iter().sum()),
            ("resumed", stats.resumed),
            ("readers_behind", stats.readers_behind),
            ("lagging", lagging),
            ("pending_bytes", pending),
            ("log_bytes", stats.log_bytes as u64),
            ("unconfirmed_bytes", stats.unconfirmed_bytes as u64),
        ];
        let counters = counters.map(|(name, value)| (name.into(), value));
        NodeLine {
            node: self.node_name.clone(),
            own: asked_by.is_own(),
            version: env!("CARGO_PKG_VERSION").into(),
            draining,
            leased,
            settled,
            shards: 1,
            counters: counters.into(),
        }
    }
}
