//! What waits for a connection names its room for as long as it waits, also when another room takes that one's place.

mod common;

use common::{Client, Node, node, relay};
use roomcast_core::Encoding;
use roomcast_core::settings::{Kind, PresenceMode, Settings};

const LANE: usize = 32 * 1024;

fn join(node: &mut Node, client: Client, room: &str) {
    let join = format!(r#"{{"type":"join_room","room_id":"{room}"}}"#);
    node.say(client, &join);
}

fn speak(node: &mut Node, client: Client, room: &str, times: usize) {
    for number in 0..times {
        let chat = format!(r#"{{"type":"chat","room_id":"{room}","payload":"{room} {number}"}}"#);
        node.say(client, &chat);
    }
}

/// Leaves `first` with its events still waiting, joins `second`, and has the lane overrun by `third`.
fn overrun(first_events: usize, second_events: usize) {
    let settings = Settings {
        event_lane: LANE,
        messages_per_second: 0,
        ..Settings::default()
    };
    // Who joins `second` is given no event there: nothing of it waits.
    let quiet = Kind {
        presence: PresenceMode::None,
        ..relay("quiet")
    };
    let mut node = node(2, settings, vec![relay("default"), quiet]);
    let reader = node.connect_to(0, Encoding::ALL[0]);
    let speaker = node.connect_to(1, Encoding::ALL[0]);
    node.say(reader, r#"{"type":"hello"}"#);
    for room in ["first", "quiet:second", "third"] {
        join(&mut node, speaker, room);
    }
    speak(&mut node, speaker, "first", first_events);
    speak(&mut node, speaker, "quiet:second", second_events);
    join(&mut node, reader, "first");
    join(&mut node, reader, "third");
    node.messages(reader);
    node.messages(speaker);

    node.sockets[reader].window = 0;
    speak(&mut node, speaker, "first", 4);
    node.say(reader, r#"{"type":"leave_room","room_id":"first"}"#);
    join(&mut node, reader, "quiet:second");
    speak(&mut node, speaker, "third", 200);
    assert!(
        node.shards[0].stats().readers_behind > 0,
        "the lane was not overrun"
    );
    speak(&mut node, speaker, "quiet:second", 20);

    node.sockets[reader].window = usize::MAX;
    assert!(node.sockets[reader].open, "it was closed instead");
    node.read(reader);
    let got = node.messages(reader);
    let (mut joined, mut heard) = (Vec::new(), Vec::new());
    for message in got.iter().filter(|it| it["room_id"] == "quiet:second") {
        match message["type"].as_str() {
            Some("joined") => joined.push(message["payload"]["offset"].as_u64()),
            Some("error") => panic!("{message}"),
            _ => heard.extend(message["offset"].as_u64()),
        }
    }
    assert_eq!(joined.len(), 1, "a gap was told that is none: {joined:?}");
    let first = joined[0].unwrap_or(0) + 1;
    let all: Vec<u64> = (first..first + 20).collect();
    assert_eq!(heard, all, "{first_events} and {second_events}");
    node.messages(speaker);
    node.assert_gone();
}

#[test]
fn a_room_that_was_left_does_not_move_the_position_in_the_one_that_took_its_place() {
    for (first, second) in [(0, 0), (30, 0), (0, 30), (30, 20), (60, 3)] {
        overrun(first, second);
    }
}
