//! What a client asked of a room before it lost its connection and came back: a leave that was lost with the room's home,
//! and a join that comes when its client has been in the room and out of it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::Cluster;
use serde_json::Value;

fn joined(messages: &[Value]) -> &Value {
    let joined = messages.iter().find(|it| it["type"] == "joined");
    &joined.unwrap_or_else(|| panic!("{messages:#?}"))["payload"]
}

/// Somebody leaves, is not answered as the room's home is lost, and comes back on this node.
fn leave_and_come_back(lose_home: fn(&mut Cluster), to: usize) {
    let mut cluster = Cluster::relays(&[1, 2, 1]);
    cluster.member(0, "r");
    let ann = cluster.member(2, "r");
    let (bob, token) = cluster.connect(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    cluster.drop_all();
    cluster.hold(1, 0);
    cluster.say(bob, r#"{"type":"leave_room","room_id":"r"}"#);
    lose_home(&mut cluster);
    cluster.pass(100);
    assert!(!cluster.is_open(bob));
    let bob = cluster.come_back(to, &token, "r");
    cluster.say(bob, r#"{"type":"leave_room","room_id":"r"}"#);
    cluster.pass(2_000);
    let got = cluster.messages(bob);
    assert!(got.iter().all(|it| it["type"] != "joined"), "{got:#?}");
    let seen = cluster.types(ann);
    let left = seen.iter().filter(|it| *it == "player_left");
    assert_eq!(left.count(), 1, "{seen:?}");
    assert_eq!(cluster.total(ann, "r"), 2);
    cluster.drop_all();
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    joined(&cluster.messages(bob));
    assert_eq!(cluster.types(ann), ["player_joined"]);
    assert_eq!(cluster.total(ann, "r"), 3);
}

#[test]
fn who_leaves_while_the_home_dies_is_out_once_it_comes_back() {
    for to in [1, 2] {
        leave_and_come_back(|cluster| cluster.kill(0), to);
        // Behind the home's back another one has taken the room: what is done there is not written.
        let stolen = |cluster: &mut Cluster| {
            cluster.steal("r", 0, 2);
            cluster.let_go(1, 0);
        };
        leave_and_come_back(stolen, to);
    }
}

#[test]
fn who_leaves_and_has_lost_its_connection_leaves_once_and_hears_nothing_of_it() {
    for (to, joins) in [(1, false), (2, false), (1, true), (2, true)] {
        let mut cluster = Cluster::relays(&[1, 2, 1]);
        let ann = cluster.member(0, "r");
        let (bob, token) = cluster.connect(1);
        cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
        cluster.drop_all();
        cluster.hold(0, 1);
        cluster.say(bob, r#"{"type":"leave_room","room_id":"r"}"#);
        cluster.node(1).cut(bob.1);
        cluster.let_go(0, 1);
        let bob = cluster.come_back(to, &token, "other");
        if joins {
            cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
        }
        cluster.pass(100);
        let mut seen = cluster.types(ann);
        seen.retain(|it| it != "presence");
        let (told, others) = match joins {
            true => (
                vec!["welcome", "joined"],
                vec!["player_left", "player_joined"],
            ),
            false => (vec!["welcome"], vec!["player_left"]),
        };
        let mut got = cluster.types(bob);
        got.retain(|it| it != "player_joined");
        assert_eq!((got, seen), (owned(&told), owned(&others)));
        cluster.pass(40_000);
        assert_eq!(cluster.total(ann, "r"), 1 + u64::from(joins));
    }
}

fn owned(types: &[&str]) -> Vec<String> {
    types.iter().map(|it| (*it).to_owned()).collect()
}

/// A node that is cut off is asked to join a room whose home is where `home` says. Its client takes part elsewhere
/// meanwhile, and is gone again.
fn join_where_the_node_is_cut_off(home: usize, is_heard_of: bool) {
    let mut cluster = Cluster::relays(&[1, 1]);
    let others = if is_heard_of { "r" } else { "q" };
    let one = cluster.member(home, "r");
    let other = cluster.member(1 - home, others);
    let ann = if home == 0 { one } else { other };
    assert_eq!(cluster.home_of("r"), Some(home));
    let (bob, token) = cluster.connect(1);
    cluster.cut_off(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    cluster.pass(100);
    let there = cluster.come_back(0, &token, "r");
    cluster.say(there, r#"{"type":"join_room","room_id":"r"}"#);
    joined(&cluster.messages(there));
    cluster.say(there, r#"{"type":"leave_room","room_id":"r"}"#);
    assert_eq!(cluster.types(there).last().unwrap(), "player_left");
    cluster.drop_all();
    let before = cluster.total(ann, "r");
    cluster.come_to_itself(1);
    cluster.pass(2_000);
    assert!(!cluster.is_open(bob));
    let seen = cluster.types(ann);
    assert!(!seen.contains(&"player_joined".into()), "{seen:?}");
    assert_eq!(cluster.total(ann, "r"), before);
}

#[test]
fn what_a_node_was_asked_while_it_was_cut_off_takes_no_seat() {
    join_where_the_node_is_cut_off(1, true);
    join_where_the_node_is_cut_off(0, true);
    join_where_the_node_is_cut_off(0, false);
}

#[test]
fn what_a_node_was_asked_while_it_was_cut_off_takes_no_seat_where_it_stays_the_home() {
    let mut cluster = Cluster::relays(&[1, 1]);
    let dan = cluster.member(1, "r");
    let (bob, token) = cluster.connect(1);
    cluster.cut_off(1);
    cluster.say(bob, r#"{"type":"join_room","room_id":"r"}"#);
    // He does not ask for it again.
    cluster.come_back(0, &token, "r");
    cluster.come_to_itself(1);
    cluster.pass(2_000);
    assert!(!cluster.is_open(bob) && cluster.is_open(dan));
    let seen = cluster.types(dan);
    assert!(!seen.contains(&"player_joined".into()), "{seen:?}");
    assert_eq!(cluster.total(dan, "r"), 1);
    assert_eq!(cluster.home_of("r"), Some(1));
}
