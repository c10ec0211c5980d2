//! Nicknames that change while their members are in a room, and those that are their tokens', over real sockets.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
mod wire;

use std::time::Duration;

use common::{address, start};
use roomcast_protocol::Format;
use roomcast_server::auth::{NewToken, Signer};
use roomcast_server::{Kind, Nickname, RunningServer};
use serde_json::{Value, json};
use wire::Wire;

const SECRET: &str = "a secret for tests, with enough bytes in it";
const PAIRS: [[Format; 2]; 4] = [
    [Format::Json, Format::Json],
    [Format::Json, Format::Protobuf],
    [Format::Protobuf, Format::Json],
    [Format::Protobuf, Format::Protobuf],
];

fn server() -> RunningServer {
    start(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.kinds.push(Kind {
            name: "bound".into(),
            nickname: Nickname::Token,
            ..Kind::default()
        });
    })
}

fn token(name: &str) -> String {
    let token = NewToken {
        user: "ada".to_owned(),
        name: Some(name.to_owned()),
        ttl: Duration::from_secs(3600),
        ..NewToken::default()
    };
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    signer.sign(&token).unwrap()
}

/// Ada says `hello` with her token, and joins as somebody.
fn ada(server: &RunningServer, format: Format, room: &str, payload: Value) -> (Wire, Value) {
    let mut wire = Wire::open(address(server), format);
    let hello = json!({"version": 1, "token": token("Ada")});
    wire.send(&json!({"type": "hello", "payload": hello}).to_string());
    let welcome = wire.expect("welcome");
    wire.send(&json!({"type": "join_room", "room_id": room, "payload": payload}).to_string());
    wire.expect("joined");
    (wire, welcome["payload"].clone())
}

fn nicknames(members: &Value) -> Vec<Value> {
    let members = members["payload"]["members"].as_array().unwrap();
    members.iter().map(|it| it["nickname"].clone()).collect()
}

fn list(wire: &mut Wire, room: &str) -> Vec<Value> {
    wire.send(&json!({"type": "members", "room_id": room, "payload": {}}).to_string());
    nicknames(&wire.until(|it| it["type"] == "members"))
}

#[test]
fn a_nickname_changes_in_the_room_and_stays_after_a_resume() {
    let server = server();
    for (at, [speaks, hears]) in PAIRS.into_iter().enumerate() {
        let room = format!("relay:{at}");
        let mut bob = Wire::open(address(&server), hears);
        bob.join(&room);
        let (mut wire, welcome) = ada(&server, speaks, &room, json!({"nickname": "A"}));
        let rename = json!({"presence": {"k": 1}, "nickname": "Countess"});
        wire.send(&json!({"type": "presence", "room_id": room, "payload": rename}).to_string());
        let told = bob.until(|it| it["type"] == "presence" && it["payload"]["presence"]["k"] == 1);
        assert_eq!(told["payload"]["nickname"], "Countess", "{told}");
        // Without keys.
        let rename = json!({"nickname": "Ada Lovelace"});
        wire.send(&json!({"type": "presence", "room_id": room, "payload": rename}).to_string());
        let told =
            bob.until(|it| it["type"] == "presence" && it["payload"]["nickname"] != "Countess");
        assert_eq!(told["payload"]["nickname"], "Ada Lovelace", "{told}");
        assert_eq!(told["payload"]["presence"], json!({"k": 1}));
        assert_eq!(list(&mut bob, &room), [Value::Null, json!("Ada Lovelace")]);
        drop(wire);
        let mut wire = Wire::open(address(&server), speaks);
        let hello =
            json!({"version": 1, "token": token("Ada"), "resume_token": welcome["resume_token"]});
        wire.send(&json!({"type": "hello", "payload": hello}).to_string());
        let joined = wire.until(|it| it["type"] == "joined");
        assert_eq!(nicknames(&joined)[1], "Ada Lovelace", "{joined}");
    }
}

#[test]
fn a_nickname_follows_the_token_that_a_resume_shows() {
    let server = server();
    for (at, [speaks, hears]) in PAIRS.into_iter().enumerate() {
        let room = format!("bound:{at}");
        let mut bob = Wire::open(address(&server), hears);
        bob.join(&room);
        let (wire, welcome) = ada(&server, speaks, &room, json!({}));
        drop(wire);
        bob.until(|it| it["type"] == "presence" && it["payload"]["connected"] == false);
        let mut wire = Wire::open(address(&server), speaks);
        let hello = json!({
            "version": 1,
            "token": token("Countess"),
            "resume_token": welcome["resume_token"],
        });
        wire.send(&json!({"type": "hello", "payload": hello}).to_string());
        wire.until(|it| it["type"] == "joined");
        bob.until(|it| it["type"] == "presence" && it["payload"]["nickname"] == "Countess");
        assert_eq!(list(&mut bob, &room), [Value::Null, json!("Countess")]);
    }
}

#[test]
fn a_nickname_is_the_tokens_where_the_kind_says_so() {
    let server = server();
    for (at, [speaks, hears]) in PAIRS.into_iter().enumerate() {
        let room = format!("bound:{at}");
        let mut bob = Wire::open(address(&server), hears);
        let join = json!({"type": "join_room", "room_id": room, "payload": {"nickname": "Ada"}});
        bob.send(&join.to_string());
        bob.until(|it| it["type"] == "joined");
        let (mut wire, _) = ada(&server, speaks, &room, json!({"nickname": "the boss"}));
        assert_eq!(list(&mut bob, &room), [Value::Null, json!("Ada")]);
        let rename = json!({"presence": {}, "nickname": "the boss"});
        wire.send(&json!({"type": "presence", "room_id": room, "payload": rename}).to_string());
        let refused = wire.until(|it| it["type"] == "error");
        assert_eq!(refused["payload"]["code"], "forbidden", "{refused}");
        assert_eq!(refused["payload"]["request"], "presence");
        let auth = json!({"type": "auth", "payload": {"token": token("Countess")}});
        wire.send(&auth.to_string());
        let told = bob.until(|it| it["type"] == "presence");
        assert_eq!(told["payload"]["nickname"], "Countess", "{told}");
        assert_eq!(list(&mut bob, &room), [Value::Null, json!("Countess")]);
    }
}
