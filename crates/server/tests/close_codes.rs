//! Every close code that a server sends, provoked over a real socket: its reason begins with the code's name and says
//! when to come back, if one may; then the connection ends.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
#[path = "common/http.rs"]
mod http;
mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{address, eventually, metric, start};
use roomcast_protocol::{CloseCode, Format};
use roomcast_server::RunningServer;
use roomcast_server::auth::{NewToken, Signer};
use roomcast_server::config::{ApiKey, Config, Right};
use roomcast_websocket::{Opcode, frame};
use wire::{Wire, close_frame, masked};

const FORMATS: [Format; 2] = [Format::Json, Format::Protobuf];

/// Sent to a newcomer whom no shard takes for as long as a handshake may last. No client can bring that about: it is
/// sent in `src/http/tests/handshake.rs`, to shards that take nobody.
const SENT_ELSEWHERE: u16 = 4006;

/// Of the settings, so that a code comes soon.
type Change = fn(&mut Config);

/// Bytes that end a connection at once.
const BREACHES: &[(u16, &str, &[u8])] = &[
    (1002, "no mask", b"\x81\x02{}"),
    (1002, "a reserved opcode", b"\x83\x80\x00\x00\x00\x00"),
    (1002, "a reserved bit", b"\xa1\x80\x00\x00\x00\x00"),
    (
        1002,
        "RSV1 without compression",
        b"\xc1\x80\x00\x00\x00\x00",
    ),
    (1002, "a fragmented ping", b"\x09\x80\x00\x00\x00\x00"),
    (
        1002,
        "a ping of 126 bytes",
        b"\x89\xfe\x00\x7e\x00\x00\x00\x00",
    ),
    (1002, "nothing to continue", b"\x80\x80\x00\x00\x00\x00"),
    (
        1002,
        "a message in a message",
        b"\x01\x80\x00\x00\x00\x00\x81\x80\x00\x00\x00\x00",
    ),
    (
        1002,
        "a length that is not minimal",
        b"\x81\xfe\x00\x01\x00\x00\x00\x00",
    ),
    (
        1002,
        "a length with its top bit",
        b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    ),
    (
        1002,
        "a close frame of one byte",
        b"\x88\x81\x00\x00\x00\x00\x03",
    ),
    (
        1002,
        "a close code for nobody",
        b"\x88\x82\x00\x00\x00\x00\x03\xed",
    ),
    (1007, "not UTF-8", b"\x81\x81\x00\x00\x00\x00\xff"),
    (
        1007,
        "not UTF-8 across fragments",
        b"\x01\x81\x00\x00\x00\x00\xc3\x80\x81\x00\x00\x00\x00\x28",
    ),
    (
        1009,
        "a message of a mebibyte and a byte",
        b"\x81\xff\x00\x00\x00\x00\x00\x10\x00\x01\x00\x00\x00\x00",
    ),
];

#[test]
fn a_breach_of_the_websocket_protocol_is_closed_with_its_code() {
    let server = start(|_| {});
    for format in FORMATS {
        for (code, what, bytes) in BREACHES {
            let mut wire = Wire::open(address(&server), format);
            wire.raw(bytes);
            closes(&mut wire, *code, what);
        }
    }
}

#[test]
fn a_goodbye_is_answered_with_its_code() {
    let server = start(|_| {});
    for format in FORMATS {
        for code in [1000, 1001, 3000, 4999] {
            let mut wire = Wire::open(address(&server), format);
            wire.raw(&close_frame(code, "bye"));
            assert_eq!(wire.expect_close(), (code, String::new()));
        }
        let mut wire = Wire::open(address(&server), format);
        let mut without_code = Vec::new();
        frame::write_close(&mut without_code, None, Some([1; 4]));
        wire.raw(&without_code);
        assert_eq!(wire.expect_close(), (1005, String::new()));
    }
    eventually("they are gone", || server.connections() == 0);
}

