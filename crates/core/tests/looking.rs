//! What whoever runs the servers sees: nodes, rooms, who lags and why, and what a room says.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::Cluster;
use common::{Node, node, relay};
use roomcast_core::backend::{
    Ask, Asker, ConnectionLine, ConnectionsQuery, NodeLine, Publication, Query, Question, Reply,
    TopLine, TopOrder, TopQuery, Whose,
};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::Store;
use roomcast_protocol::{MessageType, PayloadKind};
use serde_json::Value;

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

/// Asks at a shard, and gives the only answer.
fn ask<S: Store>(node: &mut Node<S>, shard: usize, question: Question) -> Reply {
    let now = node.now;
    node.shards[shard]
        .ask(now, Asker::default(), question)
        .unwrap();
    node.settle();
    assert_eq!(node.replies.len(), 1, "{:?}", node.replies);
    node.replies.pop().unwrap().2
}

fn top<S: Store>(node: &mut Node<S>, order: TopOrder, limit: u32) -> Vec<TopLine> {
    let query = TopQuery {
        order,
        kind: "".into(),
        limit,
    };
    match ask(node, 0, Question::All(Query::Top(query))) {
        Reply::Top(lines) => lines,
        other => panic!("{other:?}"),
    }
}

fn connections<S: Store>(node: &mut Node<S>, whose: Whose) -> Vec<ConnectionLine> {
    let query = ConnectionsQuery { whose, limit: 10 };
    match ask(node, 0, Question::All(Query::Connections(query))) {
        Reply::Connections(lines) => lines,
        other => panic!("{other:?}"),
    }
}

