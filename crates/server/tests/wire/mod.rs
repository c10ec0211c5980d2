//! A WebSocket that sends any bytes, and hands over what comes as it came.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a panic is how a test fails, and each test uses its part of the harness"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use roomcast_protocol::client::{decode_server, encode_request};
use roomcast_protocol::{Format, Limits, decode};
use roomcast_websocket::handshake::ClientRequest;
use roomcast_websocket::{
    CloseFrame, Event, Opcode, Receiver, ReceiverConfig, Role, Scratch, frame,
};
use serde_json::Value;

use crate::codec;
use crate::common::DEADLINE;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Pong,
    /// A close frame; 1005 where it has no code.
    Close(u16, String),
    /// The end of the TCP connection.
    End,
}

pub struct Wire {
    pub stream: TcpStream,
    pub format: Format,
    receiver: Receiver,
    scratch: Scratch,
    /// Read and not yet taken.
    bytes: Vec<u8>,
}

impl Wire {
    pub fn open(address: SocketAddr, format: Format) -> Wire {
        Wire::over(TcpStream::connect(address).unwrap(), format)
    }

    /// With a token in the request's `Authorization` header.
    pub fn with_token(address: SocketAddr, format: Format, token: &str) -> Wire {
        let stream = TcpStream::connect(address).unwrap();
        Wire::with_headers(
            stream,
            format,
            &[("Authorization", &format!("Bearer {token}"))],
        )
    }

    /// With a receive buffer of a few KiB, so that a reader that stalls does so soon.
    pub fn narrow(address: SocketAddr, format: Format) -> Wire {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Wire::over(socket.into(), format)
    }

    fn over(stream: TcpStream, format: Format) -> Wire {
        Wire::with_headers(stream, format, &[])
    }

    pub fn with_headers(mut stream: TcpStream, format: Format, headers: &[(&str, &str)]) -> Wire {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let request = ClientRequest {
            host: "localhost",
            target: "/ws",
            nonce: [3; 16],
            protocols: match format {
                Format::Json => &["gameproto.v1.json"],
                Format::Protobuf => &["gameproto.v1.protobuf"],
            },
            deflate: None,
            headers,
        };
        stream.write_all(&request.encode()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).unwrap(), 1);
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let config = ReceiverConfig {
            max_message: 0,
            max_skip: 0,
            deflate: None,
        };
        Wire {
            stream,
            format,
            receiver: Receiver::new(Role::Client, &config),
            scratch: Scratch::new(),
            bytes: Vec::new(),
        }
    }

    // === sending ===

    /// What is given as JSON, in the connection's format.
    pub fn send(&mut self, json: &str) {
        if self.format == Format::Json {
            return self.message(json);
        }
        let message = decode(Format::Json, json.as_bytes(), &Limits::OFF).unwrap();
        let mut out = Vec::new();
        encode_request(self.format, &message, &mut out);
        self.message(out);
    }

    /// Any bytes in a frame of the connection's format.
    pub fn message(&mut self, message: impl AsRef<[u8]>) {
        let opcode = match self.format {
            Format::Json => Opcode::Text,
            Format::Protobuf => Opcode::Binary,
        };
        self.raw(&masked(opcode, message.as_ref()));
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Joins a room, and waits for the answer.
    pub fn join(&mut self, room: &str) -> Value {
        self.send(&format!(r#"{{"type":"join_room","room_id":"{room}"}}"#));
        self.expect("joined")
    }

    // === receiving ===

    /// What comes next.
    pub fn next(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.take() {
                return heard;
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return Heard::End,
                Ok(read) => self.bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Heard::End,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn take(&mut self) -> Option<Heard> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut input = &mut bytes[..];
        let event = self
            .receiver
            .receive(&mut input, &mut self.scratch)
            .unwrap();
        let heard = event.map(|event| match event {
            Event::Text(text) => Heard::Text(text.to_owned()),
            Event::Binary(bytes) => Heard::Binary(bytes.to_vec()),
            Event::Ping(_) => Heard::Ping,
            Event::Pong(_) => Heard::Pong,
            Event::Close(close) => close.map_or(Heard::Close(1005, String::new()), |close| {
                Heard::Close(close.code, close.reason.to_owned())
            }),
            Event::EmptyFragment | Event::TooLarge { .. } => {
                unreachable!("a server sends whole messages, and there is no limit")
            }
        });
        self.bytes = input.to_vec();
        heard
    }

    /// The next message as JSON, whatever the format.
    pub fn receive(&mut self) -> Value {
        loop {
            match self.next() {
                Heard::Text(text) => return serde_json::from_str(&text).unwrap(),
                Heard::Binary(bytes) => return json_of(&bytes),
                Heard::Ping | Heard::Pong => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message that matches; others are passed over.
    pub fn until(&mut self, mut matches: impl FnMut(&Value) -> bool) -> Value {
        loop {
            let message = self.receive();
            if matches(&message) {
                return message;
            }
        }
    }

    /// The next message of that type; others are passed over, but for errors.
    pub fn expect(&mut self, kind: &str) -> Value {
        self.until(|message| {
            let found = message["type"] == kind;
            assert!(
                found || message["type"] != "error",
                "instead of {kind}: {message}"
            );
            found
        })
    }

    /// The next error, past all that comes before.
    pub fn error(&mut self) -> Value {
        self.until(|message| message["type"] == "error")
    }

    /// The close frame, past all that comes before; then the end of the connection.
    pub fn expect_close(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Heard::Close(code, reason) => {
                    // Our side's end; the server may have given up waiting for it.
                    let _ = self.stream.shutdown(Shutdown::Write);
                    assert_eq!(self.next(), Heard::End);
                    return (code, reason);
                }
                Heard::End => panic!("no close frame"),
                _ => {}
            }
        }
    }
}

/// A server's Protobuf message as JSON.
pub fn json_of(protobuf: &[u8]) -> Value {
    let message = decode_server(Format::Protobuf, protobuf).unwrap();
    serde_json::from_slice(&codec::resend(Format::Json, &message)).unwrap()
}

/// A frame as a client sends it.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_frame(&mut out, opcode, true, false, payload, Some([9, 1, 8, 2]));
    out
}

pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_close(&mut out, Some(CloseFrame { code, reason }), Some([7; 4]));
    out
}
