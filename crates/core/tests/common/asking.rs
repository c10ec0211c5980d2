//! An application's backend that asks, at any shard of any node.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test uses its part of the harness"
)]

use roomcast_core::backend::{Ask, Asker, Publication, Published, Query, Question, Reply};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::Store;
use roomcast_core::{ClientId, QuestionId};
use roomcast_protocol::{ErrorCode, MessageType, PayloadKind};

use crate::cluster::{At, Cluster};
use crate::common::{Node, relay, text};

pub fn settings() -> Settings {
    Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    }
}

pub fn kinds() -> Vec<Kind> {
    vec![relay("default"), relay("chat")]
}

pub fn chat(payload: &str, key: Option<&str>) -> Ask {
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
pub fn ask<S: Store>(node: &mut Node<S>, shard: usize, room: &str, ask: Ask) -> QuestionId {
    let now = node.now;
    let question = node.shards[shard]
        .ask(now, Asker::default(), Question::Room(room.into(), ask))
        .unwrap();
    node.settle();
    question
}

/// The only answer.
pub fn reply<S: Store>(node: &mut Node<S>) -> Reply {
    assert_eq!(node.replies.len(), 1, "{:?}", node.replies);
    node.replies.pop().unwrap().2
}

pub fn published(reply: Reply) -> Published {
    match reply {
        Reply::Published(published) => published,
        other => panic!("{other:?}"),
    }
}

pub fn code(reply: &Reply) -> ErrorCode {
    match reply {
        Reply::Failed(failure) => failure.code,
        other => panic!("{other:?}"),
    }
}

pub fn cluster() -> Cluster {
    Cluster::new(&[1, 2, 1], &settings(), &kinds())
}

pub fn sessions_of(user: &str) -> Query {
    Query::Sessions {
        user: user.into(),
        clients: Vec::new(),
    }
}

pub fn ask_node(cluster: &mut Cluster, node: usize, room: &str, ask: Ask) {
    let node = cluster.node(node);
    let now = node.now;
    let question = Question::Room(room.into(), ask);
    node.shards[0].ask(now, Asker::default(), question).unwrap();
}

pub fn reply_of(cluster: &mut Cluster, node: usize) -> Reply {
    reply(cluster.node(node))
}

/// Asks at a node, and waits for the only answer.
pub fn answer(cluster: &mut Cluster, node: usize, question: Question) -> Reply {
    let at = cluster.node(node);
    let now = at.now;
    at.shards[0].ask(now, Asker::default(), question).unwrap();
    cluster.pass(100);
    reply_of(cluster, node)
}

pub fn direct(payload: &str, key: Option<&str>) -> Publication {
    match chat(payload, key) {
        Ask::Publish(publication) => publication,
        _ => unreachable!(),
    }
}

pub fn client_id(cluster: &mut Cluster, at: At) -> String {
    cluster.say(at, r#"{"type":"join_room","room_id":"own"}"#);
    let got = cluster.messages(at);
    let joined = got.iter().find(|it| it["type"] == "joined").unwrap();
    let own = &joined["payload"]["player_num"];
    let members = joined["payload"]["members"].as_array().unwrap();
    let member = members.iter().find(|it| it["player_num"] == *own).unwrap();
    text(&member["player_id"])
}

pub fn join_as(cluster: &mut Cluster, node: usize, user: &str, room: &str) -> At {
    let (at, _) = cluster.connect(node);
    let token = format!(r#"{{"type":"auth","payload":{{"token":"{user} all:{room}"}}}}"#);
    cluster.say(at, &token);
    cluster.drop_all();
    cluster.say(at, &format!(r#"{{"type":"join_room","room_id":"{room}"}}"#));
    cluster.pass(100);
    at
}

pub fn codes(cluster: &mut Cluster, at: At) -> Vec<String> {
    let got = cluster.messages(at);
    let errors = got.iter().filter(|it| it["type"] == "error");
    errors.map(|it| text(&it["payload"]["code"])).collect()
}

pub fn of_room(room: &str, ask: Ask) -> Question {
    Question::Room(room.into(), ask)
}
