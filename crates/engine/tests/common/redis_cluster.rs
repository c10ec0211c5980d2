//! A real Redis Cluster for a test: three masters with equal shares of the slots, and replicas.

use std::time::{Duration, Instant};

use roomcast_engine::redis::Value;

use crate::ports::free_port;
use crate::redis_server::{DEADLINE, Server};

/// Slots of a Cluster.
const SLOTS: usize = 16_384;

pub(crate) struct RedisCluster {
    /// Three masters, and the replica of each where there are some.
    pub(crate) nodes: Vec<Server>,
}

impl RedisCluster {
    /// With a replica of the first master, or of none.
    pub(crate) fn start(replicas: usize) -> RedisCluster {
        let nodes: Vec<_> = (0..3 + replicas).map(|_| node()).collect();
        let cluster = RedisCluster { nodes };
        for at in 0..cluster.nodes.len() {
            cluster.ask(at, &format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1));
            if at < 3 {
                let (first, last) = (SLOTS * at / 3, SLOTS * (at + 1) / 3 - 1);
                cluster.ask(at, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"));
            }
            let Value::Array(pair) = cluster.ask(at, "CONFIG GET cluster-port") else {
                panic!("no port");
            };
            let (port, bus) = (cluster.nodes[at].port, pair[1].as_str().expect("a port"));
            cluster.ask(0, &format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
        }
        for replica in 3..3 + replicas {
            let master = cluster.id(replica - 3);
            until("the replica to know its master", || {
                let done = cluster.nodes[replica].ask(&format!("CLUSTER REPLICATE {master}"));
                !matches!(done, Value::Error(_))
            });
        }
        until("the Redis Cluster", || {
            let mut nodes = cluster.nodes.iter();
            nodes.all(|node| node.has_met(cluster.nodes.len(), replicas))
        });
        for replica in 3..3 + replicas {
            until("the copy", || {
                let info = cluster.nodes[replica].text("INFO replication");
                info.contains("master_link_status:up")
            });
        }
        cluster
    }

    /// One of them is enough: the others are learned.
    pub(crate) fn url(&self) -> String {
        self.nodes[1].url()
    }

    /// Asks a node for something that it does.
    pub(crate) fn ask(&self, node: usize, line: &str) -> Value {
        let answer = self.nodes[node].ask(line);
        assert!(!matches!(answer, Value::Error(_)), "{line}: {answer:?}");
        answer
    }

    pub(crate) fn id(&self, node: usize) -> String {
        self.nodes[node].text("CLUSTER MYID")
    }

    /// Moves a slot with its keys, as `redis-cli --cluster reshard` does.
    pub(crate) fn move_slot(&self, slot: usize, from: usize, to: usize) {
        let (id_of_from, id_of_to) = (self.id(from), self.id(to));
        self.ask(
            to,
            &format!("CLUSTER SETSLOT {slot} IMPORTING {id_of_from}"),
        );
        self.ask(
            from,
            &format!("CLUSTER SETSLOT {slot} MIGRATING {id_of_to}"),
        );
        // No new key comes here from now on.
        loop {
            let keys = self.ask(from, &format!("CLUSTER GETKEYSINSLOT {slot} 1000"));
            let keys = keys.as_array().expect("keys").iter();
            let keys: Vec<_> = keys.filter_map(Value::as_str).collect();
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let port = self.nodes[to].port;
                self.ask(from, &format!("MIGRATE 127.0.0.1 {port} {key} 0 1000"));
            }
        }
        for node in [to, from].into_iter().chain(0..3) {
            self.ask(node, &format!("CLUSTER SETSLOT {slot} NODE {id_of_to}"));
        }
    }

    /// How many keys are in a slot at a node.
    pub(crate) fn keys_in(&self, node: usize, slot: usize) -> i64 {
        let keys = self.ask(node, &format!("CLUSTER COUNTKEYSINSLOT {slot}"));
        keys.as_int().expect("a number")
    }
}

fn node() -> Server {
    let bus = free_port().to_string();
    Server::start([
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        "1000",
        "--cluster-replica-validity-factor",
        "0",
        "--cluster-require-full-coverage",
        "no",
        "--repl-diskless-sync-delay",
        "0",
    ])
}

/// A Redis Cluster has to be asked what it has come to.
fn until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
