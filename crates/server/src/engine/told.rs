//! What the log is told of the cluster: who comes and goes, and which Redis it is.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::node::{ClusterView, ClusterViews};
use roomcast_core::store::{NodeId, StoreId};
use tracing::{info, warn};

use crate::clock::{Heard, SET};

/// What the log was told last.
#[derive(Debug)]
pub(super) struct Told {
    own: NodeId,
    living: BTreeSet<NodeId>,
    /// By their places.
    stores: Vec<At>,
    /// Stores that were met, and whether rooms can be opened there.
    met: BTreeMap<StoreId, bool>,
    /// Redis's clock was set.
    set: bool,
}

/// Of one store.
#[derive(Clone, Copy, Debug, Default)]
struct At {
    leased: bool,
    store: StoreId,
}

impl Told {
    /// Nothing yet.
    pub(super) fn new(own: NodeId) -> Told {
        Told {
            own,
            living: BTreeSet::new(),
            stores: Vec::new(),
            met: BTreeMap::new(),
            set: false,
        }
    }

    /// Redis has said what time it is.
    pub(super) fn clock(&mut self, heard: Heard) {
        match heard {
            Heard::First(ahead) if ahead.unsigned_abs() > SET => warn!(
                seconds = ahead / 1_000,
                "Redis's clock is ahead of this machine's: with Redis, its clock counts"
            ),
            Heard::Set(ahead) if !self.set => warn!(
                seconds = ahead / 1_000,
                "Redis's clock was set: servers that start from now on date by it, this one does not before it is \
                 started again"
            ),
            _ => {}
        }
        self.set = matches!(heard, Heard::Set(_));
    }

    /// The cluster is like this.
    pub(super) fn views(&mut self, views: &ClusterViews) {
        let stores = views.stores();
        if stores.len() > 1 && self.stores.len() != stores.len() {
            info!(
                masters = stores.len(),
                "several Redis servers share the rooms"
            );
        }
        self.stores.resize(stores.len(), At::default());
        let there: BTreeSet<_> = stores.iter().map(|view| view.store).collect();
        for (at, view) in stores.iter().enumerate() {
            self.at(at, view, &there);
        }
        self.met.retain(|store, _| there.contains(store));
        self.nodes(views.nodes());
    }

    fn at(&mut self, at: usize, view: &ClusterView, there: &BTreeSet<StoreId>) {
        let Some(told) = self.stores.get_mut(at) else {
            return;
        };
        let leased = view.own.is_some();
        let store = format_args!("{:032x}", view.store.0).to_string();
        if leased && !self.met.contains_key(&view.store) {
            self.met.insert(view.store, false);
            let is_first = told.store == StoreId::default() || there.contains(&told.store);
            match is_first {
                true => info!(node = name(self.own), store, "this server lives at Redis"),
                false => warn!(store, "this is another Redis than before"),
            }
        }
        if told.leased && !leased {
            warn!(
                store,
                "this server has no lease any more: it is no room's home until it has another"
            );
        }
        *told = At {
            leased,
            store: view.store,
        };
        let settled = self.met.get_mut(&view.store).filter(|_| leased);
        if let Some(settled) = settled.filter(|settled| **settled != view.settled) {
            *settled = view.settled;
            if view.settled {
                info!(store, "rooms can be opened");
            }
        }
    }

    fn nodes(&mut self, view: &ClusterView) {
        // Without a lease nobody is known to live.
        if view.own.is_none() {
            return;
        }
        let living: BTreeSet<_> = view.living.iter().map(|it| it.home.node).collect();
        for node in living.difference(&self.living) {
            info!(node = name(*node), "another server has come");
        }
        for node in self.living.difference(&living) {
            info!(
                node = name(*node),
                "a server is gone: others take its rooms over"
            );
        }
        self.living = living;
    }
}

/// A server, for people.
pub(super) fn name(node: NodeId) -> String {
    format!("{:016x}", node.0)
}
