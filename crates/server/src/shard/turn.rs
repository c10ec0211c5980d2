//! The event loop of a shard.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use roomcast_core::engine::Engine;
use roomcast_core::{BatcherLimits, ConnId, Encoding, Now, Shard, ShardConfig, ShardMessage};
use roomcast_websocket::{Deflate, Receiver, ReceiverConfig, Role, Scratch};

use super::host::ShardHost;
use super::read::{self, Filled};
use super::socket::{Moved, Phase, Socket, Sockets};
use super::write::{Flushed, flush};
use super::{IoStats, Node, Order, Report, closing::Deadlines};
use crate::handover::Upgraded;
use crate::mailbox::Mailbox;

/// Token of the waker; no connection has it, as slots are below it.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// Read at once from one connection, and at most so much in one turn.
const READ_BUFFER: usize = 64 * 1024;
/// Connections that one turn hears of; others stay with the poll.
const EVENTS: usize = 4 * 1024;
/// Microseconds that one turn gives to connections that are heard for the first time. Thousands may come back at one
/// moment, each with a `hello` that resumes a session: those who are there are served meanwhile.
const FIRST_READS: u64 = 5_000;
/// First reads between two looks at the clock.
const FIRST_READS_A_LOOK: usize = 8;
/// Microseconds between two looks at what the log left out.
const SUM_UP: u64 = 1_000_000;
/// Writes between two looks at the clock.
const WRITES_A_LOOK: usize = 64;
/// A larger message than `max_message` is read past up to this size.
const MAX_SKIP: usize = 1024 * 1024;

/// A shard's thread.
pub(super) struct Worker<E: Engine> {
    index: u16,
    node: Arc<Node>,
    mailbox: Arc<Mailbox>,
    poll: Poll,
    pub(super) core: Shard<ShardHost, E>,
    pub(super) sockets: Sockets,
    pub(super) now: Now,
    /// Connections to read from in this turn, and in the next.
    readable: Vec<ConnId>,
    next_readable: Vec<ConnId>,
    /// Connections to read from for the first time, the one that waits longest first.
    unheard: VecDeque<ConnId>,
    /// Connections that come from other shards, each with a `hello`.
    moved: VecDeque<Moved>,
    /// Connections whose sockets take bytes again.
    writable: Vec<ConnId>,
    pub(super) deadlines: Deadlines,
    receivers: [ReceiverConfig; 2],
    pub(super) scratch: Scratch,
    pub(super) input: Box<[u8]>,
    pub(super) io: IoStats,
    newcomers: Vec<Upgraded>,
    letters: Vec<ShardMessage>,
    /// Who wants to know when nothing waits for any connection.
    flushed: Vec<mpsc::Sender<()>>,
    ending: Ending,
    /// Microseconds at which the log is told next what was left out of it.
    sum_up_at: u64,
}

/// Whether the shard is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Not,
    /// When the last connection is gone.
    WhenEmpty,
    Now,
}

impl<E: Engine> Worker<E> {
    pub(super) fn new(
        index: u16,
        poll: Poll,
        mailbox: Arc<Mailbox>,
        node: Arc<Node>,
        host: ShardHost,
        engine: E,
    ) -> Self {
        let settings = Arc::clone(&node.settings);
        let config = ShardConfig {
            index,
            count: node.mailboxes.count(),
            settings: Arc::clone(&settings),
            kinds: Arc::clone(&node.kinds),
            batcher: BatcherLimits {
                max_size: node.batcher.max_size,
                max_wait: u64::try_from(node.batcher.max_wait.as_micros()).unwrap_or(u64::MAX),
            },
            hash_key: node.hash_key,
        };
        let core = Shard::new(config, host, engine);
        let receiver = |deflate| ReceiverConfig {
            max_message: settings.max_message,
            max_skip: MAX_SKIP,
            deflate,
        };
        let deflate = Deflate {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        };
        Worker {
            index,
            now: node.clock.now(),
            deadlines: Deadlines::new(&settings),
            node,
            mailbox,
            poll,
            core,
            sockets: Sockets::default(),
            readable: Vec::new(),
            next_readable: Vec::new(),
            unheard: VecDeque::new(),
            moved: VecDeque::new(),
            writable: Vec::new(),
            receivers: [receiver(None), receiver(Some(deflate))],
            scratch: Scratch::new(),
            input: vec![0; READ_BUFFER].into(),
            io: IoStats::default(),
            newcomers: Vec::new(),
            letters: Vec::new(),
            flushed: Vec::new(),
            ending: Ending::Not,
            sum_up_at: 0,
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut more = false;
        loop {
            let timeout = self.timeout(more);
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a shard cannot wait for its connections");
                break;
            }
            self.now = self.node.clock.now();
            let begin = self.now.micros;
            self.note(&events);
            more = self.turn();
            self.io
                .turns
                .record(self.node.clock.micros().saturating_sub(begin));
            let empty = self.sockets.len() == 0;
            if self.ending == Ending::Now || self.ending == Ending::WhenEmpty && empty {
                break;
            }
        }
        self.mailbox.close();
    }

