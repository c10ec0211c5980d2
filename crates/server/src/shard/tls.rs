//! TLS on a shard's socket, without an async layer: what was read is decrypted, what is written is encrypted first.
//!
//! Idle, a connection has its keys and rustls's buffers, which are small then (`roomcast bench idle --tls`).

use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};

use mio::net::TcpStream;
use roomcast_core::driver::Read;
use tokio_rustls::rustls::ServerConnection;

use super::order::IoStats;
use super::syscall;
use crate::tls::{Records, Secured};

/// Bytes that are encrypted at most before the socket has taken what was encrypted before: one record's. So a peer that
/// does not read costs that much beside its lanes.
const RECORD: usize = 16 * 1024;
/// Bytes that are read from the socket at most in one call: a peer may send records that have next to nothing in them, and
/// each costs as much as a full one.
const READ: usize = 128 * 1024;
/// Pieces that go into one record at most.
const SLICES: usize = 64;

/// A connection's TLS.
pub(crate) struct Tls {
    session: ServerConnection,
    /// The last byte that was encrypted is still given again: the socket had not taken it. As long as it is given, its
    /// frame is begun for whoever writes, and whoever writes waits for the socket.
    owed: bool,
    /// The peer has ended its side, or what it sent is no TLS: nothing follows what was decrypted.
    over: bool,
    /// Where the bytes that were read end.
    records: Records,
}

impl Tls {
    /// Goes on with a session whose handshake is done.
    pub(super) fn new(secured: Secured) -> Tls {
        let Secured {
            mut session,
            records,
        } = secured;
        // What is encrypted at once is bounded here.
        session.set_buffer_limit(None);
        Tls {
            session,
            owed: false,
            over: false,
            records,
        }
    }

    /// When the record began that has begun to arrive and isn't whole.
    pub(super) fn incomplete_since(&mut self, now: u64) -> Option<u64> {
        self.records.incomplete_since(now)
    }

    pub(super) fn restart_incomplete(&mut self, now: u64) {
        self.records.restart_incomplete(now);
    }

    /// Reads until `input` is full, the socket empty, or enough is read.
    pub(super) fn read(
        &mut self,
        stream: &TcpStream,
        input: &mut [u8],
        stats: &mut IoStats,
    ) -> Read {
        let (mut filled, mut taken) = (0, 0);
        let mut empty = false;
        loop {
            let room = input.get_mut(filled..).unwrap_or_default();
            match self.session.reader().read(room) {
                Ok(0) => self.over = true,
                Ok(read) => {
                    filled += read;
                    if filled == input.len() {
                        return Read::Bytes(filled);
                    }
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The connection ended without a word.
                Err(_) => self.over = true,
            }
            if self.over {
                // What came before the end is read first.
                return match filled {
                    0 => Read::End,
                    _ => Read::Part(filled),
                };
            }
            if empty || taken >= READ {
                break;
            }
            let mut incoming = Incoming {
                stream,
                stats,
                records: &mut self.records,
                empty: false,
            };
            match self.session.read_tls(&mut incoming) {
                Ok(read) => {
                    taken += read;
                    empty = incoming.empty;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => empty = true,
                Err(_) => self.over = true,
            }
            if empty && taken == 0 {
                break;
            }
            let broken = self.session.process_new_packets().is_err();
            // An alert, or an answer to new keys.
            let deaf = self.session.wants_write() && self.send(stream, stats).is_none();
            self.over |= broken || deaf;
        }
        match (filled, empty) {
            (0, true) if taken == 0 => Read::Nothing,
            // Some of a record, which is a sign of life.
            (_, true) => Read::Bytes(filled),
            (_, false) => Read::Part(filled),
        }
    }

    /// Whether something was decrypted that nobody has read.
    pub(super) fn holds_input(&mut self) -> bool {
        self.session
            .process_new_packets()
            .is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    /// Encrypts and writes. How many bytes of the slices are done with; none if the connection is broken.
    pub(super) fn write(
        &mut self,
        stream: &TcpStream,
        slices: &[IoSlice<'_>],
        stats: &mut IoStats,
    ) -> Option<usize> {
        if !self.send(stream, stats)? {
            return Some(0);
        }
        let mut done = usize::from(std::mem::take(&mut self.owed));
        loop {
            let encrypted = self.encrypt(slices, done)?;
            if encrypted == 0 {
                return Some(done);
            }
            done += encrypted;
            if !self.send(stream, stats)? {
                self.owed = true;
                return Some(done - 1);
            }
        }
    }

    /// Encrypts what comes behind the first `done` bytes, a record's at most. Of a piece it takes more than one byte or none,
    /// so that the byte that is owed belongs to a piece that was begun.
    fn encrypt(&mut self, slices: &[IoSlice<'_>], mut done: usize) -> Option<usize> {
        let mut record = [IoSlice::new(&[]); SLICES];
        let (mut count, mut room) = (0, RECORD);
        for slice in slices {
            let skipped = done.min(slice.len());
            done -= skipped;
            let rest = slice.get(skipped..).unwrap_or_default();
            let taken = rest.get(..room.min(rest.len())).unwrap_or_default();
            let cut = taken.len() == 1 && rest.len() > 1 && skipped == 0;
            let Some(place) = record.get_mut(count).filter(|_| !cut) else {
                break;
            };
            if !taken.is_empty() {
                *place = IoSlice::new(taken);
                count += 1;
                room -= taken.len();
            }
            if taken.len() < rest.len() || room == 0 {
                break;
            }
        }
        let record = record.get(..count).unwrap_or_default();
        if record.is_empty() {
            return Some(0);
        }
        self.session.writer().write_vectored(record).ok()
    }

    /// Gives the socket what was encrypted. Whether it took all; none if the connection is broken.
    fn send(&mut self, stream: &TcpStream, stats: &mut IoStats) -> Option<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Outgoing { stream, stats }) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(true)
    }

    /// Says that nothing follows.
    pub(super) fn end(&mut self, stream: &TcpStream, stats: &mut IoStats) {
        self.session.send_close_notify();
        let _ = self.send(stream, stats);
    }
}

/// The socket, as rustls reads from it.
struct Incoming<'a> {
    stream: &'a TcpStream,
    stats: &'a mut IoStats,
    records: &'a mut Records,
    /// A read got less than it could have: nothing more is there.
    empty: bool,
}

impl io::Read for Incoming<'_> {
    fn read(&mut self, input: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stats.reads += 1;
            match syscall::receive(self.stream, input) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(read) => {
                    self.stats.bytes_read += read as u64;
                    self.records.feed(input.get(..read).unwrap_or_default());
                    // At the end of the stream the next read says so.
                    self.empty = read > 0 && read < input.len();
                    return Ok(read);
                }
            }
        }
    }
}

