//! Heartbeats, the pool, rate limits and offences, under virtual time.

mod common;

use common::{Got, node, relay};
use roomcast_core::Received;
use roomcast_core::settings::Settings;

fn closes(got: &[Got]) -> Vec<u16> {
    got.iter()
        .filter_map(|got| {
            if let Got::Close(code, _) = got {
                Some(*code)
            } else {
                None
            }
        })
        .collect()
}

#[test]
fn a_silent_connection_is_pinged_then_given_up() {
    let mut node = node(1, Settings::default(), vec![]);
    let ann = node.member("room");
    node.pass(31_000);
    let pings = node
        .drain(ann)
        .iter()
        .filter(|got| **got == Got::Ping)
        .count();
    assert_eq!(pings, 1);
    node.pass(28_000);
    assert!(node.sockets[ann].open, "60 s are not over");
    node.pass(2_000);
    assert!(!node.sockets[ann].open);
    assert_eq!(node.shards[0].stats().heartbeat_timeouts, 1);
    assert_eq!(closes(&node.drain(ann)), [4002]);
    node.assert_empty();
}

#[test]
fn a_connection_that_stays_silent_is_pinged_again() {
    let settings = Settings {
        ping_interval: 5_000,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![]);
    let ann = node.member("room");
    node.pass(59_000);
    let got = node.drain(ann);
    let pings = got.iter().filter(|got| **got == Got::Ping).count();
    assert!((11..=14).contains(&pings), "{pings}");
    node.pass(2_000);
    assert!(!node.sockets[ann].open);
}

#[test]
fn any_sign_of_life_counts_and_postpones_the_next_ping() {
    let mut node = node(1, Settings::default(), vec![]);
    let ann = node.member("room");
    for _ in 0..20 {
        node.pass(20_000);
        let socket = &node.sockets[ann];
        node.shards[0].note_received(node.now, socket.conn);
    }
    assert!(node.sockets[ann].open);
    let pings = node
        .drain(ann)
        .iter()
        .filter(|got| **got == Got::Ping)
        .count();
    assert!(pings <= 1, "only the first one comes early: {pings}");
}

#[test]
fn connections_made_in_one_second_do_not_beat_in_one_second() {
    let mut node = node(1, Settings::default(), vec![]);
    for _ in 0..10_000 {
        node.connect();
    }
    let mut most = 0;
    for _ in 0..90 {
        let before = node.shards[0].stats().pings;
        for client in 0..node.sockets.len() {
            if node.read(client).contains(&Got::Ping) {
                let conn = node.sockets[client].conn;
                node.shards[0].note_received(node.now, conn);
            }
        }
        node.jump(500);
        node.jump(500);
        most = most.max(node.shards[0].stats().pings - before);
    }
    let pings = node.shards[0].stats().pings;
    assert!((20_000..40_000).contains(&pings), "{pings} in 90 s");
    assert!(most < 1_000, "{most} pings in one second");
}

