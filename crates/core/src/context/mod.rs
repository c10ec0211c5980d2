//! What the two halves of a shard share: settings, the host, free lists, and the ways out.

mod buffers;
mod encode;
mod fault;
mod hold;
mod to_nodes;
mod ways_in;
mod ways_out;
mod withhold;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::address::{NodeNumber, ShardAddress};
use crate::chunk::ChunkPool;
use crate::direct::InboxMemory;
use crate::held::Sum;
use crate::host::Host;
use crate::id::NameHash;
use crate::kinds::Kinds;
use crate::letter::{Exclusion, Op, ShardMessage, ToEdge};
use crate::node::ClusterViews;
use crate::settings::Settings;
use crate::spare::SpareBuffers;
use crate::stats::Stats;
use buffers::{SPARE_EXCLUSIONS, SPARE_PAYLOADS, SPARE_QUEUES};
pub(crate) use fault::Fault;
use hold::Holding;
pub(crate) use hold::Said;
pub use to_nodes::ForNode;
use to_nodes::ToNodes;

pub(crate) struct Context<H> {
    /// This shard.
    pub(crate) own: ShardAddress,
    /// How many shards this node has.
    pub(crate) count: u16,
    pub(crate) settings: Arc<Settings>,
    pub(crate) kinds: Arc<Kinds>,
    /// The cluster as this node knows it: nothing of it where there is no store.
    pub(crate) cluster: ClusterViews,
    /// Nodes that live and claim no room any more.
    pub(crate) ending: BTreeSet<NodeNumber>,
    pub(crate) names: NameHash,
    pub(crate) host: H,
    pub(crate) pool: ChunkPool,
    pub(crate) stats: Stats,
    /// One encoded message, before it becomes a frame.
    scratch: Vec<u8>,
    spare_payloads: SpareBuffers<u8>,
    pub(crate) spare_exclusions: SpareBuffers<Exclusion>,
    spare_queues: SpareBuffers<Op>,
    /// Microseconds at which what was kept for reuse and not used is freed.
    trim_at: u64,
    /// Operations for rooms at home here.
    pub(crate) local_ops: Vec<Op>,
    /// Deliveries and answers for connections here.
    pub(crate) local_edge: Vec<ToEdge>,
    holding: Holding,
    /// Operations that a living node is too old for.
    withheld: Vec<Op>,
    outboxes: Vec<Vec<ShardMessage>>,
    /// Bytes of deliveries on their way to each shard of this node.
    in_transit: Vec<usize>,
    /// Letters for other nodes, by shard.
    to_nodes: ToNodes,
    /// What goes before that.
    to_gateways: ToNodes,
    /// Bytes of deliveries on their way to shards of other nodes.
    in_transit_to_nodes: BTreeMap<ShardAddress, usize>,
    /// What inboxes take.
    pub(crate) inbox_memory: Arc<InboxMemory>,
    /// What the application's rules of all rooms take.
    pub(crate) rules: Sum,
}

impl<H: Host> Context<H> {
    pub(crate) fn new(
        (index, count): (u16, u16),
        settings: Arc<Settings>,
        kinds: Arc<Kinds>,
        names: NameHash,
        host: H,
    ) -> Context<H> {
        Context {
            own: ShardAddress::own(index),
            count,
            settings,
            kinds,
            cluster: ClusterViews::default(),
            ending: BTreeSet::new(),
            names,
            host,
            pool: ChunkPool::new(),
            stats: Stats::default(),
            scratch: Vec::new(),
            spare_payloads: SpareBuffers::new(SPARE_PAYLOADS),
            spare_exclusions: SpareBuffers::new(SPARE_EXCLUSIONS),
            spare_queues: SpareBuffers::new(SPARE_QUEUES),
            trim_at: 0,
            local_ops: Vec::new(),
            local_edge: Vec::new(),
            holding: Holding::default(),
            withheld: Vec::new(),
            outboxes: (0..count).map(|_| Vec::new()).collect(),
            in_transit: vec![0; usize::from(count)],
            to_nodes: ToNodes::new(),
            to_gateways: ToNodes::new(),
            in_transit_to_nodes: BTreeMap::new(),
            inbox_memory: Arc::default(),
            rules: Sum::default(),
        }
    }
}