/// The socket, as rustls writes to it.
struct Outgoing<'a> {
    stream: &'a TcpStream,
    stats: &'a mut IoStats,
}

impl io::Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stats.writes += 1;
        let mut stream = self.stream;
        let written = match slices {
            [single] => syscall::send(stream, single)?,
            several => stream.write_vectored(several)?,
        };
        self.stats.bytes_written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as StdStream};
    use std::sync::Arc;

    use socket2::{Domain, Socket, Type};
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio_rustls::rustls::{
        ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig,
    };

    use super::*;

    /// Both ends of a connection whose buffers are as small as the system lets them be, after the handshake.
    fn connected() -> (Tls, TcpStream, StdStream) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.set_send_buffer_size(1).unwrap();
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(1).unwrap();
        let listener: TcpListener = listener.into();
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_recv_buffer_size(1).unwrap();
        client
            .connect(&listener.local_addr().unwrap().into())
            .unwrap();
        let mut client: StdStream = client.into();
        let (mut server, _) = listener.accept().unwrap();

        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = || Arc::new(aws_lc_rs::default_provider());
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let trusts = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let shakes = std::thread::spawn(move || {
            let name = "localhost".try_into().unwrap();
            let session = ClientConnection::new(Arc::new(trusts), name).unwrap();
            let mut session = Connection::from(session);
            while session.is_handshaking() {
                session.complete_io(&mut client).unwrap();
            }
            client
        });
        let mut session = ServerConnection::new(Arc::new(config)).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut server).unwrap();
        }
        let client = shakes.join().unwrap();
        server.set_nonblocking(true).unwrap();
        let records = Records::default();
        let tls = Tls::new(Secured { session, records });
        (tls, TcpStream::from_std(server), client)
    }

    /// That is how a shard sees that its peer reads, though slowly: no frame is done with meanwhile.
    #[test]
    fn what_a_socket_takes_of_a_record_is_counted_before_the_record_is_done() {
        let (mut tls, stream, mut peer) = connected();
        let text = vec![b'x'; 4 * RECORD];
        let (mut done, mut parts) = (0, 0);
        let mut stats = IoStats::default();
        while done < text.len() {
            let before = stats.bytes_written;
            let rest = [IoSlice::new(&text[done..])];
            let written = tls.write(&stream, &rest, &mut stats).unwrap();
            done += written;
            parts += usize::from(written == 0 && stats.bytes_written > before);
            if stats.bytes_written == before {
                assert!(peer.read(&mut [0; 512]).unwrap() > 0);
            }
        }
        assert!(parts > 0, "each record went out at once");
    }
}
