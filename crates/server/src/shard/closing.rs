//! The end of a connection: its close frame is written, then its socket lingers until the peer has seen it. And one
//! cause of it: a message that doesn't end.

use std::collections::VecDeque;
use std::net::Shutdown;

use roomcast_core::ConnId;
use roomcast_core::engine::Engine;
use roomcast_core::settings::Settings;
use roomcast_protocol::CloseCode;

use super::socket::{Phase, Socket};
use super::turn::Worker;

/// How long a peer may take to end its side after ours has ended.
const LINGER: u64 = 2_000_000;
/// How long a close frame may take to be written where `heartbeat.write_timeout` is off.
const DEFAULT_WRITE_TIMEOUT: u64 = 10_000_000;

/// Looks at an incomplete message within its time: it is closed up to a quarter late.
const LOOKS: u64 = 4;

/// When closing and lingering connections are given up, and incomplete messages looked at, in microseconds.
///
/// All of a kind get the same time, so each queue is in the order of its deadlines.
#[derive(Debug)]
pub(super) struct Deadlines {
    write_timeout: u64,
    closing: VecDeque<(u64, ConnId)>,
    lingering: VecDeque<(u64, ConnId)>,
    /// 0: a message may take any time.
    message_timeout: u64,
    /// At most once for each connection.
    incomplete: VecDeque<(u64, ConnId)>,
}

impl Deadlines {
    pub(super) fn new(settings: &Settings) -> Deadlines {
        let write_timeout = match settings.write_timeout {
            0 => DEFAULT_WRITE_TIMEOUT,
            set => set.saturating_mul(1_000),
        };
        Deadlines {
            write_timeout,
            closing: VecDeque::new(),
            lingering: VecDeque::new(),
            message_timeout: settings.message_timeout.saturating_mul(1_000),
            incomplete: VecDeque::new(),
        }
    }

    /// The earliest one.
    pub(super) fn next(&self) -> Option<u64> {
        [&self.closing, &self.lingering, &self.incomplete]
            .into_iter()
            .filter_map(|queue| queue.front())
            .map(|first| first.0)
            .min()
    }

    /// What was read from a connection is taken: where a message has begun, it is looked at again.
    pub(super) fn watch(&mut self, now: u64, socket: &mut Socket) {
        if self.message_timeout > 0
            && socket.receiver.incomplete_since(now).is_some()
            && !std::mem::replace(&mut socket.watched, true)
        {
            let look = now.saturating_add(self.message_timeout / LOOKS);
            self.incomplete.push_back((look, socket.conn));
        }
    }

    /// A connection to look at now.
    fn next_look(&mut self, now: u64) -> Option<ConnId> {
        let first = self.incomplete.front().copied();
        let (_, conn) = first.filter(|(look, _)| *look <= now)?;
        self.incomplete.pop_front();
        Some(conn)
    }

    /// A connection of that phase whose time is over.
    fn over(&mut self, now: u64) -> Option<(ConnId, Phase)> {
        let queues = [
            (&mut self.closing, Phase::Closing),
            (&mut self.lingering, Phase::Lingering),
        ];
        for (queue, phase) in queues {
            if let Some((_, conn)) = queue
                .front()
                .copied()
                .filter(|(deadline, _)| *deadline <= now)
            {
                queue.pop_front();
                return Some((conn, phase));
            }
        }
        None
    }
}

impl<E: Engine> Worker<E> {
    /// Closes connections whose message takes too long.
    fn end_incomplete(&mut self) {
        let now = self.now.micros;
        while let Some(conn) = self.deadlines.next_look(now) {
            let open = self.sockets.get_mut(conn);
            let Some(socket) = open.filter(|socket| socket.phase == Phase::Open) else {
                continue;
            };
            socket.watched = false;
            // Time in which we don't read is not held against it.
            if !self.core.may_read(conn) {
                socket.receiver.restart_incomplete(now);
            }
            let since = socket.receiver.incomplete_since(now);
            let end = since.map(|since| since.saturating_add(self.deadlines.message_timeout));
            if end.is_some_and(|end| end <= now) {
                self.core
                    .close_with(self.now, conn, CloseCode::MessageTimeout);
            } else {
                self.deadlines.watch(now, socket);
            }
        }
    }

    /// Goes on with all connections that are being closed.
    pub(super) fn close(&mut self) {
        self.end_incomplete();
        while let Some(conn) = self.core.next_closing() {
            let Some(socket) = self.sockets.get_mut(conn) else {
                continue;
            };
            if socket.phase != Phase::Open {
                continue;
            }
            socket.phase = Phase::Closing;
            let unread = socket.unread.take();
            if let Some(unread) = unread {
                self.sockets.recycle(unread);
            }
            let deadline = self.now.micros.saturating_add(self.deadlines.write_timeout);
            self.deadlines.closing.push_back((deadline, conn));
            self.flush(conn);
        }
        while let Some((conn, phase)) = self.deadlines.over(self.now.micros) {
            if self
                .sockets
                .get_mut(conn)
                .is_some_and(|socket| socket.phase == phase)
            {
                self.drop_socket(conn);
            }
        }
    }

    /// Ends our side of a connection whose last byte is written.
    pub(super) fn linger(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.get_mut(conn) else {
            return;
        };
        if socket.stream.shutdown(Shutdown::Write).is_err() {
            return self.drop_socket(conn);
        }
        socket.phase = Phase::Lingering;
        let deadline = self.now.micros.saturating_add(LINGER);
        self.deadlines.lingering.push_back((deadline, conn));
        // What came while it was closing was not read, and the poll has told of it already.
        self.list(conn);
    }
}
