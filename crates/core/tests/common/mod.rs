//! A node of several shards and its clients under a virtual clock.
//!
//! Frames are a length, a kind and the message. A client's socket takes `window` bytes until the
//! test reads them. Everything random comes from one seed.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test uses its part of the harness"
)]

pub mod bench;
mod machine;

use std::sync::Arc;

use roomcast_core::authorize::Inquiry;
use roomcast_core::backend::Reply;
use roomcast_core::driver::{Driver, Pace};
use roomcast_core::fact::Fact;
use roomcast_core::settings::{Compression, Kind, Settings};
use roomcast_core::store::{NoStore, Store};
use roomcast_core::{
    BatcherLimits, ConnId, Control, Encoding, Grant, Host, Identity, Kinds, LogicFactory, Notice,
    Now, Origin, QuestionId, Received, Rights, Rooms, ShardConfig, Span, TokenFault,
};
use serde_json::Value;

pub use machine::{Client, Posted, Shards, Socket};
use machine::{Link, Machine, ON_THE_WAY};

/// SplitMix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

pub struct SimHost {
    random: Random,
    pub notices: Vec<String>,
    /// What backends are told.
    pub facts: Vec<Fact>,
    /// What they are not told, as a room was lost.
    pub facts_lost: u64,
    /// What they are asked.
    pub inquiries: Vec<Inquiry>,
    /// Steps of messages that are traced.
    pub spans: Vec<Span>,
    pub stopwatch: u64,
    /// Microseconds that pass between two looks at the stopwatch.
    pub stopwatch_step: u64,
}

/// Milliseconds since the Unix epoch at which the virtual clock begins.
const START: i64 = 1_700_000_000_000;

const MESSAGE: u8 = 0;
const PING: u8 = 1;
const PONG: u8 = 2;
const CLOSE: u8 = 3;

fn put(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(data);
}

impl Host for SimHost {
    fn frame(&mut self, _: Encoding, _: &Compression, message: &[u8], out: &mut Vec<u8>) {
        put(out, MESSAGE, message);
    }

    fn control(&mut self, control: Control<'_>, out: &mut Vec<u8>) {
        match control {
            Control::Ping => put(out, PING, b""),
            Control::Pong(data) => put(out, PONG, data),
            Control::Close { code, reason } => {
                let mut data = code.to_be_bytes().to_vec();
                data.extend_from_slice(reason.as_bytes());
                put(out, CLOSE, &data);
            }
        }
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }

    fn stopwatch(&mut self) -> u64 {
        self.stopwatch += self.stopwatch_step;
        self.stopwatch
    }

    /// `USER RIGHT:ROOM [MS [NAME]]`: `bad` is none, `all` every right; `MS` after the virtual clock's start it ends, and
    /// never with `-`.
    fn verify(&mut self, _: i64, token: &str) -> Result<Identity, TokenFault> {
        let mut words = token.split(' ');
        let user_id = words.next().unwrap_or_default();
        let (right, room) = words
            .next()
            .and_then(|word| word.split_once(':'))
            .ok_or(TokenFault::Bad("the token is not good"))?;
        let rights = match right {
            "join" => Rights::JOIN,
            _ => Rights::ALL,
        };
        let ends = words.next().and_then(|word| word.parse::<i64>().ok());
        Ok(Identity {
            user_id: user_id.into(),
            name: words.next().unwrap_or_default().into(),
            grants: vec![Grant {
                rooms: Rooms::Room(room.into()),
                rights,
            }],
            direct: right != "join",
            expires_at: ends.map_or(0, |ms| START + ms),
        })
    }

    fn notice(&mut self, notice: Notice<'_>) {
        self.notices.push(format!("{notice:?}"));
    }

    fn fact(&mut self, fact: Fact) {
        self.facts.push(fact);
    }

    fn facts_lost(&mut self, count: u64) {
        self.facts_lost += count;
    }

    fn ask(&mut self, inquiry: Inquiry) {
        self.inquiries.push(inquiry);
    }

    fn span(&mut self, span: Span) {
        self.spans.push(span);
    }
}

