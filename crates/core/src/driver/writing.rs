//! Writing to connections, each once a turn.

use std::io::IoSlice;

use super::connections::{Connection, Phase};
use super::{Driver, Outside};
use crate::edge::Written;
use crate::engine::Engine;
use crate::host::Host;
use crate::id::ConnId;
use crate::shard::Shard;
use crate::time::Now;

/// Pieces handed to the socket in one call.
const SLICES: usize = 64;
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

impl<H: Host, E: Engine, S> Driver<H, E, S> {
    /// Writes to each connection that has something to write and room in its socket.
    pub(super) fn write<O: Outside<H, E, Socket = S>>(&mut self, outside: &mut O) {
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
    pub(super) fn flush<O: Outside<H, E, Socket = S>>(&mut self, outside: &mut O, conn: ConnId) {
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
fn flush<H: Host, E: Engine, S, O: Outside<H, E, Socket = S>>(
    shard: &mut Shard<H, E>,
    now: Now,
    outside: &mut O,
    connection: &mut Connection<S>,
) -> Flushed {
    let conn = connection.conn;
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = shard.gather(conn, &mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        if slices.is_empty() {
            // What waited when the socket was full may have been dropped since; it is full no more.
            shard.written(now, conn, 0, false);
            return Flushed::Whole;
        }
        let given: usize = slices.iter().map(|slice| slice.len()).sum();
        let Some(taken) = outside.write(&mut connection.socket, slices) else {
            return Flushed::Broken;
        };
        match shard.written(now, conn, taken, taken < given) {
            Written::Done => return Flushed::Whole,
            Written::Blocked => return Flushed::Blocked,
            Written::More => {}
        }
    }
}
