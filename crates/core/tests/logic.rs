//! Room logic: the built-in one of `state` rooms, and one's own.

mod common;

use std::sync::Arc;

use common::{Node, node, node_with, relay, text};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::{Outcome, PlayerNum, RoomContext, RoomEvent, RoomLogic};
use roomcast_protocol::GameAction;
use serde_json::{Value, json};

fn act(node: &mut Node, client: usize, payload: Value) {
    node.say(
        client,
        &json!({ "type": "game_action", "payload": payload }).to_string(),
    );
}

fn walk(node: &mut Node, client: usize, x: f64, y: f64) {
    act(
        node,
        client,
        json!({ "action": "move", "position": { "x": x, "y": y, "z": 0 } }),
    );
}

/// The last state of a player that a client was sent.
fn state(messages: &[Value], player_num: u64) -> Value {
    let syncs = messages.iter().filter(|message| message["type"] == "sync");
    let players = syncs
        .filter_map(|sync| sync["payload"]["players"].as_array())
        .flatten();
    let mut own = players.filter(|player| player["player_num"] == player_num);
    own.next_back().cloned().unwrap_or(Value::Null)
}

fn arena(change: impl FnOnce(&mut Kind)) -> Node {
    let mut kind = Kind::default();
    change(&mut kind);
    node(1, Settings::default(), vec![kind])
}

#[test]
fn a_move_sets_the_position_and_derives_the_velocity() {
    let mut node = arena(|_| ());
    let (ann, bob) = (node.member("arena"), node.member("arena"));
    node.pass(1_000);
    walk(&mut node, ann, 10.0, 0.0);
    node.pass(500);
    walk(&mut node, ann, 10.0, 5.0);
    node.pass(100);
    let seen = state(&node.messages(bob), 1);
    assert_eq!(seen["position"], json!({ "x": 10, "y": 5, "z": 0 }));
    assert_eq!(seen["velocity"], json!({ "x": 0, "y": 10, "z": 0 }));
    node.assert_empty();
}

#[test]
fn the_first_change_is_shown_at_once_the_next_ones_once_a_tick() {
    let mut node = arena(|_| ());
    let (ann, bob) = (node.member("arena"), node.member("arena"));
    node.pass(500);
    node.drain(bob);
    walk(&mut node, ann, 1.0, 0.0);
    assert_eq!(node.types(bob), ["sync"], "at once");
    for x in 2..10 {
        walk(&mut node, ann, f64::from(x), 0.0);
    }
    assert!(node.types(bob).is_empty(), "not before the tick");
    node.pass(50);
    let syncs = node.messages(bob);
    assert_eq!(syncs.len(), 1);
    assert_eq!(state(&syncs, 1)["position"]["x"], 9);
    node.pass(500);
    assert!(
        node.types(bob).is_empty(),
        "nothing changed, nothing is sent"
    );
}

#[test]
fn a_move_out_of_bounds_or_too_fast_is_refused_and_changes_nothing() {
    let mut node = arena(|kind| {
        kind.rules.bounds = 100.0;
        kind.rules.max_speed = 10.0;
    });
    let ann = node.member("arena");
    node.pass(1_000);
    walk(&mut node, ann, 101.0, 0.0);
    node.error(ann, "out_of_range");
    walk(&mut node, ann, 50.0, 0.0);
    node.error(ann, "out_of_range");
    walk(&mut node, ann, 5.0, 0.0);
    assert_eq!(state(&node.messages(ann), 1)["position"]["x"], 5);
    for step in 0..100 {
        node.pass(100);
        walk(&mut node, ann, 5.0 + f64::from(step % 2), 0.0);
    }
    assert!(
        node.messages(ann)
            .iter()
            .all(|message| message["type"] != "error"),
        "at the limit"
    );
    act(&mut node, ann, json!({ "action": "move" }));
    node.error(ann, "missing_field");
}

