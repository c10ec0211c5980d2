//! Who is gone. What a server had taken upon itself in Redis is the others' from then on, and they need not look before.

use std::collections::BTreeSet;

use roomcast_core::node::ClusterViews;
use roomcast_core::store::{HomeName, StoreId};
use tokio::sync::watch;

/// Finds out who is gone.
#[derive(Debug)]
pub(super) struct Departures {
    /// Leases that there were, this server's own among them, each at its store.
    leases: BTreeSet<(StoreId, HomeName)>,
    count: watch::Sender<u64>,
}

/// Tells of it.
#[derive(Clone, Debug)]
pub(crate) struct Departed(watch::Receiver<u64>);

impl Departures {
    pub(super) fn new() -> (Departures, Departed) {
        let count = watch::Sender::new(0);
        let departed = Departed(count.subscribe());
        let leases = BTreeSet::new();
        (Departures { leases, count }, departed)
    }

    /// The cluster is like this. A store that takes the place of another one is a departure of all: it may have older data.
    pub(super) fn look(&mut self, views: &ClusterViews) {
        let mut leases = BTreeSet::new();
        // Without a lease nobody is known to live.
        for view in views.stores() {
            let Some(own) = view.own else { continue };
            let living = view.living.iter().map(|it| it.home);
            leases.extend(living.chain([own.home]).map(|home| (view.store, home)));
        }
        if !self.leases.is_subset(&leases) {
            self.count.send_modify(|count| *count += 1);
        }
        self.leases = leases;
    }
}

impl Departed {
    /// Waits until a lease has ended since the last call: some server's, at some Redis. It may be given up at any await.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The engine has ended.
            std::future::pending().await
        }
    }
}
