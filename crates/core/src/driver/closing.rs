//! The end of a connection: its close frame is written, then its socket lingers until the peer has seen it. And one
//! cause of it: a message that doesn't end.

use std::collections::VecDeque;

use roomcast_protocol::CloseCode;

use super::connections::{Connection, Phase};
use super::{Driver, Outside};
use crate::host::Host;
use crate::id::ConnId;
use crate::settings::Settings;
use crate::store::Store;
use crate::time::micros;

/// How long a peer may take to end its side after ours has ended, in microseconds.
const LINGER: u64 = 2_000_000;
/// How long a close frame may take to be written where `write_timeout` is off, in microseconds.
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
            set => micros(set),
        };
        Deadlines {
            write_timeout,
            closing: VecDeque::new(),
            lingering: VecDeque::new(),
            message_timeout: micros(settings.message_timeout),
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
    pub(super) fn watch<H, S, K, O: Outside<H, S, Socket = K>>(
        &mut self,
        now: u64,
        outside: &mut O,
        connection: &mut Connection<K>,
    ) {
        if self.message_timeout > 0
            && outside
                .incomplete_since(&mut connection.socket, now)
                .is_some()
            && !std::mem::replace(&mut connection.watched, true)
        {
            let look = now.saturating_add(self.message_timeout / LOOKS);
            self.incomplete.push_back((look, connection.conn));
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

impl<H: Host, S: Store, K> Driver<H, S, K> {
    /// Closes connections whose message takes too long.
    pub(super) fn end_incomplete<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O) {
        let now = self.now.micros;
        while let Some(conn) = self.deadlines.next_look(now) {
            let open = self.connections.get_mut(conn);
            let Some(connection) = open.filter(|connection| connection.phase == Phase::Open) else {
                continue;
            };
            connection.watched = false;
            // Time in which we don't read is not held against it.
            if !self.shard.may_read(conn) {
                outside.restart_incomplete(&mut connection.socket, now);
            }
            let since = outside.incomplete_since(&mut connection.socket, now);
            let end = since.map(|since| since.saturating_add(self.deadlines.message_timeout));
            if end.is_some_and(|end| end <= now) {
                self.shard
                    .close_with(self.now, conn, CloseCode::MessageTimeout);
            } else {
                self.deadlines.watch(now, outside, connection);
            }
        }
    }

    /// Goes on with all connections that are being closed.
    pub(super) fn close<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O) {
        while let Some(conn) = self.shard.next_closing() {
            let Some(connection) = self.connections.get_mut(conn) else {
                continue;
            };
            if connection.phase != Phase::Open {
                continue;
            }
            connection.phase = Phase::Closing;
            let unread = connection.unread.take();
            if let Some(unread) = unread {
                self.connections.recycle(unread);
            }
            let deadline = self.now.micros.saturating_add(self.deadlines.write_timeout);
            self.deadlines.closing.push_back((deadline, conn));
            self.flush(outside, conn);
        }
        while let Some((conn, phase)) = self.deadlines.over(self.now.micros) {
            if self
                .connections
                .get(conn)
                .is_some_and(|connection| connection.phase == phase)
            {
                self.drop_connection(outside, conn);
            }
        }
    }

    /// Ends our side of a connection whose last byte is written.
    pub(super) fn linger<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else {
            return;
        };
        if !outside.shut_down(&mut connection.socket) {
            return self.drop_connection(outside, conn);
        }
        connection.phase = Phase::Lingering;
        let deadline = self.now.micros.saturating_add(LINGER);
        self.deadlines.lingering.push_back((deadline, conn));
        // What came while it was closing was not read, and the driver was told of it already.
        self.list(conn);
    }
}
