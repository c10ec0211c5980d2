//! Rooms: joined, left, lost; presence, members, pages, actions.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::rig::{Rig, error};
use roomcast_client::session::{Event, JoinOptions, SendOptions};
use roomcast_client::{Action, Content, HistoryRequest, Payload, Position, Publish, code};
use serde_json::{Map, Value, json};

#[test]
fn actions_are_sent_now_or_not_at_all() {
    let mut rig = Rig::in_room();
    let action = Action::new("move").at(1.0, 2.0, 0.0).param("run", "yes");
    rig.session.action(rig.now, "r", &action).unwrap();
    rig.session
        .ephemeral(rig.now, "r", "typing", &Payload::none(), Some(true))
        .unwrap();
    let sent = rig.sent();
    let position = json!({"x": 1, "y": 2, "z": 0});
    let payload = &sent[0]["payload"];
    assert_eq!(payload["position"]["x"].as_f64(), position["x"].as_f64());
    assert_eq!(payload["params"], json!({"run": "yes"}));
    assert!(sent[0].get("seq").is_none());
    let ephemeral = json!({"type": "event", "room_id": "r", "name": "typing", "ephemeral": true, "no_echo": true});
    assert_eq!(sent[1], ephemeral);
    rig.session.action(rig.now, "r", &action).unwrap();
    rig.cut();
    let refused = |rig: &mut Rig| rig.session.action(rig.now, "r", &action).unwrap_err();
    assert_eq!(refused(&mut rig).code(), code::NOT_CONNECTED);
    rig.connect(json!({"resumed": true}));
    assert_eq!(refused(&mut rig).code(), code::NOT_JOINED);
    rig.joined("r", json!({"recovered": true}));
    assert_eq!(rig.sent(), Vec::<Value>::new(), "it is not sent later");
    rig.events();
    rig.refuse("r", "game_action", "on_cooldown", 0, 300);
    assert!(
        matches!(&rig.events()[..], [Event::Refused { request, error, .. }]
        if request == "game_action" && error.code() == "on_cooldown")
    );
}

#[test]
fn presence_keeps_its_newest_value() {
    let keys = |value: Value| -> Map<String, Value> { value.as_object().unwrap().clone() };
    let mut rig = Rig::open();
    let options = JoinOptions {
        nickname: Some("Ada".to_owned()),
        presence: keys(json!({"colour": "red", "level": 1})),
        ..JoinOptions::default()
    };
    rig.session.join(rig.now, "r", options).unwrap();
    let join = rig.sent().remove(0);
    assert_eq!(
        join["payload"]["presence"],
        json!({"colour": "red", "level": 1})
    );
    let member =
        |presence: Value| json!([{"player_id": "me", "player_num": 1, "presence": presence}]);
    rig.joined(
        "r",
        json!({"members": member(json!({"colour": "red", "level": 1}))}),
    );
    assert_eq!(rig.sent(), Vec::<Value>::new());
    for level in 2..=4 {
        rig.session
            .presence(rig.now, "r", keys(json!({"level": level})))
            .unwrap();
    }
    rig.session
        .presence(rig.now, "r", keys(json!({"colour": null})))
        .unwrap();
    let told = json!({"presence": {"colour": null, "level": 4}});
    assert_eq!(rig.sent()[0]["payload"], told);
    // It may not have arrived.
    rig.again(json!({"resumed": true}));
    rig.joined(
        "r",
        json!({"recovered": true, "members": member(json!({"colour": "red", "level": 4}))}),
    );
    let sent = rig.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["payload"], json!({"presence": {"colour": null}}));
    rig.refuse("r", "presence", "rate_limited", 0, 100);
    rig.pass(100);
    assert_eq!(
        rig.sent()[0]["payload"],
        json!({"presence": {"colour": null}})
    );
    // A new session has it from the start.
    rig.again(json!({"resumed": false}));
    let join = rig.sent().remove(0);
    assert_eq!(join["payload"]["presence"], json!({"level": 4}));
    assert_eq!(join["payload"]["nickname"], "Ada");
}

