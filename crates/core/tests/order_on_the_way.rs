//! What a connection asks of a room comes to the room's home in its order, whatever its node learns meanwhile of where that is.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::Cluster;
use common::relay;
use roomcast_core::settings::Settings;
use roomcast_core::store::Request;

const JOIN: &str = r#"{"type":"join_room","room_id":"r"}"#;
const LEAVE: &str = r#"{"type":"leave_room","room_id":"r"}"#;

fn cluster(shards: &[u16]) -> Cluster {
    let settings = Settings {
        messages_per_second: 0,
        max_offences: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    Cluster::new(shards, &settings, &[relay("default")])
}

/// Rooms at home on all nodes.
fn rooms(cluster: &mut Cluster) -> usize {
    let nodes = cluster.living();
    let shards = nodes.into_iter().map(|node| {
        let shards = cluster.node(node).shards.iter();
        shards.map(|it| it.rooms().0).sum::<usize>()
    });
    shards.sum()
}

#[test]
fn a_leave_does_not_overtake_its_join_where_the_room_ended_before() {
    let mut cluster = cluster(&[1, 2]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    // What says that bob's connection is gone is late: its session and the room end before.
    cluster.hold(1, 0);
    cluster.node(1).cut(bob.1);
    cluster.settle();
    let late = cluster.take_on_the_way(1, 0);
    assert!(!late.is_empty());
    cluster.let_go(1, 0);
    cluster.pass(31_000);
    cluster.say(ann, LEAVE);
    cluster.pass(2_000);
    assert_eq!((rooms(&mut cluster), cluster.home_of("r")), (0, None));
    let (cid, _) = cluster.connect(1);
    cluster.hold(1, 0);
    cluster.put_on_the_way(1, 0, late);
    cluster.say(cid, JOIN);
    // The store does not answer the first who claims the room for that.
    cluster.unanswered.set(1);
    cluster.let_go(1, 0);
    cluster.say(cid, LEAVE);
    cluster.pass(2_000);
    let told = cluster.types(cid);
    assert_eq!(told.first().unwrap(), "joined", "{told:?}");
    assert_eq!(told.last().unwrap(), "player_left", "{told:?}");
    assert_eq!((rooms(&mut cluster), cluster.home_of("r")), (0, None));
}

#[test]
fn who_is_in_a_room_is_answered_by_its_home_alone() {
    let mut cluster = cluster(&[1, 1, 1]);
    let ann = cluster.member(0, "r");
    let bob = cluster.member(1, "r");
    let (cid, _) = cluster.connect(2);
    // A node that takes this one for the room's home, which it was never.
    cluster.hold(2, 0);
    cluster.say(cid, JOIN);
    let join = cluster.take_on_the_way(2, 0);
    assert!(!join.is_empty());
    cluster
        .late
        .set(Some((1, |it| matches!(it, Request::Claim(_)))));
    cluster.bring(2, 1, &join);
    cluster.drop_all();
    // While the store is asked, members go on.
    cluster.say(bob, r#"{"type":"members","room_id":"r","request_id":7}"#);
    cluster.late.set(None);
    cluster.pass(500);
    let told = cluster.messages(bob);
    assert_eq!(told[0]["type"], "members", "{told:?}");
    assert!(cluster.is_open(bob) && cluster.is_open(ann));
}