#[test]
fn who_is_refused_again_and_again_is_closed() {
    let server = start(|_| {});
    let most = Config::default().core.max_offences;
    for format in FORMATS {
        let other = match format {
            Format::Json => Opcode::Binary,
            Format::Protobuf => Opcode::Text,
        };
        let bad = match format {
            Format::Json => masked(Opcode::Text, b"{"),
            Format::Protobuf => masked(Opcode::Binary, b"\x08"),
        };
        for (code, frame) in [(4500, bad), (1003, masked(other, b"x"))] {
            // As many as are forgiven, and the connection goes on.
            let mut wire = Wire::open(address(&server), format);
            wire.raw(&frame.repeat(most as usize));
            for _ in 0..most {
                wire.error();
            }
            wire.send(r#"{"type":"ping"}"#);
            wire.expect("pong");
            // In one piece: the ten seconds are not over before they are counted.
            let mut wire = Wire::open(address(&server), format);
            wire.raw(&frame.repeat(most as usize + 1));
            closes(&mut wire, code, "offences");
        }
        // To run into what others decide is none.
        let mut wire = Wire::open(address(&server), format);
        for _ in 0..2 * most {
            wire.send(r#"{"type":"chat","to_client_id":"nobody","payload":1}"#);
            assert_eq!(wire.error()["payload"]["code"], "recipient_not_found");
        }
    }
}

#[test]
fn who_does_not_heed_the_rate_limit_is_closed() {
    let server = start(|config| {
        config.core.messages_per_second = 10;
        config.core.burst = 10;
        config.core.max_offences = 5;
    });
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        let ping: &[u8] = match format {
            Format::Json => &masked(Opcode::Text, br#"{"type":"ping"}"#),
            Format::Protobuf => &masked(Opcode::Binary, b"\x08\x0f"),
        };
        wire.raw(&ping.repeat(1_000));
        closes(&mut wire, 4500, "a flood");
    }
}

/// What time does, with short times.
#[test]
fn time_closes_connections_with_the_code_of_its_cause() {
    let short: [(u16, Change); 4] = [
        (4008, |config| config.core.message_timeout = 200),
        (4002, |config| {
            config.core.ping_interval = 50;
            config.core.pong_timeout = 300;
        }),
        (4003, |config| config.core.max_idle = 200),
        (4004, |config| config.core.max_lifetime = 200),
    ];
    for (code, change) in short {
        let server = start(change);
        for format in FORMATS {
            let mut wire = Wire::open(address(&server), format);
            if code == 4002 {
                // In a room the pool has no say, but silence has.
                wire.join("relay:1");
            }
            if code == 4008 {
                // Begun, and never ended.
                wire.raw(b"\x81");
            }
            closes(&mut wire, code, "time");
        }
    }
}

#[test]
fn who_takes_nothing_is_closed() {
    let cases: [(u16, Change); 2] = [
        (4001, |config| {
            config.core.event_lane = 32 * 1024;
            config.core.write_timeout = 0;
        }),
        (4005, |config| {
            config.core.event_lane = 0;
            // Also the time that is left to read the close frame.
            config.core.write_timeout = 1_500;
        }),
    ];
    for (code, change) in cases {
        let server = start(|config| {
            config.socket.send_buffer = 8 * 1024;
            change(config);
        });
        let mut talker = Wire::open(address(&server), Format::Json);
        talker.join("relay:1");
        let mut stalled = Wire::narrow(address(&server), Format::Protobuf);
        stalled.join("relay:1");
        let chat = format!(r#"{{"type":"chat","payload":"{}"}}"#, "x".repeat(4_000));
        let mut sent = 0;
        while closed(&server, code) == 0 {
            // More than the buffers of both ends hold; then it is for time to tell.
            if code == 4001 || sent < 250 {
                talker.send(&chat);
                talker.expect("chat");
                sent += 1;
                assert!(sent < 10_000, "nothing is bounded");
            } else {
                std::thread::yield_now();
            }
        }
        closes(&mut stalled, code, "a reader that stalls");
        talker.send(r#"{"type":"ping"}"#);
        talker.expect("pong");
    }
}

#[test]
fn a_shutdown_asks_everybody_to_come_back() {
    let server = start(|config| config.shutdown.pace = 2);
    let mut wires = FORMATS.map(|format| Wire::open(address(&server), format));
    for wire in &mut wires {
        wire.join("relay:1");
    }
    let ending = std::thread::spawn(move || server.shutdown());
    for wire in &mut wires {
        let reconnect = wire.expect("reconnect");
        assert!(reconnect["payload"]["delay_ms"].as_u64().unwrap() <= 1_000);
        assert_eq!(reconnect["payload"]["reason"], "reconnect");
        closes(wire, 4000, "a shutdown");
    }
    ending.join().unwrap().unwrap();
}

#[test]
fn who_resumes_a_session_takes_it_from_the_connection_before() {
    let server = start(|config| config.server.shards = Some(2));
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        wire.send(r#"{"type":"hello"}"#);
        let welcome = wire.expect("welcome");
        let mut token = welcome["payload"]["resume_token"].clone();
        // On whichever shard they begin, they end on the session's.
        for _ in 0..4 {
            let mut next = Wire::open(address(&server), format);
            let hello = serde_json::json!({"type": "hello", "payload": {"resume_token": token}});
            next.send(&hello.to_string());
            let again = next.expect("welcome");
            assert_eq!(again["payload"]["resumed"], true);
            assert_eq!(
                again["payload"]["client_id"],
                welcome["payload"]["client_id"]
            );
            token = again["payload"]["resume_token"].clone();
            let (code, reason) = wire.expect_close();
            assert_eq!((code, &*reason), (4501, "taken_over"));
            wire = next;
        }
    }
}

const SECRET: &str = "a secret for tests, with enough bytes in it";

/// A token that is good for so many seconds.
fn token(secret: &str, seconds: u64) -> String {
    let token = NewToken {
        user: "u7".to_owned(),
        ttl: Duration::from_secs(seconds),
        ..NewToken::default()
    };
    let signer = Signer::from_secret(secret.as_bytes()).unwrap();
    signer.sign(&token).unwrap()
}

#[test]
fn a_token_that_is_not_good_or_has_ended_ends_the_connection() {
    let server = start(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.auth.anonymous = Some(false);
        config.auth.leeway = Duration::ZERO;
    });
    let other = "another secret, which the server doesn't know";
    for format in FORMATS {
        for (code, token) in [(4007, token(SECRET, 1)), (4502, token(other, 60))] {
            let mut wire = Wire::open(address(&server), format);
            let hello = serde_json::json!({"type": "hello", "payload": {"token": token}});
            wire.send(&hello.to_string());
            closes(&mut wire, code, "a token");
        }
    }
}

#[test]
fn a_user_whom_the_application_sends_away_is_told_so() {
    const KEY: &str = "a-key-that-may-do-everything-1234567890";
    let server = start(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.api_keys = vec![ApiKey {
            name: "all".to_owned(),
            key: KEY.to_owned().into(),
            rights: vec![Right::Moderate],
            ..ApiKey::default()
        }];
    });
    let bearer = format!("authorization: Bearer {KEY}");
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        let hello = serde_json::json!({"type": "hello", "payload": {"token": token(SECRET, 60)}});
        wire.send(&hello.to_string());
        wire.expect("welcome");
        let path = "/api/v1/users/u7/disconnect";
        let answer = http::request(address(&server), "POST", path, &[&bearer], "{}");
        assert_eq!(answer.body, serde_json::json!({"sessions": 1}));
        closes(&mut wire, 4503, "an application's word");
    }
}

/// What the document lists is sent, and what is sent is listed: whoever adds a code shows here how it comes about.
#[test]
fn every_code_of_the_document_is_sent() {
    let mut seen: BTreeSet<u16> = BREACHES.iter().map(|(code, ..)| *code).collect();
    // By the tests above.
    seen.extend([
        1000, 1001, 1003, 4000, 4001, 4002, 4003, 4004, 4005, 4007, 4008, 4500, 4501, 4502, 4503,
    ]);
    seen.insert(SENT_ELSEWHERE);
    let all: BTreeSet<u16> = CloseCode::ALL.iter().map(|code| code.code()).collect();
    assert_eq!(seen, all);
}

// === helpers ===

fn closed(server: &RunningServer, code: u16) -> u64 {
    metric(server, &format!("roomcast_closes_total{{code=\"{code}\"}}"))
}

/// Waits for the close frame, and holds its reason against the document.
fn closes(wire: &mut Wire, code: u16, what: &str) {
    let (got, reason) = wire.expect_close();
    assert_eq!(got, code, "{what}: {reason}");
    let named = CloseCode::from_code(code).unwrap();
    let rest = reason.strip_prefix(named.as_str());
    let rest = rest.unwrap_or_else(|| panic!("{what}: {code} because of \"{reason}\""));
    let wait = rest.strip_prefix("; retry_after_ms=");
    assert_eq!(wait.is_some(), named.comes_back(), "{what}: {reason}");
    if let Some(wait) = wait {
        let wait = Duration::from_millis(wait.parse().unwrap());
        assert!(wait <= Duration::from_secs(1), "{what}: {reason}");
    }
}
