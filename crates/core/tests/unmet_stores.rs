//! A store has come back with older data, and a node that looks for a session has not met it, or others have yet to write
//! there: what it says of that session is not believed.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::{Got, relay, text};
use roomcast_core::settings::Settings;
use roomcast_core::store::StoreId;
use serde_json::{Value, json};

/// The store that has come back.
const NEXT: StoreId = StoreId(8);

/// Three nodes. Bob's session is on the first one. The store is back with a copy of when it was on the third, which is gone
/// since, and nobody knows of that yet. And Bob's id.
fn with_older_data() -> (Cluster, At, String) {
    let settings = Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        pong_timeout: 0,
        max_user_sessions: 1,
        patience: 60_000,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&[1, 1, 1], &settings, &[relay("default")]);
    let bob = hello(&mut cluster, 2, &json!({"token": "bob all:x"}));
    let welcome = cluster.messages(bob).remove(0);
    let older = cluster.model.borrow().clone();
    let token = &welcome["payload"]["resume_token"];
    let bob = hello(&mut cluster, 0, &json!({"resume_token": token}));
    let back = cluster.messages(bob).remove(0);
    assert_eq!(back["payload"]["resumed"], true);
    cluster.kill(2);
    *cluster.model.borrow_mut() = older.restarted(NEXT);
    (cluster, bob, text(&back["payload"]["client_id"]))
}

fn hello(cluster: &mut Cluster, node: usize, payload: &Value) -> At {
    let at = (node, cluster.node(node).connect());
    let hello = json!({"type": "hello", "payload": payload});
    cluster.say(at, &hello.to_string());
    at
}

fn payloads(messages: &[Value]) -> Vec<String> {
    let chats = messages.iter().filter(|it| it["type"] == "chat");
    chats.map(|it| text(&it["payload"])).collect()
}

/// All have met the store, and have yet to write there what they have.
fn meet(cluster: &mut Cluster) {
    (cluster.settled, cluster.store) = (false, NEXT);
}

#[test]
fn a_session_that_lives_stays_in_its_users_set() {
    let (mut cluster, bob, _) = with_older_data();
    let second = hello(&mut cluster, 1, &json!({"token": "bob all:x"}));
    cluster.pass(500);
    assert!(cluster.messages(second).is_empty(), "nobody has met it");
    meet(&mut cluster);
    cluster.tell(1);
    cluster.pass(500);
    assert!(cluster.messages(second).is_empty(), "another has to write");
    cluster.tell(0);
    cluster.pass(500);
    cluster.settled = true;
    cluster.tell_all();
    cluster.pass(2_000);
    let told = cluster.node(1).drain(second.1);
    assert!(
        matches!(told.last(), Some(Got::Close(4006, _))),
        "{told:#?}"
    );
    let ann = hello(&mut cluster, 1, &json!({"token": "ann all:x"}));
    let chat = json!({"type": "chat", "to_user_id": "bob", "seq": 1, "payload": "x"});
    cluster.say(ann, &chat.to_string());
    assert_eq!(payloads(&cluster.messages(bob)), ["x"]);
}

#[test]
fn an_ephemeral_message_waits_for_who_has_its_recipient() {
    let (mut cluster, bob, name) = with_older_data();
    let ann = hello(&mut cluster, 1, &json!({"token": "ann all:x"}));
    assert_eq!(cluster.types(ann), ["welcome"]);
    let chat =
        json!({"type": "chat", "to_client_id": name, "ephemeral": true, "payload": "typing"});
    cluster.say(ann, &chat.to_string());
    cluster.pass(500);
    meet(&mut cluster);
    cluster.tell(1);
    cluster.pass(500);
    assert!(cluster.messages(ann).is_empty(), "he may be anywhere");
    cluster.tell(0);
    cluster.pass(500);
    cluster.settled = true;
    cluster.tell_all();
    cluster.pass(2_000);
    assert_eq!(payloads(&cluster.messages(bob)), ["typing"]);
    assert!(cluster.messages(ann).is_empty());
}