#[test]
fn an_attack_needs_a_target_in_range_and_time_between() {
    let mut node = arena(|kind| {
        kind.rules.attack_range = 10.0;
        kind.rules.attack_cooldown = 1_000;
        kind.rules.attack_damage = 60;
        kind.rules.respawn_after = 2_000;
    });
    let (ann, bob) = (node.member("arena"), node.member("arena"));
    let attack = json!({ "action": "attack", "target_id": 2 });
    walk(&mut node, bob, 50.0, 0.0);
    act(&mut node, ann, attack.clone());
    node.error(ann, "out_of_range");
    walk(&mut node, bob, 5.0, 0.0);
    act(
        &mut node,
        ann,
        json!({ "action": "attack", "target_id": 1 }),
    );
    node.error(ann, "target_not_found");
    act(&mut node, ann, attack.clone());
    node.pass(100);
    assert_eq!(state(&node.messages(bob), 2)["health"], 40);
    node.drain(ann);
    act(&mut node, ann, attack.clone());
    let error = node.error(ann, "on_cooldown");
    assert_eq!(error["payload"]["retry_after_ms"], 900);
    node.pass(900);
    act(&mut node, ann, attack.clone());
    node.pass(100);
    let seen = node.messages(bob);
    assert_eq!(state(&seen, 2)["health"], 0);
    assert_eq!(state(&seen, 1)["score"], 1);
    walk(&mut node, bob, 6.0, 0.0);
    node.error(bob, "action_refused");
    node.pass(2_000);
    assert_eq!(state(&node.messages(bob), 2)["health"], 100, "back again");
    node.assert_empty();
}

#[test]
fn an_action_that_the_logic_does_not_know_is_relayed() {
    let mut node = arena(|_| ());
    let (ann, bob) = (node.member("arena"), node.member("arena"));
    node.pass(100);
    node.drain(bob);
    act(
        &mut node,
        ann,
        json!({ "action": "dance", "style": "tango" }),
    );
    let got = node.messages(bob);
    assert_eq!(got[0]["type"], "game_action");
    assert_eq!(got[0]["payload"]["style"], "tango");
    assert!(got[0]["offset"].as_u64().is_some());
}

/// Counts, greets, waits, rolls dice and breaks, as told.
#[derive(Default)]
struct Games {
    count: u64,
}

impl RoomLogic for Games {
    fn join(&mut self, room: &mut RoomContext<'_>, player: PlayerNum) {
        room.send(player, "hello", &json!({ "you": player }));
        room.broadcast("here", &room.player_count());
    }

    fn leave(&mut self, room: &mut RoomContext<'_>, player: PlayerNum) {
        room.broadcast("gone", &player);
    }

