//! When the rooms of a shard write to a store: at once where there is little to write, together where there is much.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::bench::{BenchStore, bench, node as node_of, settings, tap, types};
use common::{Client, Node};
use roomcast_core::settings::{GatherSettings, Settings};

const LONGEST: u64 = 20_000;

/// Any traffic is much, and any answer takes long.
fn busy() -> Settings {
    Settings {
        gather: GatherSettings {
            longest: LONGEST,
            busy: 1,
            counts_own: true,
            events: 1_000_000,
            slack: 0,
            times: 1_000,
        },
        ..settings()
    }
}

fn wait(node: &mut Node<BenchStore>, micros: u64) {
    node.now.micros += micros;
    node.settle();
}

fn chat(node: &mut Node<BenchStore>, client: Client, room: usize, text: &str) {
    node.say(
        client,
        &format!(r#"{{"type":"chat","room_id":"room{room}","payload":"{text}"}}"#),
    );
}

fn appends(store: &BenchStore) -> usize {
    store.0.borrow().appends
}

/// A member of each of so many rooms, at a store whose last answer took 8 ms.
fn slow(store: &BenchStore, settings: Settings, rooms: usize) -> (Node<BenchStore>, Vec<Client>) {
    let mut node = node_of(store, 1, settings);
    let members: Vec<_> = (0..rooms)
        .map(|at| node.member(&format!("room{at}")))
        .collect();
    tap(store, false);
    chat(&mut node, members[0], 0, "x");
    wait(&mut node, 8_000);
    tap(store, true);
    wait(&mut node, LONGEST);
    assert_eq!(types(&node.messages(members[0])), ["chat"]);
    (node, members)
}

#[test]
fn rooms_that_write_much_write_together() {
    let store = bench();
    let (mut node, members) = slow(&store, busy(), 4);
    // After a while without messages nobody waits.
    let before = appends(&store);
    chat(&mut node, members[0], 0, "x");
    assert_eq!(types(&node.messages(members[0])), ["chat"]);
    let until = node.now.micros + LONGEST;
    for _ in 0..3 {
        for (room, member) in members.iter().enumerate() {
            wait(&mut node, 1_000);
            chat(&mut node, *member, room, "x");
        }
    }
    assert_eq!(appends(&store), before + 1, "they wait");
    assert_eq!(node.shards[0].next_wake(), Some(until));
    let left = until - node.now.micros;
    wait(&mut node, left - 1);
    assert_eq!(appends(&store), before + 1);
    wait(&mut node, 1);
    assert_eq!(
        appends(&store),
        before + 1 + members.len(),
        "one append each"
    );
    for member in members {
        assert_eq!(types(&node.messages(member)), ["chat", "chat", "chat"]);
    }
}

#[test]
fn where_little_is_written_or_the_store_answers_soon_nobody_waits() {
    let store = bench();
    // Slow answers alone.
    let (mut node, members) = slow(&store, settings(), 1);
    for _ in 0..20 {
        wait(&mut node, 5_000);
        chat(&mut node, members[0], 0, "x");
        assert_eq!(types(&node.messages(members[0])), ["chat"]);
    }
    // Much to write alone.
    let store = bench();
    let mut node = node_of(&store, 1, busy());
    let ann = node.member("room0");
    for _ in 0..20 {
        wait(&mut node, 100);
        chat(&mut node, ann, 0, "x");
        assert_eq!(types(&node.messages(ann)), ["chat"]);
    }
}

#[test]
fn a_store_that_does_not_answer_is_known_to_be_slow() {
    let store = bench();
    let mut node = node_of(&store, 1, busy());
    let (ann, bob) = (node.member("room0"), node.member("room1"));
    tap(&store, false);
    chat(&mut node, ann, 0, "x");
    wait(&mut node, 8_000);
    // The first one has no answer yet.
    chat(&mut node, bob, 1, "x");
    tap(&store, true);
    node.settle();
    node.messages(ann);
    node.messages(bob);
    let before = appends(&store);
    chat(&mut node, ann, 0, "x");
    assert_eq!(appends(&store), before);
    wait(&mut node, LONGEST);
    assert_eq!(types(&node.messages(ann)), ["chat"]);
}

#[test]
fn who_can_take_no_more_writes_at_once() {
    // Of a room's bytes, and of a shard's, half.
    for unconfirmed in [(4_000, 1 << 20), (1 << 20, 4_000)] {
        let store = bench();
        let settings = Settings {
            unconfirmed,
            ..busy()
        };
        let (mut node, members) = slow(&store, settings, 2);
        chat(&mut node, members[0], 0, "x");
        assert_eq!(types(&node.messages(members[0])), ["chat"]);
        let before = appends(&store);
        chat(&mut node, members[1], 1, "x");
        assert_eq!(appends(&store), before);
        chat(&mut node, members[1], 1, &"y".repeat(2_500));
        assert_eq!(appends(&store), before + 1, "{unconfirmed:?}");
        // That moved nobody's time.
        chat(&mut node, members[0], 0, "x");
        wait(&mut node, LONGEST);
        assert_eq!(types(&node.messages(members[0])), ["chat"]);
    }
    // One sender, who can't do much more before an answer.
    let store = bench();
    let (mut node, members) = slow(&store, busy(), 1);
    for seq in 1..=9 {
        let chat = format!(r#"{{"type":"chat","room_id":"room0","payload":"x","seq":{seq}}}"#);
        node.say(members[0], &chat);
    }
    let got = types(&node.messages(members[0]));
    assert_eq!(got.iter().filter(|it| *it == "chat").count(), 9);
}

#[test]
fn what_waits_is_written_before_the_node_ends() {
    let store = bench();
    let (mut node, members) = slow(&store, busy(), 2);
    chat(&mut node, members[0], 0, "x");
    chat(&mut node, members[1], 1, "x");
    let before = appends(&store);
    node.shards[0].claim_nothing();
    node.shards[0].give_up_rooms();
    node.settle();
    assert_eq!(appends(&store), before);
    assert!(!node.shards[0].is_quiet());
    wait(&mut node, LONGEST);
    assert!(appends(&store) > before);
    let now = node.now.unix_ms as u64;
    let record = store.0.borrow().model.room(now, "room1").unwrap();
    assert_eq!(record.header.home, None);
    assert_eq!(record.header.offset, 2, "the join, and what was said");
}
