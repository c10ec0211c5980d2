//! Sessions outlive their process: another one takes them from the store, and goes on.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/processes.rs"]
mod processes;

use common::{Client, text};
use processes::{Process, Records, process, process_with, rooms_joined, types};
use roomcast_core::settings::Settings;
use roomcast_core::store::{NodeId, Request, Take};
use roomcast_core::{ClientId, Encoding, Received};
use serde_json::{Value, json};

/// A session with two rooms goes on in another process, however the store answers.
fn goes_on_elsewhere(loses: bool, doubles: bool) {
    let records = Records::new();
    let mut first = process(&records, 1);
    (first.tap.borrow_mut().loses, first.tap.borrow_mut().doubles) = (loses, doubles);
    let (ann, token) = first.newcomer();
    for room in ["a", "b", "c"] {
        assert!(types(&first.join(ann, room)).contains(&"joined".to_owned()));
    }
    let leave = json!({"type": "leave_room", "room_id": "c"});
    first.node.say(ann, &leave.to_string());
    first.told(ann);
    drop(first);
    let (id, before) = {
        let records = records.borrow();
        let (id, record) = records.iter().next().unwrap();
        (*id, record.turn)
    };

    let mut second = process(&records, 2);
    second.know(2, &[1]);
    (
        second.tap.borrow_mut().loses,
        second.tap.borrow_mut().doubles,
    ) = (loses, doubles);
    let ann = second.greet(Some(&token));
    second.node.pass(1_000);
    let told = second.told(ann);
    let welcome = &told[0]["payload"];
    assert_eq!(welcome["resumed"], true, "{told:#?}");
    assert_eq!(welcome["client_id"], id.as_str());
    assert_ne!(welcome["resume_token"], token.as_str());
    assert_eq!(rooms_joined(&told), ["a", "b"], "{told:#?}");
    assert!(types(&second.join(ann, "d")).contains(&"joined".to_owned()));
    let records = records.borrow();
    assert_eq!(records[&id].node, NodeId(2));
    assert_eq!(records[&id].turn, before + 1, "taken once");
}

#[test]
fn a_session_goes_on_in_another_process_with_its_rooms() {
    goes_on_elsewhere(false, false);
}

#[test]
fn it_does_where_each_first_answer_is_lost() {
    goes_on_elsewhere(true, false);
}

#[test]
fn it_does_where_each_answer_comes_twice() {
    goes_on_elsewhere(false, true);
    goes_on_elsewhere(true, true);
}