fn tail<S: Store>(node: &mut Node<S>, shard: usize, (tap, after): (u64, u64)) -> Value {
    let ask_for = Ask::Tail { tap, after };
    match ask(node, shard, Question::Room("r".into(), ask_for)) {
        Reply::Message(message) => serde_json::from_slice(&message).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn position(heard: &Value) -> (u64, u64) {
    let tap = heard["tap"].as_str().unwrap();
    let tap = u64::from_str_radix(tap, 16).unwrap();
    (tap, heard["next"].as_u64().unwrap())
}

fn types(heard: &Value) -> Vec<&str> {
    let messages = heard["messages"].as_array().unwrap().iter();
    messages.map(|it| it["type"].as_str().unwrap()).collect()
}

#[test]
fn the_busiest_and_the_biggest_rooms_come_first() {
    let mut node = node(3, settings(), kinds());
    let busy = node.member("chat:busy");
    for _ in 0..5 {
        node.member("chat:big");
    }
    for nth in 0..30 {
        node.member(&format!("quiet:{nth}"));
    }
    for _ in 0..40 {
        node.pass(250);
        node.say(busy, r#"{"type":"chat","payload":1}"#);
    }
    let busiest = top(&mut node, TopOrder::Busiest, 3);
    assert_eq!((busiest.len(), &*busiest[0].room), (3, "chat:busy"));
    // Four a second, of which the rate has learnt three quarters in ten seconds.
    assert!((2_400..4_200).contains(&busiest[0].rate), "{busiest:?}");
    let biggest = top(&mut node, TopOrder::Biggest, 1);
    assert_eq!((&*biggest[0].room, biggest[0].members), ("chat:big", 5));
    node.pass(120_000);
    let later = top(&mut node, TopOrder::Busiest, 1);
    assert!(later[0].rate < 200, "{later:?}");
    let query = TopQuery {
        order: TopOrder::Biggest,
        kind: "quiet".into(),
        limit: 100,
    };
    match ask(&mut node, 1, Question::All(Query::Top(query))) {
        Reply::Top(lines) => assert_eq!(lines.len(), 30),
        other => panic!("{other:?}"),
    }
    assert_eq!(top(&mut node, TopOrder::Slowest, 10), []);
}

/// A shard with many connections goes on meanwhile: it looks at a slice of them in each turn.
#[test]
fn whoever_looks_at_many_holds_up_nobody() {
    let mut node = node(1, settings(), kinds());
    let mut clients: Vec<_> = (0..2_500).map(|_| node.connect()).collect();
    let ann = node.member("r");
    for client in clients.drain(..) {
        node.read(client);
    }
    let query = ConnectionsQuery {
        whose: Whose::Room("r".into()),
        limit: 10,
    };
    let now = node.now;
    // The same twice: it is looked for once.
    for _ in 0..2 {
        let question = Question::All(Query::Connections(query.clone()));
        node.shards[0].ask(now, Asker::default(), question).unwrap();
    }
    node.turn();
    node.send(ann, r#"{"type":"chat","room_id":"r","payload":1}"#);
    assert!(node.turn(), "there is more to look at");
    assert!(
        node.replies.is_empty(),
        "2,500 are more than two turns take"
    );
    assert_eq!(node.types(ann), ["chat"]);
    node.settle();
    assert_eq!(node.replies.len(), 2);
    for (_, _, reply) in node.replies.drain(..) {
        match reply {
            Reply::Connections(lines) => assert_eq!(lines.len(), 1),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_lags_is_found_with_the_reason() {
    let mut node = node(2, settings(), kinds());
    let (ann, bob, cid) = (node.member("r"), node.member("r"), node.member("r"));
    let lines = connections(&mut node, Whose::Room("r".into()));
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|it| !it.lags()));
    assert_eq!(connections(&mut node, Whose::Lagging), []);
    node.sockets[bob].window = 0;
    for _ in 0..20 {
        node.say(ann, r#"{"type":"chat","payload":"xxxxxxxxxxxxxxxxxxxx"}"#);
    }
    node.pass(700);
    let lines = connections(&mut node, Whose::Lagging);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].blocked >= 700 && lines[0].pending[0] > 400,
        "{lines:?}"
    );
    let of_room = connections(&mut node, Whose::Room("r".into()));
    assert_eq!(of_room.len(), 3);
    assert_eq!(
        (of_room[0].client, of_room[0].player_num),
        (lines[0].client, 2)
    );
    let slowest = top(&mut node, TopOrder::Slowest, 5);
    assert_eq!((&*slowest[0].room, slowest[0].lagging), ("r", 1));
    assert!(slowest[0].pending > 400);
    let user = Whose::User(lines[0].client.as_str().into());
    assert_eq!(connections(&mut node, user), lines);
    let nobody = Whose::User("nobody".into());
    assert_eq!(connections(&mut node, nobody), []);
    // It reads again.
    node.sockets[bob].window = usize::MAX;
    node.messages(bob);
    node.messages(cid);
    node.settle();
    assert_eq!(connections(&mut node, Whose::Lagging), []);
}

#[test]
fn a_tail_has_what_members_get_and_costs_them_nothing() {
    let mut node = node(2, settings(), kinds());
    let ann = node.member("r");
    let fresh = tail(&mut node, 0, (0, 0));
    assert_eq!((types(&fresh), &fresh["missed"]), (vec![], &0.into()));
    let bob = node.member("r");
    node.say(ann, r#"{"type":"chat","payload":{"n":1}}"#);
    node.say(
        ann,
        r#"{"type":"event","name":"x","payload":2,"ephemeral":true}"#,
    );
    node.cut(bob);
    let heard = tail(&mut node, 1, position(&fresh));
    let told = types(&heard);
    assert_eq!(told[..3], ["player_joined", "chat", "event"], "{heard:#}");
    let got = node.messages(ann);
    let same = |it: &&Value| heard["messages"].as_array().unwrap().contains(it);
    // But for who joined, which was read before.
    assert_eq!(got.iter().filter(same).count(), told.len() - 1, "{got:#?}");
    // Nothing comes twice, and two may listen.
    assert_eq!(types(&tail(&mut node, 0, position(&heard))), [""; 0]);
    assert_eq!(types(&tail(&mut node, 0, position(&fresh))), told);
    // Who asks no more is forgotten, and told so on coming back.
    node.pass(6_000);
    node.say(ann, r#"{"type":"chat","payload":3}"#);
    let late = tail(&mut node, 0, position(&heard));
    assert_eq!((types(&late), &late["restarted"]), (vec![], &true.into()));
    node.cut(ann);
    node.pass(60_000);
    node.assert_empty();
}

#[test]
fn a_slow_listener_misses_what_is_over_the_bound() {
    let mut node = node(1, settings(), kinds());
    let ann = node.member("r");
    let fresh = tail(&mut node, 0, (0, 0));
    for n in 0..600 {
        node.say(ann, &format!(r#"{{"type":"chat","payload":{n}}}"#));
        node.messages(ann);
    }
    let heard = tail(&mut node, 0, position(&fresh));
    assert_eq!(heard["missed"], 600 - 512);
    assert_eq!(types(&heard).len(), 512);
    let text = "x".repeat(3_000);
    for _ in 0..100 {
        node.say(ann, &format!(r#"{{"type":"chat","payload":"{text}"}}"#));
        node.messages(ann);
    }
    let heard = tail(&mut node, 0, position(&heard));
    let size = heard.to_string().len();
    assert!(
        size < 150_000 && heard["missed"].as_u64() > Some(50),
        "{size}"
    );
}

#[test]
fn a_room_without_members_is_listened_to() {
    let mut node = node(2, settings(), kinds());
    let fresh = tail(&mut node, 0, (0, 0));
    node.pass(4_000);
    let again = tail(&mut node, 0, position(&fresh));
    assert_eq!(again["restarted"], false);
    let publication = Publication {
        message_type: MessageType::Chat,
        payload_kind: PayloadKind::Json,
        name: "".into(),
        payload: b"1".as_slice().into(),
        ephemeral: false,
        once: None,
        service: "shop".into(),
        trace: None,
    };
    ask(
        &mut node,
        1,
        Question::Room("r".into(), Ask::Publish(publication)),
    );
    let heard = tail(&mut node, 0, position(&again));
    assert_eq!(heard["messages"][0]["from_service"], "shop");
    node.pass(6_000);
    node.assert_empty();
}

#[test]
fn nodes_say_how_they_are() {
    let mut cluster = Cluster::new(&[2, 1, 3], &settings(), &kinds());
    for number in 0..3 {
        for shard in cluster.node(number).shards.iter_mut() {
            shard.call_node(&format!("node-{number}"));
        }
    }
    let ann = cluster.member(1, "r");
    cluster.node(2).shards[0].claim_nothing();
    let mut nodes: Vec<NodeLine> = match asked(&mut cluster, Question::All(Query::Nodes)) {
        Reply::Nodes(nodes) => nodes,
        other => panic!("{other:?}"),
    };
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    let shown: Vec<_> = nodes
        .iter()
        .map(|it| (&*it.node, it.own, it.draining, it.shards, it.leased))
        .collect();
    assert_eq!(
        shown,
        [
            ("node-0", true, false, 2, true),
            ("node-1", false, false, 1, true),
            ("node-2", false, true, 3, true),
        ]
    );
    let counted = |node: usize, name: &str| {
        let mut counters = nodes[node].counters.iter();
        counters.find(|it| &*it.0 == name).unwrap().1
    };
    assert_eq!([0, 1, 2].map(|it| counted(it, "connections")), [0, 1, 0]);
    assert_eq!(
        [0, 1, 2].map(|it| counted(it, "rooms")).iter().sum::<u64>(),
        1
    );
    // A tail and the lists reach rooms and connections of other nodes.
    let position = match asked(&mut cluster, room(Ask::Tail { tap: 0, after: 0 })) {
        Reply::Message(heard) => position(&serde_json::from_slice(&heard).unwrap()),
        other => panic!("{other:?}"),
    };
    cluster.say(ann, r#"{"type":"chat","payload":7}"#);
    let (tap, after) = position;
    match asked(&mut cluster, room(Ask::Tail { tap, after })) {
        Reply::Message(heard) => {
            let heard: Value = serde_json::from_slice(&heard).unwrap();
            assert_eq!(types(&heard), ["chat"], "{heard:#}");
        }
        other => panic!("{other:?}"),
    }
    let query = ConnectionsQuery {
        whose: Whose::Room("r".into()),
        limit: 5,
    };
    match asked(&mut cluster, Question::All(Query::Connections(query))) {
        Reply::Connections(lines) => assert_eq!(&*lines[0].node, "node-1"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_top_rooms_and_a_users_connections_are_those_of_all_nodes() {
    let mut cluster = Cluster::new(&[2, 1, 3], &settings(), &kinds());
    for number in 0..3 {
        for shard in cluster.node(number).shards.iter_mut() {
            shard.call_node(&format!("node-{number}"));
        }
    }
    cluster.member(0, "chat:here");
    let busy = cluster.member(1, "chat:busy");
    // At home on one node, with members on all.
    for number in [2, 0, 1] {
        cluster.member(number, "chat:big");
    }
    for _ in 0..40 {
        cluster.pass(250);
        cluster.say(busy, r#"{"type":"chat","payload":1}"#);
    }
    let mut top = |order, limit| {
        let query = TopQuery {
            order,
            kind: "chat".into(),
            limit,
        };
        match asked(&mut cluster, Question::All(Query::Top(query))) {
            Reply::Top(lines) => lines,
            other => panic!("{other:?}"),
        }
    };
    let names =
        |lines: &[TopLine]| -> Vec<String> { lines.iter().map(|it| it.room.to_string()).collect() };
    let biggest = top(TopOrder::Biggest, 10);
    assert_eq!((&*biggest[0].room, biggest[0].members), ("chat:big", 3));
    let mut all = names(&biggest);
    all.sort();
    assert_eq!(all, ["chat:big", "chat:busy", "chat:here"]);
    let busiest = top(TopOrder::Busiest, 1);
    assert_eq!(names(&busiest), ["chat:busy"]);
    assert!(busiest[0].rate > 2_000, "{busiest:?}");
    assert_eq!(top(TopOrder::Slowest, 10), []);

    // Of two who are elsewhere: each one's own, from its node. Without tokens a user is a client.
    let mut of = |whose: Whose| {
        let query = ConnectionsQuery { whose, limit: 10 };
        match asked(&mut cluster, Question::All(Query::Connections(query))) {
            Reply::Connections(lines) => lines,
            other => panic!("{other:?}"),
        }
    };
    let members = of(Whose::Room("chat:big".into()));
    let mut nodes: Vec<_> = members.iter().map(|it| &*it.node).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["node-0", "node-1", "node-2"]);
    for member in &members {
        let lines = of(Whose::User(member.client.as_str().into()));
        let shown: Vec<_> = lines.iter().map(|it| (&*it.node, it.client)).collect();
        assert_eq!(shown, [(&*member.node, member.client)]);
    }
}

fn room(ask: Ask) -> Question {
    Question::Room("r".into(), ask)
}

/// Asks at the first node.
fn asked(cluster: &mut Cluster, question: Question) -> Reply {
    let node = cluster.node(0);
    let now = node.now;
    node.shards[0].ask(now, Asker::default(), question).unwrap();
    cluster.pass(100);
    let replies = &mut cluster.node(0).replies;
    assert_eq!(replies.len(), 1);
    replies.pop().unwrap().2
}
