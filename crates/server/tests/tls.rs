//! TLS in the server: both versions, large and slow traffic, certificates that change, and clients that do it wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;
mod event_stream;
#[path = "common/http.rs"]
mod http;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Client, DEADLINE, address, eventually, metric, start, text_frame};
use event_stream::{Stream, chat};
use roomcast_protocol::Format;
use roomcast_server::RunningServer;
use roomcast_server::config::Config;
use roomcast_websocket::handshake::ClientRequest;
use roomcast_websocket::{Event, Receiver, ReceiverConfig, Role, Scratch};
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion, version,
};

/// A certificate for `localhost`, in files.
struct Certificate {
    directory: tempfile::TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn new() -> Certificate {
        let directory = tempfile::tempdir().unwrap();
        let der = Certificate::write(directory.path());
        Certificate { directory, der }
    }

    fn write(directory: &Path) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        // The certificate last: with only one of the two new, they do not fit, and those before stay.
        std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(directory.join("certificate.pem"), made.cert.pem()).unwrap();
        made.cert.der().clone()
    }

    /// Another one in the same files.
    fn renew(&mut self) {
        self.der = Certificate::write(self.directory.path());
    }

    fn set(&self, config: &mut Config) {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        config.tls.certificate_path = path("certificate.pem");
        config.tls.key_path = path("key.pem");
        config.tls.reload_interval = Duration::from_millis(10);
        // Without TLS, for the others of a test.
        config.admin.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    }

    fn trusted(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    fn client(&self) -> Arc<ClientConfig> {
        Arc::new(self.trusted(&[&version::TLS13]))
    }
}

/// Where connections have no TLS.
fn plain(server: &RunningServer) -> SocketAddr {
    server.local_addrs()[1]
}

/// A client with TLS, which speaks JSON.
struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
    receiver: Receiver,
    scratch: Scratch,
    messages: VecDeque<Value>,
    closed: Option<u16>,
}

