//! Rights are those of the token, and end when it ends: on any number of shards, and before any timer has looked.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Client, Got, Node, node, relay};
use roomcast_core::Received;
use roomcast_core::settings::Settings;
use serde_json::{Value, json};

const SHARDS: [u16; 2] = [1, 3];

fn setup(shards: u16) -> Node {
    node(shards, Settings::default(), vec![relay("chat")])
}

fn hello(node: &mut Node, payload: Value) -> (Client, Value) {
    let client = node.connect();
    node.say(
        client,
        &json!({"type": "hello", "payload": payload}).to_string(),
    );
    let welcome = node
        .messages(client)
        .into_iter()
        .find(|it| it["type"] == "welcome");
    (client, welcome.unwrap_or_default()["payload"].take())
}

fn join(node: &mut Node, client: Client, payload: Value) -> Value {
    join_room(node, client, "chat:1", payload)
}

/// What `joined` says.
fn join_room(node: &mut Node, client: Client, room: &str, payload: Value) -> Value {
    let join = json!({"type": "join_room", "room_id": room, "payload": payload});
    node.say(client, &join.to_string());
    let got = node.messages(client);
    let joined = got.iter().find(|it| it["type"] == "joined");
    joined.unwrap_or_else(|| panic!("{got:#?}"))["payload"].clone()
}

fn of_type(messages: &[Value], kind: &str) -> usize {
    messages.iter().filter(|it| it["type"] == kind).count()
}

/// A message that the shard reads in this very moment, before its timers run.
fn at_once(node: &mut Node, client: Client, message: &Value) {
    node.receive(client, Received::Message(message.to_string().as_bytes()));
    node.settle();
}

