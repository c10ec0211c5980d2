//! What happens to several Redis that belong together.

use std::time::{Duration, Instant};

use roomcast_engine::redis::Value;
use tokio::task::block_in_place;

use super::{Outcome, over};
use crate::cluster::Cluster;
use crate::redis_server::Server;
use crate::run::Run;
use crate::{DEADLINE, load};

/// A replica takes over, without what had not reached it: the homes write that again.
pub(super) async fn sentinel_fails_over(name: &'static str) -> Outcome {
    let quick = ["--repl-diskless-sync-delay", "0"];
    let mut first = block_in_place(|| Server::start(quick));
    let replica_of = format!("127.0.0.1 {}", first.port);
    let _second =
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
    let url = sentinel.url();
    let arguments = ["--redis", &url, "--redis-mode", "sentinel:main"];
    let cluster = Cluster::at(3, None, &arguments).await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    block_in_place(|| first.kill());
    over(name, cluster, run).await
}

/// All slots of one master go to another, one after the other, with their keys.
pub(super) async fn slots_move(name: &'static str) -> Outcome {
    let masters = block_in_place(|| [(); 3].map(|()| master()));
    for (at, master) in masters.iter().enumerate() {
        let (first, last) = (16_384 * at / 3, 16_384 * (at + 1) / 3 - 1);
        ask(master, &format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1));
        ask(master, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
        let bus = match ask(master, "CONFIG GET cluster-port") {
            Value::Array(pair) => pair[1].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        ask(
            &masters[0],
            &format!("CLUSTER MEET 127.0.0.1 {} {bus}", master.port),
        );
    }
    until("the Redis Cluster", || {
        masters.iter().all(|master| {
            let info = master.text("CLUSTER INFO");
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
    })
    .await;
    let url = masters[0].url();
    let arguments = ["--redis", &url, "--redis-mode", "cluster"];
    let cluster = Cluster::at(3, None, &arguments).await;
    let mut run = Run::start(&cluster.url(), load()).await;
    run.begins();
    let ids = [0, 1].map(|at| masters[at].text("CLUSTER MYID"));
    for slot in 0..16_384 / 3 {
        let [from, to] = [&masters[0], &masters[1]];
        let keys = match ask(from, &format!("CLUSTER GETKEYSINSLOT {slot} 1000")) {
            Value::Array(keys) => keys,
            other => panic!("{other:?}"),
        };
        // Slots without keys would take longer than the test.
        if keys.is_empty() {
            continue;
        }
        ask(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]));
        ask(
            from,
            &format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]),
        );
        for key in &keys {
            let key = key.as_str().unwrap();
            ask(from, &format!("MIGRATE 127.0.0.1 {} {key} 0 1000", to.port));
        }
        for master in [1, 0, 2] {
            ask(
                &masters[master],
                &format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]),
            );
        }
    }
    over(name, cluster, run).await
}

fn master() -> Server {
    let bus = crate::ports::free_port().to_string();
    Server::start([
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        "1000",
    ])
}

fn ask(redis: &Server, line: &str) -> Value {
    let answer = block_in_place(|| redis.ask(line));
    assert!(!matches!(answer, Value::Error(_)), "{line}: {answer:?}");
    answer
}

/// Sentinel and Redis Cluster have to be asked what they have come to.
async fn until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !block_in_place(&done) {
        assert!(begin.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
