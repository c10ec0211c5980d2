//! What a connection asks of a room comes to the room's home in its order, whatever its node learns meanwhile of where that is.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::relay;
use roomcast_core::settings::Settings;
use roomcast_core::store::Request;

const JOIN: &str = r#"{"type":"join_room","room_id":"r"}"#;
const LEAVE: &str = r#"{"type":"leave_room","room_id":"r"}"#;

fn cluster(shards: &[u16]) -> Cluster {
    cluster_with(shards, |_| {})
}

fn cluster_with(shards: &[u16], change: impl FnOnce(&mut Settings)) -> Cluster {
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

/// A room at home on a shard of the first node, which another node has taken. That shard, and members of it whose
/// connections are on that shard and on the other one.
fn stolen(cluster: &mut Cluster) -> (usize, [At; 2]) {
    let mut members = [cluster.member(0, "r"), cluster.member(0, "r")];
    cluster.member(1, "r");
    let node = cluster.node(0);
    let home = node.shards.iter().position(|it| it.rooms().0 == 1).unwrap();
    members.sort_by_key(|(_, client)| node.sockets[*client].shard != home);
    assert_eq!(cluster.home_of("r"), Some(0));
    cluster.steal("r", 0, 1);
    (home, members)
}

/// The home hears that it is none while something is on its way to it from the node's other shard. That shard hears all of
/// it at once.
fn lose_under_way(cluster: &mut Cluster, home: usize, [near, far]: [At; 2], said: &str) {
    let node = cluster.node(0);
    node.send(near.1, r#"{"type":"chat","room_id":"r","payload":"x"}"#);
    node.turn_of(home);
    node.send(far.1, said);
    node.turn_of(1 - home);
    node.slow_links = 100;
    node.turn_of(home);
    node.slow_links = 0;
}

#[test]
fn what_comes_from_another_shard_after_its_room_is_lost_is_not_refused() {
    let mut cluster = cluster(&[2, 1]);
    let (home, members) = stolen(&mut cluster);
    let far = members[1];
    let chat = r#"{"type":"chat","room_id":"r","payload":"one","seq":1}"#;
    lose_under_way(&mut cluster, home, members, chat);
    assert_eq!(cluster.node(0).shards[home].stats().rooms_lost, 1);
    cluster.node(0).turn_of(home);
    let told = cluster.types(far);
    assert_eq!(told, ["reconnect"], "it comes back, and says it again");
    assert!(!cluster.is_open(far));
}

/// Somebody else has asked for the room meanwhile.
#[test]
fn what_comes_from_another_shard_while_its_lost_room_is_looked_for_is_not_refused() {
    let mut cluster = cluster(&[2, 1]);
    let (home, members) = stolen(&mut cluster);
    let mut newcomers = [cluster.connect(0).0, cluster.connect(0).0];
    let node = cluster.node(0);
    newcomers.sort_by_key(|(_, client)| node.sockets[*client].shard != home);
    let asks = r#"{"type":"members","room_id":"r","request_id":7}"#;
    lose_under_way(&mut cluster, home, members, asks);
    assert_eq!(cluster.node(0).shards[home].stats().rooms_lost, 1);
    cluster.node(0).slow_links = 100;
    cluster.node(0).send(newcomers[0].1, JOIN);
    cluster.node(0).turn_of(home);
    cluster.node(0).slow_links = 0;
    cluster.node(0).turn_of(home);
    let told = cluster.types(members[1]);
    assert_eq!(told, ["reconnect"], "it comes back, and asks again");
}

/// The room is shut, as its node has yet to hear that it is another's.
#[test]
fn who_joins_a_room_that_is_lost_and_is_gone_since_is_not_in_it_at_its_next_home() {
    let mut cluster = cluster_with(&[1, 1], |it| it.unconfirmed.0 = 1);
    let ann = cluster.member(0, "r");
    cluster.steal("r", 0, 1);
    cluster
        .late
        .set(Some((0, |it| matches!(it, Request::Append(_)))));
    cluster.say(ann, r#"{"type":"chat","room_id":"r","payload":"x"}"#);
    let (bob, _) = cluster.connect(0);
    cluster.say(bob, JOIN);
    cluster.node(0).cut(bob.1);
    cluster.settle();
    cluster.late.set(None);
    cluster.settle();
    assert_eq!(cluster.home_of("r"), Some(1));
    let cid = cluster.connect(1).0;
    cluster.say(cid, JOIN);
    let told = cluster.messages(cid);
    let members = told[0]["payload"]["members"].as_array().unwrap();
    let connected: Vec<_> = members.iter().map(|it| &it["connected"]).collect();
    assert_eq!(connected, [false, true], "{told:#?}");
}
