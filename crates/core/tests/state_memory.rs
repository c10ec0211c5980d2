//! Who joins a large room costs little, at no moment more: what waits for all of them is shared.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use common::node;
use roomcast_core::settings::{Kind, PresenceMode, Settings};

/// The system's allocator, counting what is held of it, and the most that ever was.
struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

fn count(bytes: isize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: all calls go to the system's allocator as they are; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    node.settle();
    for _ in 0..10 {
        node.pass(100);
    }
    let each = (MOST.load(Ordering::Relaxed) - before) as usize / PLAYERS;
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
