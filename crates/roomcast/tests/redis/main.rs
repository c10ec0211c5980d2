//! The binary with the engine `redis`, a real Redis, and clients of the Rust SDK: what outlives the process.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a panic is how a test fails, and helpers are shared with other tests"
)]

mod api;
mod clocks;
mod common;
#[path = "../../../server/tests/event_stream/mod.rs"]
mod event_stream;
mod homes;
#[path = "../../../server/tests/common/http.rs"]
mod http;
mod logic;
mod peers;
#[path = "../../../engine/tests/common/ports.rs"]
mod ports;
#[path = "../common/process.rs"]
mod process;
#[path = "../../../server/tests/common/receiver.rs"]
mod receiver;
#[path = "../../../engine/tests/common/redis_cluster.rs"]
mod redis_cluster;
#[path = "../../../engine/tests/common/redis_server.rs"]
mod redis_server;
mod rest;
mod restart;
mod senders;
mod snapshot;
mod spread;
mod start;
mod streams;
mod two;
#[path = "../common/wall_clock.rs"]
mod wall_clock;
mod webhooks;

use std::future::Future;
use std::time::{Duration, Instant};

use process::Process;
use redis_server::Server as Redis;

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(60);

const SECRET: &str = "session.secret=of these tests, thirty-two bytes long";

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    let in_time = tokio::time::timeout(DEADLINE, what).await;
    in_time.expect("it took too long")
}

/// Settings for a server with this Redis, whose lease is short.
fn settings(redis: &Redis) -> Vec<String> {
    let set = |text: &str| text.to_owned();
    vec![
        set(SECRET),
        set("server.engine=redis"),
        format!("redis.urls={}", redis.url()),
        set("redis.lease=900ms"),
        set("server.shards=2"),
    ]
}

fn start(address: std::net::SocketAddr, settings: &[String]) -> Process {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    Process::start(address, &settings)
}

/// Waits until `/readyz` says so.
async fn ready(server: &Process, is: bool) -> String {
    let begin = Instant::now();
    loop {
        let answer = server.get("/readyz");
        if answer.starts_with("HTTP/1.1 200 ") == is {
            return answer;
        }
        assert!(begin.elapsed() < DEADLINE, "{answer}");
        // `/readyz` has to be asked.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
