//! What answers a request repeats its `request_id`, so that a client can tell which of its requests was answered.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Client, Node, node, relay};
use roomcast_core::settings::Settings;
use serde_json::Value;

/// Sends a request, and returns the messages that carry its number.
fn answers(node: &mut Node, client: Client, json: &str) -> Vec<Value> {
    node.say(client, json);
    let (_, id) = json.rsplit_once("\"request_id\":").unwrap();
    let id: u64 = id.trim_end_matches('}').parse().unwrap();
    let mut messages = node.messages(client);
    messages.retain(|message| message["request_id"] == id);
    messages
}

/// The type, and of an error the code, of the one answer.
fn answer(node: &mut Node, client: Client, json: &str) -> (String, String) {
    let all = answers(node, client, json);
    assert_eq!(all.len(), 1, "{json}: {all:#?}");
    (
        common::text(&all[0]["type"]),
        common::text(&all[0]["payload"]["code"]),
    )
}

#[test]
fn what_answers_a_request_repeats_its_number() {
    for shards in [1, 3] {
        let settings = Settings {
            max_rooms: 2,
            ..Settings::default()
        };
        let mut node = node(shards, settings, vec![relay("default")]);
        let bob = node.member("r");
        let ann = node.connect();
        for (request, kind) in [
            (r#"{"type":"hello","request_id":1}"#, "welcome"),
            (
                r#"{"type":"join_room","room_id":"r","request_id":2}"#,
                "joined",
            ),
            (
                r#"{"type":"join_room","room_id":"r","request_id":3}"#,
                "joined",
            ),
            (
                r#"{"type":"members","room_id":"r","request_id":4}"#,
                "members",
            ),
            (
                r#"{"type":"history","room_id":"r","request_id":5}"#,
                "history",
            ),
            (r#"{"type":"ping","request_id":6}"#, "pong"),
            (
                r#"{"type":"auth","payload":{"token":"u all:r"},"request_id":7}"#,
                "error",
            ),
            (
                r#"{"type":"leave_room","room_id":"r","request_id":8}"#,
                "player_left",
            ),
        ] {
            assert_eq!(answer(&mut node, ann, request).0, kind, "{request}");
        }
        let others = node.messages(bob);
        assert!(others.len() >= 2, "{others:#?}");
        for message in others {
            assert_eq!(
                message.get("request_id"),
                None,
                "not this client's: {message}"
            );
        }
        node.assert_gone();
    }
}

#[test]
fn an_error_names_its_request_also_where_the_room_can_not_be_repeated() {
    let long = "r".repeat(600);
    let mut node = node(2, Settings::default(), vec![relay("default")]);
    let ann = node.connect();
    for (room, code) in [
        ("", "invalid_name"),
        ("a b", "invalid_name"),
        (&*long, "invalid_name"),
        (r"\ud800", "invalid_utf8"),
    ] {
        let join = format!(r#"{{"type":"join_room","room_id":"{room}","request_id":9}}"#);
        let error = ("error".to_owned(), code.to_owned());
        assert_eq!(answer(&mut node, ann, &join), error, "{join}");
    }
    for (request, code) in [
        (
            r#"{"type":"leave_room","room_id":"x","request_id":9}"#,
            "not_in_room",
        ),
        (
            r#"{"type":"members","room_id":"x","request_id":9}"#,
            "not_in_room",
        ),
        (
            r#"{"type":"history","payload":[],"request_id":9}"#,
            "wrong_type",
        ),
        (
            r#"{"type":"chat","to_client_id":"01234567890123456789","payload":1,"request_id":9}"#,
            "recipient_not_found",
        ),
        (
            r#"{"type":"chat","to_client_id":"01234567890123456789","payload":1,"seq":1,"request_id":9}"#,
            "recipient_not_found",
        ),
        (r#"{"type":"no_such_type","request_id":9}"#, "unknown_type"),
        (
            r#"{"type":"ping","request_id":9,"payload":}"#,
            "invalid_json",
        ),
    ] {
        let error = ("error".to_owned(), code.to_owned());
        node.say(ann, request);
        let message = node.error(ann, code);
        assert_eq!(message["request_id"], 9, "{request}: {message}");
        assert_eq!(message["type"], error.0);
    }
}

#[test]
fn a_request_that_came_too_early_is_named_by_its_error() {
    let settings = Settings {
        messages_per_second: 1,
        burst: 1,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![relay("default")]);
    let ann = node.connect();
    node.say(ann, r#"{"type":"hello","request_id":1}"#);
    node.messages(ann);
    for request in [
        r#"{"type":"join_room","room_id":"r","request_id":2}"#,
        r#"{"type":"join_room","room_id":"\udc00","request_id":2}"#,
    ] {
        let error = ("error".to_owned(), "rate_limited".to_owned());
        assert_eq!(answer(&mut node, ann, request), error, "{request}");
    }
}
