//! The connections of a driver, by the shard's slots.

use crate::host::Encoding;
use crate::id::ConnId;
use crate::log::ALLOCATION;

/// A connection's socket, and how far it is. Idle, it owns no buffer.
pub(super) struct Connection<S> {
    pub(super) socket: S,
    /// What was read but not taken: the shard had no room for an answer or a publish.
    pub(super) unread: Option<Box<Unread>>,
    pub(super) conn: ConnId,
    pub(super) encoding: Encoding,
    pub(super) phase: Phase,
    /// On the list of those to read from.
    pub(super) listed: bool,
    /// Nothing was read from it yet.
    pub(super) unheard: bool,
    /// Nothing is left in the socket until the driver is told so.
    pub(super) drained: bool,
    /// The peer sends no more: what comes is read to its end, as nothing else will tell of it.
    pub(super) read_closed: bool,
    /// Somebody will look whether the message that is arriving takes too long.
    pub(super) watched: bool,
    /// The socket took less than it was given; the driver is told when it takes more.
    pub(super) blocked: bool,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages come and go.
    Open,
    /// Nothing more is taken in; a close frame waits to be written.
    Closing,
    /// Our side of the connection is shut. What the peer still sends is thrown away until it ends too: closing
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

impl Unread {
    /// What it takes, in bytes.
    fn cost(&self) -> usize {
        self.bytes.capacity() + size_of::<Unread>() + size_of::<usize>() + 2 * ALLOCATION
    }
}

/// The connections, each at its slot, and buffers for their unread bytes.
pub(super) struct Connections<S> {
    table: Vec<Option<Connection<S>>>,
    count: usize,
    // Boxed, as a connection holds one by a pointer and it goes back as it is.
    #[expect(
        clippy::vec_box,
        reason = "a box is handed out and taken back as it is"
    )]
    spare: Vec<Box<Unread>>,
    /// Bytes that those take.
    spare_bytes: usize,
}

impl<S> Connections<S> {
    /// Bytes of buffers kept for reuse.
    const SPARE: usize = 512 * 1024;

    pub(super) fn new() -> Connections<S> {
        Connections {
            table: Vec::new(),
            count: 0,
            spare: Vec::new(),
            spare_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn insert(&mut self, connection: Connection<S>) {
        let slot = connection.conn.slot() as usize;
        if self.table.len() <= slot {
            self.table.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.table.get_mut(slot) {
            self.count += usize::from(place.is_none());
            *place = Some(connection);
        }
    }

    /// A connection that is still there.
    pub(super) fn get(&self, conn: ConnId) -> Option<&Connection<S>> {
        let connection = self.table.get(conn.slot() as usize)?.as_ref()?;
        (connection.conn == conn).then_some(connection)
    }

    /// A connection that is still there.
    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Connection<S>> {
        let connection = self.table.get_mut(conn.slot() as usize)?.as_mut()?;
        (connection.conn == conn).then_some(connection)
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Connection<S>> {
        let place = self.table.get_mut(conn.slot() as usize)?;
        let connection = place.take_if(|connection| connection.conn == conn)?;
        self.count -= 1;
        Some(connection)
    }

    /// A buffer that holds `bytes`.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Box<Unread> {
        let mut unread = match self.spare.pop() {
            Some(unread) => {
                self.spare_bytes -= unread.cost();
                unread
            }
            None => Box::default(),
        };
        unread.bytes.extend_from_slice(bytes);
        unread
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, mut unread: Box<Unread>) {
        if self.spare_bytes + unread.cost() <= Connections::<S>::SPARE {
            unread.bytes.clear();
            unread.start = 0;
            self.spare_bytes += unread.cost();
            self.spare.push(unread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_little_beside_its_socket() {
        let size = size_of::<Option<Connection<u64>>>() - size_of::<u64>();
        assert!(size <= 32, "{size}");
    }

    #[test]
    fn buffers_kept_for_reuse_take_a_bounded_number_of_bytes() {
        let mut connections = Connections::<u64>::new();
        for size in [10, 1_000, 64 * 1024] {
            let unread: Vec<_> = (0..2_000)
                .map(|_| connections.keep(&vec![b'x'; size]))
                .collect();
            assert_eq!(connections.spare_bytes, 0);
            unread.into_iter().for_each(|it| connections.recycle(it));
            let bytes: usize = connections.spare.iter().map(|it| it.cost()).sum();
            assert_eq!(bytes, connections.spare_bytes);
            assert!(bytes <= Connections::<u64>::SPARE && bytes > 0);
        }
    }
}