    /// One turn; true when there is more to do at once.
    fn turn(&mut self) -> bool {
        if self.mailbox.has_mail() {
            self.take_mail();
        }
        self.read_ready();
        self.core.run_timers(self.now);
        if self.now.micros >= self.sum_up_at {
            self.sum_up_at = self.now.micros + SUM_UP;
            self.core.host().sum_up();
        }
        let more = self.core.run_rooms(self.now);
        self.write();
        self.close();
        self.send_letters();
        while let Some(conn) = self.core.next_readable() {
            self.list(conn);
        }
        if !self.flushed.is_empty() && self.core.stats().lane_pieces == 0 {
            for flushed in self.flushed.drain(..) {
                // Whoever asked may have stopped waiting.
                let _ = flushed.send(());
            }
        }
        more || self.core.has_work()
            || !self.next_readable.is_empty()
            || !self.unheard.is_empty()
            || !self.moved.is_empty()
    }

    /// How long the poll may sleep: not at all while there is work, until the next timer else.
    fn timeout(&self, more: bool) -> Option<Duration> {
        if more || !self.mailbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let wake = self
            .core
            .next_wake()
            .into_iter()
            .chain(self.deadlines.next())
            .min()?;
        Some(Duration::from_micros(
            wake.saturating_sub(self.node.clock.micros()),
        ))
    }

    /// Notes what the poll says of each connection.
    fn note(&mut self, events: &Events) {
        for event in events {
            let Token(token) = event.token();
            if event.token() == WAKER {
                continue;
            }
            let conn = ConnId::from_u64(token as u64);
            let Some(socket) = self.sockets.get_mut(conn) else {
                continue;
            };
            if event.is_writable() && socket.blocked {
                socket.blocked = false;
                self.writable.push(conn);
            }
            if event.is_readable() || event.is_error() {
                socket.drained = false;
                socket.read_closed |= event.is_read_closed() || event.is_error();
                self.list(conn);
            }
        }
    }

    /// Puts a connection on the list of those to read from in the next turn.
    pub(super) fn list(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.get_mut(conn)
            && !socket.listed
        {
            socket.listed = true;
            if socket.unheard {
                self.unheard.push_back(conn);
            } else {
                self.next_readable.push(conn);
            }
        }
    }

