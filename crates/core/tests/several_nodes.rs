//! Several nodes at one store: a room has one home, and connections of all nodes are in it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::{relay, text};
use roomcast_core::settings::{Kind, Settings};
use serde_json::Value;

fn settings() -> Settings {
    Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    }
}

fn kinds() -> Vec<Kind> {
    let arena = Kind {
        name: "arena".into(),
        ..Kind::default()
    };
    vec![relay("default"), arena]
}

fn cluster(shards: &[u16]) -> Cluster {
    Cluster::new(shards, &settings(), &kinds())
}

fn chat(cluster: &mut Cluster, at: At, room: &str, text: &str, seq: u64) {
    let chat = format!(r#"{{"type":"chat","room_id":"{room}","payload":"{text}","seq":{seq}}}"#);
    cluster.say(at, &chat);
}

fn payloads(messages: &[Value]) -> Vec<String> {
    let chats = messages.iter().filter(|it| it["type"] == "chat");
    chats.map(|it| text(&it["payload"])).collect()
}

#[test]
fn connections_of_all_nodes_are_in_one_room() {
    let mut cluster = cluster(&[2, 1, 2]);
    let ann = cluster.member(0, "r");
    assert_eq!(cluster.home_of("r"), Some(0));
    let (bob, _) = cluster.connect(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    let joined = cluster.messages(bob).remove(0);
    assert_eq!(joined["payload"]["members"].as_array().unwrap().len(), 2);
    assert_eq!(cluster.types(ann), ["player_joined"]);
    let cid = cluster.member(2, "r");
    cluster.drop_all();
    chat(&mut cluster, bob, "r", "one", 1);
    chat(&mut cluster, cid, "r", "two", 1);
    chat(&mut cluster, ann, "r", "three", 1);
    for at in [ann, bob, cid] {
        let got = cluster.messages(at);
        assert_eq!(payloads(&got), ["one", "two", "three"]);
        assert_eq!(got.iter().filter(|it| it["type"] == "ack").count(), 1);
    }
    cluster.say(
        bob,
        r#"{"type":"presence","room_id":"r","payload":{"presence":{"a":"1"}}}"#,
    );
    assert_eq!(cluster.types(cid), ["presence"]);
    cluster.say(cid, r#"{"type":"history","room_id":"r"}"#);
    assert_eq!(
        cluster.messages(cid).last().unwrap()["payload"]["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["type"] == "chat")
            .count(),
        3
    );
    cluster.say(cid, r#"{"type":"members","room_id":"r"}"#);
    assert_eq!(cluster.messages(cid)[0]["payload"]["total"], 3);
    cluster.drop_all();
    cluster.say(cid, r#"{"type":"leave_room","room_id":"r"}"#);
    assert_eq!(cluster.types(cid), ["player_left"]);
    assert_eq!(cluster.types(ann), ["player_left"]);
    for node in 1..3 {
        assert_eq!(rooms(&mut cluster, node).0, 0, "it has one home");
    }
}

/// Rooms at home on a node, and those that its connections are in.
fn rooms(cluster: &mut Cluster, node: usize) -> (usize, usize) {
    let shards = cluster.node(node).shards.iter().map(|it| it.rooms());
    shards.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
}

#[test]
fn a_state_room_is_the_same_on_all_nodes() {
    let mut cluster = cluster(&[1, 2]);
    let ann = cluster.member(0, "arena:1");
    let bob = cluster.member(1, "arena:1");
    let action = r#"{"type":"game_action","room_id":"arena:1","payload":{"action_type":"move","data":{"position":{"x":3,"y":4}}}}"#;
    cluster.say(bob, action);
    cluster.pass(200);
    for at in [ann, bob] {
        let got = cluster.messages(at);
        let syncs = got.iter().filter(|it| it["type"] == "sync");
        assert!(syncs.count() > 0, "{got:#?}");
    }
    cluster.node(0).cut(ann.1);
    cluster.settle();
    assert_eq!(cluster.types(bob).last().unwrap(), "presence");
}

#[test]
fn the_home_of_a_room_dies_and_its_members_go_on_elsewhere() {
    let mut cluster = cluster(&[1, 2, 1]);
    let ann = cluster.member(0, "r");
    let (bob, token) = cluster.connect(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    chat(&mut cluster, bob, "r", "one", 1);
    assert_eq!(payloads(&cluster.messages(bob)), ["one"]);
    let _ = ann;
    cluster.kill(0);
    assert!(!cluster.is_open(bob), "it comes back");
    let bob = cluster.come_back(2, &token, "r");
    let joined = cluster.messages(bob);
    let joined = joined.iter().find(|it| it["type"] == "joined").unwrap();
    assert_eq!(joined["payload"]["members"].as_array().unwrap().len(), 2);
    chat(&mut cluster, bob, "r", "one", 1);
    chat(&mut cluster, bob, "r", "two", 2);
    let got = cluster.messages(bob);
    assert_eq!(payloads(&got), ["two"], "{got:#?}");
}
