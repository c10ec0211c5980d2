//! Writing to connections, each once a turn.

use std::io::IoSlice;

use super::connections::{Connection, Phase};
use super::{Driver, Outside};
use crate::edge::Written;
use crate::host::Host;
use crate::id::ConnId;
use crate::shard::Shard;
use crate::store::Store;
use crate::time::Now;

/// Pieces handed to the socket in one call.
const SLICES: usize = 64;
/// So many are looked for first: most connections have one piece, and to clear a long array costs 170 instructions a write.
const FEW_SLICES: usize = 8;
/// Writes between two looks at the clock.
const WRITES_A_LOOK: usize = 64;

/// What became of what waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushed {
    /// The socket took all of it.
    Whole,
    /// The socket is full.
    Blocked,
    /// The connection is broken.
    Broken,
}

impl<H: Host, S: Store, K> Driver<H, S, K> {
    /// Writes to each connection that has something to write and room in its socket.
    pub(super) fn write<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O) {
        self.now = outside.now();
        let mut writable = std::mem::take(&mut self.writable);
        for conn in writable.drain(..) {
            self.flush(outside, conn);
        }
        self.writable = writable;
        let mut flushed = 0;
        while let Some(conn) = self.shard.next_dirty(self.now) {
            self.flush(outside, conn);
            flushed += 1;
            // The latency that is measured ends with the write, which in a large room comes late in the turn.
            if flushed % WRITES_A_LOOK == 0 {
                self.now = outside.now();
            }
        }
    }

    /// Gives a socket what waits for it.
    pub(super) fn flush<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else {
            return;
        };
        if connection.blocked || connection.phase == Phase::Lingering {
            return;
        }
        match flush(&mut self.shard, self.now, outside, connection) {
            Flushed::Whole if connection.phase == Phase::Closing => self.linger(outside, conn),
            Flushed::Whole => {}
            Flushed::Blocked => connection.blocked = true,
            Flushed::Broken => self.drop_connection(outside, conn),
        }
    }
}

/// Gives the socket everything that waits for its connection.
// As a call it costs each write 16 instructions more.
#[inline(always)]
fn flush<H: Host, S: Store, K, O: Outside<H, S, Socket = K>>(
    shard: &mut Shard<H, S>,
    now: Now,
    outside: &mut O,
    connection: &mut Connection<K>,
) -> Flushed {
    let conn = connection.conn;
    loop {
        let mut few = [IoSlice::new(&[]); FEW_SLICES];
        let count = shard.gather(conn, &mut few);
        if count == 0 {
            // What waited when the socket was full may have been dropped since; it is full no more.
            shard.written(now, conn, 0, false);
            return Flushed::Whole;
        }
        let written = match few.get(..count) {
            Some(slices) if count < FEW_SLICES => write(outside, connection, slices),
            _ => write_many(shard, outside, connection),
        };
        let Some((given, taken)) = written else {
            return Flushed::Broken;
        };
        if taken == 0 && outside.took_some(&mut connection.socket) {
            shard.note_progress(now, conn);
        }
        match shard.written(now, conn, taken, taken < given) {
            Written::Done => return Flushed::Whole,
            Written::Blocked => return Flushed::Blocked,
            Written::More => {}
        }
    }
}

/// Writes a long list of pieces at once.
#[inline(never)]
fn write_many<H: Host, S: Store, K, O: Outside<H, S, Socket = K>>(
    shard: &mut Shard<H, S>,
    outside: &mut O,
    connection: &mut Connection<K>,
) -> Option<(usize, usize)> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = shard.gather(connection.conn, &mut slices);
    let slices = slices.get(..count).unwrap_or_default();
    write(outside, connection, slices)
}

/// How many bytes there were, and how many the socket took. None if the connection is broken.
fn write<H, E, S, O: Outside<H, E, Socket = S>>(
    outside: &mut O,
    connection: &mut Connection<S>,
    slices: &[IoSlice<'_>],
) -> Option<(usize, usize)> {
    let given = slices.iter().map(|slice| slice.len()).sum();
    let taken = outside.write(&mut connection.socket, slices)?;
    Some((given, taken))
}
