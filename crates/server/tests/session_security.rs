//! What somebody can do to other people's sessions: nothing, in both formats.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use common::{address, start};
use roomcast_protocol::Format;
use roomcast_server::RunningServer;
use serde_json::{Value, json};
use wire::Wire;

const FORMATS: [Format; 2] = [Format::Json, Format::Protobuf];

fn server() -> RunningServer {
    start(|_| {})
}

/// Says `hello` on a new connection, with these keys more.
fn hello(server: &RunningServer, format: Format, more: Value) -> (Wire, Value) {
    let mut wire = Wire::open(address(server), format);
    let mut payload = json!({"version": 1});
    payload
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    wire.send(&json!({"type": "hello", "payload": payload}).to_string());
    let welcome = wire.expect("welcome")["payload"].take();
    (wire, welcome)
}

fn token(welcome: &Value) -> String {
    welcome["resume_token"].as_str().unwrap().to_owned()
}

fn resume(server: &RunningServer, format: Format, token: &str) -> (Wire, Value) {
    hello(server, format, json!({"resume_token": token}))
}

/// The connection still has its session and its room.
fn is_untouched(wire: &mut Wire, room: &str) {
    wire.send(&json!({"type": "chat", "room_id": room, "payload": "mine"}).to_string());
    assert_eq!(wire.expect("chat")["payload"], "mine");
}

#[test]
fn no_guess_of_a_resume_token_is_anybodys() {
    let server = server();
    for format in FORMATS {
        let (mut ann, welcome) = hello(&server, format, json!({}));
        ann.join("relay:1");
        let good = token(&welcome);
        // Each character changed, cut short at each place, made longer, and what is no token at all.
        let changed = (0..good.len()).map(|at| {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        });
        let cut = (1..good.len()).map(|length| good[..length].to_owned());
        let client = welcome["client_id"].as_str().unwrap().to_owned();
        let others = [
            format!("{good}A"),
            client.clone(),
            "=".into(),
            " ".into(),
            "€".into(),
        ];
        for guess in changed.chain(cut).chain(others) {
            let (_, welcome) = resume(&server, format, &guess);
            assert_eq!(welcome["resumed"], false, "{guess}: {welcome}");
            assert_ne!(welcome["client_id"], client, "{guess}");
        }
        is_untouched(&mut ann, "relay:1");
    }
}

#[test]
fn a_rotated_token_is_good_once_and_then_never_again() {
    let server = server();
    for format in FORMATS {
        let (_first, welcome) = hello(&server, format, json!({}));
        let tokens = [token(&welcome)];
        let (_second, welcome) = resume(&server, format, &tokens[0]);
        assert_eq!(welcome["resumed"], true, "{welcome}");
        let newest = token(&welcome);
        let (mut third, welcome) = resume(&server, format, &newest);
        assert_eq!(welcome["resumed"], true, "{welcome}");
        third.join("relay:2");
        // Whoever has recorded the first one comes too late.
        for _ in 0..3 {
            let (_, other) = resume(&server, format, &tokens[0]);
            assert_eq!(other["resumed"], false, "{other}");
            assert_ne!(other["client_id"], welcome["client_id"], "{other}");
        }
        is_untouched(&mut third, "relay:2");
    }
}

