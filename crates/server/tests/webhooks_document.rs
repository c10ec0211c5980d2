//! The receivers of docs/webhooks.md, as they stand there, take what a server tells them, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;
#[path = "common/http.rs"]
mod http;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use common::{Client, DEADLINE, address, start};
use roomcast_server::config::{EventType, WebhookSettings};

const DOCUMENT: &str = include_str!("../../../docs/webhooks.md");
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program in the document's only block of this language takes a message of a room.
fn takes(language: &str, file: &str, run: &[&str]) {
    let fence = format!("```{language}\n");
    let (_, program) = DOCUMENT.split_once(&fence).unwrap();
    let (program, rest) = program.split_once("```").unwrap();
    assert!(!rest.contains(&fence), "there is one");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(file), program).unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut child = Command::new(run[0])
        .args(&run[1..])
        .arg(file)
        .current_dir(dir.path())
        .env("PORT", port.to_string())
        .env("SECRET", SECRET)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let program = Program(child);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let begin = Instant::now();
    while TcpStream::connect(at).is_err() {
        assert!(begin.elapsed() < DEADLINE, "{language} does not listen");
        std::thread::yield_now();
    }
    let forged = [
        "webhook-id: a",
        "webhook-timestamp: 1",
        "webhook-signature: v1,AAAA",
    ];
    let body = r#"{"events":[{"id":"forged","type":"message"}]}"#;
    assert_eq!(http::request(at, "POST", "/", &forged, body).status, 401);
    let server = start(|config| {
        config.webhooks = vec![WebhookSettings {
            name: "document".to_owned(),
            url: format!("http://{at}/"),
            secret: SECRET.to_owned().into(),
            events: vec![EventType::RoomOpened, EventType::Message],
            ..WebhookSettings::default()
        }];
    });
    let mut ann = Client::json(address(&server));
    ann.join("relay:1");
    ann.chat("relay:1", "with an ä");
    let told: Vec<String> = lines.map(Result::unwrap).take(2).collect();
    for (line, event) in told.iter().zip(["room.opened", "message"]) {
        assert!(
            line.starts_with("evt_") && line.ends_with(event),
            "{told:?}"
        );
    }
    drop(program);
}

#[test]
fn the_receiver_in_node() {
    takes("js", "receiver.mjs", &["node"]);
}

#[test]
fn the_receiver_in_python() {
    takes("python", "receiver.py", &["python3"]);
}