#[test]
fn the_pool_reaps_who_is_in_no_room_and_spares_who_is() {
    let settings = Settings {
        pong_timeout: 0,
        ping_interval: 0,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![]);
    let (idle, user, member) = (node.connect(), node.connect(), node.member("room"));
    for _ in 0..28 {
        node.say(user, r#"{"type":"ping"}"#);
        for _ in 0..6 {
            node.jump(10_000);
        }
        node.drain(user);
    }
    assert_eq!(closes(&node.drain(idle)), [4003], "5 minutes without use");
    assert!(node.sockets[user].open && node.sockets[member].open);
    for _ in 0..4 {
        node.say(user, r#"{"type":"ping"}"#);
        for _ in 0..6 {
            node.jump(10_000);
        }
    }
    assert_eq!(closes(&node.drain(user)), [4004], "30 minutes of age");
    assert!(node.sockets[member].open, "one in use is not reaped");
    let stats = node.shards[0].stats();
    assert_eq!((stats.pool_idle, stats.pool_lifetime), (1, 1));
    node.say(member, r#"{"type":"leave_room"}"#);
    for _ in 0..12 {
        node.jump(10_000);
    }
    assert!(
        !node.sockets[member].open,
        "not in use any more, and too old"
    );
    node.assert_empty();
}

#[test]
fn a_socket_that_takes_nothing_for_ten_seconds_is_closed() {
    let mut node = node(
        1,
        Settings {
            messages_per_second: 0,
            ..Settings::default()
        },
        vec![relay("default")],
    );
    let (ann, bob) = (node.member("room"), node.member("room"));
    node.sockets[bob].window = 0;
    node.say(ann, r#"{"type":"chat","payload":1}"#);
    for _ in 0..99 {
        node.pass(100);
        node.say(bob, r#"{"type":"ping"}"#);
    }
    assert!(node.sockets[bob].open);
    node.pass(300);
    assert!(!node.sockets[bob].open);
    assert_eq!(node.shards[0].stats().write_timeouts, 1);
    node.assert_empty();
}

/// A record of TLS may have 16 KiB, and counts when the socket has all of it.
#[test]
fn a_socket_that_takes_a_part_of_a_record_now_and_then_is_not_closed() {
    let mut node = node(
        1,
        Settings {
            messages_per_second: 0,
            ..Settings::default()
        },
        vec![relay("default")],
    );
    let (ann, bob) = (node.member("room"), node.member("room"));
    (node.sockets[bob].window, node.sockets[bob].takes_parts) = (0, true);
    node.say(ann, r#"{"type":"chat","payload":1}"#);
    for second in 1..=60 {
        node.pass(1_000);
        node.say(bob, r#"{"type":"ping"}"#);
        if second % 7 == 0 {
            assert!(node.read(bob).is_empty());
        }
    }
    assert!(node.sockets[bob].open);
    // It is looked at as often, and takes nothing.
    node.sockets[bob].takes_parts = false;
    for second in 1..=12 {
        node.say(bob, r#"{"type":"ping"}"#);
        if second % 7 == 0 {
            node.read(bob);
        }
        node.pass(1_000);
    }
    assert!(!node.sockets[bob].open);
    assert_eq!(node.shards[0].stats().write_timeouts, 1);
}

#[test]
fn too_many_messages_are_refused_with_the_time_to_wait() {
    let mut node = node(1, Settings::default(), vec![relay("default")]);
    let ann = node.member("room");
    for n in 0..300 {
        node.send(
            ann,
            &format!(r#"{{"type":"chat","payload":{n},"seq":{}}}"#, n + 1),
        );
    }
    let got = node.messages(ann);
    let refused: Vec<_> = got
        .iter()
        .filter(|message| message["type"] == "error")
        .collect();
    assert!((55..=65).contains(&refused.len()), "{}", refused.len());
    assert_eq!(refused[0]["payload"]["code"], "rate_limited");
    assert!(
        refused[0]["payload"]["seq"]
            .as_u64()
            .is_some_and(|seq| seq > 200)
    );
    let wait = refused[0]["payload"]["retry_after_ms"]
        .as_u64()
        .expect("a time to wait");
    assert!((1..=100).contains(&wait), "{wait}");
    node.pass(wait * 10);
    node.say(ann, r#"{"type":"chat","payload":"again"}"#);
    assert_eq!(node.types(ann), ["chat"]);
    assert!(node.sockets[ann].open, "being refused once is no offence");
}

/// As many under way as may be; after a refusal nothing until the longest wait is over, then all from there on again.
#[test]
fn who_heeds_the_time_to_wait_is_never_closed_for_it() {
    let mut node = node(1, Settings::default(), vec![relay("default")]);
    let ann = node.member("room");
    let (mut acked, mut sent, mut paused_until) = (0, 0, 0);
    for now in 0..20_000_u64 {
        while now >= paused_until && sent < 1_000.min(acked + 32) {
            sent += 1;
            let chat = format!(r#"{{"type":"chat","payload":1,"seq":{sent}}}"#);
            node.send(ann, &chat);
        }
        for message in node.messages(ann) {
            let payload = &message["payload"];
            if message["type"] == "ack" {
                acked += payload["acks"].as_array().map_or(0, Vec::len);
            } else if payload["code"] == "rate_limited" {
                let number = |key: &str| payload[key].as_u64().unwrap();
                sent = sent.min(number("seq") as usize - 1);
                paused_until = paused_until.max(now + number("retry_after_ms"));
            }
        }
        assert!(node.sockets[ann].open, "closed after {acked} messages");
        if acked == 1_000 {
            assert!(now > 5_000, "{now} ms for 760 more than the burst");
            return;
        }
        node.pass(1);
    }
    panic!("only {acked} were taken");
}

#[test]
fn who_ignores_the_time_to_wait_is_closed_for_good() {
    let mut node = node(1, Settings::default(), vec![relay("default")]);
    let ann = node.member("room");
    for _ in 0..100 {
        for _ in 0..100 {
            node.send(ann, r#"{"type":"chat","payload":1}"#);
        }
        node.pass(100);
        node.read(ann);
        if !node.sockets[ann].open {
            break;
        }
    }
    assert!(!node.sockets[ann].open);
    assert_eq!(node.shards[0].stats().closes, [(4500, 1)]);
}

#[test]
fn bad_input_kills_nothing_but_its_own_message() {
    let mut node = node(1, Settings::default(), vec![]);
    let ann = node.member("room");
    let bad = [
        ("nonsense", "invalid_json"),
        (r#"{"payload":1}"#, "missing_field"),
        (r#"{"type":"fly"}"#, "unknown_type"),
        (r#"{"type":5}"#, "wrong_type"),
        (
            r#"{"type":"chat","room_id":"elsewhere","payload":1}"#,
            "not_in_room",
        ),
        (r#"{"type":"join_room","payload":{}}"#, "missing_field"),
        (
            r#"{"type":"game_action","payload":{"action":"move"}}"#,
            "missing_field",
        ),
        (
            r#"{"type":"game_action","payload":{"action":"attack","target_id":99}}"#,
            "target_not_found",
        ),
    ];
    for (message, code) in bad {
        node.say(ann, message);
        node.error(ann, code);
        node.say(ann, r#"{"type":"chat","payload":"still here"}"#);
        assert_eq!(node.types(ann), ["chat"], "after {message}");
    }
    node.receive(ann, Received::WrongFormat);
    node.error(ann, "wrong_format");
    node.receive(ann, Received::TooLarge { size: 100_000 });
    node.error(ann, "too_large");
    assert!(node.sockets[ann].open);
}

#[test]
fn a_repeat_offender_is_closed_for_good() {
    let mut node = node(1, Settings::default(), vec![]);
    let ann = node.member("room");
    for _ in 0..40 {
        node.send(ann, "nonsense");
    }
    let got = node.drain(ann);
    assert_eq!(closes(&got), [4500]);
    assert!(
        node.shards[0]
            .host()
            .notices
            .iter()
            .any(|notice| notice.contains("TooManyErrors"))
    );
}

#[test]
fn as_many_rooms_as_the_limit_and_no_more() {
    let mut node = node(
        1,
        Settings {
            max_rooms: 3,
            ..Settings::default()
        },
        vec![],
    );
    let ann = node.connect();
    for room in 0..3 {
        node.say(
            ann,
            &format!(r#"{{"type":"join_room","room_id":"r{room}"}}"#),
        );
    }
    node.messages(ann);
    node.say(ann, r#"{"type":"join_room","room_id":"r3"}"#);
    node.error(ann, "too_many_rooms");
    node.say(ann, r#"{"type":"leave_room","room_id":"r1"}"#);
    node.say(ann, r#"{"type":"join_room","room_id":"r3"}"#);
    assert!(node.types(ann).contains(&"joined".to_owned()));
}

#[test]
fn a_ping_frame_is_answered_with_its_data() {
    let mut node = node(1, Settings::default(), vec![]);
    let ann = node.connect();
    node.receive(ann, Received::Ping(b"abc"));
    assert_eq!(node.drain(ann), [Got::Pong(b"abc".to_vec())]);
}
