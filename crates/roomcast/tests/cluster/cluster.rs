//! Nodes, the Redis that they share, and the balancer before them: real processes, all of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::task::block_in_place;

use crate::DEADLINE;
use crate::balancer::Balancer;
use crate::fleet::TOKEN_SECRET;
use crate::lobby;
use crate::process::{Process, free_address, raise_file_limit};
use crate::redis_server::Server;

/// How long a lease lasts here: the default.
pub const LEASE: Duration = Duration::from_secs(3);

/// Settings of all nodes. A node that does not answer is soon noticed.
const SETTINGS: &[&str] = &[
    "kinds.arena.mode=state",
    "kinds.lobby.mode=relay",
    "server.shards=2",
    "session.secret=of these tests, thirty-two bytes long",
    "session.grace=20s",
    "heartbeat.ping_interval=1s",
    "heartbeat.pong_timeout=3s",
    // Longer than the balancer takes to see that a node is not ready.
    "shutdown.delay=500ms",
    "shutdown.deadline=10s",
    "kinds.hall.mode=relay",
];

/// How nodes talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    OverRedis,
    /// `cluster.listen`.
    FromNodeToNode,
}

impl Way {
    /// That of the tests which are not about one: the default, if nobody asks for the other one.
    pub fn of_all() -> Way {
        match std::env::var_os("ROOMCAST_NODE_TO_NODE") {
            Some(_) => Way::FromNodeToNode,
            None => Way::OverRedis,
        }
    }
}

pub struct Cluster {
    way: Way,
    /// `None`: nodes keep all in their memory.
    pub redis: Option<Server>,
    pub balancer: Balancer,
    pub nodes: Vec<Option<Process>>,
    /// What each node is started with.
    pub machines: Vec<Machine>,
    arguments: Vec<String>,
}

/// Where a node runs.
pub struct Machine {
    address: SocketAddr,
    /// Its binary.
    pub program: PathBuf,
    pub variables: Vec<(String, String)>,
    /// Beside those of all nodes.
    pub settings: Vec<String>,
}

impl Cluster {
    /// So many nodes at a Redis with these arguments.
    pub async fn start(way: Way, nodes: usize, redis: &[&str]) -> Cluster {
        let redis = block_in_place(|| Server::start(redis.iter().copied()));
        let url = redis.url();
        Cluster::at(way, nodes, Some(redis), &["--redis", &url]).await
    }

    /// The same, where Redis is reached in another way.
    pub async fn at(way: Way, nodes: usize, redis: Option<Server>, arguments: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(way, nodes, redis, arguments).await;
        cluster.start_all().await;
        cluster
    }

    /// The same, before any node is started.
    pub async fn prepare(
        way: Way,
        nodes: usize,
        redis: Option<Server>,
        arguments: &[&str],
    ) -> Cluster {
        raise_file_limit();
        let addresses: Vec<_> = (0..nodes).map(|_| free_address()).collect();
        let seed = u64::from(std::process::id());
        let engine = match arguments {
            [] => &[][..],
            _ => &["--engine", "redis"],
        };
        let machine = |address| Machine {
            address,
            program: PathBuf::from(env!("CARGO_BIN_EXE_roomcast")),
            variables: Vec::new(),
            settings: Vec::new(),
        };
        Cluster {
            way,
            redis,
            balancer: Balancer::start(addresses.clone(), seed).await,
            nodes: addresses.iter().map(|_| None).collect(),
            machines: addresses.into_iter().map(machine).collect(),
            arguments: engine
                .iter()
                .chain(arguments)
                .map(|&it| it.to_owned())
                .collect(),
        }
    }

    pub async fn start_all(&mut self) {
        for node in 0..self.machines.len() {
            self.start_node(node);
        }
        self.all_ready().await;
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("ws://{}", self.balancer.address)
    }

    pub fn redis(&mut self) -> &mut Server {
        self.redis.as_mut().unwrap()
    }

    pub fn start_node(&mut self, node: usize) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let machine = &self.machines[node];
        let places = format!("kinds.lobby.max_players={}", lobby::PLACES);
        let secret = format!("auth.hs256_secret={TOKEN_SECRET}");
        let own = machine.settings.iter().map(String::as_str);
        let settings = SETTINGS.iter().copied().chain([&*places, &*secret]);
        let listens = match self.way {
            Way::OverRedis => None,
            Way::FromNodeToNode => Some("cluster.listen=127.0.0.1:0"),
        };
        let settings: Vec<&str> = settings.chain(listens).chain(own).collect();
        let (program, variables) = (&machine.program, &machine.variables);
        let start = || Process::of(program, variables, machine.address, &arguments, &settings);
        let process = block_in_place(start);
        self.nodes[node] = Some(process);
    }

    pub fn kill_node(&mut self, node: usize) {
        let process = self.nodes[node].take().unwrap();
        block_in_place(|| process.kill());
    }

    /// SIGTERM, and waits for the end, which is in good order.
    pub fn end_node(&mut self, node: usize) {
        let process = self.nodes[node].take().unwrap();
        process.signal(Signal::TERM);
        assert!(block_in_place(|| process.ended_well()), "node {node}");
    }

    pub fn signal(&self, node: usize, signal: Signal) {
        self.nodes[node].as_ref().unwrap().signal(signal);
    }

    /// Until `/readyz` of each node that runs says yes, and it reaches the others as it is to.
    pub async fn all_ready(&self) {
        let begin = Instant::now();
        let others = self.nodes.iter().flatten().count() as u64 - 1;
        let reaches_all = |node: &Process| match self.way {
            Way::OverRedis => true,
            Way::FromNodeToNode => node.metric("roomcast_nodes_connected") == others,
        };
        for node in self.nodes.iter().flatten() {
            while !block_in_place(|| node.is_ready() && reaches_all(node)) {
                assert!(begin.elapsed() < DEADLINE, "{} is not ready", node.address);
                // `/readyz` has to be asked.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Until each node says that so many others have other settings.
    pub async fn all_see_differing(&self, expected: &[u64]) {
        let begin = Instant::now();
        let differing = |node: &Process| node.metric("roomcast_nodes_differing");
        loop {
            let seen: Vec<u64> =
                block_in_place(|| self.nodes.iter().flatten().map(differing).collect());
            if seen == expected {
                return;
            }
            assert!(begin.elapsed() < DEADLINE, "{seen:?}, not {expected:?}");
            // Metrics have to be asked for.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The node that is the home of most rooms.
    pub fn busiest(&self) -> usize {
        let rooms = |node: &Process| node.metric("roomcast_rooms");
        let homes: Vec<u64> = block_in_place(|| self.nodes.iter().flatten().map(rooms).collect());
        eprintln!("homes of rooms: {homes:?}");
        (0..homes.len()).max_by_key(|node| homes[*node]).unwrap()
    }

    /// What the nodes have logged last.
    pub fn logs(&self) -> String {
        let logs = self.nodes.iter().flatten();
        logs.map(|node| format!("--- {}\n{}", node.address, node.log()))
            .collect()
    }
}

impl Drop for Cluster {
    /// Whoever waits in vain wants to know why.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}
