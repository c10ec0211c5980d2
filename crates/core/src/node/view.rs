//! What a node's shards know of the cluster.

use super::rank::first;
use crate::address::NodeNumber;
use crate::store::{HomeName, NodeId, StoreId, Taken};
use crate::wire::VERSION;
use crate::wire::session::PackedSession;

/// The cluster as a node knows it. It is made anew when something changes; who has one keeps it as long as it likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// This node, while it has a lease. `None`: it is home of nothing.
    pub own: Option<Own>,
    /// The store at which the lease was begun. Where it is another than before, rooms are written there.
    pub store: StoreId,
    /// Whether rooms may be claimed that are of another store or have no record, and pending ones appended to: no living
    /// node can have a newer copy that it has yet to write.
    pub settled: bool,
    /// The other living nodes, by their ids.
    pub living: Vec<LivingNode>,
    /// Leases of nodes that are gone: their entries are older than a lease by the store's clock.
    pub dead: Vec<HomeName>,
    /// Nodes that live and have another key: nothing goes to them or comes from them, and they are not among the living.
    pub strangers: Vec<NodeId>,
    /// Microseconds at which the store was asked for all that.
    pub asked_at: u64,
    /// The oldest version that a living node has, this one among them: what a newer one brought is not said.
    pub version: u32,
    /// The same on all nodes, for [`rank`](super::rank); `None`: whoever needs a room claims it.
    pub rank_key: Option<u64>,
}

/// A node's own lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// What its rooms name as their home.
    pub home: HomeName,
    /// Rises when the lease was lost, and with it all links. A lease that is begun at another store keeps them.
    pub links: u64,
    /// Microseconds from which on the node may not act, by its own clock.
    pub until: u64,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivingNode {
    /// Its number here: another one after each loss of the link to it.
    pub number: NodeNumber,
    /// The node and its lease.
    pub home: HomeName,
    /// How many shards it has.
    pub shards: u16,
    /// What it understands: see [`VERSION`].
    pub version: u32,
    /// What it says of its settings.
    pub settings: Box<str>,
    /// Where it can be reached; empty: nowhere.
    pub address: Box<str>,
}

/// Of a node that knows of no other one.
impl Default for ClusterView {
    fn default() -> ClusterView {
        ClusterView {
            own: None,
            store: StoreId::default(),
            settled: false,
            living: Vec::new(),
            dead: Vec::new(),
            strangers: Vec::new(),
            asked_at: 0,
            version: VERSION,
            rank_key: None,
        }
    }
}

impl ClusterView {
    /// Who this node is, where it may act at this moment of its clock.
    pub fn acts(&self, micros: u64) -> Option<HomeName> {
        let own = self.own.filter(|own| micros < own.until);
        own.map(|own| own.home)
    }

    /// Another node that lives.
    pub fn node(&self, node: NodeId) -> Option<&LivingNode> {
        let at = self.living.binary_search_by_key(&node, |it| it.home.node);
        at.ok().and_then(|at| self.living.get(at))
    }

    /// The same, by its number.
    pub fn numbered(&self, number: NodeNumber) -> Option<&LivingNode> {
        self.living.iter().find(|node| node.number == number)
    }

    /// Whether a room may be claimed over this home, which a record named at `named_at` (microseconds).
    ///
    /// A home that was seen to be gone is gone for good. One that has no entry at all has begun since, or is gone for
    /// long: only a later look can tell.
    pub fn is_dead(&self, home: HomeName, named_at: u64) -> bool {
        let lives = self.node(home.node).is_some();
        let looked_since = self.asked_at > named_at;
        !lives && (self.dead.contains(&home) || looked_since)
    }

    /// Whether no living node can have a session as it is later than the store says: what another store had, or nothing, is
    /// the newest once all nodes have written what they have.
    pub(crate) fn is_newest(&self, taken: &Taken) -> bool {
        match taken {
            Taken::Nothing { store, .. } => self.settled && *store == self.store,
            Taken::Other(record) => {
                let is_of_it = |it: PackedSession| it.is_of(self.store);
                self.settled || PackedSession::read(&record.value).is_ok_and(is_of_it)
            }
            Taken::Taken(_) => true,
        }
    }

    /// The node that claims a room that nobody has, where that is another one than this. `claims`: whether one does.
    pub fn first_elsewhere(
        &self,
        room: &str,
        claims: impl Fn(NodeNumber) -> bool,
    ) -> Option<&LivingNode> {
        let key = self.rank_key?;
        let own = self.own?.home.node;
        let others = self.living.iter().filter(|node| claims(node.number));
        let others = others.map(|node| node.home.node);
        self.node(first(key, room, others.chain([own]))?)
    }
}
