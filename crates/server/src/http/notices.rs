//! What the log is told: once a minute for each cause, and for origins five times, as a developer may have several.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::stats::RefusedBy;
use crate::config::{HostName, Origin};
use crate::limits::ConnectionLimits;
use crate::log::RateLimited;

const MINUTE: Duration = Duration::from_secs(60);

/// Knows what was said lately.
#[derive(Debug)]
pub(super) struct Notices {
    start: Instant,
    limits: ConnectionLimits,
    /// Locked by the HTTP thread alone.
    origins: Mutex<RateLimited>,
    others: Mutex<RateLimited>,
}

impl Notices {
    pub(super) fn new(limits: ConnectionLimits) -> Notices {
        Notices {
            start: Instant::now(),
            limits,
            origins: Mutex::new(RateLimited::new(5, MINUTE)),
            others: Mutex::new(RateLimited::new(1, MINUTE)),
        }
    }

    /// A page was refused: the line to add to the configuration. `sent` is what it sent, and `origin` what that means.
    pub(super) fn origin(&self, sent: &str, origin: Result<&Origin, &&'static str>) {
        let Some(more) = self.may(&self.origins, "origin") else {
            return;
        };
        match origin {
            Ok(origin) => warn!(
                suppressed = more,
                "a page was refused because of its origin: add \"{origin}\" to server.origins to let it connect"
            ),
            Err(why) => {
                // A client's text: shortened, and escaped so that it cannot look like a line of the log.
                let sent: String = sent.chars().take(200).collect();
                warn!(
                    suppressed = more,
                    "a page was refused because of its origin {sent:?}, which {why}: only \"*\" in server.origins \
                     lets it connect"
                );
            }
        }
    }

    /// A request on loopback was for a name that isn't known.
    pub(super) fn host(&self, name: &HostName) {
        if let Some(more) = self.may(&self.origins, "host") {
            warn!(
                suppressed = more,
                "a request for {name} was refused on a loopback address: if that is a name of this server, add \
                 \"{name}\" to server.hosts"
            );
        }
    }

    /// A token was refused. `sentence` has no part of it.
    pub(super) fn token(&self, sentence: &'static str) {
        if let Some(more) = self.may(&self.others, "token") {
            warn!(
                suppressed = more,
                "a client was refused because of its token: {sentence}"
            );
        }
    }

    /// A client needs a token, and none could be checked.
    pub(super) fn needs_keys(&self) {
        if let Some(more) = self.may(&self.others, "needs_keys") {
            warn!(
                suppressed = more,
                "a client that a proxy has brought needs a token, and no key is configured: configure one (auth), or \
                 set auth.anonymous = true to serve everybody"
            );
        }
    }

    /// Newcomers are refused.
    pub(super) fn refused(&self, cause: RefusedBy) {
        let Some(more) = self.may(&self.others, cause.as_str()) else {
            return;
        };
        let limits = &self.limits;
        match cause {
            RefusedBy::Connections => warn!(
                suppressed = more,
                "{} connections are open: newcomers get a 503 (limits.connections)",
                limits.connections
            ),
            RefusedBy::Address => warn!(
                suppressed = more,
                "an address has {} connections: further ones get a 503 (limits.connections_per_address; if \
                 it is your proxy, add it to server.trusted_proxies)",
                limits.per_address
            ),
            RefusedBy::Memory => warn!(
                suppressed = more,
                "memory in use is close to {} bytes: newcomers get a 503 (limits.memory)",
                limits.memory
            ),
            RefusedBy::FileDescriptors => {
                warn!(
                    suppressed = more,
                    "file descriptors are nearly used up: newcomers get a 503 (raise `ulimit -n`)"
                );
            }
            RefusedBy::ShardsBusy => warn!(
                suppressed = more,
                "the shards are busy: newcomers get a 503"
            ),
            RefusedBy::ProxyHeader => warn!(
                suppressed = more,
                "a trusted proxy sent no PROXY protocol v2 header: make it send one, or set server.proxy_protocol to \
                 \"off\""
            ),
            _ => {}
        }
    }

    /// Something on this machine forwards requests and isn't trusted.
    pub(super) fn unbelieved_proxy(&self, proxy: IpAddr) {
        if let Some(more) = self.may(&self.others, "unbelieved_proxy") {
            warn!(
                suppressed = more,
                "{proxy} forwards requests of others: if it is your proxy, add \"{proxy}\" to server.trusted_proxies"
            );
        }
    }

    /// Connections can't be accepted.
    pub(super) fn accept_failed(&self, cause: &std::io::Error) {
        if let Some(more) = self.may(&self.others, "accept") {
            error!(suppressed = more, "connections cannot be accepted: {cause}");
        }
    }

    /// Whether to say it, with how often it was not said before.
    fn may(&self, log: &Mutex<RateLimited>, cause: &'static str) -> Option<u64> {
        let now = self.start.elapsed().as_micros() as u64;
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.admit(cause, now).map(|admitted| admitted.suppressed)
    }
}
