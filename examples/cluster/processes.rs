//! Redis and the nodes: who runs, and on which node each player is.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long a dead node stays dead, so that one sees it.
const DEAD: Duration = Duration::from_secs(4);
pub(crate) struct Processes {
    redis: Mutex<Child>,
    directory: PathBuf,
    nodes: Mutex<Vec<Node>>,
    /// The node of each player that is connected.
    players: Mutex<BTreeMap<String, Player>>,
    balancer: SocketAddr,
    changed: watch::Sender<()>,
}

struct Node {
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
    /// What it ended with when it last ended by itself.
    code: Option<i32>,
    died: Instant,
    ready: bool,
}

#[derive(Default)]
struct Player {
    node: Option<usize>,
    /// Where it is to go next.
    wish: Option<usize>,
    /// Counts its connections: who ends an old one changes nothing.
    connection: u64,
    /// Dropped, its connection is cut.
    cut: Option<watch::Sender<()>>,
}

/// What a node is called.
pub(crate) fn name(node: usize) -> char {
    char::from(b'A' + node as u8)
}

impl Processes {
    /// Starts all, and waits until all are ready. `more`: flags that each node gets too.
    pub(crate) async fn start(balancer: SocketAddr, more: &[String]) -> io::Result<Processes> {
        let ports = free_ports()?;
        let directory =
            std::env::temp_dir().join(format!("roomcast-cluster-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let port = ports[0].to_string();
        let redis = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--maxmemory-policy", "noeviction"])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("redis-server: {error}")))?;
        // All nodes have the same: a resume token of one is good at the others.
        let secret: String = (0..4).map(|_| format!("{:016x}", random())).collect();
        let node = |port: &u16| Node {
            port: *port,
            arguments: [
                format!("--listen=127.0.0.1:{port}"),
                "--engine=redis".to_owned(),
                format!("--redis=redis://127.0.0.1:{}", ports[0]),
                format!("--set=session.secret={secret}"),
                "--set=server.shards=1".to_owned(),
                "--log-level=warn".to_owned(),
            ]
            .into_iter()
            .chain(more.iter().cloned())
            .collect(),
            child: None,
            code: None,
            died: Instant::now() - DEAD,
            ready: false,
        };
        let (first, others) = ports[1..].split_at(1);
        let processes = Processes {
            redis: Mutex::new(redis),
            directory,
            nodes: Mutex::new(first.iter().map(&node).collect()),
            players: Mutex::default(),
            balancer,
            changed: watch::channel(()).0,
        };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", ports[0])).await.is_err() {
            if begin.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other("redis-server does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The first one says what is wrong with the flags, or gives help; then no other one is started.
        while !processes.look().await && processes.code().is_none() {
            if begin.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other("the first node is not ready"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if let Some(code) = processes.code() {
            drop(processes);
            std::process::exit(code);
        }
        processes.lock_nodes().extend(others.iter().map(&node));
        while !processes.look().await {
            if begin.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other("the nodes are not ready"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(processes)
    }

    /// Starts again what is dead, for ever.
    pub(crate) async fn watch(&self) {
        loop {
            self.look().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One look at each node. Whether all are ready.
    async fn look(&self) -> bool {
        let mut all = true;
        let count = self.lock_nodes().len();
        for at in 0..count {
            let (port, was) = {
                let mut nodes = self.lock_nodes();
                let node = &mut nodes[at];
                if node
                    .child
                    .as_mut()
                    .is_some_and(|it| !matches!(it.try_wait(), Ok(None)))
                {
                    let status = node.child.as_mut().and_then(|it| it.try_wait().ok()?);
                    node.code = status.and_then(|it| it.code());
                    (node.child, node.died) = (None, Instant::now());
                }
                if node.child.is_none() && node.died.elapsed() >= DEAD {
                    match start(&node.arguments) {
                        Ok(child) => node.child = Some(child),
                        Err(error) => eprintln!("cluster: node {}: {error}", name(at)),
                    }
                }
                (node.child.is_some().then_some(node.port), node.ready)
            };
            let ready = match port {
                Some(port) => is_ready(port).await,
                None => false,
            };
            all &= ready;
            if ready != was {
                self.lock_nodes()[at].ready = ready;
                self.changed.send_replace(());
            }
        }
        all
    }

    /// What a node ended with by itself: no signal killed it.
    fn code(&self) -> Option<i32> {
        self.lock_nodes().iter().find_map(|node| node.code)
    }

    /// SIGKILL.
    pub(crate) fn kill(&self, node: usize) {
        if let Some(node) = self.lock_nodes().get_mut(node)
            && let Some(mut child) = node.child.take()
        {
            let _ = child.kill();
            let _ = child.wait();
            (node.died, node.ready) = (Instant::now(), false);
        }
        self.changed.send_replace(());
    }

    /// Nodes for this player, the first that takes the connection gets it: where it wants to go, or any.
    pub(crate) fn nodes_for(&self, player: Option<&str>) -> Vec<(usize, u16)> {
        let mut nodes: Vec<_> = (self.lock_nodes().iter().enumerate())
            .filter(|(_, node)| node.ready)
            .map(|(at, node)| (at, node.port))
            .collect();
        let first = match player.and_then(|it| self.lock_players().get(it)?.wish) {
            Some(wish) => nodes.iter().position(|(at, _)| *at == wish).unwrap_or(0),
            None => random() as usize % nodes.len().max(1),
        };
        nodes.rotate_left(first);
        nodes
    }

    /// A player is connected to a node. What it returns ends when the connection is to be cut.
    pub(crate) fn connected(&self, player: &str, node: usize) -> (u64, watch::Receiver<()>) {
        let (cut, cuts) = watch::channel(());
        let connection = {
            let mut players = self.lock_players();
            let player = players.entry(player.to_owned()).or_default();
            (player.node, player.wish, player.cut) = (Some(node), None, Some(cut));
            player.connection += 1;
            player.connection
        };
        self.changed.send_replace(());
        (connection, cuts)
    }

    /// That connection is over.
    pub(crate) fn disconnected(&self, player: &str, connection: u64) {
        if let Some(player) = self.lock_players().get_mut(player)
            && player.connection == connection
        {
            (player.node, player.cut) = (None, None);
        }
        self.changed.send_replace(());
    }

    /// Cuts a player's connection; its next one goes to this node.
    pub(crate) fn send_to(&self, player: &str, node: usize) {
        if let Some(player) = self.lock_players().get_mut(player) {
            (player.wish, player.cut) = (Some(node), None);
        }
    }

    /// Told at each change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What the page shows.
    pub(crate) fn state(&self) -> Value {
        let nodes: Vec<_> = (self.lock_nodes().iter().enumerate())
            .map(|(at, node)| {
                let state = match (&node.child, node.ready) {
                    (None, _) => "dead",
                    (Some(_), false) => "starting",
                    (Some(_), true) => "running",
                };
                json!({ "name": name(at).to_string(), "port": node.port, "state": state })
            })
            .collect();
        let players: BTreeMap<_, _> = (self.lock_players().iter())
            .filter_map(|(id, player)| Some((id.clone(), name(player.node?).to_string())))
            .collect();
        json!({ "nodes": nodes, "players": players, "balancer": self.balancer.to_string() })
    }

    fn lock_nodes(&self) -> std::sync::MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().unwrap_or_else(|error| error.into_inner())
    }

    fn lock_players(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Player>> {
        self.players
            .lock()
            .unwrap_or_else(|error| error.into_inner())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let nodes = std::mem::take(&mut *self.lock_nodes());
        let mut redis = self.redis.lock().unwrap_or_else(|error| error.into_inner());
        for mut child in nodes.into_iter().filter_map(|node| node.child) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = redis.kill();
        let _ = redis.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn start(arguments: &[String]) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    // What is set for this program is not meant for its nodes.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROOMCAST_") {
            command.env_remove(name);
        }
    }
    command.env(crate::NODE, "1");
    command.args(arguments).stdin(Stdio::null()).spawn()
}

async fn is_ready(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    let answer = tokio::time::timeout(Duration::from_secs(1), ask).await;
    matches!(answer, Ok(Ok(true)))
}

/// The standard library has no other random numbers.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// For Redis and three nodes. The system gives no outgoing connection a port of this range: so what is killed finds its
/// port free when it starts again.
fn free_ports() -> io::Result<Vec<u16>> {
    const PORTS: std::ops::Range<u16> = 10_000..30_000;
    let first = PORTS.start + (random() % PORTS.len() as u64) as u16;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let ports: Vec<u16> = (first..PORTS.end)
        .chain(PORTS)
        .filter(free)
        .take(4)
        .collect();
    match ports.len() {
        4 => Ok(ports),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "no port is free")),
    }
}
