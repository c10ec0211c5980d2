//! A running HTTP side, and a client that sees every byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::auth::Authority;
use crate::clock::Clock;
use crate::config::{Config, Role};
use crate::handover::{Shards, Upgraded};
use crate::http::{Bound, Folder, Http, HttpStats, Page, RefusedBy, Services};
use crate::mailbox::Mailboxes;
use crate::outgoing::Outgoing;
use crate::streams::Streams;
use roomcast_core::store::NodeId;

/// No test waits longer for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Server {
    pub(super) http: Option<Http>,
    pub(super) shards: Arc<FakeShards>,
    pub(super) stats: Arc<HttpStats>,
    pub(super) addresses: Vec<(SocketAddr, Role)>,
}

impl Server {
    pub(super) fn start(change: impl FnOnce(&mut Config)) -> Server {
        Server::start_with_pages(change, Vec::new())
    }

    pub(super) fn start_with_pages(change: impl FnOnce(&mut Config), pages: Vec<Page>) -> Server {
        let mut config = Config::default();
        config.server.listen = vec!["127.0.0.1:0".parse().unwrap()];
        change(&mut config);
        let shards = Arc::new(FakeShards::default());
        let bound = Bound::bind(&config).unwrap();
        let no_shards = Arc::new(Mailboxes::new(Vec::new()));
        let (streams, _) = Streams::new(NodeId(0), true, &[0; 32], &no_shards);
        let services = Services {
            shards: Arc::clone(&shards) as Arc<dyn Shards>,
            clock: Clock::start(),
            metrics: Box::new(|| "roomcast_test 1\n".to_owned()),
            engine: None,
            folder: Folder::load(&config.server.static_dir).unwrap(),
            pages,
            authority: Authority::load(&config.auth, &config.core.message).unwrap(),
            keys_from: (config.auth.fetches())
                .then(|| Outgoing::new(&config.auth.jwks_ca_path).unwrap()),
            tls: None,
            hangup: false,
            api: None,
            streams,
            from_nodes: None,
            exporter: None,
        };
        let (addresses, stats) = (bound.addresses(), Arc::clone(bound.stats()));
        let http = Some(bound.serve(&config, services).unwrap());
        Server {
            http,
            shards,
            stats,
            addresses,
        }
    }

    pub(super) fn http(&self) -> &Http {
        self.http.as_ref().unwrap()
    }

    pub(super) fn connect(&self) -> Client {
        Client::connect(self.addresses[0].0)
    }

    /// One request, one answer.
    pub(super) fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect();
        client.send(request.as_bytes());
        client.answer()
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
    }

    /// A handshake with further header lines, each ending in CR LF.
    pub(super) fn upgrade(&self, headers: &str) -> Answer {
        self.ask(&handshake(headers))
    }

    /// The same; the client is needed for as long as the WebSocket is to be open.
    pub(super) fn open(&self, headers: &str) -> (Client, Answer) {
        let mut client = self.connect();
        client.send(handshake(headers).as_bytes());
        let answer = client.answer();
        (client, answer)
    }

    pub(super) fn wait_for_refusals(&self, cause: RefusedBy, count: u64) {
        wait_until(|| self.stats.refused(cause) >= count);
    }
}

pub(super) fn handshake(headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// For a state that nothing reports: looks again and again, until the deadline.
pub(super) fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited in vain");
        std::thread::yield_now();
    }
}

pub(super) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Client {
            stream,
            read: Vec::new(),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// For bytes that the server may no longer take.
    pub(super) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The next answer: its head, and as much body as the head says.
    pub(super) fn answer(&mut self) -> Answer {
        let head = loop {
            if let Some(end) = self
                .read
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break self.read.drain(..end + 4).collect::<Vec<u8>>();
            }
            assert!(
                self.more(),
                "the connection ended before an answer: {:?}",
                self.read
            );
        };
        let head = String::from_utf8(head).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let length = if status == 304 { 0 } else { length };
        while self.read.len() < length && self.more() {}
        let length = length.min(self.read.len());
        answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        answer
    }

    /// Everything that comes until the server ends the connection.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.read)
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).expect("an answer or the end");
        self.read.extend(&buffer[..count]);
        count > 0
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// An error for humans: its status, a sentence in plain text, and what the sentence has to name.
    #[track_caller]
    pub(super) fn is(&self, status: u16, names: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body.contains(names), "{names:?} is not in {self:?}");
        assert!(self.body.ends_with(".\n"), "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("text/plain; charset=utf-8"),
            "{self:?}"
        );
        if status == 503 {
            let seconds: u64 = self.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds));
        }
    }
}

/// Keeps what it is given.
#[derive(Default)]
pub(super) struct FakeShards {
    given: Mutex<Vec<Upgraded>>,
    changed: Condvar,
    /// Whether it says that it is full.
    pub(super) full: AtomicUsize,
    /// How many connections it sends back before it takes one.
    pub(super) refusals: AtomicUsize,
}

impl FakeShards {
    /// Waits for the next upgraded connection.
    pub(super) fn take(&self) -> Upgraded {
        let given = self.given.lock().unwrap();
        let (mut given, timeout) = self
            .changed
            .wait_timeout_while(given, DEADLINE, |given| given.is_empty())
            .unwrap();
        assert!(!timeout.timed_out(), "no connection was handed over");
        given.remove(0)
    }

    pub(super) fn count(&self) -> usize {
        self.given.lock().unwrap().len()
    }
}

impl Shards for FakeShards {
    fn has_room(&self) -> bool {
        self.full.load(Ordering::Relaxed) == 0
    }

    fn hand_over(&self, upgraded: Upgraded) -> Result<(), Upgraded> {
        let less = |left: usize| left.checked_sub(1);
        if self
            .refusals
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
        {
            return Err(upgraded);
        }
        self.given.lock().unwrap().push(upgraded);
        self.changed.notify_all();
        Ok(())
    }
}
