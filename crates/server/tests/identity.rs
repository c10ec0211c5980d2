//! Who a client is and what it may do, from its first message to the end of its token, in both formats.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use std::time::Duration;

use common::{address, eventually, metric, start};
use roomcast_protocol::Format;
use roomcast_server::RunningServer;
use roomcast_server::auth::{NewToken, Signer};
use roomcast_server::config::Config;
use serde_json::Value;
use wire::Wire;

const SECRET: &str = "a secret for tests, with enough bytes in it";
const FORMATS: [Format; 2] = [Format::Json, Format::Protobuf];

/// A server that asks everybody for a token.
fn strict(change: impl FnOnce(&mut Config)) -> RunningServer {
    start(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.auth.anonymous = Some(false);
        change(config);
    })
}

fn sign(change: impl FnOnce(&mut NewToken)) -> String {
    signed_with(SECRET, change)
}

fn signed_with(secret: &str, change: impl FnOnce(&mut NewToken)) -> String {
    let mut token = NewToken {
        user: "u7".to_owned(),
        name: Some("Ada".to_owned()),
        ttl: Duration::from_secs(3600),
        ..NewToken::default()
    };
    change(&mut token);
    let signer = Signer::from_secret(secret.as_bytes()).unwrap();
    signer.sign(&token).unwrap()
}

fn ada() -> String {
    sign(|_| {})
}

fn in_room(room: &str, allow: &str) -> String {
    sign(|token| {
        token.rooms = vec![room.to_owned()];
        token.allow = allow.split(',').map(str::to_owned).collect();
    })
}

fn hello(wire: &mut Wire, token: &str) -> Value {
    wire.send(&format!(
        r#"{{"type":"hello","payload":{{"version":1,"token":"{token}"}}}}"#
    ));
    wire.receive()
}

fn joined_as(wire: &mut Wire, room: &str) -> String {
    let joined = wire.join(room);
    let member = &joined["payload"]["members"][0];
    format!(
        "{} {}",
        member["player_id"].as_str().unwrap(),
        member["nickname"].as_str().unwrap()
    )
}

/// The message is answered by an error of this code, whose sentence says that.
fn is_refused(answer: &Value, code: &str, says: &str) {
    assert_eq!(
        (&answer["type"], &answer["payload"]["code"]),
        (&"error".into(), &code.into()),
        "{answer}"
    );
    let sentence = answer["payload"]["message"].as_str().unwrap();
    assert!(sentence.contains(says), "{answer}");
}

#[test]
fn a_token_in_hello_or_in_the_request_says_who_a_client_is() {
    let server = strict(|_| {});
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        let welcome = hello(&mut wire, &ada());
        assert_eq!(welcome["payload"]["user_id"], "u7", "{welcome}");
        assert!(welcome["payload"]["token_expires_at"].as_i64().unwrap() > 0);
        assert_eq!(joined_as(&mut wire, "relay:1"), "u7 Ada");
        let mut wire = Wire::with_token(address(&server), format, &ada());
        wire.send(r#"{"type":"hello","payload":{"version":1}}"#);
        assert_eq!(wire.expect("welcome")["payload"]["user_id"], "u7");
        // A client that knows of no `hello` can have one too.
        let mut wire = Wire::with_token(address(&server), format, &ada());
        assert_eq!(joined_as(&mut wire, "relay:2"), "u7 Ada");
    }
}

#[test]
fn without_a_good_token_nothing_is_done() {
    let server = strict(|_| {});
    let forged = signed_with("another secret, which is long enough too", |_| {});
    for format in FORMATS {
        for (token, says) in [(forged.as_str(), "signature"), ("nonsense", "malformed")] {
            let mut wire = Wire::open(address(&server), format);
            is_refused(&hello(&mut wire, token), "unauthorized", says);
            assert_eq!(wire.expect_close().0, 4502);
        }
        for first in [
            r#"{"type":"hello","payload":{"version":1}}"#,
            r#"{"type":"join_room","room_id":"relay:1"}"#,
            r#"{"type":"ping"}"#,
        ] {
            let mut wire = Wire::open(address(&server), format);
            wire.send(first);
            is_refused(&wire.receive(), "unauthorized", "token");
            assert_eq!(wire.expect_close().0, 4502);
        }
        // A good one in the request doesn't stand for a bad one in `hello`.
        let mut wire = Wire::with_token(address(&server), format, &ada());
        is_refused(&hello(&mut wire, &forged), "unauthorized", "signature");
        assert_eq!(wire.expect_close().0, 4502);
    }
}

