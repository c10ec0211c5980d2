//! The sockets of a shard, by the core's slots.

use mio::net::TcpStream;
use roomcast_core::{ConnId, MovingConnection};
use roomcast_protocol::Format;
use roomcast_websocket::Receiver;

use crate::limits::ConnectionPermit;

/// A connection's socket and what is specific to it. Idle, it owns no buffer.
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) receiver: Receiver,
    /// What was read but not taken: the core had no room for an answer or a publish.
    pub(super) unread: Option<Box<Unread>>,
    pub(super) conn: ConnId,
    pub(super) format: Format,
    /// permessage-deflate was agreed.
    pub(super) deflate: bool,
    pub(super) phase: Phase,
    /// On the list of those to read from.
    pub(super) listed: bool,
    /// Nothing was read from it yet.
    pub(super) unheard: bool,
    /// Nothing is left in the socket until the poll says so again.
    pub(super) drained: bool,
    /// The peer sends no more: what comes is read to its end, as no other edge will tell of it.
    pub(super) read_closed: bool,
    /// Somebody will look whether the message that is arriving takes too long.
    pub(super) watched: bool,
    /// The socket took less than it was given; the poll tells when it takes more.
    pub(super) blocked: bool,
    /// Gives this connection's share of the limits back when it is dropped.
    pub(super) _permit: ConnectionPermit,
}

/// A connection on its way to the shard on which its session lives.
pub(crate) struct Moved {
    pub(super) socket: Socket,
    pub(super) moving: MovingConnection,
}

impl std::fmt::Debug for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moved").finish_non_exhaustive()
    }
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages come and go.
    Open,
    /// Nothing more is taken in; a close frame waits to be written.
    Closing,
    /// Our side of the TCP connection is shut. What the peer still sends is thrown away until it ends too: closing
    /// with bytes unread would reset the connection, and the peer might never see the close frame.
    Lingering,
}

/// Bytes that wait to be taken.
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub(super) bytes: Vec<u8>,
    /// Where the next frame begins.
    pub(super) start: usize,
}

/// The sockets, each at the slot of its connection, and buffers for their unread bytes.
#[derive(Default)]
pub(super) struct Sockets {
    table: Vec<Option<Socket>>,
    count: usize,
    // Boxed, as a socket holds one by a pointer and it goes back as it is.
    #[expect(
        clippy::vec_box,
        reason = "a box is handed out and taken back as it is"
    )]
    spare: Vec<Box<Unread>>,
}

impl Sockets {
    /// Buffers kept for reuse. Each has at most the size of a shard's read buffer, or of a handshake's leftover.
    const SPARE: usize = 64;

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn insert(&mut self, socket: Socket) {
        let slot = socket.conn.slot() as usize;
        if self.table.len() <= slot {
            self.table.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.table.get_mut(slot) {
            self.count += usize::from(place.is_none());
            *place = Some(socket);
        }
    }

    /// The socket of a connection that is still there.
    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Socket> {
        let socket = self.table.get_mut(conn.slot() as usize)?.as_mut()?;
        (socket.conn == conn).then_some(socket)
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Socket> {
        let place = self.table.get_mut(conn.slot() as usize)?;
        let socket = place.take_if(|socket| socket.conn == conn)?;
        self.count -= 1;
        Some(socket)
    }

    /// A buffer that holds `bytes`.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Box<Unread> {
        let mut unread = self.spare.pop().unwrap_or_default();
        unread.bytes.extend_from_slice(bytes);
        unread
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, mut unread: Box<Unread>) {
        if self.spare.len() < Sockets::SPARE {
            unread.bytes.clear();
            unread.start = 0;
            self.spare.push(unread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_a_socket_little() {
        assert!(
            size_of::<Option<Socket>>() <= 104,
            "{}",
            size_of::<Option<Socket>>()
        );
    }
}
