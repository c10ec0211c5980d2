//! HTTP: listeners, handshakes, pages, health and metrics.
//!
//! One thread runs all of it on a tokio runtime of its own; a connection is here until it is a WebSocket, and then moves
//! to a shard ([`Shards`]). Usage: [`Bound::bind`], then [`Bound::serve`], which gives [`Http`] to steer it with.

mod bearer;
mod client_address;
mod connection;
mod event_stream;
mod folder;
mod host;
mod listen;
mod notices;
mod origin;
mod pages;
mod paths;
mod proxy_protocol;
mod response;
mod service;
mod stats;
#[cfg(test)]
mod tests;
mod transport;
mod upgrade;
mod wordless;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use tokio::runtime;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use self::client_address::TrustedProxies;
use self::host::Hosts;
use self::notices::Notices;
use self::origin::Origins;
use self::pages::Pages;
use self::response::unavailable;
use self::upgrade::Refused;
use crate::api::Api;
use crate::auth::{self, Authority};
use crate::clock::Clock;
use crate::config::{Config, Listener, ProxyProtocol, Role};
use crate::engine::Status;
use crate::files::watch;
use crate::handover::Shards;
use crate::limits::memory::warn_if_not_kept;
use crate::limits::{Admission, ConnectionLimits, ConnectionPermit, Refusal, descriptors};
use crate::outgoing::Outgoing;
use crate::spans::Exporter;
use crate::streams::{FromNode, Streams};
use crate::tls::Acceptor;

pub(crate) use self::folder::Folder;
pub(crate) use self::pages::Page;
pub(crate) use self::stats::{HttpStats, RefusedBy};

/// What HTTP needs of the rest of the server.
pub(crate) struct Services {
    /// Where upgraded connections go.
    pub(crate) shards: Arc<dyn Shards>,
    /// The time by which tokens end.
    pub(crate) clock: Clock,
    /// What `/metrics` answers: the Prometheus text format.
    pub(crate) metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// How the node is, where it needs a store.
    pub(crate) engine: Option<Arc<Status>>,
    /// Pages of the embedding program.
    pub(crate) pages: Vec<Page>,
    /// The files of `server.static_dir`.
    pub(crate) folder: Option<Arc<Folder>>,
    /// What tokens are checked with, where that is configured.
    pub(crate) authority: Option<Arc<Authority>>,
    /// What fetches their keys, where those are elsewhere.
    pub(crate) keys_from: Option<Outgoing>,
    /// The certificate, where connections are to have TLS.
    pub(crate) tls: Option<Arc<Acceptor>>,
    /// Whether SIGHUP means that files are to be read anew.
    pub(crate) hangup: bool,
    /// The API, where a key for it is configured.
    pub(crate) api: Option<Arc<Api>>,
    /// Event streams, and what other nodes have got for those of this one.
    pub(crate) streams: Arc<Streams>,
    pub(crate) from_nodes: Option<UnboundedReceiver<FromNode>>,
    /// What sends traces, where they are configured.
    pub(crate) exporter: Option<Exporter>,
}

/// Listeners that are bound and not yet served: who connects now waits.
#[derive(Debug)]
pub(crate) struct Bound {
    listeners: Vec<(TcpListener, Listener)>,
    stats: Arc<HttpStats>,
    admission: Arc<Admission>,
    /// Of addresses that are the API's alone.
    of_backends: Arc<Admission>,
}

/// Connections to addresses of the API's own. Clients don't count there, so that they keep no backend out.
const BACKENDS: ConnectionLimits = ConnectionLimits {
    connections: 1_024,
    per_address: 0,
    memory: 0,
};

impl Bound {
    /// Binds every listener of the configuration, and raises the limit of open files as far as it goes.
    ///
    /// # Errors
    /// The address that could not be bound.
    pub(crate) fn bind(config: &Config) -> Result<Bound, BindError> {
        let wanted = config.listeners();
        let mut listeners = Vec::new();
        for listener in &wanted {
            // Where the same port is listened on for IPv4 too, `[::]` must leave that to it.
            let v6_only = wanted.iter().any(|other| {
                other.address.is_ipv4() && other.address.port() == listener.address.port()
            });
            match listen::bind(listener.address, v6_only, &config.socket) {
                Ok(socket) => listeners.push((socket, *listener)),
                Err(error) if listener.optional && is_missing(&error) => {
                    tracing::debug!("not listening on {}: {error}", listener.address);
                }
                Err(cause) => {
                    return Err(BindError {
                        address: listener.address,
                        cause,
                    });
                }
            }
        }
        let limits = ConnectionLimits {
            connections: config.limits.connections,
            per_address: config.limits.connections_per_address,
            memory: config.limits.memory(),
        };
        let descriptors = descriptors::connections_under(descriptors::raise_limit());
        if descriptors != 0 && (limits.connections == 0 || limits.connections > descriptors) {
            tracing::info!(
                "the limit of open files allows for {descriptors} connections (`ulimit -n`)"
            );
        }
        warn_if_not_kept(limits.memory);
        let admission = Admission::new(limits, descriptors);
        Ok(Bound {
            listeners,
            stats: Arc::default(),
            admission,
            of_backends: Admission::new(BACKENDS, 0),
        })
    }

