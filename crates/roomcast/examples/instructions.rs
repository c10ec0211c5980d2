//! Fixed work of the data path, for counting instructions: `instructions CASE N` does CASE N times.
//!
//! `benches/instructions/run` runs each case twice, with N and 2 N, under valgrind: the difference over N is what one
//! costs, whatever the start costs.

use std::hint::black_box;
use std::io::IoSlice;
use std::process::ExitCode;
use std::sync::Arc;

use roomcast_core::driver::{Driver, Frame, Mail, Moved, Newcomer, Outside, Pace, Read};
use roomcast_core::settings::{Compression, Kind, Mode, Settings};
use roomcast_core::store::NoStore;
use roomcast_core::{
    Access, BatcherLimits, ConnId, Control, Encoding, Host, Kinds, Notice, Now, Shard, ShardConfig,
    ShardMessage,
};
use roomcast_protocol::{
    Body, Format, Limits, Outgoing, Payload, PlayerState, Position, Sender, StateSync, Velocity,
    decode, encode,
};
use roomcast_websocket::frame::write_frame;
use roomcast_websocket::{Event, Opcode, Receiver, ReceiverConfig, Role, Scratch};

type Case = fn(u32);

const CASES: [(&str, Case); 9] = [
    ("receive_frame", receive_frame),
    ("decode_json_action", decode_json_action),
    ("decode_json_event", decode_json_event),
    ("decode_protobuf_event", decode_protobuf_event),
    ("encode_json_event", encode_json_event),
    ("encode_protobuf_event", encode_protobuf_event),
    ("encode_json_sync_of_8", encode_json_sync),
    ("event_in_room_of_1000", event_in_large_room),
    ("event_in_one_of_100_rooms_of_8", event_in_small_rooms),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, times] = &arguments[..]
        && let Some((_, case)) = CASES.iter().find(|(case, _)| case == name)
        && let Ok(times) = times.parse()
    {
        case(times);
        return ExitCode::SUCCESS;
    }
    println!("usage: instructions CASE N, where CASE is one of:");
    CASES.iter().for_each(|(name, _)| println!("{name}"));
    ExitCode::from(64)
}

const TEXT: &str = "~RC:000000000000000000000000 the quick brown fox at 12.75,-3.50 jumps over 7 lazy dogs; health 100, score 4213; the quick brown fox";
const JSON_ACTION: &str = r#"{"type":"game_action","room_id":"arena:42","payload":{"action":"move","position":{"x":12.75,"y":-3.5,"z":0},"stance":"crouched"},"timestamp":1700000000000}"#;
const JSON_EVENT: &str = r#"{"type":"event","room_id":"arena:42","name":"bench","payload_kind":"text","payload":"~RC:000000000000000000000000 the quick brown fox at 12.75,-3.50 jumps over 7 lazy dogs; health 100, score 4213; the quick brown fox"}"#;

/// A copy that begins at a multiple of 16 bytes. A constant begins anywhere, and moves with code that has nothing to do
/// with it: the standard library's check of UTF-8 then takes up to 115 instructions more for [`TEXT`].
fn aligned(text: &str) -> Box<str> {
    let copy = Box::<str>::from(text);
    assert!(copy.as_ptr().addr().is_multiple_of(16), "not aligned");
    copy
}

fn receive_frame(times: u32) {
    let mut receiver = Receiver::new(Role::Server, &ReceiverConfig::default());
    let mut scratch = Scratch::new();
    let mut frame = Vec::new();
    let mask = Some([0x5a, 0xc3, 0x96, 0x3c]);
    write_frame(
        &mut frame,
        Opcode::Text,
        true,
        false,
        JSON_EVENT.as_bytes(),
        mask,
    );
    let mut input = frame.clone();
    for _ in 0..times {
        // Receiving unmasks in place.
        input.copy_from_slice(&frame);
        let mut rest = &mut input[..];
        match receiver.receive(&mut rest, &mut scratch) {
            Ok(Some(Event::Text(text))) => black_box(text.len()),
            _ => return,
        };
    }
}

fn decode_json_action(times: u32) {
    decode_many(Format::Json, aligned(JSON_ACTION).as_bytes(), times);
}

