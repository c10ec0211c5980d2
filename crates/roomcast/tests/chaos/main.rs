//! Real processes: many clients of the Rust SDK, a server of its own, and between them a network that breaks, or a
//! server that is killed. What was sent is counted at both ends.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "a panic is how a test fails"
)]

mod fleet;
#[path = "../../../engine/tests/common/ports.rs"]
mod ports;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/random.rs"]
mod random;
mod restart;
mod wire;

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fleet::{Group, MEMBERS, Outcome, auditor, log_of, member};
use process::{Process, free_address, raise_file_limit};
use tokio::task::JoinSet;
use wire::Chaos;

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Rooms of eight.
const GROUPS: usize = if cfg!(debug_assertions) { 8 } else { 125 };
/// Chats of each member.
const CHATS: usize = 32;
/// Harms done for each client.
const HARMS: usize = 8;

/// One fleet at a time.
pub static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    let in_time = tokio::time::timeout(DEADLINE, what).await;
    in_time.expect("it took too long")
}

/// What all have come to, in their order; the first that fails is the end.
async fn all_of<K: Ord + 'static, T: 'static>(mut tasks: JoinSet<(K, T)>) -> BTreeMap<K, T> {
    let mut all = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        all.extend([done.unwrap()]);
    }
    all
}

fn seed() -> u64 {
    match std::env::var("ROOMCAST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 % 1_000_000,
    }
}

/// Connections are cut, reset, stalled, torn apart within frames and left in silence: each message is in the log once
/// and reaches each member once, in the log's order, and nobody is seen to leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_over_a_bad_network_lose_nothing_and_get_nothing_twice() {
    let _one = ONE.lock().await;
    raise_file_limit();
    let seed = seed();
    eprintln!("ROOMCAST_SEED={seed} draws the same harms");
    let settings = ["heartbeat.ping_interval=2s", "heartbeat.pong_timeout=5s"];
    let server = Process::start(free_address(), &settings);
    let clients = GROUPS * MEMBERS;
    let chaos = Chaos::start(server.address, seed, clients * HARMS).await;
    let url = format!("ws://{}", chaos.address);

    let mut members = JoinSet::new();
    for number in 0..GROUPS {
        let group = Group::new(number, &url, CHATS);
        for place in 0..MEMBERS {
            let group = group.clone();
            members.spawn(async move {
                let outcome = member(group.clone(), place).await;
                ((number, place), (group, outcome))
            });
        }
    }
    let outcomes: Vec<_> = in_time(all_of(members)).await.into_values().collect();
    let groups: Vec<_> = outcomes.chunks(MEMBERS).collect();

    eprintln!(
        "{clients} clients, {} connections, {} harms; {} resumes, {} takeovers, {} repeats not done twice",
        chaos.connections(),
        (clients * HARMS) as i64 - chaos.harms_left().max(0),
        server.metric("roomcast_sessions_resumed_total"),
        server.metric("roomcast_takeovers_total"),
        server.metric("roomcast_repeats_total"),
    );
    let chats = (clients * CHATS) as u64;
    let directs = (clients * groups[0][0].0.directs()) as u64;
    let arrivals = clients as u64;
    assert_eq!(server.metric("roomcast_events_total"), chats + arrivals);
    assert_eq!(server.metric("roomcast_inbox_messages_total"), directs);
    assert!(server.metric("roomcast_sessions_resumed_total") > arrivals);
    assert!(server.metric("roomcast_repeats_total") > 0);

    let auditor = auditor(&server);
    for members in groups {
        let log = in_time(log_of(&auditor, &members[0].0.room)).await;
        assert_eq!(log.len(), MEMBERS * CHATS, "the log has each chat once");
        let texts: HashSet<_> = log.iter().map(|heard| &heard.text).collect();
        assert_eq!(texts.len(), log.len(), "and none twice");
        for (place, (group, outcome)) in members.iter().enumerate() {
            assert_eq!(outcome.heard, log, "{place} of {}", group.room);
            check_acks(outcome, &log);
            let before = &members[(place + MEMBERS - 1) % MEMBERS].1;
            check_direct(group, outcome, &before.client.client_id());
        }
    }
}

/// What was acked is where the ack says.
fn check_acks(outcome: &Outcome, log: &[fleet::Heard]) {
    let own = outcome.client.client_id();
    let own = log.iter().filter(|heard| heard.from == own);
    let own: Vec<_> = own.map(|it| (it.text.clone(), it.offset)).collect();
    assert_eq!(outcome.acked, own);
}

/// All of the neighbour's, in their order, and of nobody else.
fn check_direct(group: &Arc<Group>, outcome: &Outcome, from: &str) {
    let mut offset = 0;
    for (number, heard) in outcome.direct.iter().enumerate() {
        let seq = number as u64 + 1;
        assert_eq!(
            (heard.from.as_str(), heard.seq),
            (from, seq),
            "{}",
            group.room
        );
        assert!(heard.offset > offset, "{heard:?}");
        offset = heard.offset;
    }
    assert_eq!(outcome.direct.len(), group.directs());
}
