//! No reader is given an event that is older than its room's log may keep.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Node, node, relay};
use roomcast_core::settings::{PresenceMode, Settings};
use serde_json::{Value, json};

/// A room of which one member has said three things, a while ago; the wall clock was set since, by so much.
fn quiet_room(age: u64, passes: u64, set: i64) -> Node {
    let mut kind = relay("chat");
    kind.retention.age = age;
    // Whoever joins is no event that would trim the log.
    kind.presence = PresenceMode::None;
    let mut node = node(1, Settings::default(), vec![kind]);
    let speaker = node.member("chat:1");
    for text in ["one", "two", "three"] {
        node.say(
            speaker,
            &json!({"type": "chat", "payload": text}).to_string(),
        );
    }
    node.now.unix_ms += set;
    node.jump(passes);
    node
}

/// What a newcomer is told when it joins, and all that the room's history has for it.
fn reads(node: &mut Node) -> (Value, usize) {
    let known = node.drain(0);
    let offset = |got: &common::Got| match got {
        common::Got::Message(message) => Some(message["epoch"].as_str()?.to_owned()),
        _ => None,
    };
    let epoch = known.iter().find_map(offset).unwrap();
    let reader = node.connect();
    let since = json!({"epoch": epoch, "offset": 1});
    let join = json!({"type": "join_room", "payload": {"room_id": "chat:1", "since": since}});
    node.say(reader, &join.to_string());
    let joined = node.messages(reader).remove(0);
    node.say(
        reader,
        r#"{"type":"history","room_id":"chat:1","payload":{}}"#,
    );
    let page = node.messages(reader).remove(0);
    let said = page["payload"]["events"].as_array().unwrap().iter();
    let said = said.filter(|event| event["type"] == "chat").count();
    (joined["payload"]["recovered"].clone(), said)
}

#[test]
fn what_is_too_old_is_neither_recovered_nor_in_the_history() {
    assert_eq!(reads(&mut quiet_room(1_000, 900, 0)), (json!(true), 3));
    assert_eq!(reads(&mut quiet_room(1_000, 1_100, 0)), (json!(false), 0));
    assert_eq!(reads(&mut quiet_room(0, 900_000, 0)), (json!(true), 3));
}

#[test]
fn a_wall_clock_that_is_set_ages_nothing() {
    for set in [3_600_000, -3_600_000] {
        assert_eq!(reads(&mut quiet_room(1_000, 500, set)), (json!(true), 3));
        assert_eq!(reads(&mut quiet_room(1_000, 1_100, set)), (json!(false), 0));
    }
}

#[test]
fn a_shard_wakes_to_give_back_what_is_too_old() {
    let mut node = quiet_room(1_000, 500, 0);
    let held = node.shards[0].stats().log_bytes;
    let due = node.shards[0].next_wake().unwrap();
    assert!(due < node.now.micros + 2_000_000, "{due}");
    node.jump((due - node.now.micros).div_ceil(1_000));
    assert!(node.shards[0].stats().log_bytes < held);
}
