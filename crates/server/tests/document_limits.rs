//! The limits in `docs/protocol.md` are those of a server with its defaults: what just keeps to one is taken, what is
//! one over is refused with the error that stands beside it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use std::collections::BTreeMap;

use common::{address, start};
use roomcast_protocol::Format;
use roomcast_server::config::Config;
use roomcast_websocket::{Opcode, frame};
use serde_json::{Value, json};
use wire::{Wire, masked};

const MIB: usize = 1024 * 1024;

/// Makes a message that is as long, deep or many as the number says.
type Make = fn(usize) -> Value;

/// The limit's key, or what it is of; the message; what is answered where it is taken.
const LIMITS: &[(&str, Make, &str)] = &[
    (
        "message.max_nesting",
        |depth| {
            let payload = (1..depth).fold(json!(1), |inner, _| json!([inner]));
            json!({"type": "ping", "payload": payload})
        },
        "pong",
    ),
    (
        "message.max_name",
        |bytes| json!({"type": "join_room", "room_id": text(bytes)}),
        "joined",
    ),
    (
        "message.max_event_name",
        |bytes| json!({"type": "event", "name": text(bytes)}),
        "event",
    ),
    (
        "message.max_event_name",
        |bytes| json!({"type": "game_action", "payload": {"action": text(bytes)}}),
        "game_action",
    ),
    (
        "message.max_nickname",
        |bytes| json!({"type": "join_room", "room_id": "named", "payload": {"nickname": text(bytes)}}),
        "joined",
    ),
    (
        "message.max_id",
        |bytes| json!({"type": "chat", "payload": 1, "to_client_id": text(bytes)}),
        "recipient_not_found",
    ),
    (
        "message.max_id",
        |bytes| json!({"type": "chat", "payload": 1, "to_user_id": text(bytes)}),
        "recipient_not_found",
    ),
    (
        "message.max_params",
        |count| {
            let mut payload = keys(count);
            payload["action"] = json!("cast");
            json!({"type": "game_action", "payload": payload})
        },
        "game_action",
    ),
    (
        "message.max_presence_keys",
        |count| json!({"type": "presence", "payload": {"presence": keys(count)}}),
        "presence",
    ),
    (
        "message.max_presence",
        // {"k":"…"}
        |bytes| json!({"type": "presence", "payload": {"presence": {"k": text(bytes - 8)}}}),
        "presence",
    ),
    (
        "message.max_positions",
        |count| {
            let positions: Vec<Value> = (0..count)
                .map(|n| json!({"room_id": format!("r{n}")}))
                .collect();
            json!({"type": "hello", "payload": {"positions": positions}})
        },
        "unexpected",
    ),
    (
        "message.max_capabilities",
        |count| json!({"type": "hello", "payload": {"capabilities": vec!["c"; count]}}),
        "unexpected",
    ),
    (
        "message.max_token",
        |bytes| json!({"type": "hello", "payload": {"token": text(bytes)}}),
        "unexpected",
    ),
    (
        "bytes of a ping's payload",
        |bytes| json!({"type": "ping", "payload": text(bytes - 2)}),
        "pong",
    ),
];

#[test]
fn what_keeps_to_a_limit_is_taken_and_what_is_over_it_is_not() {
    let documented = documented();
    let server = start(|_| {});
    for format in [Format::Json, Format::Protobuf] {
        for (key, make, taken) in LIMITS {
            let (limit, code) = &documented[*key];
            let mut wire = Wire::open(address(&server), format);
            wire.join("relay:1");
            let at = make(*limit).to_string();
            wire.send(&at);
            let answer = wire.until(|message| {
                message["type"] == *taken || message["payload"]["code"] == *taken || {
                    assert_ne!(message["type"], "error", "{key}: {message}");
                    false
                }
            });
            assert!(!answer.is_null());
            wire.send(&make(*limit + 1).to_string());
            assert_eq!(wire.error()["payload"]["code"], **code, "{key}");
            wire.send(r#"{"type":"ping","payload":"on"}"#);
            assert_eq!(wire.expect("pong")["payload"], "on");
        }
    }
}

#[test]
fn a_long_message_is_refused_and_read_past_up_to_a_mebibyte() {
    let (limit, code) = documented().remove("limits.max_message").unwrap();
    let server = start(|_| {});
    let chat = |bytes: usize| {
        let empty = r#"{"type":"chat","payload":""}"#;
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - empty.len())))
    };
    let mut wire = Wire::open(address(&server), Format::Json);
    wire.join("relay:1");
    wire.message(chat(limit));
    wire.expect("chat");
    for bytes in [limit + 1, MIB / 2, MIB] {
        wire.message(chat(bytes));
        let error = wire.error();
        assert_eq!(error["payload"]["code"], *code);
        let told = error["payload"]["message"].as_str().unwrap();
        assert!(
            told.contains(&bytes.to_string()) && told.contains(&limit.to_string()),
            "{told}"
        );
        wire.message(chat(100));
        wire.expect("chat");
    }
    // The same in many fragments.
    for bytes in [limit, limit + 1] {
        let message = chat(bytes);
        let mut frames = Vec::new();
        let pieces: Vec<&[u8]> = message.as_bytes().chunks(1_000).collect();
        for (n, piece) in pieces.iter().enumerate() {
            let opcode = if n == 0 {
                Opcode::Text
            } else {
                Opcode::Continuation
            };
            let last = n + 1 == pieces.len();
            frame::write_frame(&mut frames, opcode, last, false, piece, Some([1; 4]));
        }
        wire.raw(&frames);
        let answer = wire.until(|message| message["type"] == "chat" || message["type"] == "error");
        assert_eq!(answer["type"] == "chat", bytes == limit, "{bytes}");
    }
    // One byte more, and it is not even waited for: the header is enough.
    let frame = masked(Opcode::Text, chat(MIB + 1).as_bytes());
    wire.raw(&frame[..14]);
    assert_eq!(wire.expect_close().0, 1009);
}

