//! A room that is written at another store: what it could not send before goes out once no newer copy can replace it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::relay;
use roomcast_core::settings::Settings;
use roomcast_core::store::{Answer, Header, HomeName, NodeId, Renew, Request, StoreId, Written};
use roomcast_engine::model::Model;

const OTHER: StoreId = StoreId(8);

fn cluster() -> Cluster {
    let settings = Settings {
        messages_per_second: 0,
        ping_interval: 0,
        pong_timeout: 0,
        link_window: 2_000,
        ..Settings::default()
    };
    Cluster::new(&[1, 1], &settings, &[relay("default")])
}

/// How many a client was told.
fn chats(cluster: &mut Cluster, at: At) -> usize {
    let told = cluster.types(at);
    told.iter().filter(|it| *it == "chat").count()
}

fn chat(cluster: &mut Cluster, at: At, text: &str, seq: u64) {
    let chat = format!(r#"{{"type":"chat","room_id":"r","payload":"{text}","seq":{seq}}}"#);
    cluster.say(at, &chat);
}

fn is_append(request: &Request) -> bool {
    matches!(request, Request::Append(_))
}

fn record(cluster: &Cluster) -> Header {
    cluster.model.borrow().room(0, "r").unwrap().header
}

/// Another node writes the room, which it has had since.
fn replace(cluster: &Cluster, before: Header) {
    let header = Header {
        home: Some(HomeName {
            node: NodeId(9),
            lease: 1,
        }),
        fence: before.fence + 1_000_000,
        ..before
    };
    let renew = Renew {
        room: "r".into(),
        header,
        base: None,
        part: (0, true),
        fields: Vec::new(),
        log: Vec::new(),
        ends_after: 0,
    };
    let mut model = cluster.model.borrow_mut();
    let answer = model.apply(0, &Request::Renew(renew.into()));
    assert_eq!(answer, Ok(Answer::Written(Written::Confirmed)));
}

/// The store had it, and the link to another node was full. A node that had the room since has a newer copy.
#[test]
fn what_waited_for_a_link_is_not_told_by_a_home_whose_copy_is_replaced() {
    for is_replaced in [false, true] {
        let mut cluster = cluster();
        let ann = cluster.member(0, "r");
        let bob = cluster.member(1, "r");
        cluster.hold(0, 1);
        cluster.late.set(Some((0, is_append)));
        let long = "x".repeat(1_500);
        for seq in 1..=4 {
            chat(&mut cluster, ann, &long, seq);
        }
        cluster.late.set(None);
        let before = chats(&mut cluster, ann);
        assert!((1..4).contains(&before), "{before}");
        let there = record(&cluster);
        assert_eq!(there.offset, 6, "two joins and all of it");
        let meet = |cluster: &mut Cluster, settled| {
            (cluster.settled, cluster.store) = (settled, OTHER);
            cluster.tell_all();
            cluster.pass(100);
        };
        *cluster.model.borrow_mut() = Model::new(OTHER);
        meet(&mut cluster, false);
        let pending = record(&cluster);
        assert!(pending.pending);
        cluster.let_go(0, 1);
        cluster.pass(100);
        let of_bob = chats(&mut cluster, bob);
        if is_replaced {
            replace(&cluster, pending);
        }
        meet(&mut cluster, true);
        let rest = if is_replaced { 0 } else { 4 };
        assert_eq!(before + chats(&mut cluster, ann), rest.max(before));
        assert_eq!(of_bob + chats(&mut cluster, bob), rest.max(of_bob));
        assert_eq!(cluster.is_open(ann), !is_replaced);
    }
}
