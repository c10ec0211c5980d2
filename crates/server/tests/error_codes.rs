//! Every error code that a server sends, provoked over a real socket: the connection stays, and the next message works.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{address, config};
use roomcast_protocol::{ErrorCode, Format};
use roomcast_server::auth::{NewToken, Signer};
use roomcast_server::config::Config;
use roomcast_server::{
    GameAction, Kind, Outcome, PlayerNum, RoomContext, RoomLogic, RunningServer, Server,
};
use roomcast_websocket::Opcode;
use serde_json::Value;
use wire::{Wire, masked};

const FORMATS: [Format; 2] = [Format::Json, Format::Protobuf];

/// These take a store that answers late, memory that is used up, or the API: `crates/core/tests` has them.
const SENT_ELSEWHERE: [&str; 5] = [
    "too_many_unanswered",
    "unavailable",
    "removed",
    "banned",
    "room_locked",
];

/// A message that is refused. `first` are taken before it.
struct Case {
    code: &'static str,
    first: &'static [&'static str],
    message: &'static str,
}

const fn case(code: &'static str, first: &'static [&'static str], message: &'static str) -> Case {
    Case {
        code,
        first,
        message,
    }
}

const JOIN: &str = r#"{"type":"join_room","room_id":"arena:1"}"#;

const CASES: &[Case] = &[
    case(
        "unsupported_version",
        &[],
        r#"{"type":"hello","payload":{"version":2},"seq":1}"#,
    ),
    case(
        "unexpected",
        &[r#"{"type":"hello"}"#],
        r#"{"type":"hello","seq":1}"#,
    ),
    case(
        "unexpected",
        &[r#"{"type":"ping"}"#],
        r#"{"type":"hello","seq":1}"#,
    ),
    case(
        "not_in_room",
        &[],
        r#"{"type":"history","room_id":"arena:1","payload":{"limit":1},"seq":1}"#,
    ),
    case(
        "not_in_room",
        &[],
        r#"{"type":"skip","room_id":"arena:1","payload":{"seq":1},"seq":1}"#,
    ),
    case(
        "not_supported",
        &[],
        r#"{"type":"auth","payload":{"token":"x"},"seq":1}"#,
    ),
    case("not_in_room", &[], r#"{"type":"chat","payload":1,"seq":1}"#),
    case(
        "not_in_room",
        &[JOIN],
        r#"{"type":"chat","room_id":"arena:2","payload":1,"seq":1}"#,
    ),
    case(
        "not_in_room",
        &[JOIN],
        r#"{"type":"event","room_id":"arena:2","name":"e","seq":1}"#,
    ),
    case(
        "not_in_room",
        &[JOIN],
        r#"{"type":"game_action","room_id":"arena:2","payload":{"action":"a"},"seq":1}"#,
    ),
    case(
        "not_in_room",
        &[JOIN],
        r#"{"type":"presence","room_id":"arena:2","payload":{"presence":{"k":1}},"seq":1}"#,
    ),
    case(
        "not_in_room",
        &[JOIN],
        r#"{"type":"members","room_id":"arena:2","seq":1}"#,
    ),
    case(
        "not_in_room",
        &[JOIN],
        r#"{"type":"leave_room","room_id":"arena:2","seq":1}"#,
    ),
    case(
        "not_in_room",
        &[JOIN, r#"{"type":"leave_room","room_id":"arena:1"}"#],
        r#"{"type":"chat","room_id":"arena:1","payload":1,"seq":1}"#,
    ),
    case(
        "recipient_not_found",
        &[JOIN],
        r#"{"type":"chat","to_client_id":"nobody","payload":1,"seq":1}"#,
    ),
    case(
        "recipient_not_found",
        &[JOIN],
        r#"{"type":"event","to_user_id":"01234567890123456789","name":"e","seq":1}"#,
    ),
    case(
        "room_full",
        &[],
        r#"{"type":"join_room","room_id":"table:taken"}"#,
    ),
    case(
        "unknown_kind",
        &[],
        r#"{"type":"join_room","room_id":"castle:1"}"#,
    ),
    case(
        "too_many_rooms",
        &[
            JOIN,
            r#"{"type":"join_room","room_id":"arena:2"}"#,
            r#"{"type":"join_room","room_id":"arena:3"}"#,
        ],
        r#"{"type":"join_room","room_id":"arena:4","seq":1}"#,
    ),
    case(
        "missing_field",
        &[JOIN],
        r#"{"type":"game_action","payload":{"action":"move"},"seq":1}"#,
    ),
    case(
        "missing_field",
        &[JOIN],
        r#"{"type":"game_action","payload":{"action":"attack"},"seq":1}"#,
    ),
    case(
        "target_not_found",
        &[JOIN],
        r#"{"type":"game_action","payload":{"action":"attack","target_id":77},"seq":1}"#,
    ),
    case(
        "target_not_found",
        &[JOIN],
        r#"{"type":"game_action","payload":{"action":"attack","target_id":-1},"seq":1}"#,
    ),
    case(
        "out_of_range",
        &[JOIN],
        r#"{"type":"game_action","payload":{"action":"move","position":{"x":1e9}},"seq":1}"#,
    ),
    case(
        "out_of_range",
        &[
            r#"{"type":"join_room","room_id":"arena:far"}"#,
            r#"{"type":"game_action","payload":{"action":"move","position":{"x":100.5}}}"#,
        ],
        r#"{"type":"game_action","payload":{"action":"attack","target_id":1},"seq":1}"#,
    ),
    case(
        "on_cooldown",
        &[
            r#"{"type":"join_room","room_id":"arena:far"}"#,
            r#"{"type":"game_action","payload":{"action":"attack","target_id":1}}"#,
        ],
        r#"{"type":"game_action","payload":{"action":"attack","target_id":1},"seq":1}"#,
    ),
    case(
        "action_refused",
        &[r#"{"type":"join_room","room_id":"own:1"}"#],
        r#"{"type":"game_action","payload":{"action":"cheat"},"seq":1}"#,
    ),
    case(
        "reserved_event",
        &[r#"{"type":"join_room","room_id":"own:1"}"#],
        r#"{"type":"event","room_id":"own:1","name":"score","payload":9,"seq":1}"#,
    ),
    case(
        "presence_too_large",
        &[
            JOIN,
            r#"{"type":"presence","payload":{"presence":{"a":"0123456789"}}}"#,
        ],
        r#"{"type":"presence","payload":{"presence":{"b":"0123456789012345"}}}"#,
    ),
];

#[test]
fn what_is_refused_is_answered_with_its_code_and_nothing_else_happens() {
    let server = server();
    let mut bystander = Wire::open(address(&server), Format::Json);
    bystander.join("table:taken");
    bystander.join("arena:far");
    for case in CASES {
        for format in FORMATS {
            let mut wire = Wire::open(address(&server), format);
            for first in case.first {
                wire.send(first);
            }
            // As a client numbers its requests.
            let numbered = format!(
                r#"{},"request_id":77}}"#,
                case.message.strip_suffix('}').unwrap()
            );
            wire.send(&numbered);
            let error = wire.error();
            check(&error, case.code, case.message);
            assert_eq!(error["request_id"], 77, "{error}");
            let sent: Value = serde_json::from_str(case.message).unwrap();
            assert_eq!(error["payload"]["request"], sent["type"], "{error}");
            assert_eq!(error["payload"].get("seq"), sent.get("seq"), "{error}");
            if sent.get("room_id").is_some() {
                assert_eq!(error["room_id"], sent["room_id"], "{error}");
            }
            let waits = error["payload"].get("retry_after_ms").is_some();
            assert_eq!(waits, case.code == "on_cooldown", "{error}");
            goes_on(&mut wire);
        }
    }
}

#[test]
fn what_can_not_be_read_is_answered_with_its_code() {
    let server = server_with(|config| {
        config.core.max_offences = 0;
        config.core.message = Default::default();
    });
    let [mut json, mut protobuf] = FORMATS.map(|format| Wire::open(address(&server), format));
    let vectors = codec::vectors("bad.json");
    assert!(vectors.len() > 100);
    for vector in &vectors {
        let data = codec::text(vector, "data");
        let (wire, message) = match codec::text(vector, "format") {
            "json" => (&mut json, data.as_bytes().to_vec()),
            _ => (&mut protobuf, codec::unhex(data)),
        };
        wire.message(message);
        let error = wire.error();
        let name = codec::text(vector, "name");
        check(&error, codec::text(vector, "code"), name);
        for key in ["seq", "request"] {
            assert_eq!(
                error["payload"].get(key),
                vector.get(key),
                "{name}: {error}"
            );
        }
        for key in ["room_id", "request_id"] {
            // A name that is empty is left out.
            let given = vector.get(key).filter(|value| **value != "");
            assert_eq!(error.get(key), given, "{name}: {error}");
        }
        goes_on(wire);
    }
}

#[test]
fn a_frame_of_the_other_format_is_answered() {
    let server = server();
    for (format, opcode) in [
        (Format::Json, Opcode::Binary),
        (Format::Protobuf, Opcode::Text),
    ] {
        let mut wire = Wire::open(address(&server), format);
        wire.raw(&masked(opcode, b"\x08\x0f"));
        check(&wire.error(), "wrong_format", "a frame");
        goes_on(&mut wire);
    }
}

#[test]
fn too_many_messages_are_answered_with_the_time_to_wait() {
    let server = server_with(|config| {
        config.core.messages_per_second = 10;
        config.core.burst = 10;
    });
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        wire.send(r#"{"type":"join_room","room_id":"arena:1"}"#);
        let mut sent = 1;
        let error = loop {
            wire.send(&format!(
                r#"{{"type":"chat","payload":{sent},"seq":{sent}}}"#
            ));
            sent += 1;
            wire.send(r#"{"type":"ping"}"#);
            let answer =
                wire.until(|message| ["error", "pong"].iter().any(|t| message["type"] == *t));
            if answer["type"] == "error" {
                break answer;
            }
            assert!(sent < 10_000, "there is no limit");
        };
        check(&error, "rate_limited", "a burst");
        let wait = error["payload"]["retry_after_ms"].as_u64().unwrap();
        assert!((1..=100).contains(&wait), "{error}");
        // After that time, and no more, a message passes.
        std::thread::sleep(std::time::Duration::from_millis(wait));
        wire.send(r#"{"type":"ping","payload":"again"}"#);
        wire.until(|message| message["type"] == "pong" && message["payload"] == "again");
    }
}

#[test]
fn a_room_whose_logic_fails_is_closed_and_its_players_are_told() {
    let server = server();
    let mut players = FORMATS.map(|format| Wire::open(address(&server), format));
    for player in &mut players {
        player.join("own:1");
    }
    players[0].send(r#"{"type":"game_action","room_id":"own:1","payload":{"action":"panic"}}"#);
    for player in &mut players {
        let error = player.error();
        check(&error, "room_failed", "panic");
        assert_eq!(error["room_id"], "own:1");
        player.send(r#"{"type":"chat","room_id":"own:1","payload":1}"#);
        check(&player.error(), "not_in_room", "a room that was closed");
        player.join("own:1");
        goes_on(player);
    }
}

#[test]
fn a_message_out_of_its_order_names_the_one_that_is_missing() {
    let server = server();
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        wire.join("relay:1");
        wire.send(r#"{"type":"chat","room_id":"relay:1","payload":1,"seq":9}"#);
        let error = wire.error();
        assert_eq!(error["payload"]["code"], "seq_gap", "{error}");
        assert_eq!(error["payload"]["seq"], 1, "{error}");
        goes_on(&mut wire);
    }
}

const SECRET: &str = "a secret for tests, with enough bytes in it";

#[test]
fn tokens_decide_who_may_do_what() {
    let server = server_with(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.auth.anonymous = Some(false);
    });
    let token = NewToken {
        user: "u7".to_owned(),
        rooms: vec!["arena:7".to_owned()],
        ttl: Duration::from_secs(60),
        ..NewToken::default()
    };
    let token = Signer::from_secret(SECRET.as_bytes()).unwrap().sign(&token);
    let token = token.unwrap();
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        wire.send(JOIN);
        check(&wire.error(), "unauthorized", "without a token");
        let mut wire = Wire::open(address(&server), format);
        wire.send(&serde_json::json!({"type": "hello", "payload": {"token": token}}).to_string());
        wire.expect("welcome");
        wire.send(JOIN);
        check(
            &wire.error(),
            "forbidden",
            "a room that the token does not name",
        );
        goes_on(&mut wire);
    }
}

#[test]
fn a_user_has_so_many_sessions_and_no_more() {
    let server = server_with(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.core.max_user_sessions = 2;
    });
    let token = NewToken {
        user: "u7".to_owned(),
        ttl: Duration::from_secs(60),
        ..NewToken::default()
    };
    let token = Signer::from_secret(SECRET.as_bytes()).unwrap().sign(&token);
    let hello = serde_json::json!({"type": "hello", "payload": {"token": token.unwrap()}});
    let mut wires: Vec<_> = FORMATS
        .into_iter()
        .map(|format| {
            let mut wire = Wire::open(address(&server), format);
            wire.send(&hello.to_string());
            wire.expect("welcome");
            wire
        })
        .collect();
    for format in FORMATS {
        let mut wire = Wire::open(address(&server), format);
        wire.send(&hello.to_string());
        // The user may be at home on another shard: then a `welcome` comes first.
        let error = wire.until(|message| message["type"] == "error");
        check(&error, "too_many_sessions", "one more");
        assert_eq!(error["payload"]["request"], "hello", "{error}");
    }
    wires.iter_mut().for_each(goes_on);
}

/// What the document lists is sent, and what is sent is listed: whoever adds a code shows here how it comes about.
#[test]
fn every_code_of_the_document_is_sent() {
    let mut seen: BTreeSet<&str> = CASES.iter().map(|case| case.code).collect();
    seen.extend(["wrong_format", "rate_limited", "room_failed", "seq_gap"]);
    let vectors = codec::vectors("bad.json");
    seen.extend(vectors.iter().map(|vector| codec::text(vector, "code")));
    seen.extend(["unauthorized", "forbidden", "too_many_sessions"]);
    seen.extend(SENT_ELSEWHERE);
    let all: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(seen, all);
}

// === helpers ===

/// A server with small limits, a kind that is full with one, and one whose logic refuses and fails.
fn server() -> RunningServer {
    server_with(|config| {
        config.core.max_rooms = 3;
        config.core.message.max_presence = 32;
        config.core.refuse_unknown_kinds = true;
    })
}

fn server_with(change: impl FnOnce(&mut Config)) -> RunningServer {
    let mut config = config();
    for (name, max_players) in [("arena", 0), ("table", 1)] {
        config.kinds.push(Kind {
            name: name.into(),
            max_players,
            ..Kind::default()
        });
    }
    // Nothing here waits for a cooldown to pass.
    config
        .kinds
        .iter_mut()
        .for_each(|kind| kind.rules.attack_cooldown = 60_000);
    change(&mut config);
    let builder = Server::builder().config(config);
    let builder = builder.logic("own", |_room| Box::new(Strict));
    builder.build().unwrap().start().unwrap()
}

struct Strict;

impl RoomLogic for Strict {
    fn action(
        &mut self,
        _room: &mut RoomContext<'_>,
        _player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome {
        assert_ne!(action.action(), "panic", "as it was asked to");
        Outcome::refused("against the rules")
    }

    fn own_events(&self) -> &'static [&'static str] {
        &["score"]
    }
}

fn check(error: &Value, code: &str, what: &str) {
    assert_eq!(error["type"], "error", "{what}: {error}");
    assert_eq!(error["payload"]["code"], code, "{what}: {error}");
    let message = error["payload"]["message"].as_str().unwrap();
    assert!(message.len() > 5, "{what}: {error}");
    assert!(error["timestamp"].as_i64().unwrap() > 1_600_000_000_000);
}

/// The next message works, and is answered next.
fn goes_on(wire: &mut Wire) {
    wire.send(r#"{"type":"ping","payload":"on"}"#);
    let pong = wire.expect("pong");
    assert_eq!(pong["payload"], "on");
}
