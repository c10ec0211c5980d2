//! A page that is refused because of its origin is let in by what the log says to add.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use roomcast_server::config::{Config, Sources};
use roomcast_server::{RunningServer, Server};

/// What browsers, apps and their frames send.
const ORIGINS: [&str; 12] = [
    "null",
    "file://",
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "app://.",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "vscode-webview://0a1b2c",
    "https://game.example",
    "HTTPS://Game.Example:443",
    "http://192.168.1.7:8080",
    "http://[2001:db8::7]:3000",
];

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_line_that_the_log_says_to_add_lets_the_page_in() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .init();
    for origin in ORIGINS {
        log.0.lock().unwrap().clear();
        assert_eq!(handshake(&server("[]"), origin), 403, "{origin}");
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let said = text
            .split_once("add ")
            .and_then(|(_, rest)| rest.split_once(" to server.origins"))
            .unwrap_or_else(|| panic!("{origin}: {text}"))
            .0;
        assert_eq!(
            handshake(&server(&format!("[{said}]")), origin),
            101,
            "{origin}: {said}"
        );
    }
    // One that is none can't be listed, and nothing says so.
    log.0.lock().unwrap().clear();
    assert_eq!(handshake(&server("[]"), "https://a, https://b"), 403);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("only \"*\" in server.origins"), "{text}");
}

/// With this in its file.
fn server(origins: &str) -> RunningServer {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roomcast.toml");
    let text = format!("[server]\nlisten = [\"127.0.0.1:0\"]\nshards = 1\norigins = {origins}\n");
    std::fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let config = Config::load(&sources).unwrap().config;
    let server = Server::builder().config(config).build().unwrap();
    server.start().unwrap()
}

/// The status of a handshake of a page of that origin.
fn handshake(server: &RunningServer, origin: &str) -> u16 {
    let address: SocketAddr = server.local_addrs()[0];
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: {origin}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}
