//! What a server could make a client wait for, do or keep for ever.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::rig::Rig;
use roomcast_client::HistoryRequest;
use roomcast_client::session::{Config, Connection, Event, HistoryPage, JoinOptions};
use roomcast_client::{Position, code};
use serde_json::{Value, json};

const FOR_EVER: u64 = u64::MAX >> 11;
/// No server makes a client wait longer.
const BELIEVED: u64 = 700_000;

fn history(rig: &mut Rig) -> roomcast_client::session::Ticket {
    let request = HistoryRequest::default();
    rig.session.history(rig.now, "r", request).unwrap()
}

fn page(events: &[Event]) -> Option<Result<&HistoryPage, &str>> {
    events.iter().find_map(|event| match event {
        Event::History { result, .. } => Some(result.as_ref().map_err(|it| it.code())),
        _ => None,
    })
}

#[test]
fn no_time_that_a_server_names_is_for_ever() {
    let mut rig = Rig::in_room();
    rig.send("x");
    rig.sent();
    rig.refuse("r", "chat", "rate_limited", 1, FOR_EVER);
    rig.pass(BELIEVED);
    assert_eq!(rig.sent_seqs(), [("chat".to_owned(), 1)]);
    rig.ack("r", 1, 1);

    let keys = json!({"a": 1}).as_object().unwrap().clone();
    rig.session.presence(rig.now, "r", keys).unwrap();
    history(&mut rig);
    rig.sent();
    rig.refuse("r", "presence", "unavailable", 0, FOR_EVER);
    rig.refuse("r", "history", "rate_limited", 0, FOR_EVER);
    rig.pass(BELIEVED);
    let sent: Vec<_> = rig.sent().iter().map(|it| it["type"].clone()).collect();
    assert_eq!(sent, ["presence", "history"]);

    // A join, and a `hello`.
    let join = JoinOptions::default();
    rig.session.join(rig.now, "other", join).unwrap();
    rig.sent();
    rig.refuse("other", "join_room", "unavailable", 0, FOR_EVER);
    rig.pass(BELIEVED);
    assert!(rig.sent().iter().any(|it| it["type"] == "join_room"));
    let reason = format!("slow_reader; retry_after_ms={}", "9".repeat(80));
    rig.session.disconnected(rig.now, 4001, &reason, u64::MAX);
    let until = rig.session.poll_timeout().unwrap();
    assert!(until - rig.now < BELIEVED, "{until}");
    rig.pass(BELIEVED);
    assert_eq!(rig.session.connection(), Connection::Connect);
}

#[test]
fn a_place_to_come_back_to_much_later_does_not_outlive_the_connection() {
    let mut rig = Rig::in_room();
    rig.say(json!({"type": "reconnect", "payload": {"delay_ms": FOR_EVER}}));
    rig.session.disconnected(rig.now, 1006, "", 0);
    rig.pass(BELIEVED);
    assert_eq!(rig.session.connection(), Connection::Connect);
}

#[test]
fn a_server_that_asks_to_come_back_at_once_again_and_again_is_backed_off_from() {
    let mut rig = Rig::in_room();
    let mut waits = Vec::new();
    for _ in 0..6 {
        rig.say(json!({"type": "reconnect", "payload": {"delay_ms": 0}}));
        rig.pass(0);
        assert_eq!(rig.session.connection(), Connection::Close(4000));
        rig.session.disconnected(rig.now, 1006, "", 0);
        let until = rig.session.poll_timeout();
        waits.push(until.map_or(0, |until| until - rig.now));
        rig.pass(waits.last().copied().unwrap());
        rig.connect(json!({"resumed": true}));
    }
    assert_eq!(waits, [0, 0, 0, 500, 500, 500]);
    // One that lets the client live is believed again.
    rig.pass(10_000);
    rig.say(json!({"type": "pong"}));
    rig.say(json!({"type": "reconnect", "payload": {"delay_ms": 0}}));
    rig.pass(0);
    rig.session.disconnected(rig.now, 1006, "", 0);
    assert_eq!(rig.session.connection(), Connection::Connect);
}

