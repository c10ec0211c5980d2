//! Slow readers, back-pressure and fairness.

mod common;

use common::{Got, Node, node, relay};
use roomcast_core::settings::{Kind, Settings};

fn no_limits() -> Settings {
    Settings {
        messages_per_second: 0,
        max_offences: 0,
        ..Settings::default()
    }
}

fn chat(node: &mut Node, from: usize, n: u64, size: usize) {
    node.send(
        from,
        &format!(
            r#"{{"type":"chat","payload":{{"n":{n},"x":"{}"}}}}"#,
            "y".repeat(size)
        ),
    );
}

#[test]
fn a_slow_reader_gets_every_event_that_fits_its_lane() {
    let mut node = node(2, no_limits(), vec![relay("default")]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    node.sockets[bob].window = 1_000;
    for n in 0..200 {
        chat(&mut node, ann, n, 100);
    }
    node.settle();
    let got = node.messages(bob);
    let numbers: Vec<_> = got
        .iter()
        .filter_map(|message| message["payload"]["n"].as_u64())
        .collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_full_event_lane_closes_with_a_come_back_code_and_delays_nobody() {
    let settings = Settings {
        event_lane: 20_000,
        ..no_limits()
    };
    let mut node = node(1, settings, vec![relay("default")]);
    let (ann, bob, cid) = (
        node.member("room"),
        node.member("room"),
        node.member("room"),
    );
    node.sockets[bob].window = 0;
    for n in 0..500 {
        chat(&mut node, ann, n, 100);
        node.settle();
        assert!(
            !node.messages(cid).is_empty(),
            "a stalled reader delays nobody"
        );
        let chunks = node.shards[0].stats().chunks;
        assert!(
            chunks <= 200,
            "what waits for one reader is bounded: {chunks} chunks"
        );
    }
    assert_eq!(node.shards[0].stats().slow_readers, 1);
    assert_eq!(node.shards[0].stats().closes, [(4001, 1)]);
    assert!(!node.sockets[bob].open);
    node.assert_empty();
}

#[test]
fn a_close_frame_is_the_last_that_a_slow_reader_gets() {
    let settings = Settings {
        event_lane: 5_000,
        ..no_limits()
    };
    let mut node = node(1, settings, vec![relay("default")]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    node.sockets[bob].window = 250;
    for n in 0..100 {
        chat(&mut node, ann, n, 100);
        node.settle();
    }
    let got = node.read(bob);
    assert!(
        got.iter().all(|got| !matches!(got, Got::Close(..))),
        "its socket is full"
    );
    node.assert_empty();
}

#[test]
fn the_latest_state_wins_for_a_slow_reader() {
    for shards in [1, 3] {
        let mut node = node(shards, no_limits(), vec![]);
        let (ann, bob, cid) = (
            node.member("arena"),
            node.member("arena"),
            node.member("arena"),
        );
        node.pass(100);
        node.drain(bob);
        node.sockets[bob].window = 0;
        for step in 1..=50 {
            let x = step;
            node.say(ann, &format!(r#"{{"type":"game_action","payload":{{"action":"move","position":{{"x":{x},"y":0,"z":0}}}}}}"#));
            if step == 20 {
                node.say(cid, r#"{"type":"game_action","payload":{"action":"move","position":{"x":7,"y":7,"z":7}}}"#);
            }
            node.pass(50);
        }
        let waiting: usize = node
            .shards
            .iter_mut()
            .map(|shard| shard.stats().lane_pieces)
            .sum();
        assert!(waiting <= 1, "at most one snapshot waits: {waiting}");
        let all = node.messages(cid);
        let healthy = all
            .iter()
            .filter(|message| message["type"] == "sync")
            .count();
        assert!(healthy >= 50, "{healthy}");
        node.sockets[bob].window = usize::MAX;
        node.read(bob);
        let syncs: Vec<_> = node
            .messages(bob)
            .into_iter()
            .filter(|message| message["type"] == "sync")
            .collect();
        assert!(syncs.len() <= 2, "merged: {syncs:#?}");
        let last = &syncs.last().expect("a sync")["payload"];
        let players = last["players"].as_array().expect("players");
        assert_eq!(players.len(), 2, "what changed since, of both: {last:#?}");
        assert_eq!(players[0]["position"]["x"], 50);
        assert_eq!(players[1]["position"]["x"], 7);
        node.assert_empty();
    }
}

#[test]
fn a_slow_reader_learns_who_left_meanwhile() {
    let mut node = node(2, no_limits(), vec![]);
    let (ann, bob, cid) = (
        node.member("arena"),
        node.member("arena"),
        node.member("arena"),
    );
    node.sockets[bob].window = 0;
    node.say(
        ann,
        r#"{"type":"game_action","payload":{"action":"move","position":{"x":1,"y":0,"z":0}}}"#,
    );
    node.pass(50);
    node.cut(cid);
    node.pass(100);
    node.sockets[bob].window = usize::MAX;
    let mut got = node.read(bob);
    got.extend(node.drain(bob));
    let left: Vec<_> = got
        .iter()
        .filter_map(|got| match got {
            Got::Message(message) if message["type"] == "sync" => {
                message["payload"]["left"].as_array()
            }
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(left.len(), 1, "{got:#?}");
}

#[test]
fn what_is_ephemeral_is_dropped_first_and_counted() {
    let mut node = node(1, no_limits(), vec![relay("default")]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    node.sockets[bob].window = 0;
    chat(&mut node, ann, 1, 10);
    for _ in 0..10 {
        node.say(
            ann,
            r#"{"type":"event","name":"cursor","ephemeral":true,"payload":{"x":1}}"#,
        );
    }
    node.sockets[bob].window = usize::MAX;
    node.read(bob);
    assert_eq!(node.types(bob), ["chat"]);
    assert_eq!(node.shards[0].stats().ephemeral_dropped, 10);
}

#[test]
fn a_sender_is_not_read_beyond_its_publish_window() {
    let settings = Settings {
        publish_window: 2_000,
        turn_bytes: 1_000,
        ..no_limits()
    };
    let mut node = node(1, settings, vec![relay("default")]);
    let ann = node.member("room");
    for _ in 0..9 {
        node.member("room");
    }
    for n in 0..100 {
        chat(&mut node, ann, n, 100);
    }
    node.turn();
    assert!(
        node.unread(ann) > 80,
        "only a window's worth was read: {} left",
        node.unread(ann)
    );
    node.settle();
    let got = node.messages(ann);
    assert_eq!(got.len(), 100, "all of it in the end");
    assert!(node.shards[0].stats().reads_paused > 0);
}

#[test]
fn a_quiet_room_waits_at_most_a_round_for_a_busy_one() {
    let settings = Settings {
        turn_bytes: 300_000,
        publish_window: 10_000_000,
        control_lane: 10_000_000,
        ..no_limits()
    };
    let mut node = node(1, settings, vec![relay("default")]);
    let busy = node.member("busy");
    for _ in 0..20 {
        node.member("busy");
    }
    let quiet = node.member("quiet");
    for n in 0..2_000 {
        chat(&mut node, busy, n, 200);
    }
    chat(&mut node, quiet, 7, 10);
    node.turn();
    let heard = node.read(quiet);
    assert_eq!(heard.len(), 1, "served in the first turn");
    assert!(
        node.shards[0].stats().turns_cut > 0,
        "the busy room needs more than one"
    );
    node.settle();
    let got = node.messages(busy);
    assert_eq!(got.len(), 2_000);
}

#[test]
fn a_home_takes_nothing_for_a_room_whose_way_out_is_full() {
    let settings = Settings {
        link_window: 1_000,
        publish_window: 4_000,
        ..no_limits()
    };
    let mut node = node(2, settings, vec![relay("default")]);
    let members: Vec<_> = (0..4).map(|_| node.member("room")).collect();
    node.slow_links = 100;
    for n in 0..200 {
        chat(&mut node, members[0], n, 100);
        chat(&mut node, members[1], n, 100);
    }
    for _ in 0..200 {
        node.turn();
    }
    let left = node.unread(members[0]) + node.unread(members[1]);
    assert!(left > 200, "the senders wait: {left}");
    node.slow_links = 0;
    node.settle();
    let waits: u64 = node
        .shards
        .iter_mut()
        .map(|shard| shard.stats().link_waits)
        .sum();
    assert!(waits > 0);
    for member in members {
        assert_eq!(node.messages(member).len(), 400);
    }
    node.assert_empty();
}

#[test]
fn answers_have_room_of_their_own_and_overtake_events() {
    let mut node = node(1, no_limits(), vec![relay("default")]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    node.sockets[bob].window = 0;
    chat(&mut node, ann, 1, 10);
    node.settle();
    chat(&mut node, ann, 2, 10);
    node.settle();
    for _ in 0..100 {
        node.send(bob, r#"{"type":"ping"}"#);
    }
    node.settle();
    assert!(
        node.unread(bob) > 0,
        "a message is read only when its answer has room"
    );
    let before = node.unread(bob);
    node.settle();
    assert_eq!(node.unread(bob), before);
    node.sockets[bob].window = usize::MAX;
    let mut got = node.read(bob);
    got.extend(node.drain(bob));
    let pongs = got
        .iter()
        .filter(|got| matches!(got, Got::Message(m) if m["type"] == "pong"))
        .count();
    assert_eq!(pongs, 100);
    assert_eq!(node.unread(bob), 0);
}

#[test]
fn a_million_joins_and_leaves_leave_nothing() {
    let mut node = node(
        1,
        no_limits(),
        vec![Kind {
            max_players: 0,
            ..relay("default")
        }],
    );
    let clients: Vec<_> = (0..4).map(|_| node.connect()).collect();
    let rounds = |node: &mut Node, count: u32| {
        for round in 0..count {
            for (nth, client) in clients.iter().enumerate() {
                let room = (round as usize + nth) % 5;
                node.send(
                    *client,
                    &format!(r#"{{"type":"join_room","room_id":"room-{room}"}}"#),
                );
                node.send(*client, r#"{"type":"leave_room"}"#);
            }
            node.settle();
            for client in &clients {
                node.read(*client);
            }
        }
    };
    rounds(&mut node, 1_000);
    let (rooms, stats) = (node.shards[0].rooms(), node.shards[0].stats().clone());
    let joins = if cfg!(debug_assertions) {
        25_000
    } else {
        250_000
    };
    rounds(&mut node, joins);
    assert_eq!(node.shards[0].rooms(), rooms);
    assert_eq!(node.shards[0].rooms(), (0, 0));
    let after = node.shards[0].stats();
    assert_eq!(
        (after.lane_pieces, after.chunks),
        (stats.lane_pieces, stats.chunks)
    );
    assert!(after.events > stats.events);
    node.assert_empty();
}

#[test]
fn what_one_sender_does_not_want_back_all_others_get() {
    // The senders on both shards have the same slot there.
    let mut node = node(2, no_limits(), vec![relay("default")]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    assert_eq!(node.sockets[ann].conn, node.sockets[bob].conn);
    for n in 0..10 {
        for from in [ann, bob] {
            let chat = format!(r#"{{"type":"chat","payload":{{"n":{n}}},"no_echo":true}}"#);
            node.send(from, &chat);
        }
    }
    assert_eq!(node.messages(ann).len(), 10);
    assert_eq!(node.messages(bob).len(), 10);
}

#[test]
fn a_room_in_debt_from_a_large_message_is_served_in_the_end() {
    let mut node = node(
        1,
        Settings {
            max_message: 0,
            publish_window: 1 << 30,
            ..no_limits()
        },
        vec![relay("default")],
    );
    let ann = node.member("room");
    for _ in 0..30 {
        node.member("room");
    }
    chat(&mut node, ann, 1, 400_000);
    chat(&mut node, ann, 2, 10);
    node.settle();
    assert_eq!(node.messages(ann).len(), 2);
}

#[test]
fn a_turn_makes_no_more_for_a_healthy_reader_than_its_lane_holds() {
    let settings = Settings {
        publish_window: 1 << 30,
        control_lane: 1 << 30,
        turn_bytes: 1 << 30,
        ..no_limits()
    };
    let mut node = node(1, settings, vec![relay("default")]);
    let (ann, bob) = (node.member("room"), node.member("room"));
    // Takes 100 KB whenever the shard writes.
    for n in 0..2_000 {
        chat(&mut node, ann, n, 1_000);
    }
    node.sockets[bob].window = 200_000;
    let mut got = 0;
    for _ in 0..100 {
        node.turn();
        got += node.read(bob).len();
        node.read(ann);
    }
    assert!(node.sockets[bob].open);
    assert_eq!(got, 2_000);
    assert_eq!(node.shards[0].stats().slow_readers, 0);
}