/// What a client got.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Message(Value),
    Ping,
    Pong(Vec<u8>),
    Close(u16, String),
}

pub struct Node<S: Store = NoStore> {
    pub shards: Shards<S>,
    links: Vec<Link>,
    pub sockets: Vec<Socket>,
    pub now: Now,
    pub random: Random,
    /// Chance in a hundred that a link is slow in a turn.
    pub slow_links: u64,
    /// Letters for other nodes.
    pub post: Vec<Posted>,
    /// What backends were answered, by the shards that they had asked.
    pub replies: Vec<(usize, QuestionId, Reply)>,
    /// Where the next connections come from.
    pub origin: Origin,
}

pub fn node(shards: u16, settings: Settings, kinds: Vec<Kind>) -> Node {
    let kinds = kinds.into_iter().map(|kind| (kind, None)).collect();
    node_with(1, shards, settings, kinds)
}

pub fn node_with(
    seed: u64,
    count: u16,
    settings: Settings,
    kinds: Vec<(Kind, Option<LogicFactory>)>,
) -> Node {
    node_on(seed, count, settings, kinds, || NoStore)
}

/// The same with a store for each shard.
pub fn node_on<S: Store>(
    seed: u64,
    count: u16,
    settings: Settings,
    kinds: Vec<(Kind, Option<LogicFactory>)>,
    store: impl Fn() -> S,
) -> Node<S> {
    node_with_key(seed, None, count, settings, kinds, store)
}

/// The same with this key for the homes of names, which several nodes have in common.
pub fn node_with_key<S: Store>(
    seed: u64,
    hash_key: Option<[u64; 2]>,
    count: u16,
    settings: Settings,
    kinds: Vec<(Kind, Option<LogicFactory>)>,
    store: impl Fn() -> S,
) -> Node<S> {
    let mut table = Kinds::new(settings.refuse_unknown_kinds);
    for (kind, logic) in kinds {
        table.insert(kind, logic);
    }
    let (settings, kinds) = (Arc::new(settings), Arc::new(table));
    let mut random = Random(seed);
    let own_key = [random.next(), random.next()];
    let hash_key = hash_key.unwrap_or(own_key);
    let shards = (0..count).map(|index| {
        let config = ShardConfig {
            index,
            count,
            settings: settings.clone(),
            kinds: kinds.clone(),
            batcher: BatcherLimits::default(),
            hash_key,
        };
        let host = SimHost {
            random: Random(random.next()),
            notices: Vec::new(),
            facts: Vec::new(),
            facts_lost: 0,
            inquiries: Vec::new(),
            spans: Vec::new(),
            stopwatch: 0,
            stopwatch_step: 1,
        };
        let pace = Pace {
            // What tests send at once is read in one turn.
            read_buffer: 256 * 1024,
            ..Pace::default()
        };
        Driver::new(config, pace, host, store())
    });
    let link = |_| Link {
        newcomers: Vec::new(),
        moved: Vec::new(),
        letters: (0..count).map(|_| Vec::new()).collect(),
    };
    Node {
        shards: Shards(shards.collect()),
        links: (0..count).map(link).collect(),
        sockets: Vec::new(),
        now: Now {
            micros: 1_000_000,
            unix_ms: START,
        },
        random: Random(seed ^ 0xABCD),
        slow_links: 0,
        post: Vec::new(),
        replies: Vec::new(),
        origin: Origin::NONE,
    }
}

impl<S: Store> Node<S> {
    pub fn connect(&mut self) -> Client {
        let shard = self.sockets.len() % self.shards.len();
        self.connect_to(shard, Encoding::ALL[0])
    }

    pub fn connect_to(&mut self, shard: usize, encoding: Encoding) -> Client {
        let client = self.sockets.len();
        self.sockets.push(Socket {
            shard,
            conn: ConnId::from_u64(u64::MAX),
            encoding,
            origin: self.origin,
            window: usize::MAX,
            takes_parts: false,
            wire: Vec::new(),
            in_socket: 0,
            blocked: false,
            open: true,
            closing: false,
            unread: 0,
            up: Vec::new(),
            partial: Vec::new(),
            ended: false,
            news: false,
        });
        self.links[shard].newcomers.push(client);
        self.drive(shard);
        client
    }

