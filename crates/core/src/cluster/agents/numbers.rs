//! The numbers of other nodes, for all stores together: links are between nodes.

use std::collections::BTreeMap;

use crate::address::NodeNumber;
use crate::node::ClusterView;
use crate::store::NodeId;

/// A node has one number while it lives at any of the stores, and the link to it is not lost.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    nodes: BTreeMap<NodeId, Numbered>,
    /// Numbers that were given.
    given: u32,
}

#[derive(Debug)]
struct Numbered {
    number: NodeNumber,
    /// By agent: its number there.
    locals: Vec<(u32, NodeNumber)>,
}

impl Numbers {
    /// Takes in who lives, as each agent says it. Whether a node has another number than before, or is new.
    pub(super) fn take<'a>(
        &mut self,
        views: impl IntoIterator<Item = (u32, &'a ClusterView)>,
    ) -> bool {
        let mut living: BTreeMap<NodeId, Vec<(u32, NodeNumber)>> = BTreeMap::new();
        for (agent, view) in views {
            for node in &view.living {
                let locals = living.entry(node.home.node).or_default();
                locals.push((agent, node.number));
            }
        }
        self.nodes.retain(|node, _| living.contains_key(node));
        let mut changed = false;
        for (node, locals) in living {
            let before = self.nodes.get(&node);
            // At one store it may have been gone for a while. Only who was gone everywhere has lost its links.
            let kept = before.filter(|it| it.locals.iter().any(|local| locals.contains(local)));
            let number = kept.map(|it| it.number);
            changed |= number.is_none();
            let number = number.unwrap_or_else(|| {
                self.given += 1;
                NodeNumber::met(self.given)
            });
            self.nodes.insert(node, Numbered { number, locals });
        }
        changed
    }

    /// The number of a node that lives.
    pub(super) fn of(&self, node: NodeId) -> NodeNumber {
        let numbered = self.nodes.get(&node);
        numbered.map_or(NodeNumber::NONE, |it| it.number)
    }

    /// What each agent calls the node of a number.
    pub(super) fn locals(&self, number: NodeNumber) -> Vec<(u32, NodeNumber)> {
        let numbered = self.nodes.values().find(|it| it.number == number);
        numbered.map_or(Vec::new(), |it| it.locals.clone())
    }
}
