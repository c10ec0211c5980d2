//! A backend decides who joins and what is said: what it decides about waits in its order, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::collections::BTreeMap;

use cluster::Cluster;
use common::bench::{bench, set_cluster, settings, tap, view};
use common::{Client, Node, Random, node_on, node_with, relay, text};
use roomcast_core::Encoding;
use roomcast_core::authorize::{Asks, Decision, Inquiry, Wish};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::Store;
use serde_json::{Value, json};

const ALL: Asks = Asks {
    joins: true,
    chats: true,
    events: true,
    actions: true,
    timeout: 2_000,
    allows_silence: false,
};

const YES: Decision = Decision::Allow {
    nickname: None,
    cache: 0,
};

fn no(reason: &str) -> Decision {
    Decision::Refuse {
        reason: reason.into(),
        cache: 0,
    }
}

fn asking(asks: Asks) -> Node {
    let kind = Kind {
        asks,
        ..relay("chat")
    };
    let settings = Settings {
        messages_per_second: 0,
        ..Settings::default()
    };
    node_with(1, 1, settings, vec![(kind, None), (relay("free"), None)])
}

/// What was asked since the last time, with the shard that asks.
fn asked<S: Store>(node: &mut Node<S>) -> Vec<(usize, Inquiry)> {
    let mut all = Vec::new();
    for (at, shard) in node.shards.iter_mut().enumerate() {
        let inquiries = std::mem::take(&mut shard.host().inquiries);
        all.extend(inquiries.into_iter().map(|it| (at, it)));
    }
    all
}

fn decide<S: Store>(node: &mut Node<S>, (at, inquiry): &(usize, Inquiry), decision: Decision) {
    let now = node.now;
    node.shards[*at].decide(now, inquiry.number, decision);
    node.settle();
}

fn join<S: Store>(node: &mut Node<S>, client: Client, room: &str) {
    let join = json!({"type": "join_room", "room_id": room, "payload": {"nickname": "nick"}});
    node.say(client, &join.to_string());
}

fn say<S: Store>(node: &mut Node<S>, client: Client, room: &str, what: &str, seq: u64) {
    let chat = json!({"type": "chat", "room_id": room, "payload": what, "seq": seq});
    node.say(client, &chat.to_string());
}

/// Joins, and is let in.
fn let_in(node: &mut Node, room: &str) -> Client {
    let client = node.connect();
    join(node, client, room);
    for inquiry in asked(node) {
        decide(node, &inquiry, YES);
    }
    assert!(node.types(client).contains(&"joined".to_owned()));
    client
}

fn message(inquiry: &Inquiry) -> Value {
    match &inquiry.what {
        Wish::Send(json) => serde_json::from_slice(json).unwrap(),
        Wish::Join => panic!("{inquiry:?}"),
    }
}

fn chats(messages: &[Value]) -> Vec<String> {
    let chats = messages.iter().filter(|it| it["type"] == "chat");
    chats.map(|it| text(&it["payload"])).collect()
}

#[test]
fn a_join_waits_for_the_backend_and_nothing_else_does() {
    let mut node = asking(ALL);
    let (ann, bob, eve) = (node.connect(), node.connect(), node.connect());
    join(&mut node, ann, "chat:1");
    let inquiries = asked(&mut node);
    assert_eq!(inquiries.len(), 1);
    assert_eq!(
        (&*inquiries[0].1.room, &inquiries[0].1.what),
        ("chat:1", &Wish::Join)
    );
    assert_eq!(&*inquiries[0].1.nickname, "nick");
    assert!(node.messages(ann).is_empty());
    // The same client elsewhere, and others there, go on.
    join(&mut node, ann, "free:1");
    assert_eq!(node.types(ann), ["joined", "player_joined"]);
    join(&mut node, bob, "chat:1");
    join(&mut node, eve, "chat:1");
    let later = asked(&mut node);
    decide(&mut node, &later[0], YES);
    decide(&mut node, &later[1], no("not you"));
    assert_eq!(node.types(bob), ["joined", "player_joined"]);
    let error = node.error(eve, "forbidden");
    assert_eq!(error["payload"]["message"], "not you");
    let renamed = Decision::Allow {
        nickname: Some("Ann".into()),
        cache: 0,
    };
    decide(&mut node, &inquiries[0], renamed);
    assert_eq!(node.types(ann), ["joined", "player_joined"]);
    let heard = node.messages(bob);
    assert_eq!(heard[0]["payload"]["nickname"], "Ann", "{heard:?}");
    // What is known already is not asked again: to join once more, to speak, to leave.
    join(&mut node, ann, "chat:1");
    assert_eq!(node.types(ann), ["joined"]);
    assert!(asked(&mut node).is_empty());
}

