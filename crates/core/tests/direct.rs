//! Direct messages: what is taken is delivered or told of, what is refused is answered, and nobody pays for another's.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::{Client, Got, Node, node, relay, text};
use roomcast_core::Origin;
use roomcast_core::settings::Settings;
use serde_json::{Value, json};

/// One who said `hello`.
struct Session {
    client: Client,
    id: String,
    token: String,
}

fn hello(node: &mut Node, payload: Value) -> (Session, Value) {
    let client = node.connect();
    let hello = json!({"type": "hello", "payload": payload});
    node.say(client, &hello.to_string());
    let welcome = node.read_one(client);
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    let welcome = welcome["payload"].clone();
    let session = Session {
        client,
        id: text(&welcome["client_id"]),
        token: text(&welcome["resume_token"]),
    };
    (session, welcome)
}

fn begin(node: &mut Node) -> Session {
    hello(node, json!({"version": 1})).0
}

/// The session's next connection, with what its `welcome` says.
fn come_back(node: &mut Node, session: &Session, inbox: &Value) -> (Session, Value) {
    let payload = json!({"version": 1, "resume_token": session.token, "inbox": inbox});
    let (again, welcome) = hello(node, payload);
    assert_eq!(welcome["resumed"], true);
    assert_eq!(again.id, session.id);
    (again, welcome)
}

fn setup(shards: u16) -> Node {
    node(shards, Settings::default(), vec![relay("chat")])
}

/// A user may have any number of sessions.
fn setup_for_crowds(shards: u16) -> Node {
    let settings = Settings {
        max_user_sessions: 0,
        ..Settings::default()
    };
    node(shards, settings, vec![relay("chat")])
}

fn direct(to: &Session, seq: u64, payload: &str) -> String {
    json!({"type": "chat", "to_client_id": to.id, "seq": seq, "payload": payload}).to_string()
}

/// The answers among messages: each number with its error code, or with nothing where it was acked.
fn answers(messages: &[Value]) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for message in messages {
        let payload = &message["payload"];
        match message["type"].as_str() {
            Some("ack") => {
                let acks = payload["acks"].as_array().unwrap();
                all.extend(
                    acks.iter()
                        .map(|it| (it["seq"].as_u64().unwrap(), String::new())),
                );
            }
            Some("error") => {
                all.push((payload["seq"].as_u64().unwrap_or(0), text(&payload["code"])))
            }
            _ => {}
        }
    }
    all
}

fn chats(messages: &[Value]) -> Vec<String> {
    let chats = messages.iter().filter(|it| it["type"] == "chat");
    chats.map(|it| text(&it["payload"])).collect()
}

#[test]
fn what_no_inbox_can_keep_is_refused_and_uses_its_number_up() {
    for shards in [1, 3] {
        let mut node = setup(shards);
        let (ann, bob) = (begin(&mut node), begin(&mut node));
        let mut refused = 0;
        let mut seq = 0;
        for away in [false, true] {
            if away {
                node.cut(bob.client);
                node.settle();
            }
            // From well below the bound of an inbox to the largest message that is taken, in steps around it.
            for size in (64_900..=65_900).step_by(50) {
                seq += 1;
                node.say(ann.client, &direct(&bob, seq, &"x".repeat(size)));
                node.pass(10);
                let got = answers(&node.messages(ann.client));
                let acked = match &*got {
                    [(number, code)] if *number == seq => code.is_empty(),
                    other => panic!("{size} bytes: {other:?}"),
                };
                let delivered = if away {
                    // The newest that was acked is what an inbox has last.
                    acked
                } else {
                    !chats(&node.messages(bob.client)).is_empty()
                };
                assert_eq!(acked, delivered, "{size} bytes, away: {away}");
                refused += u64::from(!acked);
                if !acked {
                    assert_eq!(got[0].1, "too_large");
                }
            }
        }
        assert!(refused > 0);
        let (again, welcome) = come_back(&mut node, &bob, &Value::Null);
        let kept = node.messages(again.client);
        assert_eq!(kept.len(), 1, "the newest that was acked");
        assert_eq!(
            kept[0]["offset"].as_u64(),
            welcome["inbox"]["offset"].as_u64().map(|it| it + 1)
        );
        // One that was refused is answered again as before, and the next is taken.
        node.say(ann.client, &direct(&bob, seq, "another text"));
        node.say(ann.client, &direct(&bob, seq + 1, "next"));
        let got = answers(&node.messages(ann.client));
        assert_eq!(
            got,
            [(seq, "too_large".to_owned()), (seq + 1, String::new())]
        );
        assert_eq!(chats(&node.messages(again.client)), ["next"]);
    }
}

