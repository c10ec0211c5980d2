//! Connections that do not read, next to others that do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;

use common::{Client, DEADLINE, Got, address, eventually, metric, moves, start, text_frame};
use roomcast_protocol::client::{PlayerState, ServerBody};
use roomcast_protocol::{Format, MessageType};
use roomcast_server::RunningServer;
use roomcast_server::config::Config;
use roomcast_websocket::{Opcode, frame};

/// Small socket buffers, so that a reader that stalls is one soon; and no timer whose turn would bring about what a
/// drained socket has to.
fn small_buffers(config: &mut Config) {
    config.socket.send_buffer = 8 * 1024;
    config.core.event_lane = 64 * 1024;
    config.core.write_timeout = 0;
    config.core.ping_interval = 0;
    config.core.pong_timeout = 0;
    config.core.max_idle = 0;
    config.core.max_lifetime = 0;
}

fn closed(server: &RunningServer, cause: &str) -> u64 {
    metric(
        server,
        &format!("roomcast_closed_by_server_total{{cause=\"{cause}\"}}"),
    )
}

#[test]
fn a_full_event_lane_closes_its_connection_and_delays_nobody() {
    let server = start(small_buffers);
    let mut stalled = Client::narrow(address(&server), Format::Json);
    let mut healthy = Client::protobuf(address(&server));
    let mut talker = Client::json(address(&server));
    for client in [&mut stalled, &mut healthy, &mut talker] {
        client.join("relay:1");
    }
    let text = "x".repeat(1_000);
    let mut sent = 0;
    while closed(&server, "slow_reader") == 0 {
        talker.chat("relay:1", &text);
        sent += 1;
        assert_eq!(healthy.expect_chat().0, text);
        talker.expect_chat();
        assert!(sent < 5_000, "its lane has no bound");
    }
    // What it had begun to get it gets whole, then it is told why and that it may come back.
    let (code, reason) = stalled.expect_close();
    assert_eq!(code, 4001);
    assert!(
        reason.starts_with("slow_reader; retry_after_ms="),
        "{reason}"
    );
    assert_eq!(metric(&server, "roomcast_closes_total{code=\"4001\"}"), 1);
}

#[test]
fn a_slow_reader_of_state_gets_fewer_and_the_newest() {
    let server = start(|config| {
        small_buffers(config);
        config.kinds[0].tick = 5;
    });
    let mut stalled = Client::narrow(address(&server), Format::Json);
    let mut player = Client::protobuf(address(&server));
    let mut mover = Client::json(address(&server));
    let mine = mover.join("room").player_id;
    stalled.join("room");
    player.join("room");
    // Many others, so that a sync is long. They read.
    let mut crowd: Vec<TcpStream> = (0..40).map(|_| reading_member(&server, "room")).collect();
    let who = mine.clone();
    let reader = std::thread::spawn(move || seen_until(&mut player, &who, LAST));
    // How long a sync is depends on how many moves meet in a tick. So it is the reader who says when he has missed some.
    let (mut x, mut moves_unread) = (0.0, 50);
    loop {
        for _ in 0..moves_unread {
            x += 1.0;
            for stream in &mut crowd {
                stream.write_all(&text_frame(&moves(x))).unwrap();
            }
            mover.text(&moves(x));
            mover.expect(MessageType::Sync);
        }
        let seen = seen_until(&mut stalled, &mine, x);
        if seen.frames < seen.made {
            break;
        }
        moves_unread *= 2;
        assert!(moves_unread < 5_000, "state waits without a bound");
    }
    assert_eq!(closed(&server, "slow_reader"), 0, "its events had room");
    mover.text(&moves(LAST));
    seen_until(&mut stalled, &mine, LAST);
    reader.join().unwrap();
    assert!(metric(&server, "roomcast_dropped_total{cause=\"state_replaced\"}") > 0);
    assert!(metric(&server, "roomcast_catch_ups_total") > 0);
}

/// A member whose socket is read to its end by a thread of its own.
fn reading_member(server: &RunningServer, room: &str) -> TcpStream {
    let mut client = Client::json(address(server));
    client.join(room);
    let stream = client.stream.try_clone().unwrap();
    std::thread::spawn(move || while !matches!(client.next(), Got::End) {});
    stream
}

/// Where a player stands at the end of a test.
const LAST: f64 = -1.0;

/// What a member got until it saw a player at a place.
#[derive(Debug)]
struct Seen {
    /// Frames of the room of which something came.
    frames: i64,
    /// Frames that the room made from the first of these to the last.
    made: i64,
}

