//! A turn of a shard, in its order, without I/O: what a simulation drives is what a server ships.
//!
//! A [`Driver`] owns a shard and its connections. Whoever runs it has the sockets, the way to other shards and the
//! clock, as an [`Outside`]: tells the driver what is ready ([`Driver::readable`], [`Driver::writable`]), takes a turn
//! ([`Driver::turn`]), and sleeps until [`Driver::next_wake`], until a socket is ready, or until there is mail.

mod closing;
mod connections;
mod outside;
mod reading;
mod writing;

use std::collections::VecDeque;

use roomcast_protocol::mutated;

use crate::host::Host;
use crate::id::ConnId;
use crate::shard::{Shard, ShardConfig};
use crate::store::Store;
use crate::time::Now;
use closing::Deadlines;
use connections::{Connection, Connections, Phase};

pub use outside::{Frame, Mail, Moved, Newcomer, Outside, Read};

/// How much one turn reads.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes that are read at once from one connection, and at most in one turn.
    pub read_buffer: usize,
    /// Microseconds that one turn gives to connections that are heard for the first time. Thousands may come back at
    /// one moment, each with a `hello` that resumes a session: those who are there are served meanwhile.
    pub first_reads: u64,
    /// First reads between two looks at the stopwatch.
    pub first_reads_a_look: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            read_buffer: 64 * 1024,
            first_reads: 5_000,
            first_reads_a_look: 8,
        }
    }
}

/// A shard, its connections, and what is to be done for them in which turn.
pub struct Driver<H, S, K> {
    shard: Shard<H, S>,
    connections: Connections<K>,
    pace: Pace,
    now: Now,
    /// Connections to read from in this turn, and in the next.
    readable: Vec<ConnId>,
    next_readable: Vec<ConnId>,
    /// Connections to read from for the first time, the one that waits longest first.
    unheard: VecDeque<ConnId>,
    /// Connections whose sockets take bytes again.
    writable: Vec<ConnId>,
    deadlines: Deadlines,
    mail: Mail<K>,
    input: Box<[u8]>,
}

impl<H: Host, S: Store, K> Driver<H, S, K> {
    /// A driver of a shard without connections.
    pub fn new(config: ShardConfig, pace: Pace, host: H, store: S) -> Driver<H, S, K> {
        let deadlines = Deadlines::new(&config.settings);
        let mail = Mail {
            newcomers: Vec::new(),
            moved: VecDeque::new(),
            letters: (0..config.count).map(|_| Vec::new()).collect(),
        };
        Driver {
            shard: Shard::new(config, host, store),
            connections: Connections::new(),
            pace,
            now: Now::default(),
            readable: Vec::new(),
            next_readable: Vec::new(),
            unheard: VecDeque::new(),
            writable: Vec::new(),
            deadlines,
            mail,
            input: vec![0; pace.read_buffer.max(1)].into(),
        }
    }

    /// The shard.
    pub fn shard(&self) -> &Shard<H, S> {
        &self.shard
    }

    /// The shard, for orders that are no connection's.
    pub fn shard_mut(&mut self) -> &mut Shard<H, S> {
        &mut self.shard
    }

    /// How many connections have a socket.
    pub fn sockets(&self) -> usize {
        self.connections.len()
    }

    /// The socket of a connection that messages come from and go to. None when the connection is being closed.
    pub fn open_socket(&mut self, conn: ConnId) -> Option<&mut K> {
        let connection = self.connections.get_mut(conn)?;
        (connection.phase == Phase::Open).then_some(&mut connection.socket)
    }

