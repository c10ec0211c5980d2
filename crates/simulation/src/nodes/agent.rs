//! A node: its agent, its clock, its shards, and what it was told.

use std::collections::BTreeSet;
use std::sync::Arc;

use roomcast_core::node::{ClusterView, NodeAgent, NodeSettings};
use roomcast_core::store::{Beat, HomeName, NodeId, StoreId, Ticket};
use roomcast_core::{NodeNumber, Now};

use super::world::{LEASE, SHARDS};

pub(super) struct Node {
    pub(super) agent: NodeAgent,
    pub(super) view: Arc<ClusterView>,
    /// Real microseconds times this, by a thousand, are the node's.
    rate: u64,
    offset: u64,
    /// Its process stands still until then: nothing is done, and the clock runs on.
    pub(super) stopped_until: u64,
    /// A shard that hangs until then.
    pub(super) hangs_until: u64,
    /// Shards that have turned since the last beat.
    turned: BTreeSet<u16>,
    /// Shards that have written their rooms, and where.
    pub(super) renewed: BTreeSet<(u16, StoreId)>,
    /// The first store that it met: there it had no rooms.
    pub(super) first_store: Option<StoreId>,
    /// Numbers that it gave to nodes, and to whose which.
    numbers: BTreeSet<(NodeNumber, NodeId)>,
}

impl Node {
    pub(super) fn new(id: NodeId, rate: u64, offset: u64) -> Node {
        let settings = NodeSettings::new(id, SHARDS);
        assert_eq!(settings.lease, LEASE);
        Node {
            agent: NodeAgent::new(settings),
            view: Arc::default(),
            rate,
            offset,
            stopped_until: 0,
            hangs_until: 0,
            turned: BTreeSet::new(),
            renewed: BTreeSet::new(),
            first_store: None,
            numbers: BTreeSet::new(),
        }
    }

    /// The node's time at this real one.
    pub(super) fn clock(&self, real: u64) -> Now {
        Now {
            micros: self.offset + real * self.rate / 1_000,
            unix_ms: 0,
        }
    }

    /// The real time at which the node's clock shows this.
    pub(super) fn real(&self, micros: u64) -> u64 {
        (micros.saturating_sub(self.offset) * 1_000).div_ceil(self.rate)
    }

    /// For whom it acts now, by its own clock.
    pub(super) fn acts(&self, real: u64) -> Option<HomeName> {
        self.view.acts(self.clock(real).micros)
    }

    /// A shard turns, and writes its rooms where it has not yet.
    pub(super) fn turn(&mut self, shard: u16, renews: bool) {
        self.agent.turned(shard);
        self.turned.insert(shard);
        if renews && self.view.own.is_some() {
            let store = self.view.store;
            self.agent.renewed(shard, store);
            self.renewed.insert((shard, store));
        }
    }

    /// The beat that it sends.
    pub(super) fn beat(&mut self, real: u64) -> Option<(Ticket, Beat)> {
        let now = self.clock(real);
        let (ticket, beat) = self.agent.poll_beat(now)?;
        assert_eq!(
            self.turned.len(),
            usize::from(SHARDS),
            "beats while a shard hangs"
        );
        self.turned.clear();
        if let Some(store) = beat.settled {
            assert_eq!(store, beat.store);
            let written = (0..SHARDS).all(|shard| self.renewed.contains(&(shard, store)));
            let new = self.first_store.is_none_or(|first| first == store);
            assert!(written || new, "says settled before its rooms are written");
        }
        Some((ticket, beat))
    }

    /// Takes the newest view. Whether there was one.
    pub(super) fn look(&mut self) -> bool {
        let Some(view) = self.agent.poll_view() else {
            return false;
        };
        if let Some(own) = view.own {
            self.first_store.get_or_insert(view.store);
            assert!(own.links <= own.home.lease);
        }
        let sorted = view.living.is_sorted_by_key(|node| node.home.node);
        assert!(sorted, "found by its id");
        for node in &view.living {
            let number = (node.number, node.home.node);
            if self.numbers.insert(number) {
                let used = self.numbers.iter().filter(|(it, _)| *it == node.number);
                assert_eq!(used.count(), 1, "a number is used again");
            }
        }
        self.view = view;
        true
    }

    /// How many numbers it gave to nodes that had one already.
    pub(super) fn renumbered(&self) -> u64 {
        let nodes: BTreeSet<_> = self.numbers.iter().map(|(_, node)| node).collect();
        (self.numbers.len() - nodes.len()) as u64
    }
}
