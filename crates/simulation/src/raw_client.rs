//! A client that is a WebSocket and no more: it sends its messages at once, hears the answers, and goes.

use roomcast_core::Access;
use roomcast_protocol::Format;
use roomcast_websocket::{
    CloseFrame, Event, Opcode, Receiver, ReceiverConfig, Role, Scratch, frame,
};

use crate::network::Read;
use crate::world::World;

const MASK: Option<[u8; 4]> = Some([7; 4]);

pub(crate) struct RawClient {
    wire: usize,
    receiver: Receiver,
}

/// What a raw client has heard.
pub(crate) enum Heard {
    Nothing,
    /// Whole messages, in JSON. There may be none: a part of one has come.
    Messages(Vec<String>),
    /// The connection is over, and this end of it too.
    End,
}

impl World {
    /// Opens a connection and sends all the messages. `None`: they don't fit the socket, and nothing comes of it.
    pub(crate) fn open_raw(&mut self, access: Access, messages: &[&[u8]]) -> Option<RawClient> {
        let wire = self.net.open(self.now);
        self.server.accept_as(wire, Format::Json, access);
        let mut out = Vec::new();
        for message in messages {
            frame::write_frame(&mut out, Opcode::Text, true, false, message, MASK);
        }
        let taken = self.net.client_writes(wire, self.now, &out);
        if taken < out.len() {
            self.net.client_ends(wire, self.now);
            return None;
        }
        Some(RawClient {
            wire,
            receiver: Receiver::new(Role::Client, &ReceiverConfig::default()),
        })
    }

    /// Reads what has come.
    pub(crate) fn hear_raw(&mut self, client: &mut RawClient) -> Heard {
        let mut bytes = match self.net.wires[client.wire].down.read(self.now) {
            Read::Bytes(bytes) => bytes,
            Read::Nothing => return Heard::Nothing,
            Read::End => {
                self.net.client_ends(client.wire, self.now);
                return Heard::End;
            }
        };
        let (mut input, mut scratch) = (&mut bytes[..], Scratch::new());
        let mut messages = Vec::new();
        while let Ok(Some(event)) = client.receiver.receive(&mut input, &mut scratch) {
            if let Event::Text(text) = event {
                messages.push(text.to_owned());
            }
        }
        Heard::Messages(messages)
    }

    /// Says goodbye, and goes.
    pub(crate) fn close_raw(&mut self, client: RawClient) {
        let mut out = Vec::new();
        let close = CloseFrame {
            code: 1000,
            reason: "",
        };
        frame::write_close(&mut out, Some(close), MASK);
        self.net.client_writes(client.wire, self.now, &out);
        self.net.client_ends(client.wire, self.now);
    }
}
