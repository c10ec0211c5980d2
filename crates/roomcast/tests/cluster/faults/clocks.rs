//! What happens to clocks: those on the wall. How much time has passed is another matter, which nobody changes.

use tokio::task::block_in_place;

use super::redis::KEEPS_ALL;
use super::{Outcome, Test, over};
use crate::cluster::Cluster;
use crate::load;
use crate::redis_server::Server;
use crate::run::Run;
use crate::wall_clock::{Clock, HOUR};

/// One is ahead, one is right, one is behind. Rooms go from each to each.
pub(super) async fn apart(test: Test) -> Outcome {
    let redis = block_in_place(|| Server::start(KEEPS_ALL.iter().copied()));
    let url = redis.url();
    let mut cluster = Cluster::prepare(test.way, 3, Some(redis), &["--redis", &url]).await;
    let clocks = [HOUR, 0, -HOUR].map(|ahead| block_in_place(|| Clock::new(ahead)));
    for (machine, clock) in cluster.machines.iter_mut().zip(&clocks) {
        machine.variables = clock.variables();
    }
    cluster.start_all().await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    // From behind to ahead, and then from ahead to behind.
    for node in [2, 0] {
        cluster.kill_node(node);
        run.go_on().await;
        cluster.start_node(node);
        cluster.all_ready().await;
    }
    over(test, cluster, run).await
}

/// All leases are over at once, and nobody is dead.
pub(super) async fn redis_jumps_ahead(test: Test) -> Outcome {
    jumps(test, HOUR).await
}

/// All leases are of the future, and that of a node that is dead too.
pub(super) async fn redis_jumps_back(test: Test) -> Outcome {
    jumps(test, -HOUR).await
}

async fn jumps(test: Test, by: i64) -> Outcome {
    let clock = block_in_place(|| Clock::new(0));
    let redis = block_in_place(|| Server::start_with(KEEPS_ALL.iter().copied(), clock.variables()));
    let url = redis.url();
    let mut cluster = Cluster::at(test.way, 3, Some(redis), &["--redis", &url]).await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    clock.set(by);
    run.go_on().await;
    let node = cluster.busiest();
    cluster.kill_node(node);
    clock.set(2 * by);
    run.go_on().await;
    cluster.start_node(node);
    over(test, cluster, run).await
}