    fn take_mail(&mut self) {
        for order in self.mailbox.take_orders() {
            self.follow(order);
        }
        let mut newcomers = std::mem::take(&mut self.newcomers);
        self.mailbox.take_newcomers(&mut newcomers);
        for upgraded in newcomers.drain(..) {
            if let Err(error) = self.open(upgraded) {
                tracing::debug!(%error, "a newcomer's socket cannot be polled");
                self.mailbox.connection_gone();
            }
        }
        self.newcomers = newcomers;
        self.moved.extend(self.mailbox.take_moved());
        let mut letters = std::mem::take(&mut self.letters);
        for from in 0..self.node.mailboxes.count() {
            self.mailbox.take_letters(from, &mut letters);
            for letter in letters.drain(..) {
                self.core.from_shard(self.now, from, letter);
            }
        }
        self.letters = letters;
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Report(to) => {
                let report = Report {
                    shard: self.index,
                    core: self.core.stats().clone(),
                    io: self.io.clone(),
                    compression: self.core.host().compression,
                    connections: self.core.connections(),
                    link_bytes: self.core.link_bytes(),
                    rooms: self.core.rooms(),
                };
                // Whoever asked may have stopped waiting.
                let _ = to.send(report);
            }
            Order::AskToReconnect { spread_ms, flushed } => {
                self.core.announce_reconnect(self.now, spread_ms);
                self.flushed.push(flushed);
            }
            Order::Close(code) => {
                self.mailbox.close();
                self.core.close_all(self.now, code);
                self.ending = Ending::WhenEmpty;
            }
            Order::Stop => self.ending = Ending::Now,
        }
    }

    fn open(&mut self, upgraded: Upgraded) -> io::Result<()> {
        let Upgraded {
            stream,
            format,
            deflate,
            access,
            leftover,
            permit,
        } = upgraded;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let conn = self
            .core
            .open(self.now, Encoding { format, deflate }, access);
        let token = Token(conn.to_u64() as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, token, interest) {
            self.core.closed(self.now, conn);
            return Err(error);
        }
        let begun = !leftover.is_empty();
        let unread = begun.then(|| self.sockets.keep(&leftover));
        self.sockets.insert(Socket {
            stream,
            receiver: Receiver::new(Role::Server, &self.receivers[usize::from(deflate)]),
            unread,
            conn,
            format,
            deflate,
            phase: Phase::Open,
            listed: false,
            unheard: true,
            // If it isn't, its registration has told the poll.
            drained: true,
            read_closed: false,
            watched: false,
            blocked: false,
            _permit: permit,
        });
        self.io.opened += 1;
        if begun {
            self.list(conn);
        }
        Ok(())
    }

    /// Reads once from each connection on the list.
    fn read_ready(&mut self) {
        std::mem::swap(&mut self.readable, &mut self.next_readable);
        let mut readable = std::mem::take(&mut self.readable);
        for conn in readable.drain(..) {
            self.read_from(conn);
        }
        self.readable = readable;
        self.hear_newcomers();
    }

    /// Takes connections over from other shards, and reads from those that were not heard yet, for a while.
    fn hear_newcomers(&mut self) {
        if self.unheard.is_empty() && self.moved.is_empty() {
            return;
        }
        let until = self.node.clock.micros() + FIRST_READS;
        for heard in 1.. {
            let (moved, unheard) = (self.moved.pop_front(), self.unheard.pop_front());
            if moved.is_none() && unheard.is_none() {
                break;
            }
            if let Some(moved) = moved {
                self.take_over(moved);
            }
            if let Some(conn) = unheard {
                self.read_from(conn);
            }
            if heard % FIRST_READS_A_LOOK == 0 && self.node.clock.micros() >= until {
                break;
            }
        }
    }

    fn read_from(&mut self, conn: ConnId) {
        if !self.read(conn) {
            self.drop_socket(conn);
        }
        self.move_away();
    }

    /// Takes those whose session lives on another shard there, with what they sent behind their `hello`.
    fn move_away(&mut self) {
        while let Some((conn, shard, moving)) = self.core.next_moving() {
            let Some(mut socket) = self.sockets.remove(conn) else {
                continue;
            };
            self.mailbox.connection_gone();
            // One that can't be taken out of this poll is closed, here.
            if self.poll.registry().deregister(&mut socket.stream).is_err() {
                continue;
            }
            if let Some(mailbox) = self.node.mailboxes.get(shard) {
                mailbox.arrive(Moved { socket, moving });
            }
        }
    }

    /// Takes a connection over from another shard.
    fn take_over(&mut self, moved: Moved) {
        let Moved { mut socket, moving } = moved;
        let encoding = Encoding {
            format: socket.format,
            deflate: socket.deflate,
        };
        let conn = self.core.arrive(self.now, encoding, moving);
        let token = Token(conn.to_u64() as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut socket.stream, token, interest) {
            tracing::debug!(%error, "a connection's socket cannot be polled");
            self.core.closed(self.now, conn);
            return self.mailbox.connection_gone();
        }
        let begun = socket.unread.is_some();
        self.sockets.insert(Socket {
            conn,
            listed: false,
            watched: false,
            // If it isn't, its registration has told the poll.
            drained: true,
            ..socket
        });
        if begun {
            self.list(conn);
        }
    }

    /// Takes what was left unread, or else reads once; false when the connection is gone.
    fn read(&mut self, conn: ConnId) -> bool {
        let Some(socket) = self.sockets.get_mut(conn) else {
            return true;
        };
        socket.listed = false;
        socket.unheard = false;
        match socket.phase {
            Phase::Open => {}
            // What comes now isn't wanted, and a broken connection is seen when it is written to.
            Phase::Closing => return true,
            Phase::Lingering => {
                let open = read::fill(socket, &mut self.input, &mut self.io) != Filled::End;
                if open && !socket.drained {
                    self.list(conn);
                }
                return open;
            }
        }
        if !self.core.may_read(conn) {
            // The core lists it when it may be read again.
            return true;
        }
        if let Some(mut unread) = socket.unread.take() {
            let input = unread.bytes.get_mut(unread.start..).unwrap_or_default();
            let left = read::take(&mut self.core, self.now, socket, input, &mut self.scratch).len();
            if left > 0 {
                unread.start = unread.bytes.len() - left;
                socket.unread = Some(unread);
                return true;
            }
            self.sockets.recycle(unread);
        } else {
            match read::fill(socket, &mut self.input, &mut self.io) {
                Filled::End => return false,
                Filled::Nothing => {}
                Filled::Bytes(count) => {
                    self.core.note_received(self.now, conn);
                    let input = self.input.get_mut(..count).unwrap_or_default();
                    let rest =
                        read::take(&mut self.core, self.now, socket, input, &mut self.scratch);
                    if !rest.is_empty() {
                        let unread = self.sockets.keep(rest);
                        if let Some(socket) = self.sockets.get_mut(conn) {
                            socket.unread = Some(unread);
                        }
                        return true;
                    }
                }
            }
        }
        let Some(socket) = self.sockets.get_mut(conn) else {
            return true;
        };
        self.deadlines.watch(self.now.micros, socket);
        if !socket.drained {
            self.list(conn);
        }
        true
    }

    /// Writes to each connection that has something to write and room in its socket.
    fn write(&mut self) {
        self.now = self.node.clock.now();
        let mut writable = std::mem::take(&mut self.writable);
        for conn in writable.drain(..) {
            self.flush(conn);
        }
        self.writable = writable;
        let mut flushed = 0;
        while let Some(conn) = self.core.next_dirty(self.now) {
            self.flush(conn);
            flushed += 1;
            // The latency that is measured ends with the write, which in a large room comes late in the turn.
            if flushed % WRITES_A_LOOK == 0 {
                self.now = self.node.clock.now();
            }
        }
    }

    /// Gives a socket what waits for it.
    pub(super) fn flush(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.get_mut(conn) else {
            return;
        };
        if socket.blocked || socket.phase == Phase::Lingering {
            return;
        }
        match flush(
            &mut self.core,
            self.now,
            conn,
            &mut socket.stream,
            &mut self.io,
        ) {
            Flushed::Whole if socket.phase == Phase::Closing => self.linger(conn),
            Flushed::Whole => {}
            Flushed::Blocked => socket.blocked = true,
            Flushed::Broken => self.drop_socket(conn),
        }
    }

    /// Hands what this turn made for other shards to them: one push each.
    fn send_letters(&mut self) {
        for shard in 0..self.node.mailboxes.count() {
            let Some(outbox) = self.core.outbox(shard) else {
                continue;
            };
            if !outbox.is_empty()
                && let Some(mailbox) = self.node.mailboxes.get(shard)
            {
                mailbox.send(self.index, outbox);
            }
        }
    }

    /// Forgets a connection whose socket is gone, or is to be.
    pub(super) fn drop_socket(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.remove(conn) else {
            return;
        };
        // Closing the socket, here, takes it out of the poll.
        let Socket {
            receiver, unread, ..
        } = socket;
        receiver.release(&mut self.scratch);
        if let Some(unread) = unread {
            self.sockets.recycle(unread);
        }
        self.core.closed(self.now, conn);
        self.mailbox.connection_gone();
    }
}
