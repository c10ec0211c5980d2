//! What a connection that speaks HTTP is read from and written to: plain TCP, or TLS over it.

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::tls::{Followed, Secured};

#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<Followed>>),
}

impl Transport {
    /// Takes it apart for a shard. What TLS has decrypted already is added to `leftover`, so that the shard need not be
    /// told by its socket that there is something.
    ///
    /// # Errors
    /// Something that was to be sent is in TLS's buffers yet, or the socket can't be had.
    pub(super) fn into_parts(
        self,
        leftover: &mut Vec<u8>,
    ) -> io::Result<(std::net::TcpStream, Option<Box<Secured>>)> {
        match self {
            Transport::Plain(stream) => Ok((stream.into_std()?, None)),
            Transport::Tls(stream) => {
                let (followed, mut session) = stream.into_inner();
                let (stream, records) = followed.into_parts();
                if session.wants_write() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                match session.reader().read_to_end(leftover) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    Ok(_) | Err(_) => {}
                }
                let secured = Secured { session, records };
                Ok((stream.into_std()?, Some(Box::new(secured))))
            }
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
