//! Who lives, by what the store answered, and which number each node has here.

use std::collections::BTreeMap;

use super::view::LivingNode;
use roomcast_protocol::mutated;

use crate::address::NodeNumber;
use crate::store::{Beaten, HomeName, NodeEntry, NodeId, StoreId};

/// What is known of the other nodes.
#[derive(Debug, Default)]
pub(super) struct Known {
    living: BTreeMap<NodeId, Living>,
    dead: Vec<HomeName>,
    strangers: Vec<NodeId>,
    /// Whether all that live, the own node too, say that they have settled, by store.
    settled: Option<StoreId>,
    /// Nodes that were met.
    met: u32,
    /// When the beat was sent whose answer is known.
    asked_at: u64,
}

#[derive(Debug)]
struct Living {
    node: LivingNode,
    /// It has an entry at the store that there is now.
    is_here: bool,
}

impl Known {
    /// When the store was asked.
    pub(super) fn asked_at(&self) -> u64 {
        self.asked_at
    }

    /// This is another store: who lived may have to come here yet.
    pub(super) fn meet(&mut self) {
        for living in self.living.values_mut() {
            living.is_here = false;
        }
        self.dead.clear();
        self.settled = None;
    }

    /// These live, and may have to come to this store yet.
    pub(super) fn expect(&mut self, living: &[LivingNode]) {
        for node in living {
            let node = LivingNode {
                number: next(&mut self.met),
                ..node.clone()
            };
            let is_here = false;
            self.living.insert(node.home.node, Living { node, is_here });
        }
    }

    /// All links are lost.
    pub(super) fn forget(&mut self) {
        self.living.clear();
        self.dead.clear();
        self.settled = None;
    }

    /// Gives the node of this number another one. `false`: there is none.
    pub(super) fn renumber(&mut self, number: NodeNumber) -> bool {
        let mut living = self.living.values_mut();
        let Some(living) = living.find(|it| it.node.number == number) else {
            return false;
        };
        living.node.number = next(&mut self.met);
        true
    }

    /// Takes an answer in. `others_may_come`: who lived at the store before counts until it has come to this one.
    pub(super) fn learn(
        &mut self,
        asked_at: u64,
        (own, key): (NodeId, u32),
        lease_ms: u64,
        beaten: &Beaten,
        others_may_come: bool,
    ) {
        self.asked_at = asked_at;
        // As the store says it of its own lease.
        let lease_ms = if mutated!("dead_is_seen_too_early") {
            lease_ms / 6
        } else {
            lease_ms
        };
        let has_ended = |entry: &NodeEntry| entry.shards == 0;
        // One of the future was written before the store's clock was set back.
        let is_young =
            |entry: &NodeEntry| !has_ended(entry) && beaten.now.abs_diff(entry.beat) < lease_ms;
        let strangers = beaten.nodes.iter().filter(|it| it.key != key);
        let strangers = strangers.filter(|entry| is_young(entry));
        self.strangers = strangers.map(|entry| entry.home.node).collect();
        let known = || beaten.nodes.iter().filter(|entry| entry.key == key);
        let young = || known().filter(|entry| is_young(entry));
        let others = || young().filter(|entry| entry.home.node != own);
        self.living.retain(|node, living| {
            let here = others().any(|entry| entry.home.node == *node);
            let mut entries = known();
            let ended = entries.any(|it| it.home.node == *node && has_ended(it));
            here || others_may_come && !living.is_here && !ended
        });
        for entry in others() {
            self.lives(entry);
        }
        let gone = known().filter(|entry| !is_young(entry));
        let gone = gone.map(|entry| entry.home);
        let gone = gone.filter(|home| home.node != own && !self.living.contains_key(&home.node));
        self.dead = gone.collect();
        let own_entry = young().find(|entry| entry.home.node == own);
        let settled = own_entry.and_then(|entry| entry.settled);
        self.settled = settled.filter(|store| young().all(|it| it.settled == Some(*store)));
    }

    fn lives(&mut self, entry: &NodeEntry) {
        let met = &mut self.met;
        let living = (self.living.entry(entry.home.node)).or_insert_with(|| Living {
            node: LivingNode {
                number: next(met),
                home: entry.home,
                shards: entry.shards,
                version: entry.version,
                settings: entry.settings.clone(),
                address: entry.address.clone(),
            },
            is_here: true,
        });
        let node = &mut living.node;
        // At the next store every node begins another lease: this entry is of before, and the store has come back with it.
        if !living.is_here && node.home == entry.home {
            return;
        }
        // At one store only a node that was gone begins another lease. At the next store every node does.
        if living.is_here && node.home != entry.home {
            node.number = next(met);
        }
        living.is_here = true;
        node.home = entry.home;
        node.shards = entry.shards;
        node.version = entry.version;
        if node.settings != entry.settings {
            node.settings = entry.settings.clone();
        }
        if node.address != entry.address {
            node.address = entry.address.clone();
        }
    }

    /// The other nodes that live, by their ids.
    pub(super) fn living(&self) -> Vec<LivingNode> {
        self.living.values().map(|it| it.node.clone()).collect()
    }

    /// Nodes that live and have another key.
    pub(super) fn strangers(&self) -> Vec<NodeId> {
        self.strangers.clone()
    }

    /// Leases that are over.
    pub(super) fn dead(&self) -> Vec<HomeName> {
        self.dead.clone()
    }

    /// Whether all that live, the own node too, say that they have settled at this store.
    pub(super) fn all_settled(&self, store: StoreId) -> bool {
        self.settled == Some(store)
    }
}

fn next(met: &mut u32) -> NodeNumber {
    *met += 1;
    NodeNumber::met(*met)
}
