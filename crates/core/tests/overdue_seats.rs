//! A room's home waits for a seat for the grace alone, unless a node that lives has its session: that one may end it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::relay;
use roomcast_core::settings::Settings;
use roomcast_core::store::StoreId;
use roomcast_engine::model::Model;
use serde_json::Value;

/// A room with a member on node 1 and one on node 2. Its home was on node 0, which has given it up, and node 2 is its home.
/// Node 1 has not heard of it.
struct Moved {
    cluster: Cluster,
    bob: At,
    token: String,
    player: Value,
    cid: At,
    /// The store as it was before the member on node 1 came into the room.
    older: Model,
}

fn cluster() -> Cluster {
    let settings = Settings {
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    Cluster::new(&[1, 1, 1], &settings, &[relay("default")])
}

fn moved() -> Moved {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    let (bob, token) = cluster.connect(1);
    let older = cluster.model.borrow().clone();
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    let player = player_num(&cluster.messages(bob));
    let cid = cluster.member(2, "r");
    cluster.say(ann, r#"{"type":"leave_room","room_id":"r"}"#);
    cluster.drop_all();
    cluster.hold(0, 1);
    for shard in cluster.node(0).shards.iter_mut() {
        shard.claim_nothing();
        shard.give_up_rooms();
    }
    cluster.pass(100);
    assert_eq!(cluster.home_of("r"), Some(2));
    cluster.drop_all();
    Moved {
        cluster,
        bob,
        token,
        player,
        cid,
        older,
    }
}

fn player_num(messages: &[Value]) -> Value {
    let joined = messages.iter().find(|it| it["type"] == "joined");
    joined.unwrap()["payload"]["player_num"].clone()
}

/// Whether a member was told that somebody has left.
fn saw_a_leave(cluster: &mut Cluster, at: At) -> bool {
    cluster.types(at).iter().any(|it| it == "player_left")
}

#[test]
fn a_member_whose_node_hears_late_that_the_room_has_moved_stays() {
    let Moved {
        mut cluster,
        bob,
        player,
        cid,
        ..
    } = moved();
    cluster.pass(55_000);
    assert!(cluster.is_open(bob));
    assert!(!saw_a_leave(&mut cluster, cid));
    cluster.let_go(0, 1);
    cluster.pass(100);
    assert_eq!(player_num(&cluster.messages(bob)), player);
    assert_eq!(cluster.total(cid, "r"), 2);
}

/// Its record is older there. Its node, which lives, is about to write it again. The room's home has met that store or not.
#[test]
fn a_member_stays_whose_session_is_older_in_a_store_that_has_come_back() {
    for has_met in [false, true] {
        let Moved {
            mut cluster,
            cid,
            older,
            ..
        } = moved();
        let next = StoreId(1_000);
        *cluster.model.borrow_mut() = older.restarted(next);
        (cluster.store, cluster.settled) = (next, false);
        if has_met {
            cluster.tell(2);
        }
        cluster.pass(55_000);
        cluster.tell_all();
        cluster.pass(1_000);
        cluster.settled = true;
        cluster.tell_all();
        cluster.let_go(0, 1);
        cluster.pass(1_000);
        assert!(!saw_a_leave(&mut cluster, cid), "has met it: {has_met}");
        assert_eq!(cluster.total(cid, "r"), 2);
    }
}

#[test]
fn a_member_that_goes_after_its_room_has_moved_has_all_its_grace() {
    let Moved {
        mut cluster,
        bob,
        token,
        player,
        cid,
        ..
    } = moved();
    cluster.pass(20_000);
    cluster.node(1).cut(bob.1);
    cluster.pass(25_000);
    let bob = cluster.come_back(2, &token, "r");
    assert_eq!(player_num(&cluster.messages(bob)), player);
    assert!(!saw_a_leave(&mut cluster, cid));
}

#[test]
fn a_member_whose_session_has_ended_goes_though_its_node_tells_another_home() {
    let Moved {
        mut cluster,
        bob,
        cid,
        ..
    } = moved();
    cluster.node(1).cut(bob.1);
    cluster.pass(33_000);
    assert!(saw_a_leave(&mut cluster, cid));
    assert_eq!(cluster.total(cid, "r"), 1);
}

#[test]
fn a_member_whose_node_dies_meanwhile_has_the_grace_and_no_more() {
    let Moved {
        mut cluster, cid, ..
    } = moved();
    cluster.pass(20_000);
    cluster.kill(1);
    cluster.pass(29_000);
    assert!(!saw_a_leave(&mut cluster, cid));
    cluster.pass(3_000);
    assert!(saw_a_leave(&mut cluster, cid));
}

/// Its record may be an older one, so it is not waited for any longer. Its client would believe that it is in the room still.
#[test]
fn a_member_whose_node_hears_too_late_that_the_room_has_moved_comes_back() {
    let Moved {
        mut cluster,
        bob,
        cid,
        ..
    } = moved();
    cluster.pass(63_000);
    assert!(saw_a_leave(&mut cluster, cid));
    assert!(cluster.is_open(bob));
    cluster.let_go(0, 1);
    assert_eq!(cluster.types(bob), ["reconnect"]);
    assert!(!cluster.is_open(bob));
}

/// It has come to another node, and the room did not hear of that.
#[test]
fn a_member_whose_session_ends_where_the_room_does_not_know_it_goes() {
    let mut cluster = cluster();
    let ann = cluster.member(0, "r");
    let (bob, token) = cluster.connect(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    cluster.hold(2, 0);
    let there = cluster.come_back(2, &token, "r");
    assert!(!cluster.is_open(bob));
    cluster.lose_link(2, 0);
    cluster.let_go(2, 0);
    cluster.pass(100);
    assert!(!cluster.is_open(there));
    cluster.pass(25_000);
    assert!(!saw_a_leave(&mut cluster, ann));
    cluster.pass(8_000);
    assert!(saw_a_leave(&mut cluster, ann));
}
