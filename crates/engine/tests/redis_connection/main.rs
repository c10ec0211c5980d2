//! How a node reaches Redis, tried with real ones.
#![allow(clippy::expect_used, reason = "a panic is how a test fails")]

mod check;
mod cluster;
#[path = "../common/ports.rs"]
mod ports;
mod pubsub;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "../common/redis_cluster.rs"]
mod redis_cluster;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "../common/redis_server.rs"]
mod redis_server;
mod sentinel;
mod shard;
mod standalone;
mod tls;
