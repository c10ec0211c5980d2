//! A real Redis for tests: a process of its own, on loopback and a Unix socket, in a directory that goes away with it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a test waits for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A `redis-server`, or another program that takes its options (`REDIS_SERVER`). It ends when it is dropped.
pub struct RedisServer {
    process: Option<Child>,
    directory: TempDir,
    port: u16,
    options: Vec<String>,
}

impl RedisServer {
    /// An empty one, that saves nothing by itself.
    pub fn start() -> RedisServer {
        RedisServer::with_options(&[])
    }

    /// The same with more options, such as `["--maxmemory", "10mb"]`.
    pub fn with_options(options: &[&str]) -> RedisServer {
        // Another process may take the port before the server does.
        for _ in 0..5 {
            let mut server = RedisServer {
                process: None,
                directory: tempfile::tempdir().expect("a directory"),
                port: free_port(),
                options: options.iter().map(|it| it.to_string()).collect(),
            };
            if server.run() {
                return server;
            }
        }
        panic!(
            "redis-server does not start; is it installed? `./test install` does that on Debian"
        );
    }

    /// A Redis Cluster of this one master, which has all slots.
    pub fn cluster(options: &[&str]) -> RedisServer {
        let bus = free_port().to_string();
        let its = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        let server = RedisServer::with_options(&[&its, options].concat());
        assert_eq!(server.ask("CLUSTER ADDSLOTSRANGE 0 16383"), "+OK");
        // It takes writes some time after it has found all slots to be there.
        let deadline = Instant::now() + PATIENCE;
        while server.ask("SET slots there") != "+OK" {
            assert!(Instant::now() < deadline, "the cluster does not begin");
        }
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The Unix socket on which it listens too.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Keeps all that it has as its dump, in place of the one before.
    pub fn save(&self) {
        assert_eq!(self.ask("SAVE"), "+OK");
    }

    /// Ends it at once: what was not saved is lost, and connections break.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("redis-server can be killed");
            process.wait().expect("redis-server ends");
        }
    }

    /// Starts it again after [`RedisServer::kill`], at the same address, with what its dump has.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none());
        assert!(self.run(), "redis-server does not start again");
    }

    /// The same with nothing.
    pub fn start_empty(&mut self) {
        let _ = std::fs::remove_file(self.directory.path().join("dump.rdb"));
        self.start_again();
    }

    /// The number of its process, for signals; `None` while it does not run.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Asks something, without spaces within its words: the first line of the answer.
    pub fn ask(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("the server is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        write!(stream, "{command}\r\n").expect("the server reads");
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .expect("the server answers");
        line.trim_end().into()
    }

    /// Whether it could begin to listen.
    fn run(&mut self) -> bool {
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let mut command = Command::new(program);
        command
            .args(["--port", &self.port.to_string()])
            .args(["--bind", "127.0.0.1", "--unixsocket"])
            .arg(self.socket())
            .args(["--dir".as_ref(), self.directory.path().as_os_str()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let Ok(mut process) = command.spawn() else {
            return false;
        };
        let output = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let listens = lines.any(|it| it.contains("Ready to accept connections"));
        if listens {
            // So that it is never held up by a full pipe. The thread ends with the server.
            std::thread::spawn(move || lines.for_each(drop));
            self.process = Some(process);
        } else {
            let _ = process.kill();
            let _ = process.wait();
        }
        listens
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("it has an address").port()
}
