//! How connections end: heartbeats, the pool, close handshakes, the end of the server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Client, Got, address, eventually, metric, start};
use roomcast_protocol::client::ServerBody;
use roomcast_protocol::{Format, MessageType};
use roomcast_websocket::{CloseFrame, Opcode, frame};

#[test]
fn who_gives_no_sign_of_life_is_gone_and_who_does_stays() {
    let server = start(|config| {
        config.core.ping_interval = 100;
        config.core.pong_timeout = 400;
    });
    let mut silent = Client::json(address(&server));
    let mut alive = Client::protobuf(address(&server));
    for client in [&mut silent, &mut alive] {
        client.join("relay:1");
    }
    silent.answers_pings = false;
    let since = Instant::now();
    let left = alive.expect(MessageType::PlayerLeft);
    assert_eq!(left.body.message_type(), MessageType::PlayerLeft);
    assert!(since.elapsed() >= Duration::from_millis(350), "too early");
    let (code, reason) = silent.expect_close();
    assert_eq!(code, 4002);
    assert!(
        reason.starts_with("heartbeat_timeout; retry_after_ms="),
        "{reason}"
    );
    assert!(metric(&server, "roomcast_pings_total") >= 2);
    // Several pings later the other one is still there.
    for _ in 0..5 {
        while !matches!(alive.next(), Got::Ping) {}
        alive.frame(Opcode::Pong, &[]);
    }
    eventually("the silent one is gone", || server.connections() == 1);
}

