//! Several nodes at one store: a room has one home, and connections of all nodes are in it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::{relay, text};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::{Answer, End, NodeId, Request};
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

/// How many events a message's `joined` says that follow, and whether nothing is missing.
#[test]
fn frames_go_on_at_the_next_home() {
    let mut cluster = cluster(&[1, 1, 1]);
    let ann = cluster.member(0, "arena:1");
    let bob = cluster.member(2, "arena:1");
    let frames = |cluster: &mut Cluster| -> Vec<i64> {
        let got = cluster.messages(bob);
        let syncs = got.iter().filter(|it| it["type"] == "sync");
        syncs
            .map(|it| it["payload"]["frame_num"].as_i64().unwrap())
            .collect()
    };
    for x in 1..20 {
        let action = format!(
            r#"{{"type":"game_action","room_id":"arena:1","payload":{{"action":"move","position":{{"x":{x}}}}}}}"#
        );
        cluster.say(ann, &action);
        cluster.pass(60);
    }
    let before = frames(&mut cluster);
    assert!(before.len() > 10 && before.is_sorted(), "{before:?}");
    assert_eq!(cluster.home_of("arena:1"), Some(0));
    cluster.kill(0);
    cluster.pass(2_000);
    let after = frames(&mut cluster);
    assert!(!after.is_empty() && after.is_sorted(), "{after:?}");
    assert!(
        before.last() < after.first(),
        "{before:?} and then {after:?}"
    );
}

fn joined(messages: &[Value]) -> &Value {
    let joined = messages.iter().find(|it| it["type"] == "joined");
    &joined.unwrap_or_else(|| panic!("{messages:#?}"))["payload"]
}

