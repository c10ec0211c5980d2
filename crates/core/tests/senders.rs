//! Who speaks: each message from a member says the session, the user that its token names, and its number in the room.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::Cluster;
use common::{Client, Node, node, relay, text};
use roomcast_core::settings::Settings;
use serde_json::{Value, json};

const ROOM: &str = "chat:1";

fn settings() -> Settings {
    Settings {
        session_grace: 30_000,
        ..Settings::default()
    }
}

fn hello(token: Option<&str>) -> String {
    let token = token.map(|user| format!("{user} all:{ROOM}"));
    json!({"type": "hello", "payload": {"version": 1, "token": token}}).to_string()
}

fn join() -> String {
    json!({"type": "join_room", "room_id": ROOM}).to_string()
}

/// Somebody in the room, and its `client_id`.
fn member(node: &mut Node, user: Option<&str>) -> (Client, String) {
    let client = node.connect();
    node.say(client, &hello(user));
    let id = text(&node.messages(client)[0]["payload"]["client_id"]);
    node.say(client, &join());
    (client, id)
}

fn from(message: &Value) -> [&Value; 3] {
    [
        &message["from_client_id"],
        &message["from_user_id"],
        &message["from_player_num"],
    ]
}

/// Everything that a member says to its room.
fn all_that_is_said() -> Vec<Value> {
    let say = |fields: Value| {
        let mut message = json!({"room_id": ROOM});
        message
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        message
    };
    vec![
        say(json!({"type": "chat", "payload": "a"})),
        say(json!({"type": "chat", "payload": "b", "seq": 1})),
        say(json!({"type": "event", "name": "c"})),
        say(json!({"type": "event", "name": "d", "ephemeral": true})),
        say(json!({"type": "game_action", "payload": {"action": "e"}})),
        say(json!({"type": "presence", "payload": {"presence": {"f": 1}}})),
    ]
}

