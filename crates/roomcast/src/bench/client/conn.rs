//! One connection of the load generator: its socket, how far it has got, and what is left over of reads and writes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

/// How far a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The socket is connecting.
    Connecting,
    /// The upgrade was asked for.
    Upgrading,
    /// The WebSocket is open; so many rooms have not answered yet.
    Joining(u32),
    /// In all its rooms.
    Ready,
    /// In all its rooms, and reading nothing more.
    Stalled,
    /// Over.
    Closed,
}

/// A connection.
pub(crate) struct Conn {
    /// The socket; `None` once it is closed.
    pub(crate) stream: Option<TcpStream>,
    /// How far it has got.
    pub(crate) phase: Phase,
    /// Where in a message the last stamp was.
    pub(crate) place: u16,
    /// The beginning of a frame whose end has not come.
    pub(crate) partial: Vec<u8>,
    /// What the socket has not taken yet.
    pub(crate) out: Vec<u8>,
}

impl Conn {
    /// Begins to connect, without waiting. A small receive buffer is for connections that will stall.
    pub(crate) fn connect(
        from: Option<SocketAddr>,
        to: SocketAddr,
        small_buffer: bool,
    ) -> io::Result<Conn> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if small_buffer {
            socket.set_recv_buffer_size(4096)?;
        }
        if let Some(from) = from {
            // The connection that had the port before may be over for less than a minute.
            socket.set_reuse_address(from.port() != 0)?;
            socket.bind(&from.into())?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        Ok(Conn {
            stream: Some(socket.into()),
            phase: Phase::Connecting,
            place: 0,
            partial: Vec::new(),
            out: Vec::new(),
        })
    }

    /// What was kept in `partial`, followed by what the socket has now; `None`: nothing came. The reader keeps in `partial`
    /// what it does not take.
    pub(crate) fn read<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        let Some(stream) = &self.stream else {
            return Ok(None);
        };
        let kept = self.partial.len();
        let Some(space) = buffer.get_mut(kept..).filter(|space| !space.is_empty()) else {
            return Err(io::Error::other("the server sent a frame of over 256 KiB"));
        };
        let mut stream: &TcpStream = stream;
        let read = match stream.read(space) {
            Ok(0) => return Err(io::Error::other("the server closed the connection")),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        buffer[..kept].copy_from_slice(&self.partial);
        self.partial.clear();
        Ok(Some(&buffer[..kept + read]))
    }

    /// What follows the handshake's answer, which has to be the one to our key. `None`: it is not whole, and is kept.
    pub(crate) fn upgraded<'a>(
        &mut self,
        input: &'a [u8],
        accept: &str,
    ) -> io::Result<Option<&'a [u8]>> {
        let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
            self.partial.extend_from_slice(input);
            return Ok(None);
        };
        let (head, rest) = input.split_at(end + 4);
        if !head.starts_with(b"HTTP/1.1 101 ") {
            let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
            return Err(io::Error::other(String::from_utf8_lossy(line).into_owned()));
        }
        if memchr::memmem::find(head, accept.as_bytes()).is_none() {
            let why = "the server didn't answer Sec-WebSocket-Key";
            return Err(io::Error::other(why));
        }
        Ok(Some(rest))
    }

    /// Writes `bytes`, or keeps what the socket doesn't take. Returns whether all that there was is written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if !self.out.is_empty() {
            self.out.extend_from_slice(bytes);
            return Ok(false);
        }
        let written = self.try_write(bytes)?;
        self.out.extend_from_slice(&bytes[written..]);
        Ok(self.out.is_empty())
    }

    /// Writes what an earlier write left. Returns whether nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        let out = std::mem::take(&mut self.out);
        let written = self.try_write(&out)?;
        self.out.extend_from_slice(&out[written..]);
        Ok(self.out.is_empty())
    }

    /// Closes the socket at once and leaves no port waiting, which would be missing in the next run.
    pub(crate) fn reset(&mut self) {
        self.phase = Phase::Closed;
        if let Some(stream) = self.stream.take() {
            // A socket that can't be told so is closed in the usual way.
            let _ = Socket::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
        self.partial = Vec::new();
        self.out = Vec::new();
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let Some(stream) = &self.stream else {
            return Ok(bytes.len());
        };
        let mut stream: &TcpStream = stream;
        match stream.write(bytes) {
            Ok(written) => Ok(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

const EINPROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
