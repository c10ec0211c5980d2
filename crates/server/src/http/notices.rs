//! What the log is told, at most once a minute for each cause.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracing::{error, warn};

use super::stats::RefusedBy;
use crate::limits::ConnectionLimits;

/// Between two lines about the same cause, in milliseconds.
const QUIET: u64 = 60_000;

/// Knows what was said lately.
#[derive(Debug)]
pub(super) struct Notices {
    start: Instant,
    limits: ConnectionLimits,
    refused: [Said; RefusedBy::ALL.len()],
    proxy: Said,
    accept: Said,
}

impl Notices {
    pub(super) fn new(limits: ConnectionLimits) -> Notices {
        Notices {
            start: Instant::now(),
            limits,
            refused: Default::default(),
            proxy: Said::default(),
            accept: Said::default(),
        }
    }

    /// A page was refused: the line to add to the configuration.
    pub(super) fn origin(&self, origin: &str) {
        if let Some(more) = self.refused[RefusedBy::Origin as usize].may(self.now()) {
            // A client's text: shortened, and escaped so that it cannot look like a line of the log.
            let origin: String = origin.chars().take(200).collect();
            warn!(
                more,
                "a page was refused because of its origin: add {origin:?} to server.origins to let it connect"
            );
        }
    }

    /// Newcomers are refused.
    pub(super) fn refused(&self, cause: RefusedBy) {
        let Some(more) = self.refused[cause as usize].may(self.now()) else {
            return;
        };
        let limits = &self.limits;
        match cause {
            RefusedBy::Connections => warn!(
                more,
                "{} connections are open: newcomers get a 503 (limits.connections)",
                limits.connections
            ),
            RefusedBy::Address => warn!(
                more,
                "an address has {} connections: further ones get a 503 (limits.connections_per_address; if \
                 it is your proxy, add it to server.trusted_proxies)",
                limits.per_address
            ),
            RefusedBy::Memory => warn!(
                more,
                "memory is close to {} bytes: newcomers get a 503 (limits.memory)", limits.memory
            ),
            RefusedBy::FileDescriptors => {
                warn!(
                    more,
                    "file descriptors are nearly used up: newcomers get a 503 (raise `ulimit -n`)"
                );
            }
            RefusedBy::ShardsBusy => warn!(more, "the shards are busy: newcomers get a 503"),
            RefusedBy::ProxyHeader => warn!(
                more,
                "a trusted proxy sent no PROXY protocol v2 header: make it send one, or set server.proxy_protocol to \
                 \"off\""
            ),
            _ => {}
        }
    }

    /// Something on this machine forwards requests and isn't trusted.
    pub(super) fn unbelieved_proxy(&self, proxy: IpAddr) {
        if let Some(more) = self.proxy.may(self.now()) {
            warn!(
                more,
                "{proxy} forwards requests of others: if it is your proxy, add \"{proxy}\" to server.trusted_proxies"
            );
        }
    }

    /// Connections can't be accepted.
    pub(super) fn accept_failed(&self, cause: &std::io::Error) {
        if let Some(more) = self.accept.may(self.now()) {
            error!(more, "connections cannot be accepted: {cause}");
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

/// When something was said last, and how often it was not.
#[derive(Debug, Default)]
struct Said {
    /// Milliseconds, plus one; 0 is never.
    last: AtomicU64,
    unsaid: AtomicU64,
}

impl Said {
    /// Whether to say it now, with how often it has happened since it was said.
    fn may(&self, now: u64) -> Option<u64> {
        let last = self.last.load(Ordering::Relaxed);
        if last != 0 && now < last - 1 + QUIET {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.last.store(now + 1, Ordering::Relaxed);
        Some(self.unsaid.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute() {
        let said = Said::default();
        assert_eq!(said.may(0), Some(0));
        assert_eq!(said.may(0), None);
        assert_eq!(said.may(QUIET - 1), None);
        assert_eq!(said.may(QUIET), Some(2));
        assert_eq!(said.may(QUIET + 1), None);
    }
}
