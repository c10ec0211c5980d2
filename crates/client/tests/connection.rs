//! Connections: lost, refused, closed, found dead, opened again.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::rig::{Rig, chats, error};
use roomcast_client::code;
use roomcast_client::session::{Config, Connection, Event, JoinOptions, Saved, Status};
use serde_json::json;

#[test]
fn a_taken_over_session_is_over() {
    let mut rig = Rig::in_room();
    let sent = rig.send("a");
    rig.sent();
    let unsent = rig.send("b");
    rig.session.disconnected(rig.now, 4501, "taken_over", 0);
    let events = rig.events();
    assert!(
        matches!(events.last(), Some(Event::Status(Status::Closed(error)))
        if error.code() == code::TAKEN_OVER)
    );
    assert_eq!(events.len(), 4, "{events:?}");
    let failed = |ticket, code| {
        events.iter().any(|event| {
            matches!(event, Event::Settled { ticket: it, result: Err(error) }
            if *it == ticket && error.code() == code)
        })
    };
    assert!(failed(sent, code::UNCONFIRMED) && failed(unsent, code::TAKEN_OVER));
    assert_eq!(rig.session.connection(), Connection::Down);
    assert_eq!(rig.session.poll_timeout(), None);
    let refused = rig.session.join(rig.now, "r", JoinOptions::default());
    assert_eq!(refused.unwrap_err().code(), code::CLOSED);
}

#[test]
fn a_hello_of_its_own_that_comes_late_takes_nothing_from_a_client() {
    let mut rig = Rig::in_room();
    rig.cut();
    // Its `hello` is under way on a connection that stands still, and is given up.
    rig.session.connected(rig.now);
    rig.sent();
    rig.cut();
    rig.connect(json!({"resumed": true}));
    // The server has read it now, and takes that connection for the newest one.
    rig.session.disconnected(rig.now, 4501, "taken_over", 0);
    assert!(matches!(rig.session.status(), Status::Reconnecting { .. }));
    rig.pass(500);
    rig.connect(json!({"resumed": true}));
    // It was sent once: this is somebody else.
    rig.session.disconnected(rig.now, 4501, "taken_over", 0);
    assert!(matches!(rig.session.status(), Status::Closed(_)));
}

#[test]
fn a_hello_that_was_given_up_is_late_for_two_minutes() {
    for (after, ends) in [(119_000, false), (120_000, true)] {
        let mut rig = Rig::in_room();
        rig.cut();
        rig.session.connected(rig.now);
        rig.sent();
        rig.session.disconnected(rig.now, 1006, "", 0);
        let given_up_at = rig.now;
        rig.pass(500);
        rig.connect(json!({"resumed": true}));
        rig.pass(given_up_at + after - rig.now);
        rig.session.disconnected(rig.now, 4501, "taken_over", 0);
        let closed = matches!(rig.session.status(), Status::Closed(_));
        assert_eq!(closed, ends, "after {after} ms");
    }
}

#[test]
fn codes_say_whether_and_when_to_come_back() {
    for (code, reason, at_least) in [
        (1006, "", 500),
        (1000, "normal", 500),
        (4001, "slow_reader; retry_after_ms=7000", 7_000),
        (4499, "unknown", 500),
    ] {
        let mut rig = Rig::open();
        rig.session.disconnected(rig.now, code, reason, u64::MAX);
        let at = rig.session.poll_timeout().unwrap();
        assert!(
            (at_least..=at_least + 1_500).contains(&(at - rig.now)),
            "{code}: {at}"
        );
    }
    for code in [1002, 1003, 1007, 1009, 4500, 4501, 4502, 4503, 4999] {
        let mut rig = Rig::open();
        rig.session.disconnected(rig.now, code, "", 0);
        assert!(matches!(rig.session.status(), Status::Closed(_)), "{code}");
    }
}

#[test]
fn waits_are_jittered_from_half_a_second_to_twenty() {
    let mut most = Vec::new();
    for random in [0, u64::MAX / 2, u64::MAX] {
        let mut rig = Rig::new(Config::default());
        let mut waits = Vec::new();
        for _ in 0..10 {
            rig.session.disconnected(rig.now, 1006, "", random);
            let at = rig.session.poll_timeout().unwrap();
            waits.push(at - rig.now);
            rig.now = at;
            rig.session.timeout(at);
            assert_eq!(rig.session.connection(), Connection::Connect);
        }
        most.push(waits);
    }
    assert_eq!(most[0], [500; 10]);
    assert_eq!(
        most[2][..7],
        [2_000, 4_000, 8_000, 16_000, 20_000, 20_000, 20_000]
    );
    assert_eq!(most[1][9], 10_250);
    // A wake-up doesn't wait.
    let mut rig = Rig::new(Config::default());
    rig.session.disconnected(rig.now, 1006, "", u64::MAX);
    rig.session.wake(rig.now);
    assert_eq!(rig.session.connection(), Connection::Connect);
}