impl Secure {
    fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> std::io::Result<Secure> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        // A reader that stalls does so soon.
        socket.set_recv_buffer_size(64 * 1024)?;
        socket.connect(&address.into())?;
        let socket: TcpStream = socket.into();
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        let name = "localhost".try_into().unwrap();
        let session =
            ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        let request = ClientRequest {
            host: "localhost",
            target: "/ws",
            nonce: [7; 16],
            protocols: &[],
            deflate: None,
            headers: &[],
        };
        stream.write_all(&request.encode())?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        assert!(
            head.starts_with(b"HTTP/1.1 101"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        let limits = ReceiverConfig {
            max_message: 1 << 20,
            max_skip: 1 << 20,
            deflate: None,
        };
        Ok(Secure {
            stream,
            receiver: Receiver::new(Role::Client, &limits),
            scratch: Scratch::new(),
            messages: VecDeque::new(),
            closed: None,
        })
    }

    fn open(config: &Arc<ClientConfig>, server: &RunningServer) -> Secure {
        Secure::connect(config, address(server)).unwrap()
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        self.stream.write_all(&text_frame(&text)).unwrap();
    }

    /// The next message; none at the end of the stream, which has to be told.
    fn next(&mut self) -> Option<Value> {
        while self.messages.is_empty() {
            let mut input = vec![0; 16 * 1024];
            let read = self.stream.read(&mut input).unwrap();
            if read == 0 {
                return None;
            }
            let mut rest = &mut input[..read];
            while let Some(event) = self.receiver.receive(&mut rest, &mut self.scratch).unwrap() {
                match event {
                    Event::Text(text) => {
                        self.messages.push_back(serde_json::from_str(text).unwrap())
                    }
                    Event::Close(close) => self.closed = close.map(|close| close.code),
                    _ => {}
                }
            }
        }
        self.messages.pop_front()
    }

    fn expect(&mut self, message_type: &str) -> Value {
        loop {
            let message = self.next().expect("the stream ended");
            assert_ne!(message["type"], "error", "{message}");
            if message["type"] == message_type {
                return message;
            }
        }
    }

    fn hello(&mut self) -> Value {
        self.send(&json!({"type": "hello", "payload": {"version": 1}}));
        self.expect("welcome")["payload"].take()
    }

    fn join(&mut self, room: &str) {
        self.send(&json!({"type": "join_room", "room_id": room}));
        self.expect("joined");
    }

    fn chat(&mut self, room: &str, text: &str) {
        self.send(&json!({"type": "chat", "room_id": room, "payload": text}));
    }

    fn session(&self) -> &ClientConnection {
        &self.stream.conn
    }
}

#[test]
fn both_versions_carry_messages_in_both_directions() {
    let certificate = Certificate::new();
    let server = start(|config| certificate.set(config));
    for (asked, spoken) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2),
        (&version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut config = certificate.trusted(&[asked]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut client = Secure::open(&Arc::new(config), &server);
        client.hello();
        client.join("relay:1");
        assert_eq!(client.session().protocol_version(), Some(spoken));
        assert_eq!(client.session().alpn_protocol(), Some(&b"http/1.1"[..]));
        // From one byte to more than a record has.
        for size in [0, 1, 100, 16_300, 16_384, 50_000] {
            let text = "x".repeat(size);
            client.chat("relay:1", &text);
            assert_eq!(client.expect("chat")["payload"], text);
        }
    }
}

#[test]
fn a_message_in_many_small_records_arrives() {
    let certificate = Certificate::new();
    let server = start(|config| certificate.set(config));
    let mut client = Secure::open(&certificate.client(), &server);
    client.join("relay:1");
    let text = "x".repeat(10_000);
    let message = json!({"type": "chat", "room_id": "relay:1", "payload": text}).to_string();
    // Encrypted byte by byte, and then sent at once: 230 KB, more than a shard reads in one call.
    client.stream.conn.set_buffer_limit(None);
    for byte in text_frame(&message) {
        client.stream.conn.writer().write_all(&[byte]).unwrap();
    }
    client.stream.flush().unwrap();
    assert_eq!(client.expect("chat")["payload"], text);
}

#[test]
fn a_stalled_reader_gets_every_event_in_order_once_it_reads() {
    let certificate = Certificate::new();
    let server = start(|config| {
        certificate.set(config);
        config.socket.send_buffer = 8 * 1024;
        config.core.write_timeout = 0;
        config.core.event_lane = 160 * 1024;
        config
            .kinds
            .iter_mut()
            .for_each(|kind| kind.retention.bytes = 64 << 20);
    });
    let mut stalled = Secure::open(&certificate.client(), &server);
    stalled.hello();
    stalled.join("relay:1");
    let mut talker = Client::json(plain(&server));
    talker.join("relay:1");
    let total = 1_000;
    for number in 0..total {
        // All lengths, so that records end anywhere in a frame.
        let text = format!("{number} {}", "y".repeat(number * 13 % 4_000));
        talker.chat("relay:1", &text);
        talker.expect_chat();
    }
    for number in 0..total {
        let chat = stalled.expect("chat");
        let expected = format!("{number} {}", "y".repeat(number * 13 % 4_000));
        assert_eq!(chat["payload"], expected);
    }
}

#[test]
fn who_does_not_read_is_closed_behind_whole_frames() {
    let certificate = Certificate::new();
    let server = start(|config| {
        certificate.set(config);
        config.socket.send_buffer = 8 * 1024;
        config.core.write_timeout = 0;
        config.core.event_lane = 64 * 1024;
    });
    let mut stalled = Secure::open(&certificate.client(), &server);
    stalled.join("relay:1");
    let mut talker = Client::json(plain(&server));
    talker.join("relay:1");
    let slow = "roomcast_closed_by_server_total{cause=\"slow_reader\"}";
    let mut sent = 0;
    while metric(&server, slow) == 0 {
        talker.chat("relay:1", &"z".repeat(1_000 + sent % 100));
        talker.expect_chat();
        sent += 1;
        assert!(sent < 5_000, "its lane has no bound");
    }
    while let Some(message) = stalled.next() {
        assert!(
            ["chat", "player_joined", "presence", "player_left"]
                .contains(&message["type"].as_str().unwrap()),
            "{message}"
        );
    }
    assert_eq!(stalled.closed, Some(4001));
}

#[test]
fn sessions_move_between_shards_and_tls_sessions_are_resumed() {
    let certificate = Certificate::new();
    let server = start(|config| {
        certificate.set(config);
        config.server.shards = Some(2);
    });
    for version in [&version::TLS12, &version::TLS13] {
        let config = Arc::new(certificate.trusted(&[version]));
        let mut first = Secure::open(&config, &server);
        let mut token = first.hello()["resume_token"].take();
        first.join("relay:1");
        assert_eq!(first.session().handshake_kind(), Some(HandshakeKind::Full));
        // Newcomers go to the shards in turn: one of two has to move.
        for _ in 0..8 {
            let mut next = Secure::open(&config, &server);
            let kind = next.session().handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Resumed));
            next.send(&json!({"type": "hello", "payload": {"version": 1, "resume_token": token}}));
            // In the same write: it goes along.
            next.chat("relay:1", "behind the hello");
            let welcome = next.expect("welcome")["payload"].take();
            assert_eq!(welcome["resumed"], true);
            assert_eq!(next.expect("chat")["payload"], "behind the hello");
            token = welcome["resume_token"].clone();
        }
    }
}