    /// Queues a message; the next turn reads it, as far as the shard takes it.
    pub fn send(&mut self, client: Client, json: &str) {
        let socket = &mut self.sockets[client];
        socket.unread += 1;
        let length = (json.len() as u32).to_be_bytes();
        socket.up.extend_from_slice(&length);
        socket.up.extend_from_slice(json.as_bytes());
        socket.news = true;
    }

    /// Messages of this client that the shard has not read.
    pub fn unread(&self, client: Client) -> usize {
        self.sockets[client].unread
    }

    pub fn receive(&mut self, client: Client, received: Received<'_>) {
        let socket = &self.sockets[client];
        self.shards[socket.shard].note_received(self.now, socket.conn);
        self.shards[socket.shard].receive(self.now, socket.conn, received);
    }

    /// The connection is cut: what was on its way is lost.
    pub fn cut(&mut self, client: Client) {
        let socket = &mut self.sockets[client];
        if !socket.ended {
            socket.open = false;
            socket.up.clear();
            (socket.ended, socket.news) = (true, true);
            let (shard, conn) = (socket.shard, socket.conn);
            if shard != ON_THE_WAY {
                self.shards.0[shard].writable(conn);
                self.turn_of(shard);
            }
        }
    }

    /// One turn of every shard. Whether anything is left to do without time passing.
    pub fn turn(&mut self) -> bool {
        let mut busy = false;
        for index in 0..self.shards.len() {
            busy |= self.turn_of(index);
        }
        busy || self.links.iter().any(|link| !link.is_empty())
    }

    /// One turn of a shard. Whether it has something left to do without time passing.
    pub fn turn_of(&mut self, index: usize) -> bool {
        for socket in self.sockets.iter_mut().filter(|it| it.shard == index) {
            if std::mem::take(&mut socket.news) {
                self.shards.0[index].readable(socket.conn, socket.ended);
            }
        }
        let more = self.drive(index);
        let driver = &mut self.shards.0[index];
        for socket in self.sockets.iter_mut().filter(|it| it.shard == index) {
            if socket.open && driver.open_socket(socket.conn).is_none() {
                (socket.open, socket.closing) = (false, true);
            }
        }
        let news = |socket: &Socket| socket.shard == index && socket.news;
        let wake = self.shards.0[index].next_wake();
        let late = wake.is_some_and(|wake| wake <= self.now.micros);
        more || late || self.sockets.iter().any(news)
    }

    fn drive(&mut self, index: usize) -> bool {
        let now = self.now;
        let mut machine = Machine {
            index,
            now,
            slow: self.random.below(100) < self.slow_links,
            sockets: &mut self.sockets,
            links: &mut self.links,
            post: &mut self.post,
            replies: &mut self.replies,
        };
        self.shards.0[index].turn(now, &mut machine)
    }

