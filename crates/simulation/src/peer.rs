//! A client: the SDK's session machine, driven as its tokio front drives it.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;

use roomcast_client::Format;
use roomcast_client::session::{Config, Connection, Event as SessionEvent, Session, Status};
use roomcast_protocol::MessageType;
use roomcast_protocol::client::{ServerBody, decode_server};
use roomcast_websocket::{
    CloseFrame, Event, Opcode, Receiver, ReceiverConfig, Role, Scratch, frame,
};

use crate::clock::START;
use crate::facts::Facts;
use crate::fleet::Fleet;
use crate::ledger::Ledger;
use crate::network::{NEVER, Network, Read};
use crate::random::Random;
use crate::view::View;

/// The world as a client meets it.
pub(crate) struct Around<'a> {
    pub(crate) now: u64,
    pub(crate) net: &'a mut Network,
    pub(crate) server: &'a mut Fleet,
    pub(crate) truth: &'a Ledger,
    pub(crate) facts: &'a mut Facts,
    pub(crate) random: &'a mut Random,
    /// Milliseconds that a session lives without a connection.
    pub(crate) grace: u64,
    /// Of a thousand attempts to connect, how many fail.
    pub(crate) refuses: u64,
}

/// An open connection.
struct Line {
    wire: usize,
    receiver: Receiver,
    scratch: Scratch,
    out: Vec<u8>,
}

pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) view: View,
    pub(crate) format: Format,
    pub(crate) user: Option<&'static str>,
    outbox_bytes: usize,
    /// Bytes given to a connection and not yet to the socket.
    max_out: usize,
    line: Option<Line>,
    /// The connection that was opened last.
    open_wire: Option<usize>,
    /// The last connection on which the server said `welcome`.
    welcomed: Option<usize>,
    /// A connection was given up with a `hello` under way, which may be read after that of the next one.
    pub(crate) late_hello: bool,
    /// Those connections. Of several nodes another one than the client is on may have taken its session for such a `hello`,
    /// and have ended it when that connection was gone for the grace.
    given_up: Vec<usize>,
    /// Said to the server in a way that its session may end sooner.
    said_goodbye: bool,
    trace: DefaultHasher,
    /// Something was done with it since it came to rest.
    touched: bool,
    /// At rest: when its session wants the time.
    rests_until: u64,
}

impl Peer {
    pub(crate) fn new(random: &mut Random) -> Peer {
        let format = random.pick(&[Format::Json, Format::Protobuf]);
        let outbox_bytes = random.pick(&[4_000, 64_000]);
        Peer {
            session: Session::new(config(format, outbox_bytes)),
            view: View::default(),
            format,
            user: random.pick(&[None, None, None, Some("ann"), Some("bob")]),
            outbox_bytes,
            max_out: random.pick(&[300, 2_000, 16_000]),
            line: None,
            open_wire: None,
            welcomed: None,
            late_hello: false,
            given_up: Vec::new(),
            said_goodbye: false,
            trace: DefaultHasher::new(),
            touched: true,
            rests_until: 0,
        }
    }

    /// The connection that it has.
    pub(crate) fn wire(&self) -> Option<usize> {
        self.line.as_ref().map(|line| line.wire)
    }

    /// Whether there is nothing to do at this moment.
    pub(crate) fn rests(&self, now: u64, net: &Network) -> bool {
        let is_left_alone = !self.touched && now < self.rests_until;
        is_left_alone
            && self.line.as_ref().is_none_or(|line| {
                line.out.is_empty() && !net.wires[line.wire].down.is_readable(now)
            })
    }

    /// Somebody does something with it.
    pub(crate) fn touch(&mut self) {
        self.touched = true;
    }

    /// It has done what was to be done: until when it rests.
    pub(crate) fn rest(&mut self, now: u64) {
        self.touched = false;
        self.rests_until = self.wants_time(now).unwrap_or(u64::MAX);
    }

    /// When its session wants the time.
    pub(crate) fn due(&self, now: u64) -> Option<u64> {
        match self.touched {
            true => self.wants_time(now),
            false => Some(self.rests_until).filter(|due| *due < u64::MAX),
        }
    }

    fn wants_time(&self, now: u64) -> Option<u64> {
        match self.session.connection() {
            Connection::Connect | Connection::Close(_) => Some(now),
            Connection::Up | Connection::Down => self.session.poll_timeout(),
        }
    }

    /// The page is loaded again, and with it the session that was stored; `goodbye`: the browser says so.
    pub(crate) fn reload(&mut self, goodbye: bool, around: &mut Around<'_>) {
        let saved = self.session.save();
        self.said_goodbye |= goodbye;
        self.hang_up(goodbye.then_some(1001), around);
        let view = std::mem::take(&mut self.view);
        self.view = view.reloaded(&self.session);
        self.session = Session::new(Config {
            saved: Some(saved),
            ..config(self.format, self.outbox_bytes)
        });
    }

