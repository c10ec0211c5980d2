//! Nodes of several versions in one cluster: what one of them would not understand is answered, and not said.
//!
//! All that this version knows is too new for a node of version 0, which there never was. So each operation stands for one
//! that the next version brings.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::relay;
use roomcast_core::settings::Settings;
use roomcast_core::wire::VERSION;

/// A member whose room is at home on its own node, and one whose room is not.
fn cluster() -> (Cluster, [At; 2]) {
    let settings = Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(&[2, 1], &settings, &[relay("default")]);
    let at_home = cluster.member(0, "r");
    let away = cluster.member(1, "r");
    cluster.drop_all();
    (cluster, [at_home, away])
}

fn versions_are(cluster: &mut Cluster, oldest: u32) {
    cluster.version = oldest;
    cluster.tell_all();
}

/// What is asked, and what answers it where it is done.
const ASKED: [(&str, &str); 4] = [
    (r#"{"type":"join_room","room_id":"s"}"#, "joined"),
    (
        r#"{"type":"chat","room_id":"r","payload":"hi","seq":1}"#,
        "ack",
    ),
    (r#"{"type":"members","room_id":"r"}"#, "members"),
    (r#"{"type":"history","room_id":"r"}"#, "history"),
];

#[test]
fn an_operation_that_a_node_is_too_old_for_is_answered_with_a_time_to_wait() {
    let (mut cluster, members) = cluster();
    versions_are(&mut cluster, 0);
    for at in members {
        for (asked, _) in ASKED {
            cluster.say(at, asked);
            let answers = cluster.messages(at);
            let [error] = &answers[..] else {
                panic!("{asked}: {answers:?}");
            };
            assert_eq!(error["payload"]["code"], "unavailable", "{asked}");
            assert_eq!(error["payload"]["retry_after_ms"], 5_000, "{asked}");
            assert!(cluster.is_open(at));
        }
    }
    // Nobody was told of what was refused.
    assert!(
        members
            .into_iter()
            .all(|at| cluster.messages(at).is_empty())
    );
    let withheld = |cluster: &mut Cluster, node: usize| -> u64 {
        let shards = cluster.node(node).shards.iter_mut();
        shards.map(|shard| shard.stats().withheld).sum()
    };
    assert!(withheld(&mut cluster, 0) >= 4 && withheld(&mut cluster, 1) >= 4);

    // The last node of that version has ended.
    versions_are(&mut cluster, VERSION);
    for at in members {
        for (asked, answer) in ASKED {
            cluster.say(at, asked);
            let types = cluster.types(at);
            assert!(types.iter().any(|it| it == answer), "{asked}: {types:?}");
            cluster.drop_all();
        }
    }
}

/// Who waits for another answer than an error comes back, and asks again.
#[test]
fn who_leaves_is_not_left_without_an_answer() {
    let (mut cluster, members) = cluster();
    versions_are(&mut cluster, 0);
    for at in members {
        cluster.say(at, r#"{"type":"leave_room","room_id":"r"}"#);
        assert!(!cluster.is_open(at));
    }
}

#[test]
fn a_node_alone_is_of_its_own_version() {
    let view = roomcast_core::node::ClusterView::default();
    assert_eq!(view.version, VERSION);
}