#[test]
fn tokens_that_end_at_once_are_not_asked_for_at_once() {
    let mut rig = Rig::new(Config::default());
    rig.connect(json!({"token_expires_at": 5_000_000}));
    let mut asked = 0;
    for _ in 0..1_000 {
        rig.pass(2);
        let ends = |it: &Event| matches!(it, Event::TokenEnds);
        asked += rig.events().iter().filter(|it| ends(it)).count();
        let auth = json!({"token_expires_at": 5_000_000});
        rig.say(json!({"type": "auth", "payload": auth, "timestamp": 5_000_000}));
    }
    assert!((2..=3).contains(&asked), "{asked} in two seconds");
}

#[test]
fn no_interval_makes_a_client_send_nothing_but_pings_or_none() {
    for (named, least, most) in [(1, 50, 50), (FOR_EVER, 600_000, 600_000)] {
        let mut rig = Rig::new(Config::default());
        rig.connect(json!({"ping_interval_ms": named}));
        rig.sent();
        let wait = rig.session.poll_timeout().unwrap() - rig.now;
        assert!((least..=most).contains(&wait), "{named}: {wait}");
    }
}

#[test]
fn refusals_without_end_leave_no_timers_behind() {
    let mut rig = Rig::in_room();
    rig.send("x");
    let keys = json!({"a": 1}).as_object().unwrap().clone();
    rig.session.presence(rig.now, "r", keys).unwrap();
    rig.sent();
    for wait in 1..2_000 {
        rig.refuse("r", "presence", "unavailable", 0, wait);
        rig.refuse("r", "chat", "rate_limited", 1, wait);
        rig.refuse("r", "chat", "rate_limited", 900, FOR_EVER);
        rig.refuse("r", "chat", "seq_gap", 900, 0);
    }
    let mut timers = 0;
    while let Some(at) = rig.session.poll_timeout().filter(|_| timers < 1_000) {
        rig.pass(at - rig.now);
        rig.sent();
        rig.say(json!({"type": "pong"}));
        timers += 1;
        if at > 600_000 {
            break;
        }
    }
    assert!(timers < 100, "{timers}");
}

#[test]
fn rooms_that_nobody_asked_for_are_left_and_leave_nothing_behind() {
    let mut rig = Rig::in_room();
    for number in 0..100 {
        rig.joined(&format!("x{number}"), json!({}));
        let left = json!([{"type": "leave_room", "room_id": format!("x{number}")}]);
        assert_eq!(Value::from(rig.sent()), left);
    }
    // Also where nothing is sent for a while.
    for number in 0..10_000 {
        rig.joined(&format!("y{number}"), json!({}));
    }
    assert!(rig.sent().len() < 1_000);
    assert_eq!(rig.events(), []);
    assert_eq!(rig.session.save().rooms.len(), 1);
    let known = format!("{:?}", rig.session);
    assert!(!known.contains("y1") && !known.contains("x1"), "{known}");
}

#[test]
fn what_is_kept_of_a_room_is_bounded() {
    let mut rig = Rig::in_room();
    for number in 2..20_000 {
        let member = json!({"player_id": number.to_string(), "player_num": number});
        let came = json!({"type": "player_joined", "room_id": "r", "payload": member});
        rig.say(came);
        let player = json!({"player_id": number.to_string(), "player_num": number});
        let sync = json!({"full": false, "players": [player]});
        rig.say(json!({"type": "sync", "room_id": "r", "payload": sync}));
        rig.events();
    }
    let members = rig.session.members("r").unwrap();
    assert_eq!((members.listed.len(), members.total), (16_384, 19_999));
    assert_eq!(rig.session.state("r").unwrap().len(), 16_384);
}

#[test]
fn a_page_that_does_not_come_is_an_error_and_its_late_answer_is_none_of_the_next() {
    let mut rig = Rig::in_room();
    history(&mut rig);
    let first = rig.sent()[0]["request_id"].clone();
    rig.pass(59_999);
    assert_eq!(page(&rig.events()), None);
    rig.pass(1);
    assert_eq!(page(&rig.events()), Some(Err(code::UNANSWERED)));
    history(&mut rig);
    let second = rig.sent()[0]["request_id"].clone();
    assert_ne!(first, second);
    let answer = |next: u64, id: &Value| {
        let page = json!({"events": [], "next": next, "epoch": "e"});
        json!({"type": "history", "room_id": "r", "payload": page, "request_id": id})
    };
    rig.say(answer(7, &first));
    assert_eq!(page(&rig.events()), None);
    rig.say(answer(3, &second));
    assert_eq!(page(&rig.events()).unwrap().unwrap().next, 3);
}

