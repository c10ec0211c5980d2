//! Much waits in a room for a backend to decide: it holds up nobody else, and each step costs the same.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/allocator.rs"]
mod allocator;
mod common;

use common::{Client, Node, node_with, relay};
use roomcast_core::authorize::{Asks, Decision, Inquiry};
use roomcast_core::backend::{Ask, Asker, Publication, Question, Reply};
use roomcast_core::settings::{Kind, PresenceMode, Settings};
use roomcast_protocol::{MessageType, PayloadKind};

/// A room that has so many members, each with so many chats that wait: for the first one the backend is asked.
fn waiting(members: usize, chats: u64) -> (Node, Vec<Client>, Vec<Inquiry>) {
    let kind = Kind {
        asks: Asks {
            chats: true,
            timeout: 60_000,
            ..Asks::default()
        },
        presence: PresenceMode::None,
        ..relay("chat")
    };
    let settings = Settings {
        messages_per_second: 0,
        ping_interval: 0,
        pong_timeout: 0,
        ..Settings::default()
    };
    let mut node = node_with(1, 1, settings, vec![(kind, None)]);
    let clients: Vec<_> = (0..members).map(|_| node.member("chat:1")).collect();
    for client in &clients {
        for _ in 0..chats {
            node.send(
                *client,
                r#"{"type":"chat","room_id":"chat:1","payload":"x"}"#,
            );
        }
    }
    node.settle();
    let asked = std::mem::take(&mut node.shards[0].host().inquiries);
    assert_eq!(asked.len(), members);
    (node, clients, asked)
}

#[test]
fn a_backend_is_answered_in_a_room_where_many_wait_for_its_verdicts() {
    let (mut node, clients, asked) = waiting(300, 4);
    let publication = Publication {
        message_type: MessageType::Chat,
        payload_kind: PayloadKind::Json,
        name: "".into(),
        payload: b"1".as_slice().into(),
        ephemeral: false,
        once: None,
        service: "shop".into(),
        trace: None,
    };
    let question = Question::Room("chat:1".into(), Ask::Publish(publication));
    let now = node.now;
    let shard = node.shards.iter_mut().next().unwrap();
    shard.ask(now, Asker::default(), question).unwrap();
    node.settle();
    let reply = node.replies.pop().unwrap().2;
    assert!(matches!(reply, Reply::Published(_)), "{reply:?}");
    assert_eq!(node.types(clients[0]), ["chat"]);
    drop(asked);
}

#[test]
fn a_verdict_costs_no_more_where_more_waits() {
    // The backend refuses: nothing is sent to all, so what is counted is the step itself.
    let cost = |members: usize| {
        let (mut node, _clients, asked) = waiting(members, 1);
        let now = node.now;
        let verdicts = asked.iter().rev().take(30);
        let ((), bytes) = allocator::asked_for(|| {
            for inquiry in verdicts {
                let refusal = Decision::Refuse {
                    reason: "no".into(),
                    cache: 0,
                };
                node.shards[0].decide(now, inquiry.number, refusal);
                node.settle();
            }
        });
        bytes
    };
    let (few, many) = (cost(40), cost(400));
    assert!(many < 2 * few, "{many} bytes, and {few} where less waits");
}
