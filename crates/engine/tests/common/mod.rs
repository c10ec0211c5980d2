//! What several tests of this crate share.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test uses its part of the harness"
)]

pub mod history;
pub mod ports;
pub mod redis_client;
pub mod redis_server;