#[test]
fn rooms_are_joined_again_and_left_for_certain() {
    let mut rig = Rig::in_room();
    rig.join("s");
    // Left while there is no connection; another is joined.
    rig.session.disconnected(rig.now, 1006, "", 0);
    rig.session.leave(rig.now, "r").unwrap();
    assert!(
        rig.events()
            .iter()
            .any(|it| matches!(it, Event::Left { error: None, .. }))
    );
    rig.session
        .join(rig.now, "t", JoinOptions::default())
        .unwrap();
    rig.pass(500);
    let hello = rig.connect(json!({"resumed": true}));
    assert_eq!(hello["positions"].as_array().unwrap().len(), 1, "{hello}");
    let types: Vec<_> = rig
        .sent()
        .iter()
        .map(|it| (it["type"].clone(), it["room_id"].clone()))
        .collect();
    assert_eq!(
        types,
        [
            (json!("leave_room"), json!("r")),
            (json!("join_room"), json!("t"))
        ]
    );
    // The resumed session had it.
    rig.joined("r", json!({"recovered": true}));
    rig.chat("r", "e", 1, "ann", 1);
    rig.say(
        json!({"type": "player_left", "room_id": "r", "from_client_id": "me",
        "payload": {"player_id": "me", "player_num": 1}}),
    );
    assert!(!rig.session.is_joined("r"));
    let events = rig.events();
    let told = |it: &Event| {
        matches!(
            it,
            Event::Message { .. } | Event::Joined { .. } | Event::Left { .. }
        )
    };
    assert!(!events.iter().any(told), "{events:?}");
    // The server was to tell of `s`, and says nothing.
    rig.pass(5_000);
    assert_eq!(rig.sent()[0]["room_id"], "s");
    rig.refuse("s", "join_room", "room_full", 0, 0);
    assert!(
        rig.events()
            .iter()
            .any(|it| matches!(it, Event::Left { room, error: Some(error) }
        if &**room == "s" && error.code() == "room_full"))
    );
    assert_eq!(
        rig.session
            .send(
                rig.now,
                "s",
                Publish::Chat(Payload::none()),
                SendOptions::default()
            )
            .unwrap_err()
            .code(),
        code::NOT_JOINED
    );
}

#[test]
fn a_room_that_fails_is_left_and_what_waits_for_it_told() {
    // So is one that the application has put the user out of.
    for code in ["room_failed", "removed", "banned"] {
        is_put_out(code);
    }
}

#[test]
fn a_resumed_session_that_was_put_out_of_a_room_does_not_join_it_again() {
    for code in ["removed", "banned"] {
        let mut rig = Rig::in_room();
        rig.again(json!({"resumed": true}));
        rig.say(json!({"type": "error", "room_id": "r", "payload": {"code": code, "message": ""}}));
        assert!(!rig.session.is_joined("r"));
        let left = |it: &Event| matches!(it, Event::Left { error: Some(error), .. } if error.code() == code);
        assert!(rig.events().iter().any(left));
        rig.pass(60_000);
        rig.again(json!({"resumed": false}));
        rig.pass(60_000);
        let sent = rig.sent();
        assert!(sent.iter().all(|it| it["type"] != "join_room"), "{sent:?}");
    }
}

#[test]
fn a_rooms_properties_are_those_of_joined_and_of_the_event_that_changes_them() {
    let mut rig = Rig::in_room();
    let properties = |rig: &Rig| json!(rig.session.properties("r").unwrap());
    assert_eq!(properties(&rig), json!({}));
    let change = |payload: Value, from: &str| {
        json!({
            "type": "event", "name": "roomcast.properties", "room_id": "r", "payload": payload,
            "from_client_id": from, "offset": 1, "epoch": "e", "timestamp": 9_000_000_000_000_i64,
        })
    };
    rig.say(change(json!({"title": "tea"}), ""));
    assert_eq!(properties(&rig), json!({"title": "tea"}));
    rig.say(change(json!({"title": "no"}), "c9"));
    assert_eq!(properties(&rig), json!({"title": "tea"}));
    rig.again(json!({"resumed": true}));
    rig.joined(
        "r",
        json!({"recovered": true, "properties": {"title": "coffee"}}),
    );
    assert_eq!(properties(&rig), json!({"title": "coffee"}));
}

