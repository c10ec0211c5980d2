//! Several nodes with an order of claims: a room that nobody has is claimed by the first by rank, so homes are even.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::relay;
use roomcast_core::settings::Settings;

fn cluster(shards: &[u16]) -> Cluster {
    let settings = Settings {
        messages_per_second: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    let mut cluster = Cluster::new(shards, &settings, &[relay("default")]);
    cluster.rank_key = Some(77);
    cluster.tell_all();
    cluster
}

fn join(cluster: &mut Cluster, at: At, room: &str) {
    cluster.say(at, &format!(r#"{{"type":"join_room","room_id":"{room}"}}"#));
}

/// A room that is to be at home on this node: the first of its kind of name that is, with all that was tried.
fn room_of(cluster: &mut Cluster, node: usize) -> String {
    (0..)
        .map(|it| format!("try-{it}"))
        .find(|room| first(cluster, room) == node)
        .unwrap()
}

/// Where a room goes that is opened with nothing in its way.
fn first(cluster: &mut Cluster, room: &str) -> usize {
    use roomcast_core::node::first;
    use roomcast_core::store::NodeId;
    let nodes = cluster
        .living()
        .into_iter()
        .map(|node| NodeId(node as u64 + 1));
    first(77, room, nodes).unwrap().0 as usize - 1
}

/// How many of these rooms are at home on each node.
fn homes(cluster: &mut Cluster, rooms: &[String]) -> [usize; 3] {
    let mut homes = [0; 3];
    for room in rooms {
        homes[cluster.home_of(room).unwrap()] += 1;
    }
    homes
}

#[test]
fn rooms_that_one_node_needs_are_at_home_on_all_evenly_and_at_once() {
    let mut cluster = cluster(&[2, 1, 2]);
    let rooms: Vec<_> = (0..300).map(|room| format!("room-{room}")).collect();
    for room in &rooms {
        let (at, _) = cluster.connect(0);
        join(&mut cluster, at, room);
        // No time has passed: nobody has waited for anything but letters.
        assert_eq!(cluster.types(at)[0], "joined", "{room}");
    }
    let homes = homes(&mut cluster, &rooms);
    assert!(
        homes.iter().all(|count| (60..=141).contains(count)),
        "{homes:?}"
    );
}

#[test]
fn rooms_of_a_node_that_dies_spread_over_the_others() {
    let mut cluster = cluster(&[1, 1, 1]);
    let rooms: Vec<_> = (0..300).map(|room| format!("room-{room}")).collect();
    let members: Vec<_> = rooms.iter().map(|room| cluster.member(0, room)).collect();
    let before: Vec<_> = rooms.iter().map(|room| cluster.home_of(room)).collect();
    cluster.kill(1);
    cluster.pass(2_000);
    let of_dead = before
        .iter()
        .zip(&rooms)
        .filter(|(home, _)| **home == Some(1));
    let of_dead: Vec<_> = of_dead.map(|(_, room)| room.clone()).collect();
    let after = homes(&mut cluster, &of_dead);
    let third = of_dead.len() / 3;
    assert!(
        after[0] >= third && after[1] == 0 && after[2] >= third,
        "{after:?}"
    );
    // The others stay where they were.
    for (home, room) in before
        .iter()
        .zip(&rooms)
        .filter(|(home, _)| **home != Some(1))
    {
        assert_eq!(cluster.home_of(room), *home);
    }
    for (at, room) in members.into_iter().zip(&rooms) {
        assert_eq!(cluster.total(at, room), 1, "{room}");
    }
}

#[test]
fn one_node_alone_claims_at_once() {
    let mut cluster = cluster(&[2]);
    let (at, _) = cluster.connect(0);
    join(&mut cluster, at, "r");
    assert_eq!(cluster.types(at)[0], "joined");
}

#[test]
fn a_first_that_does_not_answer_is_waited_for_for_300_ms() {
    let mut cluster = cluster(&[1, 1]);
    let room = room_of(&mut cluster, 1);
    cluster.hold(0, 1);
    let (at, _) = cluster.connect(0);
    join(&mut cluster, at, &room);
    cluster.pass(290);
    assert_eq!(cluster.types(at), [""; 0]);
    cluster.pass(20);
    assert_eq!(cluster.types(at)[0], "joined");
    assert_eq!(cluster.home_of(&room), Some(0));
    // What was asked comes late: the room has a home.
    cluster.let_go(0, 1);
    cluster.pass(1_500);
    assert_eq!(cluster.home_of(&room), Some(0));
    assert_eq!(cluster.total(at, &room), 1);
}

#[test]
fn the_first_has_claimed_and_its_answer_is_late() {
    let mut cluster = cluster(&[1, 1]);
    let room = room_of(&mut cluster, 1);
    cluster.hold(1, 0);
    let (at, _) = cluster.connect(0);
    join(&mut cluster, at, &room);
    assert_eq!(cluster.home_of(&room), Some(1));
    cluster.pass(310);
    cluster.let_go(1, 0);
    assert_eq!(cluster.types(at)[0], "joined");
    assert_eq!(cluster.home_of(&room), Some(1));
    assert_eq!(cluster.total(at, &room), 1);
}

#[test]
fn a_room_that_nobody_comes_to_is_given_up_again() {
    let mut cluster = cluster(&[1, 1]);
    let room = room_of(&mut cluster, 1);
    cluster.hold(1, 0);
    let (at, _) = cluster.connect(0);
    join(&mut cluster, at, &room);
    cluster.kill(0);
    let rooms = |cluster: &mut Cluster| cluster.node(1).shards[0].rooms().0;
    cluster.pass(900);
    assert_eq!((cluster.home_of(&room), rooms(&mut cluster)), (Some(1), 1));
    cluster.pass(200);
    assert_eq!((cluster.home_of(&room), rooms(&mut cluster)), (None, 0));
}

#[test]
fn a_first_that_ends_or_is_not_settled_says_so_at_once() {
    let mut cluster = cluster(&[1, 1]);
    let room = room_of(&mut cluster, 1);
    for shard in cluster.node(1).shards.iter_mut() {
        shard.claim_nothing();
    }
    let (at, _) = cluster.connect(0);
    join(&mut cluster, at, &room);
    assert_eq!(cluster.types(at)[0], "joined");
    assert_eq!(cluster.home_of(&room), Some(0));
}

#[test]
fn a_room_that_has_a_home_keeps_it_when_its_first_comes() {
    let mut cluster = cluster(&[1, 1, 1]);
    let room = room_of(&mut cluster, 2);
    cluster.rank_key = None;
    cluster.tell_all();
    let ann = cluster.member(0, &room);
    cluster.rank_key = Some(77);
    cluster.tell_all();
    let (bob, _) = cluster.connect(1);
    join(&mut cluster, bob, &room);
    assert_eq!(cluster.types(bob)[0], "joined");
    assert!(cluster.types(ann).contains(&"player_joined".into()));
    assert_eq!(cluster.home_of(&room), Some(0));
    assert_eq!(cluster.node(2).shards[0].rooms().0, 0);
}