#[test]
fn the_pool_reaps_who_is_in_no_room_and_unused() {
    let server = start(|config| config.core.max_idle = 200);
    let mut idle = Client::json(address(&server));
    let mut used = Client::json(address(&server));
    let mut joined = Client::protobuf(address(&server));
    joined.join("relay:1");
    let closed = std::thread::spawn(move || idle.expect_close());
    // `ping` messages count as use.
    while !closed.is_finished() {
        used.text(r#"{"type":"ping"}"#);
        used.expect(MessageType::Pong);
    }
    let (code, reason) = closed.join().unwrap();
    assert_eq!((code, reason.split(';').next()), (4003, Some("idle")));
    eventually("only the idle one is gone", || server.connections() == 2);
    joined.chat("relay:1", "still here");
    joined.expect_chat();
}

#[test]
fn the_pool_reaps_who_is_old() {
    let server = start(|config| config.core.max_lifetime = 200);
    let mut old = Client::json(address(&server));
    let code = loop {
        old.text(r#"{"type":"ping"}"#);
        match old.next() {
            Got::Message(_) => {}
            Got::Close(close) => break close.unwrap().0,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 4004);
}

fn close_frame(close: Option<(u16, &str)>) -> Vec<u8> {
    let mut out = Vec::new();
    let close = close.map(|(code, reason)| CloseFrame { code, reason });
    frame::write_close(&mut out, close, Some([1; 4]));
    out
}

#[test]
fn a_close_frame_is_answered_with_its_code_and_the_connection_ends() {
    let server = start(|_| {});
    for (sent, answered) in [
        (Some((1000, "bye")), 1000),
        (Some((4321, "")), 4321),
        (None, 1005),
    ] {
        let mut client = Client::json(address(&server));
        client.join("relay:1");
        client.stream.write_all(&close_frame(sent)).unwrap();
        assert_eq!(client.expect_close().0, answered);
    }
    eventually("all are gone", || server.connections() == 0);
}

#[test]
fn a_breach_of_the_protocol_is_closed_with_its_code() {
    let server = start(|_| {});
    let cases: [(&str, Vec<u8>, u16); 4] = [
        ("a reserved opcode", vec![0x83, 0x80, 0, 0, 0, 0], 1002),
        ("no mask", vec![0x81, 0], 1002),
        ("not UTF-8", vec![0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
        (
            "over a megabyte",
            [&[0x81, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0][..], &[0; 4]].concat(),
            1009,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut client = Client::json(address(&server));
        client.stream.write_all(&bytes).unwrap();
        assert_eq!(client.expect_close().0, code, "{what}");
    }
}

#[test]
fn bad_messages_are_answered_and_the_next_one_works() {
    let server = start(|_| {});
    let mut client = Client::json(address(&server));
    client.join("relay:1");
    let error = |client: &mut Client| loop {
        match client.next() {
            Got::Message(message) => match message.body {
                ServerBody::Error(error) => break error,
                _ => continue,
            },
            other => panic!("{other:?}"),
        }
    };
    client.text("{");
    assert_eq!(error(&mut client).code.as_str(), "invalid_json");
    client.frame(Opcode::Binary, b"\x08\x05");
    assert_eq!(error(&mut client).code.as_str(), "wrong_format");
    client.text(&format!(
        r#"{{"type":"chat","payload":"{}"}}"#,
        "x".repeat(70_000)
    ));
    let too_large = error(&mut client);
    assert_eq!(too_large.code.as_str(), "too_large");
    client.chat("relay:1", "fine");
    assert_eq!(client.expect_chat().0, "fine");
    assert_eq!(
        metric(&server, "roomcast_errors_total{code=\"wrong_format\"}"),
        1
    );
}

#[test]
fn too_many_messages_are_refused_with_the_time_to_wait() {
    let server = start(|config| {
        config.core.messages_per_second = 5;
        config.core.burst = 5;
    });
    let mut client = Client::json(address(&server));
    for _ in 0..6 {
        client.text(r#"{"type":"ping","seq":9}"#);
    }
    for _ in 0..5 {
        client.expect(MessageType::Pong);
    }
    match client.next() {
        Got::Message(message) => match message.body {
            ServerBody::Error(error) => {
                assert_eq!(error.code.as_str(), "rate_limited");
                assert!((1..=1_000).contains(&error.retry_after_ms), "{error:?}");
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    assert_eq!(metric(&server, "roomcast_rate_limited_total"), 1);
}

#[test]
fn a_longer_wait_of_the_batcher_writes_less_often() {
    let server = start(|config| config.batcher.max_wait = Duration::from_millis(100));
    let mut client = Client::json(address(&server));
    client.join("relay:1");
    let before = metric(&server, "roomcast_socket_writes_total");
    let since = Instant::now();
    for n in 0..50 {
        client.chat("relay:1", &n.to_string());
    }
    for n in 0..50 {
        assert_eq!(client.expect_chat().0, n.to_string());
    }
    assert!(
        since.elapsed() >= Duration::from_millis(90),
        "{:?}",
        since.elapsed()
    );
    let writes = metric(&server, "roomcast_socket_writes_total") - before;
    assert!(writes < 10, "{writes}");
}

fn get(address: std::net::SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(common::DEADLINE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().next().map(str::to_owned)
}

#[test]
fn a_shutdown_asks_everybody_back_flushes_and_closes() {
    let server = start(|config| {
        config.server.shards = Some(2);
        config.shutdown.delay = Duration::from_millis(700);
        config.shutdown.pace = 10;
    });
    let address = address(&server);
    let mut clients: Vec<Client> = (0..6).map(|_| Client::json(address)).collect();
    clients.push(Client::protobuf(address));
    for client in &mut clients {
        client.join("relay:1");
    }
    let ending = std::thread::spawn(move || server.shutdown());
    eventually("it is not ready", || {
        get(address, "/readyz").is_some_and(|status| status == "HTTP/1.1 503 Service Unavailable")
    });
    // Newcomers are still served for a while.
    let mut newcomer = Client::json(address);
    newcomer.join("relay:1");
    newcomer.chat("relay:1", "last words");
    clients.push(newcomer);
    let mut delays = Vec::new();
    for client in &mut clients {
        assert_eq!(client.expect_chat().0, "last words");
        match client.expect(MessageType::Reconnect).body {
            ServerBody::Reconnect { delay_ms, .. } => delays.push(delay_ms),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.expect_close().0, 4000);
    }
    // 8 connections at 10 a second.
    assert!(delays.iter().all(|delay| *delay < 800), "{delays:?}");
    delays.sort();
    delays.dedup();
    assert!(delays.len() > 3, "each has a delay of its own: {delays:?}");
    ending.join().unwrap().unwrap();
    assert_eq!(get(address, "/healthz"), None, "nobody listens any more");
}

#[test]
fn a_stalled_client_does_not_hold_the_end_beyond_its_deadline() {
    let server = start(|config| {
        config.socket.send_buffer = 8 * 1024;
        config.core.event_lane = 0;
        config.shutdown.deadline = Duration::from_millis(1_500);
    });
    let mut stalled = Client::narrow(address(&server), Format::Json);
    let mut talker = Client::json(address(&server));
    stalled.join("relay:1");
    talker.join("relay:1");
    for _ in 0..1_000 {
        talker.chat("relay:1", &"x".repeat(1_000));
        talker.expect_chat();
    }
    let since = Instant::now();
    server.shutdown().unwrap();
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(talker.expect_close().0, 4000);
}