    /// The connection is given up. A `hello` that was sent over it may yet be read, after that of the next one.
    fn note_late_hello(&mut self) {
        if let Some(wire) = self.wire().filter(|wire| self.welcomed != Some(*wire)) {
            self.late_hello = true;
            self.given_up.push(wire);
        }
    }

    /// Somebody new, who knows nothing.
    pub(crate) fn begin_anew(&mut self) {
        self.touch();
        self.view = View::default();
        self.session = Session::new(config(self.format, self.outbox_bytes));
        self.welcomed = None;
        self.late_hello = false;
        self.given_up.clear();
    }

    /// Closes the connection, with a close frame or without.
    pub(crate) fn hang_up(&mut self, code: Option<u16>, around: &mut Around<'_>) {
        self.note_late_hello();
        let Some(mut line) = self.line.take() else {
            return;
        };
        if let Some(code) = code {
            let close = CloseFrame { code, reason: "" };
            frame::write_close(&mut line.out, Some(close), Some(mask(around.random)));
            around.net.client_writes(line.wire, around.now, &line.out);
        }
        around.net.client_ends(line.wire, around.now);
    }

    /// Does what is to be done now. Whether there was anything.
    pub(crate) fn drive(&mut self, around: &mut Around<'_>) -> bool {
        let now = around.now;
        let mut busy = false;
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            self.session.timeout(now);
            busy = true;
        }
        busy |= self.read(around);
        match self.session.connection() {
            Connection::Connect => {
                busy = true;
                if around.random.chance(around.refuses) {
                    self.lost(1006, "refused", around);
                } else {
                    self.connect(around);
                }
            }
            Connection::Close(code) => {
                busy = true;
                self.hang_up(Some(code), around);
                self.lost(1006, "", around);
            }
            Connection::Up => {}
            Connection::Down => self.hang_up(None, around),
        }
        busy |= self.write(around);
        self.poll(around);
        let most = self.outbox_bytes;
        let waiting = self.session.outbox_bytes();
        assert!(
            waiting <= most,
            "{waiting} bytes wait in an outbox of {most}"
        );
        busy
    }

    fn connect(&mut self, around: &mut Around<'_>) {
        self.renew_token(around);
        // What was on its way when the server gave the connection up may have come much later.
        let wire = self.view.heard_on.map(|wire| &around.net.wires[wire]);
        let ended_at = wire.map_or(NEVER, |wire| wire.released_at);
        self.view.was_gone = around.now - self.view.heard_at.min(ended_at);
        let wire = around.net.open(around.now);
        around.server.accept(wire, self.format);
        let config = ReceiverConfig {
            max_message: 16 << 20,
            max_skip: 16 << 20,
            deflate: None,
        };
        self.open_wire = Some(wire);
        self.line = Some(Line {
            wire,
            receiver: Receiver::new(Role::Client, &config),
            scratch: Scratch::new(),
            out: Vec::new(),
        });
        self.session.connected(around.now);
    }

    /// Gives the session a fresh token, as the application's source of tokens does.
    pub(crate) fn renew_token(&mut self, around: &mut Around<'_>) {
        self.view.wants_token = false;
        if let Some(user) = self.user {
            let lasts = 10_000 + around.random.below(20_000);
            let token = format!("{user} {}", START + (around.now + lasts) as i64);
            self.session.set_token(around.now, Some(token));
        }
    }

    fn lost(&mut self, code: u16, reason: &str, around: &mut Around<'_>) {
        self.note_late_hello();
        if let Some(line) = self.line.take() {
            around.net.client_ends(line.wire, around.now);
        }
        let random = around.random.next();
        self.session.disconnected(around.now, code, reason, random);
        self.poll(around);
    }

    fn read(&mut self, around: &mut Around<'_>) -> bool {
        let mut busy = false;
        while let Some(line) = &mut self.line {
            let mut bytes = match around.net.wires[line.wire].down.read(around.now) {
                Read::Nothing => break,
                Read::End => {
                    self.lost(1006, "the connection was closed", around);
                    return true;
                }
                Read::Bytes(bytes) => bytes,
            };
            busy = true;
            if let Status::Connected { .. } = self.session.status() {
                (self.view.heard_at, self.view.heard_on) = (around.now, Some(line.wire));
            }
            self.trace.write(&bytes);
            around.facts.trace = around.facts.trace.rotate_left(5) ^ self.trace.finish();
            if let Some((code, reason)) = self.take(&mut bytes, around) {
                self.lost(code, &reason, around);
                return true;
            }
        }
        busy
    }

    /// Gives the session what came. A close frame's code and reason, if one did.
    fn take(&mut self, bytes: &mut [u8], around: &mut Around<'_>) -> Option<(u16, String)> {
        let now = around.now;
        let mut line = self.line.take()?;
        let mut input = bytes;
        let closed = loop {
            let event = line.receiver.receive(&mut input, &mut line.scratch);
            let event = event.expect("the client can read what comes");
            if around.facts.trace_on {
                match event {
                    Some(Event::Text(text)) => println!("{now:7} got {text}"),
                    other => println!("{now:7} got {other:?}"),
                }
            }
            match (event, self.format) {
                (None, _) => break None,
                (Some(Event::Text(text)), Format::Json) => {
                    self.receive(text.as_bytes(), around);
                }
                (Some(Event::Binary(bytes)), Format::Protobuf) => self.receive(bytes, around),
                (Some(Event::Ping(payload)), _) => {
                    self.session.heard(now);
                    let mask = Some(mask(around.random));
                    frame::write_frame(&mut line.out, Opcode::Pong, true, false, payload, mask);
                }
                (Some(Event::Pong(_) | Event::EmptyFragment), _) => {
                    self.session.heard(now);
                }
                (Some(Event::Close(close)), _) => {
                    break Some(match close {
                        Some(close) => (close.code, close.reason.to_owned()),
                        None => (1006, String::new()),
                    });
                }
                (Some(other), _) => panic!("a client was sent {other:?}"),
            }
            self.poll(around);
        };
        self.line = Some(line);
        closed
    }

    fn receive(&mut self, message: &[u8], around: &mut Around<'_>) {
        // The session does not tell this. What can't say it is not decoded twice.
        if may_tell_of_repeats(self.format, message)
            && let Ok(it) = decode_server(self.format, message)
            && let ServerBody::Joined(joined) = &it.body
            && joined.repeats_possible
        {
            self.view.repeats_possible(&it.room_id, around.facts);
        }
        self.session.receive(around.now, message);
    }

    /// Takes from the session what the connection has room for.
    fn write(&mut self, around: &mut Around<'_>) -> bool {
        let Some(line) = &mut self.line else {
            return false;
        };
        let opcode = match self.format {
            Format::Json => Opcode::Text,
            Format::Protobuf => Opcode::Binary,
        };
        while line.out.len() < self.max_out
            && let Some(message) = self.session.poll_transmit()
        {
            if around.facts.trace_on {
                let text = String::from_utf8_lossy(&message);
                println!("{:7} {} > {text}", around.now, self.session.client_id());
            }
            let mask = Some(mask(around.random));
            frame::write_frame(&mut line.out, opcode, true, false, &message, mask);
        }
        let taken = around.net.client_writes(line.wire, around.now, &line.out);
        line.out.drain(..taken);
        taken > 0
    }

    /// Hands what the session tells to the model.
    fn poll(&mut self, around: &mut Around<'_>) {
        while let Some(event) = self.session.poll_event() {
            if let SessionEvent::Status(Status::Connected { resumed }) = event {
                self.welcome(resumed, around);
            }
            if around.facts.trace_on {
                println!("{:7} {} < {event:?}", around.now, self.session.client_id());
            }
            self.view
                .check(event, &self.session, around.truth, around.facts);
        }
    }
}

