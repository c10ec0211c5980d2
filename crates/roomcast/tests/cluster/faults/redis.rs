//! What happens to Redis.

use std::net::SocketAddr;
use std::time::Duration;

use roomcast_engine::redis::Value;
use tokio::task::block_in_place;

use super::{Outcome, Test, lasts, over, talking};
use crate::balancer::SlowWire;
use crate::cluster::{Cluster, LEASE};
use crate::load;
use crate::redis_server::Server;
use crate::run::Run;

/// What was answered is there again after kill -9.
pub(super) const KEEPS_ALL: &[&str] = &["--appendonly", "yes", "--maxmemory-policy", "noeviction"];
/// It has what a SAVE has written.
const KEEPS_SAVED: &[&str] = &["--maxmemory-policy", "noeviction"];

fn ask(redis: &Server, line: &str) {
    let answer = block_in_place(|| redis.ask(line));
    assert!(!matches!(answer, Value::Error(_)), "{line}: {answer:?}");
}

pub(super) async fn with_its_data(test: Test) -> Outcome {
    let (mut cluster, run) = talking(test, 3, KEEPS_ALL).await;
    block_in_place(|| cluster.redis().restart());
    over(test, cluster, run).await
}

pub(super) async fn empty(test: Test) -> Outcome {
    let (mut cluster, run) = talking(test, 3, KEEPS_SAVED).await;
    block_in_place(|| cluster.redis().restart_empty());
    over(test, cluster, run).await
}

pub(super) async fn older(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_SAVED).await;
    ask(cluster.redis(), "SAVE");
    run.answered(10).await;
    block_in_place(|| cluster.redis().restart());
    over(test, cluster, run).await
}

pub(super) async fn and_a_node(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    let node = cluster.busiest();
    cluster.kill_node(node);
    block_in_place(|| cluster.redis().restart());
    run.go_on().await;
    cluster.start_node(node);
    over(test, cluster, run).await
}

pub(super) async fn and_a_node_empty(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_SAVED).await;
    let node = cluster.busiest();
    cluster.kill_node(node);
    block_in_place(|| cluster.redis().restart_empty());
    run.go_on().await;
    cluster.start_node(node);
    over(test, cluster, run).await
}

pub(super) async fn and_a_node_older(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_SAVED).await;
    ask(cluster.redis(), "SAVE");
    run.answered(10).await;
    let node = cluster.busiest();
    cluster.kill_node(node);
    block_in_place(|| cluster.redis().restart());
    run.go_on().await;
    cluster.start_node(node);
    over(test, cluster, run).await
}

pub(super) async fn connections_killed(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    for _ in 0..5 {
        for kind in ["normal", "pubsub"] {
            let kill = format!("CLIENT KILL TYPE {kind} SKIPME yes");
            match block_in_place(|| cluster.redis().ask(&kill)) {
                Value::Int(killed @ 3..) => eprintln!("{killed} of {kind}"),
                other => panic!("each node has some of {kind}: {other:?}"),
            }
            run.answered(1).await;
        }
    }
    over(test, cluster, run).await
}

/// Once for less than a lease, and once for longer.
pub(super) async fn stopped(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    for time in [LEASE / 3, LEASE * 2] {
        cluster.redis().signal("STOP");
        lasts(time).await;
        cluster.redis().signal("CONT");
        run.go_on().await;
    }
    over(test, cluster, run).await
}

pub(super) async fn scripts_flushed(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    for _ in 0..5 {
        ask(cluster.redis(), "SCRIPT FLUSH");
        run.answered(1).await;
    }
    over(test, cluster, run).await
}

pub(super) async fn all_flushed(test: Test) -> Outcome {
    let (mut cluster, run) = talking(test, 3, KEEPS_ALL).await;
    ask(cluster.redis(), "FLUSHALL");
    over(test, cluster, run).await
}

pub(super) async fn out_of_memory(test: Test) -> Outcome {
    let (mut cluster, run) = talking(test, 3, KEEPS_ALL).await;
    ask(cluster.redis(), "CONFIG SET maxmemory 1");
    lasts(LEASE * 2).await;
    ask(cluster.redis(), "CONFIG SET maxmemory 0");
    over(test, cluster, run).await
}

/// Answers are late by 50 ms, and then by 500.
pub(super) async fn slow(test: Test) -> Outcome {
    let redis = block_in_place(|| Server::start(KEEPS_ALL.iter().copied()));
    let wire = SlowWire::start(SocketAddr::from(([127, 0, 0, 1], redis.port))).await;
    let url = format!("redis://{}", wire.address);
    let cluster = Cluster::at(test.way, 3, Some(redis), &["--redis", &url]).await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    for late in [50, 500] {
        wire.late(Duration::from_millis(late));
        run.go_on().await;
    }
    wire.late(Duration::ZERO);
    over(test, cluster, run).await
}

pub(super) async fn no_scripts(test: Test) -> Outcome {
    without(test, "-@scripting").await
}

/// In the middle of what scripts do.
pub(super) async fn no_writes(test: Test) -> Outcome {
    without(test, "-hset").await
}

pub(super) async fn no_info_and_publish(test: Test) -> Outcome {
    without(test, "-info -publish").await
}

pub(super) async fn no_keys(test: Test) -> Outcome {
    without(test, "resetkeys ~of-others:*").await
}

/// Who is subscribed is closed.
pub(super) async fn no_channels(test: Test) -> Outcome {
    without(test, "resetchannels &of-others:*").await
}

/// Rights are taken away, and given back after a lease.
async fn without(test: Test, rights: &str) -> Outcome {
    let (mut cluster, run) = talking(test, 3, KEEPS_ALL).await;
    ask(cluster.redis(), &format!("ACL SETUSER default {rights}"));
    lasts(LEASE).await;
    ask(cluster.redis(), "ACL SETUSER default +@all ~* &*");
    over(test, cluster, run).await
}