fn decode_json_event(times: u32) {
    decode_many(Format::Json, aligned(JSON_EVENT).as_bytes(), times);
}

fn decode_protobuf_event(times: u32) {
    // type 12, room_id, payload, payload_kind 2, name
    let mut message = vec![1 << 3, 12, 4 << 3 | 2, 8];
    message.extend_from_slice(b"arena:42");
    message.extend_from_slice(&[
        5 << 3 | 2,
        (TEXT.len() & 127) as u8 | 128,
        (TEXT.len() >> 7) as u8,
    ]);
    message.extend_from_slice(TEXT.as_bytes());
    message.extend_from_slice(&[10 << 3, 2, 11 << 3 | 2, 5]);
    message.extend_from_slice(b"bench");
    decode_many(Format::Protobuf, &message, times);
}

fn decode_many(format: Format, message: &[u8], times: u32) {
    let limits = Limits::default();
    for _ in 0..times {
        if let Err(bad) = black_box(decode(format, black_box(message), &limits)) {
            panic!("{bad:?}");
        }
    }
}

fn encode_json_event(times: u32) {
    encode_many(Format::Json, event(&aligned(TEXT)), times);
}

fn encode_protobuf_event(times: u32) {
    encode_many(Format::Protobuf, event(&aligned(TEXT)), times);
}

fn encode_json_sync(times: u32) {
    let ids = ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"];
    let players: Vec<PlayerState<'_>> = ids
        .iter()
        .zip(1..)
        .map(|(id, num)| PlayerState {
            player_id: id,
            position: Position {
                x: 12.75 * f64::from(num),
                y: -3.5,
                z: 0.0,
            },
            velocity: Velocity {
                x: 0.25,
                y: 0.0,
                z: 0.0,
            },
            health: 100,
            score: 4213,
            player_num: num,
        })
        .collect();
    let body = Body::Sync(StateSync {
        players: &players,
        frame_num: 7,
        ..StateSync::default()
    });
    encode_many(Format::Json, body, times);
}

fn event(text: &str) -> Body<'_> {
    Body::Event {
        name: "bench",
        payload: Payload::text(text),
    }
}

fn encode_many(format: Format, body: Body<'_>, times: u32) {
    let message = Outgoing {
        from: Sender {
            player_num: 7,
            ..Sender::client("c4711")
        },
        room_id: "arena:42",
        timestamp: 1_700_000_000_000,
        offset: 4_711,
        epoch: "3f9a27c1",
        body,
        ..Outgoing::default()
    };
    let mut out = Vec::with_capacity(4096);
    for _ in 0..times {
        out.clear();
        encode(format, black_box(&message), &mut out);
        black_box(&out);
    }
    assert!(!out.is_empty(), "nothing was encoded");
}

fn event_in_large_room(times: u32) {
    rooms(1, 1_000, times);
}

fn event_in_small_rooms(times: u32) {
    rooms(100, 8, times);
}