#[test]
fn a_message_says_who_spoke_live_in_history_and_after_the_sender_has_left() {
    for shards in [1, 3] {
        let mut node = node(shards, settings(), vec![relay("chat")]);
        let (bob, _) = member(&mut node, None);
        let (ann, id) = member(&mut node, Some("ann"));
        let told = node.messages(bob);
        let came = told.iter().find(|it| it["payload"]["player_id"] == "ann");
        assert_eq!(from(came.unwrap()), [&json!(id), &json!("ann"), &json!(2)]);
        for message in all_that_is_said() {
            node.say(ann, &message.to_string());
            let got = node.messages(bob);
            assert_eq!(got.len(), 1, "{message}: {got:#?}");
            assert_eq!(got[0]["type"], message["type"]);
            assert_eq!(from(&got[0]), [&json!(id), &json!("ann"), &json!(2)]);
        }
        node.say(ann, r#"{"type":"leave_room","room_id":"chat:1"}"#);
        let left = node.messages(bob).remove(0);
        assert_eq!(left["type"], "player_left");
        assert_eq!(from(&left), [&json!(id), &json!("ann"), &json!(2)]);
        node.say(
            bob,
            r#"{"type":"history","room_id":"chat:1","payload":{"after":1}}"#,
        );
        let page = node.messages(bob).remove(0);
        let events = page["payload"]["events"].as_array().unwrap();
        assert_eq!(events.len(), 6, "{page:#}");
        for event in events {
            assert_eq!(
                from(event),
                [&json!(id), &json!("ann"), &json!(2)],
                "{event}"
            );
        }
    }
}

#[test]
fn without_a_token_there_is_no_user_and_a_client_can_name_none() {
    let mut node = node(1, settings(), vec![relay("chat")]);
    let (bob, _) = member(&mut node, None);
    let (eve, id) = member(&mut node, None);
    node.messages(bob);
    for mut message in all_that_is_said() {
        let lies = json!({"from_client_id": "x", "from_user_id": "ann", "from_player_num": 1, "from_service": "shop"});
        message
            .as_object_mut()
            .unwrap()
            .extend(lies.as_object().unwrap().clone());
        node.say(eve, &message.to_string());
        let got = node.messages(bob).remove(0);
        assert_eq!(from(&got), [&json!(id), &Value::Null, &json!(2)]);
        assert_eq!(got["from_service"], Value::Null);
    }
}

#[test]
fn a_direct_message_says_the_user_and_no_number() {
    for shards in [1, 3] {
        let mut node = node(shards, settings(), vec![relay("chat")]);
        let (bob, bobs) = member(&mut node, Some("bob"));
        let (ann, id) = member(&mut node, Some("ann"));
        node.messages(bob);
        let to = [json!({"to_client_id": bobs}), json!({"to_user_id": "bob"})];
        for to in to {
            for ephemeral in [false, true] {
                let mut message = json!({"type": "chat", "room_id": ROOM, "payload": "x", "ephemeral": ephemeral});
                message
                    .as_object_mut()
                    .unwrap()
                    .extend(to.as_object().unwrap().clone());
                node.say(ann, &message.to_string());
                let got = node.messages(bob).remove(0);
                assert_eq!(
                    from(&got),
                    [&json!(id), &json!("ann"), &Value::Null],
                    "{got}"
                );
            }
        }
    }
}

#[test]
fn who_comes_back_is_told_who_spoke_meanwhile() {
    for kind in ["room", "inbox"] {
        let mut node = node(3, settings(), vec![relay("chat")]);
        let bob = node.connect();
        node.say(bob, &hello(Some("bob")));
        let welcome = node.messages(bob).remove(0);
        node.say(bob, &join());
        node.messages(bob);
        let (ann, id) = member(&mut node, Some("ann"));
        node.cut(bob);
        node.settle();
        let message = match kind {
            "room" => json!({"type": "chat", "room_id": ROOM, "payload": "x"}),
            _ => json!({"type": "chat", "to_user_id": "bob", "payload": "x"}),
        };
        node.say(ann, &message.to_string());
        let again = node.connect();
        let payload = json!({"version": 1, "token": format!("bob all:{ROOM}"),
            "resume_token": welcome["payload"]["resume_token"]});
        node.say(
            again,
            &json!({"type": "hello", "payload": payload}).to_string(),
        );
        if kind == "room" {
            node.say(
                again,
                r#"{"type":"history","room_id":"chat:1","payload":{}}"#,
            );
        }
        let got = node.messages(again);
        let event = match kind {
            "room" => {
                let page = got.iter().find(|it| it["type"] == "history").unwrap();
                page["payload"]["events"][0].clone()
            }
            _ => got.iter().find(|it| it["type"] == "chat").unwrap().clone(),
        };
        let num = if kind == "room" {
            json!(2)
        } else {
            Value::Null
        };
        assert_eq!(from(&event), [&json!(id), &json!("ann"), &num], "{event}");
    }
}

/// Two nodes, a member on each, and the room's home dies: what the store has says it too.
#[test]
fn another_node_that_takes_the_room_over_knows_who_spoke() {
    let mut cluster = Cluster::new(&[1, 1, 1], &settings(), &[relay("chat")]);
    let member = |cluster: &mut Cluster, at: usize, user: &str| {
        let client = (at, cluster.node(at).connect());
        cluster.say(client, &hello(Some(user)));
        let id = text(&cluster.messages(client)[0]["payload"]["client_id"]);
        cluster.say(client, &join());
        (client, id)
    };
    let (bob, _) = member(&mut cluster, 0, "bob");
    let (ann, id) = member(&mut cluster, 1, "ann");
    cluster.messages(bob);
    let anns = [json!(id), json!("ann"), json!(2)];
    let anns: Vec<_> = anns.iter().collect();
    for message in all_that_is_said() {
        cluster.say(ann, &message.to_string());
        let got = cluster.messages(bob).remove(0);
        assert_eq!(from(&got)[..], anns[..], "{got}");
    }
    let direct = json!({"type": "chat", "to_user_id": "bob", "payload": "psst"});
    cluster.say(ann, &direct.to_string());
    let got = cluster.messages(bob).remove(0);
    assert_eq!(from(&got), [anns[0], anns[1], &Value::Null]);
    let home = cluster.home_of(ROOM).unwrap();
    let left = if home == 0 { ann } else { bob };
    cluster.kill(home);
    cluster.pass(10_000);
    cluster.drop_all();
    cluster.say(
        left,
        r#"{"type":"history","room_id":"chat:1","payload":{}}"#,
    );
    let got = cluster.messages(left);
    let page = got.iter().find(|it| it["type"] == "history").unwrap();
    let events = page["payload"]["events"].as_array().unwrap();
    let said = events.iter().filter(|it| it["type"] != "player_joined");
    assert_eq!(said.clone().count(), 4, "{page:#}");
    for event in said {
        assert_eq!(from(event)[..], anns[..], "{event}");
    }
}