    /// There is something to read from a connection. `closed`: its peer's end, or an error, too.
    pub fn readable(&mut self, conn: ConnId, closed: bool) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.drained = false;
            connection.read_closed |= closed;
            self.list(conn);
        }
    }

    /// A connection's socket takes bytes again.
    pub fn writable(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && connection.blocked
        {
            connection.blocked = false;
            self.writable.push(conn);
        }
    }

    /// One turn. True when there is more to do at once.
    pub fn turn<O: Outside<H, S, Socket = K>>(&mut self, now: Now, outside: &mut O) -> bool {
        self.now = now;
        self.take_mail(outside);
        self.read_listed(outside);
        self.hear_newcomers(outside);
        self.shard.run_timers(self.now);
        let more = self.shard.run_rooms(self.now);
        while let Some((question, reply)) = self.shard.next_reply() {
            outside.answer(question, reply);
        }
        while S::WAITS
            && let Some((from, batch)) = self.shard.next_batch()
        {
            outside.batch(from, batch);
        }
        self.write(outside);
        self.end_incomplete(outside);
        self.close(outside);
        self.send_letters(outside);
        while let Some(conn) = self.shard.next_readable() {
            if !mutated!("paused_is_not_read_again") {
                self.list(conn);
            }
        }
        more || self.shard.has_work()
            || !self.next_readable.is_empty()
            || !self.unheard.is_empty()
            || !self.mail.moved.is_empty()
    }

    /// Microseconds at which there is something to do, as far as the clock decides.
    pub fn next_wake(&self) -> Option<u64> {
        let wakes = [self.shard.next_wake(), self.deadlines.next()];
        wakes.into_iter().flatten().min()
    }

    fn take_mail<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O) {
        outside.take_mail(self.now, &mut self.shard, &mut self.mail);
        let mut newcomers = std::mem::take(&mut self.mail.newcomers);
        for newcomer in newcomers.drain(..) {
            self.open(outside, newcomer);
        }
        self.mail.newcomers = newcomers;
        for (from, letters) in (0..).zip(&mut self.mail.letters) {
            for letter in letters.drain(..) {
                self.shard.from_shard(self.now, from, letter);
            }
        }
    }

    fn open<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O, newcomer: Newcomer<K>) {
        let Newcomer {
            socket,
            encoding,
            access,
            leftover,
        } = newcomer;
        let conn = self.shard.open(self.now, encoding, access);
        let unread = (!leftover.is_empty()).then(|| self.connections.keep(&leftover));
        let connection = Connection {
            socket,
            unread,
            conn,
            encoding,
            phase: Phase::Open,
            listed: false,
            unheard: true,
            drained: true,
            read_closed: false,
            watched: false,
            blocked: false,
        };
        self.begin(outside, connection);
    }

    /// A connection is here from now on.
    fn begin<O: Outside<H, S, Socket = K>>(
        &mut self,
        outside: &mut O,
        mut connection: Connection<K>,
    ) {
        let conn = connection.conn;
        if !outside.attach(conn, &mut connection.socket) {
            self.shard.closed(self.now, conn);
            return outside.release(connection.socket);
        }
        let begun = connection.unread.is_some() && !mutated!("leftover_is_not_read");
        let holds = outside.holds_input(&mut connection.socket);
        self.connections.insert(Connection {
            listed: false,
            watched: false,
            // If it isn't, the driver is told.
            drained: !holds,
            ..connection
        });
        if begun || holds {
            self.list(conn);
        }
    }

    /// Hands what this turn made for other shards to them.
    fn send_letters<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O) {
        // First: what they were made of may go back to other shards.
        while S::WAITS
            && let Some(letters) = self.shard.next_for_node(self.now)
        {
            outside.send_to_node(letters);
        }
        for to in 0.. {
            let Some(letters) = self.shard.outbox(to) else {
                return;
            };
            if !letters.is_empty() {
                outside.send_letters(to, letters);
            }
        }
    }

    /// Forgets a connection whose socket is gone, or is to be.
    fn drop_connection<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O, conn: ConnId) {
        let Some(connection) = self.connections.remove(conn) else {
            return;
        };
        if let Some(unread) = connection.unread {
            self.connections.recycle(unread);
        }
        outside.release(connection.socket);
        self.shard.closed(self.now, conn);
    }
}
