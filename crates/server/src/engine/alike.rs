//! Whether the other servers have the same secret and the same settings. The log is told once of each that has not.

use std::collections::BTreeSet;

use roomcast_core::node::{ClusterView, different_settings};
use roomcast_core::store::NodeId;
use tracing::{error, warn};

use super::told::name;

/// What was seen of others.
#[derive(Debug)]
pub(super) struct Alike {
    own: String,
    strangers: BTreeSet<NodeId>,
    differing: BTreeSet<NodeId>,
}

impl Alike {
    /// `own`: what this server says of its settings.
    pub(super) fn new(own: String) -> Alike {
        Alike {
            own,
            strangers: BTreeSet::new(),
            differing: BTreeSet::new(),
        }
    }

    /// Other living servers with another secret or other settings.
    pub(super) fn differing(&self) -> usize {
        self.strangers.len() + self.differing.len()
    }

    /// The cluster is like this. Whether this server is home of nothing because of that.
    pub(super) fn look(&mut self, view: &ClusterView) -> bool {
        let strangers: BTreeSet<_> = view.strangers.iter().copied().collect();
        let refused = view.own.is_none() && !strangers.is_empty();
        for node in strangers.difference(&self.strangers) {
            let node = name(*node);
            match refused {
                true => error!(
                    node,
                    "another server at this Redis has another session.secret, and was here first: this one opens no rooms. Give all the same session.secret, or this one another redis.prefix"
                ),
                false => error!(
                    node,
                    "a server with another session.secret has come to this Redis: it can't talk to this one, and opens no rooms. Give all the same session.secret, or that one another redis.prefix"
                ),
            }
        }
        self.strangers = strangers;
        let mut differing = BTreeSet::new();
        for other in &view.living {
            let different = different_settings(&self.own, &other.settings);
            if different.is_empty() {
                continue;
            }
            let node = other.home.node;
            differing.insert(node);
            if !self.differing.contains(&node) {
                let (node, different) = (name(node), different.join(", "));
                warn!(
                    node,
                    different,
                    "another server has other settings: what a room does depends on which of them is its home"
                );
            }
        }
        self.differing = differing;
        refused
    }
}
