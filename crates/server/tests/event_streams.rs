//! Event streams: the protocol without WebSockets, over `GET /sse` and `POST /send`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;
mod event_stream;
#[path = "common/http.rs"]
mod http;

use std::io::Write;
use std::net::TcpStream;

use common::{Client, address, eventually, metric, start};
use event_stream::{Heard, Stream, chat, refused};
use http::request;
use roomcast_protocol::Format;
use roomcast_protocol::MessageType;
use serde_json::{Value, json};

const HELLO: &str = r#"{"version":1}"#;

#[test]
fn messages_go_both_ways_and_in_order_between_all_kinds_of_connections() {
    let server = start(|_| {});
    let mut stream = Stream::open(address(&server));
    assert_eq!(metric(&server, "roomcast_event_streams"), 1);
    let head = stream.head.to_lowercase();
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-store, no-transform",
        "x-accel-buffering: no",
        "connection: close",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    stream.hello(HELLO);
    stream.join("relay:1");
    let mut web = Client::json(address(&server));
    let mut binary = Client::protobuf(address(&server));
    web.join("relay:1");
    binary.join("relay:1");
    // Batches of one message and of many, with numbers and acks.
    let mut said = Vec::new();
    for batch in 0..20 {
        let lines = (0..batch % 7 + 1).map(|line| {
            let text = format!("{batch}/{line}");
            said.push(text.clone());
            let seq = said.len();
            format!(r#"{{"type":"chat","seq":{seq},"payload":"{text}","payload_kind":"text"}}"#)
        });
        let lines: Vec<_> = lines.collect();
        stream.send(&lines.join("\n"));
    }
    for text in &said {
        assert_eq!(web.expect_chat().0, *text);
        assert_eq!(binary.expect_chat().0, *text);
        assert_eq!(stream.expect("chat")["payload"], **text);
    }
    let mut acked = 0;
    stream.send(r#"{"type":"ping","payload":7}"#);
    stream.until(|message| {
        let acks = message["payload"]["acks"].as_array();
        acked = acks.map_or(acked, |acks| acks.last().unwrap()["seq"].as_u64().unwrap());
        message["type"] == "pong"
    });
    assert!(acked == 0 || acked == said.len() as u64);
    for number in 0..50 {
        web.chat("relay:1", &number.to_string());
    }
    for number in 0..50 {
        assert_eq!(stream.expect("chat")["payload"], number.to_string());
    }
    drop(stream);
    eventually("the stream's end is noticed", || {
        metric(&server, "roomcast_event_streams") == 0
    });
}

#[test]
fn a_payload_with_lines_of_its_own_is_one_event() {
    let server = start(|_| {});
    let mut stream = Stream::open(address(&server));
    stream.hello(HELLO);
    stream.join("relay:1");
    let mut web = Client::json(address(&server));
    web.join("relay:1");
    web.text("{\"type\":\"event\",\"name\":\"e\",\"payload\":{\r\n\n \"a\": \"x\\ny\",\r \"event: close\":\n[1]}}");
    let event = stream.expect("event");
    assert_eq!(event["payload"], json!({"a": "x\ny", "event: close": [1]}));
}

#[test]
fn a_batch_that_comes_again_is_taken_once_and_one_that_leaves_a_gap_is_not() {
    let server = start(|_| {});
    let mut stream = Stream::open(address(&server));
    stream.hello(HELLO);
    stream.join("relay:1");
    stream.send(&chat("relay:1", "once"));
    for _ in 0..3 {
        let again = stream.post_as(stream.batch, &chat("relay:1", "once"), &[]);
        assert_eq!(again.status, 204);
    }
    let gap = stream.post_as(stream.batch + 2, &chat("relay:1", "early"), &[]);
    assert_eq!(gap.status, 409, "{gap:?}");
    stream.send(&chat("relay:1", "then"));
    assert_eq!(stream.expect("chat")["payload"], "once");
    assert_eq!(stream.expect("chat")["payload"], "then");
    assert_eq!(
        metric(&server, "roomcast_posts_total{outcome=\"out_of_order\"}"),
        1
    );
}

#[test]
fn a_batch_that_comes_again_is_answered_when_it_is_taken_and_not_before() {
    let server = start(|config| {
        config.socket.send_buffer = 8 * 1024;
        config.core.write_timeout = 0;
        config.core.messages_per_second = 0;
        config.core.max_offences = 0;
    });
    let mut stream = Stream::narrow(address(&server));
    stream.hello(HELLO);
    // Their answers are more than the client takes without reading, so most of them have to wait.
    let pings = [r#"{"type":"ping","payload":"0123456789"}"#; 1_600].join("\n");
    assert!(pings.len() < stream.max_body);
    let number = stream.batch + 1;
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (tell, stream, pings) = (tell.clone(), &stream, &pings);
            scope.spawn(move || tell.send(stream.post_as(number, pings, &[]).status));
        }
        // Whichever came first leaves the answer to the other one.
        assert_eq!(told.recv(), Ok(503));
        let mut reader = stream.reader();
        for _ in 0..1_600 {
            reader.expect("pong");
        }
        // On a busy machine it has waited too long as well.
        assert!(matches!(told.recv(), Ok(204 | 503)));
    });
    assert_eq!(stream.post_as(number, &pings, &[]).status, 204);
}

