//! The end of a connection: its close frame is written, then its socket lingers until the peer has seen it.

use std::collections::VecDeque;
use std::net::Shutdown;

use roomcast_core::ConnId;
use roomcast_core::engine::Engine;

use super::socket::Phase;
use super::turn::Worker;

/// How long a peer may take to end its side after ours has ended.
const LINGER: u64 = 2_000_000;
/// How long a close frame may take to be written where `heartbeat.write_timeout` is off.
const DEFAULT_WRITE_TIMEOUT: u64 = 10_000_000;

/// When closing and lingering connections are given up, in microseconds.
///
/// All of a kind get the same time, so each queue is in the order of its deadlines.
#[derive(Debug)]
pub(super) struct Deadlines {
    write_timeout: u64,
    closing: VecDeque<(u64, ConnId)>,
    lingering: VecDeque<(u64, ConnId)>,
}

impl Deadlines {
    /// `write_timeout` in milliseconds.
    pub(super) fn new(write_timeout: u64) -> Deadlines {
        let write_timeout = match write_timeout {
            0 => DEFAULT_WRITE_TIMEOUT,
            set => set.saturating_mul(1_000),
        };
        Deadlines {
            write_timeout,
            closing: VecDeque::new(),
            lingering: VecDeque::new(),
        }
    }

    /// The earliest one.
    pub(super) fn next(&self) -> Option<u64> {
        [&self.closing, &self.lingering]
            .into_iter()
            .filter_map(|queue| queue.front())
            .map(|first| first.0)
            .min()
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
    /// Goes on with all connections that are being closed.
    pub(super) fn close(&mut self) {
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
