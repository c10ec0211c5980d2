//! Configuration: one typed [`Config`] from `roomcast.toml`, the environment and the command line.
//!
//! Every setting is one row of a table, which says its name, its place in [`Config`], what it takes and what it means.
//! Reading, checking, `roomcast check`, `docs/configuration.md` and `roomcast.example.toml` all come from that table.

mod listeners;
mod machine;
mod settings;

pub use ipnet::IpNet;
pub use listeners::{Listener, Role};
pub use settings::{
    Admin, Batcher, Config, ConnectionLimits, Http, Log, LogFormat, ProxyProtocol, ServerSettings,
    Shutdown, Socket,
};
