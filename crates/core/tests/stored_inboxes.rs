//! Direct messages of several nodes: an inbox in the store takes each once, and its client gets it wherever it is.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::{Got, relay, text};
use roomcast_core::settings::Settings;
use roomcast_core::store::{Request, StoreId};
use roomcast_engine::model::Model;
use serde_json::{Value, json};

/// One who said `hello`.
#[derive(Clone)]
struct Session {
    at: At,
    id: String,
    token: String,
    welcome: Value,
}

fn cluster(shards: &[u16], change: impl FnOnce(&mut Settings)) -> Cluster {
    let mut settings = Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    change(&mut settings);
    Cluster::new(shards, &settings, &[relay("default")])
}

fn hello(cluster: &mut Cluster, node: usize, payload: &Value) -> Option<Session> {
    let at = (node, cluster.node(node).connect());
    let hello = json!({"type": "hello", "payload": payload});
    cluster.say(at, &hello.to_string());
    let got = cluster.node(node).sockets[at.1].wire.len();
    if got == 0 {
        return None;
    }
    let welcome = cluster.node(node).read_one(at.1);
    if welcome["type"] != "welcome" {
        return None;
    }
    let welcome = welcome["payload"].clone();
    Some(Session {
        at,
        id: text(&welcome["client_id"]),
        token: text(&welcome["resume_token"]),
        welcome,
    })
}

fn begin(cluster: &mut Cluster, node: usize) -> Session {
    hello(cluster, node, &json!({"version": 1})).unwrap()
}

fn begin_as(cluster: &mut Cluster, node: usize, user: &str) -> Option<Session> {
    let token = format!("{user} all:x");
    hello(cluster, node, &json!({"version": 1, "token": token}))
}

/// The session comes back to a node, with what it has of its inbox.
fn come_back(cluster: &mut Cluster, node: usize, session: &Session, inbox: &Value) -> Session {
    let payload = json!({"version": 1, "resume_token": session.token, "inbox": inbox});
    let again = hello(cluster, node, &payload).unwrap();
    assert_eq!(again.welcome["resumed"], true, "{:#?}", again.welcome);
    assert_eq!(again.id, session.id);
    again
}

fn send(cluster: &mut Cluster, from: &Session, to: &Session, seq: u64, payload: &str) {
    let chat = json!({"type": "chat", "to_client_id": to.id, "seq": seq, "payload": payload});
    cluster.say(from.at, &chat.to_string());
}

fn chats(messages: &[Value]) -> Vec<String> {
    let chats = messages.iter().filter(|it| it["type"] == "chat");
    chats.map(|it| text(&it["payload"])).collect()
}

/// The numbers that were acked.
fn acked(messages: &[Value]) -> Vec<u64> {
    let acks = messages.iter().filter(|it| it["type"] == "ack");
    let acks = acks.flat_map(|it| it["payload"]["acks"].as_array().unwrap().clone());
    acks.map(|it| it["seq"].as_u64().unwrap()).collect()
}

fn errors(messages: &[Value]) -> Vec<String> {
    let errors = messages.iter().filter(|it| it["type"] == "error");
    errors.map(|it| text(&it["payload"]["code"])).collect()
}

/// Where the last message of an inbox was.
fn place(messages: &[Value]) -> Value {
    let last = messages.iter().rfind(|it| it["type"] == "chat").unwrap();
    json!({"epoch": last["epoch"], "offset": last["offset"]})
}

fn closed(cluster: &mut Cluster, (node, client): At) -> Option<u16> {
    let code = |got| match got {
        Got::Close(code, _) => Some(code),
        _ => None,
    };
    cluster.node(node).drain(client).into_iter().find_map(code)
}

#[test]
fn a_client_of_another_node_gets_what_is_acked_in_its_order() {
    let mut cluster = cluster(&[2, 1, 3], |_| {});
    for (from, to) in [(0, 1), (1, 2), (2, 2), (0, 0)] {
        let (ann, bob) = (begin(&mut cluster, from), begin(&mut cluster, to));
        for seq in 1..=40 {
            send(&mut cluster, &ann, &bob, seq, &seq.to_string());
        }
        let got = cluster.messages(bob.at);
        let expected: Vec<_> = (1..=40).map(|it| it.to_string()).collect();
        assert_eq!(chats(&got), expected);
        let offsets: Vec<_> = got
            .iter()
            .map(|it| it["offset"].as_u64().unwrap())
            .collect();
        assert_eq!(offsets, (1..=40).collect::<Vec<_>>());
        assert_eq!(got[0]["from_client_id"], ann.id.as_str());
        let acks = acked(&cluster.messages(ann.at));
        assert_eq!(acks, (1..=40).collect::<Vec<_>>());
        // Again, as if the acks were lost.
        send(&mut cluster, &ann, &bob, 40, "40");
        assert_eq!(acked(&cluster.messages(ann.at)), [40]);
        assert_eq!(cluster.messages(bob.at), [Value::Null; 0]);
    }
}

