//! Nobody is let in but by what lets in: whatever comes first on a connection to a server that asks for a token.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use std::time::Duration;

use common::{address, start};
use roomcast_protocol::Format;
use roomcast_server::RunningServer;
use roomcast_server::auth::{NewToken, Signer};
use roomcast_server::config::Config;
use roomcast_websocket::Opcode;
use wire::{Wire, masked};

const SECRET: &str = "a secret for tests, with enough bytes in it";
const FORMATS: [Format; 2] = [Format::Json, Format::Protobuf];

fn server(change: impl FnOnce(&mut Config)) -> RunningServer {
    start(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.auth.anonymous = Some(false);
        change(config);
    })
}

fn token() -> String {
    let token = NewToken {
        user: "u7".to_owned(),
        ttl: Duration::from_secs(3600),
        ..NewToken::default()
    };
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    signer.sign(&token).unwrap()
}

/// First messages that are refused before anybody asks who sends them, with the code of the refusal.
fn refused_first() -> Vec<(&'static str, Vec<u8>)> {
    let json = |text: &str| masked(Opcode::Text, text.as_bytes());
    vec![
        ("invalid_json", json("{")),
        ("invalid_json", json("")),
        ("invalid_json", json("[1]")),
        ("unknown_type", json(r#"{"type":"joined"}"#)),
        ("missing_field", json("{}")),
        ("missing_field", json(r#"{"type":"auth"}"#)),
        ("wrong_type", json(r#"{"type":"join_room","room_id":7}"#)),
        (
            "invalid_name",
            json(r#"{"type":"join_room","room_id":"a b"}"#),
        ),
        ("wrong_format", masked(Opcode::Binary, b"\x08\x01")),
        ("too_large", json(&"x".repeat(100_000))),
        (
            "unsupported_version",
            json(r#"{"type":"hello","payload":{"version":2}}"#),
        ),
        (
            "unsupported_version",
            json(&format!(
                r#"{{"type":"hello","payload":{{"version":2,"token":"{}"}}}}"#,
                token()
            )),
        ),
    ]
}

/// What only somebody who was let in may ask for.
const REQUESTS: [&str; 6] = [
    r#"{"type":"join_room","room_id":"relay:1"}"#,
    r#"{"type":"chat","to_user_id":"u7","payload":"psst"}"#,
    r#"{"type":"ping"}"#,
    r#"{"type":"skip","payload":{"seq":1}}"#,
    r#"{"type":"history","room_id":"relay:1"}"#,
    r#"{"type":"hello","payload":{"version":1}}"#,
];

#[test]
fn a_first_message_that_is_refused_lets_nobody_in() {
    let server = server(|_| {});
    for (code, first) in refused_first() {
        for request in REQUESTS {
            let mut wire = Wire::open(address(&server), Format::Json);
            wire.raw(&first);
            let refused = wire.receive();
            assert_eq!(refused["payload"]["code"], code, "{refused}");
            wire.send(request);
            let answer = wire.receive();
            assert_eq!(
                answer["payload"]["code"], "unauthorized",
                "after {code}, {request}: {answer}"
            );
            assert_eq!(wire.expect_close().0, 4502, "after {code}, {request}");
        }
    }
}

#[test]
fn a_good_hello_is_taken_after_messages_that_were_refused() {
    let server = server(|_| {});
    for (code, first) in refused_first() {
        let mut wire = Wire::open(address(&server), Format::Json);
        wire.raw(&first);
        assert_eq!(wire.receive()["payload"]["code"], code);
        wire.send(&format!(
            r#"{{"type":"hello","payload":{{"version":1,"token":"{}"}}}}"#,
            token()
        ));
        assert_eq!(wire.expect("welcome")["payload"]["user_id"], "u7", "{code}");
        wire.join("relay:1");
    }
}

#[test]
fn the_rate_limit_lets_nobody_in() {
    let server = server(|config| {
        config.core.messages_per_second = 10;
        config.core.burst = 1;
        config.core.max_offences = 0;
    });
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        for code in ["unsupported_version", "rate_limited"] {
            wire.send(r#"{"type":"hello","payload":{"version":2}}"#);
            assert_eq!(wire.receive()["payload"]["code"], code);
        }
        // Until the rate lets one through, which is refused for what it lacks.
        loop {
            wire.send(r#"{"type":"join_room","room_id":"relay:1"}"#);
            let answer = wire.receive();
            let code = answer["payload"]["code"].as_str().unwrap().to_owned();
            if code != "rate_limited" {
                assert_eq!(code, "unauthorized", "{answer}");
                break;
            }
        }
        assert_eq!(wire.expect_close().0, 4502);
    }
}

#[test]
fn who_shows_no_token_is_closed_in_time() {
    let server = server(|config| config.core.token_timeout = 200);
    for format in FORMATS {
        let mut silent = Wire::open(address(&server), format);
        let mut noisy = Wire::open(address(&server), format);
        noisy.send(r#"{"type":"hello","payload":{"version":2}}"#);
        assert_eq!(silent.expect_close().0, 4003);
        assert_eq!(noisy.expect_close().0, 4003);
        // A token in the request's header needs no message to say so.
        let mut good = Wire::with_token(address(&server), format, &token());
        assert_eq!(
            Wire::open(address(&server), format).expect_close().0,
            4003,
            "later than it would have been"
        );
        good.join("relay:1");
    }
}
