//! Several nodes, a Redis, a balancer and a fleet of clients, all real processes and sockets. Something fails; what was
//! sent is counted at both ends. Each fault is a test, and prints a row:
//!
//! ```sh
//! cargo test --release -p roomcast --test cluster -- --nocapture --test-threads 1
//! ROOMCAST_FLEET=full cargo test --release -p roomcast --test cluster -- --nocapture --test-threads 1
//! ```

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "a panic is how a test fails"
)]

mod arena;
mod balancer;
mod checker;
mod cluster;
mod faults;
mod fleet;
mod found;
mod guest;
mod history;
mod lobby;
#[path = "../../../engine/tests/common/ports.rs"]
mod ports;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/random.rs"]
mod random;
#[path = "../../../engine/tests/common/redis_cluster.rs"]
mod redis_cluster;
#[allow(dead_code, reason = "each test uses its part")]
#[path = "../../../engine/tests/common/redis_server.rs"]
mod redis_server;
mod row;
mod run;

use std::future::Future;
use std::time::{Duration, Instant};

use fleet::Load;
use row::Row;

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One fleet at a time.
pub static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How much is going on.
pub fn load() -> Load {
    match std::env::var("ROOMCAST_FLEET").as_deref() {
        Ok("full") => Load {
            rooms: 48,
            members: 8,
            every: Duration::from_millis(200),
            direct: true,
            lobbies: 8,
            arenas: 8,
        },
        _ => Load {
            rooms: 12,
            members: 4,
            every: Duration::from_millis(100),
            direct: true,
            lobbies: 3,
            arenas: 3,
        },
    }
}

/// What a fault has to leave whole.
#[derive(Clone, Copy)]
pub enum Promise {
    /// Everything: nobody notices more than a pause.
    Whole,
    /// The same of rooms and sessions. What inboxes lack is told.
    Rooms,
    /// Something may be gone, and who lacks it is told.
    Told,
}

/// Runs one, and prints its row.
pub async fn survive(promise: Promise, fault: impl Future<Output = (Row, String)>) {
    let _one = ONE.lock().await;
    let begin = Instant::now();
    let (row, logs) = fault.await;
    eprintln!(
        "{}\n{row}   ({:.1} s)",
        Row::HEAD,
        begin.elapsed().as_secs_f64()
    );
    eprintln!("{}", row.paused);
    let kept = match promise {
        Promise::Whole => row.is_clean(),
        Promise::Rooms => row.is_clean_in_rooms(),
        Promise::Told => row.is_told(),
    };
    if !kept {
        panic!("{row}\n{}\n{logs}", row.words.join("\n"));
    }
}