impl Peer {
    /// Who comes back in time has its session again.
    fn welcome(&mut self, resumed: bool, around: &mut Around<'_>) {
        let before = std::mem::replace(&mut self.welcomed, self.open_wire);
        let goodbye = self.said_goodbye;
        // Where the `hello` of the page that was left comes late, its goodbye comes behind it, and after this. It may
        // have taken the session from this one.
        self.said_goodbye &= self.late_hello;
        let Some(before) = before.filter(|_| !resumed && !goodbye) else {
            return;
        };
        let wires = &around.net.wires;
        let opened = wires[before].opened_at;
        let mut released = wires[before].released_at;
        let mut grace = around.grace;
        if !around.server.is_alone() {
            // A node's clock may be fast.
            grace = grace * 9 / 10;
            let given_up = self.given_up.iter().map(|wire| wires[*wire].released_at);
            released = given_up.filter(|at| *at >= opened).fold(released, u64::min);
        }
        let in_time = around.now < released.saturating_add(grace);
        let restarted = around.facts.restarted_at.is_some_and(|at| at >= opened);
        let forgotten = restarted || !around.server.is_alone() && !self.view.was_told_in;
        let mut names = self.view.names.iter();
        let forgotten = forgotten || names.any(|name| around.truth.lost.has_lost(name));
        assert!(
            forgotten || !in_time,
            "{:?} came back in time, and its session was gone",
            self.session
        );
    }
}

fn config(format: Format, outbox_bytes: usize) -> Config {
    Config {
        format,
        outbox_bytes,
        backoff_min_ms: 100,
        backoff_max_ms: 2_000,
        answer_ms: 4_000,
        ..Config::default()
    }
}

fn may_tell_of_repeats(format: Format, message: &[u8]) -> bool {
    match format {
        // Its first field is the type.
        Format::Protobuf => message.starts_with(&[8, MessageType::Joined as u8]),
        Format::Json => {
            std::str::from_utf8(message).is_ok_and(|text| text.contains("repeats_possible"))
        }
    }
}

fn mask(random: &mut Random) -> [u8; 4] {
    (random.next() as u32).to_be_bytes()
}
