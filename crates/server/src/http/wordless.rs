//! Takes hyper's own error answers out of the stream, so that one with words can be sent instead.
//!
//! To a head that it can't parse hyper answers by itself, with a status and nothing else; there is no hook for it. Nor is
//! there one for an answer that goes on without hyper, as an event stream does: it has a status of ours ([`NOT_SENT`]).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::event_stream::NOT_SENT;

/// A stream for hyper, with vectored writes off.
#[derive(Debug)]
pub(super) struct Wordless<S> {
    stream: S,
    /// The status of hyper's own answer, which was not written.
    withheld: Option<u16>,
    /// Whether the last write took less than it was given: then something may be left in hyper's buffer.
    behind: bool,
}

impl<S> Wordless<S> {
    pub(super) fn new(stream: S) -> Wordless<S> {
        Wordless {
            stream,
            withheld: None,
            behind: false,
        }
    }

    pub(super) fn withheld(&self) -> Option<u16> {
        self.withheld
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

/// The status of an answer that hyper made: of those that we make, none that reports an error is empty.
fn wordless_status(bytes: &[u8]) -> Option<u16> {
    let rest = bytes
        .strip_prefix(b"HTTP/1.")?
        .get(1..)?
        .strip_prefix(b" ")?;
    let status: u16 = std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()?;
    const EMPTY: &[u8] = b"\r\ncontent-length: 0\r\n";
    let empty = bytes
        .windows(EMPTY.len())
        .any(|window| window.eq_ignore_ascii_case(EMPTY));
    (matches!(status, 400 | 414 | 431 | NOT_SENT) && empty).then_some(status)
}

impl<S: AsyncRead + Unpin> AsyncRead for Wordless<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wordless<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(status) = wordless_status(bytes) {
            self.withheld = Some(status);
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.behind = !matches!(result, Poll::Ready(Ok(count)) if count == bytes.len());
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::wordless_status;

    #[test]
    fn only_empty_errors_are_hypers() {
        assert_eq!(
            wordless_status(b"HTTP/1.1 431 X\r\ncontent-length: 0\r\n\r\n"),
            Some(431)
        );
        assert_eq!(
            wordless_status(b"HTTP/1.0 400 X\r\nContent-Length: 0\r\n\r\n"),
            Some(400)
        );
        assert_eq!(
            wordless_status(b"HTTP/1.1 400 X\r\ncontent-length: 10\r\n\r\n"),
            None
        );
        assert_eq!(
            wordless_status(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            None
        );
        assert_eq!(wordless_status(b"HTTP/1.1"), None);
        assert_eq!(wordless_status(b""), None);
    }
}
