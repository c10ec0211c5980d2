//! What clients that came back were told wrongly once: each of these was found by the simulation.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Client, Node, node, relay};
use roomcast_core::settings::{Kind, Settings};
use serde_json::{Value, json};

fn say(node: &mut Node, client: Client, message: &Value) -> Vec<Value> {
    node.say(client, &message.to_string());
    node.messages(client)
}

fn greet(node: &mut Node) -> Client {
    let client = node.connect();
    say(
        node,
        client,
        &json!({"type": "hello", "payload": {"version": 1}}),
    );
    client
}

fn of_type<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    messages.iter().filter(|it| it["type"] == kind).collect()
}

#[test]
fn a_skip_that_comes_too_soon_is_refused_by_its_number() {
    let settings = Settings {
        messages_per_second: 1,
        burst: 2,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![relay("chat")]);
    let client = greet(&mut node);
    say(
        &mut node,
        client,
        &json!({"type": "join_room", "room_id": "chat:1"}),
    );
    let skip = json!({"type": "skip", "room_id": "chat:1", "payload": {"seq": 7}});
    node.say(client, &skip.to_string());
    let error = node.error(client, "rate_limited");
    assert_eq!(error["payload"]["seq"], 7, "{error}");
    assert_eq!(error["payload"]["request"], "skip", "{error}");
}

#[test]
fn who_did_not_get_the_first_state_gets_all_of_it() {
    let mut node = node(1, Settings::default(), vec![Kind::default()]);
    let client = greet(&mut node);
    node.sockets[client].window = 10;
    node.say(client, r#"{"type":"join_room","room_id":"arena"}"#);
    node.sockets[client].window = usize::MAX;
    node.read(client);
    let told = node.messages(client);
    let syncs = of_type(&told, "sync");
    assert_eq!(syncs[0]["payload"]["full"], true, "{told:#?}");
}

#[test]
fn what_changes_while_the_missed_is_told_is_told_too() {
    let settings = Settings {
        event_lane: 2_000,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![relay("chat")]);
    let (ann, bob) = (greet(&mut node), node.connect());
    let hello = json!({"type": "hello", "payload": {"version": 1}});
    let welcome = say(&mut node, bob, &hello).remove(0);
    let join = json!({"type": "join_room", "room_id": "chat:1"});
    say(&mut node, ann, &join);
    let joined = say(&mut node, bob, &join);
    let epoch = of_type(&joined, "joined")[0]["payload"]["epoch"].clone();
    node.cut(bob);
    for _ in 0..20 {
        let text = "x".repeat(200);
        say(
            &mut node,
            ann,
            &json!({"type": "chat", "room_id": "chat:1", "payload": text}),
        );
    }
    let bob = node.connect();
    node.sockets[bob].window = 300;
    let hello = json!({"type": "hello", "payload": {"version": 1,
        "resume_token": welcome["payload"]["resume_token"],
        "positions": [{"room_id": "chat:1", "since": {"epoch": epoch, "offset": 2}}]}});
    node.say(bob, &hello.to_string());
    let mood = json!({"presence": {"mood": "bright"}});
    say(
        &mut node,
        ann,
        &json!({"type": "presence", "room_id": "chat:1", "payload": mood}),
    );
    node.sockets[bob].window = usize::MAX;
    node.read(bob);
    let told = node.messages(bob);
    assert_eq!(of_type(&told, "chat").len(), 20, "{told:#?}");
    let presence = of_type(&told, "presence");
    let bright = |it: &&&Value| it["payload"]["presence"]["mood"] == "bright";
    assert!(presence.iter().any(|it| bright(&it)), "{told:#?}");
}

#[test]
fn state_of_a_player_comes_after_the_player() {
    let settings = Settings {
        event_lane: 2_000,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![relay("chat")]);
    let (ann, bob, cy) = (greet(&mut node), greet(&mut node), greet(&mut node));
    let join = json!({"type": "join_room", "room_id": "chat:1"});
    say(&mut node, ann, &join);
    say(&mut node, bob, &join);
    node.sockets[bob].window = 300;
    for _ in 0..20 {
        let text = "x".repeat(200);
        say(
            &mut node,
            ann,
            &json!({"type": "chat", "room_id": "chat:1", "payload": text}),
        );
    }
    say(&mut node, cy, &join);
    let mood = json!({"presence": {"mood": "bright"}});
    say(
        &mut node,
        cy,
        &json!({"type": "presence", "room_id": "chat:1", "payload": mood}),
    );
    node.sockets[bob].window = usize::MAX;
    node.read(bob);
    let told = node.messages(bob);
    let last = |kind: &str| {
        let of_cy = |it: &Value| it["type"] == kind && it["payload"]["player_num"] == 3;
        told.iter().rposition(of_cy)
    };
    let (came, bright) = (last("player_joined").unwrap(), last("presence").unwrap());
    assert!(bright > came, "{told:#?}");
}

#[test]
fn a_session_that_began_anew_says_so_until_that_was_heard() {
    let mut node = node(1, Settings::default(), vec![relay("chat")]);
    let hello = |token: &Value| {
        let payload = json!({"version": 1, "resume_token": token});
        json!({"type": "hello", "payload": payload})
    };
    let first = node.connect();
    let welcome = say(&mut node, first, &hello(&Value::Null)).remove(0);
    let token = welcome["payload"]["resume_token"].clone();
    node.cut(first);
    node.jump(31_000);
    // Its `welcome` is lost.
    let second = node.connect();
    say(&mut node, second, &hello(&token));
    node.cut(second);
    let third = node.connect();
    let welcome = say(&mut node, third, &hello(&token)).remove(0);
    assert_eq!(welcome["payload"]["resumed"], false, "{welcome}");
    // It is heard now.
    let token = welcome["payload"]["resume_token"].clone();
    let fourth = node.connect();
    let welcome = say(&mut node, fourth, &hello(&token)).remove(0);
    assert_eq!(welcome["payload"]["resumed"], true, "{welcome}");
}

/// A `hello` that comes late, long after its connection was given up, begins the session anew under an old token. Whoever
/// has a newer one has heard nothing of it.
#[test]
fn a_session_that_began_anew_with_an_old_token_says_so_to_who_has_a_newer_one() {
    let mut node = node(1, Settings::default(), vec![relay("chat")]);
    let hello = |token: &Value| {
        let payload = json!({"version": 1, "resume_token": token});
        json!({"type": "hello", "payload": payload})
    };
    let come = |node: &mut Node, token: &Value| {
        let client = node.connect();
        let welcome = say(node, client, &hello(token)).remove(0)["payload"].clone();
        (client, welcome)
    };
    let (first, welcome) = come(&mut node, &Value::Null);
    let old = welcome["resume_token"].clone();
    node.cut(first);
    let (second, welcome) = come(&mut node, &old);
    let newer = welcome["resume_token"].clone();
    node.cut(second);
    node.jump(31_000);
    let (late, welcome) = come(&mut node, &old);
    assert_eq!(welcome["resumed"], false, "{welcome}");
    node.cut(late);
    // Twice: the first `welcome` is lost.
    for _ in 0..2 {
        let (client, welcome) = come(&mut node, &newer);
        assert_eq!(welcome["resumed"], false, "{welcome}");
        node.cut(client);
    }
    let (_, welcome) = come(&mut node, &newer);
    let (_, welcome) = come(&mut node, &welcome["resume_token"]);
    assert_eq!(welcome["resumed"], true, "{welcome}");
}
