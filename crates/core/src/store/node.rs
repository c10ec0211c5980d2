//! The nodes in the store: who lives, as each node says it of itself.

use super::{HomeName, StoreId};

/// A node says that it lives, and reads who else does.
///
/// Its entry is renewed where it is of this lease and younger than a lease by the store's clock, or where a lease begins.
/// Else the lease is *gone*, and nothing is written. A beat that is repeated renews once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The store that it is meant for: at another one nothing is done ([`super::Cause::OtherStore`]).
    pub store: StoreId,
    /// The node, and the number of its lease.
    pub home: HomeName,
    /// No beat of this lease has been answered yet at this store: the entry is made.
    pub begins: bool,
    /// Milliseconds for which an entry counts.
    pub lease_ms: u64,
    /// Milliseconds for which any entry is kept, to say when a node was there last. Not less than the lease.
    pub keep_ms: u64,
    /// The store for which the node has settled: there it has written all rooms that it had.
    pub settled: Option<StoreId>,
    /// How many shards it has; 0: it has ended, and this is its last beat.
    pub shards: u16,
    /// Which wire forms of letters it knows.
    pub version: u32,
    /// Names the key that datagrams are authenticated with: nodes with another one can't talk to this one.
    pub key: u32,
    /// What all nodes should have alike, in words of the server. The store and other nodes only compare it.
    pub settings: Box<str>,
    /// Where other nodes reach it; empty: nowhere.
    pub address: Box<str>,
}

/// What the store keeps of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// The node, and the number of its lease.
    pub home: HomeName,
    /// When it was renewed, by the store's clock, milliseconds since the Unix epoch.
    pub beat: u64,
    /// As the node said it.
    pub settled: Option<StoreId>,
    /// The same.
    pub shards: u16,
    /// The same.
    pub version: u32,
    /// The same.
    pub key: u32,
    /// The same.
    pub settings: Box<str>,
    /// The same.
    pub address: Box<str>,
}

/// The answer to a beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    /// The lease has ended: others may have taken what the node had.
    pub gone: bool,
    /// The store's time, milliseconds since the Unix epoch.
    pub now: u64,
    /// The entries of all nodes, the own one too, also those older than a lease; by node.
    pub nodes: Vec<NodeEntry>,
}