#[test]
fn a_new_certificate_is_for_newcomers_and_a_broken_one_is_not_taken() {
    let mut certificate = Certificate::new();
    let server = start(|config| certificate.set(config));
    let before = certificate.client();
    let mut open = Secure::open(&before, &server);
    open.join("relay:1");
    certificate.renew();
    eventually("the new certificate is shown", || {
        Secure::connect(&certificate.client(), address(&server)).is_ok()
    });
    let old = Arc::new(ClientConfig::clone(&before));
    assert!(old.alpn_protocols.is_empty());
    open.chat("relay:1", "still here");
    assert_eq!(open.expect("chat")["payload"], "still here");
    let key = certificate.directory.path().join("key.pem");
    std::fs::write(&key, "no key").unwrap();
    // Looked at many times meanwhile.
    for _ in 0..20 {
        Secure::open(&certificate.client(), &server).join("relay:1");
    }
}

#[test]
fn who_speaks_no_tls_or_another_protocol_is_told_and_counted() {
    let certificate = Certificate::new();
    let server = start(|config| {
        certificate.set(config);
        config.http.handshake_timeout = Duration::from_millis(200);
    });
    let mut plain = TcpStream::connect(address(&server)).unwrap();
    plain.set_read_timeout(Some(DEADLINE)).unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(
        answer.contains("This port speaks TLS: use https:// and wss://."),
        "{answer}"
    );

    let mut config = certificate.trusted(&[&version::TLS13]);
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(Secure::connect(&Arc::new(config), address(&server)).is_err());

    let mut garbage = TcpStream::connect(address(&server)).unwrap();
    garbage.set_read_timeout(Some(DEADLINE)).unwrap();
    garbage.write_all(&[0x16, 3, 1, 0, 4, 9, 9, 9, 9]).unwrap();
    let mut rest = Vec::new();
    let _ = garbage.read_to_end(&mut rest);
    eventually("three refusals", || {
        metric(&server, "roomcast_http_refused_total{cause=\"tls\"}") == 3
    });

    // Who begins a handshake and goes silent is not waited for.
    let mut silent = TcpStream::connect(address(&server)).unwrap();
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    silent.write_all(&[0x16, 3, 1]).unwrap();
    assert_eq!(silent.read(&mut [0; 64]).unwrap_or(0), 0);
}

#[test]
fn bytes_that_are_no_records_end_the_connection_alone() {
    let certificate = Certificate::new();
    let server = start(|config| certificate.set(config));
    let mut good = Secure::open(&certificate.client(), &server);
    good.join("relay:1");
    let mut bad = Secure::open(&certificate.client(), &server);
    bad.join("relay:1");
    good.expect("player_joined");
    bad.stream.sock.write_all(&[0x17, 3, 3, 0, 32]).unwrap();
    bad.stream.sock.write_all(&[7; 32]).unwrap();
    let ended = loop {
        match bad.stream.read(&mut [0; 1024]) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() != ErrorKind::WouldBlock,
        }
    };
    assert!(ended);
    good.chat("relay:1", "fine");
    assert_eq!(good.expect("chat")["payload"], "fine");
}

/// What a record keeps from the server is timed as any message is.
#[test]
fn a_record_that_does_not_end_is_not_waited_for() {
    let certificate = Certificate::new();
    let server = start(|config| {
        certificate.set(config);
        config.core.message_timeout = 300;
    });
    let config = certificate.client();
    let mut good = Secure::open(&config, &server);
    good.join("relay:1");
    let message = json!({"type": "chat", "room_id": "relay:1", "payload": "whole"}).to_string();
    // From the first byte of its header to the last byte but one of what it has in it.
    for part in [1, 4, 5, 6, 30] {
        for behind in ["", &*message] {
            let mut slow = Secure::open(&config, &server);
            slow.join("relay:1");
            let mut bytes = Vec::new();
            slow.stream.conn.write_tls(&mut bytes).unwrap();
            assert!(bytes.is_empty());
            if !behind.is_empty() {
                slow.stream
                    .conn
                    .writer()
                    .write_all(&text_frame(behind))
                    .unwrap();
            }
            slow.stream.conn.write_tls(&mut bytes).unwrap();
            let mut record = Vec::new();
            slow.stream
                .conn
                .writer()
                .write_all(&text_frame(&message))
                .unwrap();
            slow.stream.conn.write_tls(&mut record).unwrap();
            bytes.extend_from_slice(&record[..part]);
            slow.stream.sock.write_all(&bytes).unwrap();
            while slow.next().is_some() {}
            assert_eq!(slow.closed, Some(4008), "{part} {behind:?}");
        }
    }
    // Longer than that it was silent.
    good.chat("relay:1", "still here");
    while good.expect("chat")["payload"] != "still here" {}
}