    fn action(
        &mut self,
        room: &mut RoomContext<'_>,
        player: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome {
        match action.action() {
            "count" => {
                self.count += 1;
                room.broadcast("count", &json!({ "by": player, "count": self.count }));
            }
            "roll" => {
                let pips = 1 + room.random() % 6;
                room.broadcast("rolled", &pips);
            }
            "wait" => room.wake_in(250),
            "cheat" => return Outcome::refused("no cheating"),
            "break" => panic!("broken, as told"),
            _ => return Outcome::Relay,
        }
        Outcome::Handled
    }

    fn wake(&mut self, room: &mut RoomContext<'_>) {
        room.broadcast("awake", &room.now_ms());
    }
}

fn games(shards: u16) -> Node {
    let make = Arc::new(|_: &str| Box::<Games>::default() as Box<dyn RoomLogic>);
    let kinds = vec![(relay("games"), Some(make as roomcast_core::LogicFactory))];
    node_with(7, shards, Settings::default(), kinds)
}

fn events(messages: &[Value]) -> Vec<(String, Value)> {
    let events = messages.iter().filter(|message| message["type"] == "event");
    events
        .map(|event| (text(&event["name"]), event["payload"].clone()))
        .collect()
}

#[test]
fn logic_of_ones_own_greets_counts_refuses_and_wakes() {
    for shards in [1, 3] {
        let mut node = games(shards);
        let ann = node.connect();
        node.say(ann, r#"{"type":"join_room","room_id":"games:1"}"#);
        let got = node.messages(ann);
        assert_eq!(
            got[0]["type"], "joined",
            "before anything that the logic says"
        );
        assert_eq!(
            events(&got),
            [
                ("hello".into(), json!({"you": 1})),
                ("here".into(), json!(1))
            ]
        );
        let bob = node.member("games:1");
        act(&mut node, ann, json!({ "action": "count" }));
        act(&mut node, bob, json!({ "action": "count" }));
        let got = node.messages(bob);
        assert_eq!(
            events(&got)[1],
            ("count".into(), json!({"by": 2, "count": 2}))
        );
        assert!(
            got.windows(2)
                .all(|pair| pair[0]["offset"].as_u64() < pair[1]["offset"].as_u64())
        );
        act(&mut node, bob, json!({ "action": "cheat" }));
        assert_eq!(
            node.error(bob, "action_refused")["payload"]["message"],
            "no cheating"
        );
        act(&mut node, bob, json!({ "action": "wait" }));
        node.pass(240);
        assert!(node.messages(bob).is_empty());
        node.pass(20);
        assert_eq!(events(&node.messages(bob))[0].0, "awake");
        act(&mut node, ann, json!({ "action": "roll" }));
        let rolled = events(&node.messages(bob));
        assert!((1..=6).contains(&rolled[0].1.as_u64().unwrap_or(0)));
        node.drain(ann);
        node.cut(bob);
        node.settle();
        assert!(events(&node.messages(ann)).contains(&("gone".into(), json!(2))));
        node.assert_empty();
    }
}

#[test]
fn logic_that_panics_closes_its_room_and_no_other() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic
            .payload_as_str()
            .is_some_and(|text| text.contains("broken, as told"))
        {
            usual(panic);
        }
    }));
    for shards in [1, 2] {
        let mut node = games(shards);
        let (ann, bob, cid) = (
            node.member("games:1"),
            node.member("games:1"),
            node.member("games:2"),
        );
        act(&mut node, ann, json!({ "action": "break" }));
        for member in [ann, bob] {
            node.error(member, "room_failed");
            node.say(member, r#"{"type":"chat","room_id":"games:1","payload":1}"#);
            node.error(member, "not_in_room");
        }
        act(&mut node, cid, json!({ "action": "count" }));
        assert_eq!(events(&node.messages(cid))[0].0, "count");
        node.say(bob, r#"{"type":"join_room","room_id":"games:1"}"#);
        let got = node.messages(bob);
        assert_eq!(got[0]["type"], "joined", "a new room");
        assert_eq!(got[0]["payload"]["player_num"], 1);
        node.assert_empty();
    }
}

#[test]
fn a_slow_call_is_counted_and_logged() {
    let settings = Settings {
        logic_budget: 1,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![]);
    let ann = node.member("arena");
    node.shards[0].host().stopwatch_step = 2_000;
    walk(&mut node, ann, 1.0, 1.0);
    assert!(node.shards[0].stats().slow_logic > 0);
    let notices = &node.shards[0].host().notices;
    assert!(
        notices.iter().any(|notice| notice.contains("SlowLogic")),
        "{notices:?}"
    );
}

struct Breaks(&'static str);

impl RoomLogic for Breaks {
    fn join(&mut self, room: &mut RoomContext<'_>, _: PlayerNum) {
        assert!(
            self.0 != "join" || room.player_count() > 99,
            "broken, as told"
        );
    }

    fn leave(&mut self, room: &mut RoomContext<'_>, _: PlayerNum) {
        assert!(
            self.0 != "leave" || room.player_count() > 99,
            "broken, as told"
        );
    }

    fn action(&mut self, _: &mut RoomContext<'_>, _: PlayerNum, _: &GameAction<'_>) -> Outcome {
        Outcome::Handled
    }
}

#[test]
fn logic_that_panics_when_somebody_comes_or_goes_leaves_no_membership() {
    for when in ["join", "leave"] {
        let make = Arc::new(move |_: &str| Box::new(Breaks(when)) as Box<dyn RoomLogic>);
        let settings = Settings {
            max_rooms: 2,
            ..Settings::default()
        };
        let kinds = vec![(relay("default"), Some(make as roomcast_core::LogicFactory))];
        let mut node = node_with(3, 2, settings, kinds);
        let ann = node.connect();
        for room in 0..5 {
            node.say(
                ann,
                &format!(r#"{{"type":"join_room","room_id":"r{room}"}}"#),
            );
            node.say(
                ann,
                &format!(r#"{{"type":"leave_room","room_id":"r{room}"}}"#),
            );
            let got = node.messages(ann);
            let code = |message: &Value| text(&message["payload"]["code"]);
            assert!(
                got.iter().any(|message| code(message) == "room_failed"),
                "{when}: {got:#?}"
            );
            assert!(
                got.iter().all(|message| code(message) != "too_many_rooms"),
                "{when}: {got:#?}"
            );
        }
        let rooms: usize = node.shards.iter().map(|shard| shard.rooms().1).sum();
        assert_eq!(rooms, 0, "{when}");
        node.assert_empty();
    }
}

/// Chats that shout are refused, `score` is the logic's own, and `note` is for it alone.
struct Referee;

impl RoomLogic for Referee {
    fn action(
        &mut self,
        room: &mut RoomContext<'_>,
        _player: PlayerNum,
        _action: &GameAction<'_>,
    ) -> Outcome {
        room.broadcast("score", &1);
        Outcome::Handled
    }

    fn event(
        &mut self,
        _room: &mut RoomContext<'_>,
        _player: PlayerNum,
        event: &RoomEvent<'_>,
    ) -> Outcome {
        match event.name {
            None if event.payload.ends_with(b"!\"") => Outcome::refused("no shouting"),
            Some("note") => Outcome::Handled,
            _ => Outcome::Relay,
        }
    }

    fn own_events(&self) -> &'static [&'static str] {
        &["score"]
    }
}

#[test]
fn logic_holds_names_of_events_and_refuses_what_members_send() {
    let make = Arc::new(|_: &str| Box::new(Referee) as Box<dyn RoomLogic>);
    let kinds = vec![(relay("games"), Some(make as roomcast_core::LogicFactory))];
    let mut node = node_with(7, 2, Settings::default(), kinds);
    let (ann, bob) = (node.member("games:1"), node.member("games:1"));
    node.drain(ann);
    node.drain(bob);
    let numbered = [
        r#"{"type":"event","room_id":"games:1","name":"score","payload":99,"seq":1}"#,
        r#"{"type":"chat","room_id":"games:1","payload":"hey!","seq":2}"#,
        r#"{"type":"event","room_id":"games:1","name":"note","payload":1,"seq":3}"#,
        r#"{"type":"chat","room_id":"games:1","payload":"hey","seq":4}"#,
    ];
    // Sent twice: each is answered again, and nothing is done again.
    for message in numbered.iter().chain(&numbered) {
        node.say(bob, message);
    }
    node.say(
        bob,
        r#"{"type":"event","room_id":"games:1","name":"score","payload":98,"ephemeral":true}"#,
    );
    act(&mut node, ann, json!({ "action": "point" }));
    let heard = node.messages(ann);
    assert_eq!(
        events(&heard),
        [("score".into(), json!(1))],
        "nobody's but the logic's"
    );
    let chats: Vec<_> = heard.iter().filter(|it| it["type"] == "chat").collect();
    assert_eq!(chats.len(), 1, "{heard:#?}");
    assert_eq!(chats[0]["payload"], "hey");
    let answers = node.messages(bob);
    let refused = answers.iter().filter(|it| it["type"] == "error");
    let refused: Vec<_> = refused
        .map(|it| (text(&it["payload"]["code"]), it["payload"]["seq"].clone()))
        .collect();
    let once = [
        ("reserved_event".to_owned(), json!(1)),
        ("action_refused".to_owned(), json!(2)),
    ];
    assert_eq!(refused[..2], once);
    assert_eq!(refused[2..4], once, "the same again");
    assert_eq!(refused.len(), 5, "the ephemeral one too: {refused:#?}");
    let acks = answers.iter().filter(|it| it["type"] == "ack");
    let acks: Vec<_> = acks
        .flat_map(|it| it["payload"]["acks"].as_array().cloned())
        .flatten()
        .collect();
    let seqs: Vec<_> = acks.iter().map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, [3, 4, 3, 4].map(Some), "{acks:#?}");
    node.cut(ann);
    node.cut(bob);
    node.assert_empty();
}
