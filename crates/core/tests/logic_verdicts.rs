//! Room logic has the last word: on joins, on what members and backends send, on nicknames, and on who stays.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::sync::Arc;

use cluster::Cluster;
use common::{Node, node_with, relay, text};
use roomcast_core::backend::{Ask, Publication, Question, Reply};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::{
    Changed, ClientId, LogicFactory, Outcome, PlayerNum, Profile, Refusal, RoomContext, RoomEvent,
    RoomLogic, Said, TestRoom,
};
use roomcast_protocol::{ErrorCode, GameAction, MessageType, PayloadKind};
use serde_json::{Value, json};

/// Lets nobody in who is called `troll`, gives names to those without one, and puts out who swears.
#[derive(Default)]
struct Host;

fn tidy(nickname: &str) -> Result<(), Refusal> {
    match nickname {
        "troll" => Err(Refusal::new("not you").retry_after(60_000)),
        _ => Ok(()),
    }
}

impl RoomLogic for Host {
    fn admit(
        &mut self,
        room: &mut RoomContext<'_>,
        newcomer: &mut Profile<'_>,
    ) -> Result<(), Refusal> {
        tidy(newcomer.nickname())?;
        if newcomer.nickname().is_empty() {
            newcomer.set_nickname(&format!("guest {}", room.player_count() + 1))?;
        }
        let mut presence: serde_json::Map<String, Value> = newcomer.presence()?;
        presence.remove("admin");
        newcomer.set_presence(&presence)
    }

    fn leave(&mut self, room: &mut RoomContext<'_>, player: PlayerNum) {
        // To put out who is leaving already changes nothing.
        room.kick(player, "once more");
        room.broadcast("gone", &player);
    }

    fn action(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome {
        match action.action() {
            "shout" => Outcome::relay_as(&json!({ "action": "whisper", "by": player })),
            "break" => Outcome::relay_as(&json!(["no action"])),
            "grow" => Outcome::relay_as(&json!({ "action": "x".repeat(100_000) })),
            "clear" => {
                let all: Vec<_> = room.players().map(|it| it.num).collect();
                for player in all {
                    room.kick(player, "the room is closed");
                }
                Outcome::Handled
            }
            _ => Outcome::Relay,
        }
    }

    fn event(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        event: &RoomEvent<'_>,
    ) -> Outcome {
        match event.name {
            Some("old") => Outcome::RelayAs(Changed::json(&json!({ "new": true })).named("new")),
            Some(_) => Outcome::Relay,
            None if event.text().is_some_and(|it| it.contains("damn")) => {
                room.broadcast("rude", &player);
                room.kick(player, "no swearing");
                Outcome::RelayAs(Changed::text("****"))
            }
            None => Outcome::Relay,
        }
    }

    fn service_event(
        &mut self,
        room: &mut RoomContext<'_>,
        service: &str,
        event: &RoomEvent<'_>,
    ) -> Outcome {
        match event.name {
            Some("refund") => Outcome::refused("no refunds"),
            Some("note") => Outcome::Handled,
            Some("put_out") => match event.json() {
                Ok(player) => {
                    room.kick(player, service);
                    Outcome::Handled
                }
                Err(refusal) => refusal.into(),
            },
            _ => Outcome::Relay,
        }
    }

    fn presence(
        &mut self,
        _room: &mut RoomContext<'_>,
        _player: PlayerNum,
        profile: &mut Profile<'_>,
    ) -> Result<(), Refusal> {
        tidy(profile.nickname())
    }

    fn own_events(&self) -> &'static [&'static str] {
        &["gone", "rude", "score"]
    }

    fn shared_events(&self) -> &'static [&'static str] {
        &["score"]
    }
}

fn settings() -> Settings {
    Settings {
        messages_per_second: 0,
        ping_interval: 0,
        pong_timeout: 0,
        // An offence would close.
        max_offences: 1,
        ..Settings::default()
    }
}

fn kinds() -> Vec<(Kind, Option<LogicFactory>)> {
    let make = Arc::new(|_: &str| Box::new(Host) as Box<dyn RoomLogic>);
    vec![(relay("talk"), Some(make as LogicFactory))]
}

fn talk(shards: u16) -> Node {
    node_with(3, shards, settings(), kinds())
}

