//! Somebody with a resume token that was good once, as from a log or a stolen disk.

use roomcast_protocol::client::{ServerBody, decode_server, encode_request};
use roomcast_protocol::{Format, Hello, Incoming, Request, VERSION};
use roomcast_websocket::{
    CloseFrame, Event, Opcode, Receiver, ReceiverConfig, Role, Scratch, frame,
};

use crate::network::{NEVER, Read};
use crate::world::World;

pub(crate) struct Intruder {
    /// Whose token it is, and the connection that its client had at the time.
    victim: usize,
    victim_wire: usize,
    wire: usize,
    receiver: Receiver,
}

impl World {
    /// Shows a token that is older than the one before the newest.
    pub(crate) fn intrude(&mut self, victim: usize) {
        let peer = &self.peers[victim];
        let stale = peer.view.tokens.iter().rev().nth(2).cloned();
        let (Some(token), Some(victim_wire), None) = (stale, peer.wire(), &self.intruder) else {
            return;
        };
        if !self.is_alive(victim, victim_wire) {
            return;
        }
        let user = peer.user;
        self.say(format_args!("somebody has a token of {victim}"));
        let wire = self.net.open(self.now);
        self.server.accept(wire, Format::Json);
        let token_of_user = user.map(|user| format!("{user} 9999999999999"));
        let hello = Hello {
            version: VERSION,
            capabilities: Vec::new(),
            token: token_of_user.map(Into::into),
            resume_token: Some(token.into()),
            positions: Vec::new(),
            inbox: None,
            first_direct_seq: None,
        };
        let mut message = Vec::new();
        let hello = Incoming::new(Request::Hello(Box::new(hello)));
        encode_request(Format::Json, &hello, &mut message);
        let mut out = Vec::new();
        frame::write_frame(&mut out, Opcode::Text, true, false, &message, Some([7; 4]));
        let taken = self.net.client_writes(wire, self.now, &out);
        if taken < out.len() {
            // It does not fit the socket: nothing comes of it.
            return self.net.client_ends(wire, self.now);
        }
        self.intruder = Some(Intruder {
            victim,
            victim_wire,
            wire,
            receiver: Receiver::new(Role::Client, &ReceiverConfig::default()),
        });
    }

    /// Both ends have this connection, and the network between them is whole.
    fn is_alive(&self, who: usize, wire: usize) -> bool {
        let line = &self.net.wires[wire];
        let connected = roomcast_client::session::Status::Connected { resumed: true };
        self.peers[who].wire() == Some(wire)
            && *self.peers[who].session.status() == connected
            && line.server_open
            && line.released_at == NEVER
            && !line.cut
    }

    /// Reads the answer, and goes. Whether there was anything to do.
    pub(crate) fn drive_intruder(&mut self) -> bool {
        let Some(mut intruder) = self.intruder.take() else {
            return false;
        };
        let wire = intruder.wire;
        let mut bytes = match self.net.wires[wire].down.read(self.now) {
            Read::Bytes(bytes) => bytes,
            Read::Nothing => {
                self.intruder = Some(intruder);
                return false;
            }
            Read::End => {
                self.net.client_ends(wire, self.now);
                return true;
            }
        };
        let (mut input, mut scratch) = (&mut bytes[..], Scratch::new());
        let mut done = false;
        while let Ok(Some(event)) = intruder.receiver.receive(&mut input, &mut scratch) {
            let Event::Text(text) = event else { continue };
            let message = decode_server(Format::Json, text.as_bytes()).unwrap();
            if let ServerBody::Welcome(welcome) = message.body {
                done = true;
                let own = self.peers[intruder.victim].session.client_id();
                if self.is_alive(intruder.victim, intruder.victim_wire) {
                    self.facts.intruders += 1;
                    let stolen = welcome.resumed || welcome.client_id == own;
                    assert!(!stolen, "a token that is stale opened {own}: {welcome:?}");
                }
            }
        }
        if !done {
            // A part of the answer: the rest comes.
            self.intruder = Some(intruder);
            return true;
        }
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