#[test]
fn messages_of_a_member_stay_in_order_and_others_do_not_wait() {
    let mut node = asking(Asks {
        joins: false,
        ..ALL
    });
    let (ann, bob) = (let_in(&mut node, "chat:1"), let_in(&mut node, "chat:1"));
    say(&mut node, ann, "chat:1", "one", 1);
    say(&mut node, ann, "chat:1", "two", 2);
    node.say(
        ann,
        r#"{"type":"members","room_id":"chat:1","request_id":7}"#,
    );
    say(&mut node, bob, "chat:1", "other", 1);
    let inquiries = asked(&mut node);
    assert_eq!(inquiries.len(), 2, "one of each");
    assert_eq!(message(&inquiries[0].1)["payload"], "one");
    assert_eq!(message(&inquiries[0].1)["from_player_num"], 1);
    decide(&mut node, &inquiries[1], YES);
    node.drain(bob);
    assert_eq!(chats(&node.messages(ann)), ["other"]);
    decide(&mut node, &inquiries[0], no(""));
    let error = node.error(ann, "forbidden");
    assert_eq!(error["payload"]["seq"], 1);
    let next = asked(&mut node);
    assert_eq!(
        message(&next[0].1)["payload"],
        "two",
        "the first has used its number up"
    );
    decide(&mut node, &next[0], YES);
    let got = node.messages(ann);
    assert_eq!(chats(&got), ["two"]);
    assert!(
        got.iter()
            .any(|it| it["type"] == "members" && it["request_id"] == 7)
    );
    assert_eq!(chats(&node.messages(bob)), ["two"]);
    // One that was refused is refused again, and one that was logged is acked again: nobody is asked.
    say(&mut node, ann, "chat:1", "one", 1);
    say(&mut node, ann, "chat:1", "two", 2);
    assert!(asked(&mut node).is_empty());
    assert_eq!(node.types(ann), ["error", "ack"]);
}

#[test]
fn without_an_answer_in_time_it_is_not_done_or_it_is() {
    for allows_silence in [false, true] {
        let mut node = asking(Asks {
            allows_silence,
            ..ALL
        });
        let ann = node.connect();
        join(&mut node, ann, "chat:1");
        node.pass(1_990);
        assert!(node.messages(ann).is_empty());
        node.pass(20);
        let late = asked(&mut node);
        decide(&mut node, &late[0], no("too late"));
        if allows_silence {
            assert_eq!(node.types(ann), ["joined", "player_joined"]);
            continue;
        }
        let error = node.error(ann, "unavailable");
        assert_eq!(error["payload"]["retry_after_ms"], 1_000);
        join(&mut node, ann, "chat:1");
        let again = asked(&mut node);
        decide(&mut node, &again[0], YES);
        assert_eq!(node.types(ann), ["joined", "player_joined"]);
        // No number is used up by what nobody has decided.
        say(&mut node, ann, "chat:1", "one", 1);
        let inquiry = asked(&mut node).remove(0);
        decide(&mut node, &inquiry, Decision::Silent);
        node.error(ann, "unavailable");
        say(&mut node, ann, "chat:1", "one", 1);
        let inquiry = asked(&mut node).remove(0);
        decide(&mut node, &inquiry, YES);
        assert_eq!(node.types(ann), ["ack", "chat"]);
    }
}

#[test]
fn an_answer_is_kept_for_as_long_as_it_says() {
    let mut node = asking(Asks {
        joins: false,
        ..ALL
    });
    let ann = let_in(&mut node, "chat:1");
    let event = |node: &mut Node, name: &str| {
        let event = json!({"type": "event", "room_id": "chat:1", "name": name, "payload": 1});
        node.say(ann, &event.to_string());
    };
    event(&mut node, "move");
    let kept = Decision::Allow {
        nickname: None,
        cache: 1_000,
    };
    let inquiry = asked(&mut node).remove(0);
    decide(&mut node, &inquiry, kept);
    event(&mut node, "move");
    assert!(asked(&mut node).is_empty());
    assert_eq!(node.types(ann), ["event", "event"]);
    event(&mut node, "shout");
    assert_eq!(asked(&mut node).len(), 1, "of another name");
    node.pass(1_010);
    event(&mut node, "move");
    assert_eq!(
        asked(&mut node).len(),
        0,
        "that waits behind the one of another name"
    );
    node.pass(1_000);
    assert_eq!(asked(&mut node).len(), 1, "it is asked anew");
}