fn seen_until(client: &mut Client, player: &str, x: f64) -> Seen {
    let mut frames = BTreeSet::new();
    loop {
        let ServerBody::Sync(sync) = client.expect(MessageType::Sync).body else {
            unreachable!()
        };
        frames.insert(sync.frame_num);
        let there = |state: &PlayerState| state.player_id == player && state.position.x == x;
        if sync.players.iter().any(there) {
            return Seen {
                frames: i64::try_from(frames.len()).unwrap(),
                made: frames.last().unwrap() - frames.first().unwrap() + 1,
            };
        }
    }
}

#[test]
fn ephemeral_events_are_the_first_to_be_dropped() {
    let server = start(small_buffers);
    let mut stalled = Client::narrow(address(&server), Format::Json);
    let mut talker = Client::json(address(&server));
    stalled.join("relay:1");
    talker.join("relay:1");
    let cursor = format!(
        r#"{{"type":"event","name":"cursor","ephemeral":true,"no_echo":true,"payload":"{}"}}"#,
        "x".repeat(1_000)
    );
    let mut sent = 0;
    while metric(&server, "roomcast_dropped_total{cause=\"ephemeral\"}") < 100 {
        talker.text(&cursor);
        sent += 1;
        assert!(sent < 20_000, "ephemeral events wait without a bound");
    }
    talker.chat("relay:1", "kept");
    assert_eq!(stalled.expect_chat().0, "kept");
    assert_eq!(closed(&server, "slow_reader"), 0);
}

/// Whoever does not take its answers is not read from, and loses none of them.
#[test]
fn a_client_that_takes_no_answers_is_not_read() {
    let server = start(small_buffers);
    let mut client = Client::narrow(address(&server), Format::Json);
    let mut writer = client.stream.try_clone().unwrap();
    const PINGS: u32 = 200_000;
    let (about_to_wait, waiting) = std::sync::mpsc::channel();
    let sender = std::thread::spawn(move || {
        writer.set_nonblocking(false).unwrap();
        let mut bytes = Vec::new();
        for n in 0..PINGS {
            frame::write_frame(
                &mut bytes,
                Opcode::Ping,
                true,
                false,
                &n.to_be_bytes(),
                Some([5; 4]),
            );
        }
        // More than the buffers of both ends hold, so this ends only when the server reads on.
        about_to_wait.send(()).unwrap();
        writer.write_all(&bytes).unwrap();
    });
    waiting.recv_timeout(DEADLINE).unwrap();
    for n in 0..PINGS {
        match client.next() {
            Got::Pong(data) => assert_eq!(data, n.to_be_bytes()),
            other => panic!("{other:?}"),
        }
    }
    sender.join().unwrap();
}

#[test]
fn a_socket_that_takes_no_byte_is_given_up() {
    let server = start(|config| {
        small_buffers(config);
        config.core.event_lane = 0;
        config.core.write_timeout = 200;
    });
    let mut stalled = Client::narrow(address(&server), Format::Json);
    let mut talker = Client::json(address(&server));
    stalled.join("relay:1");
    talker.join("relay:1");
    for _ in 0..1_000 {
        talker.chat("relay:1", &"x".repeat(1_000));
        talker.expect_chat();
    }
    eventually("it is closed", || closed(&server, "write_timeout") == 1);
    // It doesn't take the close frame either, so its socket is cut.
    eventually("it is gone", || server.connections() == 1);
}

#[test]
fn publishes_keep_their_order_while_reading_pauses() {
    let server = start(|config| {
        config.server.shards = Some(2);
        config.core.event_lane = 0;
        config.core.publish_window = 2 * 1024;
        config.core.control_lane = 64 * 1024;
    });
    // Its rooms are at home on both shards: its publishes wait for the other one's turn.
    let mut client = Client::json(address(&server));
    for room in 0..4 {
        client.join(&format!("relay:{room}"));
    }
    let mut reader = Client::protobuf(address(&server));
    for room in 0..4 {
        reader.join(&format!("relay:{room}"));
    }
    let mut bytes = Vec::new();
    for n in 0..2_000 {
        let room = format!("relay:{}", n % 4);
        bytes.extend(common::framed(
            Format::Json,
            &common::chat(&n.to_string()).in_room(&room),
        ));
    }
    let mut writer = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let (mut last, mut own) = ([-1; 4], [-1; 4]);
    for (client, last) in [(&mut reader, &mut last), (&mut client, &mut own)] {
        for _ in 0..2_000 {
            let n: i32 = client.expect_chat().0.parse().unwrap();
            let before = &mut last[n as usize % 4];
            assert_eq!(
                n,
                if *before < 0 { n % 4 } else { *before + 4 },
                "in each room in order"
            );
            *before = n;
        }
    }
    sender.join().unwrap();
    assert!(metric(&server, "roomcast_reads_paused_total") > 0);
}