const JOIN: &str = r#"{"type":"join_room","room_id":"talk:1","payload":{"nickname":"NAME"}}"#;

fn of_type<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    messages.iter().filter(|it| it["type"] == kind).collect()
}

#[test]
fn who_may_join_and_as_whom_is_for_the_logic_to_say() {
    for shards in [1, 3] {
        let mut node = talk(shards);
        let ann = node.connect();
        let first = r#"{"type":"join_room","room_id":"talk:1","payload":{"presence":{"admin":true,"mood":1}}}"#;
        node.say(ann, first);
        let joined = node.messages(ann);
        assert_eq!(joined[0]["type"], "joined", "{joined:#?}");
        let listed = &joined[0]["payload"]["members"][0];
        assert_eq!(listed["nickname"], "guest 1");
        assert_eq!(listed["presence"], json!({ "mood": 1 }));
        let troll = node.connect();
        for _ in 0..3 {
            node.say(troll, &JOIN.replace("NAME", "troll"));
            let error = node.error(troll, "action_refused");
            assert_eq!(error["payload"]["message"], "not you");
            assert_eq!(error["payload"]["retry_after_ms"], 60_000);
        }
        assert_eq!(node.messages(ann), Vec::<Value>::new(), "nobody came");
        node.say(troll, &JOIN.replace("NAME", "elf"));
        let come = node.messages(ann);
        assert_eq!(come[0]["payload"]["nickname"], "elf", "{come:#?}");
        // Nor may it take the name later.
        let rename =
            r#"{"type":"presence","room_id":"talk:1","payload":{"presence":{},"nickname":"NAME"}}"#;
        node.drain(troll);
        node.say(troll, &rename.replace("NAME", "troll"));
        node.error(troll, "action_refused");
        assert_eq!(node.messages(ann), Vec::<Value>::new());
        node.say(troll, &rename.replace("NAME", "ogre"));
        assert_eq!(of_type(&node.messages(ann), "presence").len(), 1);
        node.cut(ann);
        node.cut(troll);
        node.assert_empty();
    }
}

#[test]
fn a_room_whose_logic_lets_nobody_in_leaves_nothing_behind() {
    let mut node = talk(2);
    let troll = node.connect();
    node.say(troll, &JOIN.replace("NAME", "troll"));
    node.error(troll, "action_refused");
    let rooms: usize = node.shards.iter().map(|shard| shard.rooms().1).sum();
    assert_eq!(rooms, 0);
    node.assert_empty();
}

