//! The state of a large room comes in parts that a lane can hold, to whoever lacks it, and all of it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::BTreeMap;

use common::{Client, Node, node};
use roomcast_core::settings::{Kind, PresenceMode, Settings};
use serde_json::Value;

/// Bytes of a lane; no message with state comes near it.
const LANE: usize = 16 * 1024;
const LARGEST: usize = LANE / 2;
const JOIN: &str = r#"{"type":"join_room","payload":{"room_id":"arena"}}"#;

fn arena(presence: PresenceMode) -> Node {
    let settings = Settings {
        event_lane: LANE,
        messages_per_second: 0,
        ..Settings::default()
    };
    let kind = Kind {
        presence,
        ..Kind::default()
    };
    node(2, settings, vec![kind])
}

/// So many join, and have read what they were told.
fn populate(node: &mut Node, players: usize) -> Vec<Client> {
    let clients: Vec<_> = (0..players).map(|_| node.connect()).collect();
    for client in &clients {
        node.send(*client, JOIN);
    }
    node.settle();
    node.pass(200);
    for client in &clients {
        node.drain(*client);
    }
    clients
}

fn move_to(node: &mut Node, client: Client, x: usize) {
    let action = format!(
        r#"{{"type":"game_action","room_id":"arena","payload":{{"action":"move","position":{{"x":{x}}}}}}}"#
    );
    node.send(client, &action);
}

/// The state as a client sees it.
#[derive(Default)]
struct View {
    players: BTreeMap<String, Value>,
    syncs: usize,
    full: usize,
}

impl View {
    fn take(&mut self, messages: &[Value]) {
        for message in messages.iter().filter(|it| it["type"] == "sync") {
            let size = message.to_string().len();
            assert!(size < LARGEST, "{size} bytes");
            let sync = &message["payload"];
            self.syncs += 1;
            if sync["full"] == true {
                self.full += 1;
                self.players.clear();
            }
            for id in sync["left"].as_array().unwrap() {
                self.players.remove(id.as_str().unwrap());
            }
            for player in sync["players"].as_array().unwrap() {
                let id = player["player_id"].as_str().unwrap().to_owned();
                self.players.insert(id, player.clone());
            }
        }
    }
}

/// What somebody who comes now is told.
fn newcomer(node: &mut Node) -> View {
    let (client, mut view) = (node.connect(), View::default());
    node.say(client, JOIN);
    view.take(&node.messages(client));
    view
}

#[test]
fn a_newcomer_gets_all_of_a_large_state_in_parts() {
    for presence in [PresenceMode::Count, PresenceMode::Full] {
        let mut node = arena(presence);
        populate(&mut node, 250);
        let view = newcomer(&mut node);
        assert_eq!((view.players.len(), view.full), (251, 1), "{presence:?}");
        assert!(view.syncs > 5, "{}", view.syncs);
    }
}

#[test]
fn a_newcomer_of_a_small_room_is_told_once() {
    let mut node = arena(PresenceMode::Full);
    populate(&mut node, 10);
    let view = newcomer(&mut node);
    assert_eq!((view.players.len(), view.syncs, view.full), (11, 1, 1));
}

#[test]
fn what_all_do_at_once_is_told_in_parts() {
    let mut node = arena(PresenceMode::Count);
    let players = populate(&mut node, 250);
    let (client, mut view) = (node.connect(), View::default());
    node.say(client, JOIN);
    view.take(&node.messages(client));
    for player in &players {
        move_to(&mut node, *player, 7);
    }
    node.settle();
    node.pass(200);
    view.take(&node.messages(client));
    let moved = view
        .players
        .values()
        .filter(|it| it["position"]["x"] == 7.0);
    assert_eq!(moved.count(), 250);
    for player in &players {
        node.cut(*player);
    }
    node.pass(200);
    view.take(&node.messages(client));
    assert_eq!(view.players.len(), 1, "all but one are gone");
}

#[test]
fn a_slow_newcomer_gets_all_in_the_end_whatever_goes_on_meanwhile() {
    let mut node = arena(PresenceMode::Count);
    let players = populate(&mut node, 200);
    let (slow, mut view) = (node.connect(), View::default());
    node.sockets[slow].window = 700;
    node.send(slow, JOIN);
    let (mut gone, mut turns) = (0, 0);
    while turns < 400 {
        turns += 1;
        // Each moves once in a while, and more leave than a room remembers.
        move_to(&mut node, players[turns % 100], turns);
        if turns % 4 == 0 && gone < 100 {
            node.cut(players[199 - gone]);
            gone += 1;
        }
        node.pass(20);
        let got = node.read(slow);
        view.take(&common::messages_of(got));
        for player in &players {
            node.read(*player);
        }
    }
    node.sockets[slow].window = usize::MAX;
    node.read(slow);
    view.take(&node.messages(slow));
    let truth = newcomer(&mut node);
    view.take(&node.messages(slow));
    node.pass(100);
    view.take(&node.messages(slow));
    assert_eq!(view.players.len(), 102);
    assert!(view.players == truth.players, "the newest of each");
}

#[test]
fn each_of_many_rooms_has_its_turn() {
    let settings = Settings {
        event_lane: LANE,
        messages_per_second: 0,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![Kind::default()]);
    let (ann, bob) = (node.connect(), node.connect());
    let of = |room: usize, message: &str| message.replace("arena", &format!("arena-{room}"));
    for room in 0..40 {
        node.say(ann, &of(room, JOIN));
    }
    node.messages(ann);
    node.say(bob, r#"{"type":"hello","payload":{"version":1}}"#);
    for room in 0..40 {
        node.say(bob, &of(room, JOIN));
        node.messages(bob);
    }
    node.sockets[bob].window = 500;
    let mut told = std::collections::BTreeSet::new();
    for x in 0..2_000 {
        // In all of them something goes on, at all times.
        let room = x % 40;
        let action = r#"{"type":"game_action","room_id":"arena","payload":{"action":"move","position":{"x":1}}}"#;
        node.send(ann, &of(room, action));
        node.pass(10);
        node.read(ann);
        let got = node.read(bob);
        for message in common::messages_of(got) {
            if message["type"] == "sync" {
                told.insert(message["room_id"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(told.len(), 40);
}
