//! What becomes of messages and events over refusals and reconnections.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::rig::{Rig, chats, error};
use roomcast_client::session::{Config, Event, SendOptions};
use roomcast_client::{Payload, Position, Publish, Recipient, code};
use serde_json::{Value, json};

#[test]
fn what_was_sent_before_a_cut_is_sent_again_with_its_number() {
    let mut rig = Rig::in_room();
    let tickets: Vec<_> = ["a", "b", "c"].iter().map(|text| rig.send(text)).collect();
    assert_eq!(rig.sent_seqs(), chats(1..=3));
    rig.ack("r", 1, 7);
    assert_eq!(rig.settled(), [(tickets[0], Ok(7))]);
    rig.chat("r", "e", 7, "me", 1);
    let hello = rig.again(json!({"resumed": true}));
    assert_eq!(hello["resume_token"], "t");
    let place = json!([{"room_id": "r", "since": {"epoch": "e", "offset": 7}, "first_seq": 2}]);
    assert_eq!(hello["positions"], place);
    assert_eq!(rig.sent(), Vec::<Value>::new(), "not before `joined`");
    let late = rig.send("d");
    rig.joined("r", json!({"offset": 7, "recovered": true}));
    assert_eq!(rig.sent_seqs(), chats(2..=4));
    for (seq, ticket) in [(4, late), (2, tickets[1]), (3, tickets[2])] {
        rig.ack("r", seq, seq + 10);
        assert_eq!(rig.settled().last(), Some(&(ticket, Ok(seq + 10))));
    }
    rig.ack("r", 3, 13);
    assert_eq!(rig.settled(), [], "once");
}

#[test]
fn refusals_that_pass_are_waited_out_and_final_ones_told() {
    let mut rig = Rig::in_room();
    let tickets: Vec<_> = (0..4).map(|n| rig.send(&n.to_string())).collect();
    rig.sent();
    rig.refuse("r", "chat", "forbidden", 1, 0);
    assert_eq!(rig.settled(), [(tickets[0], error("forbidden"))]);
    rig.refuse("r", "chat", "rate_limited", 2, 300);
    rig.refuse("r", "chat", "seq_gap", 2, 0);
    assert_eq!(rig.sent_seqs(), []);
    rig.pass(299);
    assert_eq!(rig.sent_seqs(), []);
    rig.pass(1);
    assert_eq!(rig.sent_seqs(), chats(2..=4));
    rig.refuse("r", "chat", "unavailable", 3, 0);
    let at = rig.session.poll_timeout().unwrap();
    assert!(at > rig.now && at <= rig.now + 200, "{at}");
    rig.pass(200);
    assert_eq!(rig.sent_seqs(), chats(3..=4));
    (2..=4).for_each(|seq| rig.ack("r", seq, seq));
    assert_eq!(rig.settled().len(), 3);
    assert_eq!(rig.session.outbox_bytes(), 0);
}

#[test]
fn no_more_are_under_way_than_the_server_takes() {
    let mut rig = Rig::new(Config::default());
    rig.connect(json!({"limits": {"max_unanswered": 3}}));
    rig.join("r");
    for n in 0..5 {
        rig.send(&n.to_string());
    }
    assert_eq!(rig.sent_seqs(), chats(1..=3));
    rig.refuse("r", "chat", "too_many_unanswered", 3, 0);
    rig.ack("r", 1, 1);
    rig.pass(1000);
    assert_eq!(rig.sent_seqs(), chats(3..=4));
}

