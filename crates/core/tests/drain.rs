//! A node that ends politely: its rooms go on at other nodes, and nobody there is sent away.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::{relay, text};
use roomcast_core::settings::Settings;
use roomcast_core::store::Request;
use roomcast_protocol::CloseCode;
use serde_json::Value;

fn cluster(shards: &[u16]) -> Cluster {
    let settings = Settings {
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    Cluster::new(shards, &settings, &[relay("default")])
}

fn chat(cluster: &mut Cluster, at: At, room: &str, text: &str, seq: u64) {
    let chat = format!(r#"{{"type":"chat","room_id":"{room}","payload":"{text}","seq":{seq}}}"#);
    cluster.say(at, &chat);
}

fn chats(messages: &[Value]) -> Vec<(u64, String)> {
    let chats = messages.iter().filter(|it| it["type"] == "chat");
    chats
        .map(|it| (it["offset"].as_u64().unwrap(), text(&it["payload"])))
        .collect()
}

/// Closes all connections of a node, and gives its rooms up.
fn drain(cluster: &mut Cluster, node: usize) {
    let now = cluster.node(node).now;
    for shard in cluster.node(node).shards.iter_mut() {
        shard.claim_nothing();
        shard.close_all(now, CloseCode::Reconnect);
    }
    cluster.settle();
    for client in 0..cluster.node(node).sockets.len() {
        cluster.node(node).cut(client);
    }
    cluster.settle();
    for shard in cluster.node(node).shards.iter_mut() {
        shard.give_up_rooms();
    }
    cluster.settle();
}

#[test]
fn rooms_of_a_node_that_ends_go_on_elsewhere_at_once() {
    let mut cluster = cluster(&[2, 2]);
    let (ann, token) = cluster.connect(0);
    cluster.say(ann, r#"{"type":"join_room","room_id":"r"}"#);
    let joined = cluster.messages(ann).remove(0);
    let (epoch, offset) = (&joined["payload"]["epoch"], &joined["payload"]["offset"]);
    let since = format!(r#"{{"room_id":"r","since":{{"epoch":{epoch},"offset":{offset}}}}}"#);
    let bob = cluster.member(1, "r");
    chat(&mut cluster, bob, "r", "one", 1);
    assert_eq!(cluster.home_of("r"), Some(0));
    // A room that nobody is connected to here, and one that is nobody's.
    let first = cluster.member(0, "other");
    let carol = cluster.member(1, "other");
    cluster.say(first, r#"{"type":"leave_room","room_id":"other"}"#);
    assert_eq!(cluster.home_of("other"), Some(0));
    cluster.drop_all();

    drain(&mut cluster, 0);
    let node = cluster.node(0);
    assert!(node.shards.iter().all(|it| it.is_quiet()));
    assert!(node.shards.iter().all(|it| it.rooms().0 == 0));
    cluster.pass(100);
    for room in ["r", "other"] {
        assert_eq!(cluster.home_of(room), Some(1), "{room}");
    }
    chat(&mut cluster, bob, "r", "two", 2);
    chat(&mut cluster, carol, "other", "three", 1);
    let heard = cluster.messages(bob);
    let two = chats(&heard);
    assert_eq!((two.len(), &*two[0].1), (1, "two"));
    assert!(heard.iter().all(|it| it["type"] != "player_left"));
    assert_eq!(chats(&cluster.messages(carol)).len(), 1);
    // Who was there comes back here, and has missed nothing.
    let ann = (1, cluster.node(1).connect());
    let hello = format!(r#"{{"resume_token":"{token}","positions":[{since}]}}"#);
    cluster.say(ann, &format!(r#"{{"type":"hello","payload":{hello}}}"#));
    cluster.pass(100);
    let got = cluster.messages(ann);
    let joined = got.iter().find(|it| it["type"] == "joined").unwrap();
    assert_eq!(joined["payload"]["recovered"], true, "{got:#?}");
    let missed = chats(&got);
    assert_eq!((missed.len(), missed.last()), (2, two.last()));
    assert_eq!(cluster.total(bob, "r"), 2);
}

/// So each has its next home before many others look for theirs.
#[test]
fn many_rooms_are_given_up_some_at_a_time() {
    let mut cluster = cluster(&[1, 1]);
    let rooms: Vec<_> = (0..100).map(|number| format!("r{number}")).collect();
    for room in &rooms {
        cluster.member(0, room);
    }
    let bob = cluster.member(1, &rooms[0]);
    cluster.drop_all();
    drain(&mut cluster, 0);
    let mut left = cluster.node(0).shards[0].rooms().0;
    assert!((50..100).contains(&left), "{left} rooms are left at once");
    while left > 0 {
        cluster.pass(10);
        let before = std::mem::replace(&mut left, cluster.node(0).shards[0].rooms().0);
        assert!((1..=50).contains(&(before - left)), "{before}, then {left}");
    }
    assert!(cluster.node(0).shards[0].is_quiet());
    cluster.pass(100);
    assert_eq!(cluster.home_of(&rooms[0]), Some(1));
    chat(&mut cluster, bob, &rooms[0], "one", 1);
    assert_eq!(chats(&cluster.messages(bob)).len(), 1);
}

/// It is read in the same turn as the word that the home is gone.
#[test]
fn what_a_member_says_while_its_room_moves_is_done_at_the_next_home() {
    let mut cluster = cluster(&[1, 2]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    assert_eq!(cluster.home_of("r"), Some(0));
    cluster.hold(0, 1);
    drain(&mut cluster, 0);
    assert!(!cluster.is_open(ann));
    let letters = cluster.take_on_the_way(0, 1);
    cluster.let_go(0, 1);
    cluster.drop_all();
    cluster.put_on_the_way(0, 1, letters);
    cluster.carry();
    let chat = r#"{"type":"chat","room_id":"r","payload":"one","seq":1}"#;
    cluster.node(1).send(bob.1, chat);
    cluster.pass(100);
    let got = cluster.messages(bob);
    assert_eq!(chats(&got).len(), 1, "{got:#?}");
    assert!(got.iter().all(|it| it["type"] != "error"), "{got:#?}");
}

/// The next home may take longer than the node that has ended is remembered.
#[test]
fn who_waits_for_the_next_home_stays_when_the_last_one_has_ended() {
    let mut cluster = cluster(&[1, 1]);
    cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    assert_eq!(cluster.home_of("r"), Some(0));
    let claims = |request: &Request| matches!(request, Request::Claim(_));
    cluster.late.set(Some((1, claims)));
    cluster.drop_all();
    drain(&mut cluster, 0);
    // What is said meanwhile waits for the next home too.
    chat(&mut cluster, bob, "r", "one", 1);
    cluster.kill(0);
    assert!(cluster.is_open(bob));
    cluster.late.set(None);
    cluster.pass(1_000);
    assert_eq!(cluster.home_of("r"), Some(1));
    let got = cluster.messages(bob);
    assert_eq!(chats(&got).len(), 1, "{got:#?}");
    assert!(got.iter().all(|it| it["type"] != "error"), "{got:#?}");
}

#[test]
fn a_node_that_ends_claims_no_room() {
    let mut cluster = cluster(&[1, 1]);
    let (ann, _) = cluster.connect(0);
    for shard in cluster.node(0).shards.iter_mut() {
        shard.claim_nothing();
    }
    cluster.say(ann, r#"{"type":"join_room","room_id":"r"}"#);
    assert_eq!(cluster.home_of("r"), None);
    assert_eq!(cluster.node(0).shards[0].connections(), 0, "it comes back");
    let bob = cluster.member(1, "r");
    chat(&mut cluster, bob, "r", "one", 1);
    assert_eq!(chats(&cluster.messages(bob)).len(), 1);
}

/// Nobody can say whether it was done. How long its client waits is up to the server: not for what it would wait after a
/// connection that broke.
#[test]
fn who_is_owed_an_answer_when_a_room_moves_is_asked_to_come_back_at_once() {
    let mut cluster = cluster(&[1, 1]);
    let ann = cluster.member(0, "r");
    let others: Vec<_> = (0..3).map(|_| cluster.member(1, "r")).collect();
    assert_eq!(cluster.home_of("r"), Some(0));
    cluster.hold(1, 0);
    for at in &others {
        chat(&mut cluster, *at, "r", "one", 1);
    }
    cluster.drop_all();
    drain(&mut cluster, 0);
    assert!(!cluster.is_open(ann));
    for at in others {
        let got = cluster.messages(at);
        let asked = got.iter().find(|it| it["type"] == "reconnect");
        let asked = asked.unwrap_or_else(|| panic!("{got:#?}"));
        assert!(asked["payload"]["delay_ms"].as_u64().unwrap_or(0) < 5);
        assert!(!cluster.is_open(at));
    }
}

/// Many are asked at a pace.
#[test]
fn those_who_are_asked_to_come_back_do_so_one_after_the_other() {
    let settings = Settings {
        ping_interval: 0,
        pong_timeout: 0,
        come_back_pace: 100,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&[1, 1], &settings, &[relay("default")]);
    cluster.member(0, "r");
    let others: Vec<_> = (0..5).map(|_| cluster.member(1, "r")).collect();
    cluster.hold(1, 0);
    for at in &others {
        chat(&mut cluster, *at, "r", "one", 1);
    }
    cluster.drop_all();
    drain(&mut cluster, 0);
    let delay = |got: Vec<Value>| {
        let asked = got.iter().find(|it| it["type"] == "reconnect").unwrap();
        asked["payload"]["delay_ms"].as_u64().unwrap_or(0)
    };
    let mut delays: Vec<_> = others
        .iter()
        .map(|at| delay(cluster.messages(*at)))
        .collect();
    delays.sort_unstable();
    assert_eq!(delays, [0, 10, 20, 30, 40]);
}

/// While it is among the living, it is the first by rank for all that it had.
#[test]
fn a_node_that_ends_is_not_asked_to_claim_what_it_gives_up() {
    let mut cluster = cluster(&[1, 1, 1]);
    cluster.rank_key = Some(77);
    cluster.tell_all();
    let rooms: Vec<_> = (0..12).map(|it| format!("room-{it}")).collect();
    let members: Vec<_> = rooms.iter().map(|room| cluster.member(0, room)).collect();
    let moved: Vec<_> = (rooms.iter().zip(&members))
        .filter(|(room, _)| cluster.home_of(room) == Some(2))
        .map(|(room, member)| (room.clone(), *member))
        .collect();
    assert!(moved.len() > 1, "{moved:?}");
    // It has ended before it could answer.
    cluster.hold(0, 2);
    cluster.drop_all();
    drain(&mut cluster, 2);
    for (room, member) in moved {
        assert!(matches!(cluster.home_of(&room), Some(0 | 1)), "{room}");
        assert!(cluster.is_open(member));
    }
}

/// The store may have given the room to the next home already, which has the record alone.
#[test]
fn nobody_hears_of_what_is_done_in_a_room_that_is_being_given_up() {
    let mut cluster = cluster(&[1, 1, 1, 1]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    let _carol = cluster.member(2, "r");
    let _dan = cluster.member(3, "r");
    cluster.say(ann, r#"{"type":"leave_room","room_id":"r"}"#);
    assert_eq!(cluster.home_of("r"), Some(0));
    // Of the last two one has no seat any more while the room is given up, and one loses its connection.
    cluster.kill(2);
    cluster.pass(20_000);
    let given_up = |request: &Request| matches!(request, Request::Release(_));
    cluster.late.set(Some((0, given_up)));
    cluster.drop_all();
    drain(&mut cluster, 0);
    assert_eq!(cluster.home_of("r"), None);
    cluster.messages(bob);
    cluster.kill(3);
    cluster.pass(15_000);
    assert_eq!(cluster.types(bob), [""; 0]);
    // What was done so is not done: the next home has them in the room, and counts on from the record.
    cluster.late.set(None);
    cluster.pass(100);
    assert_eq!(cluster.home_of("r"), Some(1));
    let ended = cluster.node(0).shards[0].stats();
    assert_eq!((ended.unconfirmed_bytes, ended.rooms_lost), (0, 0));
    chat(&mut cluster, bob, "r", "one", 1);
    let got = cluster.messages(bob);
    let joined = got.iter().find(|it| it["type"] == "joined").unwrap();
    assert_eq!(joined["payload"]["recovered"], true, "{got:#?}");
    assert_eq!(joined["payload"]["total"], 3, "{got:#?}");
    let offset = joined["payload"]["offset"].as_u64().unwrap();
    assert_eq!(chats(&got), [(offset + 1, "one".into())], "{got:#?}");
    cluster.pass(31_000);
    let got = cluster.messages(bob);
    let left = got.iter().filter(|it| it["type"] == "player_left");
    assert_eq!(left.count(), 2, "{got:#?}");
}
