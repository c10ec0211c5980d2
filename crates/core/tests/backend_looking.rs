//! What an application's backend reads: rooms, members, logs. And what it sends to users and sessions.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/asking.rs"]
mod asking;
#[path = "common/cluster.rs"]
mod cluster;
mod common;

use asking::{
    answer, ask_node, client_id, cluster, code, direct, kinds, of_room, reply, reply_of, settings,
};
use cluster::Cluster;
use common::{node, text};
use roomcast_core::ClientId;
use roomcast_core::backend::{Ask, Asker, Query, Question, Recipient, Reply, RoomsQuery};
use roomcast_protocol::ErrorCode;

#[test]
fn a_backend_sends_to_a_session_of_any_node() {
    let mut cluster = cluster();
    let (bob, token) = cluster.connect(1);
    let id = client_id(&mut cluster, bob);
    let to = |payload: &str, key| {
        let client = ClientId::parse(&id).unwrap();
        Question::Direct(Recipient::Client(client), direct(payload, key))
    };
    for node in 0..3 {
        let sent = answer(&mut cluster, node, to("1", Some("a")));
        assert_eq!(
            sent,
            Reply::Sent {
                stored: 1,
                failed: 0
            }
        );
    }
    let got = cluster.messages(bob);
    assert_eq!(got.len(), 1, "once: {got:#?}");
    assert_eq!(
        (&got[0]["type"], &got[0]["payload"]),
        (&"chat".into(), &1.into())
    );
    assert_eq!(got[0]["from_client_id"].as_str().unwrap_or_default(), "");
    assert_eq!(got[0]["from_service"], "shop");
    assert_eq!(got[0].get("seq"), None);
    // Without tokens the user is the client; who is away gets it on coming back.
    cluster.node(1).cut(bob.1);
    let user = Recipient::User(id.as_str().into());
    let sent = answer(&mut cluster, 2, Question::Direct(user, direct("2", None)));
    assert_eq!(
        sent,
        Reply::Sent {
            stored: 1,
            failed: 0
        }
    );
    let back = cluster.come_back(0, &token, "own");
    let got = cluster.messages(back);
    assert!(got.iter().any(|it| it["payload"] == 2), "{got:#?}");
    let nobody = Recipient::User("nobody".into());
    let failed = answer(&mut cluster, 0, Question::Direct(nobody, direct("3", None)));
    assert_eq!(code(&failed), ErrorCode::RecipientNotFound);
}

