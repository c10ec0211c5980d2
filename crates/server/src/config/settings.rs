//! The settings and their defaults.
//!
//! 0 switches a limit off, unless a field says otherwise. `None` is `"auto"`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use roomcast_core::settings::{Kind, Settings};

use crate::spans::TracingSettings;

use super::{
    AllowedOrigin, ApiKey, ApiSettings, AuthSettings, AuthorizeSettings, ClusterSettings, HostName,
    MemorySettings, RedisSettings, Secret, WebhookSettings, machine,
};

/// Everything that can be set. The default is a valid configuration: loopback, with its limits on.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`: addresses, shards, who may connect.
    pub server: ServerSettings,
    /// `[admin]`: a listener of its own for pages and metrics.
    pub admin: Admin,
    /// `[tls]`: the certificate of the addresses in `[server]` `listen` and `[api]` `listen`.
    pub tls: TlsSettings,
    /// `[http]`: limits of the handshake.
    pub http: Http,
    /// `[auth]`: keys for tokens, and who needs none.
    pub auth: AuthSettings,
    /// `[api]`: the API for an application's backend.
    pub api: ApiSettings,
    /// `[api_keys.NAME]`: who may use it; none: it is off.
    pub api_keys: Vec<ApiKey>,
    /// `[webhooks.NAME]`: who is told what happens.
    pub webhooks: Vec<WebhookSettings>,
    /// `[authorize.NAME]`: who decides what is done.
    pub authorize: Vec<AuthorizeSettings>,
    /// `[limits]`: how many connections are let in.
    pub limits: ConnectionLimits,
    /// `[batcher]`: when what waits for a connection is written.
    pub batcher: Batcher,
    /// `[socket]`: options of each connection's socket.
    pub socket: Socket,
    /// `[compression]`: whether permessage-deflate is agreed to at all. Level and threshold belong to a [`Kind`].
    pub compression: bool,
    /// `[shutdown]`: how the server ends.
    pub shutdown: Shutdown,
    /// `[log]`: what is logged, and how.
    pub log: Log,
    /// `[session]` `secret`: what resume tokens are signed with; empty: drawn at each start.
    pub session_secret: Secret,
    /// `[memory]`: what outlives the process with [`Engine::Memory`].
    pub memory: MemorySettings,
    /// `[redis]`: where rooms and sessions are kept with [`Engine::Redis`].
    pub redis: RedisSettings,
    /// `[cluster]`: how servers reach each other.
    pub cluster: ClusterSettings,
    /// `[tracing]`: traces of what is asked over the API.
    pub tracing: TracingSettings,
    /// The settings of the shards: `[limits]`, `[message]`, `[queues]`, `[heartbeat]`, `[pool]`, `[rooms]`.
    pub core: Settings,
    /// `[kinds.NAME]`: the kinds of rooms. The first one is `default`.
    pub kinds: Vec<Kind>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            server: ServerSettings::default(),
            admin: Admin::default(),
            tls: TlsSettings::default(),
            http: Http::default(),
            auth: AuthSettings::default(),
            api: ApiSettings::default(),
            api_keys: Vec::new(),
            webhooks: Vec::new(),
            authorize: Vec::new(),
            limits: ConnectionLimits::default(),
            batcher: Batcher::default(),
            socket: Socket::default(),
            compression: true,
            shutdown: Shutdown::default(),
            log: Log::default(),
            session_secret: Secret::default(),
            memory: MemorySettings::default(),
            redis: RedisSettings::default(),
            cluster: ClusterSettings::default(),
            tracing: TracingSettings::default(),
            core: Settings::default(),
            kinds: vec![Kind::default()],
        }
    }
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Addresses to listen on. Port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// What keeps rooms and sessions.
    pub engine: Engine,
    /// Worker threads, one event loop each; `None`: as many as there are cores. See [`ServerSettings::shards`].
    pub shards: Option<u32>,
    /// Accept clients from other machines without any authentication, and serve them the pages.
    pub public_demo: bool,
    /// Whether the demo page is served; `None`: on loopback, and with `public_demo`. See [`Config::listeners`].
    pub pages: Option<bool>,
    /// A folder whose files are served in the place of the demo page; empty: none.
    pub static_dir: String,
    /// Whether `/metrics` is served; `None`: on loopback. See [`Config::listeners`].
    pub metrics: Option<bool>,
    /// Whether the protocol is served as an event stream and requests, too.
    pub sse: bool,
    /// Origins of pages that may connect besides the server's own.
    pub origins: Vec<AllowedOrigin>,
    /// Names under which the listeners on loopback answer, besides those that mean this machine.
    pub hosts: Vec<HostName>,
    /// Proxies whose word about a client's address is taken. See [`ServerSettings::trusts`].
    pub trusted_proxies: Vec<IpNet>,
    /// Whether trusted proxies begin a connection with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        ServerSettings {
            listen: vec![
                SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, 8080)),
            ],
            engine: Engine::Memory,
            shards: None,
            public_demo: false,
            pages: None,
            static_dir: String::new(),
            metrics: None,
            sse: true,
            origins: Vec::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
        }
    }
}