#[test]
fn a_dead_connection_is_noticed_within_two_pings() {
    let mut rig = Rig::in_room();
    rig.pass(29_999);
    assert_eq!(rig.session.connection(), Connection::Up);
    rig.pass(1);
    let ping = rig.session.poll_transmit().unwrap();
    assert_eq!(ping, br#"{"type":"ping","payload":2}"#);
    rig.pass(29_999);
    assert_eq!(rig.session.connection(), Connection::Up);
    rig.pass(1);
    assert_eq!(rig.session.connection(), Connection::Close(4002));
    rig.session.disconnected(rig.now, 1006, "", 0);
    assert_eq!(rig.session.connection(), Connection::Down);
    // One that was asleep is probed, and any byte proves it alive.
    let mut rig = Rig::in_room();
    rig.pass(3_600_000);
    assert_eq!(rig.session.connection(), Connection::Up);
    rig.session.wake(rig.now);
    rig.session.heard(rig.now);
    rig.pass(10_000);
    assert_eq!(rig.session.connection(), Connection::Up);
    rig.session.wake(rig.now);
    rig.pass(5_000);
    assert_eq!(rig.session.connection(), Connection::Close(4002));
    // `hello` is answered, or not.
    let mut rig = Rig::new(Config::default());
    rig.session.connected(rig.now);
    rig.pass(10_000);
    assert_eq!(rig.session.connection(), Connection::Close(4002));
}

#[test]
fn pings_tell_the_servers_clock() {
    let mut rig = Rig::open();
    assert_eq!(rig.session.rtt(), Some(0));
    rig.pass(80);
    rig.say(json!({"type": "pong", "payload": 1, "timestamp": 5_000_040}));
    assert_eq!(rig.session.server_now(rig.now), Some(5_000_080));
    assert_eq!(rig.session.rtt(), Some(80));
}

#[test]
fn a_server_that_goes_is_left_when_it_says_so() {
    let mut rig = Rig::in_room();
    let reconnect = json!({"delay_ms": 700, "url": "wss://b.example/ws", "reason": "reconnect"});
    rig.say(json!({"type": "reconnect", "payload": reconnect}));
    rig.pass(699);
    assert_eq!(rig.session.connection(), Connection::Up);
    rig.pass(1);
    assert_eq!(rig.session.connection(), Connection::Close(4000));
    rig.session.disconnected(rig.now, 1006, "", u64::MAX);
    assert_eq!(rig.session.connection(), Connection::Connect);
    assert_eq!(rig.session.redirect(), Some("wss://b.example/ws"));
    let hello = rig.connect(json!({"resumed": true}));
    assert_eq!(hello["resume_token"], "t");
    assert_eq!(rig.session.redirect(), None);
    // Closed by the server before its time: it is waited for.
    rig.say(json!({"type": "reconnect", "payload": {"delay_ms": 700}}));
    rig.session.disconnected(rig.now, 4000, "reconnect", 0);
    assert_eq!(rig.session.poll_timeout(), Some(rig.now + 700));
}

#[test]
fn a_saved_session_goes_on_in_another_process() {
    let mut rig = Rig::in_room();
    rig.send("a");
    rig.sent();
    rig.ack("r", 1, 1);
    rig.chat("r", "e", 1, "me", 1);
    let saved = serde_json::to_string(&rig.session.save()).unwrap();
    let saved: Saved = serde_json::from_str(&saved).unwrap();
    assert!(
        !format!("{saved:?}").contains("\"t\""),
        "a token is in no log"
    );
    let mut rig = Rig::new(Config {
        saved: Some(saved),
        ..Config::default()
    });
    let hello = rig.connect(json!({"resumed": true}));
    let place = json!([{"room_id": "r", "since": {"epoch": "e", "offset": 1}, "first_seq": 2}]);
    assert_eq!(
        (&hello["resume_token"], &hello["positions"]),
        (&json!("t"), &place)
    );
    rig.joined("r", json!({"recovered": true, "offset": 1}));
    rig.send("b");
    assert_eq!(rig.sent_seqs(), chats([2]));
    // The process before had sent one more.
    rig.refuse("r", "chat", "seq_gap", 1, 0);
    assert_eq!(
        rig.sent_seqs(),
        [("skip".to_owned(), 1), ("chat".to_owned(), 2)]
    );
}

#[test]
fn tokens_are_renewed_before_they_end() {
    let mut rig = Rig::new(Config {
        token: Some("first".to_owned()),
        ..Config::default()
    });
    let hello = rig.connect(json!({"token_expires_at": 5_100_000}));
    assert_eq!(hello["token"], "first");
    rig.sent();
    rig.pass(79_999);
    let ends = |rig: &mut Rig| rig.events().iter().any(|it| matches!(it, Event::TokenEnds));
    assert!(!ends(&mut rig));
    rig.say(json!({"type": "pong"}));
    rig.pass(1);
    assert!(ends(&mut rig));
    rig.session.set_token(rig.now, Some("second".to_owned()));
    assert_eq!(
        rig.sent(),
        [json!({"type": "auth", "payload": {"token": "second"}})]
    );
    rig.say(
        json!({"type": "auth", "timestamp": 5_080_000, "payload": {"token_expires_at": 6_000_000}}),
    );
    rig.session.disconnected(rig.now, 4007, "token_expired", 0);
    rig.pass(500);
    let hello = rig.connect(json!({}));
    assert_eq!(hello["token"], "second");
}

#[test]
fn a_refused_hello_ends_it_or_is_tried_otherwise() {
    let refuse = |code: &str| {
        let mut rig = Rig::new(Config::default());
        rig.session.connected(rig.now);
        rig.sent();
        rig.refuse("", "hello", code, 0, 0);
        rig
    };
    let mut rig = refuse("unsupported_version");
    assert_eq!(rig.session.connection(), Connection::Close(4000));
    rig.session.disconnected(rig.now, 1006, "", 0);
    assert!(
        matches!(rig.session.status(), Status::Closed(error) if error.code() == "unsupported_version")
    );
    let mut rig = refuse("unavailable");
    rig.session.disconnected(rig.now, 1006, "", 0);
    assert!(matches!(rig.session.status(), Status::Reconnecting { .. }));
    let mut rig = refuse("unauthorized");
    rig.session.disconnected(rig.now, 4502, "unauthorized", 0);
    assert!(
        matches!(rig.session.status(), Status::Closed(error) if error.code() == code::UNAUTHORIZED)
    );
}

#[test]
fn goodbye_settles_all() {
    let mut rig = Rig::in_room();
    let ticket = rig.send("a");
    rig.session.close(rig.now);
    assert_eq!(rig.session.connection(), Connection::Close(1000));
    rig.session.disconnected(rig.now, 1006, "", 0);
    assert_eq!(rig.settled(), [(ticket, error(code::CLOSED))]);
    assert!(matches!(rig.session.status(), Status::Closed(_)));
}

#[test]
fn nothing_that_a_server_sends_is_fatal() {
    let mut random = common::Random(1);
    let samples = [
        r#"{"type":"joined","room_id":"r","payload":{"epoch":"e","offset":9007199254740991}}"#,
        r#"{"type":"chat","room_id":"r","epoch":"z","offset":9007199254740991,"seq":9007199254740991,"payload":1}"#,
        r#"{"type":"ack","room_id":"r","payload":{"acks":[{"seq":9007199254740991,"offset":0},{"seq":0}]}}"#,
        r#"{"type":"error","room_id":"r","payload":{"code":"seq_gap","seq":9007199254740991,"request":"chat"}}"#,
        r#"{"type":"error","room_id":"r","payload":{"code":"rate_limited","seq":1,"request":"chat","retry_after_ms":18446744073709551615}}"#,
        r#"{"type":"reconnect","payload":{"delay_ms":18446744073709551615}}"#,
        r#"{"type":"welcome","payload":{}}"#,
        r#"{"type":"from the future"}"#,
        "nonsense",
    ];
    for _ in 0..2_000 {
        let mut rig = Rig::in_room();
        rig.send("a");
        for _ in 0..10 {
            let mut bytes = samples[random.below(9) as usize].as_bytes().to_vec();
            if random.chance(300) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next() as u8;
            }
            rig.session.receive(rig.now, &bytes);
            rig.now += random.below(1_000);
            rig.session.timeout(rig.now);
            rig.sent();
            rig.events();
        }
    }
}