#[test]
fn what_is_said_may_be_changed_and_the_history_has_the_change() {
    for shards in [1, 3] {
        let mut node = talk(shards);
        let (ann, bob) = (node.member("talk:1"), node.member("talk:1"));
        node.drain(ann);
        node.drain(bob);
        let shout = r#"{"type":"game_action","room_id":"talk:1","payload":{"action":"shout","text":"HEY"},"seq":1}"#;
        node.say(bob, shout);
        node.say(bob, shout);
        node.say(
            bob,
            r#"{"type":"event","room_id":"talk:1","name":"old","payload":{"new":false},"seq":2}"#,
        );
        for action in ["break", "grow"] {
            let action = json!({ "type": "game_action", "room_id": "talk:1", "payload": { "action": action } });
            node.say(bob, &action.to_string());
        }
        let heard = node.messages(ann);
        assert_eq!(heard.len(), 2, "{heard:#?}");
        assert_eq!(heard[0]["payload"], json!({ "action": "whisper", "by": 2 }));
        assert_eq!(heard[0]["from_player_num"], 2);
        assert_eq!(
            (&heard[1]["name"], &heard[1]["payload"]),
            (&json!("new"), &json!({ "new": true }))
        );
        let answers = node.messages(bob);
        let codes: Vec<_> = of_type(&answers, "error");
        assert_eq!(codes.len(), 2, "{answers:#?}");
        assert_eq!(codes[0]["payload"]["code"], "action_refused");
        assert_eq!(codes[1]["payload"]["code"], "too_large");
        let hosts = node.shards.iter_mut().map(|shard| shard.host());
        let notices: Vec<_> = hosts
            .flat_map(|host| std::mem::take(&mut host.notices))
            .collect();
        let bad = notices.iter().filter(|it| it.contains("BadRelay")).count();
        assert_eq!(bad, 2, "its author hears of it: {notices:?}");
        node.say(ann, r#"{"type":"history","room_id":"talk:1"}"#);
        let page = node.messages(ann)[0]["payload"]["events"].take();
        let text = page.to_string();
        assert!(
            text.contains("whisper") && !text.contains("HEY"),
            "{page:#?}"
        );
    }
}

#[test]
fn who_is_put_out_hears_what_was_said_before_and_why() {
    for shards in [1, 3] {
        let mut node = talk(shards);
        let (ann, bob) = (node.member("talk:1"), node.member("talk:1"));
        node.drain(ann);
        node.drain(bob);
        node.say(
            bob,
            r#"{"type":"chat","room_id":"talk:1","payload":"damn","seq":1}"#,
        );
        let heard = node.messages(bob);
        let kinds: Vec<_> = heard.iter().map(|it| text(&it["type"])).collect();
        // The chat is passed on behind what the logic said before.
        assert!(kinds.contains(&"event".to_owned()), "{heard:#?}");
        let error = heard.last().unwrap();
        assert_eq!(error["payload"]["code"], "removed", "{heard:#?}");
        assert_eq!(error["payload"]["message"], "no swearing");
        assert!(
            kinds.contains(&"ack".to_owned()),
            "it was logged: {heard:#?}"
        );
        node.say(
            bob,
            r#"{"type":"chat","room_id":"talk:1","payload":"hello?"}"#,
        );
        assert_eq!(node.messages(bob)[0]["payload"]["code"], "not_in_room");
        let heard = node.messages(ann);
        let chat = of_type(&heard, "chat");
        assert_eq!(chat[0]["payload"], "****", "{heard:#?}");
        assert_eq!(of_type(&heard, "player_left").len(), 1, "{heard:#?}");
        assert!(heard.iter().any(|it| it["name"] == "gone"), "{heard:#?}");
        // All at once, who asks for it too.
        let cid = node.member("talk:1");
        node.drain(ann);
        node.say(
            cid,
            r#"{"type":"game_action","room_id":"talk:1","payload":{"action":"clear"}}"#,
        );
        for member in [ann, cid] {
            let last = node.messages(member).pop().unwrap();
            assert_eq!(last["payload"]["message"], "the room is closed");
        }
        let rooms: usize = node.shards.iter().map(|shard| shard.rooms().1).sum();
        assert_eq!(rooms, 0);
        node.assert_empty();
    }
}

fn publish(name: &str, payload: &str, key: Option<&str>) -> Ask {
    Ask::Publish(Publication {
        message_type: MessageType::Event,
        payload_kind: PayloadKind::Json,
        name: name.into(),
        payload: payload.as_bytes().into(),
        ephemeral: false,
        once: key.map(|key| ClientId::of_key("shop", key)),
        service: "shop".into(),
        trace: None,
    })
}

fn ask(node: &mut Node, ask: Ask) -> Reply {
    let now = node.now;
    let question = Question::Room("talk:1".into(), ask);
    node.shards[0]
        .ask(now, roomcast_core::backend::Asker::default(), question)
        .unwrap();
    node.settle();
    node.replies.pop().unwrap().2
}

#[test]
fn a_backend_is_heard_too_and_may_not_pass_for_the_logic() {
    let mut node = talk(2);
    let ann = node.member("talk:1");
    let _bob = node.member("talk:1");
    node.drain(ann);
    let code = |reply: Reply| match reply {
        Reply::Failed(failure) => failure.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        code(ask(&mut node, publish("gone", "1", None))),
        ErrorCode::ReservedEvent
    );
    assert_eq!(
        code(ask(&mut node, publish("refund", "1", None))),
        ErrorCode::ActionRefused
    );
    assert_eq!(
        code(ask(&mut node, publish("put_out", r#""x""#, None))),
        ErrorCode::InvalidValue
    );
    assert!(
        matches!(ask(&mut node, publish("note", "1", None)), Reply::Published(it) if it.offset == 0)
    );
    assert_eq!(node.messages(ann), Vec::<Value>::new());
    // One name it may share, and once is once.
    for repeated in [false, true] {
        let reply = ask(&mut node, publish("score", "7", Some("k")));
        assert!(matches!(reply, Reply::Published(it) if it.repeated == repeated && it.offset > 0));
    }
    assert_eq!(of_type(&node.messages(ann), "event").len(), 1);
    assert!(matches!(
        ask(&mut node, publish("put_out", "1", None)),
        Reply::Published(_)
    ));
    let error = node.messages(ann).pop().unwrap();
    assert_eq!(error["payload"]["message"], "shop");
    // A member has no share in it.
    let cid = node.member("talk:1");
    node.drain(cid);
    node.say(
        cid,
        r#"{"type":"event","room_id":"talk:1","name":"score","payload":9}"#,
    );
    node.error(cid, "reserved_event");
}

#[test]
fn the_logic_has_its_say_at_the_home_wherever_its_members_are() {
    let mut cluster = Cluster::with_logic(&[1, 2], &settings(), &kinds());
    let ann = cluster.member(0, "talk:1");
    let (troll, _) = cluster.connect(1);
    cluster.say(troll, &JOIN.replace("NAME", "troll"));
    let answer = cluster.messages(troll);
    assert_eq!(
        answer[0]["payload"]["code"], "action_refused",
        "{answer:#?}"
    );
    let bob = cluster.member(1, "talk:1");
    cluster.drop_all();
    cluster.say(
        bob,
        r#"{"type":"chat","room_id":"talk:1","payload":"damn","seq":1}"#,
    );
    let heard = cluster.messages(bob);
    assert_eq!(
        heard.last().unwrap()["payload"]["code"],
        "removed",
        "{heard:#?}"
    );
    assert!(heard.iter().any(|it| it["name"] == "rude"), "{heard:#?}");
    let heard = cluster.messages(ann);
    assert!(heard.iter().any(|it| it["payload"] == "****"), "{heard:#?}");
    assert_eq!(cluster.total(ann, "talk:1"), 1);
    // Who was put out is out at the next home too.
    let cid = cluster.member(1, "talk:1");
    cluster.kill(0);
    cluster.pass(2_000);
    assert_eq!(cluster.total(cid, "talk:1"), 2, "ann may still come back");
}

#[test]
fn a_room_for_tests_keeps_the_same_rules() {
    let mut room = TestRoom::new("talk:1", Host);
    let presence = json!({ "admin": true, "mood": 1 });
    let ann = room.join_as("ann", "", &presence).unwrap();
    let refusal = room.join_as("eve", "troll", &()).unwrap_err();
    assert_eq!(
        (&*refusal.message, refusal.retry_after_ms),
        ("not you", 60_000)
    );
    let bob = room.join_as("bob", "Bob", &()).unwrap();
    let names: Vec<_> = room.with(|room| room.players().map(|it| it.nickname.to_owned()).collect());
    assert_eq!(names, ["guest 1", "Bob"]);
    assert!(room.presence(bob, "troll", &()).is_err());
    room.said();
    room.action(bob, &json!({ "action": "shout" })).unwrap();
    room.event(bob, "old", &1).unwrap();
    room.chat(bob, "damn").unwrap();
    let relayed = |name: Option<&str>, payload| Said::Relayed {
        from: bob,
        name: name.map(str::to_owned),
        payload,
    };
    assert_eq!(
        room.said(),
        [
            relayed(Some("shout"), json!({ "action": "whisper", "by": bob })),
            relayed(Some("new"), json!({ "new": true })),
            relayed(None, json!("****")),
            Said::Broadcast {
                name: "rude".into(),
                payload: json!(bob)
            },
            Said::Kicked {
                player: bob,
                reason: "no swearing".into()
            },
            Said::Broadcast {
                name: "gone".into(),
                payload: json!(bob)
            },
        ]
    );
    assert_eq!(room.with(|room| room.player_count()), 1);
    assert_eq!(
        room.event(ann, "gone", &1).unwrap_err().code,
        ErrorCode::ReservedEvent
    );
    assert_eq!(
        room.service_event("shop", "gone", &1).unwrap_err().code,
        ErrorCode::ReservedEvent
    );
    room.service_event("shop", "score", &1).unwrap();
    assert_eq!(room.said().len(), 1);
}
