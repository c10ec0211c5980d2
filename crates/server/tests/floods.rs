//! What costs a server work or memory and is no message: control frames, fragments without payload, and messages that
//! never end.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use common::{DEADLINE, address, metric, start};
use roomcast_protocol::Format;
use roomcast_server::RunningServer;
use wire::{Heard, Wire};

const PING: &[u8] = b"\x89\x80\x00\x00\x00\x00";
const PONG: &[u8] = b"\x8a\x80\x00\x00\x00\x00";
const BEGIN: &[u8] = b"\x01\x80\x00\x00\x00\x00";
const EMPTY: &[u8] = b"\x00\x80\x00\x00\x00\x00";

fn limited() -> RunningServer {
    start(|config| {
        config.core.messages_per_second = 10;
        config.core.burst = 20;
        config.core.max_offences = 5;
    })
}

#[test]
fn frames_that_are_no_messages_have_the_rate_of_messages() {
    let server = limited();
    let floods = [
        ("pings", PING.repeat(1_000)),
        ("pongs", PONG.repeat(1_000)),
        ("empty fragments", [BEGIN, &EMPTY.repeat(1_000)].concat()),
        (
            "pings between fragments",
            [BEGIN, &PING.repeat(1_000)].concat(),
        ),
    ];
    for (what, flood) in floods {
        let before = metric(&server, "roomcast_rate_limited_total");
        let mut wire = Wire::open(address(&server), Format::Json);
        wire.raw(&flood);
        let (code, reason) = wire.expect_close();
        assert_eq!((code, &*reason), (4500, "too_many_errors"), "{what}");
        assert!(
            metric(&server, "roomcast_rate_limited_total") > before,
            "{what}"
        );
    }
}

#[test]
fn what_stays_within_the_rate_is_served() {
    let server = limited();
    let mut wire = Wire::open(address(&server), Format::Json);
    wire.raw(&PING.repeat(5));
    for _ in 0..5 {
        assert_eq!(wire.next(), Heard::Pong);
    }
    wire.raw(&PONG.repeat(5));
    // `{"type":"ping"}` in fragments, two of them empty.
    wire.raw(b"\x01\x80\x00\x00\x00\x00\x00\x81\x00\x00\x00\x00{\x00\x80\x00\x00\x00\x00");
    wire.raw(b"\x80\x8e\x00\x00\x00\x00\"type\":\"ping\"}");
    wire.expect("pong");
}

/// Beginnings of which the rest does not come.
const BEGUN: &[(&str, &[u8])] = &[
    ("half a header", b"\x81"),
    ("a header", b"\x81\x8f\x00\x00\x00\x00"),
    ("half a message", b"\x81\x8f\x00\x00\x00\x00{\"ty"),
    ("a fragment", b"\x01\x81\x00\x00\x00\x00{"),
    ("half a ping", b"\x89\x85\x00\x00\x00\x00a"),
];

#[test]
fn a_message_that_does_not_end_ends_its_connection() {
    let server = start(|config| config.core.message_timeout = 300);
    for format in [Format::Json, Format::Protobuf] {
        for (what, begun) in BEGUN {
            let mut wire = Wire::open(address(&server), format);
            wire.raw(begun);
            let (code, reason) = wire.expect_close();
            assert_eq!(code, 4008, "{what}: {reason}");
            assert!(reason.starts_with("message_timeout; retry_after_ms="));
        }
    }
}

/// Each byte is a sign of life, and none of them is an end.
#[test]
fn a_message_that_comes_byte_by_byte_has_the_same_time() {
    let server = start(|config| config.core.message_timeout = 300);
    let mut wire = Wire::open(address(&server), Format::Json);
    wire.raw(b"\x81\xfe\xff\xff\x00\x00\x00\x00");
    let begin = Instant::now();
    wire.stream
        .set_read_timeout(Some(Duration::from_millis(10)))
        .unwrap();
    let mut byte = [0];
    loop {
        assert!(begin.elapsed() < DEADLINE, "it goes on for ever");
        match wire.stream.read(&mut byte) {
            Ok(0) => panic!("no close frame"),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        let _ = wire.stream.write_all(b" ");
    }
    assert_eq!(byte, [0x88], "a close frame");
    assert_eq!(metric(&server, "roomcast_closes_total{code=\"4008\"}"), 1);
}

/// The time is a message's, not a connection's.
#[test]
fn messages_that_end_in_time_follow_each_other() {
    let server = start(|config| {
        config.core.message_timeout = 400;
        config.core.ping_interval = 50;
    });
    let mut wire = Wire::open(address(&server), Format::Json);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1_500) {
        // Each segment ends one message and begins the next.
        wire.raw(b"\x81\x8f\x00\x00\x00\x00{\"type\":\"pi");
        while wire.next() != Heard::Ping {}
        wire.raw(b"ng\"}");
        wire.expect("pong");
    }
}