#[test]
fn an_inbox_outlives_its_node_and_takes_messages_meanwhile() {
    let mut cluster = cluster(&[1, 2, 1], |_| {});
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 1));
    send(&mut cluster, &ann, &bob, 1, "one");
    let had = place(&cluster.messages(bob.at));
    cluster.node(1).cut(bob.at.1);
    send(&mut cluster, &ann, &bob, 2, "two");
    cluster.kill(1);
    send(&mut cluster, &ann, &bob, 3, "three");
    assert_eq!(acked(&cluster.messages(ann.at)), [1, 2, 3]);
    let bob = come_back(&mut cluster, 2, &bob, &had);
    assert_eq!(bob.welcome["inbox_recovered"], true);
    assert_eq!(bob.welcome["inbox"], had);
    let got = cluster.messages(bob.at);
    assert_eq!(chats(&got), ["two", "three"]);
    send(&mut cluster, &ann, &bob, 4, "four");
    let got = cluster.messages(bob.at);
    assert_eq!(chats(&got), ["four"]);
    // Elsewhere again, with all that there is.
    let bob = come_back(&mut cluster, 0, &bob, &place(&got));
    assert_eq!(bob.welcome["inbox_recovered"], true);
    assert_eq!(cluster.messages(bob.at), [Value::Null; 0]);
    // A page that knows nothing of before gets all, and one that was elsewhere too long is told.
    let bob = come_back(&mut cluster, 0, &bob, &Value::Null);
    assert_eq!(chats(&cluster.messages(bob.at)).len(), 4);
    cluster.node(0).cut(bob.at.1);
    for seq in 5..=80 {
        send(&mut cluster, &ann, &bob, seq, "more");
    }
    let bob = come_back(&mut cluster, 2, &bob, &had);
    assert_eq!(bob.welcome["inbox_recovered"], false);
    assert_eq!(cluster.messages(bob.at).len(), 64);
}

#[test]
fn news_that_come_late_or_not_at_all_lose_nothing() {
    let mut cluster = cluster(&[1, 1], |_| {});
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 1));
    send(&mut cluster, &ann, &bob, 1, "one");
    assert_eq!(chats(&cluster.messages(bob.at)), ["one"]);
    cluster.hold(0, 1);
    send(&mut cluster, &ann, &bob, 2, "two");
    send(&mut cluster, &ann, &bob, 3, "three");
    assert_eq!(acked(&cluster.messages(ann.at)), [1, 2, 3]);
    assert_eq!(cluster.messages(bob.at), [Value::Null; 0]);
    // The news are lost with the link: with the next ones all is read.
    cluster.lose_link(0, 1);
    cluster.let_go(0, 1);
    send(&mut cluster, &ann, &bob, 4, "four");
    assert_eq!(chats(&cluster.messages(bob.at)), ["two", "three", "four"]);
    // They come when the client has read all of it elsewhere.
    cluster.hold(0, 1);
    send(&mut cluster, &ann, &bob, 5, "five");
    let back = come_back(&mut cluster, 1, &bob, &Value::Null);
    assert_eq!(chats(&cluster.messages(back.at)).len(), 5);
    cluster.let_go(0, 1);
    assert_eq!(cluster.messages(back.at), [Value::Null; 0]);
}

#[test]
fn what_comes_between_the_losses_of_the_two_ends_of_a_link_is_not_lost() {
    let mut cluster = cluster(&[1, 2], |_| {});
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 1));
    // Bob's node gives the link up, and looks into his inbox. Ann's does not know yet.
    cluster.lose_end(1, 0);
    cluster.tell_all();
    cluster.pass(100);
    cluster.hold(0, 1);
    send(&mut cluster, &ann, &bob, 1, "one");
    assert_eq!(acked(&cluster.messages(ann.at)), [1]);
    cluster.lose_end(0, 1);
    cluster.take_on_the_way(0, 1);
    cluster.tell_all();
    cluster.let_go(0, 1);
    assert_eq!(chats(&cluster.messages(bob.at)), ["one"]);
}

