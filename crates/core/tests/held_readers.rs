//! Who is told nothing until its session is saved is a slow reader meanwhile, as far as its lanes go.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/processes.rs"]
mod processes;

use common::text;
use processes::{Records, process_with, types};
use serde_json::json;

/// What waits in its lane is dropped when it is too much, and is told from the log later. State that waited behind that
/// is of after it.
#[test]
fn state_does_not_overtake_events_that_are_dropped_before_a_session_is_saved() {
    let records = Records::new();
    let mut node = process_with(&records, 1, |settings| settings.event_lane = 1_500);
    let (ann, _) = node.newcomer();
    let (bob, _) = node.newcomer();
    let (cid, _) = node.newcomer();
    for room in ["r", "q"] {
        node.join(cid, room);
    }
    node.join(ann, "r");
    node.told(ann);
    node.tap(false);
    let join = |room: &str| json!({"type": "join_room", "room_id": room}).to_string();
    let mood = json!({"type": "presence", "room_id": "r", "payload": {"presence": {"mood": 7}}});
    node.node.send(bob, &join("r"));
    node.node.send(bob, &mood.to_string());
    node.node.send(ann, &join("q"));
    node.node.settle();
    for _ in 0..20 {
        let chat = json!({"type": "chat", "room_id": "r", "payload": "x".repeat(200)});
        node.node.say(cid, &chat.to_string());
        node.told(cid);
    }
    assert!(node.told(ann).is_empty());
    node.tap(true);
    let mut told = node.told(ann);
    told.retain(|it| it["room_id"] == "r");
    let at = |kind: &str| types(&told).iter().position(|it| it == kind);
    let joined = at("player_joined").unwrap();
    let presence = told.iter().rposition(|it| it["type"] == "presence");
    assert!(presence > Some(joined), "{:?}", types(&told));
    let presence = &told[presence.unwrap()]["payload"];
    assert_eq!(text(&presence["presence"]["mood"].to_string().into()), "7");
}
