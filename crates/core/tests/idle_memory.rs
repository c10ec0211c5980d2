//! What an idle connection takes of a shard: its rows, and its part of its room. A bound, so that it can't grow unseen.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use common::{node, relay};
use roomcast_core::settings::{Kind, Settings};

/// The system's allocator, counting what is held of it.
struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

// SAFETY: all calls go to the system's allocator as they are; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Connections come in batches, so that what a shard keeps for the next turn is the same for few and many.
const BATCH: usize = 32;
/// Powers of two, so that no table has just grown.
const FEW: usize = 64;
const MANY: usize = 512;

/// Bytes that a shard holds with so many connections that have a session.
fn held(connections: usize, members: usize, kind: Kind) -> usize {
    let mut node = node(1, Settings::default(), vec![kind]);
    for client in 0..connections {
        assert_eq!(node.connect(), client);
        node.send(client, r#"{"type":"hello","payload":{"version":1}}"#);
        if let Some(room) = client.checked_div(members) {
            let join = format!(
                r#"{{"type":"join_room","payload":{{"room_id":"{room}","player_name":"a"}}}}"#
            );
            node.send(client, &join);
        }
        if (client + 1).is_multiple_of(BATCH) {
            node.pass(100);
        }
    }
    node.pass(1_000);
    assert_eq!(node.shards[0].connections(), connections);
    let rooms = connections.checked_div(members).unwrap_or(0);
    assert_eq!(node.shards[0].rooms(), (rooms, rooms));
    let before = HELD.load(Ordering::Relaxed);
    drop(std::mem::take(&mut node.shards.0));
    (before - HELD.load(Ordering::Relaxed)) as usize
}

fn a_connection(members: usize, kind: Kind) -> usize {
    (held(MANY, members, kind.clone()) - held(FEW, members, kind)) / (MANY - FEW)
}

#[test]
fn an_idle_connection_takes_little() {
    // One test, as the allocator counts for all that run at once.
    let state = Kind::default;
    let cases = [
        ("in no room", a_connection(0, relay("default")), 375),
        (
            "in a relay room of 8",
            a_connection(8, relay("default")),
            800,
        ),
        ("in a state room of 8", a_connection(8, state()), 855),
        ("in a state room of 64", a_connection(64, state()), 765),
        ("alone in a state room", a_connection(1, state()), 2_440),
    ];
    for (what, held, most) in cases {
        println!("{what}: {held} bytes, at most {most}");
    }
    for (what, held, most) in cases {
        assert!(held <= most, "{what}: {held} bytes, at most {most}");
    }
}
