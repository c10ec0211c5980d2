//! A connection's socket: bytes read and written, frames taken apart.

use std::io::{ErrorKind, IoSlice, Write};

use mio::net::TcpStream;
use roomcast_core::driver::{Frame, Read};
use roomcast_protocol::{CloseCode, Format};
use roomcast_websocket::{Event, Receiver, Scratch, close};

use super::event_stream::EventStream;
use super::order::IoStats;
use super::syscall;
use super::tls::Tls;
use crate::limits::ConnectionPermit;

/// A connection's socket and what is specific to it. Idle, it owns no buffer.
pub(crate) struct Socket {
    pub(super) stream: TcpStream,
    /// What else lies between it and the frames.
    pub(super) over: Option<Box<Over>>,
    pub(super) receiver: Receiver,
    /// Gives this connection's share of the limits back when it is dropped.
    pub(super) _permit: ConnectionPermit,
}

/// What lies between a socket and the frames of a connection that is no plain WebSocket.
pub(super) enum Over {
    /// TLS, which encrypts and decrypts.
    Tls(Tls),
    /// Events in place of frames, perhaps over TLS.
    Events(EventStream),
}

impl Over {
    /// Its TLS, where it has some.
    fn tls(&mut self) -> Option<&mut Tls> {
        match self {
            Over::Tls(tls) => Some(tls),
            Over::Events(events) => events.tls.as_mut(),
        }
    }

    /// Whether something is to be read of which the socket tells nothing.
    pub(super) fn holds_input(&mut self) -> bool {
        match self {
            Over::Tls(tls) => tls.holds_input(),
            Over::Events(events) => events.holds_input(),
        }
    }
}

/// A connection on its way to the shard on which its session lives.
pub(crate) type Moved = roomcast_core::driver::Moved<Socket>;

impl Socket {
    /// Reads once.
    pub(super) fn read(&mut self, input: &mut [u8], stats: &mut IoStats) -> Read {
        match self.over.as_deref_mut() {
            None => read_plain(&self.stream, input, stats),
            Some(Over::Tls(tls)) => tls.read(&self.stream, input, stats),
            Some(Over::Events(events)) => events.read(&self.stream, input, stats),
        }
    }

    /// Writes once. How many bytes the socket took; none if the connection is broken.
    /// `events` is for what is made of the frames before.
    pub(super) fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        events: &mut Vec<u8>,
        stats: &mut IoStats,
    ) -> Option<usize> {
        match self.over.as_deref_mut() {
            None => write_plain(&mut self.stream, slices, stats),
            Some(Over::Tls(tls)) => tls.write(&self.stream, slices, stats),
            Some(Over::Events(it)) => it.write(&mut self.stream, slices, events, stats),
        }
    }

    /// When what has begun to arrive and isn't whole began: a message, or the TLS record that has one.
    pub(super) fn incomplete_since(&mut self, now: u64) -> Option<u64> {
        let message = self.receiver.incomplete_since(now);
        let tls = self.over.as_deref_mut().and_then(Over::tls);
        let record = tls.and_then(|tls| tls.incomplete_since(now));
        [message, record].into_iter().flatten().min()
    }

    pub(super) fn restart_incomplete(&mut self, now: u64) {
        self.receiver.restart_incomplete(now);
        if let Some(tls) = self.over.as_deref_mut().and_then(Over::tls) {
            tls.restart_incomplete(now);
        }
    }

    /// Tells the peer, with TLS, that nothing follows. What the socket does not take is not waited for.
    pub(super) fn end(&mut self, stats: &mut IoStats) {
        match self.over.as_deref_mut() {
            None => {}
            Some(Over::Tls(tls)) => tls.end(&self.stream, stats),
            Some(Over::Events(events)) => events.end(&self.stream, stats),
        }
    }

    /// The stream of events that it is.
    pub(super) fn events(&mut self) -> Option<&mut EventStream> {
        match self.over.as_deref_mut() {
            Some(Over::Events(events)) => Some(events),
            _ => None,
        }
    }

    /// The next frame of the input.
    pub(super) fn next_frame<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i mut [u8],
        scratch: &'e mut Scratch,
        max_message: usize,
    ) -> Option<Frame<'e>> {
        if let Some(Over::Events(events)) = self.over.as_deref_mut() {
            *input = &mut [];
            return events.next_frame(max_message);
        }
        let event = match self.receiver.receive(input, scratch) {
            Ok(event) => event?,
            Err(error) => {
                // Like all reasons, it begins with the code's name.
                let name = CloseCode::from_code(error.close_code()).map_or("", CloseCode::as_str);
                let reason = format!("{name}: {}", error.reason());
                return Some(Frame::Invalid(error.close_code(), reason));
            }
        };
        Some(match event {
            Event::Text(text) => Frame::Message(Format::Json, text.as_bytes()),
            Event::Binary(bytes) => Frame::Message(Format::Protobuf, bytes),
            Event::TooLarge { size } => Frame::TooLarge { size },
            Event::Ping(data) => Frame::Ping(data),
            Event::Pong(_) | Event::EmptyFragment => Frame::NoMessage,
            Event::Close(frame) => {
                Frame::Close(frame.map_or(close::code::NO_STATUS, |frame| frame.code))
            }
        })
    }
}

/// Reads once from a socket without TLS.
#[inline]
pub(super) fn read_plain(stream: &TcpStream, input: &mut [u8], stats: &mut IoStats) -> Read {
    loop {
        stats.reads += 1;
        return match syscall::receive(stream, input) {
            Ok(0) => Read::End,
            Ok(read) => {
                stats.bytes_read += read as u64;
                Read::Bytes(read)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Read::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => Read::End,
        };
    }
}

/// Writes once to a socket without TLS.
#[inline]
pub(super) fn write_plain(
    stream: &mut TcpStream,
    slices: &[IoSlice<'_>],
    stats: &mut IoStats,
) -> Option<usize> {
    loop {
        let result = match slices {
            [single] => syscall::send(stream, single),
            several => stream.write_vectored(several),
        };
        stats.writes += 1;
        return match result {
            Ok(0) => None,
            Ok(taken) => {
                stats.bytes_written += taken as u64;
                Some(taken)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_a_socket_little() {
        assert!(size_of::<Socket>() <= 80, "{}", size_of::<Socket>());
    }
}
