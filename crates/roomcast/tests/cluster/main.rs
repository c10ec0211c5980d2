//! Several nodes, a Redis, a balancer and a fleet of clients, all real processes and sockets. Something fails; what was
//! sent is counted at both ends. Each fault is a test, and prints a row:
//!
//! ```sh
//! cargo test --release -p roomcast --test cluster -- --nocapture --test-threads 1
//! ROOMCAST_FLEET=full cargo test --release -p roomcast --test cluster -- --nocapture --test-threads 1
//! ROOMCAST_NODE_TO_NODE=1 cargo test --release -p roomcast --test cluster -- --nocapture --test-threads 1
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
mod capacity;
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
#[path = "../common/wall_clock.rs"]
mod wall_clock;

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use cluster::LEASE;
use fleet::Load;
use row::Row;

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A fault takes at most 30 s where two run at a time on two cores, and three rolls of all nodes less than 60. If it takes
/// this long, something waits in vain.
const LONGEST: Duration = Duration::from_secs(120);
/// So often a pause may be too long.
const TRIES: usize = 3;
/// Each wait of a fault has its own deadline, and says what is missing. This is where something waits without one.
const HANGS: Duration = Duration::from_secs(300);

/// Two fleets at a time, as they wait for leases for most of their time. A full one takes both places: it measures pauses.
static PLACES: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(PLACE_COUNT as usize);
const PLACE_COUNT: u32 = 2;

/// Waits until a fleet may run, which it may until this is dropped.
pub async fn my_turn() -> tokio::sync::SemaphorePermit<'static> {
    let places = if is_full() { PLACE_COUNT } else { 1 };
    PLACES.acquire_many(places).await.unwrap()
}

fn is_full() -> bool {
    std::env::var("ROOMCAST_FLEET").is_ok_and(|fleet| fleet == "full")
}

/// How much is going on.
pub fn load() -> Load {
    if is_full() {
        Load {
            rooms: 48,
            members: 8,
            every: Duration::from_millis(200),
            lobbies: 8,
            arenas: 8,
        }
    } else {
        Load {
            rooms: 12,
            members: 4,
            every: Duration::from_millis(100),
            lobbies: 3,
            arenas: 3,
        }
    }
}

/// What a fault has to leave whole.
#[derive(Clone, Copy)]
pub enum Promise {
    /// Everything: nobody notices more than a pause.
    Whole,
    /// The same, and nobody waits for a lease.
    Quick,
    /// The same, but that inboxes may lack what is told.
    Rooms,
    /// Something may be gone, and who lacks it is told.
    Told,
}

/// Runs one, and prints its row; again, where a pause may be that of a machine which is too busy.
pub async fn survive<F: Future<Output = (Row, String)>>(promise: Promise, fault: impl Fn() -> F) {
    let _turn = my_turn().await;
    let mut pauses = Vec::new();
    for _ in 0..TRIES {
        let pause = once(promise, fault()).await;
        if !matches!(promise, Promise::Quick) || pause < LEASE / 2 {
            return;
        }
        pauses.push(pause);
    }
    panic!("rooms have waited for a lease, each time: {pauses:?}");
}

/// Runs one once. Returns its longest pause.
async fn once(promise: Promise, fault: impl Future<Output = (Row, String)>) -> Duration {
    let begin = Instant::now();
    let fault = std::pin::pin!(fault);
    let Ok((row, logs)) = timeout(HANGS, fault).await else {
        // The nodes end with this, and say what they have logged.
        panic!("this fault has no end within {HANGS:?}");
    };
    let took = begin.elapsed();
    let seconds = took.as_secs_f64();
    eprintln!("{}\n{row}   ({seconds:.1} s)", Row::head());
    eprintln!("{}", row.paused);
    let kept = match promise {
        Promise::Whole | Promise::Quick => row.is_clean(),
        Promise::Rooms => row.is_clean_in_rooms(),
        Promise::Told => row.is_told(),
    };
    if !kept {
        panic!("{row}\n{}\n{logs}", row.words.join("\n"));
    }
    let longest = if is_full() { 2 * LONGEST } else { LONGEST };
    assert!(took < longest, "{row} took {seconds:.1} s\n{logs}");
    row.pause
}
