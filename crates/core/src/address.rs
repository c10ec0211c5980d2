//! Where something is at home or lives: a shard, and the node that it is one of.

use std::fmt;

/// A node, as this process numbers the nodes that it meets. No number is used again while the process lives, so that
/// what was meant for a node that is gone reaches no other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeNumber(u32);

impl NodeNumber {
    /// This process.
    pub const OWN: NodeNumber = NodeNumber(0);
    /// No node.
    pub(crate) const NONE: NodeNumber = NodeNumber(u32::MAX);

    /// Another node: of those that this process has met, the first, the second, … `count` is at least 1.
    pub const fn met(count: u32) -> NodeNumber {
        NodeNumber(count)
    }
}

impl fmt::Debug for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// A shard of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardAddress {
    node: NodeNumber,
    shard: u16,
}

impl ShardAddress {
    /// Nobody's.
    pub(crate) const NONE: ShardAddress = ShardAddress {
        node: NodeNumber::NONE,
        shard: u16::MAX,
    };

    /// A shard of a node, by its number there from 0.
    pub const fn new(node: NodeNumber, shard: u16) -> ShardAddress {
        ShardAddress { node, shard }
    }

    /// A shard of this process, by its number from 0.
    pub const fn own(shard: u16) -> ShardAddress {
        ShardAddress {
            node: NodeNumber::OWN,
            shard,
        }
    }

    /// The node.
    pub const fn node(self) -> NodeNumber {
        self.node
    }

    /// The shard's number on its node, from 0.
    pub const fn shard(self) -> u16 {
        self.shard
    }

    /// Whether it is a shard of this process.
    pub fn is_own(self) -> bool {
        self.node == NodeNumber::OWN
    }
}

impl fmt::Debug for ShardAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_own() {
            write!(f, "shard {}", self.shard)
        } else {
            write!(f, "shard {} of {:?}", self.shard, self.node)
        }
    }
}