#[test]
fn news_that_is_lost_while_a_session_is_being_taken_loses_nothing() {
    let mut cluster = cluster(&[1, 1, 1], |_| {});
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 2));
    cluster.node(2).cut(bob.at.1);
    // His inbox is read, and the answer is late.
    let late = |request: &Request| matches!(request, Request::InboxRead(_));
    cluster.late.set(Some((1, late)));
    let at = (1, cluster.node(1).connect());
    let hello = json!({"type": "hello", "payload": {"resume_token": bob.token}});
    cluster.say(at, &hello.to_string());
    cluster.hold(0, 1);
    send(&mut cluster, &ann, &bob, 1, "one");
    assert_eq!(acked(&cluster.messages(ann.at)), [1]);
    cluster.lose_link(0, 1);
    cluster.let_go(0, 1);
    assert_eq!(cluster.messages(at), [Value::Null; 0]);
    cluster.late.set(None);
    cluster.pass(100);
    let got = cluster.messages(at);
    assert_eq!(got[0]["type"], "welcome");
    assert_eq!(chats(&got), ["one"]);
}

#[test]
fn a_user_has_sessions_on_all_nodes_and_each_gets_a_message() {
    let mut cluster = cluster(&[2, 1, 2], |it| it.max_user_sessions = 3);
    let ann = begin(&mut cluster, 0);
    let sessions: Vec<_> = (0..3)
        .map(|node| begin_as(&mut cluster, node, "bob").unwrap())
        .collect();
    let to_bob = |seq: u64| {
        json!({"type": "chat", "to_user_id": "bob", "seq": seq, "payload": "x"}).to_string()
    };
    cluster.say(ann.at, &to_bob(1));
    for session in &sessions {
        let got = cluster.messages(session.at);
        assert_eq!(chats(&got), ["x"]);
        assert_eq!(got[0]["to_user_id"], "bob");
    }
    assert_eq!(acked(&cluster.messages(ann.at)), [1]);
    // A fourth is one too many, wherever it is, and one without a connection counts.
    cluster.node(0).cut(sessions[0].at.1);
    let is_refused = |cluster: &mut Cluster| {
        let fourth = cluster.node(1).connect();
        let hello = json!({"type": "hello", "payload": {"token": "bob all:x"}});
        cluster.say((1, fourth), &hello.to_string());
        let got = cluster.node(1).drain(fourth);
        let refused = format!("{got:?}").contains("too_many_sessions");
        assert_eq!(refused, matches!(got.last(), Some(Got::Close(4006, _))));
        refused
    };
    assert!(is_refused(&mut cluster));
    cluster.pass(31_000);
    let again = begin_as(&mut cluster, 1, "bob").unwrap();
    assert!(is_refused(&mut cluster));
    // One whose node is gone does not.
    cluster.kill(2);
    let last = begin_as(&mut cluster, 1, "bob").unwrap();
    assert!(is_refused(&mut cluster));
    cluster.say(ann.at, &to_bob(2));
    assert_eq!(chats(&cluster.messages(again.at)), ["x"]);
    assert_eq!(chats(&cluster.messages(last.at)), ["x"]);
    assert_eq!(chats(&cluster.messages(sessions[1].at)), ["x"]);
    assert_eq!(acked(&cluster.messages(ann.at)), [2]);
    // Without authentication the user is the client, and nobody is told of.
    let carol = begin(&mut cluster, 1);
    let to_carol = json!({"type": "chat", "to_user_id": carol.id, "seq": 3, "payload": "y"});
    cluster.say(ann.at, &to_carol.to_string());
    assert_eq!(chats(&cluster.messages(carol.at)), ["y"]);
    let nobody = json!({"type": "chat", "to_user_id": "nobody", "seq": 4, "payload": "z"});
    cluster.say(ann.at, &nobody.to_string());
    let got = cluster.messages(ann.at);
    assert_eq!(acked(&got), [3]);
    assert_eq!(errors(&got), ["recipient_not_found"]);
}

