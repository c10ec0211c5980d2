//! What waits for a store, or for a lease: how much, how long, and what is told to whom waits.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::bench::{STORE, bench, chat, home, node, set_cluster, settings, tap, types, view};
use common::{Client, Node, text};
use roomcast_core::Encoding;
use roomcast_core::node::{ClusterView, Own};
use roomcast_core::settings::Settings;
use roomcast_core::store::{Cause, Request, StoreError};
use roomcast_protocol::MessageType;

use crate::common::bench::BenchStore;

const EPHEMERAL: &str = r#"{"type":"event","room_id":"r","name":"e","ephemeral":true}"#;

fn join(node: &mut Node<BenchStore>, client: Client, room: &str) {
    node.say(
        client,
        &format!(r#"{{"type":"join_room","room_id":"{room}"}}"#),
    );
}

/// The same, with a lease that ends then.
fn until(micros: u64) -> ClusterView {
    let own = view(1).own.map(|own| Own {
        until: micros,
        ..own
    });
    ClusterView { own, ..view(1) }
}

#[test]
fn without_a_lease_nothing_is_asked_and_nothing_wakes() {
    let store = bench();
    let settings = Settings {
        patience: 60_000,
        session_grace: 600_000,
        ..settings()
    };
    let mut node = node(&store, 1, settings);
    let ann = node.member("r");
    set_cluster(
        &mut node,
        ClusterView {
            own: None,
            ..view(1)
        },
    );
    chat(&mut node, ann, "one", 1);
    join(&mut node, ann, "other");
    node.pass(100);
    let wake = node.shards[0].next_wake();
    let soon = node.now.micros + 1_000_000;
    assert!(wake.is_none_or(|at| at > soon), "{wake:?} is before {soon}");
    assert!(store.0.borrow().asked.is_empty());
    set_cluster(&mut node, view(1));
    assert_eq!(
        types(&node.messages(ann)),
        ["ack", "chat", "joined", "player_joined"]
    );
}

#[test]
fn a_home_whose_lease_has_ended_says_nothing_until_it_is_renewed() {
    let store = bench();
    let mut node = node(&store, 1, settings());
    let (ann, bob) = (node.member("r"), node.member("r"));
    let ends = node.now.micros + 500_000;
    set_cluster(&mut node, until(ends));
    node.say(ann, EPHEMERAL);
    for client in [ann, bob] {
        assert_eq!(types(&node.messages(client)), ["event"]);
    }
    // An append is under way while it ends: its answer comes, and is not told either.
    tap(&store, false);
    chat(&mut node, ann, "one", 1);
    node.pass(600);
    tap(&store, true);
    node.say(ann, EPHEMERAL);
    node.say(bob, r#"{"type":"members","room_id":"r"}"#);
    node.pass(300);
    assert_eq!(types(&node.messages(ann)), [""; 0]);
    assert_eq!(types(&node.messages(bob)), [""; 0]);
    let ends = node.now.micros + 500_000;
    set_cluster(&mut node, until(ends));
    assert_eq!(types(&node.messages(bob)), ["chat", "members", "event"]);
    assert_eq!(types(&node.messages(ann)), ["ack", "chat", "event"]);
}

#[test]
fn all_rooms_of_a_shard_hold_no_more_than_they_may_together() {
    const MOST: usize = 32 * 1024;
    let store = bench();
    let settings = Settings {
        unconfirmed: (1 << 20, MOST),
        patience: 60_000,
        ..settings()
    };
    let mut node = node(&store, 1, settings);
    let members: Vec<_> = (0..60)
        .map(|at| node.member(&format!("room{at}")))
        .collect();
    tap(&store, false);
    let payload = "x".repeat(4_000);
    for (at, member) in members.iter().enumerate() {
        let chat = format!(r#"{{"type":"chat","room_id":"room{at}","payload":"{payload}"}}"#);
        node.say(*member, &chat);
    }
    let held = node.shards[0].stats().unconfirmed_bytes;
    assert!((MOST..2 * MOST).contains(&held), "{held}");
    tap(&store, true);
    node.settle();
    for member in members {
        assert_eq!(types(&node.messages(member)), ["chat"]);
    }
    assert_eq!(node.shards[0].stats().unconfirmed_bytes, 0);
}

#[test]
fn a_claim_that_nobody_waits_for_leaves_no_home_behind() {
    let store = bench();
    let settings = Settings {
        patience: 500,
        ..settings()
    };
    let mut node = node(&store, 1, settings);
    let ann = node.connect();
    node.say(ann, r#"{"type":"hello"}"#);
    node.messages(ann);
    tap(&store, false);
    join(&mut node, ann, "r");
    node.pass(600);
    node.error(ann, "unavailable");
    assert_eq!(node.shards[0].rooms().0, 0);
    tap(&store, true);
    node.pass(100);
    let now = node.now.unix_ms as u64;
    let record = store.0.borrow().model.room(now, "r");
    assert!(record.is_none_or(|it| it.header.home.is_none()));
    join(&mut node, ann, "r");
    assert_eq!(types(&node.messages(ann))[0], "joined");
}

#[test]
fn sessions_that_come_back_again_and_again_wait_once() {
    let store = bench();
    let settings = Settings {
        unconfirmed: (1, 1 << 20),
        ..settings()
    };
    let mut node = node(&store, 1, settings);
    let mut ann = node.connect();
    node.say(ann, r#"{"type":"hello"}"#);
    let welcome = node.messages(ann).remove(0);
    let mut token = text(&welcome["payload"]["resume_token"]);
    join(&mut node, ann, "r");
    store.0.borrow_mut().rooms_only = true;
    tap(&store, false);
    chat(&mut node, ann, "one", 1);
    for _ in 0..300 {
        node.cut(ann);
        node.pass(10);
        ann = node.connect_to(0, Encoding::ALL[0]);
        let hello = format!(r#"{{"type":"hello","payload":{{"resume_token":"{token}"}}}}"#);
        node.say(ann, &hello);
        let welcome = node.messages(ann).remove(0);
        assert_eq!(welcome["type"], "welcome");
        token = text(&welcome["payload"]["resume_token"]);
    }
    tap(&store, true);
    node.pass(2_000);
    let got = types(&node.messages(ann));
    assert_eq!(got.iter().filter(|it| *it == "joined").count(), 1);
    let made = node.shards[0].stats().messages_out[0][MessageType::Joined as usize];
    assert!(made < 150, "{made} answers");
}

#[test]
fn a_store_that_refuses_for_good_is_said_and_asked_rarely() {
    let store = bench();
    let mut node = node(&store, 1, settings());
    let ann = node.connect();
    node.say(ann, r#"{"type":"hello"}"#);
    node.messages(ann);
    store.0.borrow_mut().refuses = Some(StoreError::Never(Cause::Rights));
    join(&mut node, ann, "r");
    node.error(ann, "unavailable");
    let notices = |node: &mut Node<BenchStore>| node.shards[0].host().notices.join(" ");
    assert!(notices(&mut node).contains("StoreRefuses"));
    // One that goes on is asked for again, but not all the time.
    store.0.borrow_mut().refuses = None;
    join(&mut node, ann, "r");
    node.messages(ann);
    store.0.borrow_mut().refuses = Some(StoreError::Never(Cause::Rights));
    let before = node.shards[0].stats().store_requests[1];
    chat(&mut node, ann, "one", 1);
    node.pass(4_000);
    assert_eq!(node.shards[0].stats().store_requests[1], before);
    store.0.borrow_mut().refuses = None;
    node.pass(10_000);
    assert_eq!(types(&node.messages(ann)), ["ack", "chat"]);
}

#[test]
fn who_was_refused_for_lack_of_patience_hears_first_that_it_has_left() {
    let store = bench();
    let settings = Settings {
        unconfirmed: (1, 1 << 20),
        patience: 500,
        ..settings()
    };
    let mut node = node(&store, 1, settings);
    let (ann, _bob) = (node.member("r"), node.member("r"));
    tap(&store, false);
    node.say(ann, r#"{"type":"leave_room","room_id":"r"}"#);
    join(&mut node, ann, "r");
    node.pass(700);
    assert!(types(&node.messages(ann)).is_empty());
    tap(&store, true);
    node.pass(1_000);
    let mut got = types(&node.messages(ann));
    got.sort();
    assert_eq!(got, ["error", "player_left"]);
    join(&mut node, ann, "r");
    assert_eq!(types(&node.messages(ann))[0], "joined");
}

#[test]
fn a_home_that_is_not_in_the_list_of_nodes_is_gone_once_that_was_asked_for_later() {
    let store = bench();
    let mut first = node(&store, 1, settings());
    first.member("r");
    let mut second = node(&store, 2, settings());
    second.now = first.now;
    let view = ClusterView {
        dead: Vec::new(),
        ..view(2)
    };
    set_cluster(&mut second, view.clone());
    let ann = second.connect();
    join(&mut second, ann, "r");
    second.pass(200);
    assert!(!types(&second.messages(ann)).contains(&"joined".to_owned()));
    let asked_at = second.now.micros;
    set_cluster(&mut second, ClusterView { asked_at, ..view });
    second.pass(1_200);
    assert!(types(&second.messages(ann)).contains(&"joined".to_owned()));
    let now = second.now.unix_ms as u64;
    let record = store.0.borrow().model.room(now, "r").unwrap();
    assert_eq!(
        (record.header.home, record.header.store),
        (Some(home(2)), STORE)
    );
    let claims = |it: &&(_, Request)| matches!(it.1, Request::Claim(_));
    assert_eq!(store.0.borrow().asked.iter().filter(claims).count(), 0);
}

#[test]
fn a_second_leave_is_answered_behind_the_first() {
    let store = bench();
    let mut node = node(&store, 1, settings());
    let _bob = node.member("r");
    let ann = node.connect();
    node.say(ann, r#"{"type":"hello"}"#);
    node.messages(ann);
    tap(&store, false);
    for message in ["join_room", "leave_room", "leave_room"] {
        node.say(ann, &format!(r#"{{"type":"{message}","room_id":"r"}}"#));
    }
    assert_eq!(types(&node.messages(ann)), [""; 0]);
    tap(&store, true);
    node.settle();
    let got = types(&node.messages(ann));
    let got: Vec<_> = got.iter().filter(|it| *it != "player_joined").collect();
    assert_eq!(got, ["joined", "player_left", "error"]);
}

/// Two in the room, at whose gate nothing passes any more, and what the second one shows to come back.
fn shut() -> (BenchStore, Node<BenchStore>, Client, Client, String) {
    let store = bench();
    let settings = Settings {
        unconfirmed: (1, 1 << 20),
        patience: 500,
        ..settings()
    };
    let mut node = node(&store, 1, settings);
    let bob = node.member("r");
    let ann = node.connect();
    node.say(ann, r#"{"type":"hello"}"#);
    let welcome = node.messages(ann).remove(0);
    join(&mut node, ann, "r");
    store.0.borrow_mut().rooms_only = true;
    tap(&store, false);
    chat(&mut node, bob, "one", 1);
    for client in [ann, bob] {
        node.messages(client);
    }
    let token = text(&welcome["payload"]["resume_token"]);
    (store, node, ann, bob, token)
}

/// How many are in the room, once the store has confirmed all.
fn total(store: &BenchStore, node: &mut Node<BenchStore>, of: Client) -> u64 {
    tap(store, true);
    node.pass(2_000);
    node.messages(of);
    node.say(of, r#"{"type":"members","room_id":"r"}"#);
    let got = node.messages(of);
    got[0]["payload"]["total"].as_u64().unwrap()
}

#[test]
fn who_comes_back_has_left_though_a_join_in_between_was_refused() {
    let (store, mut node, ann, bob, token) = shut();
    node.cut(ann);
    let ann = node.connect_to(0, Encoding::ALL[0]);
    let hello = format!(r#"{{"type":"hello","payload":{{"resume_token":"{token}"}}}}"#);
    node.say(ann, &hello);
    assert_eq!(types(&node.messages(ann)), ["welcome"]);
    join(&mut node, ann, "r");
    node.say(ann, r#"{"type":"leave_room","room_id":"r"}"#);
    node.pass(700);
    let got = node.messages(ann);
    assert_eq!(types(&got), ["error"]);
    assert_eq!(got[0]["payload"]["request"], "join_room");
    assert_eq!(total(&store, &mut node, bob), 1);
    let got = types(&node.messages(ann));
    assert_eq!(got.last().unwrap(), "player_left", "{got:?}");
}

#[test]
fn who_joins_again_has_left_though_its_first_join_was_refused() {
    let (store, mut node, ann, bob, _) = shut();
    let carol = node.connect();
    join(&mut node, carol, "r");
    node.pass(400);
    join(&mut node, carol, "r");
    node.say(carol, r#"{"type":"leave_room","room_id":"r"}"#);
    node.pass(200);
    assert_eq!(types(&node.messages(carol)), ["error"]);
    assert_eq!(total(&store, &mut node, bob), 2);
    let got = types(&node.messages(carol));
    assert_eq!(got.last().unwrap(), "player_left", "{got:?}");
    assert!(node.sockets[ann].open);
}
