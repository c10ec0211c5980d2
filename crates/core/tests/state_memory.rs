//! Who joins a large room costs little, at no moment more: what waits for all of them is shared.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "common/allocator.rs"]
mod allocator;
mod common;

use common::node;
use roomcast_core::settings::{Kind, PresenceMode, Settings};

#[test]
fn newcomers_of_a_large_room_share_what_waits_for_them() {
    const PLAYERS: usize = 1_500;
    let kind = Kind {
        presence: PresenceMode::None,
        ..Kind::default()
    };
    let mut node = node(2, Settings::default(), vec![kind]);
    let clients: Vec<_> = (0..PLAYERS).map(|_| node.connect()).collect();
    for client in &clients {
        // Nobody reads.
        node.sockets[*client].window = 0;
        let join = r#"{"type":"join_room","payload":{"room_id":"arena"}}"#;
        node.send(*client, join);
    }
    let ((), most) = allocator::most_held(|| {
        node.settle();
        for _ in 0..10 {
            node.pass(100);
        }
    });
    let each = most / PLAYERS;
    assert!(each < 4_000, "{each} bytes for each");
    // All of it is there for who reads.
    let last = clients[PLAYERS - 1];
    node.sockets[last].window = usize::MAX;
    node.read(last);
    let syncs = node.messages(last);
    let told = syncs.iter().filter(|it| it["type"] == "sync");
    let players = told.map(|it| it["payload"]["players"].as_array().unwrap().len());
    assert_eq!(players.sum::<usize>(), PLAYERS);
}
