//! A node of several shards, with sockets as the server's event loop has them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

use roomcast_core::settings::{Kind, Settings};
use roomcast_core::{
    Access, BatcherLimits, ConnId, Encoding, Kinds, MovingConnection, Now, Received, Shard,
    ShardConfig, ShardMessage, Written,
};
use roomcast_protocol::Format;
use roomcast_websocket::{Event, Receiver, ReceiverConfig, Role, Scratch, close};

use crate::host::SimHost;
use crate::ledger::{Ledger, Truth};
use crate::network::{Network, Read};
use crate::random::Random;

/// Milliseconds since the Unix epoch at which the virtual clock begins.
pub(crate) const START: i64 = 1_700_000_000_000;
/// Milliseconds that a close frame may take to be written.
const CLOSING: u64 = 10_000;
/// Pieces that are handed to a socket at once.
const SLICES: usize = 64;
/// Bytes of frames that were begun, and of answers, that may wait beside what lanes are bounded to.
const BESIDE: usize = 6 * 1024;

/// The time that the core is given at a millisecond of the virtual clock.
pub(crate) fn time(now: u64) -> Now {
    Now {
        micros: 1_000_000 + now * 1_000,
        unix_ms: START + now as i64,
    }
}

struct Socket {
    wire: usize,
    conn: ConnId,
    format: Format,
    receiver: Receiver,
    /// What came and was not taken yet.
    unread: Vec<u8>,
    blocked: bool,
    /// The close frame is queued; the socket is given up then.
    closing_until: Option<u64>,
}

/// Connections on their way to another shard, and messages.
#[derive(Default)]
struct Link {
    /// Nothing is taken before this time.
    slow_until: u64,
    moved: Vec<(Socket, MovingConnection)>,
    letters: VecDeque<(u16, ShardMessage)>,
}

pub(crate) struct Server {
    shards: Vec<Shard<SimHost, Truth>>,
    sockets: Vec<Vec<Socket>>,
    links: Vec<Link>,
    scratch: Scratch,
    settings: Arc<Settings>,
    log_ceiling: usize,
    random: Random,
    /// Of a thousand times that there is mail, how often it is taken later.
    pub(crate) slow_links: u64,
}

/// What a node is made from.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) shards: u16,
    pub(crate) settings: Settings,
    pub(crate) kinds: Vec<Kind>,
    /// Bytes that the logs of a shard may hold; 0 is any.
    pub(crate) log_ceiling: usize,
    pub(crate) slow_links: u64,
}

impl Server {
    pub(crate) fn new(setup: &Setup, ledger: &Rc<RefCell<Ledger>>, mut random: Random) -> Server {
        let settings = Arc::new(setup.settings.clone());
        let mut kinds = Kinds::new(false);
        for kind in &setup.kinds {
            kinds.insert(kind.clone(), None);
        }
        let kinds = Arc::new(kinds);
        let hash_key = [random.next(), random.next()];
        let shards = (0..setup.shards).map(|index| {
            let config = ShardConfig {
                index,
                count: setup.shards,
                settings: settings.clone(),
                kinds: kinds.clone(),
                batcher: BatcherLimits::default(),
                hash_key,
            };
            let host = SimHost {
                random: Random(random.next()),
                stopwatch: 0,
            };
            let engine = Truth::new(ledger.clone(), setup.log_ceiling, Random(random.next()));
            Shard::new(config, host, engine)
        });
        Server {
            shards: shards.collect(),
            sockets: (0..setup.shards).map(|_| Vec::new()).collect(),
            links: (0..setup.shards).map(|_| Link::default()).collect(),
            scratch: Scratch::new(),
            settings,
            log_ceiling: setup.log_ceiling,
            random,
            slow_links: setup.slow_links,
        }
    }

