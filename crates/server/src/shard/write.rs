//! Writing what waits for a connection.

use std::io::{ErrorKind, IoSlice, Write};

use mio::net::TcpStream;
use roomcast_core::engine::Engine;
use roomcast_core::{ConnId, Host, Now, Shard, Written};

use super::{IoStats, syscall};

/// Pieces handed to the socket in one call.
const SLICES: usize = 64;

/// What became of what waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// The socket took all of it.
    Whole,
    /// The socket is full.
    Blocked,
    /// The connection is broken.
    Broken,
}

/// Gives the socket everything that waits for its connection.
pub(super) fn flush<H: Host, E: Engine>(
    core: &mut Shard<H, E>,
    now: Now,
    conn: ConnId,
    stream: &mut TcpStream,
    stats: &mut IoStats,
) -> Flushed {
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = core.gather(conn, &mut slices);
        let slices = &slices[..count.min(SLICES)];
        let given: usize = slices.iter().map(|slice| slice.len()).sum();
        let result = match slices {
            [] => {
                // What waited when the socket was full may have been dropped since; it is full no more.
                core.written(now, conn, 0, false);
                return Flushed::Whole;
            }
            [single] => syscall::send(stream, single),
            several => stream.write_vectored(several),
        };
        stats.writes += 1;
        let taken = match result {
            Ok(0) => return Flushed::Broken,
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Flushed::Broken,
        };
        stats.bytes_written += taken as u64;
        // A short write is the edge: the poll tells when there is room again.
        match core.written(now, conn, taken, taken < given) {
            Written::Done => return Flushed::Whole,
            Written::Blocked => return Flushed::Blocked,
            Written::More => {}
        }
    }
}
