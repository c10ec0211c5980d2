//! Two stores take writes for a while, as in a network that has parted: each side goes on with its own, and members on the
//! side that is given up are told what that has cost.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use cluster::{At, Cluster};
use common::text;
use roomcast_core::store::StoreId;
use serde_json::Value;

/// The store of those who are not alone.
const NEXT: StoreId = StoreId(8);

fn chat(cluster: &mut Cluster, from: At, seq: u64, said: &str) {
    let chat = format!(r#"{{"type":"chat","room_id":"r","seq":{seq},"payload":"{said}"}}"#);
    cluster.say(from, &chat);
    cluster.pass(100);
}

fn said(messages: &[Value]) -> Vec<String> {
    let chats = messages.iter().filter(|it| it["type"] == "chat");
    chats.map(|it| text(&it["payload"])).collect()
}

fn acks(messages: &[Value]) -> usize {
    messages.iter().filter(|it| it["type"] == "ack").count()
}

fn of<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    messages.iter().filter(|it| it["type"] == kind).collect()
}

#[test]
fn who_was_with_the_store_that_is_given_up_is_told_what_is_gone() {
    let mut cluster = Cluster::relays(&[1, 1, 1]);
    let [ann, bob, cas] = [0, 1, 2].map(|node| cluster.member(node, "r"));
    assert_eq!(cluster.home_of("r"), Some(0));
    chat(&mut cluster, bob, 1, "before");
    cluster.drop_all();

    cluster.part(0, NEXT);
    chat(&mut cluster, ann, 1, "alone");
    chat(&mut cluster, bob, 2, "among us");
    // Each side goes on, and hears nothing of the other.
    let (ann_heard, bob_heard, cas_heard) = (
        cluster.messages(ann),
        cluster.messages(bob),
        cluster.messages(cas),
    );
    assert_eq!(
        (said(&ann_heard), acks(&ann_heard)),
        (vec!["alone".to_owned()], 1)
    );
    assert_eq!(
        (said(&bob_heard), acks(&bob_heard)),
        (vec!["among us".to_owned()], 1)
    );
    assert_eq!(said(&cas_heard), ["among us"]);
    assert_ne!(cluster.home_of("r"), Some(0));

    cluster.join_again();
    chat(&mut cluster, bob, 3, "together");
    let heard = cluster.messages(ann);
    let joined = of(&heard, "joined");
    assert_eq!(joined.len(), 1, "{heard:#?}");
    assert_eq!(joined[0]["payload"]["recovered"], false, "{heard:#?}");
    assert_eq!(said(&heard), ["together"]);
    // What was acked there is gone, and the room says which message that is.
    chat(&mut cluster, ann, 2, "too soon");
    let heard = cluster.messages(ann);
    let errors = of(&heard, "error");
    assert_eq!(errors[0]["payload"]["code"], "seq_gap", "{heard:#?}");
    assert_eq!(errors[0]["payload"]["seq"], 1, "{heard:#?}");
    chat(&mut cluster, ann, 1, "again");
    assert_eq!(said(&cluster.messages(ann)), ["again"]);
    for other in [bob, cas] {
        let heard = cluster.messages(other);
        assert_eq!(said(&heard), ["together", "again"]);
        // Within the grace she was never gone.
        assert!(of(&heard, "player_left").is_empty(), "{heard:#?}");
        assert!(of(&heard, "player_joined").is_empty(), "{heard:#?}");
    }
    for member in [ann, bob, cas] {
        assert_eq!(cluster.total(member, "r"), 3);
    }
}

#[test]
fn who_has_heard_nothing_on_the_side_that_is_given_up_has_lost_nothing() {
    let mut cluster = Cluster::relays(&[1, 1, 1]);
    let [ann, bob] = [0, 1].map(|node| cluster.member(node, "r"));
    chat(&mut cluster, bob, 1, "before");
    cluster.drop_all();
    cluster.part(0, NEXT);
    chat(&mut cluster, bob, 2, "among us");
    cluster.join_again();
    let heard = cluster.messages(ann);
    assert_eq!(said(&heard), ["among us"]);
    for joined in of(&heard, "joined") {
        assert_eq!(joined["payload"]["recovered"], true, "{heard:#?}");
    }
}

#[test]
fn a_session_that_both_sides_have_is_the_one_of_the_side_that_stays() {
    let mut cluster = Cluster::relays(&[1, 1, 1]);
    let (ann, token) = cluster.connect(0);
    cluster.say(ann, r#"{"type":"join_room","room_id":"r"}"#);
    cluster.pass(100);
    cluster.part(0, NEXT);
    // She reaches the other side, and the connection here is not lost.
    let back = cluster.come_back(1, &token, "r");
    cluster.pass(500);
    let heard = cluster.messages(back);
    assert_eq!(heard[0]["payload"]["resumed"], true, "{heard:#?}");
    assert!(cluster.is_open(ann), "nobody can tell it");
    cluster.join_again();
    cluster.pass(3_000);
    assert!(!cluster.is_open(ann), "it is told");
    assert!(cluster.is_open(back));
    assert_eq!(cluster.total(back, "r"), 1);
}