    /// A connection was made.
    pub(crate) fn accept(&mut self, now: u64, wire: usize, format: Format) {
        let shard = self.random.below(self.shards.len() as u64) as usize;
        let encoding = encoding(format);
        let conn = self.shards[shard].open(time(now), encoding, Access::ANONYMOUS);
        let config = ReceiverConfig {
            max_message: self.settings.max_message,
            ..ReceiverConfig::default()
        };
        self.sockets[shard].push(Socket {
            wire,
            conn,
            format,
            receiver: Receiver::new(Role::Server, &config),
            unread: Vec::new(),
            blocked: false,
            closing_until: None,
        });
    }

    /// Turns until nothing is left to do at this moment. Whether there was anything.
    pub(crate) fn run(&mut self, now: u64, net: &mut Network) -> bool {
        for turns in 0.. {
            assert!(turns < 10_000, "the server does not come to rest");
            let mut busy = false;
            for shard in 0..self.shards.len() {
                busy |= self.turn(shard, now, net);
            }
            if !busy {
                return turns > 0;
            }
        }
        true
    }

    fn turn(&mut self, index: usize, now: u64, net: &mut Network) -> bool {
        let at = time(now);
        let mut busy = self.take_mail(index, now);
        busy |= self.read(index, now, net);
        let shard = &mut self.shards[index];
        shard.run_timers(at);
        busy |= shard.run_rooms(at);
        let mut place = 0;
        while let Some(socket) = self.sockets[index].get(place) {
            place += 1;
            if socket.blocked && net.wires[socket.wire].down.has_room() {
                busy |= self.flush((index, place - 1), now, net);
            }
        }
        while let Some(conn) = self.shards[index].next_dirty(at) {
            if let Some(place) = self.place(index, conn) {
                busy = true;
                self.flush((index, place), now, net);
            }
        }
        while let Some(conn) = self.shards[index].next_closing() {
            let Some(place) = self.place(index, conn) else {
                continue;
            };
            busy = true;
            let socket = &mut self.sockets[index][place];
            if socket.closing_until.is_none() {
                socket.closing_until = Some(now + CLOSING);
                let wire = &mut net.wires[socket.wire];
                wire.released_at = wire.released_at.min(now);
                socket.unread.clear();
                self.flush((index, place), now, net);
            }
        }
        self.drop_late(index, now, net);
        while self.shards[index].next_readable().is_some() {
            busy = true;
        }
        for to in 0..self.shards.len() {
            let Some(outbox) = self.shards[index].outbox(to as u16) else {
                continue;
            };
            for letter in outbox.drain(..) {
                self.links[to].letters.push_back((index as u16, letter));
                busy = true;
            }
        }
        busy || self.shards[index].has_work()
    }

    fn take_mail(&mut self, index: usize, now: u64) -> bool {
        let link = &mut self.links[index];
        let waits = link.slow_until > now;
        if waits || link.moved.is_empty() && link.letters.is_empty() {
            return false;
        }
        if self.random.chance(self.slow_links) {
            link.slow_until = now + 1 + self.random.below(30);
            return false;
        }
        for (socket, moving) in std::mem::take(&mut link.moved) {
            let encoding = encoding(socket.format);
            let conn = self.shards[index].arrive(time(now), encoding, moving);
            self.sockets[index].push(Socket { conn, ..socket });
        }
        for (from, letter) in std::mem::take(&mut self.links[index].letters) {
            self.shards[index].from_shard(time(now), from, letter);
        }
        true
    }

    fn read(&mut self, index: usize, now: u64, net: &mut Network) -> bool {
        let mut busy = false;
        let mut place = 0;
        while place < self.sockets[index].len() {
            match self.read_from(index, place, now, net) {
                Some(read) => {
                    busy |= read;
                    place += 1;
                }
                None => busy = true,
            }
        }
        busy
    }

