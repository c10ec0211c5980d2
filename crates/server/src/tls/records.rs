//! Follows the records of a TLS stream (RFC 8446, section 5.1), to know when one has begun and is not whole.
//!
//! rustls keeps such a record and says nothing of it. What a client sends is timed from the first byte of a message to its
//! last, and a message that is in an unfinished record has begun.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes before a record: its type, a version, and the length of what follows.
const HEADER: u8 = 5;

/// Where the bytes that have come end: between two records, or within one.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Bytes of a header that have come.
    header: u8,
    /// Once the header is whole: bytes that the record lacks.
    left: u16,
    /// When it was seen that a record has begun; 0: that was not looked at yet.
    since: u64,
}

impl Records {
    /// These bytes have come.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((first, behind)) = bytes.split_first() {
            if self.header < HEADER {
                // The last two bytes of a header are the length.
                self.left = self.left << 8 | u16::from(*first);
                self.header += 1;
                bytes = behind;
            } else {
                let taken = bytes.len().min(usize::from(self.left));
                self.left -= taken as u16;
                bytes = bytes.get(taken..).unwrap_or_default();
            }
            if self.header == HEADER && self.left == 0 {
                *self = Records::default();
            }
        }
    }

    /// When the record began that isn't whole: the `now` of the first call since then.
    pub(crate) fn incomplete_since(&mut self, now: u64) -> Option<u64> {
        if self.header == 0 {
            return None;
        }
        if self.since == 0 {
            self.since = now.max(1);
        }
        Some(self.since)
    }

    /// Takes it for begun now: its rest may have waited unread.
    pub(crate) fn restart_incomplete(&mut self, now: u64) {
        if self.since != 0 {
            self.since = now.max(1);
        }
    }
}

/// A socket whose records are followed from the first byte on.
#[derive(Debug)]
pub(crate) struct Followed {
    stream: TcpStream,
    records: Records,
}

impl Followed {
    /// Nothing was read from it yet.
    pub(crate) fn new(stream: TcpStream) -> Followed {
        Followed {
            stream,
            records: Records::default(),
        }
    }

    pub(crate) fn into_parts(self) -> (TcpStream, Records) {
        (self.stream, self.records)
    }
}

impl AsyncRead for Followed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(come) = buffer.filled().get(before..) {
            self.records.feed(come);
        }
        polled
    }
}

impl AsyncWrite for Followed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_incomplete_from_its_first_byte_to_its_last(
            lengths in prop::collection::vec(prop_oneof![Just(0), 1_u16..5, 250_u16..700, Just(16_401)], 1..6),
            steps in prop::collection::vec(1_usize..700, 1..9),
        ) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for length in lengths {
                let [high, low] = length.to_be_bytes();
                bytes.extend([0x17, 3, 3, high, low]);
                bytes.extend(std::iter::repeat_n(0x55, usize::from(length)));
                ends.push(bytes.len());
            }
            let (mut records, mut at) = (Records::default(), 0);
            for (step, now) in steps.iter().cycle().zip(1..) {
                if at == bytes.len() {
                    break;
                }
                let next = bytes.len().min(at + step);
                records.feed(&bytes[at..next]);
                at = next;
                let since = records.incomplete_since(now);
                prop_assert_eq!(since.is_none(), ends.contains(&at));
            }
        }
    }

    #[test]
    fn the_time_is_that_of_the_record_that_is_not_whole() {
        let mut records = Records::default();
        records.restart_incomplete(3);
        assert_eq!(records.incomplete_since(4), None);
        records.feed(&[0x17, 3, 3, 0]);
        assert_eq!(records.incomplete_since(5), Some(5));
        records.feed(&[2, 9]);
        assert_eq!(records.incomplete_since(6), Some(5));
        // Its end, and the next one's begin.
        records.feed(&[9, 0x17]);
        assert_eq!(records.incomplete_since(7), Some(7));
        records.restart_incomplete(8);
        assert_eq!(records.incomplete_since(9), Some(8));
        records.feed(&[3, 3, 0, 0]);
        assert_eq!(records.incomplete_since(10), None);
    }
}
