//! Datagrams straight from node to node, where `cluster.listen` is set: connections of TCP, one in each direction.
//!
//! The post is reliable over anything, so a connection may end at any time: what it had is sent again. While there is none
//! to a node, its datagrams go over Redis. Only a node that has proven itself is heard ([`hello`]), and what it sends has a
//! MAC besides.

mod dial;
mod hello;
mod take;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use rand::TryRng as _;
use roomcast_core::node::ClusterView;
use roomcast_core::post::PeerKey;
use roomcast_core::store::NodeId;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// News that wait for the node's task. While there are more, no connection is read.
const MOST_NEWS: usize = 64;

/// What a connection tells the node's task.
#[derive(Debug)]
pub(super) enum PeerNews {
    /// A datagram has come.
    Datagram(Vec<u8>),
    /// The one to this node was written, or is lost.
    Taken(NodeId),
}

/// The connections of this node to others.
#[derive(Debug)]
pub(super) struct Peers {
    identity: Identity,
    listens: bool,
    ways: HashMap<NodeId, Way>,
    heard: Heard,
    news: mpsc::Receiver<PeerNews>,
    tell: mpsc::Sender<PeerNews>,
    _takes: Option<EndsWithIt>,
}

/// Nodes that have connected to this one, and whether the connection is still there.
type Heard = Arc<Mutex<HashMap<NodeId, bool>>>;

/// What a node proves itself with.
#[derive(Clone, Debug)]
struct Identity {
    node: NodeId,
    key: PeerKey,
}

/// The way to one node.
#[derive(Debug)]
struct Way {
    /// Where to put a datagram, while there is a connection.
    open: Arc<Mutex<Option<mpsc::Sender<Vec<u8>>>>>,
    _dials: EndsWithIt,
}

#[derive(Debug)]
struct EndsWithIt(AbortHandle);

impl Drop for EndsWithIt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Peers {
    /// Takes connections here, if anywhere. Call it within the runtime.
    ///
    /// # Errors
    /// The listener.
    pub(super) fn start(
        node: NodeId,
        key: PeerKey,
        listener: Option<TcpListener>,
    ) -> std::io::Result<Peers> {
        let (tell, news) = mpsc::channel(MOST_NEWS);
        let identity = Identity { node, key };
        let listens = listener.is_some();
        let heard = Heard::default();
        let takes = match listener {
            None => None,
            Some(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let takes = take::run(listener, identity.clone(), Arc::clone(&heard), tell.clone());
                Some(EndsWithIt(tokio::spawn(takes).abort_handle()))
            }
        };
        Ok(Peers {
            identity,
            listens,
            ways: HashMap::new(),
            heard,
            news,
            tell,
            _takes: takes,
        })
    }

    /// Connects to those who live and can be reached, and to nobody else. A node that does not listen dials nobody: it is
    /// not meant to.
    pub(super) fn meet(&mut self, view: &ClusterView) {
        if !self.listens {
            return;
        }
        let there = |node: NodeId| view.node(node).is_some_and(|it| !it.address.is_empty());
        self.ways.retain(|node, _| there(*node));
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|node, is_open| *is_open || there(*node));
        drop(heard);
        for node in view.living.iter().filter(|it| !it.address.is_empty()) {
            if let Entry::Vacant(entry) = self.ways.entry(node.home.node) {
                let open = Arc::default();
                let dials = dial::run(
                    node.home.node,
                    node.address.clone(),
                    self.identity.clone(),
                    Arc::clone(&open),
                    self.tell.clone(),
                );
                entry.insert(Way {
                    open,
                    _dials: EndsWithIt(tokio::spawn(dials).abort_handle()),
                });
            }
        }
    }

    /// Sends a datagram, and tells when it was taken. It is given back where there is no connection.
    pub(super) fn send(&self, to: NodeId, datagram: Vec<u8>) -> Result<(), Vec<u8>> {
        let Some(way) = self.ways.get(&to) else {
            return Err(datagram);
        };
        let open = way.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            None => Err(datagram),
            Some(open) => open.try_send(datagram).map_err(|it| it.into_inner()),
        }
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> PeerNews {
        match self.news.recv().await {
            Some(news) => news,
            // It has a sender itself.
            None => std::future::pending().await,
        }
    }

    /// What comes next, if it has come.
    pub(super) fn try_next(&mut self) -> Option<PeerNews> {
        self.news.try_recv().ok()
    }

    /// Nodes to which there is a connection.
    pub(super) fn connected(&self) -> usize {
        self.ways.values().filter(|way| way.is_open()).count()
    }

    /// Whether a node that is reached has given its connection to this one up. It does so only when Redis has told it that
    /// this one is dead: so Redis has answered there. A node that has lost Redis too keeps the connections that it has.
    pub(super) fn is_given_up(&self) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ways = self.ways.iter();
        ways.any(|(node, way)| heard.get(node) == Some(&false) && way.is_open())
    }
}

impl Way {
    fn is_open(&self) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.is_some()
    }
}

fn random() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let drawn = rand::rngs::SysRng.try_fill_bytes(&mut bytes);
    drawn.map_err(std::io::Error::other)?;
    Ok(bytes)
}
