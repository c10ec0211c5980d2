//! Reading from a connection, and handing its messages to the core.

use std::io::ErrorKind;

use roomcast_core::engine::Engine;
use roomcast_core::{ConnId, Host, Now, Received, Shard};
use roomcast_protocol::{CloseCode, Format};
use roomcast_websocket::{Event, Receiver, Scratch, close};

use super::IoStats;
use super::socket::Socket;
use super::syscall;

/// What a socket had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// So many bytes, and perhaps more.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The peer has ended its side, or the connection is broken.
    End,
}

/// Reads once, and notes whether the socket is drained.
pub(super) fn fill(socket: &mut Socket, input: &mut [u8], stats: &mut IoStats) -> Filled {
    stats.reads += 1;
    match syscall::receive(&socket.stream, input) {
        Ok(0) => Filled::End,
        Ok(read) => {
            // A short read means that the socket is empty, and saves the read that would say so. Not so at the end
            // of the stream: its edge may have been this one.
            socket.drained = read < input.len() && !socket.read_closed;
            stats.bytes_read += read as u64;
            Filled::Bytes(read)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            socket.drained = true;
            Filled::Nothing
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => Filled::Nothing,
        Err(_) => Filled::End,
    }
}

/// Hands the messages in `input` to the core, as many as it has room for.
///
/// Returns what is left of the input: nothing, or what comes after the message at which the core said that it had no
/// room for another.
pub(super) fn take<'i, H: Host, E: Engine>(
    core: &mut Shard<H, E>,
    now: Now,
    socket: &mut Socket,
    input: &'i mut [u8],
    scratch: &mut Scratch,
) -> &'i mut [u8] {
    let mut rest = input;
    let (conn, format) = (socket.conn, socket.format);
    while next(
        core,
        now,
        conn,
        format,
        &mut socket.receiver,
        &mut rest,
        scratch,
    ) {
        if !core.may_read(conn) {
            return rest;
        }
    }
    &mut []
}

/// Handles the next event of the input; false when there is none, or nothing more is to be read.
fn next<H: Host, E: Engine>(
    core: &mut Shard<H, E>,
    now: Now,
    conn: ConnId,
    format: Format,
    receiver: &mut Receiver,
    input: &mut &mut [u8],
    scratch: &mut Scratch,
) -> bool {
    let received = match receiver.receive(input, scratch) {
        Ok(None) => return false,
        Ok(Some(event)) => event,
        Err(error) => {
            // Like all reasons, it begins with the code's name.
            let name = CloseCode::from_code(error.close_code()).map_or("", CloseCode::as_str);
            let reason = format!("{name}: {}", error.reason());
            core.close(now, conn, error.close_code(), &reason);
            return false;
        }
    };
    let received = match (received, format) {
        (Event::Text(text), Format::Json) => Received::Message(text.as_bytes()),
        (Event::Binary(bytes), Format::Protobuf) => Received::Message(bytes),
        (Event::Text(_), Format::Protobuf) | (Event::Binary(_), Format::Json) => {
            Received::WrongFormat
        }
        (Event::TooLarge { size }, _) => Received::TooLarge { size },
        (Event::Ping(data), _) => Received::Ping(data),
        (Event::Pong(_) | Event::EmptyFragment, _) => Received::NoMessage,
        (Event::Close(frame), _) => {
            // Answered with the same code (RFC 6455 section 5.5.1).
            let code = frame.map_or(close::code::NO_STATUS, |frame| frame.code);
            core.closed_by_peer(now, conn, code);
            return false;
        }
    };
    core.receive(now, conn, received);
    true
}
