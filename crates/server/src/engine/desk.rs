//! What shards tell the node's task.

use roomcast_core::ForNode;
use roomcast_core::NodeNumber;
use roomcast_core::store::StoreId;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// From a shard to the node. What it sends is bounded where it comes from: an answer for each question, and letters by the
/// windows of rooms and connections.
#[derive(Debug)]
pub(crate) enum FromShard {
    /// It has turned, as it was asked to.
    Turned {
        shard: u16,
        /// The stores at which it has all its rooms.
        settled_at: Vec<StoreId>,
    },
    /// Letters for a shard of another node.
    Letters { from: u16, letters: ForNode },
    /// All that was left here before is to be with the other nodes; told then.
    Flush(std::sync::mpsc::Sender<()>),
    /// The server has nothing any more: its lease ends. Told when Redis knows.
    End(std::sync::mpsc::Sender<()>),
    /// What this node has sent can't be read.
    Unreadable(NodeNumber),
}

/// Where shards leave it.
#[derive(Clone, Debug)]
pub(crate) struct Desk(UnboundedSender<FromShard>);

impl Desk {
    /// The desk, and its other side.
    pub(super) fn new() -> (Desk, UnboundedReceiver<FromShard>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Desk(sender), receiver)
    }

    /// Leaves it there.
    pub(crate) fn tell(&self, said: FromShard) {
        // The node's task ends after the shards, or with the process.
        let _ = self.0.send(said);
    }
}
