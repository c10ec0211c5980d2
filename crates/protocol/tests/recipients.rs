//! Whom a message is for: one client, one user, or a room. What is for one is never read as said to a room.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use roomcast_protocol::{ErrorCode, Format, Limits, decode};

/// Values of a recipient in JSON, and whether the message then counts as one for somebody.
const VALUES: [(&str, bool); 7] = [
    ("", false),
    ("null", false),
    ("\"\"", true),
    ("\"c2\"", true),
    ("7", true),
    ("\"a b\"", true),
    ("\"\\ud800\"", true),
];

fn field(name: &str, value: &str) -> String {
    if value.is_empty() {
        String::new()
    } else {
        format!(r#","{name}":{value}"#)
    }
}

#[test]
fn what_is_for_one_is_refused_or_direct_and_never_a_rooms() {
    let requests = [
        ("chat", r#""payload":1"#),
        ("event", r#""name":"e""#),
        ("game_action", r#""payload":{"action":"wave"}"#),
        ("presence", r#""payload":{"presence":{}}"#),
    ];
    for (kind, rest) in requests {
        for (client, to_client) in VALUES {
            for (user, to_user) in VALUES {
                let json = format!(
                    r#"{{"type":"{kind}","room_id":"r","seq":3,{rest}{}{}}}"#,
                    field("to_client_id", client),
                    field("to_user_id", user),
                );
                let addressed = to_client || to_user;
                let may_be_direct = matches!(kind, "chat" | "event");
                match decode(Format::Json, json.as_bytes(), &Limits::default()) {
                    Ok(it) => {
                        let to = [it.to_client_id.as_deref(), it.to_user_id.as_deref()];
                        let expected = [client, user].map(|it| (it == r#""c2""#).then_some("c2"));
                        assert_eq!(to, expected, "{json}");
                        assert!(!(to_client && to_user), "{json}");
                        assert!(!addressed || may_be_direct, "{json}");
                        assert_eq!(it.room_id.is_none(), addressed, "{json}");
                    }
                    Err(bad) => {
                        assert!(addressed, "{json}: {bad}");
                        // Its number is one of the direct messages', and the answer names no room.
                        assert_eq!(bad.direct, may_be_direct, "{json}");
                        assert_eq!(bad.room_id.is_none(), may_be_direct, "{json}");
                        assert_eq!(bad.seq, Some(3), "{json}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_last_of_two_keys_says_whom_it_is_for() {
    let aloud = r#"{"type":"chat","to_client_id":"c2","to_client_id":null,"payload":1}"#;
    let direct = r#"{"type":"chat","to_client_id":"","to_client_id":"c2","payload":1}"#;
    for (json, to) in [(aloud, None), (direct, Some("c2"))] {
        let read = decode(Format::Json, json.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(read.to_client_id.as_deref(), to, "{json}");
    }
}

#[test]
fn in_protobuf_an_empty_recipient_is_none() {
    // Type 5 with an empty `to_client_id`, the room `r` and the payload `x`.
    let aloud = b"\x08\x05\x1a\x00\x22\x01r\x2a\x01x";
    let read = |message| decode(Format::Protobuf, message, &Limits::default());
    assert!(read(aloud.as_slice()).unwrap().to_client_id.is_none());
    // With `to_client_id` 2 and `to_user_id` 7.
    let both = b"\x08\x05\x1a\x012\x72\x017\x2a\x01x";
    let bad = read(both).unwrap_err();
    assert!(bad.code == ErrorCode::InvalidValue && bad.direct, "{bad}");
}
