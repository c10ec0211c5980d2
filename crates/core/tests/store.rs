//! A home with a store: what a room says waits for the append that has what was done before it; rooms outlive their node.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::bench::{STORE, bench, chat, home, node, settings, tap, types};
use common::text;
use roomcast_core::settings::Settings;
use roomcast_core::store::{Claim, Request};

#[test]
fn all_that_a_room_says_waits_for_the_append_in_its_order() {
    let store = bench();
    let mut node = node(&store, 1, settings());
    let (ann, bob) = (node.member("r"), node.member("r"));
    tap(&store, false);
    chat(&mut node, ann, "one", 1);
    node.say(bob, r#"{"type":"history","room_id":"r","request_id":5}"#);
    node.say(
        ann,
        r#"{"type":"event","room_id":"r","name":"e","ephemeral":true}"#,
    );
    chat(&mut node, ann, "two", 2);
    node.pass(5_000);
    assert!(types(&node.messages(ann)).is_empty() && types(&node.messages(bob)).is_empty());
    let before = store.0.borrow().appends;
    tap(&store, true);
    node.settle();
    let got = node.messages(bob);
    assert_eq!(
        types(&got),
        ["chat", "history", "event", "chat"],
        "{got:#?}"
    );
    let events = got[1]["payload"]["events"].as_array().unwrap();
    assert_eq!(events[0]["payload"], "one", "what came before it");
    assert_eq!(
        types(&node.messages(ann)),
        ["ack", "chat", "event", "ack", "chat"]
    );
    assert_eq!(
        store.0.borrow().appends,
        before + 2,
        "what came meanwhile goes with the next"
    );
    // Where nothing is unconfirmed, nothing is written and nothing waits.
    tap(&store, false);
    node.say(
        ann,
        r#"{"type":"event","room_id":"r","name":"e","ephemeral":true}"#,
    );
    assert_eq!(types(&node.messages(bob)), ["event"]);
    assert_eq!(store.0.borrow().asked.len(), 0);
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_nothing_is_done_twice() {
    let store = bench();
    let mut node = node(&store, 1, settings());
    let (ann, bob) = (node.member("r"), node.member("r"));
    store.0.borrow_mut().loses = 3;
    chat(&mut node, ann, "one", 1);
    assert_eq!(types(&node.messages(bob)).len(), 0);
    node.pass(3_000);
    assert_eq!(types(&node.messages(bob)), ["chat"]);
    assert_eq!(types(&node.messages(ann)), ["ack", "chat"]);
    assert_eq!(node.shards[0].stats().store_requests[1], 3);
}

#[test]
fn a_room_outlives_its_node_with_its_members_senders_and_log() {
    let store = bench();
    let mut first = node(&store, 1, settings());
    let ann = first.connect();
    first.say(ann, r#"{"type":"hello"}"#);
    let hello = first.messages(ann).remove(0);
    let token = text(&hello["payload"]["resume_token"]);
    first.say(ann, r#"{"type":"join_room","room_id":"r"}"#);
    let joined = first.messages(ann).remove(0);
    let bob = first.member("r");
    chat(&mut first, ann, "one", 1);
    let now = first.now;
    first.messages(ann);
    let _ = bob;
    // The process is killed, and another one begins.
    let mut second = node(&store, 2, settings());
    second.now = now;
    let ann = second.connect();
    let epoch = &joined["payload"]["epoch"];
    let since = format!(r#"{{"epoch":{epoch},"offset":1}}"#);
    let position = format!(r#"{{"room_id":"r","since":{since},"first_seq":1}}"#);
    second.say(
        ann,
        &format!(
            r#"{{"type":"hello","payload":{{"resume_token":"{token}","positions":[{position}]}}}}"#
        ),
    );
    second.pass(500);
    let got = second.messages(ann);
    let again = got.iter().find(|it| it["type"] == "joined").unwrap();
    assert_eq!(again["payload"]["epoch"], *epoch);
    assert_eq!(again["payload"]["recovered"], true);
    assert_eq!(
        again["payload"]["player_num"], joined["payload"]["player_num"],
        "its seat was kept"
    );
    assert_eq!(again["payload"]["members"].as_array().unwrap().len(), 2);
    let told = got.iter().filter(|it| it["type"] == "chat").count();
    assert_eq!(told, 1, "{got:#?}");
    // Sent again, it was done before.
    chat(&mut second, ann, "one", 1);
    chat(&mut second, ann, "two", 2);
    let got = second.messages(ann);
    assert_eq!(types(&got), ["ack", "ack", "chat"], "{got:#?}");
    // Whoever does not come back leaves when the grace is over.
    second.pass(40_000);
    let got = second.messages(ann);
    assert!(types(&got).contains(&"player_left".to_owned()), "{got:#?}");
}

#[test]
fn what_waits_for_longer_than_the_patience_is_refused_and_not_done() {
    let store = bench();
    let settings = Settings {
        unconfirmed: (1, 1 << 20),
        patience: 500,
        ..settings()
    };
    let mut node = node(&store, 1, settings);
    let ann = node.member("r");
    tap(&store, false);
    chat(&mut node, ann, "one", 1);
    chat(&mut node, ann, "two", 2);
    let bob = node.connect();
    node.say(bob, r#"{"type":"join_room","room_id":"new"}"#);
    node.pass(400);
    assert!(types(&node.messages(ann)).is_empty() && types(&node.messages(bob)).is_empty());
    node.pass(200);
    let refused = node.error(ann, "unavailable");
    assert_eq!(
        refused["payload"]["seq"], 2,
        "the first one is done, and waits"
    );
    assert_eq!(
        node.error(bob, "unavailable")["payload"]["request"],
        "join_room"
    );
    tap(&store, true);
    node.pass(2_000);
    assert_eq!(types(&node.messages(ann)), ["ack", "chat"]);
    chat(&mut node, ann, "two", 2);
    assert_eq!(types(&node.messages(ann)), ["ack", "chat"]);
}

#[test]
fn as_many_numbered_messages_wait_as_have_answers_kept() {
    let store = bench();
    let settings = Settings {
        control_lane: 1 << 20,
        ..settings()
    };
    let mut node = node(&store, 1, settings);
    let ann = node.member("r");
    tap(&store, false);
    for seq in 1..=40 {
        chat(&mut node, ann, "x", seq);
    }
    tap(&store, true);
    node.settle();
    let got = node.messages(ann);
    let refused = got.iter().filter(|it| it["type"] == "error");
    let seqs: Vec<_> = refused
        .map(|it| it["payload"]["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, [33, 34, 35, 36, 37, 38, 39, 40]);
    assert_eq!(got.iter().filter(|it| it["type"] == "chat").count(), 32);
}

#[test]
fn an_empty_room_is_released_once_all_is_written_and_its_log_goes_on() {
    let store = bench();
    let mut node = node(&store, 1, settings());
    let ann = node.member("r");
    chat(&mut node, ann, "one", 1);
    node.say(ann, r#"{"type":"leave_room","room_id":"r"}"#);
    node.messages(ann);
    assert_eq!(node.shards[0].rooms().0, 0);
    assert_eq!(node.shards[0].stats().log_bytes, 0, "the store has it");
    let record = store
        .0
        .borrow()
        .model
        .room(node.now.unix_ms as u64, "r")
        .unwrap();
    assert!(record.header.home.is_none());
    node.say(ann, r#"{"type":"join_room","room_id":"r"}"#);
    node.say(ann, r#"{"type":"history","room_id":"r"}"#);
    let got = node.messages(ann);
    let history = got.iter().find(|it| it["type"] == "history").unwrap();
    assert!(history.to_string().contains("one"), "{got:#?}");
}

#[test]
fn a_room_that_has_another_home_says_nothing_more_and_who_waits_comes_back() {
    let store = bench();
    let settings = Settings {
        unconfirmed: (1, 1),
        ..settings()
    };
    let mut node = node(&store, 1, settings);
    let (ann, bob) = (node.member("r"), node.member("r"));
    let claim = Request::Claim(Claim {
        room: "r".into(),
        home: home(9),
        store: STORE,
        dead: Some(home(1)),
        settled: true,
        epoch: roomcast_core::log::Epoch::from_random(1),
        timestamp: 0,
        has: None,
        ends_after: 0,
        only_existing: false,
    });
    let now = node.now.unix_ms as u64;
    store.0.borrow_mut().model.apply(now, &claim).unwrap();
    tap(&store, false);
    chat(&mut node, ann, "one", 1);
    // It waits: the first is not confirmed.
    chat(&mut node, ann, "two", 2);
    tap(&store, true);
    node.pass(10);
    assert_eq!(types(&node.messages(ann)), ["reconnect"]);
    assert!(types(&node.messages(bob)).is_empty());
    assert!(!node.sockets[ann].open, "it comes back, and asks again");
    assert!(node.sockets[bob].open, "it is owed nothing, and goes on");
    assert_eq!(node.shards[0].stats().rooms_lost, 1);
}

#[test]
fn state_that_is_told_before_anything_was_told_of_it_is_told_once() {
    let store = bench();
    let lanes = Settings {
        event_lane: 1_000,
        unconfirmed: (1, 1),
        ..settings()
    };
    let mut first = node(&store, 1, lanes.clone());
    for _ in 0..5 {
        first.member("arena:1");
    }
    drop(first);
    let mut second = node(&store, 2, lanes);
    // The gate is shut when the newcomer is to be told: nothing was told of the room's state before.
    let client = second.connect();
    second.send(client, r#"{"type":"join_room","room_id":"arena:1"}"#);
    second.pass(100);
    let told = second.messages(client);
    let syncs = told.iter().filter(|it| it["type"] == "sync");
    let full = syncs.filter(|it| it["payload"]["full"] == true).count();
    assert_eq!(full, 1, "{told:#?}");
}

#[test]
fn an_event_has_one_time_where_the_next_homes_clock_is_behind() {
    let store = bench();
    let mut first = node(&store, 1, settings());
    let ann = first.member("r");
    chat(&mut first, ann, "one", 1);
    let ahead = first.now.unix_ms;
    drop(first);
    let mut second = node(&store, 2, settings());
    second.now.unix_ms = ahead - 5_000;
    let bob = second.connect();
    second.send(bob, r#"{"type":"join_room","room_id":"r"}"#);
    second.pass(100);
    chat(&mut second, bob, "two", 1);
    let told = second.messages(bob);
    let live = told.iter().find(|it| it["payload"] == "two").unwrap();
    assert!(live["timestamp"].as_i64().unwrap() >= ahead, "{live:#}");
    second.say(bob, r#"{"type":"history","room_id":"r"}"#);
    let told = second.messages(bob);
    let page = told.iter().find(|it| it["type"] == "history").unwrap();
    let mut events = page["payload"]["events"].as_array().unwrap().iter();
    let kept = events.find(|it| it["payload"] == "two").unwrap();
    assert_eq!(kept["timestamp"], live["timestamp"]);
}
