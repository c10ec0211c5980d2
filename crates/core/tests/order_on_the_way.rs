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