    /// Reads once from a socket; `None`: it is not here any more.
    fn read_from(
        &mut self,
        index: usize,
        place: usize,
        now: u64,
        net: &mut Network,
    ) -> Option<bool> {
        let shard = &mut self.shards[index];
        let socket = &mut self.sockets[index][place];
        if socket.closing_until.is_some() || !shard.may_read(socket.conn) {
            return Some(false);
        }
        let mut input = std::mem::take(&mut socket.unread);
        if input.is_empty() {
            match net.wires[socket.wire].up.read(now) {
                Read::Bytes(bytes) => input = bytes,
                Read::Nothing => return Some(false),
                Read::End => {
                    self.drop_socket(index, place, now, net);
                    return None;
                }
            }
            shard.note_received(time(now), socket.conn);
        }
        let rest = take(shard, now, socket, &mut input, &mut self.scratch);
        let rest = input.len() - rest;
        socket.unread = input.split_off(rest);
        let mut moving = None;
        while let Some(moved) = shard.next_moving() {
            assert!(moved.0 == socket.conn, "another connection moves");
            moving = Some(moved);
        }
        let Some((_, to, moving)) = moving else {
            return Some(true);
        };
        let socket = self.sockets[index].remove(place);
        self.links[usize::from(to)].moved.push((socket, moving));
        None
    }

    fn place(&self, index: usize, conn: ConnId) -> Option<usize> {
        self.sockets[index].iter().position(|it| it.conn == conn)
    }

    /// Gives a socket what waits for its connection. Whether it took anything.
    fn flush(&mut self, (index, place): (usize, usize), now: u64, net: &mut Network) -> bool {
        let shard = &mut self.shards[index];
        let socket = &mut self.sockets[index][place];
        let (at, conn) = (time(now), socket.conn);
        let mut took = false;
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = shard.gather(conn, &mut slices);
            let mut bytes = Vec::new();
            slices[..count]
                .iter()
                .for_each(|it| bytes.extend_from_slice(it));
            let taken = match bytes.len() {
                0 => 0,
                _ => net.server_writes(socket.wire, now, &bytes),
            };
            took |= taken > 0;
            match shard.written(at, conn, taken, taken < bytes.len()) {
                Written::Done => break,
                Written::More => {}
                Written::Blocked => {
                    socket.blocked = true;
                    self.check_lane((index, place));
                    return took;
                }
            }
        }
        socket.blocked = false;
        if socket.closing_until.is_some() {
            self.drop_socket(index, place, now, net);
        }
        took
    }

    /// What waits for one connection stays within its bound.
    fn check_lane(&mut self, (index, place): (usize, usize)) {
        let conn = self.sockets[index][place].conn;
        let mut slices = [IoSlice::new(&[]); 512];
        let count = self.shards[index].gather(conn, &mut slices);
        let waiting: usize = slices[..count].iter().map(|it| it.len()).sum();
        // A slice may be a frame of state that was begun, and those are bounded like events.
        let most = 2 * self.settings.event_lane + self.settings.control_lane + BESIDE;
        assert!(
            waiting <= most,
            "{waiting} bytes wait for a connection, and {most} may"
        );
    }

    fn drop_late(&mut self, index: usize, now: u64, net: &mut Network) {
        let late = |it: &Socket| it.closing_until.is_some_and(|until| until <= now);
        while let Some(place) = self.sockets[index].iter().position(late) {
            self.drop_socket(index, place, now, net);
        }
    }

    fn drop_socket(&mut self, index: usize, place: usize, now: u64, net: &mut Network) {
        let socket = self.sockets[index].remove(place);
        socket.receiver.release(&mut self.scratch);
        self.shards[index].closed(time(now), socket.conn);
        net.server_ends(socket.wire, now);
    }

    /// Asks everybody to come back.
    pub(crate) fn announce(&mut self, now: u64, spread_ms: u64) {
        for shard in &mut self.shards {
            shard.announce_reconnect(time(now), spread_ms);
        }
    }

    /// The process is killed.
    pub(crate) fn kill(self, now: u64, net: &mut Network) {
        let moved = self.links.into_iter().flat_map(|link| link.moved);
        let moved = moved.map(|(socket, _)| socket);
        for socket in self.sockets.into_iter().flatten().chain(moved) {
            net.cut_now(socket.wire, now);
            net.server_ends(socket.wire, now);
        }
    }

    /// Milliseconds at which there is something to do.
    pub(crate) fn due(&self, now: u64) -> Option<u64> {
        let wakes = self.shards.iter().filter_map(Shard::next_wake);
        let wakes = wakes.map(|micros| micros.saturating_sub(1_000_000).div_ceil(1_000));
        let links = self.links.iter().map(|link| link.slow_until);
        let sockets = self.sockets.iter().flatten();
        let closing = sockets.filter_map(|it| it.closing_until);
        wakes
            .chain(links)
            .chain(closing)
            .filter(|due| *due > now)
            .min()
    }

    /// Connections, sessions without one, and users.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for shard in &self.shards {
            let (parked, users) = shard.sessions();
            counts = (
                counts.0 + shard.connections(),
                counts.1 + parked,
                counts.2 + users,
            );
        }
        counts
    }

    /// Rooms at home here, and those that connections are in.
    pub(crate) fn rooms(&self) -> (usize, usize) {
        let rooms = self.shards.iter().map(Shard::rooms);
        rooms.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    }

    /// Pieces in lanes, chunks held for them, bytes in logs.
    pub(crate) fn held(&mut self) -> (usize, usize, usize) {
        let mut held = (0, 0, 0);
        for shard in &mut self.shards {
            let stats = shard.stats();
            held = (
                held.0 + stats.lane_pieces,
                held.1 + stats.chunks,
                held.2 + stats.log_bytes,
            );
        }
        held
    }

    /// Every queue that can be seen from here is within its bound.
    pub(crate) fn check_bounds(&mut self) {
        for shard in &mut self.shards {
            let link = shard.link_bytes();
            // A round of a room's fan-out goes over it.
            let most = self.settings.link_window + 512 * 1024;
            assert!(
                link <= most,
                "{link} bytes are on their way to other shards"
            );
            let logs = shard.stats().log_bytes;
            // A log grows by doubling, and is looked at after it has.
            let most = self.log_ceiling + 32 * 1024;
            assert!(
                self.log_ceiling == 0 || logs <= most,
                "logs hold {logs} bytes, and {most} is the most"
            );
        }
    }

    /// A sum over all shards.
    pub(crate) fn count(&mut self, of: impl Fn(&roomcast_core::Stats) -> u64) -> u64 {
        self.shards.iter_mut().map(|shard| of(shard.stats())).sum()
    }
}

