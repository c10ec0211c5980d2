//! Two nodes have a session at once, as neither could ask the store when it began, or a node has it and the store has it as
//! it was once: it is one session all the same.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/processes.rs"]
mod processes;

use common::{Client, Got, text};
use processes::{Process, Records, STORE, home, process, rooms_joined, types};
use roomcast_core::NodeNumber;
use roomcast_core::store::{SessionRecord, StoreId};
use roomcast_engine::model::Model;
use serde_json::{Value, json};

/// Processes 1 and 2 at a store that has nothing of a client: each has begun its session anew. That of 1 is not saved, and
/// its connection is gone. That of 2 has a room. And its token.
fn begun_twice() -> (Process, Process, Client, String) {
    let (_, token) = process(&Records::new(), 3).newcomer();
    let records = Records::new();
    let (mut one, mut two) = (process(&records, 1), process(&records, 2));
    one.tap.borrow_mut().saves_nothing = true;
    let early = one.greet(Some(&token));
    assert!(one.told(early).is_empty());
    one.node.cut(early);
    one.node.settle();
    let ann = two.greet(Some(&token));
    let welcome = two.welcome(ann);
    assert_eq!(welcome["resumed"], false);
    assert!(types(&two.join(ann, "a")).contains(&"joined".to_owned()));
    (one, two, ann, text(&welcome["resume_token"]))
}

#[test]
fn who_ends_a_session_that_it_never_had_ends_no_other() {
    let (mut one, mut two, ann, token) = begun_twice();
    one.node.pass(31_000);
    one.tap.borrow_mut().saves_nothing = false;
    one.node.settle();
    two.node.cut(ann);
    let ann = two.greet(Some(&token));
    assert_eq!(two.welcome(ann)["resumed"], true);
}

#[test]
fn who_began_a_session_that_another_node_has_is_told_nothing_of_it() {
    let (_, token) = process(&Records::new(), 3).newcomer();
    let records = Records::new();
    let (mut one, mut two) = (process(&records, 1), process(&records, 2));
    one.tap.borrow_mut().saves_nothing = true;
    let early = one.greet(Some(&token));
    one.node.pass(100);
    let ann = two.greet(Some(&token));
    assert_eq!(two.welcome(ann)["resumed"], false);
    one.tap.borrow_mut().saves_nothing = false;
    one.node.pass(1_000);
    let told = one.node.drain(early);
    assert!(matches!(told[..], [Got::Close(4000, _)]), "{told:?}");
}

#[test]
fn who_has_never_saved_a_session_does_not_take_another_for_it() {
    let (mut one, two, _, token) = begun_twice();
    drop(two);
    one.know(1, &[2]);
    let ann = one.greet(Some(&token));
    one.tap.borrow_mut().saves_nothing = false;
    one.node.pass(1_000);
    let told = one.told(ann);
    assert_eq!(told[0]["payload"]["resumed"], true, "{told:#?}");
    assert_eq!(rooms_joined(&told), ["a"], "{told:#?}");
}

/// Says goodbye.
fn leave(process: &mut Process, client: Client) {
    let (shard, conn) = {
        let socket = &process.node.sockets[client];
        (socket.shard, socket.conn)
    };
    let now = process.node.now;
    process.node.shards[shard].closed_by_peer(now, conn, 1000);
    process.node.settle();
}

/// A node that was cut off has a session with a high turn. It has ended meanwhile, and one of the same name has begun. The
/// node reaches the store of before, or another one that has all of it: there an older record would give way.
#[test]
fn a_session_that_has_ended_neither_replaces_nor_ends_the_next_of_its_name() {
    for (ends, store) in [(false, STORE), (true, STORE), (false, NEXT), (true, NEXT)] {
        let records = Records::new();
        let mut old = process(&records, 1);
        let (mut there, mut new) = (process(&records, 2), process(&records, 3));
        let (_, mut token) = old.newcomer();
        let mut ann = 0;
        for _ in 0..3 {
            for process in [&mut there, &mut old] {
                ann = process.greet(Some(&token));
                let welcome = process.welcome(ann);
                assert_eq!(welcome["resumed"], true);
                token = text(&welcome["resume_token"]);
            }
        }
        // It is to be saved, or ended.
        old.tap(false);
        old.node.cut(ann);
        old.node.pass(if ends { 31_000 } else { 100 });
        let ann = there.greet(Some(&token));
        let welcome = there.welcome(ann);
        assert_eq!(welcome["resumed"], true);
        token = text(&welcome["resume_token"]);
        leave(&mut there, ann);
        assert!(records.borrow().is_empty());

        new.node.pass(1_000);
        let ann = new.greet(Some(&token));
        let welcome = new.welcome(ann);
        assert_eq!(welcome["resumed"], false);
        token = text(&welcome["resume_token"]);
        if store != STORE {
            let same = records.0.borrow().clone();
            *records.0.borrow_mut() = same.restarted(store);
            old.know_at(store, true, 1, &[]);
        }
        old.tap(true);
        old.node.pass(3_000);
        new.know_at(store, true, 3, &[]);
        new.node.settle();
        let records = records.borrow();
        assert_eq!(records.len(), 1, "it ends: {ends}, at {store:?}");
        assert!(records.values().all(|it| it.node == home(3).node));
        new.node.cut(ann);
        let ann = new.greet(Some(&token));
        assert_eq!(new.welcome(ann)["resumed"], true);
    }
}

