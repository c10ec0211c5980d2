//! A session goes from one node to another. The one that had it hears of it, though its letter be lost.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::Got;
use serde_json::json;

/// Two nodes, a client of the second, and its token.
fn begun() -> (Cluster, At, String) {
    let mut cluster = Cluster::relays(&[1, 1]);
    let (ann, token) = cluster.connect(1);
    (cluster, ann, token)
}

/// It comes back at the first.
fn taken(cluster: &mut Cluster, token: &str) {
    let at = (0, cluster.node(0).connect());
    let hello = json!({"type": "hello", "payload": {"resume_token": token}});
    cluster.say(at, &hello.to_string());
    assert_eq!(cluster.messages(at)[0]["payload"]["resumed"], true);
}

/// The connection at the node that had it is closed, as one whose session was taken over.
fn is_closed(cluster: &mut Cluster, (node, client): At) {
    cluster.pass(200);
    let got = cluster.node(node).drain(client);
    assert!(matches!(got[..], [Got::Close(4501, _)]), "{got:?}");
}

#[test]
fn a_node_hears_that_its_session_was_taken_by_one_that_did_not_know_it() {
    let (mut cluster, ann, token) = begun();
    cluster.tell_without(0, 1);
    taken(&mut cluster, &token);
    assert!(cluster.is_open(ann), "nobody can have told it yet");
    cluster.tell_all();
    is_closed(&mut cluster, ann);
}

#[test]
fn a_node_hears_that_its_session_was_taken_though_the_link_was_lost() {
    let (mut cluster, ann, token) = begun();
    cluster.hold(0, 1);
    taken(&mut cluster, &token);
    cluster.lose_link(0, 1);
    cluster.let_go(0, 1);
    is_closed(&mut cluster, ann);
}
