//! Stays in a room that follow each other: what is of the earlier one is not taken for the later one's.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::rig::{Rig, error};
use roomcast_client::session::{Event, JoinOptions};
use roomcast_client::{Position, code};
use serde_json::json;

/// With several nodes a room may begin anew at another home while its clients stay connected.
#[test]
fn who_is_told_unasked_to_be_in_no_room_joins_again() {
    let mut rig = Rig::in_room();
    rig.sent();
    rig.refuse("r", "join_room", "not_in_room", 0, 0);
    let sent = rig.sent();
    assert_eq!(sent[0]["type"], "join_room", "{sent:?}");
    rig.events();
    rig.refuse("r", "join_room", "room_full", 0, 0);
    let events = rig.events();
    assert!(
        matches!(&events[0], Event::Left { error: Some(_), .. }),
        "{events:?}"
    );
    assert!(rig.session.members("r").is_none());
}

#[test]
fn what_was_sent_before_the_room_was_left_is_not_sent_in_the_next_stay() {
    let mut rig = Rig::in_room();
    let before = rig.send("a");
    assert_eq!(rig.sent_seqs(), [("chat".to_owned(), 1)]);
    rig.session.leave(rig.now, "r").unwrap();
    rig.session
        .join(rig.now, "r", JoinOptions::default())
        .unwrap();
    // The server has it, has let the client go, and has nothing of it in its log any more.
    rig.again(json!({"resumed": true}));
    rig.sent();
    rig.refuse("r", "leave_room", "not_in_room", 0, 0);
    rig.sent();
    rig.joined("r", json!({"offset": 9}));
    assert_eq!(rig.settled(), [(before, error(code::UNCONFIRMED))]);
    assert_eq!(rig.sent_seqs(), [("skip".to_owned(), 1)]);
}

#[test]
fn a_stay_that_could_not_be_ended_is_ended_before_the_next_one() {
    let mut rig = Rig::in_room();
    let kinds = |rig: &mut Rig| -> Vec<_> { rig.sent_seqs().into_iter().map(|it| it.0).collect() };
    rig.session.leave(rig.now, "r").unwrap();
    rig.session
        .join(rig.now, "r", JoinOptions::default())
        .unwrap();
    assert_eq!(kinds(&mut rig), ["leave_room"]);
    rig.refuse("r", "leave_room", "rate_limited", 0, 16);
    rig.pass(100);
    assert_eq!(kinds(&mut rig), ["leave_room"]);
    let left = json!({"player_id": "me", "player_num": 1});
    rig.say(json!({"type": "player_left", "room_id": "r", "payload": left}));
    assert_eq!(kinds(&mut rig), ["join_room"]);
}

#[test]
fn who_left_in_an_earlier_life_of_the_room_is_somebody_else() {
    let mut rig = Rig::open();
    rig.session
        .join(rig.now, "r", JoinOptions::default())
        .unwrap();
    let joined = json!({"epoch": "e", "offset": 5, "player_num": 1, "player_id": "me",
        "members": [{"player_id": "me", "player_num": 1, "connected": true}], "total": 1,
        "recovered": true});
    rig.say(json!({"type": "joined", "room_id": "r", "timestamp": 2_000, "payload": joined}));
    let left = json!({"player_id": "ann", "player_num": 1});
    rig.say(
        json!({"type": "player_left", "room_id": "r", "epoch": "e", "offset": 6,
        "timestamp": 1_000, "payload": left}),
    );
    assert!(rig.session.is_joined("r"));
    assert_eq!(rig.session.members("r").unwrap().total, 1);
    rig.say(
        json!({"type": "player_left", "room_id": "r", "epoch": "e", "offset": 7,
        "timestamp": 3_000, "payload": left}),
    );
    assert!(!rig.session.is_joined("r"), "put out by the server");
}

#[test]
fn an_answer_to_a_join_from_before_the_room_was_left_hides_no_gap() {
    let mut rig = Rig::open();
    let since = |offset| JoinOptions {
        since: Some(Position {
            epoch: "e".into(),
            offset,
        }),
        ..JoinOptions::default()
    };
    rig.session.join(rig.now, "r", since(8)).unwrap();
    rig.session.leave(rig.now, "r").unwrap();
    rig.session.join(rig.now, "r", since(2)).unwrap();
    rig.joined("r", json!({"recovered": true, "offset": 8}));
    let gap = |it: &Event| matches!(it, Event::Gap { .. });
    assert!(rig.events().iter().any(gap));
}

#[test]
fn answers_of_an_earlier_stay_that_come_late_end_no_other() {
    let mut rig = Rig::open();
    let join = |rig: &mut Rig| {
        let options = JoinOptions::default();
        rig.session.join(rig.now, "r", options).unwrap();
    };
    let asked = |rig: &mut Rig, what: &str| {
        let sent = rig.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(sent[0]["type"], what);
        sent[0]["request_id"].as_u64().unwrap()
    };
    // Nothing is answered for a long time: a join, its leave, and that again.
    join(&mut rig);
    let joined = asked(&mut rig, "join_room");
    rig.session.leave(rig.now, "r").unwrap();
    rig.pass(10_000);
    let left = asked(&mut rig, "leave_room");
    rig.pass(10_000);
    let again = asked(&mut rig, "leave_room");
    join(&mut rig);
    let refused = json!({"code": "not_in_room", "message": "", "request": "leave_room"});
    rig.say(json!({"type": "error", "room_id": "r", "request_id": again, "payload": refused}));
    let newest = asked(&mut rig, "join_room");
    rig.events();
    // The answers to what was asked before come now.
    let answer = |id: u64, num: u64| {
        let payload = json!({"epoch": "e", "offset": num, "player_num": num, "player_id": "me",
            "members": [{"player_id": "me", "player_num": num, "connected": true}], "total": 1});
        json!({"type": "joined", "room_id": "r", "request_id": id, "payload": payload})
    };
    rig.say(answer(joined, 1));
    let payload = json!({"player_id": "me", "player_num": 1});
    rig.say(json!({"type": "player_left", "room_id": "r", "request_id": left, "payload": payload}));
    assert_eq!(rig.events(), []);
    rig.say(answer(newest, 2));
    let events = rig.events();
    assert!(matches!(&events[0], Event::Joined { .. }), "{events:?}");
    assert_eq!(rig.session.members("r").unwrap().player_num, 2);
}

