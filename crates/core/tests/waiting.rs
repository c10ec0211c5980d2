//! Nobody waits for ever: for a slice of a log, for newest state, for a number's turn.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::sync::Arc;

use common::{Client, Node, node, node_with, relay};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::{Encoding, LogicFactory, Outcome, PlayerNum, RoomContext, RoomLogic};
use roomcast_protocol::GameAction;
use serde_json::Value;

const LANE: usize = 32 * 1024;

/// Passes actions on, and panics when it is asked to.
struct Fragile;

impl RoomLogic for Fragile {
    fn action(
        &mut self,
        _: &mut RoomContext<'_>,
        _: PlayerNum,
        action: &GameAction<'_>,
    ) -> Outcome {
        assert_ne!(action.action(), "panic", "as it was asked to");
        Outcome::Relay
    }

    fn leave(&mut self, room: &mut RoomContext<'_>, _: PlayerNum) {
        assert!(!room.name().ends_with("leave"), "as its name asks for");
    }
}

fn fragile() -> (Kind, Option<LogicFactory>) {
    let logic: LogicFactory = Arc::new(|_| Box::new(Fragile));
    (relay("fragile"), Some(logic))
}

fn settings() -> Settings {
    Settings {
        event_lane: LANE,
        messages_per_second: 0,
        ping_interval: 1_000,
        ..Settings::default()
    }
}