#[test]
fn a_refused_recipient_uses_a_direct_number_and_no_rooms() {
    let mut node = setup(1);
    let (ann, bob) = (begin(&mut node), begin(&mut node));
    for it in [&ann, &bob] {
        node.say(it.client, r#"{"type":"join_room","room_id":"chat:1"}"#);
    }
    node.messages(ann.client);
    node.messages(bob.client);
    let bad = [
        json!({"to_client_id": ""}),
        json!({"to_user_id": ""}),
        json!({"to_client_id": "", "to_user_id": bob.id}),
        json!({"to_client_id": bob.id, "to_user_id": bob.id}),
        json!({"to_client_id": 7}),
        json!({"to_client_id": "", "room_id": "chat:1"}),
    ];
    for (n, recipient) in bad.iter().enumerate() {
        let mut message = json!({"type": "chat", "seq": n + 1, "payload": "psst"});
        let fields = recipient.as_object().unwrap().clone();
        message.as_object_mut().unwrap().extend(fields);
        node.say(ann.client, &message.to_string());
        let got = node.messages(ann.client);
        assert_eq!(
            (got.len(), &got[0]["type"]),
            (1, &json!("error")),
            "{message}: {got:#?}"
        );
        assert_eq!(got[0]["payload"]["seq"], n + 1, "{message}");
        assert!(got[0]["room_id"].is_null(), "{message}: {got:#?}");
    }
    node.say(
        ann.client,
        r#"{"type":"chat","room_id":"chat:1","seq":1,"payload":"aloud"}"#,
    );
    node.say(ann.client, &direct(&bob, 7, "psst"));
    assert_eq!(chats(&node.messages(bob.client)), ["aloud", "psst"]);
    // An action can't be for one: it uses its room's number up, and nobody sees it.
    let action = json!({"type": "game_action", "room_id": "chat:1", "to_client_id": bob.id,
        "seq": 2, "payload": {"action": "wave"}});
    node.say(ann.client, &action.to_string());
    node.say(
        ann.client,
        r#"{"type":"chat","room_id":"chat:1","seq":3,"payload":"next"}"#,
    );
    assert_eq!(chats(&node.messages(bob.client)), ["next"]);
}

#[test]
fn a_final_refusal_counts_though_one_before_it_is_missing() {
    let settings = Settings {
        messages_per_second: 1,
        burst: 2,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![relay("chat")]);
    let (ann, bob) = (begin(&mut node), begin(&mut node));
    node.say(ann.client, r#"{"type":"ping"}"#);
    // Number 1 is to be sent again, and number 2 is refused for good.
    node.say(ann.client, &direct(&bob, 1, "one"));
    node.pass(1_100);
    let bad = json!({"type": "chat", "to_client_id": "", "seq": 2, "payload": "two"});
    node.say(ann.client, &bad.to_string());
    let got = answers(&node.messages(ann.client));
    assert_eq!(
        got[got.len() - 2..],
        [
            (1, "rate_limited".to_owned()),
            (2, "invalid_name".to_owned())
        ]
    );
    node.pass(2_200);
    node.say(ann.client, &direct(&bob, 1, "one"));
    node.pass(2_200);
    node.say(ann.client, &direct(&bob, 3, "three"));
    assert_eq!(chats(&node.messages(bob.client)), ["one", "three"]);
}

#[test]
fn an_inbox_lacks_something_only_for_who_had_one() {
    let mut node = setup(1);
    let (ann, welcome) = hello(&mut node, json!({"version": 1}));
    assert_eq!(welcome["inbox_recovered"], true, "a first `hello`");
    node.cut(ann.client);
    node.settle();
    let (ann, welcome) = come_back(&mut node, &ann, &Value::Null);
    assert!(welcome["inbox"].is_null());
    assert_eq!(
        welcome["inbox_recovered"], true,
        "nothing was ever sent to it"
    );
    // A restart: the server knows neither the session nor its inbox.
    let mut node = setup(1);
    let payload = json!({"resume_token": ann.token});
    let (_, welcome) = hello(&mut node, payload.clone());
    assert_eq!(
        (&welcome["resumed"], &welcome["inbox_recovered"]),
        (&json!(false), &json!(true))
    );
    let position = json!({"epoch": "e", "offset": 3});
    let payload = json!({"resume_token": ann.token, "inbox": position});
    let (_, welcome) = hello(&mut node, payload);
    assert_eq!(
        (&welcome["resumed"], &welcome["inbox_recovered"]),
        (&json!(false), &json!(false))
    );
}

/// Sessions of one user, each without a connection.
fn parked_sessions_of(node: &mut Node, user: &str, count: usize) -> Vec<Session> {
    let payload = json!({"version": 1, "token": format!("{user} all:chat:1")});
    let all: Vec<_> = (0..count).map(|_| hello(node, payload.clone()).0).collect();
    for it in &all {
        node.cut(it.client);
    }
    node.settle();
    all
}

fn stats(node: &mut Node, of: impl Fn(&roomcast_core::Stats) -> u64) -> u64 {
    let shards = node.shards.iter_mut();
    shards.map(|shard| of(shard.stats())).sum()
}

#[test]
fn a_message_to_a_user_is_one_text_and_a_part_of_the_copies_a_turn() {
    for shards in [1, 3] {
        let mut node = setup_for_crowds(shards);
        let sessions = parked_sessions_of(&mut node, "ann", 1_000);
        let bob = begin(&mut node);
        let before = stats(&mut node, |it| it.inbox_bytes as u64);
        let text = "x".repeat(60_000);
        let message = json!({"type": "chat", "to_user_id": "ann", "seq": 1, "payload": text});
        node.send(bob.client, &message.to_string());
        // A turn of a shard makes a bounded part of 60 MB of copies, and leaves the rest to the next ones.
        let most = (1 << 20) + (1 << 16);
        let copies = |node: &mut Node| {
            let shards = node.shards.iter_mut();
            shards
                .map(|it| it.stats().inbox_messages)
                .collect::<Vec<_>>()
        };
        let (mut before_turn, mut turns) = (copies(&mut node), 0);
        while before_turn.iter().sum::<u64>() < 1_000 {
            node.turn();
            let after_turn = copies(&mut node);
            for (before, after) in before_turn.iter().zip(&after_turn) {
                assert!((after - before) * 60_000 <= most, "{before} to {after}");
            }
            before_turn = after_turn;
            turns += 1;
            assert!(turns < 200, "{before_turn:?}");
        }
        node.settle();
        assert_eq!(answers(&node.messages(bob.client)), [(1, String::new())]);
        // All inboxes of a shard share one text.
        let held = stats(&mut node, |it| it.inbox_bytes as u64) - before;
        assert!(
            held < u64::from(shards) * 61_000 + 1_000 * 600,
            "{held} bytes"
        );
        let (again, welcome) = come_back(&mut node, &sessions[7], &Value::Null);
        assert_eq!(welcome["inbox_recovered"], true);
        assert_eq!(chats(&node.messages(again.client)), [text]);
        node.pass(31_000);
        node.cut(again.client);
        node.pass(31_000);
        assert_eq!(stats(&mut node, |it| it.inbox_bytes as u64), 0);
    }
}

#[test]
fn a_users_messages_keep_their_order_beside_another_users() {
    let mut node = setup_for_crowds(3);
    let ann = parked_sessions_of(&mut node, "ann", 100);
    let eve = parked_sessions_of(&mut node, "eve", 100);
    let bob = begin(&mut node);
    // A long one first, which takes many turns, then short ones that would fit in before its end.
    let texts: Vec<_> = std::iter::once("x".repeat(60_000))
        .chain((0..9).map(|n| n.to_string()))
        .collect();
    let mut seq = 0;
    for text in &texts {
        for user in ["ann", "eve"] {
            seq += 1;
            let message = json!({"type": "chat", "to_user_id": user, "seq": seq, "payload": text});
            node.send(bob.client, &message.to_string());
        }
    }
    node.settle();
    assert_eq!(answers(&node.messages(bob.client)).len(), 20);
    for session in ann.iter().chain(&eve).step_by(17) {
        let (again, _) = come_back(&mut node, session, &Value::Null);
        assert_eq!(chats(&node.messages(again.client)), texts);
    }
}

#[test]
fn all_inboxes_together_stay_under_their_ceiling_and_who_lost_messages_is_told() {
    let settings = Settings {
        inbox_memory: 300_000,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![relay("chat")]);
    let ann = begin(&mut node);
    let others: Vec<_> = (0..20).map(|_| begin(&mut node)).collect();
    let mut seq = 0;
    for other in &others {
        node.cut(other.client);
    }
    for other in &others {
        seq += 1;
        node.pass(100);
        node.say(ann.client, &direct(other, seq, &"x".repeat(30_000)));
        assert_eq!(answers(&node.messages(ann.client)), [(seq, String::new())]);
        let held = stats(&mut node, |it| it.inbox_bytes as u64);
        assert!(held <= 300_000, "{held}");
    }
    assert!(stats(&mut node, |it| it.inboxes_evicted) > 5);
    let mut lost = 0;
    for other in &others {
        let (again, welcome) = come_back(&mut node, other, &Value::Null);
        let got = chats(&node.messages(again.client)).len();
        // Each has what it was sent, or is told that it lacks something.
        assert_eq!(welcome["inbox_recovered"] == true, got == 1);
        lost += 1 - got;
    }
    assert!((5..15).contains(&lost), "{lost}");
}

#[test]
fn who_drops_many_connections_ends_nobody_elses_session() {
    let settings = Settings {
        max_parked: 100,
        max_parked_per_origin: 10,
        ..Settings::default()
    };
    let mut node = node(1, settings, vec![relay("chat")]);
    node.origin = Origin(1);
    let ann = begin(&mut node);
    node.say(ann.client, r#"{"type":"join_room","room_id":"chat:1"}"#);
    node.cut(ann.client);
    node.settle();
    // One address opens and drops far more than all places.
    node.origin = Origin(2);
    let mut others = Vec::new();
    for _ in 0..300 {
        let other = begin(&mut node);
        node.cut(other.client);
        node.settle();
        others.push(other);
    }
    assert_eq!(node.shards[0].sessions().0, 11);
    assert_eq!(stats(&mut node, |it| it.sessions_not_parked[1]), 290);
    let inside = come_back(&mut node, &ann, &Value::Null).0;
    assert_eq!(node.messages(inside.client)[0]["type"], "joined");
    // Its own first ones are there as well, and with each that comes back there is a place again.
    let again = come_back(&mut node, &others[9], &Value::Null).0;
    let payload = json!({"resume_token": others[10].token});
    let (newest, welcome) = hello(&mut node, payload);
    assert_eq!(welcome["resumed"], false);
    for (client, parked) in [(newest.client, 10), (again.client, 10)] {
        node.cut(client);
        node.settle();
        assert_eq!(node.shards[0].sessions().0, parked);
    }
    // Programs on the same machine are not counted, and all together stay under the bound of all.
    node.origin = Origin::NONE;
    for _ in 0..100 {
        let other = begin(&mut node);
        node.cut(other.client);
    }
    node.settle();
    assert_eq!(node.shards[0].sessions().0, 100);
    assert_eq!(stats(&mut node, |it| it.sessions_not_parked[0]), 10);
    node.pass(31_000);
    assert_eq!(node.shards[0].sessions().0, 0);
}

#[test]
fn a_session_is_counted_where_its_last_connection_came_from() {
    let settings = Settings {
        max_parked_per_origin: 1,
        ..Settings::default()
    };
    let mut node = node(3, settings, vec![relay("chat")]);
    node.origin = Origin(1);
    let ann = begin(&mut node);
    // It comes back from elsewhere each time, often by way of another shard, where there is a place of its own.
    let mut session = ann;
    for origin in 2..8 {
        node.cut(session.client);
        node.settle();
        let parked: usize = node.shards.iter().map(|it| it.sessions().0).sum();
        assert_eq!(parked, 1, "from {origin}");
        node.origin = Origin(origin);
        session = come_back(&mut node, &session, &Value::Null).0;
    }
    assert_eq!(stats(&mut node, |it| it.sessions_not_parked[1]), 0);
}

#[test]
fn a_user_has_so_many_sessions_and_no_more() {
    for shards in [1, 3] {
        let settings = Settings {
            max_user_sessions: 3,
            ..Settings::default()
        };
        let mut node = node(shards, settings, vec![relay("chat")]);
        let payload = json!({"version": 1, "token": "ann all:chat:1"});
        let sessions: Vec<_> = (0..3)
            .map(|_| hello(&mut node, payload.clone()).0)
            .collect();
        // One without a connection is one of them.
        node.cut(sessions[0].client);
        node.settle();
        for n in 1..=4 {
            let more = node.connect();
            let hello = json!({"type": "hello", "payload": payload});
            node.say(more, &hello.to_string());
            let got = node.drain(more);
            let refused = got.iter().any(|it| match it {
                Got::Message(it) => it["payload"]["code"] == "too_many_sessions",
                _ => false,
            });
            assert!(refused, "{got:#?}");
            assert!(matches!(got.last(), Some(Got::Close(4006, _))), "{got:#?}");
            assert_eq!(stats(&mut node, |it| it.sessions_refused), n);
        }
        // Nobody else is counted with them, and those that were there go on.
        begin(&mut node);
        hello(&mut node, json!({"version": 1, "token": "bob all:chat:1"}));
        let back = come_back(&mut node, &sessions[0], &Value::Null).0;
        // Where one has ended there is room for another.
        let (conn, shard) = (
            node.sockets[back.client].conn,
            node.sockets[back.client].shard,
        );
        let now = node.now;
        node.shards[shard].closed_by_peer(now, conn, 1000);
        node.settle();
        hello(&mut node, payload.clone());
        let parked: usize = node.shards.iter().map(|it| it.sessions().0).sum();
        assert_eq!(parked, 0);
    }
}
