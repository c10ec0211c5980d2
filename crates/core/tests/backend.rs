//! An application's backend: it publishes to rooms that it is not in, at any shard of any node.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/asking.rs"]
mod asking;
#[path = "common/cluster.rs"]
mod cluster;
mod common;

use asking::{
    answer, ask, ask_node, chat, cluster, code, direct, kinds, of_room, published, reply, reply_of,
    sessions_of, settings,
};
use common::{node, relay, text};
use roomcast_core::backend::{Ask, Asker, Busy, Question, Recipient, Reply};
use roomcast_core::settings::{Kind, Settings};
use roomcast_protocol::ErrorCode;

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
