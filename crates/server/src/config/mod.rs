//! Configuration: one typed [`Config`] from `roomcast.toml`, the environment and the command line.
//!
//! Every setting is one row of a table, which says its name, its place in [`Config`], what it takes and what it means.
//! Reading, checking, `roomcast check`, `docs/configuration.md` and `roomcast.example.toml` all come from that table.

mod banner;
mod check;
mod cluster;
mod document;
mod environment;
pub mod exit;
mod field;
mod file;
pub(crate) mod flags;
mod items;
mod keys;
mod listeners;
mod load;
mod machine;
mod memory;
mod origin;
mod raw;
mod redis;
mod settings;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod units;

pub use crate::api::{ApiKey, ApiSettings, Right};
pub use crate::auth::{Anonymous, AuthSettings, Secret};
pub use crate::authorize::{Asked, AuthorizeSettings, Silence};
pub use crate::spans::TracingSettings;
pub use crate::webhooks::{EventType, WebhookSettings};
pub use banner::{banner, own_addresses};
pub use cluster::ClusterSettings;
pub use document::{example, reference};
pub use ipnet::IpNet;
pub use listeners::{Listener, Metrics, Role};
pub use load::{Flag, Loaded, Sources};
pub use memory::MemorySettings;
pub(crate) use origin::HostPort;
pub use origin::{AllowedOrigin, HostName, Origin};
pub use redis::RedisSettings;
pub use settings::{
    Admin, Batcher, Config, ConnectionLimits, Engine, Http, Log, LogFormat, ProxyProtocol,
    ServerSettings, Shutdown, Socket, TlsSettings,
};
pub use source::{Problem, Problems, Source};
