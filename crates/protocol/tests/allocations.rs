//! Nothing is allocated on the path of the messages that a server handles most.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use roomcast_protocol::{
    Body, ErrorBody, ErrorCode, Format, GameAction, History, Limits, Member, MessageType, Outgoing,
    Payload, PlayerState, Position, Request, Sender, StateSync, decode, encode,
};

/// The system's allocator, counting what the thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all calls go to the system's allocator as they are; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8]))), 1);
}

#[test]
fn decoding_allocates_nothing() {
    let json: [&[u8]; 6] = [
        r#"{"type":"chat","room_id":"room-123","payload":"hello 🎮","seq":1}"#.as_bytes(),
        br#"{"type":"chat","payload":"text","payload_kind":"text","timestamp":1763856000000}"#,
        br#"{"type":"event","room_id":"r","name":"cursor","payload":{"a":[1,{"b":[2]}]},"no_echo":true}"#,
        br#"{"type":"game_action","payload":{"action":"move","position":{"x":1.5,"y":-2,"z":1e3}}}"#,
        br#"{"type":"game_action","payload":{"action":"cast","target_id":2,"spell":"frost","params":{"a":{"b":1}}}}"#,
        br#"{"type":"ping","payload":17}"#,
    ];
    let limits = Limits::default();
    for message in json {
        let name = String::from_utf8_lossy(message);
        assert_eq!(
            allocations(|| drop(decode(Format::Json, message, &limits).unwrap())),
            0,
            "{name}"
        );
        let request = decode(Format::Json, message, &limits).unwrap();
        let mut protobuf = Vec::new();
        roomcast_protocol::client::encode_request(Format::Protobuf, &request, &mut protobuf);
        let decoded = allocations(|| drop(decode(Format::Protobuf, &protobuf, &limits).unwrap()));
        assert_eq!(decoded, 0, "{name} in Protobuf");
        if let Request::GameAction(action) = &request.request {
            assert_eq!(
                allocations(|| drop(action.param("spell"))),
                0,
                "{name}: param"
            );
        }
    }
}

#[test]
fn encoding_allocates_nothing() {
    let json = br#"{"action":"cast","position":{"x":1},"spell":"frost","note":"x","a":1}"#;
    let limits = Limits::default();
    let from_json = GameAction::parse(Format::Json, json, &limits).unwrap();
    let protobuf = [
        b"\x0a\x04cast\x12\x09\x09\0\0\0\0\0\0\xf0\x3f\x18\x02".as_slice(),
        b"\x22\x0e\x0a\x05spell\x12\x05frost\x22\x06\x0a\x01a\x12\x011",
    ]
    .concat();
    let from_protobuf = GameAction::parse(Format::Protobuf, &protobuf, &limits).unwrap();
    let players: Vec<_> = (1..200)
        .map(|player_num| PlayerState {
            player_id: "c0123456789",
            position: Position {
                x: f64::from(player_num) / 3.0,
                y: -1e-9,
                z: 1e21,
            },
            player_num,
            ..PlayerState::default()
        })
        .collect();
    let member = Member {
        player_id: "c1",
        player_num: 1,
        nickname: "Ada",
        presence: r#"{"a":[1,{"b":[2]}],"status":"away"}"#,
        connected: true,
    };
    let page = [
        Body::Chat(Payload::text("hello")),
        Body::GameAction(&from_json),
        Body::PlayerJoined(member),
    ]
    .map(|body| Outgoing {
        room_id: "room-123",
        offset: 1,
        body,
        ..Outgoing::default()
    });
    let bodies = [
        Body::Chat(Payload::text("hello \"you\"\n🎮")),
        Body::Chat(Payload::json(r#"{"a":1}"#)),
        Body::Event {
            name: "stroke",
            payload: Payload::bytes(&[0, 1, 2, 255]),
        },
        Body::Event {
            name: "typing",
            payload: Payload::NONE,
        },
        Body::GameAction(&from_json),
        Body::GameAction(&from_protobuf),
        Body::Sync(StateSync {
            players: &players,
            left: &["c2"],
            full: true,
            ..StateSync::default()
        }),
        Body::PlayerJoined(member),
        Body::PlayerLeft {
            player_id: "c1",
            player_num: 1,
        },
        Body::Presence(member),
        Body::PresenceCount { total: 300 },
        Body::Ack(&[(1, 2), (3, 4)]),
        Body::Error(ErrorBody {
            code: ErrorCode::RateLimited,
            message: "too many messages",
            seq: 3,
            retry_after_ms: 250,
            request: Some(MessageType::Chat),
        }),
        Body::History(History {
            events: &page,
            next: 7,
            epoch: "k3x9",
        }),
        Body::Pong {
            payload: Payload::json("17"),
            server_time: 1_763_856_000_000,
        },
    ];
    let mut out = Vec::with_capacity(1 << 20);
    for body in bodies {
        for format in Format::ALL {
            let message = Outgoing {
                room_id: "room-123",
                from: Sender {
                    client_id: "c1",
                    user_id: "ann",
                    player_num: 7,
                    ..Sender::NOBODY
                },
                timestamp: 1_763_856_000_000,
                offset: 1,
                body,
                ..Outgoing::default()
            };
            out.clear();
            let count = allocations(|| encode(format, &message, &mut out));
            assert_eq!(count, 0, "{:?} in {format:?}", body.message_type());
            assert!(!out.is_empty());
        }
    }
}