#[test]
fn an_id_that_is_not_genuine_is_refused_before_a_body_is_there() {
    let server = start(|_| {});
    let stream = Stream::open(address(&server));
    let forged = event_stream::forged(&stream.id);
    assert_eq!(event_stream::refused_unread(address(&server), &forged), 410);
    // An ended one is known here.
    let id = stream.id.clone();
    drop(stream);
    eventually("the stream's end is noticed", || {
        metric(&server, "roomcast_event_streams") == 0
    });
    assert_eq!(event_stream::refused_unread(address(&server), &id), 410);
}

#[test]
fn a_session_goes_from_a_websocket_to_a_stream_and_back() {
    // Two shards: a session that lives on the other one takes the stream there, with what was posted behind the hello.
    let server = start(|config| config.server.shards = Some(2));
    let resume = |token: &Value| json!({"version": 1, "resume_token": token}).to_string();
    let mut stream = Stream::open(address(&server));
    let welcome = stream.hello(HELLO);
    let client_id = welcome["client_id"].clone();
    let mut token = welcome["resume_token"].clone();
    stream.join("relay:1");
    drop(stream);
    for round in 0..6 {
        let mut web = Client::json(address(&server));
        web.text(&format!(
            r#"{{"type":"hello","payload":{}}}"#,
            resume(&token)
        ));
        let welcome = web.expect(MessageType::Welcome);
        let roomcast_protocol::client::ServerBody::Welcome(welcome) = welcome.body else {
            panic!("no welcome");
        };
        assert!(welcome.resumed);
        assert_eq!(client_id, *welcome.client_id);
        token = json!(welcome.resume_token);
        web.expect(MessageType::Joined);
        // Taken over while it is still there.
        let mut stream = Stream::open(address(&server));
        let hello = format!(r#"{{"type":"hello","payload":{}}}"#, resume(&token));
        let text = format!("round {round}");
        stream.send(&format!("{hello}\n{}", chat("relay:1", &text)));
        let welcome = stream.expect("welcome")["payload"].take();
        assert_eq!(welcome["resumed"], true);
        token = welcome["resume_token"].clone();
        assert_eq!(web.expect_close().0, 4501);
        stream.expect("joined");
        assert_eq!(stream.expect("chat")["payload"], text);
        // Batches go where the stream is now.
        stream.send(&chat("relay:1", "and on"));
        assert_eq!(stream.expect("chat")["payload"], "and on");
    }
}

#[test]
fn who_says_goodbye_has_left_and_who_is_cut_off_comes_back() {
    let server = start(|_| {});
    let mut other = Client::json(address(&server));
    other.join("relay:1");
    let mut stream = Stream::open(address(&server));
    stream.hello(HELLO);
    stream.join("relay:1");
    other.expect(MessageType::PlayerJoined);
    // What it says last comes before.
    let last = stream.post_as(
        stream.batch + 1,
        &chat("relay:1", "bye"),
        &["roomcast-close: 1000"],
    );
    assert_eq!(last.status, 204);
    assert_eq!(stream.expect_close().0, 1000);
    assert_eq!(other.expect_chat().0, "bye");
    other.expect(MessageType::PlayerLeft);
    let gone = stream.post_as(stream.batch + 2, &chat("relay:1", "x"), &[]);
    assert_eq!(gone.status, 410);
}

#[test]
fn a_reader_that_stalls_delays_nobody_and_gets_all_once_it_reads() {
    let server = start(|config| {
        config.socket.send_buffer = 8 * 1024;
        config.core.write_timeout = 0;
        config.core.event_lane = 160 * 1024;
        for kind in &mut config.kinds {
            kind.retention.bytes = 64 << 20;
        }
    });
    let mut stalled = Stream::narrow(address(&server));
    stalled.hello(HELLO);
    stalled.join("relay:1");
    let mut talker = Client::json(address(&server));
    talker.join("relay:1");
    let total = 600;
    let said = |number: usize| format!("{number} {}", "y".repeat(number * 13 % 4_000));
    for number in 0..total {
        talker.chat("relay:1", &said(number));
        talker.expect_chat();
    }
    for number in 0..total {
        assert_eq!(stalled.expect("chat")["payload"], said(number));
    }
}

#[test]
fn who_does_not_read_is_closed_behind_whole_events() {
    let server = start(|config| {
        config.socket.send_buffer = 8 * 1024;
        config.core.write_timeout = 0;
        config.core.event_lane = 64 * 1024;
    });
    let mut stalled = Stream::narrow(address(&server));
    // Without a `hello` no log helps.
    stalled.join("relay:1");
    let mut talker = Client::json(address(&server));
    talker.join("relay:1");
    let slow = "roomcast_closed_by_server_total{cause=\"slow_reader\"}";
    let mut sent = 0;
    while metric(&server, slow) == 0 {
        talker.chat("relay:1", &"z".repeat(1_000 + sent % 100));
        talker.expect_chat();
        sent += 1;
        assert!(sent < 5_000, "its lane has no bound");
    }
    let (code, reason) = stalled.expect_close();
    assert_eq!(code, 4001);
    assert!(
        reason.starts_with("slow_reader; retry_after_ms="),
        "{reason}"
    );
}

#[test]
fn what_is_wrong_with_a_batch_is_told_and_harms_nobody() {
    let server = start(|config| config.core.max_message = 2_000);
    let mut stream = Stream::open(address(&server));
    stream.hello(HELLO);
    stream.join("relay:1");
    let post =
        |headers: &[&str], body: &str| request(address(&server), "POST", "/send", headers, body);
    let id = format!("roomcast-stream: {}", stream.id);
    let forged = format!("roomcast-stream: {}", event_stream::forged(&stream.id));
    let next = format!("roomcast-batch: {}", stream.batch + 1);
    for (headers, status) in [
        (vec![], 400),
        (vec![id.as_str()], 400),
        (vec![id.as_str(), "roomcast-batch: 0"], 400),
        (vec![id.as_str(), "roomcast-batch: -1"], 400),
        (vec![id.as_str(), &next, "roomcast-batch: 9"], 400),
        (vec![id.as_str(), &next, "roomcast-close: 1006"], 400),
        (vec!["roomcast-stream: x", &next], 400),
        (
            vec!["roomcast-stream: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &next],
            400,
        ),
        (vec![forged.as_str(), &next], 410),
    ] {
        let answer = post(&headers, &chat("relay:1", "no"));
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
    }
    // A body that is larger than the stream says is not read.
    let huge = "x".repeat(stream.max_body + 1);
    assert_eq!(stream.post_as(stream.batch + 1, &huge, &[]).status, 413);
    assert_eq!(
        request(address(&server), "GET", "/send", &[&id, &next], "").status,
        405
    );
    assert_eq!(
        request(address(&server), "POST", "/sse", &[], "").status,
        405
    );
    // A message that is too large, one that is none, and one that is good.
    let large = chat("relay:1", &"x".repeat(2_000));
    stream.send(&format!("{large}\n{{]\n\r\n{}\n", chat("relay:1", "good")));
    let code = |message: &Value| message["payload"]["code"].clone();
    let error = |message: &Value| message["type"] == "error";
    assert_eq!(code(&stream.until(error)), "too_large");
    assert_eq!(code(&stream.until(error)), "invalid_json");
    assert_eq!(stream.expect("chat")["payload"], "good");
}

#[test]
fn bodies_that_are_no_text_are_refused_whole() {
    let server = start(|_| {});
    let mut stream = Stream::open(address(&server));
    stream.hello(HELLO);
    let mut io = TcpStream::connect(address(&server)).unwrap();
    let head = format!(
        "POST /send HTTP/1.1\r\nhost: localhost\r\nroomcast-stream: {}\r\nroomcast-batch: 2\r\ncontent-length: 3\r\n\r\n",
        stream.id
    );
    io.write_all(&[head.as_bytes(), b"\"\xff\""].concat())
        .unwrap();
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut io, &mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    // The number is not used up.
    stream.join("relay:1");
}

#[test]
fn streams_count_as_connections_and_a_full_server_takes_what_is_posted() {
    let server = start(|config| {
        config.limits.connections_per_address = 2;
        config.server.trusted_proxies =
            vec!["127.0.0.1".parse::<std::net::IpAddr>().unwrap().into()];
        config.auth.anonymous = Some(true);
    });
    let from = "x-forwarded-for: 192.0.2.7";
    let open = || {
        let io = TcpStream::connect(address(&server)).unwrap();
        Stream::with(address(&server), io, &[from])
    };
    let (mut first, second) = (open(), open());
    let (status, head) = refused(address(&server), &[from]);
    assert_eq!(status, 503, "{head}");
    assert!(head.to_lowercase().contains("\r\nretry-after: "), "{head}");
    first.hello(HELLO);
    first.join("relay:1");
    drop(second);
}

#[test]
fn pages_of_other_origins_neither_hear_nor_speak() {
    let server = start(|config| {
        config.server.origins = vec!["https://game.example".parse().unwrap()];
    });
    let to = address(&server);
    let evil = "origin: https://evil.example";
    let (status, head) = refused(to, &[evil]);
    assert_eq!(status, 403);
    assert!(!head.contains("access-control"), "{head}");
    let mut stream = Stream::open(to);
    stream.hello(HELLO);
    let answer = stream.post_as(2, &chat("relay:1", "x"), &[evil]);
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(request(to, "OPTIONS", "/send", &[evil], "").status, 403);
    // One that may.
    let good = "origin: https://game.example";
    let allowed = request(
        to,
        "OPTIONS",
        "/send",
        &[good, "access-control-request-method: POST"],
        "",
    );
    assert_eq!(allowed.status, 204);
    let header =
        |answer: &http::Answer, name: &str| answer.header(name).unwrap_or_default().to_owned();
    assert_eq!(
        header(&allowed, "access-control-allow-origin"),
        "https://game.example"
    );
    assert_eq!(header(&allowed, "access-control-allow-credentials"), "true");
    let headers = header(&allowed, "access-control-allow-headers");
    for name in [
        "roomcast-stream",
        "roomcast-batch",
        "roomcast-close",
        "content-type",
    ] {
        assert!(headers.contains(name), "{headers}");
    }
    let mut paged = Stream::with(to, TcpStream::connect(to).unwrap(), &[good]);
    assert!(
        paged
            .head
            .contains("access-control-allow-origin: https://game.example\r\n")
    );
    paged.hello(HELLO);
    let gone = paged.post_as(9, "x", &[good]);
    assert_eq!(gone.status, 409);
    assert_eq!(
        header(&gone, "access-control-allow-origin"),
        "https://game.example"
    );
    // A name that may be a page's of the web, which points here.
    let rebound = request(to, "POST", "/send", &["host: evil.example"], "x");
    assert!(matches!(rebound.status, 400 | 421), "{rebound:?}");
}

#[test]
fn a_silent_client_is_closed_and_an_empty_batch_is_a_sign_of_life() {
    let server = start(|config| {
        config.core.ping_interval = 100;
        config.core.pong_timeout = 1_000;
    });
    let mut alive = Stream::open(address(&server));
    let mut silent = Stream::open(address(&server));
    alive.hello(HELLO);
    silent.hello(HELLO);
    let closed = "roomcast_closed_by_server_total{cause=\"heartbeat_timeout\"}";
    while metric(&server, closed) == 0 {
        // The server's pings are comments, which keep what is between awake.
        while alive.next() != Heard::Comment {}
        alive.send("");
    }
    // They come also where nobody answers.
    for _ in 0..3 {
        while silent.next() != Heard::Comment {}
    }
    assert_eq!(silent.expect_close().0, 4002);
    alive.join("relay:1");
}

#[test]
fn tokens_are_asked_for_as_of_websockets() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let server = start(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.auth.anonymous = Some(false);
    });
    let (status, _) = refused(address(&server), &["authorization: Bearer nonsense"]);
    assert_eq!(status, 401);
    let mut stream = Stream::open(address(&server));
    stream.send(r#"{"type":"hello","payload":{"version":1}}"#);
    let error = stream.until(|message| message["type"] == "error");
    assert_eq!(error["payload"]["code"], "unauthorized");
    assert_eq!(stream.expect_close().0, 4502);
}

#[test]
fn a_server_that_ends_says_so_in_the_last_event() {
    let server = start(|_| {});
    let mut stream = Stream::open(address(&server));
    stream.hello(HELLO);
    let ends = std::thread::spawn(move || server.shutdown());
    let (code, reason) = stream.expect_close();
    assert_eq!(code, 4000, "{reason}");
    ends.join().unwrap().unwrap();
}

#[test]
fn it_can_be_switched_off() {
    let server = start(|config| config.server.sse = false);
    assert_eq!(refused(address(&server), &[]).0, 404);
    assert_eq!(
        request(address(&server), "POST", "/send", &[], "x").status,
        404
    );
    let mut web = Client::open(address(&server), Format::Json, false, &[]);
    web.hello();
}