    /// Where it listens, with the ports that the system chose.
    pub(crate) fn addresses(&self) -> Vec<(SocketAddr, Role)> {
        let address = |(socket, listener): &(TcpListener, Listener)| {
            (
                socket.local_addr().unwrap_or(listener.address),
                listener.role,
            )
        };
        self.listeners.iter().map(address).collect()
    }

    /// The counters, for the metrics.
    pub(crate) fn stats(&self) -> &Arc<HttpStats> {
        &self.stats
    }

    /// The connections and their limits, for the metrics.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Starts to serve, on a thread of its own.
    ///
    /// # Errors
    /// The thread or its runtime could not be made.
    pub(crate) fn serve(self, config: &Config, mut services: Services) -> io::Result<Http> {
        let (hangup, keys_from) = (services.hangup, services.keys_from.take());
        let from_nodes = services.from_nodes.take();
        let exporter = services.exporter.take();
        let site = Arc::new(Site::new(&self, config, services));
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let mut accepting = Vec::new();
        for (socket, listener) in self.listeners {
            let socket = tokio::net::TcpListener::from_std(socket)?;
            let task = runtime.spawn(listen::accept(Arc::clone(&site), listener, socket));
            accepting.push((listener.role, task.abort_handle()));
        }
        if let Some(authority) = &site.authority {
            runtime.spawn(watch(Arc::clone(authority), hangup));
            if let Some(outgoing) = keys_from {
                runtime.spawn(auth::follow(Arc::clone(authority), outgoing));
            }
        }
        if let Some(tls) = &site.tls {
            runtime.spawn(watch(Arc::clone(tls), hangup));
        }
        if let Some(api) = &site.api {
            runtime.spawn(watch(Arc::clone(api.keys()), hangup));
        }
        if let Some(folder) = site.pages.folder() {
            runtime.spawn(watch(Arc::clone(folder), hangup));
        }
        if let Some(from_nodes) = from_nodes {
            runtime.spawn(Arc::clone(&site.streams).serve(from_nodes));
        }
        if let Some(exporter) = exporter {
            runtime.spawn(exporter.run(hangup));
        }
        drop(guard);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("roomcast-http".to_owned())
            .spawn(move || {
                // An error means that the sender is gone, which means stop as well.
                let _ = runtime.block_on(stopped);
                // A file of keys that is being read, perhaps from a network that is gone, isn't waited for.
                runtime.shutdown_background();
            })?;
        Ok(Http {
            site,
            accepting,
            thread: Some(thread),
            stop: Some(stop),
        })
    }
}

/// IPv6 is not there.
fn is_missing(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) {
        return true;
    }
    matches!(error.kind(), AddrNotAvailable | Unsupported)
}

