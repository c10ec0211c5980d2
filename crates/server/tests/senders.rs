//! Who speaks: each message from a member says its session, its user and its number, over real sockets and in both formats.

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
use serde_json::{Value, json};
use wire::Wire;

const SECRET: &str = "a secret for tests, with enough bytes in it";
const ROOM: &str = "relay:1";
/// The format of who speaks, and of who hears it.
const PAIRS: [[Format; 2]; 4] = [
    [Format::Json, Format::Json],
    [Format::Json, Format::Protobuf],
    [Format::Protobuf, Format::Json],
    [Format::Protobuf, Format::Protobuf],
];

fn server() -> RunningServer {
    start(|config| config.auth.hs256_secret = SECRET.to_owned().into())
}

fn token(user: &str) -> String {
    let token = NewToken {
        user: user.to_owned(),
        ttl: Duration::from_secs(3600),
        ..NewToken::default()
    };
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    signer.sign(&token).unwrap()
}

/// Somebody who has said `hello`, and the answer.
fn hello(server: &RunningServer, format: Format, payload: Value) -> (Wire, Value) {
    let mut wire = Wire::open(address(server), format);
    wire.send(&json!({"type": "hello", "payload": payload}).to_string());
    let welcome = wire.expect("welcome");
    (wire, welcome["payload"].clone())
}

fn from(message: &Value) -> [Value; 4] {
    ["client_id", "user_id", "player_num", "service"]
        .map(|key| message[format!("from_{key}")].clone())
}

fn say(wire: &mut Wire, fields: Value) {
    let mut message = json!({"room_id": ROOM});
    let fields = fields.as_object().unwrap().clone();
    message.as_object_mut().unwrap().extend(fields);
    wire.send(&message.to_string());
}

/// Everything that a member says to its room, ephemeral things too.
fn all_that_is_said() -> [Value; 5] {
    [
        json!({"type": "chat", "payload": "a"}),
        json!({"type": "event", "name": "b", "payload": 1}),
        json!({"type": "event", "name": "c", "ephemeral": true}),
        json!({"type": "game_action", "payload": {"action": "d"}}),
        json!({"type": "presence", "payload": {"presence": {"e": 1}}}),
    ]
}

#[test]
fn members_are_told_who_spoke_live_in_history_and_after_a_resume() {
    let server = server();
    for [speaks, hears] in PAIRS {
        for user in [Some("ada"), None] {
            let hers = json!({"version": 1, "token": user.map(token)});
            let (mut bob, bobs) = hello(&server, hears, json!({"version": 1}));
            let joined = bob.join(ROOM);
            let (mut ada, adas) = hello(&server, speaks, hers);
            let num = ada.join(ROOM)["payload"]["player_num"].clone();
            let mut wanted = [adas["client_id"].clone(), json!(user), num, Value::Null];
            for message in all_that_is_said() {
                say(&mut ada, message.clone());
                let got = bob.until(|it| it["type"] == message["type"]);
                assert_eq!(from(&got), wanted, "{got}");
            }
            // Nobody can say that it is somebody else.
            let lies = json!({"type": "chat", "payload": "lies", "from_client_id": "x", "from_user_id": "root",
                "from_player_num": 1, "from_service": "shop"});
            say(&mut ada, lies);
            let got = bob.until(|it| it["type"] == "chat");
            assert_eq!(from(&got), wanted, "{got}");
            drop(bob);
            say(
                &mut ada,
                json!({"type": "chat", "payload": "meanwhile", "seq": 1}),
            );
            ada.until(|it| it["type"] == "ack");
            say(&mut ada, json!({"type": "leave_room"}));
            ada.until(|it| it["type"] == "player_left" && it["payload"]["player_num"] == wanted[2]);
            let since = json!({"epoch": joined["payload"]["epoch"], "offset": got["offset"]});
            let payload = json!({"version": 1, "resume_token": bobs["resume_token"],
                "positions": [{"room_id": ROOM, "since": since}]});
            let (mut bob, welcome) = hello(&server, hears, payload);
            assert_eq!(welcome["resumed"], true);
            let missed = bob.until(|it| it["type"] == "chat");
            assert_eq!(missed["payload"], "meanwhile");
            assert_eq!(from(&missed), wanted, "{missed}");
            say(&mut bob, json!({"type": "history", "payload": {}}));
            let page = bob.expect("history");
            let events = page["payload"]["events"].as_array().unwrap();
            let hers = events.iter().filter(|it| it["from_client_id"] == wanted[0]);
            // One chat, one event, one action, the lies, what was said meanwhile, and her coming and going.
            assert_eq!(hers.clone().count(), 7, "{page:#}");
            for event in hers {
                assert_eq!(from(event), wanted, "{event}");
            }
            // Direct messages belong to no room.
            wanted[2] = Value::Null;
            for ephemeral in [false, true] {
                let direct = json!({"type": "event", "name": "direct", "ephemeral": ephemeral,
                    "to_client_id": bobs["client_id"]});
                say(&mut ada, direct);
                let got = bob.until(|it| it["type"] == "event" && it["name"] == "direct");
                assert_eq!(from(&got), wanted, "{got}");
            }
            say(&mut bob, json!({"type": "leave_room"}));
            bob.until(|it| it["type"] == "player_left");
        }
    }
}

#[test]
fn an_inbox_keeps_who_spoke() {
    let server = server();
    for [speaks, hears] in PAIRS {
        let payload = json!({"version": 1, "token": token("bob")});
        let (bob, bobs) = hello(&server, hears, payload);
        drop(bob);
        let (mut ada, adas) = hello(
            &server,
            speaks,
            json!({"version": 1, "token": token("ada")}),
        );
        let direct =
            json!({"type": "chat", "to_client_id": bobs["client_id"], "payload": "psst", "seq": 1});
        ada.send(&direct.to_string());
        ada.until(|it| it["type"] == "ack");
        let payload =
            json!({"version": 1, "token": token("bob"), "resume_token": bobs["resume_token"]});
        let (mut bob, _) = hello(&server, hears, payload);
        let got = bob.until(|it| it["type"] == "chat");
        let wanted = [
            adas["client_id"].clone(),
            json!("ada"),
            Value::Null,
            Value::Null,
        ];
        assert_eq!(from(&got), wanted, "{got}");
    }
}
