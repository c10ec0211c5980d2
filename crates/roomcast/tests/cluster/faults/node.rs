//! What happens to nodes.

use std::path::PathBuf;

use rustix::process::Signal;
use tokio::task::block_in_place;

use super::redis::KEEPS_ALL;
use super::{Outcome, Test, over, talking};
use crate::cluster::Cluster;
use crate::load;
use crate::redis_server::Server;
use crate::run::Run;

pub(super) async fn only_one_killed(test: Test) -> Outcome {
    let (mut cluster, run) = talking(test, 1, KEEPS_ALL).await;
    cluster.kill_node(0);
    cluster.start_node(0);
    over(test, cluster, run).await
}

/// Of some rooms it was the home, of some it had members, of some both.
pub(super) async fn one_killed(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    let node = cluster.busiest();
    cluster.kill_node(node);
    run.go_on().await;
    cluster.start_node(node);
    over(test, cluster, run).await
}

/// The next one when the one before is there again.
pub(super) async fn all_killed_in_turn(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    for _ in 0..3 {
        let node = cluster.busiest();
        cluster.kill_node(node);
        run.go_on().await;
        cluster.start_node(node);
        cluster.all_ready().await;
    }
    over(test, cluster, run).await
}

pub(super) async fn one_ended(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    let node = cluster.busiest();
    cluster.end_node(node);
    run.go_on().await;
    cluster.start_node(node);
    over(test, cluster, run).await
}

/// Until all its clients are elsewhere and its rooms have other homes. Then it goes on as if nothing had been.
pub(super) async fn one_stopped(test: Test) -> Outcome {
    let (cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    let node = cluster.busiest();
    cluster.signal(node, Signal::STOP);
    run.go_on().await;
    cluster.signal(node, Signal::CONT);
    run.go_on().await;
    over(test, cluster, run).await
}

pub(super) async fn all_in_turn(test: Test) -> Outcome {
    let (mut cluster, mut run) = talking(test, 3, KEEPS_ALL).await;
    for node in 0..3 {
        cluster.end_node(node);
        cluster.start_node(node);
        cluster.all_ready().await;
        run.go_on().await;
    }
    over(test, cluster, run).await
}

/// Nodes of two versions: the one before is the binary that `ROOMCAST_PREVIOUS` names, and then all go back to it at last.
/// Without it, it is the same.
pub(super) async fn all_by_another_version(test: Test) -> Outcome {
    let redis = block_in_place(|| Server::start(KEEPS_ALL.iter().copied()));
    let url = redis.url();
    let mut cluster = Cluster::prepare(test.way, 3, Some(redis), &["--redis", &url]).await;
    let this = cluster.machines[0].program.clone();
    let previous = std::env::var_os("ROOMCAST_PREVIOUS").map(PathBuf::from);
    let before = previous.clone().unwrap_or(this.clone());
    cluster
        .machines
        .iter_mut()
        .for_each(|it| it.program = before.clone());
    cluster.start_all().await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    // One goes back to the version before.
    let mut roll = vec![(0, &this), (1, &this), (0, &before), (2, &this)];
    if previous.is_some() {
        // For a while there is none of it.
        roll.extend([(0, &this), (0, &before), (1, &before), (2, &before)]);
    }
    for (node, program) in roll {
        cluster.end_node(node);
        cluster.machines[node].program.clone_from(program);
        cluster.start_node(node);
        cluster.all_ready().await;
        run.go_on().await;
    }
    over(test, cluster, run).await
}