#[test]
fn what_is_aborted_or_too_old_is_not_sent_or_skipped() {
    let mut rig = Rig::in_room();
    let sent = rig.send("sent");
    assert_eq!(rig.sent_seqs(), chats([1]));
    let options = SendOptions {
        ttl_ms: Some(100),
        ..SendOptions::default()
    };
    rig.cut();
    let publish = Publish::Chat(Payload::text("short"));
    let short = rig.session.send(rig.now, "r", publish, options).unwrap();
    let kept = rig.send("kept");
    rig.session.abort(rig.now, sent);
    rig.pass(100);
    assert_eq!(rig.settled(), [(short, error(code::EXPIRED))]);
    rig.connect(json!({"resumed": true}));
    rig.joined("r", json!({"recovered": true}));
    assert_eq!(
        rig.sent_seqs(),
        [("skip".to_owned(), 1), ("chat".to_owned(), 2)]
    );
    // It had arrived before.
    rig.ack("r", 1, 9);
    assert_eq!(rig.settled(), [(sent, Ok(9))]);
    // Under way: its answer comes, or it is skipped instead of sent again.
    rig.session.abort(rig.now, kept);
    assert_eq!(rig.sent_seqs(), []);
    rig.refuse("r", "chat", "rate_limited", 2, 50);
    rig.pass(50);
    assert_eq!(rig.sent_seqs(), [("skip".to_owned(), 2)]);
    rig.ack("r", 2, 0);
    assert_eq!(rig.settled(), [(kept, error(code::ABORTED))]);
}

#[test]
fn another_client_id_repeats_nothing_that_may_have_been_done() {
    let mut rig = Rig::in_room();
    let options = SendOptions {
        at_least_once: true,
        ..SendOptions::default()
    };
    let doubtful = rig.send("a");
    let publish = Publish::Chat(Payload::text("b"));
    let again = rig.session.send(rig.now, "r", publish, options).unwrap();
    rig.sent();
    rig.session.disconnected(rig.now, 1006, "", 0);
    let unsent = rig.send("c");
    rig.pass(500);
    rig.connect(json!({"client_id": "other"}));
    assert_eq!(rig.settled(), [(doubtful, error(code::UNCONFIRMED))]);
    let join = rig.sent();
    assert_eq!(
        join[0]["payload"],
        json!({"since": {"epoch": "e"}, "first_seq": 1})
    );
    rig.joined("r", json!({"recovered": true}));
    assert_eq!(rig.sent_seqs(), chats(1..=2));
    rig.ack("r", 1, 5);
    rig.ack("r", 2, 6);
    assert_eq!(rig.settled(), [(again, Ok(5)), (unsent, Ok(6))]);
}

#[test]
fn events_come_once_in_order_and_a_gap_is_told() {
    let mut rig = Rig::in_room();
    let offsets = |events: Vec<Event>| -> Vec<Value> {
        let each = events.into_iter().filter_map(|event| match event {
            Event::Message { message, .. } => Some(json!(message.position.unwrap().offset)),
            Event::Gap {
                room: Some(_),
                since,
                now,
            } => Some(json!([since.map(|it| it.offset), now.epoch, now.offset])),
            _ => None,
        });
        each.collect()
    };
    (1..=3).for_each(|n| rig.chat("r", "e", n, "ann", n));
    rig.chat("r", "e", 2, "ann", 2);
    rig.chat("r", "e", 3, "ann", 0);
    assert_eq!(offsets(rig.events()), [1, 2, 3]);
    // What comes again after a resume.
    rig.again(json!({"resumed": true}));
    rig.joined("r", json!({"recovered": true, "offset": 2}));
    (3..=4).for_each(|n| rig.chat("r", "e", n, "ann", n));
    assert_eq!(offsets(rig.events()), [4]);
    // The log has moved on: asked or unasked.
    rig.joined("r", json!({"recovered": false, "offset": 9}));
    rig.chat("r", "e", 10, "ann", 10);
    assert_eq!(offsets(rig.events()), [json!([4, "e", 9]), json!(10)]);
    // Another log, in which what was not acked comes again.
    rig.again(json!({"resumed": false}));
    rig.joined("r", json!({"epoch": "f", "offset": 0}));
    rig.chat("r", "f", 1, "ann", 10);
    rig.chat("r", "f", 2, "ann", 9);
    rig.chat("r", "f", 3, "bob", 10);
    assert_eq!(
        offsets(rig.events()),
        [json!([10, "f", 0]), json!(2), json!(3)]
    );
    let position = Position {
        epoch: "f".to_owned(),
        offset: 3,
    };
    assert_eq!(rig.session.position("r"), Some(&position));
    // Nothing was missed.
    rig.again(json!({"resumed": true}));
    rig.joined("r", json!({"epoch": "f", "offset": 3, "recovered": false}));
    assert_eq!(offsets(rig.events()), Vec::<Value>::new());
    // The log goes on under another name, in the middle and while the client was away.
    rig.chat("r", "g", 4, "bob", 11);
    rig.chat("r", "g", 4, "bob", 11);
    rig.again(json!({"resumed": true}));
    rig.joined("r", json!({"epoch": "h", "offset": 4, "recovered": true}));
    rig.chat("r", "h", 6, "bob", 12);
    assert_eq!(offsets(rig.events()), [4, 6]);
}