#[test]
fn what_an_earlier_stay_is_told_late_begins_no_other() {
    let mut rig = Rig::in_room();
    rig.sent();
    rig.events();
    rig.session.leave(rig.now, "r").unwrap();
    let left = rig.sent()[0]["request_id"].clone();
    rig.pass(10_000);
    let again = rig.sent()[0]["request_id"].clone();
    rig.session
        .join(rig.now, "r", JoinOptions::default())
        .unwrap();
    // An error overtakes what waits in the room's order.
    let refused = json!({"code": "not_in_room", "message": "", "request": "leave_room"});
    rig.say(json!({"type": "error", "room_id": "r", "request_id": again, "payload": refused}));
    let join = rig.sent()[0]["request_id"].clone();
    rig.events();
    let joined = |offset: u64, num: u64| {
        json!({"epoch": "e", "offset": offset, "player_num": num, "player_id": "me",
            "members": [{"player_id": "me", "player_num": num, "connected": true}], "total": 1})
    };
    rig.say(json!({"type": "joined", "room_id": "r", "payload": joined(20, 1)}));
    let payload = json!({"player_id": "me", "player_num": 1});
    rig.say(json!({"type": "player_left", "room_id": "r", "request_id": left, "payload": payload}));
    assert_eq!(rig.events(), []);
    let answer = joined(21, 2);
    rig.say(json!({"type": "joined", "room_id": "r", "request_id": join, "payload": answer}));
    let events = rig.events();
    assert!(matches!(&events[0], Event::Joined { .. }), "{events:?}");
    assert_eq!(rig.session.members("r").unwrap().player_num, 2);
}

#[test]
fn an_answer_on_the_next_connection_is_of_no_earlier_stay() {
    let mut rig = Rig::open();
    rig.join("a");
    rig.join("b");
    let options = JoinOptions::default();
    rig.session.join(rig.now, "r", options).unwrap();
    let before = rig.sent()[0]["request_id"].clone();
    rig.again(json!({"resumed": true}));
    let sent = rig.sent();
    let join = sent.iter().find(|it| it["room_id"] == "r").unwrap();
    let id = join["request_id"].clone();
    assert!(id.as_u64() < before.as_u64(), "{id} after {before}");
    rig.events();
    let payload = json!({"epoch": "e", "offset": 0, "player_num": 1, "player_id": "me",
        "members": [{"player_id": "me", "player_num": 1, "connected": true}], "total": 1});
    rig.say(json!({"type": "joined", "room_id": "r", "request_id": id, "payload": payload}));
    let events = rig.events();
    let joined = |it: &Event| matches!(it, Event::Joined { .. });
    assert!(events.iter().any(joined), "{events:?}");
}

#[test]
fn who_leaves_after_a_cut_is_not_gone_when_somebody_else_is() {
    // It was in the room before the cut, or had asked to be. It leaves before the cut, or before it is told of the room again.
    for (was_in, leaves_first) in [(false, true), (true, true), (true, false)] {
        let mut rig = if was_in { Rig::in_room() } else { Rig::open() };
        if !was_in {
            let options = JoinOptions::default();
            rig.session.join(rig.now, "r", options).unwrap();
        }
        rig.sent();
        if leaves_first {
            rig.session.leave(rig.now, "r").unwrap();
        }
        rig.again(json!({"resumed": true}));
        if !leaves_first {
            rig.session.leave(rig.now, "r").unwrap();
        }
        rig.joined("r", json!({"player_num": 1}));
        let sent = rig.sent();
        assert_eq!(sent.last().unwrap()["type"], "leave_room", "{sent:?}");
        let left = |player: &str, number: u64| {
            let payload = json!({"player_id": player, "player_num": number});
            json!({"type": "player_left", "room_id": "r", "timestamp": 9_000, "payload": payload})
        };
        rig.say(left("ann", 2));
        // It is refused, so it is asked again.
        rig.refuse("r", "leave_room", "rate_limited", 0, 16);
        rig.pass(100);
        assert_eq!(rig.sent()[0]["type"], "leave_room");
        rig.say(left("me", 1));
        rig.pass(10_000);
        assert!(rig.sent().iter().all(|it| it["type"] != "leave_room"));
    }
}

#[test]
fn a_room_that_nobody_has_joined_is_left_again_where_that_was_refused() {
    let mut rig = Rig::in_room();
    rig.sent();
    rig.joined("x", json!({}));
    assert_eq!(rig.sent()[0]["type"], "leave_room");
    rig.refuse("x", "leave_room", "rate_limited", 0, 16);
    assert!(rig.sent().is_empty());
    rig.pass(100);
    let sent = rig.sent();
    assert_eq!(
        (&sent[0]["type"], &sent[0]["room_id"]),
        (&json!("leave_room"), &json!("x"))
    );
    rig.refuse("x", "leave_room", "not_in_room", 0, 0);
    rig.pass(10_000);
    assert!(!format!("{:?}", rig.session).contains("\"x\""));
}
