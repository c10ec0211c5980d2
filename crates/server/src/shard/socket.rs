//! A connection's socket: bytes read and written, frames taken apart.

use std::io::{ErrorKind, IoSlice, Write};

use mio::net::TcpStream;
use roomcast_core::driver::{Frame, Read};
use roomcast_protocol::{CloseCode, Format};
use roomcast_websocket::{Event, Receiver, Scratch, close};

use super::order::IoStats;
use super::syscall;
use super::tls::Tls;
use crate::limits::ConnectionPermit;

/// A connection's socket and what is specific to it. Idle, it owns no buffer.
pub(crate) struct Socket {
    pub(super) stream: TcpStream,
    /// What encrypts and decrypts, with TLS.
    pub(super) tls: Option<Box<Tls>>,
    pub(super) receiver: Receiver,
    /// Gives this connection's share of the limits back when it is dropped.
    pub(super) _permit: ConnectionPermit,
}

/// A connection on its way to the shard on which its session lives.
pub(crate) type Moved = roomcast_core::driver::Moved<Socket>;

impl Socket {
    /// Reads once.
    pub(super) fn read(&mut self, input: &mut [u8], stats: &mut IoStats) -> Read {
        if let Some(tls) = &mut self.tls {
            return tls.read(&self.stream, input, stats);
        }
        loop {
            stats.reads += 1;
            return match syscall::receive(&self.stream, input) {
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

    /// Writes once. How many bytes the socket took; none if the connection is broken.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>], stats: &mut IoStats) -> Option<usize> {
        if let Some(tls) = &mut self.tls {
            return tls.write(&self.stream, slices, stats);
        }
        loop {
            let result = match slices {
                [single] => syscall::send(&self.stream, single),
                several => self.stream.write_vectored(several),
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

    /// Tells the peer, with TLS, that nothing follows. What the socket does not take is not waited for.
    pub(super) fn end(&mut self, stats: &mut IoStats) {
        if let Some(tls) = &mut self.tls {
            tls.end(&self.stream, stats);
        }
    }

    /// The next frame of the input.
    pub(super) fn next_frame<'e, 'i: 'e>(
        &mut self,
        input: &mut &'i mut [u8],
        scratch: &'e mut Scratch,
    ) -> Option<Frame<'e>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_a_socket_little() {
        assert!(size_of::<Socket>() <= 80, "{}", size_of::<Socket>());
    }
}
