//! Room logic has the last word over real sockets, with the API for backends beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    reason = "a panic is how a test fails, and helpers are shared with other tests"
)]

#[path = "../../protocol/tests/common/mod.rs"]
mod codec;
mod common;
#[path = "common/http.rs"]
mod http;
mod wire;

use common::{address, config};
use http::request;
use roomcast_protocol::Format;
use roomcast_server::config::{ApiKey, Right};
use roomcast_server::{
    Changed, GameAction, Outcome, PlayerNum, Profile, Refusal, RoomContext, RoomEvent, RoomLogic,
    Server,
};
use serde_json::{Value, json};
use wire::Wire;

const KEY: &str = "a-key-that-may-do-everything-1234567890";

/// Two words are not for this room, and one member is not.
struct Quiet;

impl RoomLogic for Quiet {
    fn admit(
        &mut self,
        _: &mut RoomContext<'_>,
        newcomer: &mut Profile<'_>,
    ) -> Result<(), Refusal> {
        match newcomer.nickname() {
            "troll" => Err(Refusal::new("not you")),
            "" => newcomer.set_nickname("guest"),
            _ => Ok(()),
        }
    }

    fn action(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome {
        if action.action() == "score" {
            room.broadcast("score", &json!({ "by": player }));
        }
        Outcome::Handled
    }

    fn event(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        event: &RoomEvent<'_>,
    ) -> Outcome {
        let Some(text) = event.text().filter(|_| event.name.is_none()) else {
            return Outcome::refused("only chats");
        };
        if text == "boo" {
            room.kick(player, "no booing");
            return Outcome::Handled;
        }
        Outcome::RelayAs(Changed::text(&text.to_lowercase()))
    }

    fn own_events(&self) -> &'static [&'static str] {
        &["score"]
    }
}

#[test]
fn logic_refuses_changes_and_puts_out_in_both_formats() {
    let mut config = config();
    config.api_keys = vec![ApiKey {
        name: "shop".to_owned(),
        key: KEY.to_owned().into(),
        rights: Right::ALL.to_vec(),
        ..ApiKey::default()
    }];
    let builder = Server::builder().config(config);
    let builder = builder.logic("quiet", |_room| Box::new(Quiet));
    let server = builder.build().unwrap().start().unwrap();
    for format in [Format::Json, Format::Protobuf] {
        let mut ann = Wire::open(address(&server), format);
        let room = format!("quiet:{format:?}");
        let named = |name: &str| {
            let join =
                json!({ "type": "join_room", "room_id": room, "payload": { "nickname": name } });
            join.to_string()
        };
        ann.send(&named("troll"));
        let error = ann.error();
        assert_eq!(error["payload"]["code"], "action_refused", "{error}");
        assert_eq!(error["payload"]["request"], "join_room");
        let joined = ann.join(&room);
        assert_eq!(joined["payload"]["members"][0]["nickname"], "guest");
        let mut bob = Wire::open(address(&server), format);
        bob.join(&room);
        let chat =
            |text: &str| json!({ "type": "chat", "room_id": room, "payload": text }).to_string();
        bob.send(&chat("HELLO"));
        assert_eq!(ann.expect("chat")["payload"], "hello");
        let forged =
            json!({ "type": "event", "room_id": room, "name": "score", "payload": { "by": 2 } });
        bob.send(&forged.to_string());
        assert_eq!(bob.error()["payload"]["code"], "reserved_event");
        // Nor may a backend.
        let bearer = format!("authorization: Bearer {KEY}");
        let path = format!("/api/v1/rooms/{room}/messages");
        let body = json!({ "type": "event", "name": "score", "payload": { "by": 2 } }).to_string();
        let answer = request(address(&server), "POST", &path, &[&bearer], &body);
        assert_eq!(
            (answer.status, answer.code()),
            (403, "reserved_event"),
            "{answer:?}"
        );
        ann.send(
            &json!({ "type": "game_action", "room_id": room, "payload": { "action": "score" } })
                .to_string(),
        );
        assert_eq!(bob.expect("event")["payload"], json!({ "by": 1 }));
        bob.send(&chat("boo"));
        let error = bob.error();
        assert_eq!(error["payload"]["code"], "removed", "{error}");
        assert_eq!(error["payload"]["message"], "no booing");
        let left: Value = ann.expect("player_left");
        assert_eq!(left["payload"]["player_num"], 2, "{left}");
    }
}