#[test]
fn ephemeral_messages_reach_other_nodes_and_those_without_hello_their_own() {
    let mut cluster = cluster(&[2, 2], |_| {});
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 1));
    let ephemeral = |to: &Session| json!({"type": "chat", "to_client_id": to.id, "ephemeral": true, "payload": "e"});
    cluster.say(ann.at, &ephemeral(&bob).to_string());
    let got = cluster.messages(bob.at);
    assert_eq!(chats(&got), ["e"]);
    assert_eq!(got[0]["offset"], Value::Null);
    cluster.node(1).cut(bob.at.1);
    cluster.settle();
    cluster.say(ann.at, &ephemeral(&bob).to_string());
    let got = cluster.messages(ann.at);
    assert_eq!(errors(&got), ["recipient_not_found"]);
    // One that never said hello is known to its own node alone.
    let raw = (0, cluster.node(0).connect());
    let to_ann = json!({"type": "chat", "to_client_id": ann.id, "payload": "I am"});
    cluster.say(raw, &to_ann.to_string());
    let id = text(&cluster.messages(ann.at)[0]["from_client_id"]);
    let to_raw = json!({"type": "chat", "to_client_id": id, "payload": "hi"});
    cluster.say(ann.at, &to_raw.to_string());
    assert_eq!(chats(&cluster.messages(raw)), ["hi"]);
}

#[test]
fn who_is_taken_is_closed_at_once_and_comes_back_where_a_late_hello_took_it() {
    let mut cluster = cluster(&[1, 2], |_| {});
    let bob = begin(&mut cluster, 0);
    let newer = come_back(&mut cluster, 1, &bob, &Value::Null);
    assert_eq!(closed(&mut cluster, bob.at), Some(4501));
    // The token of before once more: as of a connection that was given up, and whose `hello` comes late.
    for node in [0, 1] {
        let late = come_back(&mut cluster, node, &bob, &Value::Null);
        assert_eq!(late.token, newer.token);
    }
    assert_eq!(closed(&mut cluster, newer.at), Some(4000));
    let back = come_back(&mut cluster, 0, &newer, &Value::Null);
    assert_ne!(back.token, newer.token);
    let join = r#"{"type":"join_room","room_id":"r"}"#;
    cluster.say(back.at, join);
    assert!(cluster.types(back.at).contains(&"joined".to_owned()));
}

#[test]
fn a_store_that_comes_back_with_all_or_less_is_told_of_where_something_is_lost() {
    let mut cluster = cluster(&[1, 1], |_| {});
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 1));
    send(&mut cluster, &ann, &bob, 1, "one");
    let older = cluster.model.borrow().clone();
    send(&mut cluster, &ann, &bob, 2, "two");
    let had = place(&cluster.messages(bob.at));
    let all = cluster.model.borrow().clone();
    // With all: the next message has another epoch, and the client comes back for it.
    *cluster.model.borrow_mut() = all.restarted(StoreId(8));
    send(&mut cluster, &ann, &bob, 3, "three");
    assert_eq!(closed(&mut cluster, bob.at), Some(4000));
    cluster.store = StoreId(8);
    cluster.tell_all();
    let bob = come_back(&mut cluster, 1, &bob, &had);
    assert_eq!(bob.welcome["inbox_recovered"], true);
    let got = cluster.messages(bob.at);
    assert_eq!(chats(&got), ["three"]);
    assert_ne!(place(&got)["epoch"], had["epoch"]);
    assert_eq!(bob.welcome["inbox"]["epoch"], place(&got)["epoch"]);
    // With less: offsets are given anew, and who had them is told.
    *cluster.model.borrow_mut() = older.restarted(StoreId(9));
    send(&mut cluster, &ann, &bob, 4, "four");
    assert_eq!(closed(&mut cluster, bob.at), Some(4000));
    cluster.store = StoreId(9);
    cluster.tell_all();
    let bob = come_back(&mut cluster, 0, &bob, &place(&got));
    assert_eq!(bob.welcome["inbox_recovered"], false);
    assert_eq!(chats(&cluster.messages(bob.at)), ["one", "four"]);
}

#[test]
fn who_reads_slowly_is_given_no_more_than_it_takes() {
    let mut cluster = cluster(&[1, 1], |it| it.event_lane = 4_096);
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 1));
    cluster.node(1).sockets[bob.at.1].window = 100;
    let text = "x".repeat(1_000);
    for seq in 1..=30 {
        send(&mut cluster, &ann, &bob, seq, &text);
    }
    assert_eq!(acked(&cluster.messages(ann.at)).len(), 30);
    let open = cluster.is_open(bob.at);
    let got = cluster.messages(bob.at);
    if open {
        assert_eq!(chats(&got).len(), 30);
    } else {
        let bob = come_back(&mut cluster, 1, &bob, &Value::Null);
        assert_eq!(chats(&cluster.messages(bob.at)).len(), 30);
    }
}