#[test]
fn rooms_and_messages_are_limited_as_the_document_says() {
    let documented = documented();
    let (rooms, code) = &documented["limits.max_rooms"];
    let server = start(|_| {});
    let mut wire = Wire::open(address(&server), Format::Json);
    for n in 0..*rooms {
        wire.join(&format!("relay:{n}"));
    }
    wire.send(r#"{"type":"join_room","room_id":"relay:one-more"}"#);
    assert_eq!(wire.error()["payload"]["code"], **code);
    wire.send(r#"{"type":"leave_room","room_id":"relay:0"}"#);
    wire.expect("player_left");
    wire.join("relay:one-more");

    let (burst, code) = &documented["limits.burst"];
    let (rate, _) = &documented["limits.messages_per_second"];
    let server = start(|config| config.core = Config::default().core);
    let mut wire = Wire::open(address(&server), Format::Json);
    let since = std::time::Instant::now();
    let pings = masked(Opcode::Text, br#"{"type":"ping"}"#).repeat(3 * burst);
    wire.raw(&pings);
    let mut taken = 0;
    let error = loop {
        match wire.receive() {
            message if message["type"] == "pong" => taken += 1,
            error => break error,
        }
    };
    assert_eq!(error["payload"]["code"], **code);
    let meanwhile = since.elapsed().as_secs_f64() * *rate as f64;
    let most = *burst as f64 + meanwhile;
    assert!(
        taken >= *burst && taken as f64 <= most,
        "{taken} of {burst}, at most {most}"
    );
}

#[test]
fn welcome_tells_the_limits_that_the_document_has() {
    let documented = documented();
    let server = start(|config| config.core = Config::default().core);
    let mut wire = Wire::open(address(&server), Format::Json);
    wire.send(r#"{"type":"hello"}"#);
    let welcome = wire.expect("welcome");
    let limits = &welcome["payload"]["limits"];
    for (told, key) in [
        ("max_message", "limits.max_message"),
        ("max_rooms", "limits.max_rooms"),
        ("messages_per_second", "limits.messages_per_second"),
        ("burst", "limits.burst"),
        ("max_presence", "message.max_presence"),
        ("max_name", "message.max_name"),
    ] {
        assert_eq!(limits[told], documented[key].0, "{told}");
    }
}

/// The table: each limit's key (or, without one, what it is of), its default and its error.
fn documented() -> BTreeMap<String, (usize, String)> {
    let document = std::fs::read_to_string(codec::root().join("docs/protocol.md")).unwrap();
    let (_, limits) = document.split_once("## Limits").unwrap();
    let mut rows = BTreeMap::new();
    for line in limits.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Ok(limit) = cells[1].replace(',', "").parse() else {
            continue;
        };
        let key = match cells[2] {
            "none" => cells[0],
            key => key.trim_matches('`'),
        };
        let code = cells[3].split('`').nth(1).unwrap_or_default();
        rows.insert(key.to_owned(), (limit, code.to_owned()));
    }
    rows
}

fn text(bytes: usize) -> String {
    // Length is in bytes, not in characters.
    format!("{}{}", "é".repeat(bytes / 2), "x".repeat(bytes % 2))
}

fn keys(count: usize) -> Value {
    (0..count)
        .map(|n| (format!("k{n}"), json!(n)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
