//! What happens to nodes.

use rustix::process::Signal;

use super::redis::KEEPS_ALL;
use super::{Outcome, over, talking};

pub(super) async fn only_one_killed(name: &'static str) -> Outcome {
    let (mut cluster, run) = talking(1, KEEPS_ALL).await;
    cluster.kill_node(0);
    cluster.start_node(0);
    over(name, cluster, run).await
}

/// Of some rooms it was the home, of some it had members, of some both.
pub(super) async fn one_killed(name: &'static str) -> Outcome {
    let (mut cluster, mut run) = talking(3, KEEPS_ALL).await;
    let node = cluster.busiest();
    cluster.kill_node(node);
    run.go_on().await;
    cluster.start_node(node);
    over(name, cluster, run).await
}

/// The next one when the one before is there again.
pub(super) async fn all_killed_in_turn(name: &'static str) -> Outcome {
    let (mut cluster, mut run) = talking(3, KEEPS_ALL).await;
    for _ in 0..3 {
        let node = cluster.busiest();
        cluster.kill_node(node);
        run.go_on().await;
        cluster.start_node(node);
        cluster.all_ready().await;
    }
    over(name, cluster, run).await
}

pub(super) async fn one_ended(name: &'static str) -> Outcome {
    let (mut cluster, mut run) = talking(3, KEEPS_ALL).await;
    let node = cluster.busiest();
    cluster.end_node(node);
    run.go_on().await;
    cluster.start_node(node);
    over(name, cluster, run).await
}

/// Until all its clients are elsewhere and its rooms have other homes. Then it goes on as if nothing had been.
pub(super) async fn one_stopped(name: &'static str) -> Outcome {
    let (cluster, mut run) = talking(3, KEEPS_ALL).await;
    let node = cluster.busiest();
    cluster.signal(node, Signal::STOP);
    run.go_on().await;
    cluster.signal(node, Signal::CONT);
    run.go_on().await;
    over(name, cluster, run).await
}

pub(super) async fn all_in_turn(name: &'static str) -> Outcome {
    let (mut cluster, mut run) = talking(3, KEEPS_ALL).await;
    for node in 0..3 {
        cluster.end_node(node);
        cluster.start_node(node);
        cluster.all_ready().await;
        run.go_on().await;
    }
    over(name, cluster, run).await
}