/// An address could not be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    pub(crate) address: SocketAddr,
    pub(crate) cause: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.cause)?;
        match self.cause.kind() {
            io::ErrorKind::AddrInUse => write!(f, " (is another server running there?)"),
            io::ErrorKind::PermissionDenied => {
                write!(f, " (ports below 1024 need a privilege on most systems)")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// The running HTTP side. When it is dropped, it stops.
#[derive(Debug)]
pub(crate) struct Http {
    site: Arc<Site>,
    accepting: Vec<(Role, AbortHandle)>,
    thread: Option<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Http {
    /// `/readyz` turns red; newcomers are still served.
    pub(crate) fn not_ready(&self) {
        self.site.phase.store(NOT_READY, Ordering::Relaxed);
    }

    /// Closes the listeners of `server.listen` and refuses handshakes on connections that are open already. The admin
    /// listener goes on, for health and metrics.
    pub(crate) fn refuse_newcomers(&self) {
        self.site.phase.store(CLOSED, Ordering::Relaxed);
        for (role, accepting) in &self.accepting {
            if *role != Role::Admin {
                accepting.abort();
            }
        }
    }

    /// Ends everything that is still HTTP. WebSockets that were handed over are not touched.
    pub(crate) fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and then has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.halt();
    }
}

const READY: u8 = 0;
const NOT_READY: u8 = 1;
const CLOSED: u8 = 2;

/// What all connections share.
struct Site {
    shards: Arc<dyn Shards>,
    clock: Clock,
    metrics: Box<dyn Fn() -> String + Send + Sync>,
    engine: Option<Arc<Status>>,
    pages: Pages,
    authority: Option<Arc<Authority>>,
    tls: Option<Arc<Acceptor>>,
    api: Option<Arc<Api>>,
    streams: Arc<Streams>,
    sse: bool,
    max_message: usize,
    origins: Origins,
    hosts: Hosts,
    trusted: TrustedProxies,
    proxy_protocol: ProxyProtocol,
    compression: bool,
    handshake_timeout: Duration,
    max_headers: usize,
    max_header_size: usize,
    limits: ConnectionLimits,
    #[cfg(not(target_os = "linux"))]
    socket: crate::config::Socket,
    http: http1::Builder,
    admission: Arc<Admission>,
    of_backends: Arc<Admission>,
    stats: Arc<HttpStats>,
    notices: Notices,
    phase: AtomicU8,
    refusals: AtomicU64,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").finish_non_exhaustive()
    }
}

impl Site {
    fn new(bound: &Bound, config: &Config, services: Services) -> Site {
        let limits = bound.admission.limits();
        let http = &config.http;
        Site {
            shards: services.shards,
            clock: services.clock,
            metrics: services.metrics,
            engine: services.engine,
            pages: Pages::new(services.pages, services.folder),
            authority: services.authority,
            tls: services.tls,
            api: services.api,
            streams: services.streams,
            sse: config.server.sse,
            max_message: config.core.max_message,
            origins: Origins::new(&config.server.origins),
            hosts: Hosts::new(&config.server.hosts),
            trusted: TrustedProxies::new(&config.server.trusted_proxies),
            proxy_protocol: config.server.proxy_protocol,
            compression: config.compression,
            handshake_timeout: http.handshake_timeout,
            max_headers: http.max_headers,
            max_header_size: http.max_header_size,
            limits,
            #[cfg(not(target_os = "linux"))]
            socket: config.socket.clone(),
            http: connection::builder(
                http.handshake_timeout,
                http.max_headers,
                http.max_header_size,
            ),
            admission: Arc::clone(&bound.admission),
            of_backends: Arc::clone(&bound.of_backends),
            stats: Arc::clone(&bound.stats),
            notices: Notices::new(limits),
            phase: AtomicU8::new(READY),
            refusals: AtomicU64::new(0),
        }
    }

    /// Takes one connection into the count of its address.
    fn admit(&self, listener: Listener) -> Result<ConnectionPermit, Refusal> {
        match listener.role {
            Role::Api => self.of_backends.admit().map_err(|_| Refusal::Backends),
            Role::Main | Role::Admin => self.admission.admit(),
        }
    }

    /// Why clients are better sent elsewhere.
    fn not_ready(&self) -> Option<&'static str> {
        if self.phase.load(Ordering::Relaxed) != READY {
            return Some("shutting down");
        }
        let waits = |authority: &Arc<Authority>| authority.waits_for_keys();
        if self.authority.as_ref().is_some_and(waits) {
            return Some("the keys for tokens have not been fetched yet");
        }
        self.engine.as_ref().and_then(|engine| engine.not_ready())
    }

    fn takes_newcomers(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != CLOSED
    }

    /// Counts a refusal and tells the log.
    fn refused(&self, cause: RefusedBy) {
        self.stats.count_refused(cause);
        self.notices.refused(cause);
    }

    /// The answer to a client for whom a limit leaves no room.
    fn full(&self, refusal: Refusal) -> Refused {
        self.busy(refusal.into(), &self.full_sentence(refusal))
    }

    fn full_sentence(&self, refusal: Refusal) -> String {
        match refusal {
            Refusal::Connections => format!(
                "This server is full: it takes {} connections (limits.connections).",
                self.limits.connections
            ),
            Refusal::Address => format!(
                "There are {} connections from your address already (limits.connections_per_address).",
                self.limits.per_address
            ),
            Refusal::Memory => "This server is full: memory is short (limits.memory).".to_owned(),
            Refusal::Backends => format!(
                "There are {} connections to the API already.",
                BACKENDS.connections
            ),
            Refusal::FileDescriptors => {
                "This server is full: file descriptors are short (`ulimit -n`).".to_owned()
            }
        }
    }

    fn busy(&self, cause: RefusedBy, sentence: &str) -> Refused {
        self.notices.refused(cause);
        let retry_after = self.retry_after();
        let sentence = format!("{sentence} Try again in {retry_after} s.");
        Refused::new(cause, unavailable(sentence, retry_after))
    }

    /// Seconds, 2 to 10 in turn, so that those who are refused together don't come back together.
    fn retry_after(&self) -> u64 {
        2 + self.refusals.fetch_add(1, Ordering::Relaxed) % 9
    }
}
