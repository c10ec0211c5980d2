//! Nodes on free ports of this machine, and the Redis that they share.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::guard::{Guard, Kept};
use super::redis::Redis;
use crate::bench::client::Route;
use crate::bench::error::{Error, Result};
use crate::bench::options::Options;
use crate::bench::target::LIMITS_OFF;

/// How long nodes may take until rooms can be opened.
const PATIENCE: Duration = Duration::from_secs(60);

/// What keeps rooms and sessions, and what nodes talk over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Memory,
    /// Nodes talk over Redis.
    Redis,
    /// Nodes talk from one to the other (`cluster.listen`).
    Peers,
}

impl Engine {
    /// For tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Memory => "memory",
            Engine::Redis => "redis",
            Engine::Peers => "redis, cluster.listen",
        }
    }
}

/// All of them, ended with this value.
pub(crate) struct Cluster {
    // The nodes end first: nobody misses Redis.
    nodes: Vec<Node>,
    redis: Option<Redis>,
    pub(super) guard: Arc<Guard>,
    directory: PathBuf,
    program: PathBuf,
    engine: Engine,
    lease: &'static str,
    settings: Vec<String>,
}

struct Node {
    address: SocketAddr,
    /// Where other nodes reach it, if they do.
    peers: SocketAddr,
    process: Option<Kept>,
}

impl Cluster {
    /// Starts so many nodes with one shard each, and waits until rooms can be opened.
    pub(crate) fn start(nodes: u32, engine: Engine, options: &Options) -> Result<Cluster> {
        Cluster::start_with(nodes, engine, options, &[])
    }

    /// The same, with these settings (`section.key=value`).
    pub(crate) fn start_with(
        nodes: u32,
        engine: Engine,
        options: &Options,
        settings: &[String],
    ) -> Result<Cluster> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if options.url.is_some() {
            let why = "this benchmark starts its own servers: --url is not for it";
            return Err(Error::new(why));
        }
        let (own, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(format!("roomcast-bench-{own}-{count}"));
        fs::create_dir_all(&directory)?;
        let program = match &options.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        let mut cluster = Cluster {
            nodes: Vec::new(),
            redis: None,
            guard: Guard::start()?,
            directory,
            program,
            engine,
            lease: if options.quick { "1s" } else { "3s" },
            settings: settings.to_vec(),
        };
        if engine != Engine::Memory {
            cluster.redis = Some(Redis::start(&cluster.directory, &cluster.guard)?);
        }
        fs::write(cluster.config(), LIMITS_OFF)?;
        cluster.add_nodes(nodes)?;
        Ok(cluster)
    }

    /// Starts so many nodes more, and waits until all are ready.
    pub(crate) fn add_nodes(&mut self, count: u32) -> Result<()> {
        let first = self.nodes.len();
        // Two each: nobody listens there before the node does, so they are taken together.
        let mut addresses = free_addresses(2 * count as usize)
            .collect::<Vec<_>>()
            .into_iter();
        while let (Some(address), Some(peers)) = (addresses.next(), addresses.next()) {
            self.nodes.push(Node {
                address,
                peers,
                process: None,
            });
        }
        if self.nodes.len() < first + count as usize {
            return Err(Error::new("there are not enough free ports"));
        }
        (first..self.nodes.len()).try_for_each(|node| self.start_node(node))?;
        self.wait_until_ready()
    }

