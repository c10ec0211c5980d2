//! Letters that have no room in their link yet.
//!
//! Who sends them is bounded by itself: deliveries by credits, operations by windows. What is kept here is what the
//! windows of all connections and rooms come to beyond a link's own window.

use std::collections::{BTreeMap, VecDeque};

use crate::address::NodeNumber;
use crate::post::Letter;

/// Bytes for one node. A node that lives and takes so little that this is not enough can't keep up.
pub(super) const MOST_WAITING: usize = 256 << 20;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    nodes: BTreeMap<NodeNumber, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    letters: VecDeque<Letter>,
    bytes: usize,
}

impl Waiting {
    /// Whether something waits for a node: what follows waits behind it.
    pub(super) fn is_for(&self, node: NodeNumber) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Takes a letter in. `false`: there is no room for it.
    pub(super) fn push(&mut self, node: NodeNumber, letter: Letter) -> bool {
        let queue = self.nodes.entry(node).or_default();
        let bytes = queue.bytes + letter.bytes.len();
        if bytes > MOST_WAITING {
            return false;
        }
        queue.bytes = bytes;
        queue.letters.push_back(letter);
        true
    }

    /// The next one.
    pub(super) fn pop(&mut self, node: NodeNumber) -> Option<Letter> {
        let queue = self.nodes.get_mut(&node)?;
        let letter = queue.letters.pop_front();
        match &letter {
            Some(letter) => queue.bytes -= letter.bytes.len(),
            None => drop(self.nodes.remove(&node)),
        }
        letter
    }

    /// The one that was popped last has no room.
    pub(super) fn put_back(&mut self, node: NodeNumber, letter: Letter) {
        let queue = self.nodes.entry(node).or_default();
        queue.bytes += letter.bytes.len();
        queue.letters.push_front(letter);
    }

    /// Drops what waits for a node, and says how many those are.
    pub(super) fn drop_all(&mut self, node: NodeNumber) -> u64 {
        let queue = self.nodes.remove(&node);
        queue.map_or(0, |queue| queue.letters.len() as u64)
    }

    /// Bytes of all.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.values().map(|queue| queue.bytes).sum()
    }
}
