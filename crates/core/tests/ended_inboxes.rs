//! A session ends while a message to it is on its way: its sender is told what is certain, and the next session of its name nothing.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::text;
use serde_json::{Value, json};

/// Ann at the first of two nodes and Bob at the second, with his name and his token.
fn begun() -> (Cluster, At, At, [String; 2]) {
    let mut cluster = Cluster::relays(&[1, 1]);
    let (ann, _) = cluster.connect(0);
    let bob = (1, cluster.node(1).connect());
    let welcome = hello(&mut cluster, bob, "");
    let of_bob = ["client_id", "resume_token"].map(|it| text(&welcome[it]));
    (cluster, ann, bob, of_bob)
}

fn hello(cluster: &mut Cluster, at: At, token: &str) -> Value {
    let hello = json!({"type": "hello", "payload": {"resume_token": token}});
    cluster.say(at, &hello.to_string());
    cluster.messages(at).remove(0)["payload"].clone()
}

fn send(cluster: &mut Cluster, ann: At, to: &str) {
    let chat = json!({"type": "chat", "to_client_id": to, "seq": 1, "payload": "x"});
    cluster.say(ann, &chat.to_string());
}

/// Says goodbye: its session ends.
fn leave(cluster: &mut Cluster, (node, client): At) {
    let node = cluster.node(node);
    let (shard, conn) = (node.sockets[client].shard, node.sockets[client].conn);
    let now = node.now;
    node.shards[shard].closed_by_peer(now, conn, 1000);
    cluster.settle();
    assert_eq!(cluster.model.borrow().sessions(0).count(), 1);
}

/// The store does not say whether it has the message. When it is asked again, the inbox is gone.
#[test]
fn a_message_that_may_have_been_in_an_inbox_that_is_gone_is_acked() {
    let (mut cluster, ann, bob, [name, _]) = begun();
    cluster.unanswered.set(1);
    send(&mut cluster, ann, &name);
    assert_eq!(cluster.types(ann), [""; 0]);
    leave(&mut cluster, bob);
    cluster.pass(1_000);
    assert_eq!(cluster.types(ann), ["ack"]);
}

#[test]
fn late_news_of_an_inbox_is_not_given_to_the_next_session_of_its_name() {
    let (mut cluster, ann, bob, [name, token]) = begun();
    cluster.hold(0, 1);
    send(&mut cluster, ann, &name);
    assert_eq!(cluster.types(ann), ["ack"]);
    leave(&mut cluster, bob);
    let next = (1, cluster.node(1).connect());
    let welcome = hello(&mut cluster, next, &token);
    assert_eq!(welcome["resumed"], false);
    assert_eq!(welcome["client_id"], name.as_str());
    cluster.let_go(0, 1);
    assert_eq!(cluster.types(next), [""; 0]);
}