/// A node that stopped for long has a session of a client as it was in an earlier life: it has ended meanwhile and begun
/// anew elsewhere. What the node has says nothing about a token of the new life.
#[test]
fn a_token_of_a_later_life_opens_its_session_where_an_earlier_life_is_left() {
    let records = Records::new();
    let mut stopped = process(&records, 1);
    let (mut there, mut new) = (process(&records, 2), process(&records, 3));
    let (_, token) = stopped.newcomer();
    let (ann, welcome) = resume(&mut stopped, &token);
    let token = text(&welcome["resume_token"]);
    stopped.node.cut(ann);
    stopped.node.settle();
    let (ann, welcome) = resume(&mut there, &token);
    assert_eq!(welcome["resumed"], true);
    leave(&mut there, ann);
    let (ann, welcome) = resume(&mut new, &token);
    assert_eq!(welcome["resumed"], false);
    new.join(ann, "a");
    new.node.cut(ann);
    new.node.settle();

    let (ann, told) = resume(&mut stopped, &text(&welcome["resume_token"]));
    assert_eq!(told["resumed"], true, "{told}");
    assert_eq!(told["client_id"], welcome["client_id"]);
    // One of the earlier life is as stale here as it is elsewhere.
    stopped.node.cut(ann);
    let (_, told) = resume(&mut stopped, &token);
    assert_ne!(told["client_id"], welcome["client_id"]);
}

/// Its client's own token was renewed elsewhere: that it has ended here says nothing.
#[test]
fn a_session_whose_token_was_renewed_elsewhere_is_resumed_where_the_token_of_before_is_left() {
    let records = Records::new();
    let (mut stopped, mut there) = (process(&records, 1), process(&records, 2));
    let hello = |process: &mut Process, payload: Value| {
        let client = process.node.connect();
        let hello = json!({"type": "hello", "payload": payload});
        process.node.say(client, &hello.to_string());
        client
    };
    let ann = hello(
        &mut stopped,
        json!({"version": 1, "token": "ann all:a 10000"}),
    );
    let token = stopped.welcome(ann)["resume_token"].clone();
    stopped.node.cut(ann);
    stopped.node.settle();
    let ann = hello(
        &mut there,
        json!({"version": 1, "token": "ann all:a", "resume_token": token}),
    );
    let welcome = there.welcome(ann);
    assert_eq!(welcome["resumed"], true);
    there.node.cut(ann);
    there.node.settle();

    stopped.node.pass(11_000);
    let token = text(&welcome["resume_token"]);
    assert_eq!(resume(&mut stopped, &token).1["resumed"], true);
}

const NEXT: StoreId = StoreId(8);

/// A session in process 1 that was resumed there twice: its client, the first token and the last, and a store that comes
/// back with it as it was at first.
fn resumed_twice() -> (Records, Process, Client, [String; 2]) {
    let records = Records::new();
    let mut one = process(&records, 1);
    let (_, first) = one.newcomer();
    let older = records.0.borrow().clone();
    let second = text(&resume(&mut one, &first).1["resume_token"]);
    let (ann, welcome) = resume(&mut one, &second);
    let third = text(&welcome["resume_token"]);
    one.join(ann, "a");
    *records.0.borrow_mut() = older.restarted(NEXT);
    (records, one, ann, [first, third])
}

fn resume(process: &mut Process, token: &str) -> (Client, Value) {
    let client = process.greet(Some(token));
    (client, process.welcome(client))
}

