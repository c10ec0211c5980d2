//! The messages that the load generator sends, as frames ready for a socket.

use roomcast_websocket::frame::{Opcode, write_frame};

use super::plan::{Plan, Say, Wire};
use super::stamp::{self, Stamp};

/// Added to the counters that `move`s carry as their x, so that all have as many digits.
pub(crate) const FIRST_X: u32 = 100_000;

/// Fills payloads up: text in which compression finds about what it finds in a game's or a chat's.
const FILLER: &[u8] =
    b"the quick brown fox at 12.75,-3.50 jumps over 7 lazy dogs; health 100, score 4213; ";

/// Writes the frames of one run.
pub(crate) struct Writer {
    wire: Wire,
    say: Say,
    payload: usize,
    /// What rooms' names begin with.
    run: String,
    text: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(plan: &Plan) -> Writer {
        let separator = if plan.kind.is_empty() { "" } else { ":" };
        let run = format!("{}{separator}{}", plan.kind, plan.run);
        let payload = plan.payload.max(stamp::LEN);
        Writer {
            wire: plan.wire,
            say: plan.say,
            payload,
            run,
            text: Vec::new(),
        }
    }

    /// Appends the first message of a connection.
    pub(crate) fn hello(&mut self, out: &mut Vec<u8>) {
        match self.wire {
            Wire::Json => text_frame(out, br#"{"type":"hello","payload":{"version":1}}"#),
            // Hello{version: 1}
            Wire::Protobuf => {
                self.protobuf(HELLO, None, &[8, 1], &[]);
                binary_frame(out, &self.text);
            }
        }
    }

    /// Appends the message that joins a room.
    pub(crate) fn join(&mut self, room: u32, out: &mut Vec<u8>) {
        match self.wire {
            Wire::Json => {
                let room = format!(
                    r#"{{"type":"join_room","room_id":"{}-{room}","payload":{{"nickname":"b"}}}}"#,
                    self.run
                );
                text_frame(out, room.as_bytes());
            }
            Wire::Protobuf => {
                self.protobuf(JOIN_ROOM, Some(room), &[], &[]);
                binary_frame(out, &self.text);
            }
        }
    }

    /// Appends a stamped message to a room. `place` is the sender's in its room.
    pub(crate) fn say(&mut self, room: u32, place: u32, stamp: Stamp, out: &mut Vec<u8>) {
        if self.wire == Wire::Protobuf {
            let mut payload = Vec::with_capacity(self.payload);
            fill(stamp, self.payload, &mut payload);
            self.protobuf(EVENT, Some(room), &payload, b"bench");
            binary_frame(out, &self.text);
            return;
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let room = room.to_string();
        let push = |text: &mut Vec<u8>, parts: &[&[u8]]| {
            parts.iter().for_each(|part| text.extend_from_slice(part));
        };
        match self.say {
            Say::Event => {
                let head = br#"","name":"bench","payload_kind":"text","payload":""#;
                let start = br#"{"type":"event","room_id":""#;
                push(
                    &mut text,
                    &[start, self.run.as_bytes(), b"-", room.as_bytes(), head],
                );
                fill(stamp, self.payload, &mut text);
                push(&mut text, &[b"\"}"]);
            }
            Say::Action => {
                let head = br#"","payload":{"action":"bench","data":""#;
                let start = br#"{"type":"game_action","room_id":""#;
                push(
                    &mut text,
                    &[start, self.run.as_bytes(), b"-", room.as_bytes(), head],
                );
                // What surrounds the text is part of the payload.
                fill(stamp, self.payload.saturating_sub(28), &mut text);
                push(&mut text, &[b"\"}}"]);
            }
            Say::Move => {
                let start = br#"{"type":"game_action","room_id":""#;
                push(
                    &mut text,
                    &[start, self.run.as_bytes(), b"-", room.as_bytes()],
                );
                push(
                    &mut text,
                    &[br#"","payload":{"action":"move","position":{"x":"#],
                );
                push(
                    &mut text,
                    &[(FIRST_X + stamp.counter).to_string().as_bytes(), b",\"y\":"],
                );
                push(
                    &mut text,
                    &[place.to_string().as_bytes(), br#","z":0},"data":""#],
                );
                fill(stamp, self.payload.saturating_sub(72), &mut text);
                push(&mut text, &[b"\"}}"]);
            }
        }
        text_frame(out, &text);
        self.text = text;
    }

    /// A `gameproto.Message` in `self.text`.
    fn protobuf(&mut self, kind: u8, room: Option<u32>, payload: &[u8], name: &[u8]) {
        let text = &mut self.text;
        text.clear();
        text.extend_from_slice(&[1 << 3, kind]);
        if let Some(room) = room {
            field(text, 4, format!("{}-{room}", self.run).as_bytes());
        }
        field(text, 5, payload);
        if kind == EVENT {
            // payload_kind: text
            text.extend_from_slice(&[10 << 3, 2]);
        }
        field(text, 11, name);
    }
}

/// Appends a stamp, and filler up to `len` bytes in all.
pub(crate) fn fill(stamp: Stamp, len: usize, out: &mut Vec<u8>) {
    let mut text = [0; stamp::LEN];
    stamp.write(&mut text);
    out.extend_from_slice(&text);
    let filler = FILLER.iter().copied().cycle();
    out.extend(filler.take(len.saturating_sub(stamp::LEN)));
}

const JOIN_ROOM: u8 = 1;
const HELLO: u8 = 6;
const EVENT: u8 = 12;

/// Appends a length-delimited Protobuf field of a number below 16, unless it is empty.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    out.push(number << 3 | 2);
    let mut len = bytes.len();
    while len > 127 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

/// RFC 6455 wants an unpredictable mask against proxies in between; on loopback a fixed one costs the server as much.
pub(crate) const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x3c];

fn text_frame(out: &mut Vec<u8>, text: &[u8]) {
    write_frame(out, Opcode::Text, true, false, text, Some(MASK));
}

fn binary_frame(out: &mut Vec<u8>, message: &[u8]) {
    write_frame(out, Opcode::Binary, true, false, message, Some(MASK));
}

/// Appends the answer to a ping.
pub(crate) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    write_frame(out, Opcode::Pong, true, false, payload, Some(MASK));
}

/// What a message from the server without a stamp is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The answer to a `join_room`.
    Joined,
    /// An `error`.
    Error,
    /// The state of a room.
    Sync,
    /// Anything else.
    Other,
}

/// Tells what a message is by its first bytes: servers write `type` first.
pub(crate) fn notice(wire: Wire, message: &[u8]) -> Notice {
    match wire {
        Wire::Json => match message.strip_prefix(br#"{"type":""#) {
            Some(rest) if rest.starts_with(b"joined\"") => Notice::Joined,
            Some(rest) if rest.starts_with(b"error\"") => Notice::Error,
            Some(rest) if rest.starts_with(b"sync\"") => Notice::Sync,
            _ => Notice::Other,
        },
        Wire::Protobuf => match message {
            [8, 8, ..] => Notice::Joined,
            [8, 14, ..] => Notice::Error,
            [8, 4, ..] => Notice::Sync,
            _ => Notice::Other,
        },
    }
}
