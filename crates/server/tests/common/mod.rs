//! A server on a free port, and clients that speak to it over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    unreachable_pub,
    reason = "a panic is how a test fails, and each test uses its part of the harness"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use roomcast_protocol::client::{ServerBody, ServerMessage, decode_server, encode_request};
use roomcast_protocol::{
    Format, GameAction, Incoming, IncomingPayload, JoinRoom, Limits, MessageType, PayloadKind,
    Position, Request,
};
use roomcast_server::config::Config;
use roomcast_server::{Kind, Mode, RunningServer, Server};
use roomcast_websocket::handshake::ClientRequest;
use roomcast_websocket::{
    Deflate, DeflateOffer, Event, Opcode, Receiver, ReceiverConfig, Role, Scratch, frame,
};

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Settings for tests: loopback, one shard, no limit of messages, kinds `relay` and `state` beside `default`.
pub fn config() -> Config {
    let mut config = Config::default();
    config.server.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.server.shards = Some(1);
    config.core.messages_per_second = 0;
    config.shutdown.delay = Duration::ZERO;
    config.kinds.push(Kind {
        name: "relay".into(),
        mode: Mode::Relay,
        ..Kind::default()
    });
    config
}

pub fn start(change: impl FnOnce(&mut Config)) -> RunningServer {
    let mut config = config();
    change(&mut config);
    Server::builder()
        .config(config)
        .build()
        .unwrap()
        .start()
        .unwrap()
}

pub fn address(server: &RunningServer) -> SocketAddr {
    server.local_addrs()[0]
}

/// The value of a metric, labels as they stand in the text; 0 where it is not there.
pub fn metric(server: &RunningServer, name: &str) -> u64 {
    let text = server.metrics();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// Waits until a condition holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// What a client received.
#[allow(clippy::large_enum_variant, reason = "one at a time, in a test")]
#[derive(Debug)]
pub enum Got {
    Message(ServerMessage<'static>),
    Ping,
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    /// The TCP connection ended.
    End,
}

pub struct Client {
    pub stream: TcpStream,
    pub format: Format,
    receiver: Receiver,
    scratch: Scratch,
    /// Read and not yet taken.
    bytes: Vec<u8>,
    /// Whether frames with RSV1 came.
    pub compressed: bool,
    /// Ping frames are answered while waiting.
    pub answers_pings: bool,
}

impl Client {
    pub fn json(address: SocketAddr) -> Client {
        Client::open(address, Format::Json, false, &[])
    }

    pub fn protobuf(address: SocketAddr) -> Client {
        Client::open(address, Format::Protobuf, false, &[])
    }

    /// `early` is sent in the same segment as the handshake.
    pub fn open(address: SocketAddr, format: Format, deflate: bool, early: &[u8]) -> Client {
        Client::over(TcpStream::connect(address).unwrap(), format, deflate, early)
    }

    /// With a small receive buffer, so that a reader that stalls does so soon. Not smaller than a segment on
    /// loopback: its window would open by probes, which are seconds apart.
    pub fn narrow(address: SocketAddr, format: Format) -> Client {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Client::over(socket.into(), format, false, &[])
    }

    fn over(mut stream: TcpStream, format: Format, deflate: bool, early: &[u8]) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let protocols: &[&str] = match format {
            Format::Json => &[],
            Format::Protobuf => &["gameproto.v1.protobuf"],
        };
        let request = ClientRequest {
            host: "localhost",
            target: "/ws",
            nonce: [7; 16],
            protocols,
            deflate: deflate.then(DeflateOffer::default),
            headers: &[],
        };
        let mut bytes = request.encode();
        bytes.extend_from_slice(early);
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        let end = loop {
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&piece[..read]);
        };
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let agreed = head.to_ascii_lowercase().contains("permessage-deflate");
        assert_eq!(agreed, deflate, "{head}");
        let deflate = deflate.then_some(Deflate {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        });
        let config = ReceiverConfig {
            max_message: 0,
            max_skip: 0,
            deflate,
        };
        Client {
            stream,
            format,
            receiver: Receiver::new(Role::Client, &config),
            scratch: Scratch::new(),
            bytes: answer[end..].to_vec(),
            compressed: false,
            answers_pings: true,
        }
    }

    // === sending ===

    pub fn request(&mut self, request: &Incoming<'_>) {
        let bytes = framed(self.format, request);
        self.stream.write_all(&bytes).unwrap();
    }

    /// A text frame on a JSON connection, whatever it holds.
    pub fn text(&mut self, text: &str) {
        self.frame(Opcode::Text, text.as_bytes());
    }

    pub fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.stream.write_all(&masked(opcode, payload)).unwrap();
    }

    pub fn hello(&mut self) -> String {
        self.request(&Incoming::new(Request::Hello(Default::default())));
        match self.expect(MessageType::Welcome).body {
            ServerBody::Welcome(welcome) => welcome.client_id,
            other => panic!("{other:?}"),
        }
    }

    /// Joins and waits for the answer.
    pub fn join(&mut self, room: &str) -> roomcast_protocol::client::Joined {
        self.request(&Incoming::new(Request::JoinRoom(JoinRoom::default())).in_room(room));
        match self.expect(MessageType::Joined).body {
            ServerBody::Joined(joined) => joined,
            other => panic!("{other:?}"),
        }
    }

    pub fn chat(&mut self, room: &str, text: &str) {
        self.request(&chat(text).in_room(room));
    }

    // === receiving ===

    /// What comes next.
    pub fn next(&mut self) -> Got {
        loop {
            if let Some(got) = self.take() {
                return got;
            }
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return Got::End,
                Ok(read) => self.bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Got::End,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn take(&mut self) -> Option<Got> {
        if self.bytes.first().is_some_and(|first| first & 0x40 != 0) {
            self.compressed = true;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut input = &mut bytes[..];
        let got = self
            .receiver
            .receive(&mut input, &mut self.scratch)
            .unwrap()
            .map(|event| match event {
                Event::Text(text) => message(Format::Json, text.as_bytes()),
                Event::Binary(bytes) => message(Format::Protobuf, bytes),
                Event::Ping(_) => Got::Ping,
                Event::Pong(data) => Got::Pong(data.to_vec()),
                Event::Close(close) => {
                    Got::Close(close.map(|close| (close.code, close.reason.to_owned())))
                }
                Event::EmptyFragment | Event::TooLarge { .. } => {
                    unreachable!("a server sends whole messages, and there is no limit")
                }
            });
        self.bytes = input.to_vec();
        got
    }

    /// The next message of that type; others are passed over.
    pub fn expect(&mut self, kind: MessageType) -> ServerMessage<'static> {
        loop {
            match self.next() {
                Got::Message(message) if message.body.message_type() == kind => return message,
                Got::Message(message) => {
                    if let ServerBody::Error(error) = &message.body {
                        panic!("instead of {kind:?}: {error:?}");
                    }
                }
                Got::Ping if self.answers_pings => self.frame(Opcode::Pong, &[]),
                Got::Ping | Got::Pong(_) => {}
                other => panic!("instead of {kind:?}: {other:?}"),
            }
        }
    }

    /// The text of the next chat, with its offset.
    /// The next message of this type, an error too.
    pub fn expect_any(&mut self, kind: MessageType) -> ServerMessage<'static> {
        loop {
            match self.next() {
                Got::Message(message) if message.body.message_type() == kind => return message,
                Got::Message(_) | Got::Ping | Got::Pong(_) => {}
                other => panic!("instead of {kind:?}: {other:?}"),
            }
        }
    }

    pub fn expect_chat(&mut self) -> (String, u64) {
        let message = self.expect(MessageType::Chat);
        match message.body {
            ServerBody::Chat(payload) => (
                String::from_utf8(payload.data.to_vec()).unwrap(),
                message.offset,
            ),
            other => panic!("{other:?}"),
        }
    }

    /// The close frame, past all that comes before; then the end of the connection.
    pub fn expect_close(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Got::Close(close) => {
                    let _ = self.stream.shutdown(std::net::Shutdown::Write);
                    assert!(matches!(self.next(), Got::End));
                    return close.unwrap_or((1005, String::new()));
                }
                Got::End => panic!("no close frame"),
                _ => {}
            }
        }
    }
}