#[test]
fn an_old_token_is_stale_at_a_store_that_has_forgotten_the_next_ones() {
    let (records, mut one, _, [first, third]) = resumed_twice();
    let mut two = process(&records, 2);
    for token in [&first, &third] {
        let (_, at_once) = (two.know_at(NEXT, false, 2, &[]), two.greet(Some(token)));
        assert!(two.told(at_once).is_empty(), "another node may have it");
    }
    one.know_at(NEXT, false, 1, &[]);
    one.node.settle();
    two.know_at(NEXT, true, 2, &[]);
    let stale = two.greet(Some(&first));
    two.node.pass(1_000);
    assert_eq!(two.welcome(stale)["resumed"], false);
    assert_eq!(resume(&mut two, &third).1["resumed"], true);
}

#[test]
fn who_has_a_session_goes_on_with_it_where_the_store_has_an_older_one() {
    let (_records, mut one, ann, [_, third]) = resumed_twice();
    one.node.cut(ann);
    // It does not know yet that it is another store.
    let ann = one.greet(Some(&third));
    assert!(one.told(ann).is_empty());
    for settled in [false, true] {
        assert!(one.told(ann).is_empty(), "another node may have it");
        one.know_at(NEXT, settled, 1, &[]);
        one.node.pass(100);
    }
    let told = one.told(ann);
    assert_eq!(told[0]["payload"]["resumed"], true, "{told:#?}");
    assert_eq!(rooms_joined(&told), ["a"]);
}

/// A session whose name has begun again since the store's copy of it. Who is shown its token has not met that store yet.
#[test]
fn who_has_not_met_a_store_judges_no_token_by_what_that_one_has() {
    let records = Records::new();
    let (mut one, mut two) = (process(&records, 1), process(&records, 2));
    let (_, first) = one.newcomer();
    let (ann, welcome) = resume(&mut one, &first);
    let older = records.0.borrow().clone();
    leave(&mut one, ann);
    let (ann, welcome) = resume(&mut one, &text(&welcome["resume_token"]));
    assert_eq!(welcome["resumed"], false);
    one.join(ann, "a");
    *records.0.borrow_mut() = older.restarted(NEXT);
    let back = two.greet(Some(&text(&welcome["resume_token"])));
    two.node.pass(500);
    assert!(two.told(back).is_empty(), "another node has it");
    one.know_at(NEXT, false, 1, &[]);
    one.node.settle();
    drop(one);
    two.know_at(NEXT, true, 2, &[1]);
    two.node.pass(500);
    let told = two.told(back);
    assert_eq!(told[0]["payload"]["resumed"], true, "{told:#?}");
    assert_eq!(rooms_joined(&told), ["a"]);
}

/// The third is shown a token of which the store has only an old copy. It waits until the second has written its own.
fn is_refused_once_settled(two: &mut Process, three: &mut Process, token: &str) {
    three.know_at(NEXT, false, 3, &[]);
    let stale = three.greet(Some(token));
    assert!(three.told(stale).is_empty());
    two.know_at(NEXT, false, 2, &[]);
    two.node.settle();
    three.know_at(NEXT, true, 3, &[]);
    three.node.pass(1_000);
    assert_eq!(three.welcome(stale)["resumed"], false);
}

#[test]
fn a_copy_that_is_written_by_a_node_that_has_lost_the_session_is_not_believed() {
    let records = Records::new();
    let (mut one, mut two) = (process(&records, 1), process(&records, 2));
    let mut three = process(&records, 3);
    let (_, first) = one.newcomer();
    let (_, welcome) = resume(&mut two, &first);
    let (ann, welcome) = resume(&mut two, &text(&welcome["resume_token"]));
    two.join(ann, "a");
    *records.0.borrow_mut() = Model::new(NEXT);
    // The first has not heard that the second took it.
    one.know_at(NEXT, false, 1, &[]);
    one.node.settle();
    assert_eq!(records.borrow().len(), 1);
    is_refused_once_settled(&mut two, &mut three, &first);
    assert!(two.node.drain(ann).is_empty(), "who has it has it still");
    let newest = text(&welcome["resume_token"]);
    assert_eq!(resume(&mut three, &newest).1["resumed"], true);
}

