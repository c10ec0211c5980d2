//! What the log is told of the cluster: who comes and goes, and which Redis it is.

use std::collections::BTreeSet;

use roomcast_core::node::ClusterView;
use roomcast_core::store::{NodeId, StoreId};
use tracing::{info, warn};

/// What the log was told last.
#[derive(Debug)]
pub(super) struct Told {
    own: NodeId,
    leased: bool,
    living: BTreeSet<NodeId>,
    store: StoreId,
    settled: bool,
}

impl Told {
    /// Nothing yet.
    pub(super) fn new(own: NodeId) -> Told {
        Told {
            own,
            leased: false,
            living: BTreeSet::new(),
            store: StoreId::default(),
            settled: false,
        }
    }

    /// The cluster is like this.
    pub(super) fn view(&mut self, view: &ClusterView) {
        let leased = view.own.is_some();
        if leased && view.store != self.store {
            let first = self.store == StoreId::default();
            self.store = view.store;
            self.settled = false;
            let store = format!("{:032x}", view.store.0);
            match first {
                true => info!(node = name(self.own), store, "this server lives at Redis"),
                false => warn!(store, "this is another Redis than before"),
            }
        }
        if self.leased && !leased {
            warn!("this server has no lease any more: it is no room's home until it has another");
        }
        self.leased = leased;
        if leased && view.settled != self.settled {
            self.settled = view.settled;
            if view.settled {
                info!("rooms can be opened");
            }
        }
        // Without a lease nobody is known to live.
        if !leased {
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
fn name(node: NodeId) -> String {
    format!("{:016x}", node.0)
}