#[test]
fn direct_messages_are_numbered_together_and_come_once() {
    let mut rig = Rig::open();
    let say = |rig: &mut Rig, to: Recipient| {
        let publish = Publish::Event {
            name: "invite".to_owned(),
            payload: Payload::none(),
        };
        rig.session
            .direct(rig.now, to, publish, SendOptions::default())
            .unwrap()
    };
    let first = say(&mut rig, Recipient::Client("c2".to_owned()));
    let second = say(&mut rig, Recipient::User("u7".to_owned()));
    let sent = rig.sent();
    assert_eq!(
        (&sent[0]["to_client_id"], &sent[0]["seq"]),
        (&json!("c2"), &json!(1))
    );
    assert_eq!(
        (&sent[1]["to_user_id"], &sent[1]["seq"]),
        (&json!("u7"), &json!(2))
    );
    rig.refuse("", "event", "recipient_not_found", 1, 0);
    assert_eq!(rig.settled(), [(first, error("recipient_not_found"))]);
    let mail = |offset: u64| {
        json!({"type": "chat", "from_client_id": "c2", "to_client_id": "me", "payload": offset,
            "seq": offset, "offset": offset, "epoch": "i"})
    };
    rig.say(mail(1));
    rig.say(mail(1));
    assert_eq!(rig.events().len(), 1);
    let hello = rig.again(
        json!({"resumed": true, "inbox": {"epoch": "i", "offset": 1}, "inbox_recovered": true}),
    );
    assert_eq!(hello["inbox"], json!({"epoch": "i", "offset": 1}));
    assert_eq!(hello["first_direct_seq"], 2);
    assert_eq!(rig.sent()[0]["seq"], 2);
    rig.say(mail(2));
    rig.ack("", 2, 4);
    let events = rig.events();
    assert!(
        events
            .iter()
            .any(|it| matches!(it, Event::Direct(it) if it.seq == 2))
    );
    assert!(!events.iter().any(|it| matches!(it, Event::Gap { .. })));
    assert!(
        events
            .iter()
            .any(|it| matches!(it, Event::Settled { ticket, .. } if *ticket == second))
    );
    // The inbox goes on under another name, where it was.
    rig.again(
        json!({"resumed": true, "inbox": {"epoch": "j", "offset": 2}, "inbox_recovered": true}),
    );
    rig.say(merged(mail(3), json!({"epoch": "j"})));
    let events = rig.events();
    assert!(!events.iter().any(|it| matches!(it, Event::Gap { .. })));
    let place = rig.session.inbox().unwrap();
    assert_eq!((&*place.epoch, place.offset), ("j", 3));
    // The session is gone, and what was in its inbox.
    rig.again(json!({"resumed": false}));
    assert!(
        rig.events()
            .iter()
            .any(|it| matches!(it, Event::Gap { room: None, .. }))
    );
    // It has had no direct message since: there is none to miss.
    rig.again(json!({"resumed": false}));
    assert!(
        !rig.events()
            .iter()
            .any(|it| matches!(it, Event::Gap { .. }))
    );
}

