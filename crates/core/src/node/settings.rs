//! Who a node is, and how long its lease lasts.

use roomcast_protocol::mutated;

use crate::store::NodeId;
use crate::time::micros;
use crate::wire::VERSION;

/// Times in milliseconds.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// This node: random, drawn when its process starts.
    pub node: NodeId,
    /// How many shards it has.
    pub shards: u16,
    /// What it understands: [`VERSION`].
    pub version: u32,
    /// Names the key that datagrams are authenticated with.
    pub key: u32,
    /// What all nodes should have alike.
    pub settings: Box<str>,
    /// Where other nodes reach it; empty: nowhere.
    pub address: Box<str>,
    /// How long the store keeps a lease that is not renewed: the same on all nodes.
    pub lease: u64,
    /// From one beat to the next.
    pub interval: u64,
    /// How long the store keeps the entries of nodes that are gone.
    pub keep: u64,
    /// The same on all nodes, and a secret: for [`rank`](super::rank). `None`: whoever needs a room claims it.
    pub rank_key: Option<u64>,
}

impl NodeSettings {
    /// The usual times.
    pub fn new(node: NodeId, shards: u16) -> NodeSettings {
        NodeSettings {
            node,
            shards,
            version: VERSION,
            key: 0,
            settings: "".into(),
            address: "".into(),
            lease: 3_000,
            interval: 1_000,
            keep: 24 * 3_600_000,
            rank_key: None,
        }
    }

    /// Microseconds for which a beat lets the node act.
    pub(super) fn acts_for(&self) -> u64 {
        let lease = micros(self.lease);
        if mutated!("acts_for_a_whole_lease") {
            return lease;
        }
        lease / 3 * 2
    }
}
