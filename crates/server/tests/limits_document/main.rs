//! `docs/limits.md` is true: each row is tried over real sockets, with the key that it names set low.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../../protocol/tests/common/mod.rs"]
mod codec;
#[path = "../common/mod.rs"]
mod common;
mod trials;
#[path = "../wire/mod.rs"]
mod wire;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use common::{DEADLINE, address, eventually, metric};
use roomcast_protocol::Format;
use roomcast_server::config::{Config, Flag, Sources};
use roomcast_server::{CountingAllocator, RunningServer, Server};
use wire::Wire;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const SECRET: &str = "auth.hs256_secret=a secret for tests, with enough bytes in it";

/// How a row is tried.
struct Trial {
    /// The row's first cell.
    what: &'static str,
    /// Settings, the row's own first.
    set: &'static [&'static str],
    /// Goes too far, and returns what came of it, as the row says it.
    run: fn(&Tried<'_>) -> &'static str,
}

/// A server, and the counter of the row.
struct Tried<'a> {
    server: &'a RunningServer,
    counter: &'a str,
    before: u64,
}

impl Tried<'_> {
    fn open(&self) -> Wire {
        Wire::open(address(self.server), Format::Json)
    }

    fn counted(&self) -> bool {
        self.counter == "none" || metric(self.server, self.counter) > self.before
    }

    /// What a request is answered with.
    fn ask(&self, request: &str) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(address(self.server)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (String::from_utf8(head[9..].to_vec()).unwrap(), stream)
    }

    /// A handshake with such header lines.
    fn handshake(&self, headers: &str) -> (String, TcpStream) {
        self.ask(&format!(
            "GET /ws HTTP/1.1\r\n{headers}Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
    }

    /// A client in a room that reads nothing from now on, and one that speaks there.
    fn stalled(&self, hello: bool) -> (Wire, Wire) {
        let mut stalled = Wire::narrow(address(self.server), Format::Json);
        if hello {
            stalled.send(r#"{"type":"hello"}"#);
            stalled.expect("welcome");
        }
        stalled.join("arena");
        let mut talker = self.open();
        talker.join("arena");
        (stalled, talker)
    }

    /// Says such messages until the row's counter has moved.
    fn talk(&self, talker: &mut Wire, messages: &[&str]) {
        let text = "x".repeat(3_000);
        let chat = format!(r#"{{"type":"chat","payload":"{text}"}}"#);
        let begin = Instant::now();
        for said in 0.. {
            if self.counted() {
                return;
            }
            assert!(begin.elapsed() < DEADLINE, "{} stays", self.counter);
            // What the buffers of both ends hold is enough; then time has to tell.
            if said < 500 {
                talker.send(&chat);
                talker.expect("chat");
            }
            for message in messages {
                talker.send(message);
            }
            talker.send(r#"{"type":"ping"}"#);
            talker.expect("pong");
        }
    }

    /// A client that reads nothing, for which 200 KB wait, and the one who said that.
    fn full(&self, room: &str) -> (Wire, Wire) {
        let mut stalled = Wire::narrow(address(self.server), Format::Json);
        let mut talker = self.open();
        stalled.join(room);
        talker.join(room);
        let chat = format!(r#"{{"type":"chat","payload":"{}"}}"#, "x".repeat(3_000));
        for _ in 0..70 {
            talker.send(&chat);
            talker.expect("chat");
        }
        (stalled, talker)
    }

    /// A session without a connection: its client's id.
    fn parked(&self) -> String {
        let mut wire = self.open();
        wire.send(r#"{"type":"hello"}"#);
        let welcome = wire.expect("welcome");
        welcome["payload"]["client_id"].as_str().unwrap().to_owned()
    }
}

/// A row of the document.
struct Row {
    bound: String,
    key: String,
    beyond: String,
    counter: String,
}

fn rows() -> BTreeMap<String, Row> {
    let document = std::fs::read_to_string(codec::root().join("docs/limits.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [what, bound, key, beyond, counter] = cells[..] else {
            panic!("{line}");
        };
        if what == "what" {
            continue;
        }
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        let row = Row {
            bound: bound.to_owned(),
            key: plain(key),
            beyond: beyond.to_owned(),
            counter: plain(counter),
        };
        assert!(rows.insert(what.to_owned(), row).is_none(), "{what} twice");
    }
    rows
}

/// The defaults of all keys, as the document of the configuration has them.
fn defaults() -> BTreeMap<String, String> {
    let mut section = String::new();
    let mut defaults = BTreeMap::new();
    for line in roomcast_server::config::reference().lines() {
        if let Some(name) = line.strip_prefix("## `[") {
            section = name.trim_end_matches("]`").to_owned();
        }
        let mut cells = line.split(" | ");
        let key = cells.next().and_then(|cell| cell.strip_prefix("| `"));
        if let (Some(key), Some(default)) = (key, cells.next()) {
            let key = key.trim_end_matches('`');
            defaults.insert(format!("{section}.{key}"), default.to_owned());
        }
    }
    defaults
}

/// What settings may name.
struct Around {
    folder: tempfile::TempDir,
    /// Who connects here hears nothing.
    silent: TcpListener,
}

impl Around {
    fn new() -> Around {
        Around {
            folder: tempfile::tempdir().unwrap(),
            silent: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn fill_in(&self, value: &str) -> String {
        let folder = self.folder.path().to_str().unwrap();
        let silent = self.silent.local_addr().unwrap().to_string();
        value
            .replace("{FOLDER}", folder)
            .replace("{SILENT}", &silent)
    }
}

fn server(set: &[&str], around: &Around) -> RunningServer {
    let base = [
        "server.listen=127.0.0.1:0",
        "server.shards=1",
        "limits.messages_per_second=0",
        "shutdown.delay=0",
    ];
    let flag = |setting: &&str| {
        let (key, value) = setting.split_once('=').unwrap();
        Flag {
            name: "--set".to_owned(),
            key: key.to_owned(),
            values: vec![around.fill_in(value)],
        }
    };
    let sources = Sources {
        flags: base.iter().chain(set).map(flag).collect(),
        ..Sources::default()
    };
    let config = Config::load(&sources).unwrap_or_else(|wrong| panic!("{wrong}"));
    let server = Server::builder().config(config.config).build().unwrap();
    server.start().unwrap()
}

#[test]
fn every_row_is_tried() {
    let (mut rows, defaults) = (rows(), defaults());
    for trial in trials::all() {
        let what = trial.what;
        let row = rows.remove(what);
        let row = row.unwrap_or_else(|| panic!("{what} is not in the document"));
        if row.key != "none" {
            let set = trial.set.iter().any(|setting| {
                let key = setting.split('=').next().unwrap_or_default();
                key.replace("kinds.default.", "kinds.NAME.") == row.key
            });
            assert!(set, "{what}: {} is not set", row.key);
            let default = defaults.get(&row.key);
            let default = default.unwrap_or_else(|| panic!("{what}: no key {}", row.key));
            assert!(row.bound.ends_with(&**default), "{what}: {default}");
        }
        let around = Around::new();
        let server = server(trial.set, &around);
        let tried = Tried {
            server: &server,
            counter: &row.counter,
            before: if row.counter == "none" {
                0
            } else {
                metric(&server, &row.counter)
            },
        };
        assert_eq!((trial.run)(&tried), row.beyond, "{what}");
        eventually(what, || tried.counted());
    }
    let left: Vec<&String> = rows.keys().collect();
    assert!(left.is_empty(), "nobody tries {left:?}");
}