#[test]
fn rights_are_those_of_the_token() {
    let mut node = setup(2);
    let allow = |token: &str| json!({"token": token});
    let (ann, welcome) = hello(&mut node, allow("ann join:chat:1"));
    assert_eq!(welcome["user_id"], "ann");
    let joined = join(&mut node, ann, json!({}));
    assert_eq!(joined["player_id"], "ann");
    let chat = |room: &str| json!({"type": "chat", "room_id": room, "payload": "x", "seq": 1});
    node.say(ann, &chat("chat:1").to_string());
    node.error(ann, "forbidden");
    node.say(ann, r#"{"type":"history","room_id":"chat:1","payload":{}}"#);
    node.error(ann, "forbidden");
    node.say(ann, r#"{"type":"join_room","room_id":"chat:2"}"#);
    node.error(ann, "forbidden");
    join_room(&mut node, ann, "chat:2", allow("ann all:chat:2"));
    node.say(ann, &chat("chat:2").to_string());
    assert_eq!(of_type(&node.messages(ann), "ack"), 1);
    // One more of the same user's sessions is the same player.
    let (other, _) = hello(&mut node, allow("ann all:chat:2"));
    let second = join_room(&mut node, other, "chat:2", json!({}));
    assert_eq!(
        (second["player_num"].as_u64(), second["total"].as_u64()),
        (Some(1), Some(1))
    );
    node.messages(ann);
    node.say(other, r#"{"type":"leave_room","room_id":"chat:2"}"#);
    assert_eq!(of_type(&node.messages(ann), "player_left"), 0);
    let bad = node.connect();
    let hello = json!({"type": "hello", "payload": allow("bad")});
    node.say(bad, &hello.to_string());
    let got = node.drain(bad);
    assert!(matches!(got.last(), Some(Got::Close(4502, _))), "{got:?}");
}

#[test]
fn a_token_that_ends_closes_with_come_back_and_is_renewed_in_time() {
    let mut node = setup(1);
    let (ann, _) = hello(&mut node, json!({"token": "ann all:chat:1 60000"}));
    let (bob, _) = hello(&mut node, json!({"token": "bob all:chat:1 60000"}));
    node.pass(30_000);
    node.say(
        bob,
        r#"{"type":"auth","payload":{"token":"ann all:chat:1"}}"#,
    );
    node.error(bob, "unauthorized");
    node.say(
        bob,
        r#"{"type":"auth","payload":{"token":"bob all:chat:1 90000"}}"#,
    );
    node.drain(bob);
    node.receive(ann, Received::Ping(b""));
    node.pass(31_000);
    let got = node.drain(ann);
    assert!(matches!(got.last(), Some(Got::Close(4007, _))), "{got:?}");
    assert!(node.sockets[bob].open);
}

#[test]
fn nothing_is_done_with_a_token_that_has_ended() {
    for shards in SHARDS {
        let mut node = setup(shards);
        let (bob, _) = hello(&mut node, json!({"token": "bob all:chat:1"}));
        join(&mut node, bob, json!({}));
        let (ann, _) = hello(&mut node, json!({"token": "ann all:chat:1 1000"}));
        join(&mut node, ann, json!({}));
        node.messages(bob);
        node.now.micros += 1_000_000;
        node.now.unix_ms += 1_000;
        at_once(
            &mut node,
            ann,
            &json!({"type": "chat", "room_id": "chat:1", "payload": "x"}),
        );
        let got = node.drain(ann);
        assert!(matches!(got.last(), Some(Got::Close(4007, _))), "{got:?}");
        assert!(node.messages(bob).iter().all(|it| it["type"] != "chat"));
    }
}

#[test]
fn a_rooms_token_ends_where_it_gave_rights() {
    for shards in SHARDS {
        let mut node = setup(shards);
        let (bob, _) = hello(&mut node, json!({"token": "bob all:chat:1"}));
        join(&mut node, bob, json!({}));
        let (ann, _) = hello(&mut node, json!({"token": "ann join:chat:1"}));
        join(&mut node, ann, json!({"token": "ann all:chat:1 1000"}));
        let chat = json!({"type": "chat", "room_id": "chat:1", "payload": "x"});
        at_once(&mut node, ann, &chat);
        assert!(node.messages(bob).iter().any(|it| it["type"] == "chat"));
        node.now.micros += 1_000_000;
        node.now.unix_ms += 1_000;
        at_once(&mut node, ann, &chat);
        node.error(ann, "forbidden");
        assert!(node.messages(bob).iter().all(|it| it["type"] != "chat"));
    }
}

#[test]
fn a_rooms_token_counts_for_a_session_that_comes_back_until_it_ends() {
    for shards in SHARDS {
        for (later, stays) in [(500, true), (1_500, false)] {
            let mut node = setup(shards);
            let (ann, welcome) = hello(&mut node, json!({"token": "ann join:chat:2"}));
            join(&mut node, ann, json!({"token": "ann all:chat:1 1000"}));
            node.cut(ann);
            node.pass(later);
            let resume = &welcome["resume_token"];
            let again = json!({"token": "ann join:chat:2", "resume_token": resume});
            let client = node.connect();
            node.say(
                client,
                &json!({"type": "hello", "payload": again}).to_string(),
            );
            let got = node.messages(client);
            let of_room: Vec<_> = got.iter().filter(|it| it["room_id"] == "chat:1").collect();
            let joined = of_room.iter().any(|it| it["type"] == "joined");
            assert_eq!(joined, stays, "{got:#?}");
            if !stays {
                assert_eq!(of_room.len(), 1, "{got:#?}");
                assert_eq!(of_room[0]["payload"]["code"], "not_in_room", "{got:#?}");
            }
        }
    }
}

#[test]
fn a_takeover_with_fewer_rights_tells_nothing_of_the_room() {
    for shards in SHARDS {
        let mut node = setup(shards);
        let (bob, _) = hello(&mut node, json!({"token": "bob all:chat:1"}));
        join(&mut node, bob, json!({}));
        let (ann, welcome) = hello(&mut node, json!({"token": "ann all:chat:1"}));
        join(&mut node, ann, json!({}));
        node.messages(bob);
        let resume = &welcome["resume_token"];
        let (again, welcome) = hello(
            &mut node,
            json!({"token": "ann all:chat:2", "resume_token": resume}),
        );
        assert_eq!(welcome["resumed"], true, "{welcome}");
        node.say(
            bob,
            r#"{"type":"chat","room_id":"chat:1","payload":"secret"}"#,
        );
        assert!(node.messages(again).is_empty());
        let got = node.messages(bob);
        assert!(got.iter().any(|it| it["type"] == "player_left"), "{got:#?}");
        assert!(matches!(node.drain(ann).last(), Some(Got::Close(4501, _))));
    }
}

#[test]
fn what_was_sent_while_it_was_allowed_keeps_its_answer() {
    for shards in SHARDS {
        let mut node = setup(shards);
        let (ann, welcome) = hello(&mut node, json!({"token": "ann all:chat:1"}));
        join(&mut node, ann, json!({}));
        let chat =
            |seq: u64| json!({"type": "chat", "room_id": "chat:1", "payload": "x", "seq": seq});
        at_once(&mut node, ann, &chat(1));
        // Its `ack` is lost with the connection, and the next token allows less.
        node.cut(ann);
        let again = json!({"token": "ann join:chat:1", "resume_token": welcome["resume_token"]});
        let (ann, _) = hello(&mut node, again);
        at_once(&mut node, ann, &chat(1));
        let got = node.messages(ann);
        assert!(got.iter().any(|it| it["type"] == "ack"), "{got:#?}");
        // What comes next is refused for good, each time that it comes.
        for seq in [2, 3, 2] {
            at_once(&mut node, ann, &chat(seq));
            let error = node.error(ann, "forbidden");
            assert_eq!(error["payload"]["seq"], seq, "{error}");
        }
    }
}
