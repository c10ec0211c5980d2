//! Redis as the second copy of rooms and sessions: how a node reaches it, and what it says there.
//!
//! [`Client`] keeps one connection to each master. A [`RedisStore`] is what one shard has of it. What a request is in
//! Redis's words is said by [`Commands`], and what Redis does with it by scripts ([`ScriptCommands`]).

mod backoff;
mod check;
mod client;
mod cluster;
mod command;
mod commands;
mod config;
mod connection;
mod failure;
mod identity;
mod job;
mod keys;
mod master;
mod pipe;
mod pubsub;
mod resp;
mod scripts;
mod sentinel;
mod slot;
mod store;
mod tls;
mod topology;
mod url;
mod webhooks;

pub use check::{Finding, Level, RIGHTS, Report, check};
pub use client::{Client, Master};
pub use command::{Command, Commands, Script, store_name};
pub use commands::ScriptCommands;
pub use config::{Login, Mode, RedisConfig, Secret, Tls};
pub use failure::Failure;
pub use keys::Keys;
pub use pubsub::Subscription;
pub use resp::{Malformed, Reader, Value, write_command, write_head, write_part};
pub use scripts::SCRIPTS;
pub use store::RedisStore;
pub use url::{Endpoint, UrlError};
pub use webhooks::{Added, Place, Taken, WebhookBounds, WebhookQueue};