#[test]
fn a_resume_that_comes_late_takes_no_place_from_the_node_that_has_the_session() {
    let mut cluster = cluster(&[1, 1, 1], |_| {});
    let ann = begin(&mut cluster, 0);
    let bob = begin(&mut cluster, 0);
    let join = r#"{"type":"join_room","room_id":"r"}"#;
    cluster.say(ann.at, join);
    cluster.say(bob.at, join);
    // Bob comes to one node, whose letters are late, and then to another one.
    cluster.hold(1, 0);
    let late = come_back(&mut cluster, 1, &bob, &Value::Null);
    let bob = come_back(&mut cluster, 2, &late, &Value::Null);
    assert!(cluster.types(bob.at).contains(&"joined".to_owned()));
    cluster.let_go(1, 0);
    for (from, to) in [(&ann, &bob), (&bob, &ann)] {
        cluster.messages(to.at);
        let chat = json!({"type": "chat", "room_id": "r", "payload": "x"});
        cluster.say(from.at, &chat.to_string());
        let got = cluster.messages(to.at);
        assert_eq!(chats(&got), ["x"], "{got:#?}");
    }
}

#[test]
fn sessions_are_written_at_a_store_that_comes_back_with_nothing() {
    let mut cluster = cluster(&[1, 2], |it| it.max_user_sessions = 1);
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 1));
    let carol = begin_as(&mut cluster, 1, "carol").unwrap();
    cluster.node(1).cut(bob.at.1);
    cluster.settle();
    *cluster.model.borrow_mut() = Model::new(StoreId(8));
    // Nobody knows of it yet. A message waits while somebody may have something to write.
    (cluster.settled, cluster.store) = (false, StoreId(8));
    let now = cluster.node(0).now.unix_ms as u64;
    assert_eq!(cluster.model.borrow().sessions(now).count(), 0);
    send(&mut cluster, &ann, &bob, 1, "one");
    cluster.tell_all();
    cluster.pass(1_000);
    assert_eq!(cluster.model.borrow().sessions(now).count(), 3);
    for node in [0, 1] {
        let shards = cluster.node(node).shards.iter_mut();
        shards.for_each(|it| assert_eq!(it.settled_at(), [StoreId(8)]));
    }
    cluster.settled = true;
    cluster.tell_all();
    let to_carol = json!({"type": "chat", "to_user_id": "carol", "seq": 2, "payload": "two"});
    cluster.say(ann.at, &to_carol.to_string());
    assert_eq!(chats(&cluster.messages(carol.at)), ["two"]);
    assert_eq!(acked(&cluster.messages(ann.at)), [1, 2]);
    cluster.kill(1);
    let bob = come_back(&mut cluster, 0, &bob, &Value::Null);
    assert_eq!(chats(&cluster.messages(bob.at)), ["one"]);
}

/// Else a message to a user finds none of its sessions, or not all, and is done.
#[test]
fn who_a_users_sessions_are_waits_until_they_are_written_at_another_store() {
    let mut cluster = cluster(&[1, 2], |it| it.patience = 60_000);
    let ann = begin(&mut cluster, 0);
    let bobs = [0, 1].map(|node| begin_as(&mut cluster, node, "bob").unwrap());
    *cluster.model.borrow_mut() = Model::new(StoreId(8));
    (cluster.settled, cluster.store) = (false, StoreId(8));
    cluster.tell_all();
    let to_bob = json!({"type": "chat", "to_user_id": "bob", "seq": 1, "payload": "one"});
    cluster.say(ann.at, &to_bob.to_string());
    cluster.pass(1_000);
    let got = cluster.messages(ann.at);
    assert!(got.is_empty(), "others may have sessions of bob: {got:#?}");
    cluster.settled = true;
    cluster.tell_all();
    cluster.pass(1_000);
    assert_eq!(acked(&cluster.messages(ann.at)), [1]);
    for bob in bobs {
        assert_eq!(chats(&cluster.messages(bob.at)), ["one"]);
    }
}