/// Rooms full of members, on the shard's driver as it ships. Each of `times` turns reads an event of one of them and
/// writes it to all of that room.
fn rooms(rooms: usize, members: usize, times: u32) {
    let mut kinds = Kinds::new(false);
    kinds.insert(
        Kind {
            name: "arena".to_owned(),
            mode: Mode::Relay,
            ..Kind::default()
        },
        None,
    );
    let settings = Settings {
        messages_per_second: 0,
        ..Settings::default()
    };
    let config = ShardConfig {
        index: 0,
        count: 1,
        settings: Arc::new(settings),
        kinds: Arc::new(kinds),
        batcher: BatcherLimits::default(),
        hash_key: [1, 2],
    };
    let mut driver = Driver::new(config, Pace::default(), Frames(0), NoStore);
    let mut clients = Clients {
        now: Now {
            micros: 1,
            unix_ms: 1_700_000_000_000,
        },
        ..Clients::default()
    };
    for member in 0..rooms * members {
        clients.newcomer = Some(member);
        turn(&mut driver, &mut clients);
        let room = member / members;
        let join = format!(r#"{{"type":"join_room","room_id":"arena:{room}"}}"#);
        clients.say(&mut driver, member, &join);
    }
    let events: Vec<String> = (0..rooms)
        .map(|room| JSON_EVENT.replace("arena:42", &format!("arena:{room}")))
        .collect();
    clients.writes = 0;
    for time in 0..times as usize {
        clients.now.micros += 1_000;
        clients.now.unix_ms += 1;
        let room = time % rooms;
        let member = room * members + time / rooms % members;
        clients.say(&mut driver, member, &events[room]);
    }
    assert_eq!(
        clients.writes,
        times as usize * members,
        "not every member got every event"
    );
}

type Machine = Driver<Frames, NoStore, usize>;

fn turn(driver: &mut Machine, clients: &mut Clients) {
    while driver.turn(clients.now, clients) {}
}

/// Sockets that take everything. A socket is the number of its client.
#[derive(Default)]
struct Clients {
    now: Now,
    /// Who connects in the next turn.
    newcomer: Option<usize>,
    conns: Vec<ConnId>,
    /// What a client has said that was not read.
    said: Vec<u8>,
    /// How often something was written to a socket.
    writes: usize,
}

impl Clients {
    /// A client's message, and the turn in which it is read.
    fn say(&mut self, driver: &mut Machine, client: usize, message: &str) {
        self.said.extend_from_slice(message.as_bytes());
        driver.readable(self.conns[client], false);
        turn(driver, self);
    }
}

impl Outside<Frames, NoStore> for Clients {
    type Socket = usize;

    fn now(&mut self) -> Now {
        self.now
    }

    fn take_mail(&mut self, _: Now, _: &mut Shard<Frames, NoStore>, mail: &mut Mail<Self::Socket>) {
        mail.newcomers
            .extend(self.newcomer.take().map(|socket| Newcomer {
                socket,
                encoding: Encoding {
                    format: Format::Json,
                    deflate: false,
                },
                access: Access::ANONYMOUS,
                leftover: Vec::new(),
            }));
    }

    fn send_letters(&mut self, _: u16, _: &mut Vec<ShardMessage>) {}

    fn send_connection(&mut self, _: u16, _: Moved<Self::Socket>) {}

    fn attach(&mut self, conn: ConnId, _: &mut usize) -> bool {
        self.conns.push(conn);
        true
    }

    fn read(&mut self, _: &mut usize, input: &mut [u8]) -> Read {
        let count = self.said.len();
        input[..count].copy_from_slice(&self.said);
        self.said.clear();
        Read::Bytes(count)
    }

    /// What is read at once is one message.
    fn next_frame<'e, 'i: 'e>(
        &'e mut self,
        _: &'e mut usize,
        input: &mut &'i mut [u8],
    ) -> Option<Frame<'e>> {
        let message = std::mem::take(input);
        (!message.is_empty()).then_some(Frame::Message(Format::Json, message))
    }

    fn incomplete_since(&mut self, _: &mut usize, _: u64) -> Option<u64> {
        None
    }

    fn restart_incomplete(&mut self, _: &mut usize, _: u64) {}

    fn write(&mut self, _: &mut usize, slices: &[IoSlice<'_>]) -> Option<usize> {
        self.writes += 1;
        Some(slices.iter().map(|slice| black_box(slice).len()).sum())
    }

    fn shut_down(&mut self, _: &mut usize) -> bool {
        true
    }

    fn release(&mut self, _: usize) {}
}

/// A host whose frames are the server's and whose random numbers are always the same.
struct Frames(u64);

impl Host for Frames {
    fn frame(&mut self, encoding: Encoding, _: &Compression, message: &[u8], out: &mut Vec<u8>) {
        let opcode = match encoding.format {
            Format::Json => Opcode::Text,
            Format::Protobuf => Opcode::Binary,
        };
        write_frame(out, opcode, true, false, message, None);
    }

    fn control(&mut self, _: Control<'_>, out: &mut Vec<u8>) {
        write_frame(out, Opcode::Ping, true, false, &[], None);
    }

    fn random(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ self.0 >> 29
    }

    fn stopwatch(&mut self) -> u64 {
        0
    }

    fn notice(&mut self, _: Notice<'_>) {}
}
