//! A shard: one thread with an event loop of its own, which owns its connections, and the rooms at home on it.
//!
//! A turn reads what is ready, runs the rooms, and at its end writes to each connection that has something, once. What
//! happens to many connections in one turn, happens to each of them in one system call: that decides the throughput.

pub(crate) mod event_stream;
mod host;
mod notices;
pub(crate) mod order;
pub(crate) mod socket;
mod syscall;
mod tls;
mod worker;
mod world;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use roomcast_core::Kinds;
use roomcast_core::settings::Settings;
use roomcast_core::store::Store;

use crate::auth::Authority;
use crate::authorize::Asker;
use crate::clock::Clock;
use crate::config::Batcher;
use crate::engine::Desk;
use crate::mailbox::{Mailbox, Mailboxes};
use crate::spans::Tracer;
use crate::streams::Streams;
use crate::webhooks::Intake;
use worker::Worker;

pub(crate) use order::{Order, Report};
pub(crate) use worker::WAKER;

/// What all shards of a node share.
pub(crate) struct Node {
    /// What it is called, where somebody looks at nodes.
    pub(crate) name: String,
    pub(crate) settings: Arc<Settings>,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) batcher: Batcher,
    pub(crate) hash_key: [u64; 2],
    pub(crate) clock: Clock,
    /// Where steps of messages that are traced go.
    pub(crate) tracer: Option<Tracer>,
    pub(crate) authority: Option<Arc<Authority>>,
    pub(crate) mailboxes: Arc<Mailboxes>,
    /// Where facts are left for backends, if somebody is told.
    pub(crate) intake: Option<Arc<Intake>>,
    /// Where backends are asked, if one decides anything.
    pub(crate) asker: Option<Arc<Asker>>,
    pub(crate) streams: Arc<Streams>,
    /// Where the node's task is told things, if there are other nodes.
    pub(crate) desk: Option<Desk>,
}

/// Starts a shard's thread. `ended` is called on it when it ends: with `false` if it panicked.
///
/// # Errors
/// The thread, or the shard's random numbers, could not be had.
pub(crate) fn spawn<S: Store + Send + 'static>(
    index: u16,
    poll: mio::Poll,
    mailbox: &Arc<Mailbox>,
    node: &Arc<Node>,
    store: S,
    ended: impl FnOnce(bool) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut host = host::ShardHost::new(
        node.clock.clone(),
        node.authority.clone(),
        node.tracer.clone().map(|tracer| (tracer, index)),
    )?;
    host.intake = node.intake.clone();
    host.asker = node.asker.clone().map(|asker| (asker, index));
    let node = Arc::clone(node);
    let mailbox = Arc::clone(mailbox);
    let run = move || {
        let worker = move || Worker::new(index, poll, mailbox, node, host, store).run();
        // A shard that panicked leaves its rooms without a home: the process has to end, and says so.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(worker));
        ended(result.is_ok());
    };
    std::thread::Builder::new()
        .name(format!("roomcast-shard-{index}"))
        .spawn(run)
}