fn join(node: &mut Node, client: Client, room: &str) {
    let join = format!(r#"{{"type":"join_room","room_id":"{room}"}}"#);
    node.say(client, &join);
}

fn speak(node: &mut Node, client: Client, room: &str, times: usize) {
    let text = "x".repeat(200);
    for _ in 0..times {
        let chat = format!(r#"{{"type":"chat","room_id":"{room}","payload":"{text}"}}"#);
        node.say(client, &chat);
    }
}

const PANIC: &str = r#"{"type":"game_action","room_id":"ROOM","payload":{"action":"panic"}}"#;

fn panic_in(room: &str) -> String {
    PANIC.replace("ROOM", room)
}

fn chats(got: &[Value], room: &str) -> usize {
    let chat = |it: &&Value| it["type"] == "chat" && it["room_id"] == room;
    got.iter().filter(chat).count()
}

#[test]
fn a_room_that_fails_does_not_end_recovery_in_the_others() {
    // Some of these rooms are at home with the reader, some with the speaker.
    for number in 0..8 {
        let failing = format!("fragile:{number}");
        let kinds = vec![(relay("default"), None), fragile()];
        let mut node = node_with(3, 2, settings(), kinds);
        let reader = node.connect_to(0, Encoding::ALL[0]);
        let speaker = node.connect_to(1, Encoding::ALL[0]);
        node.say(reader, r#"{"type":"hello"}"#);
        for room in [&*failing, "other"] {
            join(&mut node, speaker, room);
            join(&mut node, reader, room);
        }
        node.messages(reader);
        node.messages(speaker);
        node.sockets[reader].window = 0;
        for _ in 0..100 {
            speak(&mut node, speaker, &failing, 1);
            speak(&mut node, speaker, "other", 1);
        }
        assert!(node.shards[0].stats().readers_behind > 0);
        // It asks for what it missed in the one room while that fails.
        node.sockets[reader].window = usize::MAX;
        node.read(reader);
        node.send(speaker, &panic_in(&failing));
        node.settle();
        let mut got = node.messages(reader);
        assert!(
            got.iter()
                .any(|it| it["payload"]["code"] == "room_failed" && it["room_id"] == *failing),
            "{got:#?}"
        );
        speak(&mut node, speaker, "other", 1);
        got.extend(node.messages(reader));
        assert_eq!(chats(&got, "other"), 101, "{failing}");
        node.messages(speaker);
        node.assert_gone();
    }
}

#[test]
fn who_has_left_the_room_in_which_it_lagged_is_not_closed_for_it() {
    let settings = Settings {
        behind_timeout: 2_000,
        ..settings()
    };
    let mut node = node(2, settings, vec![relay("default")]);
    let reader = node.connect_to(0, Encoding::ALL[0]);
    let speaker = node.connect_to(1, Encoding::ALL[0]);
    node.say(reader, r#"{"type":"hello"}"#);
    for room in ["busy", "quiet"] {
        join(&mut node, speaker, room);
        join(&mut node, reader, room);
    }
    node.messages(reader);
    node.sockets[reader].window = 0;
    speak(&mut node, speaker, "busy", 200);
    assert!(node.shards[0].stats().readers_behind > 0);
    node.say(reader, r#"{"type":"leave_room","room_id":"busy"}"#);
    node.sockets[reader].window = usize::MAX;
    node.read(reader);
    node.messages(reader);
    for _ in 0..10 {
        node.pass(1_000);
        node.say(reader, r#"{"type":"ping"}"#);
        node.messages(reader);
    }
    assert!(node.sockets[reader].open, "it was closed");
    speak(&mut node, speaker, "quiet", 1);
    assert_eq!(chats(&node.messages(reader), "quiet"), 1);
}

#[test]
fn nothing_is_kept_of_who_was_in_a_room_that_failed() {
    for way in ["panic", "leave"] {
        let mut node = node_with(3, 2, settings(), vec![fragile()]);
        let room = format!("fragile:{way}");
        let [ann, bob, cid] = [0, 1, 1].map(|shard| node.connect_to(shard, Encoding::ALL[0]));
        for client in [ann, bob, cid] {
            join(&mut node, client, &room);
        }
        let chat = format!(r#"{{"type":"chat","room_id":"{room}","payload":1,"seq":1}}"#);
        node.say(bob, &chat);
        if way == "panic" {
            let panic = panic_in(&room).replace(r#""panic"}"#, r#""panic"},"seq":1"#);
            node.say(ann, &panic);
        } else {
            let leave = format!(r#"{{"type":"leave_room","room_id":"{room}","request_id":5}}"#);
            node.say(ann, &leave);
        }
        assert!(
            node.messages(bob)
                .iter()
                .any(|it| it["payload"]["code"] == "room_failed")
        );
        let answered = |it: &Value| it["payload"]["seq"] == 1 || it["request_id"] == 5;
        let got = node.messages(ann);
        assert_eq!(got.iter().filter(|it| answered(it)).count(), 1, "{got:#?}");
        node.assert_gone();
    }
}

#[test]
fn a_number_that_was_refused_before_its_turn_is_no_gap() {
    let mut node = node(2, settings(), vec![relay("default")]);
    let ann = node.connect();
    join(&mut node, ann, "r");
    node.messages(ann);
    // As if the first was refused by the rate limit, and is sent again.
    for (seq, name) in [(2, "a b"), (1, "ok"), (3, "ok")] {
        let event = format!(r#"{{"type":"event","room_id":"r","name":"{name}","seq":{seq}}}"#);
        node.say(ann, &event);
    }
    let got = node.messages(ann);
    let codes: Vec<_> = got.iter().map(|it| it["payload"]["code"].clone()).collect();
    assert!(!codes.contains(&"seq_gap".into()), "{got:#?}");
    let acks = got.iter().filter(|it| it["type"] == "ack");
    let acked: Vec<_> = acks
        .flat_map(|it| it["payload"]["acks"].as_array().unwrap())
        .map(|it| it["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(acked, [1, 3]);
    // Sent again, it has the same answer.
    node.say(
        ann,
        r#"{"type":"event","room_id":"r","name":"good","seq":2}"#,
    );
    assert_eq!(node.error(ann, "invalid_name")["payload"]["seq"], 2);
}

#[test]
fn joining_again_with_a_position_that_is_not_of_this_log_is_told() {
    let mut node = node(2, settings(), vec![relay("default")]);
    let ann = node.connect();
    join(&mut node, ann, "r");
    speak(&mut node, ann, "r", 3);
    let epoch = node.messages(ann)[0]["payload"]["epoch"].clone();
    for (since, recovered, offset) in [
        (format!(r#"{{"epoch":{epoch},"offset":2}}"#), true, 2),
        (r#"{"epoch":"another","offset":2}"#.to_owned(), false, 4),
        (format!(r#"{{"epoch":{epoch},"offset":9}}"#), false, 4),
    ] {
        let join = format!(r#"{{"type":"join_room","room_id":"r","payload":{{"since":{since}}}}}"#);
        node.say(ann, &join);
        let joined = node.messages(ann).remove(0);
        assert_eq!(joined["payload"]["recovered"], recovered, "{since}");
        assert_eq!(joined["payload"]["offset"], offset, "{since}");
        assert_eq!(joined["payload"]["epoch"], epoch);
    }
}

#[test]
fn the_answer_to_a_leave_is_no_position_past_what_was_not_received() {
    let mut node = node(2, settings(), vec![relay("default")]);
    let reader = node.connect_to(0, Encoding::ALL[0]);
    let speaker = node.connect_to(1, Encoding::ALL[0]);
    node.say(reader, r#"{"type":"hello"}"#);
    join(&mut node, speaker, "busy");
    join(&mut node, reader, "busy");
    node.messages(reader);
    node.sockets[reader].window = 0;
    speak(&mut node, speaker, "busy", 200);
    assert!(node.shards[0].stats().readers_behind > 0);
    node.say(reader, r#"{"type":"leave_room","room_id":"busy"}"#);
    node.sockets[reader].window = usize::MAX;
    node.read(reader);
    let got = node.messages(reader);
    // Whatever has an offset comes behind all that came before it in the log.
    let offsets: Vec<u64> = got.iter().filter_map(|it| it["offset"].as_u64()).collect();
    assert!(
        offsets.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{offsets:?}"
    );
    let left = got.iter().find(|it| it["type"] == "player_left").unwrap();
    assert_eq!(left["offset"], Value::Null, "{left}");
    let heard = node.messages(speaker);
    let left = heard.iter().find(|it| it["type"] == "player_left").unwrap();
    assert!(left["offset"].is_u64(), "those who stay: {left}");
}
