//! An application's backend: it publishes to rooms that it is not in, at any shard of any node.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::Cluster;
use common::{Got, Node, node, relay, text};
use roomcast_core::backend::{
    Ask, Asker, Busy, Publication, Published, Query, Question, Recipient, Reply, RoomsQuery,
};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::Store;
use roomcast_core::{ClientId, QuestionId};
use roomcast_protocol::{ErrorCode, MessageType, PayloadKind};

fn settings() -> Settings {
    Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    }
}

fn kinds() -> Vec<Kind> {
    vec![relay("default"), relay("chat")]
}

fn chat(payload: &str, key: Option<&str>) -> Ask {
    Ask::Publish(Publication {
        message_type: MessageType::Chat,
        payload_kind: PayloadKind::Json,
        name: "".into(),
        payload: payload.as_bytes().into(),
        ephemeral: false,
        once: key.map(|key| ClientId::of_key("shop", key)),
        service: "shop".into(),
        trace: None,
    })
}

/// Asks at a shard, and settles.
fn ask<S: Store>(node: &mut Node<S>, shard: usize, room: &str, ask: Ask) -> QuestionId {
    let now = node.now;
    let question = node.shards[shard]
        .ask(now, Asker::default(), Question::Room(room.into(), ask))
        .unwrap();
    node.settle();
    question
}

/// The only answer.
fn reply<S: Store>(node: &mut Node<S>) -> Reply {
    assert_eq!(node.replies.len(), 1, "{:?}", node.replies);
    node.replies.pop().unwrap().2
}

fn published(reply: Reply) -> Published {
    match reply {
        Reply::Published(published) => published,
        other => panic!("{other:?}"),
    }
}