#[test]
fn the_numbers_of_direct_messages_go_on() {
    let records = Records::new();
    let mut first = process(&records, 1);
    let (ann, token) = first.newcomer();
    let bob = first.greet(None);
    let bob = text(&first.welcome(bob)["client_id"]);
    let direct = |seq: u64| {
        json!({"type": "chat", "to_client_id": bob, "seq": seq, "payload": "x"}).to_string()
    };
    for seq in 1..=3 {
        first.node.say(ann, &direct(seq));
    }
    let acked = first.told(ann);
    assert_eq!(types(&acked), ["ack"; 3], "{acked:#?}");
    first.join(ann, "a");
    drop(first);

    let mut second = process(&records, 2);
    second.know(2, &[1]);
    let ann = second.greet(Some(&token));
    let welcome = second.welcome(ann);
    assert_eq!(welcome["direct_repeats_possible"], true);
    let newest = text(&welcome["resume_token"]);
    second.node.say(ann, &direct(2));
    let told = second.told(ann);
    assert_eq!(types(&told), ["ack"], "{told:#?}");
    assert!(
        told[0].to_string().contains(r#""offset":2"#),
        "its first answer: {told:#?}"
    );
    second.node.say(ann, &direct(5));
    let gap = second.node.error(ann, "seq_gap");
    assert_eq!(gap["payload"]["seq"], 4, "{gap}");
    second.node.say(ann, &direct(4));
    let told = second.told(ann);
    assert_eq!(types(&told), ["ack"], "bob's inbox has it: {told:#?}");
    // It is told until the client has heard it.
    for (shown, possible) in [(&token, true), (&newest, false)] {
        let ann = second.greet(Some(shown));
        let welcome = second.welcome(ann);
        assert_eq!(welcome["resumed"], true);
        assert_eq!(welcome["direct_repeats_possible"], possible);
    }
}

/// The node before has given its client another token, and it is not known which of the two welcomes the client has heard.
#[test]
fn who_may_have_its_token_from_the_node_before_is_told_again_that_repeats_are_possible() {
    let records = Records::new();
    let mut first = process(&records, 1);
    let (_, token) = first.newcomer();
    let again = first.greet(Some(&token));
    let late = text(&first.welcome(again)["resume_token"]);
    drop(first);

    let mut second = process(&records, 2);
    second.know(2, &[1]);
    let mut newest = String::new();
    for (shown, possible) in [(&token, true), (&late, true), (&late, true)] {
        let ann = second.greet(Some(shown));
        let welcome = second.welcome(ann);
        assert_eq!(welcome["direct_repeats_possible"], possible);
        newest = text(&welcome["resume_token"]);
    }
    assert_ne!(newest, late);
    let ann = second.greet(Some(&newest));
    assert_eq!(second.welcome(ann)["direct_repeats_possible"], false);
}

#[test]
fn nothing_is_told_before_it_is_saved() {
    let records = Records::new();
    let mut it = process(&records, 1);
    let (ann, _) = it.newcomer();
    let (bob, token) = it.newcomer();
    it.join(ann, "a");
    it.tap(false);
    assert_eq!(it.join(bob, "a"), [Value::Null; 0]);
    for text in ["x", "y"] {
        let chat = json!({"type": "chat", "room_id": "a", "payload": text});
        it.node.say(ann, &chat.to_string());
    }
    assert_eq!(it.told(bob), [Value::Null; 0]);
    it.tap(true);
    let told = types(&it.told(bob));
    let mut expected: Vec<_> = told
        .iter()
        .filter(|it| *it != "sync" && *it != "player_joined")
        .collect();
    assert_eq!(expected.remove(0), "joined", "{told:?}");
    assert_eq!(expected, ["chat", "chat"], "{told:?}");
    it.tap(false);
    let leave = json!({"type": "leave_room", "room_id": "a"});
    it.node.say(bob, &leave.to_string());
    assert_eq!(it.told(bob), [Value::Null; 0]);
    it.tap(true);
    assert!(!it.told(bob).is_empty());
    // A resume takes the session first, and saves its new generation then.
    it.node.cut(bob);
    it.node.settle();
    it.tap(false);
    let bob = it.greet(Some(&token));
    assert_eq!(it.told(bob), [Value::Null; 0]);
    it.tap(true);
    assert_eq!(it.welcome(bob)["resumed"], true);
}

#[test]
fn rooms_are_told_of_an_end_once_the_store_has_it() {
    let records = Records::new();
    let mut it = process(&records, 1);
    let (ann, _) = it.newcomer();
    let (bob, _) = it.newcomer();
    let (cy, token) = it.newcomer();
    for client in [ann, bob, cy] {
        it.join(client, "a");
    }
    it.told(ann);
    it.tap(false);
    // One says goodbye, and one does not come back in time.
    let (shard, conn) = (it.node.sockets[bob].shard, it.node.sockets[bob].conn);
    let now = it.node.now;
    it.node.shards[shard].closed_by_peer(now, conn, 1000);
    it.node.cut(cy);
    it.node.pass(31_000);
    assert!(!types(&it.told(ann)).contains(&"player_left".to_owned()));
    assert_eq!(records.borrow().len(), 3);
    it.tap(true);
    it.node.pass(3_000);
    let told = types(&it.told(ann));
    let left = told.iter().filter(|it| *it == "player_left").count();
    assert_eq!(left, 2, "{told:?}");
    assert_eq!(records.borrow().len(), 1);
    let mut other = process(&records, 2);
    let cy = other.greet(Some(&token));
    assert_eq!(other.welcome(cy)["resumed"], false);
    it.node.cut(ann);
    it.node.pass(31_000);
    it.node.assert_gone();
}

#[test]
fn who_is_taken_by_another_process_is_closed_and_its_rooms_hear_that_it_is_away() {
    let records = Records::new();
    let (mut old, mut new) = (process(&records, 1), process(&records, 2));
    let (ann, token) = old.newcomer();
    let (bob, _) = old.newcomer();
    old.join(ann, "a");
    old.join(bob, "a");
    old.told(ann);
    let here = new.greet(Some(&token));
    assert_eq!(new.welcome(here)["resumed"], true);
    old.told(bob);
    let join = json!({"type": "join_room", "room_id": "b"});
    old.node.say(ann, &join.to_string());
    assert_eq!(old.closed(ann), Some(4501));
    old.node.pass(1_000);
    let told = old.told(bob);
    assert_eq!(types(&told), ["presence"]);
    assert_eq!(told[0]["payload"]["connected"], false);
    assert!(types(&new.join(here, "c")).contains(&"joined".to_owned()));
    // Back again: the process has nothing left of it.
    new.node.cut(here);
    new.node.settle();
    assert_eq!(
        old.node
            .shards
            .iter()
            .map(|it| it.sessions().0)
            .sum::<usize>(),
        0
    );
}

/// Ann, who has just joined a room with Bob in it, when her session was taken as it was before.
fn taken_before_it_was_saved() -> (Process, Client, String) {
    let records = Records::new();
    let mut process = process(&records, 1);
    let (ann, token) = process.newcomer();
    let (bob, _) = process.newcomer();
    process.join(bob, "a");
    process.tap(false);
    process.join(ann, "a");
    process.told(bob);
    // Bob's too, who has nothing to save.
    for client in records.borrow().into_keys() {
        let take = Request::Take(Take {
            client,
            turn: None,
            store: None,
            node: NodeId(99),
            attempt: 1,
        });
        records.0.borrow_mut().apply(0, &take).unwrap();
    }
    process.tap(true);
    assert_eq!(process.closed(ann), Some(4000));
    (process, bob, token)
}

#[test]
fn a_place_that_no_record_has_is_gone_after_a_while() {
    let (mut process, bob, _) = taken_before_it_was_saved();
    assert_eq!(types(&process.told(bob)), ["presence"]);
    process
        .node
        .pass(2 * Settings::default().session_grace + 100);
    let told = process.told(bob);
    assert!(
        types(&told).contains(&"player_left".to_owned()),
        "{told:#?}"
    );
}

#[test]
fn who_joins_a_room_that_no_record_has_is_the_same_player_there() {
    let (mut process, _, token) = taken_before_it_was_saved();
    let ann = process.greet(Some(&token));
    assert_eq!(process.welcome(ann)["resumed"], true);
    let told = process.join(ann, "a");
    let joined = told.iter().find(|it| it["type"] == "joined").unwrap();
    assert_eq!(joined["payload"]["total"], 2, "{told:#?}");
    assert_eq!(joined["payload"]["player_num"], 2, "{told:#?}");
}

#[test]
fn a_session_that_was_elsewhere_meanwhile_comes_back_as_it_is_now() {
    let records = Records::new();
    let (mut old, mut new) = (process(&records, 1), process(&records, 2));
    let (ann, token) = old.newcomer();
    old.join(ann, "a");
    let ann = new.greet(Some(&token));
    let token = text(&new.welcome(ann)["resume_token"]);
    new.join(ann, "b");
    drop(new);
    old.know(1, &[2]);
    // The old process still has a session with room `a` alone.
    let ann = old.greet(Some(&token));
    old.node.pass(1_000);
    let told = old.told(ann);
    assert_eq!(told[0]["payload"]["resumed"], true, "{told:#?}");
    assert_eq!(rooms_joined(&told), ["a", "b"], "{told:#?}");
}

#[test]
fn a_token_that_is_stale_changes_nothing() {
    let records = Records::new();
    let (mut old, mut new) = (process(&records, 1), process(&records, 2));
    let (_, stale) = old.newcomer();
    let mut token = stale.clone();
    let mut ann = 0;
    for _ in 0..2 {
        ann = old.greet(Some(&token));
        token = text(&old.welcome(ann)["resume_token"]);
    }
    let before = records.borrow();
    let mallory = new.greet(Some(&stale));
    let welcome = new.welcome(mallory);
    assert_eq!(welcome["resumed"], false);
    for (client, kept) in &before {
        assert_ne!(welcome["client_id"], client.as_str());
        assert_eq!(records.borrow().get(client), Some(kept));
    }
    assert_eq!(new.takeovers(), 0);
    assert!(types(&old.join(ann, "a")).contains(&"joined".to_owned()));
}

#[test]
fn two_connections_with_one_token_take_it_once() {
    let records = Records::new();
    let mut first = process(&records, 1);
    let (_, token) = first.newcomer();
    drop(first);
    let mut it = process(&records, 2);
    it.tap(false);
    let (one, two) = (it.greet(Some(&token)), it.greet(Some(&token)));
    it.node.say(two, r#"{"type":"join_room","room_id":"a"}"#);
    it.tap(true);
    // Who has shown the older token may have come late: the other one comes back.
    assert_eq!(it.closed(one), Some(4000));
    let told = it.told(two);
    assert_eq!(told[0]["payload"]["resumed"], true, "{told:#?}");
    assert!(
        types(&told).contains(&"joined".to_owned()),
        "what it had sent is read: {told:#?}"
    );
    assert_eq!(it.takeovers(), 1);
}

#[test]
fn who_waits_for_too_long_is_asked_to_come_back() {
    let records = Records::new();
    let mut it = process(&records, 1);
    let (ann, token) = it.newcomer();
    it.tap(false);
    it.join(ann, "a");
    it.node.pass(1_900);
    assert_eq!(it.closed(ann), None);
    it.node.pass(200);
    assert_eq!(it.closed(ann), Some(4000));
    let ann = it.greet(Some(&token));
    it.node.pass(2_100);
    assert_eq!(it.closed(ann), Some(4000));
    it.tap(true);
    it.node.pass(3_000);
    let ann = it.greet(Some(&token));
    let told = it.told(ann);
    assert_eq!(told[0]["payload"]["resumed"], true, "{told:#?}");
    assert!(types(&told).contains(&"joined".to_owned()), "{told:#?}");
}

#[test]
fn a_socket_that_was_full_before_is_full_after() {
    let records = Records::new();
    let mut it = process(&records, 1);
    let (ann, _) = it.newcomer();
    it.node.sockets[ann].window = 10;
    it.node.receive(ann, Received::Ping(b"0123456789abcdef"));
    it.node.settle();
    it.tap(false);
    it.join(ann, "a");
    it.tap(true);
    assert!(types(&it.told(ann)).contains(&"joined".to_owned()));
}

/// The payloads of direct messages.
fn mail(messages: &[Value]) -> Vec<String> {
    let chats = messages.iter().filter(|it| it["type"] == "chat");
    chats.map(|it| text(&it["payload"])).collect()
}

#[test]
fn who_is_new_is_told_its_name_when_it_can_be_found_by_it() {
    let records = Records::new();
    let mut it = process(&records, 1);
    it.tap(false);
    let ann = it.greet(None);
    assert_eq!(it.told(ann), [Value::Null; 0]);
    assert_eq!(records.borrow().len(), 0);
    it.tap(true);
    let token = text(&it.welcome(ann)["resume_token"]);
    assert_eq!(records.borrow().len(), 1);
    drop(it);
    let mut other = process(&records, 2);
    let ann = other.greet(Some(&token));
    assert_eq!(other.welcome(ann)["resumed"], true);
}

#[test]
fn a_direct_message_is_in_the_inbox_once_however_the_store_answers() {
    for (loses, doubles) in [(true, false), (false, true), (true, true)] {
        let records = Records::new();
        let mut it = process(&records, 1);
        (it.tap.borrow_mut().loses, it.tap.borrow_mut().doubles) = (loses, doubles);
        let (ann, _) = it.newcomer();
        let bob = it.greet(None);
        let id = text(&it.welcome(bob)["client_id"]);
        for text in ["1", "2", "3", "4", "5", "6"] {
            // Every other one has no number.
            let seq = text.parse::<u64>().unwrap();
            let seq = (seq % 2) * seq.div_ceil(2);
            let chat = json!({"type": "chat", "to_client_id": id, "seq": seq, "payload": text});
            it.node.say(ann, &chat.to_string());
        }
        it.node.pass(2_000);
        assert_eq!(mail(&it.told(bob)), ["1", "2", "3", "4", "5", "6"]);
        let acks = it.told(ann);
        assert_eq!(types(&acks), ["ack"; 3], "{acks:#?}");
    }
}

#[test]
fn a_direct_message_that_the_store_does_not_take_in_time_is_to_be_sent_again() {
    let records = Records::new();
    let mut it = process(&records, 1);
    let (ann, _) = it.newcomer();
    let bob = it.greet(None);
    let id = text(&it.welcome(bob)["client_id"]);
    it.tap(false);
    let numbered = json!({"type": "chat", "to_client_id": id, "seq": 1, "payload": "a"});
    let to_user = json!({"type": "chat", "to_user_id": id, "seq": 2, "payload": "b"});
    let plain = json!({"type": "chat", "to_client_id": id, "payload": "c"});
    for message in [&numbered, &to_user, &plain] {
        it.node.say(ann, &message.to_string());
    }
    it.node.pass(1_900);
    assert_eq!(it.told(ann), [Value::Null; 0]);
    it.node.pass(200);
    // The store was asked to take the first one: only the store knows what became of it.
    let told = it.told(ann);
    assert_eq!(types(&told), ["error"; 2], "{told:#?}");
    assert!(told.iter().all(|it| it["payload"]["code"] == "unavailable"));
    it.tap(true);
    it.node.pass(3_000);
    assert_eq!(types(&it.told(ann)), ["ack"]);
    assert_eq!(mail(&it.told(bob)), ["a"]);
    for message in [&numbered, &to_user] {
        it.node.say(ann, &message.to_string());
    }
    assert_eq!(types(&it.told(ann)), ["ack"; 2]);
    assert_eq!(mail(&it.told(bob)), ["b"]);
    it.node.assert_gone();
}

#[test]
fn messages_to_a_store_that_is_away_are_bounded_however_many_connections_send_them() {
    let records = Records::new();
    let mut it = process_with(&records, 1, |it| it.unconfirmed.1 = 500_000);
    it.tap(false);
    let body = "x".repeat(10_000);
    let mut refused = 0;
    for nth in 0..200 {
        let client = it.node.connect_to(0, Encoding::ALL[0]);
        for to in 0..10_u64 {
            let to = ClientId::from_random([nth, to]);
            let chat = json!({"type": "chat", "to_client_id": to.as_str(), "payload": body});
            it.node.say(client, &chat.to_string());
        }
        refused += types(&it.told(client)).len();
        it.node.cut(client);
    }
    // Those that were taken wait: the store was asked for them.
    assert!((1_949..2_000).contains(&refused), "{refused}");
    it.tap(true);
    it.node.pass(3_000);
    it.node.assert_gone();
}