/// Who is asked for first may be found last.
#[test]
fn messages_to_a_user_keep_their_order() {
    let mut cluster = cluster(&[1, 2], |_| {});
    let ann = begin(&mut cluster, 0);
    let bobs = [0, 1].map(|node| begin_as(&mut cluster, node, "bob").unwrap());
    cluster.unanswered.set(1);
    for seq in 1..=3 {
        let to_bob =
            json!({"type": "chat", "to_user_id": "bob", "seq": seq, "payload": seq.to_string()});
        cluster.say(ann.at, &to_bob.to_string());
    }
    assert!(cluster.messages(bobs[0].at).is_empty());
    cluster.pass(1_000);
    assert_eq!(acked(&cluster.messages(ann.at)), [1, 2, 3]);
    for bob in bobs {
        assert_eq!(chats(&cluster.messages(bob.at)), ["1", "2", "3"]);
    }
}

/// The word that a message is there is on its way when the link is lost, and the sender was told that it is.
#[test]
fn a_message_is_found_whose_news_is_lost_with_a_link() {
    let mut cluster = cluster(&[2, 2], |_| {});
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 1));
    send(&mut cluster, &ann, &bob, 1, "a");
    assert_eq!(chats(&cluster.messages(bob.at)), ["a"]);
    cluster.hold(0, 1);
    send(&mut cluster, &ann, &bob, 2, "b");
    assert_eq!(acked(&cluster.messages(ann.at)), [1, 2]);
    assert!(cluster.messages(bob.at).is_empty());
    cluster.lose_link(0, 1);
    cluster.pass(200);
    assert_eq!(chats(&cluster.messages(bob.at)), ["b"]);
    assert!(cluster.is_open(bob.at));
}

/// Its inbox has forgotten the number: it keeps those of the messages that it has.
#[test]
fn a_message_that_was_sent_again_elsewhere_is_not_put_into_the_inbox_once_more() {
    let to_client = |bob: &Session| ("to_client_id", bob.id.clone());
    let to_user = |_: &Session| ("to_user_id", "bob".to_owned());
    for to in [to_client as fn(&Session) -> _, to_user] {
        let mut cluster = cluster(&[1, 1, 1], |_| {});
        let ann = begin(&mut cluster, 0);
        let bob = begin_as(&mut cluster, 1, "bob").unwrap();
        let (field, id) = to(&bob);
        let chat = |seq: u64| json!({"type": "chat", field: id, "seq": seq, "payload": "x"});
        // The store does not answer this node, which asks again later.
        cluster.unanswered.set(1);
        cluster.say(ann.at, &chat(1).to_string());
        cluster.say(ann.at, &chat(2).to_string());
        let ann = come_back(&mut cluster, 2, &ann, &Value::Null);
        for seq in 1..=70 {
            cluster.say(ann.at, &chat(seq).to_string());
        }
        assert_eq!(acked(&cluster.messages(ann.at)).len(), 70);
        assert_eq!(chats(&cluster.messages(bob.at)).len(), 70);
        cluster.pass(10_000);
        assert_eq!(chats(&cluster.messages(bob.at)), [""; 0]);
    }
}

#[test]
fn a_message_that_was_refused_elsewhere_does_not_come_after_newer_ones() {
    let mut cluster = cluster(&[1, 1, 1], |_| {});
    let (ann, bob) = (begin(&mut cluster, 0), begin(&mut cluster, 1));
    // Bob's session is lost, with its node and all that the store had. The message waits, as it may be written yet.
    *cluster.model.borrow_mut() = Model::new(StoreId(8));
    (cluster.settled, cluster.store) = (false, StoreId(8));
    cluster.kill(1);
    cluster.pass(1_000);
    send(&mut cluster, &ann, &bob, 1, "one");
    cluster.settled = true;
    cluster.tell(2);
    let ann = come_back(&mut cluster, 2, &ann, &Value::Null);
    cluster.tell_all();
    send(&mut cluster, &ann, &bob, 1, "one");
    assert_eq!(errors(&cluster.messages(ann.at)), ["recipient_not_found"]);
    let token = json!({"version": 1, "resume_token": bob.token});
    let bob = hello(&mut cluster, 2, &token).unwrap();
    assert_eq!(bob.welcome["resumed"], false);
    send(&mut cluster, &ann, &bob, 2, "two");
    assert_eq!(acked(&cluster.messages(ann.at)), [2]);
    cluster.pass(10_000);
    assert_eq!(chats(&cluster.messages(bob.at)), ["two"]);
}
