//! Once warm, the server allocates nothing for a message that it handles, nor for an event that it delivers.
//!
//! A test binary of its own: its allocator counts what every thread of the process asks for, and the clients here,
//! in one thread, ask for nothing while it counts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Client, action, address, chat, framed, moves, start, text_frame};
use roomcast_protocol::{Format, Incoming, IncomingPayload, MessageType, Request};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads unfragmented frames until so many data frames have come. Allocates nothing.
fn read_frames(
    client: &mut Client,
    mut count: usize,
    buffer: &mut [u8; 1 << 16],
    held: &mut usize,
) {
    while count > 0 {
        let mut at = 0;
        while let Some(frame) = frame_length(&buffer[at..*held]) {
            let data = buffer[at] & 0x0f <= 2;
            at += frame;
            count -= usize::from(data);
        }
        buffer.copy_within(at..*held, 0);
        *held -= at;
        if count > 0 {
            *held += client.stream.read(&mut buffer[*held..]).unwrap();
        }
    }
}

/// Length of the whole frame at the beginning, if it is there.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = match *bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        short => 2 + usize::from(short),
    };
    (bytes.len() >= length).then_some(length)
}

/// Rounds of one message from each client in turn; each is awaited by all before the next.
fn rounds(
    clients: &mut [Client],
    messages: &[Vec<u8>],
    buffers: &mut [(Box<[u8; 1 << 16]>, usize)],
    rounds: usize,
) {
    for round in 0..rounds {
        let sender = round % clients.len();
        clients[sender].stream.write_all(&messages[sender]).unwrap();
        for (client, (buffer, held)) in clients.iter_mut().zip(buffers.iter_mut()) {
            read_frames(client, 1, buffer, held);
        }
    }
}

type Make = fn(Format) -> Vec<u8>;

const KINDS: [(&str, Make); 3] = [
    ("chat", |format| {
        let text = "a message of an ordinary length, as people write them";
        framed(format, &chat(text).in_room("relay:1"))
    }),
    ("ephemeral event", |format| {
        let (name, payload) = ("cursor".into(), IncomingPayload::NONE);
        let event = Incoming::new(Request::Event { name, payload });
        framed(
            format,
            &Incoming {
                ephemeral: true,
                ..event
            }
            .in_room("relay:1"),
        )
    }),
    ("action", |format| match format {
        Format::Json => text_frame(&moves(1.5)),
        Format::Protobuf => {
            let action = action(r#"{"action":"move","position":{"x":1,"y":2,"z":3}}"#);
            framed(
                format,
                &Incoming::new(Request::GameAction(action)).in_room("relay:1"),
            )
        }
    }),
];

#[test]
fn none_per_message_and_none_per_delivery() {
    for shards in [1, 2] {
        let server = start(|config| {
            config.server.shards = Some(shards);
            config.core.ping_interval = 0;
            // The log's ring has its size when the counting begins.
            for kind in &mut config.kinds {
                kind.retention.bytes = 16 * 1024;
            }
        });
        let formats = [
            Format::Json,
            Format::Json,
            Format::Protobuf,
            Format::Protobuf,
        ];
        let mut clients: Vec<Client> = (0..8)
            .map(|i| Client::open(address(&server), formats[i % 4], i % 3 == 0, &[]))
            .collect();
        for client in &mut clients {
            client.join("relay:1");
        }
        // Everybody has seen the last one join.
        for (i, client) in clients.iter_mut().enumerate() {
            for _ in i..8 {
                client.expect(MessageType::PlayerJoined);
            }
        }
        let mut buffers: Vec<_> = (0..8).map(|_| (Box::new([0; 1 << 16]), 0)).collect();
        for (what, make) in KINDS {
            let messages: Vec<Vec<u8>> = clients.iter().map(|client| make(client.format)).collect();
            rounds(&mut clients, &messages, &mut buffers, 2_000);
            // On a busy machine more may be under way at once than in all rounds before: the pools grow to that, once.
            // What each message costs would be there in every try.
            let mut tries = (0..5).map(|_| {
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                rounds(&mut clients, &messages, &mut buffers, 1_000);
                ALLOCATIONS.load(Ordering::Relaxed) - before
            });
            assert!(
                tries.any(|allocations| allocations == 0),
                "{what}: for 1,000 messages and 8,000 deliveries, {shards} shards"
            );
        }
    }
}