impl ServerSettings {
    /// How many shards to run: the setting, or the cores that this process may use. At least 1.
    pub fn shards(&self) -> u32 {
        self.shards.unwrap_or_else(machine::cores).max(1)
    }

    /// Whether `address` is one of the trusted proxies. An IPv4 address in IPv6 form counts as itself.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(&address))
    }
}

/// What keeps rooms and sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The process's own memory: they end with it.
    Memory,
    /// Redis too: they outlive the process, and several servers are one.
    Redis,
}

impl Engine {
    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Engine::Memory => "memory",
            Engine::Redis => "redis",
        }
    }
}

/// The header that a proxy may put before everything else on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No such header.
    Off,
    /// Version 2 (binary), on every connection from a trusted proxy.
    V2,
}

/// `[admin]`
#[derive(Clone, Debug, Default)]
pub struct Admin {
    /// Further addresses, with the pages and `/metrics` on. None by default.
    pub listen: Vec<SocketAddr>,
}

/// `[tls]`
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// A PEM file with the certificate, and those that lead from it to one that clients trust; empty for no TLS.
    pub certificate_path: String,
    /// A PEM file with its private key.
    pub key_path: String,
    /// How often the two files are looked at. Never off.
    pub reload_interval: Duration,
}

impl TlsSettings {
    /// Whether connections are to have TLS.
    pub fn is_on(&self) -> bool {
        !self.certificate_path.is_empty()
    }
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            certificate_path: String::new(),
            key_path: String::new(),
            reload_interval: Duration::from_secs(5),
        }
    }
}

/// `[http]`
#[derive(Clone, Debug)]
pub struct Http {
    /// From the connection's start until its request's last header line. Never off.
    pub handshake_timeout: Duration,
    /// Bytes of a request's line and headers together. Never off.
    pub max_header_size: usize,
    /// Header lines of a request. Never off.
    pub max_headers: usize,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            handshake_timeout: Duration::from_secs(10),
            max_header_size: 16 * 1024,
            max_headers: 64,
        }
    }
}

/// How many connections are let in. Beyond it, newcomers get a 503.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one IPv4 address or one IPv6 network of 64 bits.
    pub connections_per_address: u32,
    /// Bytes of memory in use that the process should stay under, as [`crate::CountingAllocator`] counts them;
    /// `None`: 80 % of what the machine or its cgroup allows.
    /// See [`ConnectionLimits::memory`].
    pub memory: Option<u64>,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            connections: 1_000_000,
            connections_per_address: 1_024,
            memory: None,
        }
    }
}

impl ConnectionLimits {
    /// Bytes of memory that the process should stay under: the setting, or 80 % of what the machine or its cgroup
    /// allows. 0 is off, as it is where the system does not say.
    pub fn memory(&self) -> u64 {
        self.memory
            .unwrap_or_else(|| machine::memory().map_or(0, |bytes| bytes / 5 * 4))
    }
}

/// `[batcher]`: when what waits for a connection is written.
#[derive(Clone, Debug)]
pub struct Batcher {
    /// Bytes for one connection that end the wait. 0: no number of bytes does.
    pub max_size: usize,
    /// Longest wait. 0: everything is written at the end of the turn that made it.
    pub max_wait: Duration,
}

impl Default for Batcher {
    fn default() -> Batcher {
        Batcher {
            max_size: 64 * 1024,
            max_wait: Duration::ZERO,
        }
    }
}

/// `[socket]`
#[derive(Clone, Debug, Default)]
pub struct Socket {
    /// `SO_SNDBUF` in bytes; 0 leaves it to the system.
    pub send_buffer: usize,
    /// `SO_RCVBUF` in bytes; 0 leaves it to the system.
    pub receive_buffer: usize,
}

/// `[shutdown]`
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// Time in which the server says that it is not ready and still serves newcomers.
    pub delay: Duration,
    /// Time from the signal until the process ends, whatever is left. Never off.
    pub deadline: Duration,
    /// Connections a second that are asked to come back elsewhere. 0: all at once.
    pub pace: u32,
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown {
            delay: Duration::from_secs(1),
            deadline: Duration::from_secs(25),
            pace: 5_000,
        }
    }
}

impl Shutdown {
    /// The time over which `connections` come back, each after a delay of its own.
    pub fn spread(&self, connections: usize) -> Duration {
        if self.pace == 0 {
            return Duration::ZERO;
        }
        let millis = (connections as u64).saturating_mul(1_000) / u64::from(self.pace);
        Duration::from_millis(millis)
    }
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`, and `target=level` after it, separated by commas.
    pub level: String,
    /// What a line looks like.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `Text` on a terminal, `Json` else.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