fn message(format: Format, bytes: &[u8]) -> Got {
    // A test is short, and borrows less tiring this way.
    let bytes: &'static [u8] = Box::leak(bytes.into());
    Got::Message(decode_server(format, bytes).unwrap())
}

/// A request as a masked frame.
pub fn framed(format: Format, request: &Incoming<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    encode_request(format, request, &mut message);
    let opcode = match format {
        Format::Json => Opcode::Text,
        Format::Protobuf => Opcode::Binary,
    };
    let mut out = Vec::new();
    frame::write_frame(&mut out, opcode, true, false, &message, Some([9, 8, 7, 6]));
    out
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_frame(&mut out, opcode, true, false, payload, Some([1, 2, 3, 4]));
    out
}

/// A text frame as a client sends it.
pub fn text_frame(text: &str) -> Vec<u8> {
    masked(Opcode::Text, text.as_bytes())
}

/// A chat whose payload is text in both formats.
pub fn chat(text: &str) -> Incoming<'_> {
    Incoming::new(Request::Chat(IncomingPayload {
        kind: PayloadKind::Text,
        data: text.as_bytes().into(),
    }))
}

pub fn moves(x: f64) -> String {
    format!(
        r#"{{"type":"game_action","payload":{{"action":"move","position":{{"x":{x},"y":0,"z":0}}}}}}"#
    )
}

pub fn action(raw: &str) -> GameAction<'_> {
    GameAction::parse(Format::Json, raw.as_bytes(), &Limits::default()).unwrap()
}

pub fn at(x: f64) -> Position {
    Position { x, y: 0.0, z: 0.0 }
}
