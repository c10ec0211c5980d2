//! What is held stays within its bound when another shard or a reader is stuck.

mod common;

use std::sync::Arc;

use common::{Got, node, node_with, relay, text};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::{LogicFactory, Outcome, PlayerNum, RoomContext, RoomLogic};
use roomcast_protocol::GameAction;

fn no_limits() -> Settings {
    Settings {
        messages_per_second: 0,
        max_offences: 0,
        ..Settings::default()
    }
}

/// Says a kilobyte to everybody every ten milliseconds, and moves everybody.
struct Ticker(u64);

impl RoomLogic for Ticker {
    fn join(&mut self, room: &mut RoomContext<'_>, _: PlayerNum) {
        room.wake_in(10);
    }

    fn action(&mut self, _: &mut RoomContext<'_>, _: PlayerNum, _: &GameAction<'_>) -> Outcome {
        Outcome::Handled
    }

    fn wake(&mut self, room: &mut RoomContext<'_>) {
        room.wake_in(10);
        self.0 += 1;
        let (n, padding) = (self.0, "x".repeat(1_000));
        room.broadcast("tick", &serde_json::json!({ "n": n, "padding": padding }));
        let players: Vec<_> = room.players().map(|player| player.num).collect();
        for player in players {
            if let Some(body) = room.state_mut(player) {
                body.position.x = n as f64;
            }
        }
    }
}

#[test]
fn a_room_that_ticks_makes_nothing_for_a_shard_that_is_stuck() {
    let settings = Settings {
        link_window: 4_000,
        ..no_limits()
    };
    let make: LogicFactory = Arc::new(|_: &str| Box::new(Ticker(0)));
    let kinds = vec![(Kind::default(), Some(make))];
    let mut node = node_with(5, 2, settings, kinds);
    let members = [node.member("room"), node.member("room")];
    node.slow_links = 100;
    for _ in 0..1_000 {
        node.now.micros += 10_000;
        for _ in 0..4 {
            node.turn();
        }
        let on_the_way: usize = node.shards.iter().map(|shard| shard.link_bytes()).sum();
        assert!(on_the_way < 10_000, "{on_the_way}");
    }
    node.slow_links = 0;
    node.pass(1_000);
    for member in members {
        let messages = node.messages(member);
        let ticks = messages.iter().filter(|message| message["name"] == "tick");
        let numbers: Vec<_> = ticks.filter_map(|it| it["payload"]["n"].as_u64()).collect();
        assert!(numbers.len() > 50, "it goes on: {}", numbers.len());
        assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");
    }
}

#[test]
fn no_room_is_opened_where_open_rooms_take_all_of_the_log_memory() {
    let ceiling = 64 * 1024;
    let settings = Settings {
        max_rooms: 0,
        log_memory: ceiling,
        ..no_limits()
    };
    let kinds = vec![(relay("default"), None)];
    let mut node = node_with(8, 1, settings, kinds);
    let join = |n: usize| format!(r#"{{"type":"join_room","room_id":"r{n}"}}"#);
    let ann = node.connect();
    let mut rooms = 0;
    let error = loop {
        node.say(ann, &join(rooms));
        let answer = node.messages(ann);
        let held = node.shards[0].stats().log_bytes;
        assert!(held <= ceiling, "{held} with {rooms} rooms");
        match text(&answer[0]["type"]).as_str() {
            "joined" => rooms += 1,
            _ => break answer[0].clone(),
        }
        assert!(rooms < 1_000, "nothing is bounded");
    };
    assert!(rooms > 30, "only {rooms}");
    assert_eq!(error["room_id"], format!("r{rooms}"));
    let error = &error["payload"];
    assert_eq!(error["code"], "unavailable");
    assert!(text(&error["message"]).contains("`rooms.log_memory`"));
    assert!(error["retry_after_ms"].as_u64() > Some(0));
    // A room that is open takes everybody.
    let bob = node.connect();
    node.say(bob, &join(0));
    assert_eq!(node.types(bob)[0], "joined");
    node.say(bob, &join(rooms));
    node.error(bob, "unavailable");
    // When one has closed there is room for another.
    for n in 1..4 {
        node.say(ann, &format!(r#"{{"type":"leave_room","room_id":"r{n}"}}"#));
    }
    node.messages(ann);
    node.say(ann, &join(rooms));
    assert_eq!(node.types(ann)[0], "joined");
    node.assert_empty();
}

#[test]
fn a_flood_of_direct_messages_is_refused_with_a_hint_not_stored() {
    let settings = Settings {
        event_lane: 10_000,
        publish_window: 1 << 20,
        control_lane: 1 << 20,
        ..no_limits()
    };
    let mut node = node(1, settings, vec![relay("default")]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    node.say(ann, r#"{"type":"members"}"#);
    let members = node.messages(ann);
    let bob_id = text(&members[0]["payload"]["members"][1]["player_id"]);
    let payload = "x".repeat(1_000);
    let chat = format!(r#"{{"type":"chat","to_client_id":"{bob_id}","payload":"{payload}"}}"#);
    for _ in 0..100 {
        node.send(ann, &chat);
    }
    // All in one turn, before anything is written.
    node.turn();
    let got = node.messages(bob).len();
    let refused = node.messages(ann);
    assert_eq!(got + refused.len(), 100);
    assert!((30..60).contains(&got), "{got}");
    for error in refused {
        assert_eq!(error["payload"]["code"], "unavailable");
        assert!(error["payload"]["retry_after_ms"].as_u64() > Some(0));
    }
    assert!(node.sockets[bob].open);
    // What is ephemeral is dropped, and counted.
    for _ in 0..100 {
        let payload = "x".repeat(1_000);
        let event = format!(
            r#"{{"type":"event","name":"e","ephemeral":true,"to_client_id":"{bob_id}","payload":"{payload}"}}"#
        );
        node.send(ann, &event);
    }
    node.turn();
    let got = node.messages(bob).len();
    assert!((5..20).contains(&got), "{got}");
    assert_eq!(node.shards[0].stats().ephemeral_dropped, 100 - got as u64);
}

#[test]
fn answers_of_the_turn_that_ends_a_connection_still_go_out() {
    let settings = Settings {
        max_offences: 3,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![]);
    let ann = node.connect();
    for _ in 0..5 {
        node.send(ann, r#"{"type":"chat","payload":1}"#);
    }
    let got = node.drain(ann);
    let errors = got.iter().filter(|got| matches!(got, Got::Message(_)));
    assert_eq!(errors.count(), 4, "{got:#?}");
    assert!(matches!(got.last(), Some(Got::Close(4_500, _))), "{got:#?}");
}

#[test]
fn an_error_from_a_rooms_home_repeats_the_number_of_what_it_answers() {
    let kind = Kind {
        max_players: 1,
        ..relay("default")
    };
    let mut node = node(2, Settings::default(), vec![kind]);
    let ann = node.member("room");
    let bob = node.connect();
    node.say(bob, r#"{"type":"join_room","room_id":"room","seq":7}"#);
    assert_eq!(node.error(bob, "room_full")["payload"]["seq"], 7);
    let keys: Vec<_> = (0..30)
        .map(|n| format!(r#""{n}":"{}""#, "x".repeat(90)))
        .collect();
    for part in keys.chunks(15) {
        let presence = part.join(",");
        node.say(
            ann,
            &format!(r#"{{"type":"presence","seq":8,"payload":{{"presence":{{{presence}}}}}}}"#),
        );
    }
    assert_eq!(node.error(ann, "presence_too_large")["payload"]["seq"], 8);
}