#[test]
fn the_home_dies_and_who_is_owed_nothing_goes_on_elsewhere() {
    let mut cluster = cluster(&[1, 2, 1]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    let cid = cluster.member(2, "r");
    chat(&mut cluster, bob, "r", "one", 1);
    cluster.drop_all();
    // It is in the store, and does not come to node 1.
    cluster.hold(0, 1);
    chat(&mut cluster, ann, "r", "two", 1);
    assert_eq!(payloads(&cluster.messages(cid)), ["two"]);
    assert!(cluster.messages(bob).is_empty());
    cluster.kill(0);
    cluster.pass(2_000);
    assert!(cluster.is_open(bob) && cluster.is_open(cid));
    for (at, missed) in [(bob, vec!["two"]), (cid, vec![])] {
        let got = cluster.messages(at);
        assert_eq!(joined(&got)["recovered"], true);
        assert_eq!(joined(&got)["repeats_possible"], false);
        assert_eq!(payloads(&got), missed, "{got:#?}");
    }
    let home = cluster.home_of("r").unwrap();
    assert!(home == 1 || home == 2);
    cluster.drop_all();
    chat(&mut cluster, bob, "r", "three", 2);
    chat(&mut cluster, cid, "r", "four", 1);
    for at in [bob, cid] {
        let got = cluster.messages(at);
        assert_eq!(payloads(&got), ["three", "four"], "{got:#?}");
        assert!(cluster.is_open(at));
    }
    // The one whose node is dead has its grace, and no more.
    cluster.pass(31_000);
    assert_eq!(cluster.types(bob), ["player_left"]);
    let total = cluster.total(bob, "r");
    assert_eq!(total, 2);
}

#[test]
fn the_home_dies_and_who_waits_for_an_answer_comes_back() {
    let mut cluster = cluster(&[1, 2, 1]);
    let ann = cluster.member(0, "r");
    let (bob, token) = cluster.connect(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    let num = joined(&cluster.messages(bob))["player_num"].clone();
    cluster.hold(0, 1);
    chat(&mut cluster, bob, "r", "one", 1);
    assert_eq!(payloads(&cluster.messages(ann)), ["one"], "it is done");
    cluster.kill(0);
    assert!(!cluster.is_open(bob), "what became of it?");
    let bob = cluster.come_back(2, &token, "r");
    let got = cluster.messages(bob);
    assert_eq!(joined(&got)["player_num"], num);
    cluster.drop_all();
    chat(&mut cluster, bob, "r", "one", 1);
    chat(&mut cluster, bob, "r", "two", 2);
    let got = cluster.messages(bob);
    assert_eq!(payloads(&got), ["two"], "{got:#?}");
    assert_eq!(got.iter().filter(|it| it["type"] == "ack").count(), 2);
}

#[test]
fn a_join_on_its_way_to_a_home_that_dies_is_asked_again() {
    let mut cluster = cluster(&[1, 1]);
    cluster.member(0, "r");
    let (bob, token) = cluster.connect(1);
    cluster.hold(1, 0);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    cluster.kill(0);
    assert!(!cluster.is_open(bob));
    let bob = cluster.come_back(1, &token, "other");
    cluster.drop_all();
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    cluster.pass(1_000);
    assert_eq!(
        joined(&cluster.messages(bob))["members"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn who_asks_of_a_room_that_refused_its_join_comes_back_where_its_home_dies() {
    let mut cluster = cluster(&[1, 1]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    for at in [bob, ann] {
        cluster.say(at, r#"{"type":"leave_room","room_id":"r"}"#);
    }
    cluster.drop_all();
    // It has to be claimed anew where it was.
    cluster.unanswered.set(usize::MAX);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    cluster.pass(1_500);
    cluster.say(bob, r#"{"type":"history","room_id":"r","request_id":7}"#);
    cluster.pass(1_000);
    let got = cluster.messages(bob);
    assert_eq!(got.len(), 1, "{got:#?}");
    assert_eq!(got[0]["payload"]["code"], "unavailable");
    assert!(cluster.is_open(bob));
    cluster.kill(0);
    assert!(!cluster.is_open(bob), "nobody answers the other request");
}

#[test]
fn the_node_of_a_connection_dies_and_its_seat_waits_for_the_grace() {
    let mut cluster = cluster(&[1, 1, 2]);
    let ann = cluster.member(0, "r");
    let (bob, token) = cluster.connect(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    let num = joined(&cluster.messages(bob))["player_num"].clone();
    let cid = cluster.member(1, "r");
    cluster.drop_all();
    let _ = cid;
    cluster.kill(1);
    let got = cluster.messages(ann);
    assert_eq!(got.len(), 2, "{got:#?}");
    for told in &got {
        assert_eq!(told["type"], "presence");
        assert_eq!(told["payload"]["connected"], false);
    }
    cluster.pass(10_000);
    let bob = cluster.come_back(2, &token, "r");
    assert_eq!(joined(&cluster.messages(bob))["player_num"], num);
    assert_eq!(cluster.types(ann), ["presence"]);
    chat(&mut cluster, bob, "r", "here", 1);
    assert_eq!(payloads(&cluster.messages(ann)), ["here"]);
    cluster.pass(25_000);
    assert_eq!(cluster.types(ann), ["player_left"], "the other one");
    assert_eq!(cluster.total(ann, "r"), 2);
    // Nothing waits for the dead node.
    assert_eq!(cluster.node(0).shards[0].link_bytes(), 0);
}

#[test]
fn clients_of_a_node_that_is_cut_off_come_back_elsewhere_and_were_never_seen_to_leave() {
    let mut cluster = cluster(&[1, 2, 1]);
    let ann = cluster.member(0, "r");
    let (bob, token) = cluster.connect(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    let num = joined(&cluster.messages(bob))["player_num"].clone();
    let dan = cluster.member(1, "r");
    cluster.drop_all();
    cluster.cut_off(1);
    cluster.pass(12_000);
    assert!(cluster.is_open(bob), "its connection is as it was");
    let node = cluster.node(1);
    let now = node.now;
    node.shards.iter_mut().for_each(|it| it.send_away(now));
    let told = cluster.messages(bob);
    let told = told.last().expect("it is told");
    assert_eq!(told["type"], "reconnect");
    assert!(told["payload"]["delay_ms"].as_u64().unwrap_or(0) < 15_000);
    assert!(!cluster.is_open(bob) && !cluster.is_open(dan));
    let bob = cluster.come_back(2, &token, "r");
    assert_eq!(joined(&cluster.messages(bob))["player_num"], num);
    cluster.pass(31_000);
    let seen = cluster.types(ann);
    let left = seen.iter().filter(|it| *it == "player_left");
    assert_eq!(left.count(), 1, "the one who did not come back: {seen:?}");
    chat(&mut cluster, bob, "r", "here", 1);
    assert_eq!(payloads(&cluster.messages(ann)), ["here"]);
    assert_eq!(cluster.total(ann, "r"), 2);
}

#[test]
fn a_link_is_lost_and_both_live() {
    let mut cluster = cluster(&[1, 2]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    cluster.hold(0, 1);
    chat(&mut cluster, ann, "r", "one", 1);
    cluster.drop_all();
    cluster.lose_link(0, 1);
    cluster.let_go(0, 1);
    cluster.pass(2_000);
    assert_eq!(cluster.home_of("r"), Some(0), "it is where it was");
    let got = cluster.messages(bob);
    assert_eq!(joined(&got)["recovered"], true);
    assert_eq!(payloads(&got), ["one"], "{got:#?}");
    assert_eq!(
        cluster.types(ann),
        ["presence", "presence"],
        "gone, and back"
    );
    chat(&mut cluster, bob, "r", "two", 1);
    assert_eq!(payloads(&cluster.messages(ann)), ["two"]);
    assert!(cluster.is_open(bob));
}

#[test]
fn a_home_that_is_none_any_more_says_so_and_its_members_go_on() {
    let mut cluster = cluster(&[2, 2, 2]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    let dan = cluster.member(1, "r");
    chat(&mut cluster, bob, "r", "one", 1);
    cluster.drop_all();
    // Behind the home's back another one takes the room.
    cluster.steal("r", 0, 2);
    let event = r#"{"type":"chat","room_id":"r","payload":"lost","seq":1}"#;
    cluster.say(dan, event);
    cluster.pass(2_000);
    assert!(!cluster.is_open(dan), "it waits for an answer");
    for at in [ann, bob] {
        assert!(cluster.is_open(at));
        let got = cluster.messages(at);
        assert_eq!(joined(&got)["recovered"], true);
        assert!(payloads(&got).is_empty(), "{got:#?}");
    }
    assert_eq!(cluster.home_of("r"), Some(2));
    assert_eq!(rooms(&mut cluster, 0).0 + rooms(&mut cluster, 1).0, 0);
    chat(&mut cluster, ann, "r", "two", 1);
    chat(&mut cluster, bob, "r", "three", 2);
    for at in [ann, bob] {
        assert_eq!(payloads(&cluster.messages(at)), ["two", "three"]);
    }
}

#[test]
fn what_another_node_says_of_a_room_is_not_believed() {
    let mut cluster = cluster(&[1, 1, 1]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    cluster.hold(0, 1);
    chat(&mut cluster, ann, "r", "one", 1);
    let late = cluster.take_on_the_way(0, 1);
    assert!(!late.is_empty());
    cluster.bring(2, 1, &late);
    assert!(
        cluster.messages(bob).is_empty(),
        "it is not the room's home"
    );
    cluster.bring(0, 1, &late);
    assert_eq!(payloads(&cluster.messages(bob)), ["one"]);
}

#[test]
fn operations_keep_their_order_though_they_pass_another_shard() {
    let mut cluster = cluster(&[1, 4]);
    let rooms = ["a", "b", "c", "d", "e", "f"];
    let ann: Vec<_> = rooms.iter().map(|room| cluster.member(0, room)).collect();
    let (bob, _) = cluster.connect(1);
    for room in rooms {
        cluster.say(
            bob,
            &format!(r#"{{"type":"join_room","room_id":"{room}"}}"#),
        );
    }
    cluster.drop_all();
    for n in 1..=20 {
        for room in rooms {
            let chat = format!(r#"{{"type":"chat","room_id":"{room}","payload":"{n}","seq":{n}}}"#);
            cluster.node(1).send(bob.1, &chat);
        }
        if n % 3 == 0 {
            cluster.node(1).turn();
        }
    }
    cluster.settle();
    let all: Vec<_> = (1..=20).map(|n| n.to_string()).collect();
    for at in ann {
        assert_eq!(payloads(&cluster.messages(at)), all);
    }
}

#[test]
fn a_number_of_another_home_reaches_no_other_room() {
    let mut cluster = cluster(&[1, 1, 1]);
    // Both are the first room of their home.
    let ann = cluster.member(0, "r");
    let cid = cluster.member(1, "q");
    let (bob, _) = cluster.connect(2);
    for room in ["r", "q"] {
        cluster.say(
            bob,
            &format!(r#"{{"type":"join_room","room_id":"{room}"}}"#),
        );
    }
    cluster.drop_all();
    let _ = ann;
    // The other home takes the first one's room, and is asked with the number that the first one gave.
    cluster.steal("r", 0, 1);
    cluster.say(ann, r#"{"type":"chat","room_id":"r","payload":"lost"}"#);
    cluster.say(
        bob,
        r#"{"type":"chat","room_id":"r","payload":"to r","seq":1}"#,
    );
    cluster.pass(2_000);
    cluster.say(
        bob,
        r#"{"type":"chat","room_id":"r","payload":"to r","seq":1}"#,
    );
    assert_eq!(cluster.home_of("r"), Some(1));
    let got = cluster.messages(cid);
    assert!(got.is_empty(), "{got:#?}");
}

#[test]
fn nodes_keep_nothing_of_rooms_that_nobody_uses() {
    let mut cluster = cluster(&[2, 2]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    let cid = cluster.member(1, "r");
    cluster.node(1).cut(cid.1);
    cluster.say(bob, r#"{"type":"leave_room","room_id":"r"}"#);
    cluster.pass(40_000);
    assert_eq!(cluster.total(ann, "r"), 1);
    cluster.say(ann, r#"{"type":"leave_room","room_id":"r"}"#);
    cluster.pass(100);
    for node in 0..2 {
        assert_eq!(rooms(&mut cluster, node), (0, 0));
        let shards = cluster.node(node).shards.iter();
        assert_eq!(shards.map(|it| it.link_bytes()).sum::<usize>(), 0);
    }
    assert_eq!(cluster.home_of("r"), None, "it was released");
    // The other node still sends to where it was, and it is at home there again.
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    joined(&cluster.messages(bob));
    assert_eq!(cluster.home_of("r"), Some(0));
    // Later it has forgotten that.
    cluster.say(bob, r#"{"type":"leave_room","room_id":"r"}"#);
    cluster.pass(200_000);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    assert_eq!(cluster.home_of("r"), Some(1));
}

#[test]
fn a_late_resume_of_a_node_that_has_lost_the_session_takes_no_seat() {
    let mut cluster = cluster(&[1, 1, 1]);
    let ann = cluster.member(0, "r");
    let (bob, token) = cluster.connect(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    // The room's home moves while its node says nothing: the edge's resume is on its way.
    cluster.hold(1, 0);
    cluster.lose_link(0, 1);
    cluster.settle();
    assert!(cluster.is_open(bob));
    let bob = cluster.come_back(2, &token, "r");
    cluster.drop_all();
    cluster.let_go(1, 0);
    cluster.pass(100);
    chat(&mut cluster, bob, "r", "here", 1);
    let got = cluster.messages(bob);
    assert_eq!(payloads(&got), ["here"], "{got:#?}");
    assert_eq!(payloads(&cluster.messages(ann)), ["here"]);
}

/// The store has nothing of a client's session any more.
fn forget_session(cluster: &mut Cluster, (node, _): At) {
    let now = cluster.node(node).now.unix_ms as u64;
    let mut model = cluster.model.borrow_mut();
    let home = NodeId(node as u64 + 1);
    let sessions = model.sessions(now).filter(|(_, it)| it.node == home);
    let ends: Vec<_> = sessions
        .map(|(client, record)| End {
            client,
            turn: record.turn,
            node: record.node,
            known: None,
            store: None,
        })
        .collect();
    for end in ends {
        assert_eq!(model.apply(now, &Request::End(end)), Ok(Answer::Turn(true)));
    }
}

#[test]
fn who_has_lost_its_seat_while_its_node_asked_comes_back() {
    let mut cluster = cluster(&[1, 1, 1]);
    cluster.member(1, "r");
    let bob = cluster.member(0, "r");
    let ann = cluster.member(2, "r");
    // Her node asks at the room's next home whether she is in it, and that takes longer than the grace. The store has lost
    // her session meanwhile.
    cluster.hold(2, 0);
    cluster.kill(1);
    forget_session(&mut cluster, ann);
    cluster.pass(31_000);
    assert_eq!(cluster.home_of("r"), Some(0));
    assert_eq!(cluster.total(bob, "r"), 1);
    assert!(cluster.is_open(ann));
    cluster.let_go(2, 0);
    cluster.pass(100);
    assert!(!cluster.is_open(ann));
}

#[test]
fn a_connection_whose_session_is_elsewhere_hears_it_from_its_rooms() {
    let mut cluster = cluster(&[1, 1, 1]);
    cluster.member(0, "r");
    let (bob, token) = cluster.connect(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    // His node does not hear it from the one that has the session.
    cluster.hold(2, 1);
    let there = cluster.come_back(2, &token, "r");
    assert!(cluster.is_open(there));
    assert!(!cluster.is_open(bob));
}

#[test]
fn a_session_that_is_taken_while_its_inbox_is_read_is_not_begun_anew() {
    let mut cluster = cluster(&[1, 1]);
    let (bob, token) = cluster.connect(0);
    cluster.node(0).cut(bob.1);
    cluster.unread.set(true);
    let late = cluster.come_back(0, &token, "r");
    let here = cluster.come_back(1, &token, "r");
    cluster.unread.set(false);
    cluster.pass(1_000);
    let got = [late, here].map(|at| cluster.messages(at));
    let mut welcomes = got.iter().flatten().filter(|it| it["type"] == "welcome");
    assert!(
        welcomes.all(|it| it["payload"]["resumed"] == true),
        "{got:#?}"
    );
    let open = [late, here].map(|at| cluster.is_open(at));
    assert_eq!(open.iter().filter(|it| **it).count(), 1);
}