#[test]
fn positions_let_nobody_into_a_room() {
    let server = server();
    for (format, room) in FORMATS.into_iter().zip(["relay:3", "relay:6"]) {
        let (mut ann, _) = hello(&server, format, json!({}));
        let joined = ann.join(room);
        let place =
            json!({"room_id": room, "since": {"epoch": joined["payload"]["epoch"], "offset": 0}});
        let (eve, welcome) = hello(&server, format, json!({}));
        let with_positions = json!({"resume_token": token(&welcome), "positions": [place]});
        let (mut again, welcome) = hello(&server, format, with_positions.clone());
        assert_eq!(welcome["resumed"], true, "{welcome}");
        // No `joined` comes of it, and no event.
        is_untouched(&mut ann, room);
        again.send(r#"{"type":"ping"}"#);
        assert_eq!(again.receive()["type"], "pong");
        ann.send(&json!({"type": "members", "room_id": room}).to_string());
        assert_eq!(ann.expect("members")["payload"]["total"], 1);
        // Nor with a session that the server doesn't know.
        let (mut other, _) = hello(&server, format, json!({"positions": [place]}));
        other.send(r#"{"type":"ping"}"#);
        assert_eq!(other.receive()["type"], "pong");
        drop(ann);
        drop(eve);
    }
}

#[test]
fn a_list_of_positions_that_is_too_long_is_refused_and_costs_nothing_else() {
    let server = server();
    for format in FORMATS {
        let (mut ann, welcome) = hello(&server, format, json!({}));
        ann.join("relay:4");
        for count in [65, 1_000, 2_500] {
            let places: Vec<Value> = (0..count)
                .map(|n| json!({"room_id": format!("r{n}")}))
                .collect();
            let payload =
                json!({"version": 1, "resume_token": token(&welcome), "positions": places});
            let mut wire = Wire::open(address(&server), format);
            wire.send(&json!({"type": "hello", "payload": payload}).to_string());
            let error = wire.expect("error")["payload"].take();
            assert_eq!(error["code"], "too_many", "{count}: {error}");
            // Nothing was taken over.
            is_untouched(&mut ann, "relay:4");
            wire.send(r#"{"type":"ping"}"#);
            wire.expect("pong");
        }
    }
}

#[test]
fn a_seq_at_the_end_of_the_numbers_is_answered_and_harms_nobody() {
    let server = server();
    let (mut ann, _) = hello(&server, Format::Json, json!({}));
    ann.join("relay:5");
    let greatest = (1_u64 << 53) - 1;
    let number =
        |seq: &str| format!(r#"{{"type":"chat","room_id":"relay:5","seq":{seq},"payload":"x"}}"#);
    for (seq, code) in [
        // The last one that there is: 1 is missing before it.
        (greatest.to_string(), "seq_gap"),
        ((1_u64 << 53).to_string(), "invalid_value"),
        (u64::MAX.to_string(), "invalid_value"),
        ("18446744073709551616".to_owned(), "invalid_value"),
        ("1e300".to_owned(), "invalid_value"),
        ("1e999".to_owned(), "invalid_value"),
        ("-1".to_owned(), "invalid_value"),
        ("0.5".to_owned(), "invalid_value"),
        ("\"1\"".to_owned(), "wrong_type"),
    ] {
        ann.message(number(&seq));
        let error = ann.expect("error")["payload"].take();
        assert_eq!(error["code"], code, "{seq}: {error}");
    }
    // `skip` and `first_seq` have the same bound.
    ann.message(format!(
        r#"{{"type":"skip","room_id":"relay:5","payload":{{"seq":{}}}}}"#,
        1_u64 << 53
    ));
    assert_eq!(ann.expect("error")["payload"]["code"], "invalid_value");
    // Somebody who says that all numbers but one are answered has that one.
    let (mut bob, _) = hello(&server, Format::Json, json!({}));
    bob.message(format!(
        r#"{{"type":"join_room","room_id":"relay:5","payload":{{"first_seq":{greatest}}}}}"#
    ));
    bob.expect("joined");
    bob.message(number(&greatest.to_string()));
    assert_eq!(bob.expect("ack")["payload"]["acks"][0]["seq"], greatest);
    bob.message(number(&greatest.to_string()));
    let again = bob.expect("ack")["payload"].take();
    assert_eq!(again["acks"][0]["seq"], greatest, "{again}");
    // And numbers that start at 1 are as good as ever.
    ann.message(number("1"));
    assert_eq!(ann.expect("ack")["payload"]["acks"][0]["seq"], 1);
}