    /// Turns until nothing is left to do at this moment.
    pub fn settle(&mut self) {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < 100_000, "the node does not come to rest");
        }
    }

    /// Lets time pass in steps of at most 10 ms, settling in each.
    pub fn pass(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(10);
            left -= step;
            self.now.micros += step * 1_000;
            self.now.unix_ms += step as i64;
            self.settle();
        }
    }

    /// Lets time pass in one step.
    pub fn jump(&mut self, ms: u64) {
        self.now.micros += ms * 1_000;
        self.now.unix_ms += ms as i64;
        self.settle();
    }

    /// Sends a message and settles.
    pub fn say(&mut self, client: Client, json: &str) {
        self.send(client, json);
        self.settle();
    }

    /// Reads all whole frames; the socket takes more then.
    pub fn read(&mut self, client: Client) -> Vec<Got> {
        let socket = &mut self.sockets[client];
        let mut got = Vec::new();
        while let Some(frame) = take_frame(&mut socket.wire) {
            got.push(frame);
        }
        socket.in_socket = 0;
        if std::mem::take(&mut socket.blocked) {
            let (shard, conn) = (socket.shard, socket.conn);
            self.shards.0[shard].writable(conn);
            self.turn_of(shard);
        }
        got
    }

    /// Reads one message.
    pub fn read_one(&mut self, client: Client) -> Value {
        match take_frame(&mut self.sockets[client].wire) {
            Some(Got::Message(value)) => value,
            other => panic!("a message, not {other:?}"),
        }
    }

    /// Reads until nothing comes any more.
    pub fn drain(&mut self, client: Client) -> Vec<Got> {
        let mut all = Vec::new();
        loop {
            self.settle();
            let socket = &self.sockets[client];
            let waits = socket.blocked && (socket.open || socket.closing);
            let got = self.read(client);
            if got.is_empty() && !waits {
                return all;
            }
            all.extend(got);
        }
    }

    /// The messages that a client got since the last time.
    pub fn messages(&mut self, client: Client) -> Vec<Value> {
        let messages = |got| match got {
            Got::Message(value) => Some(value),
            _ => None,
        };
        self.drain(client)
            .into_iter()
            .filter_map(messages)
            .collect()
    }

    /// The types of the messages that a client got since the last time.
    pub fn types(&mut self, client: Client) -> Vec<String> {
        self.messages(client)
            .iter()
            .map(|message| text(&message["type"]))
            .collect()
    }

    /// The only message, which must be an error of this code.
    pub fn error(&mut self, client: Client, code: &str) -> Value {
        let messages = self.messages(client);
        let errors: Vec<_> = messages
            .iter()
            .filter(|message| message["type"] == "error")
            .collect();
        assert_eq!(errors.len(), 1, "{messages:#?}");
        assert_eq!(errors[0]["payload"]["code"], code, "{messages:#?}");
        errors[0].clone()
    }

    /// A new client that has joined a room, with what it got dropped.
    pub fn member(&mut self, room: &str) -> Client {
        let client = self.connect();
        self.say(
            client,
            &format!(r#"{{"type":"join_room","payload":{{"room_id":"{room}"}}}}"#),
        );
        for other in 0..self.sockets.len() {
            self.drain(other);
        }
        client
    }

    /// Nothing is left behind once everybody is gone and nobody has come back.
    pub fn assert_gone(&mut self) {
        for client in 0..self.sockets.len() {
            self.cut(client);
        }
        self.settle();
        self.jump(60_000);
        self.assert_empty();
        for shard in self.shards.iter() {
            assert_eq!(shard.sessions(), (0, 0), "sessions or users are left");
        }
    }

    /// Nothing is left behind once everybody is gone.
    pub fn assert_empty(&mut self) {
        for client in 0..self.sockets.len() {
            self.cut(client);
        }
        self.settle();
        self.pass(1_000);
        for shard in self.shards.iter_mut() {
            assert_eq!(shard.connections(), 0);
            assert_eq!(shard.rooms(), (0, 0), "rooms are left");
            let stats = shard.stats();
            assert_eq!(
                (stats.lane_pieces, stats.chunks),
                (0, 0),
                "pieces, chunks are left"
            );
        }
    }
}

fn take_frame(wire: &mut Vec<u8>) -> Option<Got> {
    let length = u32::from_be_bytes(wire.get(..4)?.try_into().ok()?) as usize;
    let kind = *wire.get(4)?;
    let data = wire.get(5..5 + length)?.to_vec();
    wire.drain(..5 + length);
    Some(match kind {
        MESSAGE => Got::Message(serde_json::from_slice(&data).expect("the server sends JSON")),
        PING => Got::Ping,
        PONG => Got::Pong(data),
        CLOSE => Got::Close(
            u16::from_be_bytes([data[0], data[1]]),
            String::from_utf8(data[2..].to_vec()).expect("a reason is text"),
        ),
        other => panic!("a frame of kind {other}: the stream is torn"),
    })
}

/// The messages among what a client got.
pub fn messages_of(got: Vec<Got>) -> Vec<Value> {
    let message = |got| match got {
        Got::Message(value) => Some(value),
        _ => None,
    };
    got.into_iter().filter_map(message).collect()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn relay(name: &str) -> Kind {
    Kind {
        name: name.to_owned(),
        mode: roomcast_core::settings::Mode::Relay,
        ..Kind::default()
    }
}
