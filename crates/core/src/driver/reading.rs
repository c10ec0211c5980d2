//! Reading from connections: those that spoke before, then, for a while, those that are new.

use roomcast_protocol::mutated;

use super::connections::{Connection, Phase};
use super::{Driver, Frame, Moved, Outside, Read};
use crate::edge::Received;
use crate::host::Host;
use crate::id::ConnId;
use crate::shard::Shard;
use crate::store::Store;
use crate::time::Now;

impl<H: Host, S: Store, K> Driver<H, S, K> {
    /// Puts a connection on the list of those to read from in the next turn.
    pub(super) fn list(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.listed
        {
            connection.listed = true;
            if connection.unheard {
                self.unheard.push_back(conn);
            } else {
                self.next_readable.push(conn);
            }
        }
    }

    /// Reads once from each connection on the list.
    pub(super) fn read_listed<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O) {
        std::mem::swap(&mut self.readable, &mut self.next_readable);
        let mut readable = std::mem::take(&mut self.readable);
        for conn in readable.drain(..) {
            self.read_from(outside, conn);
        }
        self.readable = readable;
    }

    /// Takes connections over from other shards, and reads from those that were not heard yet, for a while.
    pub(super) fn hear_newcomers<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O) {
        if self.unheard.is_empty() && self.mail.moved.is_empty() {
            return;
        }
        let until = self.shard.host().stopwatch() + self.pace.first_reads;
        for heard in 1.. {
            let (moved, unheard) = (self.mail.moved.pop_front(), self.unheard.pop_front());
            if moved.is_none() && unheard.is_none() {
                break;
            }
            if let Some(moved) = moved {
                self.take_over(outside, moved);
            }
            if let Some(conn) = unheard {
                self.read_from(outside, conn);
            }
            if heard % self.pace.first_reads_a_look.max(1) == 0
                && self.shard.host().stopwatch() >= until
            {
                break;
            }
        }
    }

    fn read_from<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O, conn: ConnId) {
        if !self.read(outside, conn) {
            self.drop_connection(outside, conn);
        }
        self.move_away(outside);
    }

    /// Takes those whose session lives on another shard there, with what they sent behind their `hello`.
    fn move_away<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O) {
        while let Some((conn, shard, moving)) = self.shard.next_moving() {
            if let Some(connection) = self.connections.remove(conn) {
                let moved = Moved { connection, moving };
                outside.send_connection(shard, moved);
            }
        }
    }

    /// Takes a connection over from another shard.
    fn take_over<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O, moved: Moved<K>) {
        let Moved { connection, moving } = moved;
        let conn = self.shard.arrive(self.now, connection.encoding, moving);
        self.begin(outside, Connection { conn, ..connection });
    }

    /// Takes what was left unread, or else reads once; false when the connection is gone.
    fn read<O: Outside<H, S, Socket = K>>(&mut self, outside: &mut O, conn: ConnId) -> bool {
        let Some(connection) = self.connections.get_mut(conn) else {
            return true;
        };
        connection.listed = false;
        connection.unheard = false;
        match connection.phase {
            Phase::Open => {}
            // What comes now isn't wanted, and a broken connection is seen when it is written to.
            Phase::Closing => return true,
            Phase::Lingering => {
                let open = fill(outside, connection, &mut self.input) != Read::End;
                if open && !connection.drained {
                    self.list(conn);
                }
                return open;
            }
        }
        if !self.shard.may_read(conn) {
            // The shard lists it when it may be read again.
            return true;
        }
        if let Some(mut unread) = connection.unread.take() {
            let input = unread.bytes.get_mut(unread.start..).unwrap_or_default();
            let left = take(&mut self.shard, self.now, outside, connection, input).len();
            if left > 0 {
                unread.start = unread.bytes.len() - left;
                connection.unread = Some(unread);
                return true;
            }
            self.connections.recycle(unread);
        } else {
            match fill(outside, connection, &mut self.input) {
                Read::End => return false,
                Read::Nothing => {}
                Read::Bytes(count) | Read::Part(count) => {
                    self.shard.note_received(self.now, conn);
                    let input = self.input.get_mut(..count).unwrap_or_default();
                    let rest = take(&mut self.shard, self.now, outside, connection, input);
                    if !rest.is_empty() && !mutated!("unread_rest_is_lost") {
                        let unread = self.connections.keep(rest);
                        if let Some(connection) = self.connections.get_mut(conn) {
                            connection.unread = Some(unread);
                        }
                        return true;
                    }
                }
            }
        }
        let Some(connection) = self.connections.get_mut(conn) else {
            return true;
        };
        self.deadlines.watch(self.now.micros, outside, connection);
        if !connection.drained {
            self.list(conn);
        }
        true
    }
}

/// Reads once, and notes whether the socket is drained.
fn fill<H, S, K, O: Outside<H, S, Socket = K>>(
    outside: &mut O,
    connection: &mut Connection<K>,
    input: &mut [u8],
) -> Read {
    let read = outside.read(&mut connection.socket, input);
    match read {
        // A short read means that the socket is empty, and saves the read that would say so. Not so at the end of the
        // stream: the driver may have been told of it already.
        Read::Bytes(count) => {
            let short = count < input.len();
            connection.drained =
                short && (!connection.read_closed || mutated!("end_behind_bytes_is_missed"));
        }
        Read::Part(_) => connection.drained = false,
        Read::Nothing => connection.drained = true,
        Read::End => {}
    }
    read
}

/// Hands the messages in `input` to the shard, as many as it has room for.
///
/// Returns what is left of the input: nothing, or what comes after the message at which the shard said that it had no
/// room for another.
fn take<'i, H: Host, S: Store, K, O: Outside<H, S, Socket = K>>(
    shard: &mut Shard<H, S>,
    now: Now,
    outside: &mut O,
    connection: &mut Connection<K>,
    input: &'i mut [u8],
) -> &'i mut [u8] {
    let mut rest = input;
    let conn = connection.conn;
    while let Some(frame) = outside.next_frame(&mut connection.socket, &mut rest) {
        let received = match frame {
            Frame::Message(format, message) if format == connection.encoding.format => {
                Received::Message(message)
            }
            Frame::Message(..) => Received::WrongFormat,
            Frame::TooLarge { size } => Received::TooLarge { size },
            Frame::Ping(data) => Received::Ping(data),
            Frame::NoMessage => Received::NoMessage,
            // Answered with the same code (RFC 6455 section 5.5.1).
            Frame::Close(code) => {
                shard.closed_by_peer(now, conn, code);
                break;
            }
            Frame::Invalid(code, reason) => {
                shard.close(now, conn, code, &reason);
                break;
            }
        };
        shard.receive(now, conn, received);
        if !shard.may_read(conn) {
            return rest;
        }
    }
    &mut []
}