fn is_put_out(code: &str) {
    let mut rig = Rig::in_room();
    let ticket = rig.send("a");
    rig.sent();
    rig.say(json!({"type": "error", "room_id": "r", "payload": {"code": code, "message": ""}}));
    assert_eq!(rig.settled(), [(ticket, error(code::UNCONFIRMED))]);
    assert!(!rig.session.is_joined("r"));
    // Joined again, its numbers go on.
    rig.session
        .join(rig.now, "r", JoinOptions::default())
        .unwrap();
    assert_eq!(rig.sent()[0]["payload"]["first_seq"], 1);
    rig.joined("r", json!({"epoch": "f"}));
    rig.send("b");
    assert_eq!(
        rig.sent_seqs(),
        [("skip".to_owned(), 1), ("chat".to_owned(), 2)]
    );
}

#[test]
fn members_are_kept_and_old_events_dont_change_them() {
    let mut rig = Rig::open();
    rig.session
        .join(rig.now, "r", JoinOptions::default())
        .unwrap();
    let since = Position {
        epoch: "e".to_owned(),
        offset: 1,
    };
    let member = |num: u32, level: u32| {
        json!({"player_id": format!("c{num}"), "player_num": num,
        "presence": {"level": level}, "connected": true})
    };
    rig.say(
        json!({"type": "joined", "room_id": "r", "timestamp": 100, "payload": {"epoch": "e",
        "offset": 1, "player_num": 1, "members": [member(1, 0), member(2, 7)], "total": 2}}),
    );
    let event = |kind: &str, at: u64, offset: u64, payload: Value| {
        json!({"type": kind, "room_id": "r",
        "timestamp": at, "offset": offset, "epoch": "e", "payload": payload})
    };
    let nums = |rig: &Rig| {
        rig.session
            .members("r")
            .unwrap()
            .listed
            .keys()
            .copied()
            .collect::<Vec<_>>()
    };
    // Replayed: three came and went before the list was made.
    rig.say(event("player_joined", 50, 2, member(3, 0)));
    rig.say(event(
        "player_left",
        60,
        3,
        json!({"player_id": "c2", "player_num": 2}),
    ));
    assert_eq!(nums(&rig), [1, 2]);
    rig.say(event("player_joined", 100, 4, member(2, 0)));
    assert_eq!(
        rig.session.member("r", 2).unwrap().presence,
        r#"{"level":7}"#
    );
    rig.say(event("player_joined", 120, 5, member(4, 0)));
    rig.say(json!({"type": "presence", "room_id": "r", "payload": member(4, 9)}));
    assert_eq!(
        (nums(&rig), rig.session.members("r").unwrap().total),
        (vec![1, 2, 4], 3)
    );
    assert_eq!(
        rig.session.member("r", 4).unwrap().presence,
        r#"{"level":9}"#
    );
    rig.say(event(
        "player_left",
        130,
        6,
        json!({"player_id": "c2", "player_num": 2}),
    ));
    assert_eq!(
        (nums(&rig), rig.session.members("r").unwrap().total),
        (vec![1, 4], 2)
    );
    let crowd = json!({"type": "event", "room_id": "r", "timestamp": 140, "offset": 7, "epoch": "e",
        "name": "roomcast.presence", "payload": {"presence": "count", "total": 257}});
    rig.say(crowd);
    let members = rig.session.members("r").unwrap();
    assert_eq!((members.total, members.presence), (257, "count"));
    assert_ne!(rig.session.position("r"), Some(&since));
}

