//! A server that runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use crate::authorize::Authorize;
use crate::config::Shutdown;
use crate::engine::Engine;
use crate::http::Http;
use crate::mailbox::Mailboxes;
use crate::metrics::Registry;
use crate::shard::Order;
use crate::snapshot::Snapshots;
use crate::webhooks::Webhooks;

/// What a running server's owner waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The process was sent this signal.
    Signal(&'static str),
    /// Somebody asked over the API for its end, with the key of this name.
    Asked(String),
    /// A shard has ended because it was told to.
    ShardEnded,
    /// A shard has panicked.
    ShardFailed,
}

/// A server that runs. When it is dropped, it ends at once, without a word to its clients.
#[derive(Debug)]
pub struct RunningServer {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) most_connections: usize,
    pub(crate) http: Option<Http>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) mailboxes: Arc<Mailboxes>,
    pub(crate) webhooks: Option<Webhooks>,
    /// Runs for as long as this is here.
    pub(crate) _authorize: Option<Authorize>,
    pub(crate) engine: Option<Engine>,
    pub(crate) snapshots: Option<Snapshots>,
    pub(crate) threads: Vec<JoinHandle<()>>,
    pub(crate) events: Receiver<Event>,
    pub(crate) settings: Shutdown,
}

impl RunningServer {
    /// Connections that it takes: what the settings allow, or the file descriptors where that is less. 0: any number.
    pub fn most_connections(&self) -> usize {
        self.most_connections
    }

    /// Where it listens, with the ports that the system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// What `/metrics` answers.
    pub fn metrics(&self) -> String {
        self.registry.render()
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.mailboxes.connections()
    }

    pub(crate) fn shards(&self) -> usize {
        self.threads.len()
    }

    pub(crate) fn order(&self, order: impl Fn() -> Order) {
        self.mailboxes
            .iter()
            .for_each(|mailbox| mailbox.order(order()));
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Some(http) = self.http.take() {
            http.stop();
        }
        self.order(|| Order::Stop);
        for thread in self.threads.drain(..) {
            // A panic was caught and reported.
            let _ = thread.join();
        }
    }
}
