//! `GET /ws`.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use roomcast_protocol::Format;

use super::harness::{Server, handshake, wait_until};
use crate::http::RefusedBy;

#[test]
fn a_client_without_a_subprotocol_speaks_json() {
    let server = Server::start(|_| {});
    let (_client, answer) = server.open("");
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert!(
        answer
            .header("connection")
            .unwrap()
            .eq_ignore_ascii_case("upgrade")
    );
    assert_eq!(answer.header("sec-websocket-protocol"), None);
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    let upgraded = server.shards.take();
    assert_eq!(upgraded.format, Format::Json);
    assert!(!upgraded.deflate);
    assert!(upgraded.leftover.is_empty());
}

#[test]
fn subprotocols() {
    let server = Server::start(|_| {});
    for (offer, chosen, format) in [
        ("gameproto.v1.json", "gameproto.v1.json", Format::Json),
        (
            "gameproto.v1.protobuf",
            "gameproto.v1.protobuf",
            Format::Protobuf,
        ),
        (
            "x, gameproto.v1.protobuf, gameproto.v1.json",
            "gameproto.v1.protobuf",
            Format::Protobuf,
        ),
    ] {
        let (_client, answer) = server.open(&format!("Sec-WebSocket-Protocol: {offer}\r\n"));
        assert_eq!(answer.header("sec-websocket-protocol"), Some(chosen));
        assert_eq!(server.shards.take().format, format);
    }
    let answer = server.upgrade("Sec-WebSocket-Protocol: graphql-ws, mqtt\r\n");
    answer.is(400, "gameproto.v1.json or gameproto.v1.protobuf");
}

#[test]
fn compression_is_agreed_without_context_takeover() {
    let server = Server::start(|_| {});
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let (_client, answer) = server.open(offer);
    let agreed = answer.header("sec-websocket-extensions").unwrap();
    assert!(agreed.contains("server_no_context_takeover"), "{agreed}");
    assert!(agreed.contains("client_no_context_takeover"), "{agreed}");
    assert!(server.shards.take().deflate);

    let narrow = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n";
    let (_client, answer) = server.open(narrow);
    assert_eq!(
        (answer.status, answer.header("sec-websocket-extensions")),
        (101, None)
    );
    assert!(!server.shards.take().deflate);

    server
        .upgrade("Sec-WebSocket-Extensions: a b\r\n")
        .is(400, "Sec-WebSocket-Extensions");

    let server = Server::start(|config| config.compression = false);
    let (_client, answer) = server.open(offer);
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    assert!(!server.shards.take().deflate);
}

#[test]
fn what_follows_the_handshake_is_not_lost() {
    let server = Server::start(|_| {});
    let mut client = server.connect();
    // Far more than one read takes, so that some of it is in the leftover and the rest still in the socket.
    let frames: Vec<u8> = (0..100_000u32).flat_map(u32::to_be_bytes).collect();
    let mut bytes = handshake("").into_bytes();
    bytes.extend(&frames);
    let writer = std::thread::spawn(move || {
        client.send(&bytes);
        client
    });
    let mut upgraded = server.shards.take();
    upgraded.stream.set_nonblocking(false).unwrap();
    let mut seen = upgraded.leftover;
    let from = seen.len();
    seen.resize(frames.len(), 0);
    upgraded.stream.read_exact(&mut seen[from..]).unwrap();
    assert_eq!(seen, frames);
    drop(writer.join().unwrap());
}

#[test]
fn the_stream_is_the_shards_alone() {
    let server = Server::start(|config| config.socket.send_buffer = 16 * 1024);
    let (mut client, _) = server.open("");
    let mut upgraded = server.shards.take();
    let error = upgraded.stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(upgraded.stream.nodelay().unwrap());
    let size = socket2::SockRef::from(&upgraded.stream)
        .send_buffer_size()
        .unwrap();
    // Linux doubles what is asked for.
    assert!((16 * 1024..=32 * 1024).contains(&size), "{size}");
    // The HTTP side ends; the WebSocket doesn't.
    let mut server = server;
    server.http.take().unwrap().stop();
    upgraded.stream.write_all(b"frame").unwrap();
    drop(upgraded);
    assert_eq!(client.rest(), b"frame");
}

#[test]
fn faults_are_named() {
    let server = Server::start(|_| {});
    let without = |name: &str| {
        let lines: Vec<_> = handshake("").split("\r\n").map(str::to_owned).collect();
        let kept: Vec<_> = lines
            .into_iter()
            .filter(|line| !line.starts_with(name))
            .collect();
        kept.join("\r\n")
    };
    server
        .ask(&without("Sec-WebSocket-Key"))
        .is(400, "Sec-WebSocket-Key");
    server.ask(&without("Connection")).is(400, "Connection");
    server.ask(&without("Host")).is(400, "Host");
    server
        .upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
        .is(400, "Sec-WebSocket-Key");
    server
        .upgrade("Sec-WebSocket-Protocol: a b\r\n")
        .is(400, "Sec-WebSocket-Protocol");
    server
        .upgrade("Origin: http://a\r\nOrigin: http://b\r\n")
        .is(400, "Origin");
    let key = handshake("").replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=");
    server.ask(&key).is(400, "Sec-WebSocket-Key");
    server
        .ask(&handshake("").replace("HTTP/1.1", "HTTP/1.0"))
        .is(400, "HTTP/1.1");
    assert_eq!(server.stats.refused(RefusedBy::Handshake), 7);
    assert_eq!(server.shards.count(), 0);
}