#[test]
fn pages_that_lead_back_are_an_error() {
    let mut rig = Rig::in_room();
    for (request, next, good) in [
        (json!({"after": 5}), 5, false),
        (json!({"after": 5}), 6, true),
        (json!({"after": 5}), 0, true),
        (json!({"before": 5}), 5, false),
        (json!({"before": 5}), 4, true),
        (json!({}), 7, true),
    ] {
        let asked = HistoryRequest {
            after: request["after"].as_u64(),
            before: request["before"].as_u64().unwrap_or(0),
            ..HistoryRequest::default()
        };
        rig.session.history(rig.now, "r", asked).unwrap();
        rig.sent();
        let came = json!({"events": [], "next": next, "epoch": "e"});
        rig.say(json!({"type": "history", "room_id": "r", "payload": came}));
        let events = rig.events();
        assert_eq!(page(&events).unwrap().is_ok(), good, "{request}: {next}");
    }
    for (after, next, good) in [(0, 1, true), (7, 7, false), (7, 3, false), (7, 0, true)] {
        rig.session.members_page(rig.now, "r", after, 0).unwrap();
        rig.sent();
        let came = json!({"members": [], "total": 1, "next": next});
        rig.say(json!({"type": "members", "room_id": "r", "payload": came}));
        let result = rig.events().into_iter().find_map(|event| match event {
            Event::MembersPage { result, .. } => Some(result),
            _ => None,
        });
        assert_eq!(result.unwrap().is_ok(), good, "{after}: {next}");
    }
}

#[test]
fn a_page_that_cannot_be_read_fails_its_call_alone() {
    let mut rig = Rig::in_room();
    history(&mut rig);
    rig.sent();
    let payload = json!({"events": [5]});
    rig.say(json!({"type": "history", "room_id": "r", "payload": payload}));
    assert_eq!(page(&rig.events()), Some(Err("invalid_json")));
    history(&mut rig);
    assert_eq!(rig.sent().len(), 1, "the next one is asked for");
}

#[test]
fn an_error_is_matched_with_its_request_where_it_names_no_room() {
    let mut rig = Rig::open();
    let mut ids = Vec::new();
    for room in ["one", "two"] {
        let join = JoinOptions::default();
        rig.session.join(rig.now, room, join).unwrap();
        ids.push(rig.sent()[0]["request_id"].clone());
    }
    let refusal = |id: &Value| {
        let error = json!({"code": "invalid_name", "message": "", "request": "join_room"});
        json!({"type": "error", "payload": error, "request_id": id})
    };
    let left = |events: Vec<Event>| {
        let left = events.into_iter().filter_map(|event| match event {
            Event::Left { room, error } => Some((room.to_string(), error.unwrap())),
            _ => None,
        });
        let left: Vec<_> = left
            .map(|(room, it)| (room, it.code().to_owned()))
            .collect();
        left
    };
    rig.say(refusal(&json!(999)));
    assert_eq!(left(rig.events()), []);
    rig.say(refusal(&ids[1]));
    let invalid = |room: &str| (room.to_owned(), "invalid_name".to_owned());
    assert_eq!(left(rig.events()), [invalid("two")]);
    rig.say(refusal(&ids[0]));
    assert_eq!(left(rig.events()), [invalid("one")]);
}

#[test]
fn a_join_that_the_server_would_read_past_is_refused_here() {
    let mut rig = Rig::new(Config::default());
    let presence = json!({"k": "x".repeat(3_000)}).as_object().unwrap().clone();
    let options = JoinOptions {
        presence,
        ..JoinOptions::default()
    };
    // The limit is not known yet.
    rig.session.join(rig.now, "r", options).unwrap();
    rig.connect(json!({"limits": {"max_message": 1_000}}));
    assert_eq!(rig.sent(), Vec::<Value>::new());
    let left = rig.events().into_iter().find_map(|event| match event {
        Event::Left { error, .. } => error,
        _ => None,
    });
    assert_eq!(left.unwrap().code(), code::TOO_LARGE);
    let since = Some(Position {
        epoch: "e".repeat(17),
        offset: 1,
    });
    let options = JoinOptions {
        since,
        ..JoinOptions::default()
    };
    let refused = rig.session.join(rig.now, "r", options).unwrap_err();
    assert_eq!(refused.code(), "invalid_value");
}