#[test]
fn a_full_outbox_refuses_the_newest_and_what_is_too_large_is_told() {
    let mut rig = Rig::new(Config {
        outbox_bytes: 1_000,
        ..Config::default()
    });
    rig.connect(json!({"limits": {"max_unanswered": 32, "max_message": 300}}));
    rig.join("r");
    let publish = |size: usize| Publish::Chat(Payload::text(&"x".repeat(size)));
    let mut send = |size| {
        rig.session
            .send(rig.now, "r", publish(size), SendOptions::default())
    };
    assert_eq!(send(301).unwrap_err().code(), code::TOO_LARGE);
    let large = send(290).unwrap();
    let small = send(200).unwrap();
    assert_eq!(send(200).unwrap_err().code(), code::OUTBOX_FULL);
    assert_eq!(rig.sent_seqs(), chats([1]));
    assert_eq!(rig.settled(), [(large, error(code::TOO_LARGE))]);
    rig.ack("r", 1, 1);
    assert_eq!(rig.settled(), [(small, Ok(1))]);
}

#[test]
fn a_server_that_acks_nothing_is_spoken_to_without_numbers() {
    let mut rig = Rig::new(Config::default());
    rig.connect(json!({"seq_acked": false, "resume_token": ""}));
    rig.join("r");
    let ticket = rig.send("a");
    assert!(rig.sent()[0].get("seq").is_none());
    assert_eq!(rig.settled(), [(ticket, Ok(0))]);
    rig.chat("r", "e", 1, "me", 1);
    rig.chat("r", "e", 2, "me", 1);
    assert_eq!(rig.events().len(), 2, "its numbers mean nothing");
}

#[test]
fn no_more_is_sent_than_the_server_takes() {
    let mut rig = Rig::new(Config::default());
    let limits = json!({"max_unanswered": 32, "messages_per_second": 10, "burst": 8});
    rig.connect(json!({ "limits": limits }));
    rig.join("r");
    for _ in 0..20 {
        rig.send("a");
    }
    // `hello`, `join_room` and a ping were sent before.
    assert_eq!(rig.sent_seqs(), chats(1..=5));
    rig.pass(250);
    assert_eq!(rig.sent_seqs(), chats(6..=7));
    // As many as that are under way: the next ones wait for answers.
    rig.pass(10_000);
    assert_eq!(rig.sent_seqs(), chats(8..=8));
    (1..=4).for_each(|seq| rig.ack("r", seq, seq));
    rig.refuse("r", "chat", "rate_limited", 5, 700);
    rig.pass(600);
    assert_eq!(rig.sent_seqs(), []);
    rig.pass(200);
    assert_eq!(rig.sent_seqs(), chats(5..=5));
}

#[test]
fn what_has_no_answer_in_a_room_that_was_left_keeps_nobody_waiting() {
    let mut rig = Rig::new(Config::default());
    let limits = json!({"max_unanswered": 32, "messages_per_second": 10, "burst": 8});
    rig.connect(json!({ "limits": limits }));
    rig.join("r");
    rig.join("s");
    (0..8).for_each(|_| _ = rig.send("a"));
    rig.pass(1_000);
    assert_eq!(rig.sent_seqs(), chats(1..=8));
    // None of them is ever answered.
    rig.session.leave(rig.now, "r").unwrap();
    rig.sent();
    let left = json!({"player_id": "me", "player_num": 1});
    rig.say(json!({"type": "player_left", "room_id": "r", "payload": left}));
    let publish = Publish::Chat(Payload::text("b"));
    rig.session
        .send(rig.now, "s", publish, SendOptions::default())
        .unwrap();
    rig.pass(1_000);
    assert_eq!(rig.sent_seqs(), chats(1..=1));
}

fn merged(mut into: Value, with: Value) -> Value {
    common::rig::merge(&mut into, with);
    into
}
