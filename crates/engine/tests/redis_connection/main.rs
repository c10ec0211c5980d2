//! How a node reaches Redis, tried with real ones.
#![allow(clippy::expect_used, reason = "a panic is how a test fails")]

mod check;
mod cluster;
#[path = "../common/ports.rs"]
mod ports;
mod pubsub;
mod sentinel;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "../common/redis_server.rs"]
mod server;
mod shard;
mod standalone;
mod tls;