#[test]
fn a_node_without_others_sends_direct_messages_too() {
    let mut node = node(2, settings(), kinds());
    let ann = node.connect();
    node.say(ann, r#"{"type":"hello"}"#);
    let id = text(&node.messages(ann)[0]["payload"]["client_id"]);
    let now = node.now;
    for (to, stored) in [
        (Recipient::Client(ClientId::parse(&id).unwrap()), true),
        (Recipient::User(id.as_str().into()), true),
        (Recipient::User("nobody".into()), false),
        (Recipient::Client(ClientId::from_random([1, 2])), false),
    ] {
        let question = Question::Direct(to, direct("1", None));
        node.shards[1].ask(now, Asker::default(), question).unwrap();
        node.settle();
        match (reply(&mut node), stored) {
            (
                Reply::Sent {
                    stored: 1,
                    failed: 0,
                },
                true,
            ) => {}
            (failed, false) => assert_eq!(code(&failed), ErrorCode::RecipientNotFound),
            (other, _) => panic!("{other:?}"),
        }
    }
    assert_eq!(node.messages(ann).len(), 2);
}

#[test]
fn rooms_of_all_nodes_are_listed_in_pages() {
    let mut cluster = cluster();
    let names = ["chat:3", "a", "chat:1", "b", "chat:2"];
    for (nth, name) in names.into_iter().enumerate() {
        cluster.member(nth % 3, name);
    }
    cluster.member(2, "a");
    let mut page =
        |query: RoomsQuery| match answer(&mut cluster, 1, Question::All(Query::Rooms(query))) {
            Reply::Rooms { rooms, next } => {
                let lines = rooms.iter().map(|it| format!("{} {}", it.room, it.members));
                (lines.collect::<Vec<_>>(), next.is_some())
            }
            other => panic!("{other:?}"),
        };
    let all = RoomsQuery {
        limit: 100,
        ..RoomsQuery::default()
    };
    assert_eq!(
        page(all.clone()),
        (
            vec![
                "a 2".into(),
                "b 1".into(),
                "chat:1 1".into(),
                "chat:2 1".into(),
                "chat:3 1".into()
            ],
            false
        )
    );
    let first = RoomsQuery {
        limit: 2,
        ..all.clone()
    };
    assert_eq!(
        page(first.clone()),
        (vec!["a 2".into(), "b 1".into()], true)
    );
    assert_eq!(
        page(RoomsQuery {
            after: "b".into(),
            ..first
        }),
        (vec!["chat:1 1".into(), "chat:2 1".into()], true)
    );
    let kind = RoomsQuery {
        kind: "default".into(),
        ..all.clone()
    };
    assert_eq!(page(kind).0.len(), 2);
    let prefix = RoomsQuery {
        prefix: "chat:3".into(),
        ..all
    };
    assert_eq!(page(prefix).0.len(), 1);
}

#[test]
fn members_and_history_are_read_without_joining() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    cluster.member(1, "r");
    cluster.say(ann, r#"{"type":"chat","room_id":"r","payload":"hello"}"#);
    let mut read =
        |room: &str, ask: Ask| match answer(&mut cluster, 2, Question::Room(room.into(), ask)) {
            Reply::Message(message) => {
                serde_json::from_slice::<serde_json::Value>(&message).unwrap()
            }
            other => panic!("{other:?}"),
        };
    let members = read("r", Ask::Members { after: 0, limit: 1 });
    assert_eq!(members["payload"]["total"], 2);
    assert_eq!(members["payload"]["members"].as_array().unwrap().len(), 1);
    let next = members["payload"]["next"].as_u64().unwrap() as u32;
    let rest = read(
        "r",
        Ask::Members {
            after: next,
            limit: 0,
        },
    );
    assert_eq!(rest["payload"]["members"].as_array().unwrap().len(), 1);
    let history = read("r", Ask::History(Default::default()));
    assert_eq!(history["payload"]["events"][0]["payload"], "hello");
    let nothing = read("nowhere", Ask::History(Default::default()));
    assert_eq!(nothing["payload"]["events"].as_array().unwrap().len(), 0);
    let nobody = read("nowhere", Ask::Members { after: 0, limit: 0 });
    assert_eq!(nobody["payload"]["total"].as_u64().unwrap_or(0), 0);
}

/// To look at rooms that are not there makes none, at no node: who looks for many names leaves nothing.
#[test]
fn a_room_that_is_not_there_is_not_claimed_to_be_looked_at() {
    let mut cluster = cluster();
    let asks = [
        Ask::Members { after: 0, limit: 0 },
        Ask::History(Default::default()),
        Ask::Properties,
        Ask::Rules,
        Ask::Kick { user: "x".into() },
    ];
    for node in 0..3 {
        for ask in &asks {
            let told = answer(&mut cluster, node, of_room("nowhere", ask.clone()));
            assert!(!matches!(told, Reply::Failed(_)), "{told:?}");
            let now = cluster.node(0).now.unix_ms as u64;
            let model = std::rc::Rc::clone(&cluster.model);
            assert!(model.borrow_mut().room(now, "nowhere").is_none(), "{ask:?}");
            assert_eq!(cluster.home_of("nowhere"), None);
        }
    }
    let requests = |cluster: &mut Cluster, node: usize| -> u64 {
        let shards = cluster.node(node).shards.iter_mut();
        shards.map(|shard| shard.stats().store_requests[0]).sum()
    };
    let before: u64 = (0..3).map(|node| requests(&mut cluster, node)).sum();
    answer(&mut cluster, 2, of_room("nowhere", asks[0].clone()));
    let after: u64 = (0..3).map(|node| requests(&mut cluster, node)).sum();
    assert_eq!(
        after - before,
        1,
        "it is asked for once, and not given back"
    );
    cluster.settle();
    for node in 0..3 {
        let mut shards = cluster.node(node).shards.iter();
        assert!(
            shards.all(|it| it.is_quiet()),
            "node {node} waits for nothing"
        );
    }
    // Somebody who joins at the same time gets the room.
    ask_node(&mut cluster, 1, "soon", asks[0].clone());
    let ann = cluster.member(1, "soon");
    cluster.pass(1_000);
    assert!(matches!(reply_of(&mut cluster, 1), Reply::Message(_)));
    let there = answer(&mut cluster, 2, of_room("soon", asks[0].clone()));
    match there {
        Reply::Message(message) => {
            let members: serde_json::Value = serde_json::from_slice(&message).unwrap();
            assert_eq!(members["payload"]["total"], 1);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.total(ann, "soon"), 1);
}