#[test]
fn pages_are_asked_for_one_at_a_time_and_again_after_a_cut() {
    let mut rig = Rig::in_room();
    let ask = |rig: &mut Rig, before| {
        let request = HistoryRequest {
            before,
            ..HistoryRequest::default()
        };
        rig.session.history(rig.now, "r", request).unwrap()
    };
    let first = ask(&mut rig, 0);
    let second = ask(&mut rig, 5);
    let third = rig.session.members_page(rig.now, "r", 0, 10).unwrap();
    assert_eq!(rig.sent().len(), 1);
    rig.again(json!({"resumed": true}));
    rig.joined("r", json!({"recovered": true}));
    assert_eq!(rig.sent()[0]["payload"], json!({}));
    rig.events();
    let event = json!({"type": "chat", "from_client_id": "c", "room_id": "r", "payload": "old", "offset": 4, "epoch": "e"});
    rig.say(json!({"type": "history", "room_id": "r", "payload": {"events": [event], "next": 4, "epoch": "e"}}));
    match &rig.events()[..] {
        [
            Event::History {
                ticket,
                result: Ok(page),
            },
        ] => {
            assert_eq!((*ticket, page.next), (first, 4));
            assert_eq!(
                page.events[0].content,
                Content::Chat(Payload::json("old").unwrap())
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.sent()[0]["payload"], json!({"before": 5}));
    rig.refuse("r", "history", "rate_limited", 0, 60);
    rig.pass(60);
    assert_eq!(rig.sent().len(), 1);
    rig.refuse("r", "history", "forbidden", 0, 0);
    assert!(
        matches!(&rig.events()[..], [Event::History { ticket, result: Err(_) }] if *ticket == second)
    );
    assert_eq!(rig.sent()[0]["type"], "members");
    rig.say(json!({"type": "members", "room_id": "r", "payload": {"members": [], "total": 3, "next": 0}}));
    assert!(
        matches!(&rig.events()[..], [Event::MembersPage { ticket, result: Ok(page) }]
        if *ticket == third && page.total == 3)
    );
    assert_eq!(rig.session.outbox_bytes(), 0);
}

#[test]
fn the_servers_state_is_merged() {
    let mut rig = Rig::in_room();
    let player = |id: &str, x: f64| json!({"player_id": id, "position": {"x": x, "y": 0, "z": 0}});
    let mut sync = |full: bool, players: Value, left: Value| {
        rig.say(
            json!({"type": "sync", "room_id": "r", "payload": {"frame_num": 1, "full": full,
            "players": players, "left": left}}),
        );
        let state = rig.session.state("r").unwrap();
        let places = state
            .values()
            .map(|it| (it.player_id.clone(), it.position.x));
        places.collect::<Vec<_>>()
    };
    let places = |places: &[(&str, f64)]| -> Vec<(String, f64)> {
        places
            .iter()
            .map(|(id, x)| ((*id).to_owned(), *x))
            .collect()
    };
    let first = sync(true, json!([player("a", 1.0), player("b", 2.0)]), json!([]));
    assert_eq!(first, places(&[("a", 1.0), ("b", 2.0)]));
    let moved = sync(
        false,
        json!([player("b", 3.0), player("c", 4.0)]),
        json!(["a"]),
    );
    assert_eq!(moved, places(&[("b", 3.0), ("c", 4.0)]));
    assert_eq!(
        sync(true, json!([player("d", 5.0)]), json!([])),
        places(&[("d", 5.0)])
    );
}

#[test]
fn a_joined_that_repeats_moves_no_position_and_is_no_gap() {
    let mut rig = Rig::open();
    rig.session
        .join(rig.now, "r", JoinOptions::default())
        .unwrap();
    // The first answer was late, and the room was asked for again.
    rig.joined("r", json!({"offset": 18}));
    rig.events();
    rig.joined("r", json!({"recovered": true, "offset": 21}));
    rig.chat("r", "e", 19, "ann", 1);
    let events = rig.events();
    let gaps = events.iter().filter(|it| matches!(it, Event::Gap { .. }));
    assert_eq!(gaps.count(), 0, "{events:?}");
    let told = |it: &Event| matches!(it, Event::Message { .. });
    assert!(events.iter().any(told), "{events:?}");
    assert_eq!(rig.session.position("r").unwrap().offset, 19);
}

#[test]
fn a_count_that_is_older_than_the_list_changes_nothing() {
    let mut rig = Rig::open();
    rig.session
        .join(rig.now, "r", JoinOptions::default())
        .unwrap();
    let joined = json!({"epoch": "e", "offset": 5, "player_num": 1, "player_id": "me",
        "members": [], "total": 4, "presence": "count", "recovered": true});
    rig.say(json!({"type": "joined", "room_id": "r", "timestamp": 2_000, "payload": joined}));
    let event = json!({"type": "event", "room_id": "r", "name": "roomcast.presence", "epoch": "e",
        "payload": {"presence": "count", "total": 3}});
    for (offset, timestamp, total) in [(6, 1_000, 4), (7, 3_000, 3)] {
        let mut event = event.clone();
        (event["offset"], event["timestamp"]) = (offset.into(), timestamp.into());
        rig.say(event);
        assert_eq!(rig.session.members("r").unwrap().total, total);
    }
}