    pub(crate) fn start_node(&mut self, number: usize) -> Result<()> {
        let node = &self.nodes[number];
        let log = File::create(self.log(number))?;
        let mut command = Command::new(&self.program);
        // What is set for this program is not meant for its nodes.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ROOMCAST_") {
                command.env_remove(name);
            }
        }
        command.arg("serve").arg("--config").arg(self.config());
        command.args(["--listen", &node.address.to_string(), "--shards", "1"]);
        command.args(["--set", "server.metrics=true", "--log-level", "warn"]);
        command.args(["--set", "session.secret=one for all nodes of a benchmark"]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        if let Some(redis) = &self.redis {
            let url = format!("redis://127.0.0.1:{}", redis.port);
            command.args(["--engine", "redis", "--redis", &url]);
            command.args(["--set", &format!("redis.lease={}", self.lease)]);
            if self.engine == Engine::Peers {
                command.args(["--set", &format!("cluster.listen={}", node.peers)]);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.nodes[number].process = Some(Kept::start(&mut command, &self.guard)?);
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill_node(&mut self, number: usize) {
        self.nodes[number].process = None;
    }

    /// SIGTERM.
    pub(crate) fn end_node(&self, number: usize) -> Result<()> {
        match &self.nodes[number].process {
            Some(process) => process.terminate(),
            None => Ok(()),
        }
    }

    /// Whether a node has ended; that it failed is an error.
    pub(crate) fn has_ended(&mut self, number: usize) -> Result<bool> {
        let Some(process) = &mut self.nodes[number].process else {
            return Ok(true);
        };
        let Some(status) = process.ended()? else {
            return Ok(false);
        };
        self.nodes[number].process = None;
        match status.success() {
            true => Ok(true),
            false => {
                let said = self.said(number);
                Err(Error::new(format!(
                    "a node ended: {status}; it said:\n{said}"
                )))
            }
        }
    }

    /// Until `/readyz` of each node that runs says yes.
    pub(crate) fn wait_until_ready(&self) -> Result<()> {
        let begin = Instant::now();
        for (number, node) in self.nodes.iter().enumerate() {
            while node.process.is_some() && !is_ready(node.address) {
                if begin.elapsed() > PATIENCE {
                    let said = self.said(number);
                    return Err(Error::new(format!("a node is not ready; it said:\n{said}")));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// Whether `/readyz` of each node says yes now.
    pub(crate) fn are_ready(&self) -> bool {
        self.nodes.iter().all(|node| is_ready(node.address))
    }

    /// The way to all nodes.
    pub(crate) fn route(&self) -> Route {
        self.route_to(0..self.nodes.len())
    }

    /// The way to some of them.
    pub(crate) fn route_to(&self, nodes: impl IntoIterator<Item = usize>) -> Route {
        let nodes = nodes.into_iter().map(|node| self.nodes[node].address);
        let nodes: Vec<SocketAddr> = nodes.collect();
        Route {
            host: nodes
                .first()
                .map_or_else(String::new, SocketAddr::to_string),
            nodes,
            path: "/ws".to_owned(),
            first: 0,
            homes: Vec::new(),
            source: 0,
        }
    }

    /// The Redis of a cluster that has one.
    pub(crate) fn redis(&mut self) -> Result<&mut Redis> {
        let redis = self.redis.as_mut();
        redis.ok_or_else(|| Error::new("this cluster has no Redis"))
    }

    /// The processes of the nodes.
    pub(crate) fn nodes(&self) -> Vec<u32> {
        let processes = self.nodes.iter().filter_map(|node| node.process.as_ref());
        processes.map(Kept::pid).collect()
    }

    /// The processes of the nodes, and after them Redis's.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let redis = self.redis.iter().map(Redis::pid);
        self.nodes().into_iter().chain(redis).collect()
    }

    /// Rooms that are at home on each node.
    pub(crate) fn homes(&self) -> Result<Vec<u64>> {
        let nodes = self.nodes.iter().filter(|node| node.process.is_some());
        let rooms = nodes.map(|node| {
            let metrics = get(node.address, "/metrics")?;
            let of_shard = metrics.lines().filter_map(|line| {
                let value = line.strip_prefix("roomcast_rooms{")?.split_once("} ")?.1;
                value.parse::<u64>().ok()
            });
            Ok(of_shard.sum())
        });
        rooms.collect()
    }

    fn config(&self) -> PathBuf {
        self.directory.join("roomcast.toml")
    }

    /// The last lines of a node's log.
    fn said(&self, node: usize) -> String {
        let log = fs::read_to_string(self.log(node)).unwrap_or_default();
        let last = log.len().saturating_sub(2_000);
        log.get(last..).unwrap_or(&log).to_owned()
    }

    fn log(&self, node: usize) -> PathBuf {
        self.directory.join(format!("node-{node}.log"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        self.redis = None;
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn is_ready(address: SocketAddr) -> bool {
    get(address, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Addresses that stay free while their node is down: no outgoing connection is given a port of this range.
fn free_addresses(count: usize) -> impl Iterator<Item = SocketAddr> {
    const PORTS: std::ops::Range<u16> = 10_000..30_000;
    let first = PORTS.start + (std::process::id() % 19_997) as u16;
    let addresses = (first..PORTS.end)
        .chain(PORTS.start..first)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let free = addresses.filter(|address| TcpListener::bind(address).is_ok());
    free.take(count)
}

/// A port of that range.
pub(super) fn free_port() -> Result<u16> {
    let mut addresses = free_addresses(1);
    let address = addresses.next();
    let address = address.ok_or_else(|| Error::new("there is no free port"))?;
    Ok(address.port())
}
