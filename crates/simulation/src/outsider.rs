//! Somebody without a token, or with one that allows nothing: nothing is done for it.

use roomcast_core::Access;
use roomcast_protocol::Format;
use roomcast_protocol::client::{ServerBody, decode_server};
use roomcast_websocket::{
    CloseFrame, Event, Opcode, Receiver, ReceiverConfig, Role, Scratch, frame,
};

use crate::network::Read;
use crate::setup::ROOMS;
use crate::world::World;

pub(crate) struct Outsider {
    wire: usize,
    receiver: Receiver,
    /// It has a token, so that there is a session for it.
    has_token: bool,
}

/// First messages that are refused before anybody asks whose they are.
const REFUSED: [&str; 4] = [
    "{",
    r#"{"type":"joined"}"#,
    r#"{"type":"join_room","room_id":"a b"}"#,
    r#"{"type":"hello","payload":{"version":2}}"#,
];
const HELLO: &str =
    r#"{"type":"hello","payload":{"version":1,"token":"outsider 9999999999999 none"}}"#;

impl World {
    /// Asks for something that only others may have.
    pub(crate) fn knock(&mut self, victim: usize) {
        if self.outsider.is_some() {
            return;
        }
        let has_token = self.random.chance(500);
        let room = self.random.pick(&ROOMS);
        let client = self.peers[victim].session.client_id().to_owned();
        let first = if has_token {
            HELLO
        } else {
            self.random.pick(&REFUSED)
        };
        let request = if self.random.chance(500) {
            format!(r#"{{"type":"join_room","room_id":"{room}"}}"#)
        } else {
            format!(r#"{{"type":"chat","to_client_id":"{client}","seq":1,"payload":0}}"#)
        };
        self.say(format_args!("an outsider says {first} and {request}"));
        let wire = self.net.open(self.now);
        self.server.accept_as(wire, Format::Json, Access::NONE);
        let mut out = Vec::new();
        for message in [first, &request, r#"{"type":"ping"}"#] {
            let message = message.as_bytes();
            frame::write_frame(&mut out, Opcode::Text, true, false, message, Some([5; 4]));
        }
        let taken = self.net.client_writes(wire, self.now, &out);
        if taken < out.len() {
            // It does not fit the socket: nothing comes of it.
            return self.net.client_ends(wire, self.now);
        }
        self.outsider = Some(Outsider {
            wire,
            receiver: Receiver::new(Role::Client, &ReceiverConfig::default()),
            has_token,
        });
    }

    /// Reads the answers, and goes. Whether there was anything to do.
    pub(crate) fn drive_outsider(&mut self) -> bool {
        let Some(mut outsider) = self.outsider.take() else {
            return false;
        };
        let wire = outsider.wire;
        let mut bytes = match self.net.wires[wire].down.read(self.now) {
            Read::Bytes(bytes) => bytes,
            Read::Nothing => {
                self.outsider = Some(outsider);
                return false;
            }
            Read::End => {
                self.facts.outsiders += u64::from(!outsider.has_token);
                self.net.client_ends(wire, self.now);
                return true;
            }
        };
        let (mut input, mut scratch) = (&mut bytes[..], Scratch::new());
        let mut done = false;
        while let Ok(Some(event)) = outsider.receiver.receive(&mut input, &mut scratch) {
            let Event::Text(text) = event else { continue };
            let message = decode_server(Format::Json, text.as_bytes()).unwrap();
            match message.body {
                ServerBody::Error(_) => {}
                ServerBody::Welcome(_) | ServerBody::Reconnect { .. } if outsider.has_token => {}
                ServerBody::Pong { .. } if outsider.has_token => done = true,
                other => panic!("an outsider is told {other:?}"),
            }
        }
        if !done {
            self.outsider = Some(outsider);
            return true;
        }
        self.facts.outsiders += 1;
        let mut out = Vec::new();
        let close = CloseFrame {
            code: 1000,
            reason: "",
        };
        frame::write_close(&mut out, Some(close), Some([7; 4]));
        self.net.client_writes(wire, self.now, &out);
        self.net.client_ends(wire, self.now);
        true
    }
}
