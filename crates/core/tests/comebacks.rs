//! What clients that came back were told wrongly once: each of these was found by the simulation.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Client, Node, node, relay};
use roomcast_core::settings::{Kind, Settings};
use serde_json::{Value, json};

fn say(node: &mut Node, client: Client, message: &Value) -> Vec<Value> {
    node.say(client, &message.to_string());
    node.messages(client)
}

fn greet(node: &mut Node) -> Client {
    let client = node.connect();
    say(
        node,
        client,
        &json!({"type": "hello", "payload": {"version": 1}}),
    );
    client
}

fn of_type<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    messages.iter().filter(|it| it["type"] == kind).collect()
}

#[test]
fn a_skip_that_comes_too_soon_is_refused_by_its_number() {
    let settings = Settings {
        messages_per_second: 1,
        burst: 2,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![relay("chat")]);
    let client = greet(&mut node);
    say(
        &mut node,
        client,
        &json!({"type": "join_room", "room_id": "chat:1"}),
    );
    let skip = json!({"type": "skip", "room_id": "chat:1", "payload": {"seq": 7}});
    node.say(client, &skip.to_string());
    let error = node.error(client, "rate_limited");
    assert_eq!(error["payload"]["seq"], 7, "{error}");
    assert_eq!(error["payload"]["request"], "skip", "{error}");
}

#[test]
fn who_did_not_get_the_first_state_gets_all_of_it() {
    let mut node = node(1, Settings::default(), vec![Kind::default()]);
    let client = greet(&mut node);
    node.sockets[client].window = 10;
    node.say(client, r#"{"type":"join_room","room_id":"arena"}"#);
    node.sockets[client].window = usize::MAX;
    node.read(client);
    let told = node.messages(client);
    let syncs = of_type(&told, "sync");
    assert_eq!(syncs[0]["payload"]["full"], true, "{told:#?}");
}
