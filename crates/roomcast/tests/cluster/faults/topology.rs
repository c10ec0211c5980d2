//! What happens to several Redis that belong together.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomcast_engine::redis::Value;
use tokio::task::block_in_place;

use super::{Outcome, Test, lasts, over};
use crate::balancer::SlowWire;
use crate::cluster::{Cluster, LEASE};
use crate::redis_cluster::RedisCluster;
use crate::redis_server::Server;
use crate::run::Run;
use crate::{DEADLINE, load};

/// A Redis, its replica, and who watches them.
struct Watched {
    both: [Server; 2],
    /// From the replica to the Redis.
    wire: SlowWire,
    sentinel: Server,
}

impl Watched {
    async fn start() -> Watched {
        let quick = ["--repl-diskless-sync-delay", "0"];
        let first = block_in_place(|| Server::start(quick));
        let wire = SlowWire::start(SocketAddr::from(([127, 0, 0, 1], first.port))).await;
        let replica_of = format!("127.0.0.1 {}", wire.address.port());
        let second =
            block_in_place(|| Server::start(quick.into_iter().chain(["--replicaof", &replica_of])));
        let sentinel = block_in_place(|| {
            Server::sentinel(&format!(
                "sentinel monitor main 127.0.0.1 {} 1\n\
                 sentinel down-after-milliseconds main 500\n\
                 sentinel failover-timeout main 1000\n",
                first.port
            ))
        });
        // It looks at its Redis more often than every ten seconds.
        block_in_place(|| sentinel.ask("SENTINEL DEBUG info-period 100 publish-period 100"));
        until("the Sentinel to know the replica", || {
            let replicas = sentinel.ask("SENTINEL REPLICAS main");
            matches!(replicas, Value::Array(replicas) if replicas.len() == 1)
        })
        .await;
        Watched {
            both: [first, second],
            wire,
            sentinel,
        }
    }

    async fn talking(&self, test: Test) -> (Cluster, Run) {
        let url = self.sentinel.url();
        let arguments = ["--redis", &url, "--redis-mode", "sentinel:main"];
        let cluster = Cluster::at(test.way, 3, None, &arguments).await;
        let mut run = Run::start(&cluster.url(), load()).await;
        run.begins();
        (cluster, run)
    }
}

/// A replica takes over, without what had not reached it: the homes write that again.
pub(super) async fn sentinel_fails_over(test: Test) -> Outcome {
    let mut watched = Watched::start().await;
    let (cluster, mut run) = watched.talking(test).await;
    watched.wire.late(Duration::from_secs(2));
    run.answered(10).await;
    block_in_place(|| watched.both[0].kill());
    over(test, cluster, run).await
}

/// The first was only stopped: it has its process still, and lacks what was written meanwhile. Then it takes over again.
pub(super) async fn sentinel_fails_over_and_back(test: Test) -> Outcome {
    let watched = Watched::start().await;
    let (cluster, mut run) = watched.talking(test).await;
    let [first, second] = &watched.both;
    first.signal("STOP");
    run.go_on().await;
    first.signal("CONT");
    until("the first to be a replica", || {
        let info = first.text("INFO replication");
        info.contains("role:slave") && info.contains("master_link_status:up")
    })
    .await;
    until("the Sentinel to see that", || {
        let info = match watched.sentinel.ask("SENTINEL REPLICAS main") {
            Value::Array(replicas) => replicas.into_iter().next().unwrap(),
            other => panic!("{other:?}"),
        };
        let info: Vec<String> = match info {
            Value::Array(words) => words
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            other => panic!("{other:?}"),
        };
        let of = |key: &str| {
            info.chunks(2)
                .find(|pair| pair[0] == key)
                .map(|pair| pair[1].clone())
        };
        of("flags").as_deref() == Some("slave") && of("master-link-status").as_deref() == Some("ok")
    })
    .await;
    run.go_on().await;
    second.signal("STOP");
    run.go_on().await;
    second.signal("CONT");
    // It is told to be a replica again.
    for kind in ["normal", "pubsub"] {
        block_in_place(|| {
            watched
                .sentinel
                .ask(&format!("CLIENT KILL TYPE {kind} SKIPME yes"))
        });
        run.go_on().await;
    }
    over(test, cluster, run).await
}

/// The slots of one master that have keys go to another, one after the other.
pub(super) async fn slots_move(test: Test) -> Outcome {
    let redis = block_in_place(|| RedisCluster::start(0));
    let (cluster, mut run) = at_cluster(test, &redis).await;
    run.begins();
    block_in_place(|| {
        for slot in 0..16_384 / 3 {
            // All others would take longer than the test.
            if redis.keys_in(0, slot) > 0 {
                redis.move_slot(slot, 0, 1);
            }
        }
    });
    over(test, cluster, run).await
}

/// The replica of one of three masters takes over, without what had not reached it.
pub(super) async fn shard_fails_over(test: Test) -> Outcome {
    let mut redis = block_in_place(|| RedisCluster::start(1));
    let (cluster, mut run) = at_cluster(test, &redis).await;
    run.begins();
    block_in_place(|| redis.nodes[0].kill());
    over(test, cluster, run).await
}

/// One of three masters stands still for longer than a lease.
pub(super) async fn shard_is_away(test: Test) -> Outcome {
    let redis = block_in_place(|| RedisCluster::start(0));
    let (cluster, mut run) = at_cluster(test, &redis).await;
    run.begins();
    redis.nodes[0].signal("STOP");
    lasts(2 * LEASE).await;
    redis.nodes[0].signal("CONT");
    over(test, cluster, run).await
}

async fn at_cluster(test: Test, redis: &RedisCluster) -> (Cluster, Run) {
    let url = redis.url();
    let arguments = ["--redis", &url, "--redis-mode", "cluster"];
    let cluster = Cluster::at(test.way, 3, None, &arguments).await;
    let run = Run::start(&cluster.url(), load()).await;
    (cluster, run)
}

/// A Sentinel has to be asked what it has come to.
async fn until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !block_in_place(&done) {
        assert!(begin.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
