//! The API for backends: what is published, once and to many.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

#[path = "common/api.rs"]
mod api;
mod common;
#[path = "common/http.rs"]
mod http;

use api::{KEY, SERVICE, SLOW, ask, ask_with, with_keys};
use common::{Client, address, start};
use roomcast_protocol::client::{ServerBody, ServerMessage};
use roomcast_protocol::{MessageType, PayloadKind};
use serde_json::{Value, json};

/// A payload as a backend writes it, and its kind and bytes as each client gets them, in whichever format.
const PAYLOADS: [(&str, PayloadKind, &[u8]); 3] = [
    (r#"{"order":7}"#, PayloadKind::Json, br#"{"order":7}"#),
    (
        r#""h\u00e9llo","payload_kind":"text""#,
        PayloadKind::Text,
        "héllo".as_bytes(),
    ),
    (
        r#""AAECA/8=","payload_kind":"bytes""#,
        PayloadKind::Bytes,
        &[0, 1, 2, 3, 255],
    ),
];

/// The name, for a chat none, and the payload.
fn said<'a>(message: &'a ServerMessage<'_>) -> (&'a str, PayloadKind, &'a [u8]) {
    match &message.body {
        ServerBody::Event { name, payload } => (name, payload.kind, &payload.data),
        ServerBody::Chat(payload) => ("", payload.kind, &payload.data),
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_get_what_is_published_from_the_service() {
    let server = start(with_keys);
    let mut clients = [
        Client::json(address(&server)),
        Client::protobuf(address(&server)),
    ];
    for client in &mut clients {
        client.join("relay:1");
    }
    for (payload, kind, data) in PAYLOADS {
        for (head, of_type, name) in [
            (
                r#""type":"event","name":"shipped""#,
                MessageType::Event,
                "shipped",
            ),
            (r#""type":"chat""#, MessageType::Chat, ""),
        ] {
            let body = format!(r#"{{{head},"payload":{payload}}}"#);
            let told = ask(&server, KEY, "POST", "/rooms/relay%3A1/messages", &body);
            assert_eq!(told.status, 200, "{told:?}");
            assert_eq!(told.body["room_id"], "relay:1");
            assert_eq!(told.body["repeated"], false);
            for client in &mut clients {
                let message = client.expect(of_type);
                assert_eq!(said(&message), (name, kind, data), "{:?}", client.format);
                assert_eq!(message.from_client_id, "");
                assert_eq!(message.from_service, SERVICE);
                assert_eq!(told.body["offset"], message.offset);
                assert_eq!(told.body["epoch"], &*message.epoch);
                assert_eq!(told.body["timestamp"], message.timestamp);
            }
        }
    }
}

#[test]
fn sessions_get_what_is_sent_to_them_from_the_service() {
    let server = start(with_keys);
    for mut client in [
        Client::json(address(&server)),
        Client::protobuf(address(&server)),
    ] {
        let id = client.hello();
        for (payload, kind, data) in PAYLOADS {
            // Without a token it is a user of its own.
            for (to, to_user) in [("clients", ""), ("users", &*id)] {
                let body = format!(r#"{{"type":"event","name":"shipped","payload":{payload}}}"#);
                let path = format!("/{to}/{id}/messages");
                let told = ask(&server, KEY, "POST", &path, &body);
                assert_eq!((told.status, &told.body["sent"]), (200, &json!(1)));
                let message = client.expect(MessageType::Event);
                assert_eq!(
                    said(&message),
                    ("shipped", kind, data),
                    "{:?}",
                    client.format
                );
                assert_eq!(message.to_user_id, to_user);
                assert_eq!((&*message.from_client_id, &*message.room_id), ("", ""));
                assert_eq!(message.from_service, SERVICE);
                assert!(message.offset > 0);
            }
        }
    }
}

#[test]
fn a_key_for_once_is_answered_as_the_first_time() {
    let server = start(with_keys);
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let path = "/rooms/relay:1/messages";
    let once = |key: &str| {
        let header = format!("Idempotency-Key: {key}");
        ask_with(&server, KEY, "POST", path, &[&header], body)
    };
    let (first, again, other) = (once("order-1"), once("order-1"), once("order-2"));
    assert_eq!(first.body["offset"], again.body["offset"]);
    assert_eq!(first.body["epoch"], again.body["epoch"]);
    assert_eq!(
        (&first.body["repeated"], &again.body["repeated"]),
        (&json!(false), &json!(true))
    );
    assert_ne!(first.body["offset"], other.body["offset"]);
    // Another key's holder has keys of its own.
    let header = "Idempotency-Key: order-1";
    let theirs = ask_with(&server, SLOW, "POST", path, &[header], body);
    assert_eq!(theirs.body["repeated"], false);
    let long = format!("Idempotency-Key: {}", "x".repeat(256));
    let long = ask_with(&server, KEY, "POST", path, &[&long], body);
    assert_eq!((long.status, long.code()), (400, "invalid_value"));
    let ephemeral = r#"{"type":"chat","payload":1,"ephemeral":true}"#;
    let kept = ask_with(&server, KEY, "POST", path, &[header], ephemeral);
    assert_eq!((kept.status, kept.code()), (400, "invalid_value"));
    let told = ask(&server, KEY, "POST", path, ephemeral);
    assert_eq!((told.status, &told.body["offset"]), (200, &Value::Null));
}

#[test]
fn a_batch_has_a_result_for_each_message() {
    let server = start(with_keys);
    let mut client = Client::json(address(&server));
    client.join("relay:1");
    let chat = |room: &str, n: u32| json!({"room_id": room, "type": "chat", "payload": n});
    let mut messages: Vec<Value> = (0..50).map(|n| chat("relay:1", n)).collect();
    messages.push(chat("relay:2", 0));
    messages.push(json!({"type": "chat", "payload": 1}));
    messages.push(chat("bad name", 0));
    messages.push(json!(7));
    let mut once = chat("relay:3", 1);
    once["idempotency_key"] = "a".into();
    messages.extend([once.clone(), once]);
    let body = json!({ "messages": messages }).to_string();
    let answer = ask(&server, KEY, "POST", "/messages", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.body["results"].as_array().unwrap();
    assert_eq!(results.len(), messages.len());
    let offsets: Vec<_> = (0..50)
        .map(|n| results[n]["offset"].as_u64().unwrap())
        .collect();
    assert!(
        offsets.windows(2).all(|two| two[1] == two[0] + 1),
        "{offsets:?}"
    );
    let codes = [51, 52, 53].map(|n: usize| results[n]["error"]["code"].as_str().unwrap());
    assert_eq!(codes, ["missing_field", "invalid_name", "invalid_json"]);
    assert_eq!(results[54]["offset"], results[55]["offset"]);
    assert_eq!(results[55]["repeated"], true);
    for _ in 0..50 {
        client.expect_chat();
    }
    let many = json!({ "messages": vec![chat("relay:1", 1); 1_001] }).to_string();
    let many = ask(&server, KEY, "POST", "/messages", &many);
    assert_eq!((many.status, many.code()), (400, "too_many"));
    // A batch may be larger than the key's rate. Then the next request waits for all of it.
    let body = json!({ "messages": [chat("relay:1", 1), chat("relay:1", 2)] }).to_string();
    let taken = ask(&server, SLOW, "POST", "/messages", &body);
    assert_eq!(taken.status, 200, "{taken:?}");
    let over = ask(&server, SLOW, "POST", "/messages", &body);
    assert_eq!((over.status, over.code()), (429, "rate_limited"));
    assert!(
        over.body["retry_after_ms"].as_u64() > Some(1_000),
        "{over:?}"
    );
    let header = "Idempotency-Key: a";
    let for_all = ask_with(&server, KEY, "POST", "/messages", &[header], &body);
    assert_eq!((for_all.status, for_all.code()), (400, "invalid_value"));
}

#[test]
fn what_is_too_large_is_refused() {
    let server = start(|config| {
        with_keys(config);
        config.api.max_body = 2_000;
        config.core.max_message = 1_000;
        config.core.link_window = 2_000;
    });
    let chat = |length: usize| json!({"type": "chat", "payload": "x".repeat(length)}).to_string();
    for length in [1_000, 3_000, 100_000] {
        let large = ask(
            &server,
            KEY,
            "POST",
            "/rooms/relay:1/messages",
            &chat(length),
        );
        assert_eq!((large.status, large.code()), (413, "too_large"));
    }
    let fits = ask(&server, KEY, "POST", "/rooms/relay:1/messages", &chat(900));
    assert_eq!(fits.status, 200);
}

#[test]
fn a_kind_that_is_not_configured_is_not_found() {
    let server = start(|config| {
        with_keys(config);
        config.core.refuse_unknown_kinds = true;
    });
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let answer = ask(&server, KEY, "POST", "/rooms/other:1/messages", body);
    assert_eq!((answer.status, answer.code()), (404, "unknown_kind"));
}