fn code(reply: &Reply) -> ErrorCode {
    match reply {
        Reply::Failed(failure) => failure.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backend_publishes_from_any_shard_and_is_no_member() {
    let mut node = node(3, settings(), kinds());
    let ann = node.member("r");
    for shard in 0..3 {
        ask(&mut node, shard, "r", chat(r#"{"n":1}"#, None));
        let told = published(reply(&mut node));
        let got = node.messages(ann);
        assert_eq!(got.len(), 1, "{got:#?}");
        assert_eq!(got[0]["type"], "chat");
        assert_eq!(got[0]["payload"]["n"], 1);
        assert_eq!(got[0]["from_client_id"].as_str().unwrap_or_default(), "");
        assert_eq!(got[0]["from_service"], "shop");
        assert_eq!(got[0]["offset"], told.offset);
        assert_eq!(text(&got[0]["epoch"]), told.epoch.as_str());
        assert_eq!(got[0]["timestamp"], told.timestamp);
    }
    node.say(ann, r#"{"type":"members","room_id":"r"}"#);
    assert_eq!(node.messages(ann)[0]["payload"]["total"], 1);
    node.say(ann, r#"{"type":"history","room_id":"r"}"#);
    let page = node.messages(ann)[0]["payload"]["events"].take();
    let of_the_shop = page.as_array().unwrap().iter();
    let of_the_shop = of_the_shop.filter(|it| it["from_service"] == "shop");
    assert_eq!(of_the_shop.count(), 3, "{page:#?}");
}

#[test]
fn what_is_published_with_a_key_is_published_once() {
    let mut node = node(2, settings(), kinds());
    let ann = node.member("r");
    ask(&mut node, 0, "r", chat("1", Some("a")));
    let first = published(reply(&mut node));
    ask(&mut node, 1, "r", chat("1", Some("a")));
    let again = published(reply(&mut node));
    assert!(again.repeated && !first.repeated);
    assert_eq!((again.epoch, again.offset), (first.epoch, first.offset));
    ask(&mut node, 1, "r", chat("2", Some("b")));
    assert_eq!(published(reply(&mut node)).offset, first.offset + 1);
    assert_eq!(node.messages(ann).len(), 2);
    // Another room has a log of its own.
    ask(&mut node, 1, "other", chat("1", Some("a")));
    assert!(!published(reply(&mut node)).repeated);
}

#[test]
fn keys_are_forgotten_with_the_events_that_had_them() {
    let kind = Kind {
        retention: roomcast_core::log::Retention {
            events: 4,
            ..relay("default").retention
        },
        ..relay("default")
    };
    let mut node = node(1, settings(), vec![kind]);
    let ann = node.member("r");
    let mut last = 0;
    for n in 0..1_000 {
        ask(&mut node, 0, "r", chat("1", Some(&n.to_string())));
        last = published(reply(&mut node)).offset;
    }
    ask(&mut node, 0, "r", chat("1", Some("999")));
    assert_eq!(published(reply(&mut node)).offset, last);
    let held = node.shards[0].stats().log_bytes;
    assert!(held < 64 * 1024, "{held} bytes for four events");
    node.drain(ann);
}

#[test]
fn a_room_without_members_is_published_to_and_keeps_its_log() {
    let mut node = node(2, settings(), kinds());
    ask(&mut node, 0, "r", chat(r#""hello""#, None));
    let told = published(reply(&mut node));
    assert_eq!(told.offset, 1);
    let rooms: usize = node.shards.iter().map(|it| it.rooms().0).sum();
    assert_eq!(rooms, 0, "nobody is in it");
    let ann = node.connect();
    let since = format!(
        r#"{{"room_id":"r","since":{{"epoch":"{}","offset":0}}}}"#,
        told.epoch.as_str()
    );
    node.say(ann, &format!(r#"{{"type":"join_room","payload":{since}}}"#));
    let got = node.messages(ann);
    assert!(
        got.iter()
            .any(|it| it["type"] == "chat" && it["payload"] == "hello"),
        "{got:#?}"
    );
}

#[test]
fn a_kind_that_is_not_configured_is_refused() {
    let settings = Settings {
        refuse_unknown_kinds: true,
        ..settings()
    };
    let mut node = node(2, settings, kinds());
    ask(&mut node, 0, "other:1", chat("1", None));
    assert_eq!(code(&reply(&mut node)), ErrorCode::UnknownKind);
    ask(&mut node, 0, "chat:1", Ask::Newer);
    assert_eq!(code(&reply(&mut node)), ErrorCode::NotSupported);
}

#[test]
fn a_shard_bounds_what_waits_for_an_answer() {
    let mut node = node(1, settings(), kinds());
    let now = node.now;
    let big = "1".repeat(60_000);
    let mut taken = 0;
    let chat = || Question::Room("r".into(), chat(&big, None));
    while node.shards[0].ask(now, Asker(taken), chat()).is_ok() {
        taken += 1;
        assert!(taken < 1_000);
    }
    node.settle();
    assert_eq!(node.replies.len(), taken as usize);
    assert_eq!(node.shards[0].questions(), 0);
    assert!(node.shards[0].ask(now, Asker(0), chat()).is_ok());
}

#[test]
fn one_who_asks_leaves_room_for_the_others() {
    let mut node = node(1, settings(), kinds());
    let now = node.now;
    let big = "1".repeat(60_000);
    let chat = || Question::Room("r".into(), chat(&big, None));
    while node.shards[0].ask(now, Asker(1), chat()).is_ok() {}
    let busy = node.shards[0].ask(now, Asker(1), chat());
    assert_eq!(busy, Err(Busy::Asker));
    assert!(node.shards[0].ask(now, Asker(2), chat()).is_ok());
    // Once they are answered it may ask again.
    node.settle();
    node.replies.clear();
    assert!(node.shards[0].ask(now, Asker(1), chat()).is_ok());
}

fn cluster() -> Cluster {
    Cluster::new(&[1, 2, 1], &settings(), &kinds())
}

fn sessions_of(user: &str) -> Query {
    Query::Sessions {
        user: user.into(),
        clients: Vec::new(),
    }
}

fn ask_node(cluster: &mut Cluster, node: usize, room: &str, ask: Ask) {
    let node = cluster.node(node);
    let now = node.now;
    let question = Question::Room(room.into(), ask);
    node.shards[0].ask(now, Asker::default(), question).unwrap();
}

fn reply_of(cluster: &mut Cluster, node: usize) -> Reply {
    reply(cluster.node(node))
}

#[test]
fn a_backend_asks_any_node() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    assert_eq!(cluster.home_of("r"), Some(0));
    ask_node(&mut cluster, 1, "r", chat("1", Some("a")));
    cluster.settle();
    let first = published(reply_of(&mut cluster, 1));
    assert_eq!(cluster.messages(ann).len(), 1);
    ask_node(&mut cluster, 2, "r", chat("1", Some("a")));
    cluster.settle();
    let again = published(reply_of(&mut cluster, 2));
    assert_eq!((again.epoch, again.offset), (first.epoch, first.offset));
    assert!(again.repeated);
    assert_eq!(cluster.messages(ann).len(), 0);
}

#[test]
fn nothing_is_answered_before_the_store_has_it() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    cluster.unanswered.set(1);
    ask_node(&mut cluster, 1, "r", chat("1", None));
    for _ in 0..3 {
        cluster.step(1);
    }
    // The store is asked again after a while.
    cluster.pass(1_000);
    let told = published(reply_of(&mut cluster, 1));
    let got = cluster.messages(ann);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["offset"], told.offset);
}

#[test]
fn a_key_is_known_to_the_next_home() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    ask_node(&mut cluster, 2, "r", chat("1", Some("a")));
    cluster.settle();
    let first = published(reply_of(&mut cluster, 2));
    cluster.kill(0);
    let _ = ann;
    ask_node(&mut cluster, 2, "r", chat("1", Some("a")));
    cluster.pass(1_000);
    let again = published(reply_of(&mut cluster, 2));
    assert_eq!((again.epoch, again.offset), (first.epoch, first.offset));
    assert_eq!(cluster.home_of("r").map(|home| home != 0), Some(true));
    let got = cluster.messages(bob);
    assert_eq!(got.iter().filter(|it| it["type"] == "chat").count(), 1);
}

#[test]
fn a_lost_home_is_asked_again_only_with_a_key() {
    let mut cluster = cluster();
    let bob = cluster.member(1, "r");
    assert_eq!(cluster.home_of("r"), Some(1));
    // It is done, and nobody hears so.
    cluster.hold(1, 2);
    ask_node(&mut cluster, 2, "r", chat("1", Some("a")));
    ask_node(&mut cluster, 2, "r", chat("2", None));
    cluster.settle();
    assert_eq!(cluster.messages(bob).len(), 2);
    cluster.kill(1);
    cluster.let_all_go();
    cluster.pass(1_000);
    let node = cluster.node(2);
    let replies: Vec<_> = node.replies.drain(..).map(|it| it.2).collect();
    let (failed, good): (Vec<_>, Vec<_>) = replies
        .into_iter()
        .partition(|it| matches!(it, Reply::Failed(_)));
    assert_eq!(failed.len(), 1);
    assert_eq!(code(&failed[0]), ErrorCode::Unavailable);
    assert_eq!(good.len(), 1);
    assert!(published(good[0].clone()).repeated);
}

#[test]
fn a_room_that_moves_is_followed() {
    let mut cluster = cluster();
    let _bob = cluster.member(1, "r");
    ask_node(&mut cluster, 2, "r", chat("1", None));
    cluster.settle();
    reply_of(&mut cluster, 2);
    cluster.steal("r", 1, 0);
    // The home of before learns it from the store; nothing of this was done there.
    ask_node(&mut cluster, 2, "r", chat("2", Some("b")));
    cluster.pass(2_000);
    assert_eq!(published(reply_of(&mut cluster, 2)).offset, 3);
}

#[test]
fn what_nobody_answers_ends() {
    let mut cluster = cluster();
    let _bob = cluster.member(1, "r");
    cluster.hold(2, 1);
    ask_node(&mut cluster, 2, "r", chat("1", Some("a")));
    cluster.pass(9_900);
    assert!(cluster.node(2).replies.is_empty());
    cluster.pass(200);
    assert_eq!(code(&reply_of(&mut cluster, 2)), ErrorCode::Unavailable);
    // What comes later is not done, and told to nobody.
    cluster.pass(10_000);
    cluster.let_go(2, 1);
    cluster.pass(100);
    assert!(cluster.node(2).replies.is_empty());
    assert_eq!(cluster.node(2).shards[0].questions(), 0);
}

/// Asks at a node, and waits for the only answer.
fn answer(cluster: &mut Cluster, node: usize, question: Question) -> Reply {
    let at = cluster.node(node);
    let now = at.now;
    at.shards[0].ask(now, Asker::default(), question).unwrap();
    cluster.pass(100);
    reply_of(cluster, node)
}

fn direct(payload: &str, key: Option<&str>) -> Publication {
    match chat(payload, key) {
        Ask::Publish(publication) => publication,
        _ => unreachable!(),
    }
}

fn client_id(cluster: &mut Cluster, at: cluster::At) -> String {
    cluster.say(at, r#"{"type":"join_room","room_id":"own"}"#);
    let got = cluster.messages(at);
    let joined = got.iter().find(|it| it["type"] == "joined").unwrap();
    let own = &joined["payload"]["player_num"];
    let members = joined["payload"]["members"].as_array().unwrap();
    let member = members.iter().find(|it| it["player_num"] == *own).unwrap();
    text(&member["player_id"])
}

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

#[test]
fn a_user_is_sent_away_from_all_nodes() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    let mut seats = Vec::new();
    for node in 0..3 {
        let (at, _) = cluster.connect(node);
        cluster.say(at, r#"{"type":"auth","payload":{"token":"eve all:r"}}"#);
        cluster.say(at, r#"{"type":"join_room","room_id":"r"}"#);
        seats.push(at);
    }
    // One of them is away.
    cluster.node(2).cut(seats[2].1);
    cluster.drop_all();
    cluster.pass(100);
    cluster.drop_all();
    let sessions = Question::All(sessions_of("eve"));
    match answer(&mut cluster, 0, sessions.clone()) {
        Reply::Sessions(sessions) => {
            assert_eq!(sessions.len(), 3);
            assert_eq!(sessions.iter().filter(|it| it.connected).count(), 2);
            assert!(
                sessions.iter().all(|it| it.rooms == ["r".into()]),
                "{sessions:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    let (user, reason) = ("eve".into(), "enough".into());
    let away = Question::All(Query::Disconnect {
        user,
        clients: Vec::new(),
        reason,
    });
    assert_eq!(answer(&mut cluster, 1, away), Reply::Disconnected(3));
    for (node, client) in &seats[..2] {
        let got = cluster.node(*node).drain(*client);
        let closed = Got::Close(4503, "disconnected; enough".to_owned());
        assert!(got.contains(&closed), "{got:?}");
    }
    assert!(cluster.types(ann).contains(&"player_left".to_owned()));
    assert_eq!(
        answer(&mut cluster, 0, sessions),
        Reply::Sessions(Vec::new())
    );
    assert_eq!(cluster.total(ann, "r"), 1);
}

fn join_as(cluster: &mut Cluster, node: usize, user: &str, room: &str) -> cluster::At {
    let (at, _) = cluster.connect(node);
    let token = format!(r#"{{"type":"auth","payload":{{"token":"{user} all:{room}"}}}}"#);
    cluster.say(at, &token);
    cluster.drop_all();
    cluster.say(at, &format!(r#"{{"type":"join_room","room_id":"{room}"}}"#));
    cluster.pass(100);
    at
}

fn codes(cluster: &mut Cluster, at: cluster::At) -> Vec<String> {
    let got = cluster.messages(at);
    let errors = got.iter().filter(|it| it["type"] == "error");
    errors.map(|it| text(&it["payload"]["code"])).collect()
}

fn of_room(room: &str, ask: Ask) -> Question {
    Question::Room(room.into(), ask)
}

#[test]
fn a_user_is_put_out_of_a_room_and_may_come_again() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    let eves = [1, 2].map(|node| join_as(&mut cluster, node, "eve", "r"));
    cluster.drop_all();
    let user = || "eve".into();
    let kicked = answer(&mut cluster, 2, of_room("r", Ask::Kick { user: user() }));
    assert_eq!(kicked, Reply::Done(2));
    for eve in eves {
        assert_eq!(codes(&mut cluster, eve), ["removed"]);
    }
    assert!(cluster.types(ann).contains(&"player_left".to_owned()));
    assert_eq!(cluster.total(ann, "r"), 1);
    cluster.say(eves[0], r#"{"type":"chat","room_id":"r","payload":1}"#);
    assert_eq!(codes(&mut cluster, eves[0]), ["not_in_room"]);
    cluster.say(eves[0], r#"{"type":"join_room","room_id":"r"}"#);
    cluster.pass(100);
    assert_eq!(cluster.total(ann, "r"), 2);
    let nobody = answer(
        &mut cluster,
        0,
        of_room("r", Ask::Kick { user: "x".into() }),
    );
    assert_eq!(nobody, Reply::Done(0));
}

#[test]
fn a_ban_lasts_for_its_time_and_outlives_its_home() {
    let mut cluster = cluster();
    let ann = cluster.member(1, "r");
    let eve = join_as(&mut cluster, 0, "eve", "r");
    cluster.drop_all();
    let until = cluster.node(0).now.unix_ms + 60_000;
    let ban = Ask::Ban {
        user: "eve".into(),
        until,
    };
    assert_eq!(answer(&mut cluster, 2, of_room("r", ban)), Reply::Done(1));
    assert_eq!(codes(&mut cluster, eve), ["banned"]);
    cluster.say(eve, r#"{"type":"join_room","room_id":"r"}"#);
    cluster.pass(100);
    assert_eq!(codes(&mut cluster, eve), ["banned"]);
    let home = cluster.home_of("r").unwrap();
    assert_eq!(home, 1);
    cluster.kill(1);
    let _ = ann;
    cluster.pass(1_000);
    let again = join_as(&mut cluster, 2, "eve", "r");
    assert_eq!(codes(&mut cluster, again), ["banned"]);
    cluster.pass(60_000);
    let after = join_as(&mut cluster, 2, "eve", "r");
    assert_eq!(codes(&mut cluster, after), [""; 0]);
    assert_eq!(cluster.total(after, "r"), 1);
}

#[test]
fn a_ban_of_a_room_that_is_empty_is_kept_and_can_be_lifted() {
    let mut node = node(2, settings(), kinds());
    let until = node.now.unix_ms + 60_000;
    let user = || "eve".into();
    ask(
        &mut node,
        0,
        "r",
        Ask::Ban {
            user: user(),
            until,
        },
    );
    assert_eq!(reply(&mut node), Reply::Done(0));
    // One whose time was over before it came lifts no other one.
    let late = Ask::Ban {
        user: user(),
        until: node.now.unix_ms - 1,
    };
    ask(&mut node, 0, "r", late);
    assert_eq!(reply(&mut node), Reply::Done(0));
    node.pass(1_000);
    let eve = node.connect();
    node.say(eve, r#"{"type":"hello"}"#);
    node.say(eve, r#"{"type":"auth","payload":{"token":"eve all:r"}}"#);
    node.drain(eve);
    node.say(eve, r#"{"type":"join_room","room_id":"r"}"#);
    node.error(eve, "banned");
    ask(
        &mut node,
        1,
        "r",
        Ask::Ban {
            user: user(),
            until: 0,
        },
    );
    assert_eq!(reply(&mut node), Reply::Done(0));
    node.say(eve, r#"{"type":"join_room","room_id":"r"}"#);
    assert_eq!(node.types(eve), ["joined", "player_joined"]);
    node.assert_gone();
}

#[test]
fn nobody_more_joins_a_room_that_is_locked() {
    let mut node = node(2, settings(), kinds());
    let ann = node.member("r");
    let until = node.now.unix_ms + 5_000;
    for until in [until, node.now.unix_ms - 1] {
        ask(&mut node, 1, "r", Ask::Lock { until });
        assert_eq!(reply(&mut node), Reply::Done(0));
    }
    let bob = node.connect();
    node.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    node.error(bob, "room_locked");
    node.say(ann, r#"{"type":"chat","room_id":"r","payload":1}"#);
    assert!(node.types(ann).contains(&"chat".to_owned()));
    node.pass(5_100);
    node.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    assert_eq!(node.types(bob), ["joined", "player_joined"]);
    node.assert_gone();
}

#[test]
fn a_log_that_is_cleared_goes_on_counting() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    cluster.say(ann, r#"{"type":"chat","room_id":"r","payload":"secret"}"#);
    cluster.drop_all();
    assert_eq!(
        answer(&mut cluster, 1, of_room("r", Ask::Clear)),
        Reply::Done(0)
    );
    let read = |cluster: &mut Cluster, node: usize| {
        let history = of_room("r", Ask::History(Default::default()));
        match answer(cluster, node, history) {
            Reply::Message(message) => String::from_utf8(message.into()).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert!(!read(&mut cluster, 2).contains("secret"));
    cluster.say(ann, r#"{"type":"chat","room_id":"r","payload":"next"}"#);
    cluster.kill(0);
    cluster.pass(1_000);
    let log = read(&mut cluster, 2);
    assert!(log.contains("next") && !log.contains("secret"), "{log}");
}

#[test]
fn nothing_is_asked_that_a_node_is_too_old_for() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    cluster.version = 1;
    cluster.tell_all();
    let nobody = || Recipient::User("nobody".into());
    let questions = [
        of_room("r", chat("1", None)),
        Question::Direct(nobody(), direct("1", None)),
        Question::All(sessions_of("nobody")),
    ];
    for question in questions {
        let told = answer(&mut cluster, 1, question);
        assert_eq!(code(&told), ErrorCode::Unavailable);
    }
    assert_eq!(cluster.messages(ann).len(), 0);
    cluster.version = roomcast_core::wire::VERSION;
    cluster.tell_all();
    let told = answer(&mut cluster, 1, of_room("r", chat("1", None)));
    published(told);
    assert_eq!(cluster.messages(ann).len(), 1);
}
