//! What an application's backend is told: who comes and goes, and what is said, once it is kept and in its order.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::sync::Arc;

use common::bench::{STORE, bench, home, set_cluster, settings, tap, view};
use common::{Client, Node, SimHost, node_on, node_with, relay, text};
use roomcast_core::fact::{ClientFacts, RoomFacts, What};
use roomcast_core::log::Epoch;
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::{Claim, Request, Store};
use roomcast_core::{Outcome, PlayerNum, RoomContext, RoomLogic};
use roomcast_protocol::GameAction;

const ALL: RoomFacts = RoomFacts {
    rooms: true,
    members: true,
    messages: u32::MAX,
};

fn told(name: &str, facts: RoomFacts) -> Kind {
    Kind {
        facts,
        ..relay(name)
    }
}

fn with_clients(settings: Settings) -> Settings {
    Settings {
        facts: ClientFacts {
            sessions: true,
            refusals: true,
        },
        ..settings
    }
}

/// What was told since the last time, in a few words.
fn facts<S: Store>(node: &mut Node<S>) -> Vec<String> {
    let hosts = node.shards.iter_mut().map(|shard| shard.host());
    let facts = hosts.flat_map(|host: &mut SimHost| std::mem::take(&mut host.facts));
    let words = facts.map(|fact| match fact.what {
        What::SessionBegan(it) => format!("began {:?}", &*it.user_id),
        What::SessionEnded(it) => format!("ended {:?}", &*it.user_id),
        What::Refused(code) => format!("refused {code:?}"),
        What::RoomOpened(room) => format!("{room} opened"),
        What::RoomEmptied(room) => format!("{room} emptied"),
        What::Joined(it) => format!("{} joined by {} of {}", it.room, it.player_num, it.members),
        What::Left(it) => format!("{} left by {}, {} stay", it.room, it.player_num, it.members),
        What::Message { room, json, .. } => {
            let message: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(message["room_id"], *room);
            let (kind, offset) = (text(&message["type"]), &message["offset"]);
            format!("{room} {kind} {} at {offset}", message["payload"])
        }
    });
    words.collect()
}

fn say<S: Store>(node: &mut Node<S>, client: Client, room: &str, what: &str) {
    let json = serde_json::json!({ "type": "chat", "room_id": room, "payload": what });
    node.say(client, &json.to_string());
}

#[test]
fn a_backend_is_told_who_comes_and_goes_and_what_is_said() {
    let kinds = vec![(told("chat", ALL), None), (relay("quiet"), None)];
    let mut node = node_with(1, 1, with_clients(Settings::default()), kinds);
    let (ann, bob) = (node.member("chat:1"), node.member("chat:1"));
    assert_eq!(
        facts(&mut node),
        [
            "began \"\"",
            "chat:1 opened",
            "chat:1 joined by 1 of 1",
            "began \"\"",
            "chat:1 joined by 2 of 2"
        ]
    );
    say(&mut node, ann, "chat:1", "one");
    node.say(
        ann,
        r#"{"type":"event","room_id":"chat:1","name":"e","payload":[2]}"#,
    );
    node.say(
        ann,
        r#"{"type":"event","room_id":"chat:1","name":"e","ephemeral":true}"#,
    );
    assert_eq!(
        facts(&mut node),
        ["chat:1 chat \"one\" at 3", "chat:1 event [2] at 4"],
        "what no log keeps is not told"
    );
    node.say(bob, r#"{"type":"leave_room","room_id":"chat:1"}"#);
    node.cut(ann);
    node.pass(100);
    let mut last = facts(&mut node);
    last.sort_unstable();
    let mut expected = [
        "chat:1 left by 2, 1 stay",
        "chat:1 left by 1, 0 stay",
        "chat:1 emptied",
        "ended \"\"",
    ];
    expected.sort_unstable();
    assert_eq!(last, expected);
    node.say(bob, r#"{"type":"join_room","room_id":"quiet:1"}"#);
    say(&mut node, bob, "quiet:1", "hush");
    assert!(facts(&mut node).is_empty(), "of another kind");
}

#[test]
fn a_part_of_all_messages_is_told_where_that_is_asked_for() {
    let quarter = RoomFacts {
        messages: u32::MAX / 4,
        ..RoomFacts::default()
    };
    let settings = Settings {
        messages_per_second: 0,
        ..Settings::default()
    };
    let mut node = node_with(3, 1, settings, vec![(told("chat", quarter), None)]);
    let ann = node.member("chat:1");
    for _ in 0..400 {
        say(&mut node, ann, "chat:1", "x");
        node.drain(ann);
    }
    let told = facts(&mut node).len();
    assert!((60..140).contains(&told), "{told} of 400");
}

#[test]
fn with_a_store_a_backend_is_told_what_is_kept_and_nothing_before() {
    let store = bench();
    let kinds = vec![(told("chat", ALL), None)];
    let mut node = node_on(1, 1, settings(), kinds, || store.clone());
    set_cluster(&mut node, view(1));
    let ann = node.member("chat:1");
    facts(&mut node);
    tap(&store, false);
    say(&mut node, ann, "chat:1", "one");
    node.pass(1_000);
    assert!(facts(&mut node).is_empty(), "it is not kept yet");
    tap(&store, true);
    node.settle();
    assert_eq!(facts(&mut node), ["chat:1 chat \"one\" at 2"]);
}

/// Another node has taken the room: whether the store has what was said is not known, so that is counted.
#[test]
fn what_a_lost_room_had_to_tell_is_counted() {
    let store = bench();
    let kinds = vec![(told("chat", ALL), None)];
    let mut node = node_on(1, 1, settings(), kinds, || store.clone());
    set_cluster(&mut node, view(1));
    let ann = node.member("chat:1");
    facts(&mut node);
    let claim = Request::Claim(Claim {
        room: "chat:1".into(),
        home: home(9),
        store: STORE,
        dead: Some(home(1)),
        settled: true,
        epoch: Epoch::from_random(1),
        timestamp: 0,
        has: None,
        ends_after: 0,
        only_existing: false,
    });
    let now = node.now.unix_ms as u64;
    store.0.borrow_mut().model.apply(now, &claim).unwrap();
    tap(&store, false);
    say(&mut node, ann, "chat:1", "one");
    assert_eq!(node.shards[0].host().facts_lost, 0);
    tap(&store, true);
    node.pass(10);
    assert_eq!(node.shards[0].host().facts_lost, 1);
    assert!(facts(&mut node).is_empty());
}

struct Panics;

impl RoomLogic for Panics {
    fn action(&mut self, _: &mut RoomContext<'_>, _: PlayerNum, _: &GameAction<'_>) -> Outcome {
        Outcome::Relay
    }

    fn join(&mut self, _: &mut RoomContext<'_>, player: PlayerNum) {
        assert!(player != 2, "of a test");
    }
}

#[test]
fn all_leave_a_room_whose_logic_fails() {
    let logic: roomcast_core::LogicFactory = Arc::new(|_| Box::new(Panics));
    let kinds = vec![(told("game", ALL), Some(logic))];
    let mut node = node_with(1, 1, Settings::default(), kinds);
    node.member("game:1");
    let bob = node.connect();
    node.say(bob, r#"{"type":"join_room","room_id":"game:1"}"#);
    assert_eq!(
        facts(&mut node)[2..],
        [
            "game:1 joined by 2 of 2",
            "game:1 left by 1, 1 stay",
            "game:1 left by 2, 0 stay",
            "game:1 emptied"
        ]
    );
}
