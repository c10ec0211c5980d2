//! What several tests need.

#![allow(dead_code, reason = "each user takes its part of what is included")]

use roomcast_websocket::frame::write_frame;
use roomcast_websocket::{
    Deflater, Event, Opcode, ProtocolError, Receiver, ReceiverConfig, Role, Scratch,
};

/// An event that doesn't borrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    EmptyFragment,
    Close(Option<(u16, String)>),
    TooLarge(u64),
}

impl From<Event<'_>> for Got {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.to_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::EmptyFragment => Self::EmptyFragment,
            Event::Close(close) => {
                Self::Close(close.map(|close| (close.code, close.reason.to_owned())))
            }
            Event::TooLarge { size } => Self::TooLarge(size),
        }
    }
}

/// A receiver with what belongs to it, and all that it gave.
pub(crate) struct Peer {
    receiver: Receiver,
    scratch: Scratch,
    /// Without those that bring nothing.
    pub(crate) got: Vec<Got>,
    pub(crate) empty_fragments: usize,
    pub(crate) error: Option<ProtocolError>,
}

impl Peer {
    pub(crate) fn new(role: Role, config: &ReceiverConfig) -> Self {
        let receiver = Receiver::new(role, config);
        Self {
            receiver,
            scratch: Scratch::new(),
            got: Vec::new(),
            empty_fragments: 0,
            error: None,
        }
    }

    pub(crate) fn server() -> Self {
        Self::new(Role::Server, &ReceiverConfig::default())
    }

    /// Feeds bytes in one piece.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let mut input = &mut bytes[..];
        loop {
            match self.receiver.receive(&mut input, &mut self.scratch) {
                Ok(Some(Event::EmptyFragment)) => self.empty_fragments += 1,
                Ok(Some(event)) => self.got.push(event.into()),
                Ok(None) => return assert!(input.is_empty()),
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
    }

    /// Feeds bytes in chunks; stops at an error.
    pub(crate) fn feed_chunks(&mut self, bytes: &[u8], chunk: usize) {
        for chunk in bytes.chunks(chunk) {
            if self.error.is_none() {
                self.feed(chunk);
            }
        }
    }

    pub(crate) fn incomplete_since(&mut self, now: u64) -> Option<u64> {
        self.receiver.incomplete_since(now)
    }

    pub(crate) fn restart_incomplete(&mut self, now: u64) {
        self.receiver.restart_incomplete(now);
    }

    pub(crate) fn is_mid_message(&self) -> bool {
        self.receiver.is_mid_message()
    }
}

/// A client's frame with a mask that isn't trivial.
pub(crate) fn masked(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(
        &mut out,
        opcode,
        fin,
        false,
        payload,
        Some([0x37, 0xfa, 0x21, 0x3d]),
    );
    out
}

/// Writes a message in fragments of at most `size` payload octets, compressed if there is a
/// deflater.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    opcode: Opcode,
    message: &[u8],
    size: usize,
    deflater: Option<&mut Deflater>,
    mask: Option<[u8; 4]>,
) {
    let mut compressed = Vec::new();
    let rsv1 = deflater.is_some();
    let payload = match deflater {
        Some(deflater) => {
            deflater.compress(message, &mut compressed);
            &compressed[..]
        }
        None => message,
    };
    if payload.is_empty() {
        return write_frame(out, opcode, true, rsv1, payload, mask);
    }
    let last = payload.len().div_ceil(size) - 1;
    for (index, piece) in payload.chunks(size).enumerate() {
        let opcode = if index == 0 {
            opcode
        } else {
            Opcode::Continuation
        };
        write_frame(out, opcode, index == last, rsv1 && index == 0, piece, mask);
    }
}