#[test]
fn rights_are_by_room() {
    let server = strict(|_| {});
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        hello(&mut wire, &in_room("relay:*", "join"));
        wire.send(r#"{"type":"join_room","room_id":"state:1"}"#);
        is_refused(&wire.error(), "forbidden", "joining");
        wire.join("relay:1");
        wire.send(r#"{"type":"chat","room_id":"relay:1","payload":"hi"}"#);
        is_refused(&wire.error(), "forbidden", "sending");
        wire.send(r#"{"type":"event","name":"e","room_id":"relay:1"}"#);
        is_refused(&wire.error(), "forbidden", "sending");
        wire.send(r#"{"type":"presence","room_id":"relay:1","payload":{"presence":{"a":1}}}"#);
        is_refused(&wire.error(), "forbidden", "presence");
        wire.send(r#"{"type":"history","room_id":"relay:1"}"#);
        is_refused(&wire.error(), "forbidden", "history");
        // A token for one room adds what it allows there, and nothing elsewhere.
        let token = in_room("relay:2", "join,publish");
        for room in ["relay:2", "relay:3"] {
            wire.send(&format!(
                r#"{{"type":"join_room","room_id":"{room}","payload":{{"token":"{token}"}}}}"#
            ));
            wire.expect("joined");
        }
        wire.send(r#"{"type":"chat","room_id":"relay:2","payload":"hi"}"#);
        assert_eq!(wire.expect("chat")["room_id"], "relay:2");
        wire.send(r#"{"type":"chat","room_id":"relay:3","payload":"hi"}"#);
        is_refused(&wire.error(), "forbidden", "sending");
        let other = sign(|token| token.user = "somebody".to_owned());
        wire.send(&format!(
            r#"{{"type":"join_room","room_id":"relay:4","payload":{{"token":"{other}"}}}}"#
        ));
        is_refused(&wire.error(), "unauthorized", "another user");
    }
}

#[test]
fn a_token_is_renewed_or_ends_its_connection() {
    let server = strict(|config| config.auth.leeway = Duration::from_millis(500));
    let short = || sign(|token| token.ttl = Duration::from_secs(1));
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        let first = hello(&mut wire, &short())["payload"]["token_expires_at"]
            .as_i64()
            .unwrap();
        // A bad one changes nothing.
        wire.send(r#"{"type":"auth","payload":{"token":"nonsense"}}"#);
        is_refused(&wire.error(), "unauthorized", "malformed");
        let other = sign(|token| token.user = "somebody".to_owned());
        wire.send(&format!(
            r#"{{"type":"auth","payload":{{"token":"{other}"}}}}"#
        ));
        is_refused(&wire.error(), "unauthorized", "another user");
        wire.send(&format!(
            r#"{{"type":"auth","payload":{{"token":"{}"}}}}"#,
            ada()
        ));
        let renewed = wire.expect("auth");
        assert!(
            renewed["payload"]["token_expires_at"].as_i64().unwrap() > first,
            "{renewed}"
        );
        // By the time that this one is closed, the first would have been too.
        let mut ends = Wire::open(address(&server), format);
        hello(&mut ends, &short());
        let (code, reason) = ends.expect_close();
        assert_eq!(code, 4007, "{reason}");
        wire.send(r#"{"type":"ping"}"#);
        wire.expect("pong");
    }
}

#[test]
fn a_resume_token_of_somebody_else_opens_nothing() {
    let server = strict(|_| {});
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        let welcome = hello(&mut wire, &ada());
        let resume = welcome["payload"]["resume_token"]
            .as_str()
            .unwrap()
            .to_owned();
        let client = welcome["payload"]["client_id"].clone();
        wire.join("relay:1");
        let again = |token: &str| {
            let mut wire = Wire::open(address(&server), format);
            wire.send(&format!(
                r#"{{"type":"hello","payload":{{"version":1,"token":"{token}","resume_token":"{resume}"}}}}"#
            ));
            wire.expect("welcome")
        };
        let other = again(&sign(|token| token.user = "somebody".to_owned()));
        assert_eq!(other["payload"]["resumed"], false, "{other}");
        assert_ne!(other["payload"]["client_id"], client, "{other}");
        wire.send(r#"{"type":"ping"}"#);
        wire.expect("pong");
        let mine = again(&ada());
        assert_eq!(mine["payload"]["resumed"], true, "{mine}");
    }
}

#[test]
fn the_name_of_a_session_that_is_gone_goes_to_its_own_user_alone() {
    let server = strict(|config| config.core.session_grace = 100);
    let ann = || sign(|token| token.user = "ann".to_owned());
    let others = [
        sign(|token| token.user = "bob".to_owned()),
        sign(|token| {
            token.user = String::new();
            token.rooms = vec!["r".to_owned()];
        }),
    ];
    let mut sessions = 0;
    for format in FORMATS {
        let come_back = |token: &str, resume: &Value| {
            let mut wire = Wire::open(address(&server), format);
            let hello = serde_json::json!({
                "type": "hello",
                "payload": {"version": 1, "token": token, "resume_token": resume},
            });
            wire.send(&hello.to_string());
            let welcome = wire.expect("welcome")["payload"].take();
            (wire, welcome)
        };
        let mut wire = Wire::open(address(&server), format);
        let welcome = hello(&mut wire, &ann())["payload"].take();
        drop(wire);
        sessions += 1;
        eventually("all sessions are over", || {
            metric(&server, r#"roomcast_sessions_ended_total{cause="grace"}"#) == sessions
        });
        for other in &others {
            let (_, stolen) = come_back(other, &welcome["resume_token"]);
            assert_ne!(stolen["client_id"], welcome["client_id"], "{stolen}");
        }
        let (_, back) = come_back(&ann(), &welcome["resume_token"]);
        assert_eq!(back["resumed"], false);
        assert_eq!(back["client_id"], welcome["client_id"]);
        sessions += 1 + others.len() as u64;
    }
}
