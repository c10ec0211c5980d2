//! What the HTTP side counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::Refusal;

/// Why a client did not get its WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusedBy {
    /// The limit of connections in all.
    Connections,
    /// The limit of connections per address.
    Address,
    /// The memory limit.
    Memory,
    /// The file descriptor limit.
    FileDescriptors,
    /// No shard had room for a newcomer.
    ShardsBusy,
    /// The server is shutting down.
    ShuttingDown,
    /// The page's origin.
    Origin,
    /// The name that its request is for.
    Host,
    /// The token of its `Authorization` header.
    Token,
    /// A handshake that is none: 400, 405 or 426.
    Handshake,
    /// A request that could not be read: 400, 413, 414, 431.
    Request,
    /// The request did not arrive in time.
    Timeout,
    /// A trusted proxy's connection did not begin with a PROXY protocol header.
    ProxyHeader,
    /// A TLS handshake that failed, or none where there has to be one.
    Tls,
}

impl RefusedBy {
    /// Each of them, in the order of their counters.
    pub(crate) const ALL: [RefusedBy; 14] = [
        RefusedBy::Connections,
        RefusedBy::Address,
        RefusedBy::Memory,
        RefusedBy::FileDescriptors,
        RefusedBy::ShardsBusy,
        RefusedBy::ShuttingDown,
        RefusedBy::Origin,
        RefusedBy::Host,
        RefusedBy::Token,
        RefusedBy::Handshake,
        RefusedBy::Request,
        RefusedBy::Timeout,
        RefusedBy::ProxyHeader,
        RefusedBy::Tls,
    ];

    /// The cause as metrics and logs name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            RefusedBy::Connections => "connections",
            RefusedBy::Address => "address",
            RefusedBy::Memory => "memory",
            RefusedBy::FileDescriptors => "file_descriptors",
            RefusedBy::ShardsBusy => "shards_busy",
            RefusedBy::ShuttingDown => "shutting_down",
            RefusedBy::Origin => "origin",
            RefusedBy::Host => "host",
            RefusedBy::Token => "token",
            RefusedBy::Handshake => "handshake",
            RefusedBy::Request => "request",
            RefusedBy::Timeout => "timeout",
            RefusedBy::ProxyHeader => "proxy_header",
            RefusedBy::Tls => "tls",
        }
    }
}

impl From<Refusal> for RefusedBy {
    fn from(refusal: Refusal) -> RefusedBy {
        match refusal {
            Refusal::Connections | Refusal::Backends => RefusedBy::Connections,
            Refusal::Address => RefusedBy::Address,
            Refusal::Memory => RefusedBy::Memory,
            Refusal::FileDescriptors => RefusedBy::FileDescriptors,
        }
    }
}

/// Counters since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct HttpStats {
    accepted: AtomicU64,
    upgraded: AtomicU64,
    requests: AtomicU64,
    refused: [AtomicU64; RefusedBy::ALL.len()],
}

impl HttpStats {
    /// TCP connections accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// WebSocket connections handed to a shard.
    pub(crate) fn upgraded(&self) -> u64 {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// HTTP requests answered, handshakes among them.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Clients refused for that cause.
    pub(crate) fn refused(&self, cause: RefusedBy) -> u64 {
        self.refused[cause as usize].load(Ordering::Relaxed)
    }

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_upgraded(&self) {
        self.upgraded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self, cause: RefusedBy) {
        self.refused[cause as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_counter() {
        for (index, cause) in RefusedBy::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
    }
}
