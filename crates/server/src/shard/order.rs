//! What a shard is told to do, and what it counted.

use std::sync::mpsc;

use roomcast_core::authorize::Decision;
use roomcast_core::backend::Taken;
use roomcast_core::node::ClusterViews;
use roomcast_core::{Histogram, NodeNumber, QuestionFrom, ShardAddress, Stats};
use roomcast_protocol::CloseCode;

use super::host::CompressionStats;

/// What a shard is told from outside.
#[derive(Debug)]
pub(crate) enum Order {
    /// Send a copy of what was counted.
    Report(mpsc::Sender<Report>),
    /// Claim no room any more, and ask every client to come back, each after a delay of its own of up to `spread_ms`.
    AskToReconnect {
        /// Milliseconds.
        spread_ms: u64,
        /// Told when nothing waits for any connection any more.
        flushed: mpsc::Sender<()>,
    },
    /// The node is cut off: ask every client to come back elsewhere, and close its connection.
    SendAway,
    /// Tell the node that this shard turns.
    Turn,
    /// The cluster is like this.
    View(ClusterViews),
    /// Nothing goes to this node any more.
    Forget(NodeNumber),
    /// What was under way to this node, or from it, is lost.
    Lost(NodeNumber),
    /// Letters from a shard of another node.
    FromNode {
        /// Who sent them.
        from: ShardAddress,
        /// As they were written.
        letters: Box<[u8]>,
    },
    /// What became of a batch that another node has handed over.
    BatchTaken {
        /// Who has handed it over.
        from: QuestionFrom,
        /// What became of it.
        taken: Taken,
    },
    /// Take no newcomers, close every connection with this code once its lanes are flushed, and then end.
    Close(CloseCode),
    /// The same, but don't end: say so when the last connection is gone.
    Empty {
        /// Of the close frame.
        code: CloseCode,
        /// Told then.
        emptied: mpsc::Sender<()>,
    },
    /// Give all rooms up to other nodes, and end once the store has all that was here.
    GiveUp,
    /// A backend has decided.
    Decided {
        /// What it was asked.
        number: u32,
        /// What it says.
        decision: Decision,
    },
    /// End now.
    Stop,
}

/// What a shard counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) shard: u16,
    pub(crate) core: Stats,
    pub(crate) io: IoStats,
    pub(crate) compression: CompressionStats,
    pub(crate) connections: usize,
    /// Bytes on their way from here to other shards.
    pub(crate) link_bytes: usize,
    /// Rooms at home here, and rooms that connections here are in.
    pub(crate) rooms: (usize, usize),
}

/// What the event loop itself counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct IoStats {
    /// Connections that came from the HTTP side.
    pub(crate) opened: u64,
    /// Calls of `read`.
    pub(crate) reads: u64,
    pub(crate) bytes_read: u64,
    /// Calls of `write` and `writev`.
    pub(crate) writes: u64,
    pub(crate) bytes_written: u64,
    /// Microseconds from a turn's begin to its end, without the sleep before it.
    pub(crate) turns: Histogram,
}