#[test]
fn whoever_comes_back_meanwhile_is_let_in_where_it_is() {
    let mut node = asking(ALL);
    let ann = node.connect();
    node.say(ann, r#"{"type":"hello"}"#);
    let welcome = node.messages(ann).remove(0);
    let token = text(&welcome["payload"]["resume_token"]);
    join(&mut node, ann, "chat:1");
    let inquiry = asked(&mut node).remove(0);
    node.cut(ann);
    node.settle();
    let back = node.connect_to(0, Encoding::ALL[0]);
    let hello = json!({"type": "hello", "payload": {"resume_token": token}});
    node.say(back, &hello.to_string());
    assert_eq!(node.types(back), ["welcome"]);
    decide(&mut node, &inquiry, YES);
    assert!(node.types(back).contains(&"joined".to_owned()));
    node.say(back, r#"{"type":"leave_room","room_id":"chat:1"}"#);
    node.drain(back);
    node.assert_empty();
}

#[test]
fn what_waits_for_a_backend_holds_up_no_node_that_ends() {
    let store = bench();
    let kind = Kind {
        asks: ALL,
        ..relay("chat")
    };
    let mut node = node_on(1, 1, settings(), vec![(kind, None)], || store.clone());
    set_cluster(&mut node, view(1));
    let (ann, bob) = (node.connect(), node.connect());
    join(&mut node, ann, "chat:1");
    let first = asked(&mut node).remove(0);
    decide(&mut node, &first, YES);
    assert!(node.types(ann).contains(&"joined".to_owned()));
    join(&mut node, bob, "chat:1");
    let second = asked(&mut node).remove(0);
    node.shards[0].claim_nothing();
    node.shards[0].give_up_rooms();
    node.settle();
    // Whose join was not done comes back, and asks at the room's next home.
    let got = node.drain(bob);
    assert!(
        got.iter()
            .any(|it| matches!(it, common::Got::Close(4000, _))),
        "{got:?}"
    );
    decide(&mut node, &second, YES);
    assert_eq!(node.shards[0].rooms().0, 0);
}

/// Its operation is gone with the link: what the backend says of it later holds up nobody.
#[test]
fn who_comes_back_from_a_lost_node_does_not_wait_for_what_it_asked_there() {
    let kind = Kind {
        asks: Asks {
            timeout: 60_000,
            ..ALL
        },
        ..relay("chat")
    };
    let mut cluster = Cluster::new(&[1, 1], &settings(), &[kind]);
    let (ann, _) = cluster.connect(0);
    let (bob, token) = cluster.connect(1);
    for at in [ann, bob] {
        cluster.say(at, r#"{"type":"join_room","room_id":"chat:1"}"#);
        let home = cluster.home_of("chat:1").unwrap();
        for inquiry in asked(cluster.node(home)) {
            decide(cluster.node(home), &inquiry, YES);
        }
        assert!(cluster.types(at).contains(&"joined".to_owned()));
    }
    let home = cluster.home_of("chat:1").unwrap();
    assert_eq!(home, 0);
    cluster.say(
        bob,
        r#"{"type":"chat","room_id":"chat:1","payload":"a","seq":1}"#,
    );
    let inquiry = asked(cluster.node(home)).remove(0);
    cluster.kill(1);
    let back = cluster.come_back(0, &token, "chat:1");
    let got = cluster.types(back);
    assert!(got.contains(&"joined".to_owned()), "{got:?}");
    decide(cluster.node(home), &inquiry, YES);
    cluster.say(
        back,
        r#"{"type":"chat","room_id":"chat:1","payload":"a","seq":1}"#,
    );
    let again = asked(cluster.node(home)).remove(0);
    decide(cluster.node(home), &again, YES);
    let got = cluster.types(back);
    assert!(got.contains(&"ack".to_owned()), "{got:?}");
}

#[test]
fn a_verdict_is_of_no_other_message_than_the_one_that_was_asked_about() {
    let store = bench();
    let kind = Kind {
        asks: Asks {
            timeout: 60_000,
            ..ALL
        },
        ..relay("chat")
    };
    let settings = Settings {
        unconfirmed: (1, 1 << 20),
        patience: 500,
        ..settings()
    };
    let mut node = node_on(1, 1, settings, vec![(kind, None)], || store.clone());
    set_cluster(&mut node, view(1));
    let (ann, bob) = (node.connect(), node.connect());
    for client in [ann, bob] {
        join(&mut node, client, "chat:1");
        let inquiry = asked(&mut node).remove(0);
        decide(&mut node, &inquiry, YES);
        assert!(node.types(client).contains(&"joined".to_owned()));
    }
    node.drain(ann);
    say(&mut node, ann, "chat:1", "asked", 1);
    let inquiry = asked(&mut node).remove(0);
    tap(&store, false);
    node.say(bob, r#"{"type":"leave_room","room_id":"chat:1"}"#);
    node.pass(700);
    tap(&store, true);
    node.pass(1_000);
    decide(&mut node, &inquiry, YES);
    say(&mut node, ann, "chat:1", "another", 1);
    node.pass(100);
    let other = asked(&mut node).remove(0);
    assert_eq!(message(&other.1)["payload"], "another");
    decide(&mut node, &other, no("not this"));
    let got = node.messages(ann);
    assert!(chats(&got).is_empty(), "{got:?}");
    let codes: Vec<_> = got.iter().map(|it| &it["payload"]["code"]).collect();
    assert!(codes.contains(&&json!("unavailable")), "{got:?}");
    assert!(codes.contains(&&json!("forbidden")), "{got:?}");
}

/// Random clients, rooms and decisions, at random times or never: each request has one answer, what is refused is not said,
/// what a client says keeps its order, and at the end nothing is left.
#[test]
fn whatever_backends_decide_and_whenever() {
    let cases = std::env::var("ROOMCAST_CASES").map_or(10, |it| it.parse().unwrap());
    for seed in 1..=cases {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let kind = Kind {
        asks: Asks {
            timeout: 300,
            ..ALL
        },
        ..relay("chat")
    };
    let settings = Settings {
        messages_per_second: 0,
        max_offences: 0,
        control_lane: 64 * 1024,
        ping_interval: 0,
        ..Settings::default()
    };
    let mut node = node_with(seed, 3, settings, vec![(kind, None)]);
    node.slow_links = random.below(50);
    let clients: Vec<Client> = (0..4).map(|_| node.connect()).collect();
    let mut open: Vec<(usize, Inquiry)> = Vec::new();
    let mut refused: Vec<String> = Vec::new();
    let mut said: BTreeMap<Client, u64> = BTreeMap::new();
    let mut heard: BTreeMap<(Client, Client, String), u64> = BTreeMap::new();
    let mut gone: Vec<Client> = Vec::new();
    for _ in 0..300 {
        let client = clients[random.below(4) as usize];
        let room = format!("chat:{}", random.below(2));
        match random.below(12) {
            0..=2 => join(&mut node, client, &room),
            3 => node.say(
                client,
                &json!({"type": "leave_room", "room_id": room}).to_string(),
            ),
            4..=7 => {
                let next = said.entry(client).or_default();
                *next += 1;
                let what = format!("{client} {next}");
                let chat = json!({"type": "chat", "room_id": room, "payload": what});
                node.say(client, &chat.to_string());
            }
            8 if random.below(20) == 0 && !gone.contains(&client) => {
                node.cut(client);
                gone.push(client);
            }
            9 => node.pass(random.below(100)),
            _ if !open.is_empty() => {
                let inquiry = open.swap_remove(random.below(open.len() as u64) as usize);
                let decision = match random.below(4) {
                    0 => {
                        if let Wish::Send(json) = &inquiry.1.what {
                            let message: Value = serde_json::from_slice(json).unwrap();
                            refused.push(text(&message["payload"]));
                        }
                        no("no")
                    }
                    1 => Decision::Silent,
                    _ => YES,
                };
                decide(&mut node, &inquiry, decision);
            }
            _ => node.settle(),
        }
        open.extend(asked(&mut node));
        for listener in &clients {
            for message in node.messages(*listener) {
                if message["type"] != "chat" {
                    continue;
                }
                let what = text(&message["payload"]);
                assert!(!refused.contains(&what), "{what} was refused");
                let (client, number) = what.split_once(' ').unwrap();
                let key = (
                    *listener,
                    client.parse().unwrap(),
                    text(&message["room_id"]),
                );
                let before = heard.insert(key, number.parse().unwrap()).unwrap_or(0);
                assert!(before < number.parse().unwrap(), "{what} is late");
            }
        }
    }
    node.slow_links = 0;
    node.pass(1_000);
    asked(&mut node);
    for client in clients.iter().filter(|it| !gone.contains(it)) {
        for room in ["chat:0", "chat:1"] {
            node.say(
                *client,
                &json!({"type": "leave_room", "room_id": room}).to_string(),
            );
        }
        node.drain(*client);
    }
    node.pass(60_000);
    let rooms: usize = node.shards.iter().map(|it| it.rooms().0).sum();
    assert_eq!(rooms, 0, "nothing waits for ever");
}