fn encoding(format: Format) -> Encoding {
    Encoding {
        format,
        deflate: false,
    }
}

/// Hands the messages in `input` to the core, as many as it has room for. Returns how many bytes are left.
fn take(
    shard: &mut Shard<SimHost, Truth>,
    now: u64,
    socket: &mut Socket,
    input: &mut [u8],
    scratch: &mut Scratch,
) -> usize {
    let at = time(now);
    let mut rest = input;
    loop {
        let event = match socket.receiver.receive(&mut rest, scratch) {
            Ok(None) => return rest.len(),
            Ok(Some(event)) => event,
            Err(error) => panic!("the server can't read what came: {error}"),
        };
        let received = match (event, socket.format) {
            (Event::Text(text), Format::Json) => Received::Message(text.as_bytes()),
            (Event::Binary(bytes), Format::Protobuf) => Received::Message(bytes),
            (Event::Ping(data), _) => Received::Ping(data),
            (Event::Pong(_) | Event::EmptyFragment, _) => Received::NoMessage,
            (Event::Close(frame), _) => {
                let code = frame.map_or(close::code::NO_STATUS, |frame| frame.code);
                shard.closed_by_peer(at, socket.conn, code);
                return 0;
            }
            (other, _) => panic!("the server was sent {other:?}"),
        };
        shard.receive(at, socket.conn, received);
        if !shard.may_read(socket.conn) {
            return rest.len();
        }
    }
}