/// Brings connections without TLS to the server with TLS, as a client of many libraries does.
struct Tunnel {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Tunnel {
    fn start(config: Arc<ClientConfig>, server: &RunningServer) -> Tunnel {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let to = address(server);
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            let connector = tokio_rustls::TlsConnector::from(config);
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let connector = connector.clone();
                tokio::spawn(async move {
                    let socket = tokio::net::TcpSocket::new_v4().unwrap();
                    // A reader that stalls does so soon.
                    socket.set_recv_buffer_size(64 * 1024).unwrap();
                    let far = socket.connect(to).await.unwrap();
                    let name = "localhost".try_into().unwrap();
                    let mut far = connector.connect(name, far).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Tunnel {
            address,
            _runtime: runtime,
        }
    }
}

#[test]
fn event_streams_are_spoken_over_tls_too() {
    let certificate = Certificate::new();
    let server = start(|config| {
        certificate.set(config);
        config.server.shards = Some(2);
    });
    for version in [&version::TLS12, &version::TLS13] {
        let tunnel = Tunnel::start(Arc::new(certificate.trusted(&[version])), &server);
        let mut stream = Stream::open(tunnel.address);
        let welcome = stream.hello(r#"{"version":1}"#);
        stream.join("relay:1");
        let mut web = Secure::open(&certificate.client(), &server);
        web.join("relay:1");
        // From one byte to more than a record has.
        for size in [0, 1, 100, 16_300, 16_384, 50_000] {
            let text = "x".repeat(size);
            stream.send(&chat("relay:1", &text));
            assert_eq!(stream.expect("chat")["payload"], text);
            assert_eq!(web.expect("chat")["payload"], text);
            web.chat("relay:1", &text);
            assert_eq!(stream.expect("chat")["payload"], text);
            assert_eq!(web.expect("chat")["payload"], text);
        }
        // Its session may live on the other shard, where it goes then with its keys.
        let mut token = welcome["resume_token"].clone();
        drop(stream);
        for _ in 0..4 {
            let mut stream = Stream::open(tunnel.address);
            let payload = json!({"version": 1, "resume_token": token});
            let welcome = stream.hello(&payload.to_string());
            assert_eq!(welcome["resumed"], true);
            token = welcome["resume_token"].clone();
            stream.send(&chat("relay:1", "again"));
            stream.until(|message| message["type"] == "chat" && message["payload"] == "again");
        }
        let refused = event_stream::forged(&Stream::open(tunnel.address).id);
        assert_eq!(event_stream::refused_unread(tunnel.address, &refused), 410);
    }
}

#[test]
fn a_stalled_event_stream_over_tls_gets_every_event_in_order_once_it_reads() {
    let certificate = Certificate::new();
    let server = start(|config| {
        certificate.set(config);
        config.socket.send_buffer = 8 * 1024;
        config.core.write_timeout = 0;
        config.core.event_lane = 160 * 1024;
        for kind in &mut config.kinds {
            kind.retention.bytes = 64 << 20;
        }
    });
    let tunnel = Tunnel::start(certificate.client(), &server);
    let mut stalled = Stream::narrow(tunnel.address);
    stalled.hello(r#"{"version":1}"#);
    stalled.join("relay:1");
    let mut talker = Client::json(plain(&server));
    talker.join("relay:1");
    let said = |number: usize| format!("{number} {}", "y".repeat(number * 13 % 4_000));
    for number in 0..1_000 {
        talker.chat("relay:1", &said(number));
        talker.expect_chat();
    }
    for number in 0..1_000 {
        assert_eq!(stalled.expect("chat")["payload"], said(number));
    }
}

#[test]
fn a_listener_without_tls_stays_plain() {
    let certificate = Certificate::new();
    let server = start(|config| certificate.set(config));
    let mut client = Client::open(plain(&server), Format::Json, false, &[]);
    client.join("relay:1");
}
