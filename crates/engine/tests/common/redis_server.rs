//! A real Redis for a test, on a free port. It ends with the test.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use roomcast_engine::redis::{Mode, Reader, RedisConfig, Value, write_command};
use tempfile::TempDir;

use super::ports::free_port;

/// No test waits longer than this for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    child: Option<Child>,
    dir: TempDir,
    pub(crate) port: u16,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    ready: &'static str,
}

impl Server {
    /// Starts one with these arguments beside the usual ones.
    pub(crate) fn start<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::start_in(
            TempDir::new().expect("a directory"),
            args,
            Vec::new(),
            "Ready to accept connections",
        )
    }

    /// The same, with these variables.
    pub(crate) fn start_with<S: Into<String>>(
        args: impl IntoIterator<Item = S>,
        variables: Vec<(String, String)>,
    ) -> Self {
        let dir = TempDir::new().expect("a directory");
        Self::start_in(dir, args, variables, "Ready to accept connections")
    }

    /// A Sentinel, whose configuration file is this.
    pub(crate) fn sentinel(config: &str) -> Self {
        let dir = TempDir::new().expect("a directory");
        fs::write(dir.path().join("sentinel.conf"), config).expect("it is written");
        let args = ["sentinel.conf", "--sentinel"];
        Self::start_in(dir, args, Vec::new(), "+monitor")
    }

    fn start_in<S: Into<String>>(
        dir: TempDir,
        args: impl IntoIterator<Item = S>,
        variables: Vec<(String, String)>,
        ready: &'static str,
    ) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        let mut server = Self {
            child: None,
            dir,
            port: 0,
            args,
            variables,
            ready,
        };
        // Another test may take a port between these two steps: then there is another one.
        for _ in 0..10 {
            server.port = free_port();
            if server.run() {
                return server;
            }
        }
        panic!("Redis does not start");
    }

    /// A Redis Cluster of one master that has all slots.
    pub(crate) fn cluster(args: &[&str]) -> Self {
        let bus = free_port().to_string();
        let its = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        let server = Self::start([&its, args].concat());
        server.ask("CLUSTER ADDSLOTSRANGE 0 16383");
        // It takes writes some time after it has found all slots to be there.
        let begin = Instant::now();
        while let Value::Error(error) = server.ask("SET slots there") {
            assert!(begin.elapsed() < DEADLINE, "{error}");
        }
        server
    }

    /// Starts it again on its port, without anything.
    pub(crate) fn restart_empty(&mut self) {
        let _ = fs::remove_file(self.path().join("dump.rdb"));
        self.restart();
    }

    /// Starts it again on its port, with what it has saved.
    pub(crate) fn restart(&mut self) {
        self.kill();
        assert!(self.run(), "Redis starts again");
    }

    fn run(&mut self) -> bool {
        // A Valkey, or another version of Redis.
        let program = std::env::var_os("ROOMCAST_REDIS_SERVER");
        let mut command = Command::new(program.unwrap_or_else(|| "redis-server".into()));
        command
            .current_dir(self.dir.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut args = self.args.clone();
        if args.first().is_some_and(|arg| arg.ends_with(".conf")) {
            command.arg(args.remove(0));
        }
        match args.iter().any(|arg| arg.starts_with("--tls")) {
            true => command.args(["--port", "0", "--tls-port"]),
            false => command.arg("--port"),
        };
        command.arg(self.port.to_string());
        if !args.iter().any(|arg| arg == "--sentinel") {
            command.args(["--save", "", "--dir", "."]);
        }
        let mut child = command
            .args(["--bind", "127.0.0.1"])
            .args(args)
            .spawn()
            .expect("redis-server is installed");
        let out = child.stdout.take().expect("it is piped");
        self.child = Some(child);
        let (sender, receiver) = mpsc::channel();
        let ready = self.ready;
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line.contains(ready) {
                    let _ = sender.send(());
                }
            }
        });
        // Ends early where the process ends.
        let is_ready = receiver.recv_timeout(DEADLINE / 4).is_ok();
        if !is_ready {
            self.kill();
        }
        is_ready
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP, SIGCONT.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill").success());
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// "Redis", or "Valkey".
    pub(crate) fn product(&self) -> &'static str {
        match self.text("INFO server").contains("valkey_version:") {
            true => "Valkey",
            false => "Redis",
        }
    }

    /// Settings for it, with short timeouts.
    pub(crate) fn config(&self) -> RedisConfig {
        config(&[self.url()], Mode::Standalone)
    }

    /// Asks it for something, over a connection of its own.
    pub(crate) fn ask(&self, line: &str) -> Value {
        ask(self.port, &line.split(' ').collect::<Vec<_>>())
    }

    /// The same, with a password.
    pub(crate) fn ask_as(&self, password: &str, line: &str) -> Value {
        ask_as(
            self.port,
            Some(password),
            &line.split(' ').collect::<Vec<_>>(),
        )
    }

    /// The same; the answer is text.
    pub(crate) fn text(&self, line: &str) -> String {
        match self.ask(line) {
            Value::Bytes(bytes) => String::from_utf8(bytes).expect("text"),
            other => panic!("{line}: {other:?}"),
        }
    }

    /// Whether this node of a Redis Cluster has met all others, and knows which of them are replicas. One that is only
    /// known by name is forgotten again, and may not vote.
    pub(crate) fn has_met(&self, nodes: usize, replicas: usize) -> bool {
        let known = self.text("CLUSTER NODES");
        let count = |part: &str| known.lines().filter(|line| line.contains(part)).count();
        self.text("CLUSTER INFO").contains("cluster_state:ok")
            && known.lines().count() == nodes
            && count(" connected") == nodes
            && count("slave ") == replicas
            && count("handshake") + count("fail") == 0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn config(urls: &[String], mode: Mode) -> RedisConfig {
    let mut config = RedisConfig::new(urls, mode).expect("URLs");
    config.connect_timeout = Duration::from_millis(500);
    config.response_timeout = Duration::from_millis(500);
    config
}

pub(crate) fn ask(port: u16, parts: &[&str]) -> Value {
    ask_as(port, None, parts)
}

fn ask_as(port: u16, password: Option<&str>, parts: &[&str]) -> Value {
    let begin = Instant::now();
    loop {
        // A failover closes such connections too.
        match try_ask(port, password, parts) {
            Ok(value) => return value,
            Err(error) if begin.elapsed() > DEADLINE => panic!("{parts:?}: {error}"),
            Err(_) => {}
        }
    }
}

fn try_ask(port: u16, password: Option<&str>, parts: &[&str]) -> io::Result<Value> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(DEADLINE))?;
    let mut out = Vec::new();
    if let Some(password) = password {
        write_command(&mut out, [&b"AUTH"[..], password.as_bytes()]);
    }
    write_command(&mut out, parts.iter().map(|part| part.as_bytes()));
    socket.write_all(&out)?;
    let mut reader = Reader::new(1 << 20);
    let mut before = usize::from(password.is_some());
    loop {
        if let Some(value) = reader.read().expect("RESP") {
            if before == 0 {
                return Ok(value);
            }
            before -= 1;
            continue;
        }
        let mut bytes = [0; 4096];
        match socket.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => reader.buffer().extend_from_slice(&bytes[..read]),
        }
    }
}

/// Tries until something is there.
pub(crate) async fn wait<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begin.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
