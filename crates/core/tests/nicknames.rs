//! A member changes its nickname while it is in the room, where its kind allows that; else it has its token's.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::Cluster;
use common::{Client, Node, node, relay};
use roomcast_core::settings::{Kind, Nickname, Settings};
use serde_json::{Value, json};

fn kinds() -> Vec<Kind> {
    let bound = Kind {
        nickname: Nickname::Token,
        ..relay("bound")
    };
    vec![relay("chat"), bound]
}

fn rename(room: &str, nickname: &str) -> String {
    let payload = json!({"nickname": nickname});
    json!({"type": "presence", "room_id": room, "payload": payload}).to_string()
}

/// Somebody in the room, whose token has a name.
fn member(node: &mut Node, room: &str, token_name: &str, nickname: Option<&str>) -> Client {
    let client = node.connect();
    let token = format!("{token_name} all:{room} - {token_name}");
    node.say(
        client,
        &json!({"type": "hello", "payload": {"token": token}}).to_string(),
    );
    let payload = json!({"nickname": nickname});
    node.say(
        client,
        &json!({"type": "join_room", "room_id": room, "payload": payload}).to_string(),
    );
    client
}

/// The nicknames in the list of members.
fn listed(message: &Value) -> Vec<Value> {
    let members = message["payload"]["members"].as_array().unwrap();
    members.iter().map(|it| it["nickname"].clone()).collect()
}

fn list(node: &mut Node, client: Client, room: &str) -> Vec<Value> {
    node.say(
        client,
        &json!({"type": "members", "room_id": room, "payload": {}}).to_string(),
    );
    let got = node.messages(client);
    listed(got.iter().find(|it| it["type"] == "members").unwrap())
}

#[test]
fn a_new_nickname_is_told_and_listed() {
    for shards in [1, 3] {
        let mut node = node(shards, Settings::default(), kinds());
        let ann = member(&mut node, "chat:1", "ann", Some("Ann"));
        let bob = member(&mut node, "chat:1", "bob", None);
        assert_eq!(list(&mut node, bob, "chat:1"), ["Ann", "bob"]);
        node.say(
            ann,
            r#"{"type":"presence","room_id":"chat:1","payload":{"presence":{"a":1}}}"#,
        );
        node.messages(bob);
        node.say(ann, &rename("chat:1", "Annie"));
        let got = node.messages(bob).remove(0);
        assert_eq!(got["type"], "presence");
        let told = &got["payload"];
        assert_eq!(told["nickname"], "Annie", "{got}");
        assert_eq!(told["presence"], json!({"a": 1}), "the keys stay");
        assert_eq!(
            (&got["from_user_id"], &got["from_player_num"]),
            (&json!("ann"), &json!(1))
        );
        assert_eq!(list(&mut node, bob, "chat:1"), ["Annie", "bob"]);
        // What is empty changes nothing, and what is no nickname is refused.
        node.say(ann, &rename("chat:1", ""));
        node.messages(ann);
        node.say(ann, &rename("chat:1", " Ann"));
        node.error(ann, "invalid_name");
        let eve = node.connect();
        node.say(eve, r#"{"type":"join_room","room_id":"chat:1"}"#);
        assert_eq!(listed(&node.messages(eve)[0])[0], "Annie");
    }
}

#[test]
fn where_nicknames_are_those_of_tokens_there_is_no_other() {
    for shards in [1, 3] {
        let mut node = node(shards, Settings::default(), kinds());
        let ann = member(&mut node, "bound:1", "ann", Some("the boss"));
        let bob = member(&mut node, "bound:1", "bob", None);
        assert_eq!(list(&mut node, bob, "bound:1"), ["ann", "bob"]);
        node.messages(ann);
        let both = json!({"nickname": "the boss", "presence": {"a": 1}});
        let both =
            json!({"type": "presence", "room_id": "bound:1", "payload": both, "request_id": 7});
        node.say(ann, &both.to_string());
        let refused = node.error(ann, "forbidden");
        assert_eq!(
            (&refused["payload"]["request"], &refused["request_id"]),
            (&json!("presence"), &json!(7))
        );
        assert_eq!(node.messages(bob).len(), 0, "nothing of it was done");
        node.say(
            ann,
            r#"{"type":"presence","room_id":"bound:1","payload":{"presence":{"a":1}}}"#,
        );
        assert_eq!(node.messages(bob)[0]["payload"]["nickname"], "ann");
        // The next token has another name.
        node.say(
            ann,
            r#"{"type":"auth","payload":{"token":"ann all:bound:1 - Annie"}}"#,
        );
        assert_eq!(node.messages(bob)[0]["payload"]["nickname"], "Annie");
        assert_eq!(list(&mut node, bob, "bound:1"), ["Annie", "bob"]);
        let eve = node.connect();
        node.say(
            eve,
            r#"{"type":"join_room","room_id":"bound:1","payload":{"nickname":"ann"}}"#,
        );
        assert_eq!(
            list(&mut node, bob, "bound:1"),
            [json!("Annie"), json!("bob"), Value::Null]
        );
    }
}

#[test]
fn another_node_that_takes_the_room_over_knows_the_new_nickname() {
    let mut cluster = Cluster::new(&[1, 1, 1], &Settings::default(), &kinds());
    let (ann, bob) = (cluster.member(0, "chat:1"), cluster.member(1, "chat:1"));
    let home = cluster.home_of("chat:1").unwrap();
    // Who goes on renames itself: what it said is in the record of a home that is lost.
    let (renamed, other) = if home == 0 { (bob, ann) } else { (ann, bob) };
    cluster.say(renamed, &rename("chat:1", "Annie"));
    let got = cluster.messages(other).remove(0);
    assert_eq!(got["payload"]["nickname"], "Annie", "{got}");
    cluster.kill(home);
    cluster.pass(10_000);
    cluster.drop_all();
    cluster.say(
        renamed,
        r#"{"type":"members","room_id":"chat:1","payload":{}}"#,
    );
    let got = cluster.messages(renamed);
    let page = got.iter().find(|it| it["type"] == "members").unwrap();
    assert!(listed(page).contains(&json!("Annie")), "{page:#}");
}