#[test]
fn an_upgrade_is_required() {
    let server = Server::start(|_| {});
    let plain = server.get("/ws");
    plain.is(426, "WebSocket");
    let version = handshake("").replace("Version: 13", "Version: 8");
    let old = server.ask(&version);
    old.is(426, "Sec-WebSocket-Version: 13");
    for answer in [plain, old] {
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        assert_eq!(answer.header("upgrade"), Some("websocket"));
    }
    let post = server.ask(&handshake("").replace("GET", "POST"));
    post.is(405, "GET");
    assert_eq!(post.header("allow"), Some("GET, OPTIONS"));
}

#[test]
fn origins() {
    let server = Server::start(|config| {
        config.server.origins = vec!["https://game.example".parse().unwrap()];
    });
    let port = server.addresses[0].0.port();
    let allowed = [
        "".to_owned(),
        "Origin: http://localhost\r\n".to_owned(),
        "Origin: http://localhost:5173\r\n".to_owned(),
        "Origin: http://127.0.0.1:3000\r\n".to_owned(),
        "Origin: http://[::1]:3000\r\n".to_owned(),
        "Origin: https://game.example\r\n".to_owned(),
        format!("Origin: http://127.0.0.1:{port}\r\n"),
    ];
    for headers in allowed {
        assert_eq!(server.upgrade(&headers).status, 101, "{headers}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://app.localhost:3000",
    ] {
        let answer = server.upgrade(&format!("Origin: {origin}\r\n"));
        answer.is(403, "server.origins");
        assert!(
            answer.body.contains(&format!("add {origin:?}")),
            "{answer:?}"
        );
    }
    for origin in ["\u{fc}", "about:blank", "https://a, https://b"] {
        let answer = server.upgrade(&format!("Origin: {origin}\r\n"));
        answer.is(403, "only \"*\" in `server.origins`");
    }
    // Whoever forwards without being trusted has no share in what loopback may.
    server
        .upgrade("Origin: http://localhost:5173\r\nX-Forwarded-For: 192.0.2.7\r\n")
        .is(403, "server.origins");
    let same = "Origin: https://localhost\r\nX-Forwarded-For: 192.0.2.7\r\n";
    assert_eq!(server.upgrade(same).status, 101);
}

#[test]
fn loopback_origins_need_a_loopback_listener() {
    let server = Server::start(|config| {
        config.server.listen = vec!["0.0.0.0:0".parse().unwrap()];
        config.server.public_demo = true;
    });
    let port = server.addresses[0].0.port();
    let ask = |headers: &str| {
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        let mut client = super::harness::Client::connect(address);
        client.send(handshake(headers).as_bytes());
        client.answer()
    };
    ask("Origin: http://localhost:5173\r\n").is(403, "server.origins");
    assert_eq!(ask("Origin: http://localhost\r\n").status, 101);
    assert_eq!(ask("").status, 101);
}

#[test]
fn a_kept_alive_connection_can_be_upgraded() {
    let server = Server::start(|_| {});
    let mut client = server.connect();
    // Pipelined: the page, then the handshake, then the first bytes of a frame.
    let mut bytes = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec();
    bytes.extend(handshake("").as_bytes());
    bytes.extend(b"frame");
    client.send(&bytes);
    assert_eq!(client.answer().body, "ok\n");
    assert_eq!(client.answer().status, 101);
    assert_eq!(server.shards.take().leftover, b"frame");
}

#[test]
fn a_busy_shard_gets_the_connection_later() {
    let server = Server::start(|_| {});
    server.shards.refusals.store(5, Ordering::Relaxed);
    let (_client, answer) = server.open("");
    assert_eq!(answer.status, 101);
    server.shards.take();
    wait_until(|| server.stats.upgraded() == 1);
}

#[test]
fn shards_that_stay_busy_end_it_with_a_close_frame() {
    let server = Server::start(|config| config.http.handshake_timeout = Duration::from_millis(50));
    server.shards.refusals.store(usize::MAX, Ordering::Relaxed);
    let (mut client, answer) = server.open("");
    assert_eq!(answer.status, 101);
    let frame = client.rest();
    assert_eq!(frame[..2], [0x88, frame.len() as u8 - 2]);
    assert_eq!(frame[2..4], 4006_u16.to_be_bytes());
    let reason = std::str::from_utf8(&frame[4..]).unwrap();
    let wait = reason.strip_prefix("overloaded; retry_after_ms=");
    let wait: u64 = wait.unwrap_or_else(|| panic!("{reason}")).parse().unwrap();
    assert!((1..=60_000).contains(&wait));
    server.wait_for_refusals(RefusedBy::ShardsBusy, 1);
}

#[test]
fn full_shards_are_a_503() {
    let server = Server::start(|_| {});
    server.shards.full.store(1, Ordering::Relaxed);
    server.upgrade("").is(503, "Too many newcomers");
    server.shards.full.store(0, Ordering::Relaxed);
    assert_eq!(server.upgrade("").status, 101);
}
