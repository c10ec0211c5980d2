//! A shard: one thread with an event loop of its own, which owns its connections, and the rooms at home on it.
//!
//! A turn reads what is ready, runs the rooms, and at its end writes to each connection that has something, once. What
//! happens to many connections in one turn, happens to each of them in one system call: that decides the throughput.

mod host;
mod notices;
mod socket;
mod syscall;
mod worker;
mod world;

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use roomcast_core::engine::Engine;
use roomcast_core::settings::Settings;
use roomcast_core::{Histogram, Kinds, Stats};
use roomcast_protocol::CloseCode;

use crate::auth::Authority;
use crate::clock::Clock;
use crate::config::Batcher;
use crate::mailbox::{Mailbox, Mailboxes};
use worker::Worker;

pub(crate) use host::CompressionStats;
pub(crate) use socket::Moved;
pub(crate) use worker::WAKER;

/// What a shard is told from outside.
#[derive(Debug)]
pub(crate) enum Order {
    /// Send a copy of what was counted.
    Report(mpsc::Sender<Report>),
    /// Ask every client to come back, each after a delay of its own of up to `spread_ms`.
    AskToReconnect {
        /// Milliseconds.
        spread_ms: u64,
        /// Told when nothing waits for any connection any more.
        flushed: mpsc::Sender<()>,
    },
    /// Take no newcomers, close every connection with this code once its lanes are flushed, and then end.
    Close(CloseCode),
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

/// What all shards of a node share.
pub(crate) struct Node {
    pub(crate) settings: Arc<Settings>,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) batcher: Batcher,
    pub(crate) hash_key: [u64; 2],
    pub(crate) clock: Clock,
    pub(crate) authority: Option<Arc<Authority>>,
    pub(crate) mailboxes: Arc<Mailboxes>,
}

/// Starts a shard's thread. `ended` is called on it when it ends: with `false` if it panicked.
///
/// # Errors
/// The thread, or the shard's random numbers, could not be had.
pub(crate) fn spawn<E: Engine + Send + 'static>(
    index: u16,
    poll: mio::Poll,
    mailbox: &Arc<Mailbox>,
    node: &Arc<Node>,
    engine: E,
    ended: impl FnOnce(bool) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let host = host::ShardHost::new(node.clock, node.authority.clone())?;
    let node = Arc::clone(node);
    let mailbox = Arc::clone(mailbox);
    let run = move || {
        let worker = move || Worker::new(index, poll, mailbox, node, host, engine).run();
        // A shard that panicked leaves its rooms without a home: the process has to end, and says so.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(worker));
        ended(result.is_ok());
    };
    std::thread::Builder::new()
        .name(format!("roomcast-shard-{index}"))
        .spawn(run)
}
