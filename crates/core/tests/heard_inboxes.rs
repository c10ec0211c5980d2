//! Messages that come while an inbox is read from the store: its client gets each of them, and once.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::{Got, text};
use roomcast_core::store::Request;
use serde_json::{Value, json};

/// Ann at the first of two nodes.
fn begun() -> (Cluster, At) {
    let mut cluster = Cluster::relays(&[1, 1]);
    let (ann, _) = cluster.connect(0);
    (cluster, ann)
}

/// A connection of the second node shows this token, or none.
fn hello(cluster: &mut Cluster, at: At, token: &str) {
    let hello = json!({"type": "hello", "payload": {"resume_token": token}});
    cluster.say(at, &hello.to_string());
}

fn send(cluster: &mut Cluster, ann: At, to: &Value, seq: u64) {
    let chat = json!({"type": "chat", "to_client_id": to, "seq": seq, "payload": seq.to_string()});
    cluster.say(ann, &chat.to_string());
    let acks = cluster.messages(ann);
    assert_eq!(acks[0]["payload"]["acks"][0]["seq"], seq, "{acks:#?}");
}

fn chats(cluster: &mut Cluster, at: At) -> Vec<String> {
    let messages = cluster.messages(at);
    let chats = messages.iter().filter(|it| it["type"] == "chat");
    chats.map(|it| text(&it["payload"])).collect()
}

fn is_read(request: &Request) -> bool {
    matches!(request, Request::InboxRead(_))
}

/// Two messages, each while the inbox is read that was empty: once for the `welcome`, and once for the first of them.
#[test]
fn what_comes_while_the_first_message_is_read_comes_too() {
    let (mut cluster, ann) = begun();
    let bob = (1, cluster.node(1).connect());
    hello(&mut cluster, bob, "");
    let welcome = cluster.messages(bob).remove(0)["payload"].clone();
    let (name, token) = (&welcome["client_id"], text(&welcome["resume_token"]));
    cluster.node(1).cut(bob.1);
    cluster.late.set(Some((1, is_read)));
    let bob = (1, cluster.node(1).connect());
    hello(&mut cluster, bob, &token);
    send(&mut cluster, ann, name, 1);
    cluster.answer_late();
    assert_eq!(cluster.messages(bob)[0]["payload"]["resumed"], true);
    send(&mut cluster, ann, name, 2);
    cluster.late.set(None);
    assert_eq!(chats(&mut cluster, bob), ["1", "2"]);
}

/// A `hello` of a connection that was given up comes late to the node on which its client is. It is refused there, and
/// its client's connection goes on as it was.
#[test]
fn who_is_here_gets_nothing_twice_because_of_a_late_hello() {
    let (mut cluster, ann) = begun();
    let first = (1, cluster.node(1).connect());
    hello(&mut cluster, first, "");
    let welcome = cluster.messages(first).remove(0)["payload"].clone();
    let (name, token) = (&welcome["client_id"], text(&welcome["resume_token"]));
    cluster.node(1).cut(first.1);
    let given_up = (1, cluster.node(1).connect());
    cluster.pass(10);
    let bob = (1, cluster.node(1).connect());
    hello(&mut cluster, bob, &token);
    send(&mut cluster, ann, name, 1);
    assert_eq!(chats(&mut cluster, bob), ["1"]);
    cluster.late.set(Some((1, is_read)));
    hello(&mut cluster, given_up, &token);
    send(&mut cluster, ann, name, 2);
    cluster.late.set(None);
    assert_eq!(chats(&mut cluster, bob), ["2"]);
    let got = cluster.node(1).drain(given_up.1);
    assert!(matches!(got[..], [Got::Close(4000, _)]), "{got:?}");
    send(&mut cluster, ann, name, 3);
    assert_eq!(chats(&mut cluster, bob), ["3"]);
}