/// The first began it under the name that its client had, and has not heard that it is saved.
#[test]
fn a_copy_that_a_node_began_and_has_lost_is_not_believed() {
    let (_, token) = process(&Records::new(), 4).newcomer();
    let records = Records::new();
    let (mut one, mut two) = (process(&records, 1), process(&records, 2));
    let mut three = process(&records, 3);
    one.tap.borrow_mut().loses = true;
    let begun = one.greet(Some(&token));
    while records.borrow().is_empty() {
        one.node.pass(10);
    }
    one.tap(false);
    one.node.cut(begun);
    let mut newest = token.clone();
    for _ in 0..3 {
        let (ann, welcome) = resume(&mut two, &newest);
        newest = text(&welcome["resume_token"]);
        two.join(ann, "a");
    }
    *records.0.borrow_mut() = Model::new(NEXT);
    one.know_at(NEXT, false, 1, &[]);
    one.tap(true);
    one.node.pass(3_000);
    assert_eq!(records.borrow().len(), 1);
    is_refused_once_settled(&mut two, &mut three, &token);
    let (_, welcome) = resume(&mut three, &newest);
    assert_eq!(welcome["resumed"], true);
}

#[test]
fn of_two_that_have_a_session_the_one_that_took_it_goes_on_with_it_at_another_store() {
    let records = Records::new();
    let (mut one, mut two) = (process(&records, 1), process(&records, 2));
    let (_, token) = one.newcomer();
    let (_, welcome) = resume(&mut two, &token);
    *records.0.borrow_mut() = Model::new(NEXT);
    // The first of them has not heard of the second, and is the first to write.
    one.know_at(NEXT, false, 1, &[]);
    one.node.settle();
    let back = one.greet(Some(&text(&welcome["resume_token"])));
    two.know_at(NEXT, false, 2, &[]);
    two.node.settle();
    one.know_at(NEXT, true, 1, &[]);
    one.node.pass(1_000);
    assert_eq!(one.welcome(back)["resumed"], true);
    let turns: Vec<_> = records.borrow().values().map(|it| it.turn).collect();
    assert_eq!(turns, [3], "it is that of the second, taken by the first");
}

/// A session of process 1 is taken by 2, which 1 has not heard. A store comes back that has it as it was: 1 knows of that, or
/// not yet. Somebody else is in its room.
#[test]
fn a_session_that_was_taken_is_not_ended_at_a_store_that_has_forgotten_it() {
    for knows in [false, true] {
        let records = Records::new();
        let (mut one, mut two) = (process(&records, 1), process(&records, 2));
        let (bob, _) = one.newcomer();
        one.join(bob, "a");
        let (ann, token) = one.newcomer();
        one.join(ann, "a");
        one.node.cut(ann);
        one.node.settle();
        let older = records.0.borrow().clone();
        let (_ann, welcome) = resume(&mut two, &token);
        assert_eq!(welcome["resumed"], true);
        *records.0.borrow_mut() = older.restarted(NEXT);
        if knows {
            one.know_at(NEXT, false, 1, &[]);
        }
        one.node.pass(31_000);
        one.know_at(NEXT, false, 1, &[]);
        one.node.pass(1_000);
        two.know_at(NEXT, true, 2, &[]);
        two.node.settle();
        one.know_at(NEXT, true, 1, &[]);
        one.node.pass(1_000);
        let told = types(&one.told(bob));
        assert!(!told.contains(&"player_left".to_owned()), "{told:?}");
        let of_two = |it: &&SessionRecord| it.node == home(2).node;
        assert_eq!(records.borrow().values().filter(of_two).count(), 1);
    }
}

/// A node looks whether its session is still its own, as it may have missed news. The store has just come back: the node has
/// not met it yet, nor has it written anything there.
#[test]
fn a_session_is_not_lost_because_a_store_that_its_node_has_not_met_lacks_it() {
    let records = Records::new();
    let mut one = process(&records, 1);
    let (ann, token) = one.newcomer();
    one.join(ann, "a");
    *records.0.borrow_mut() = Model::new(NEXT);
    // A node is lost, and with it the news that it was about to bring.
    let now = one.node.now;
    for shard in one.node.shards.iter_mut() {
        shard.node_lost(now, NodeNumber::met(1));
    }
    one.node.pass(1_000);
    one.know_at(NEXT, true, 1, &[]);
    one.node.pass(1_000);
    assert_eq!(one.closed(ann), None);
    assert_eq!(records.borrow().len(), 1);
    one.node.cut(ann);
    assert_eq!(resume(&mut one, &token).1["resumed"], true);
}
