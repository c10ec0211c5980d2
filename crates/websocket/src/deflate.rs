//! Compressing and decompressing messages (RFC 7692 section 7.2).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::ProtocolError;

/// What the sender of a message leaves out of its end, and the receiver puts back (RFC 7692
/// sections 7.2.1, 7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The same, and an empty final block.
const FINAL_TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// The farthest that DEFLATE reaches back.
const WINDOW: usize = 1 << 15;

/// Compresses messages.
///
/// Its state takes about 300 KiB at 15 window bits. Without context takeover one of them serves any
/// number of connections.
pub struct Deflater {
    compress: Compress,
    context_takeover: bool,
}

impl Deflater {
    /// A compressor of a `level` of 0 (stored) to 9 (smallest), and 9 to 15 window bits; values
    /// outside are brought into these ranges. With `context_takeover` a message refers back to
    /// those before, so that the compressor belongs to one connection, and every message it made
    /// has to be sent, in order.
    pub fn new(level: u8, window_bits: u8, context_takeover: bool) -> Self {
        let compress = Compress::new_with_window_bits(
            Compression::new(u32::from(level.min(9))),
            false,
            window_bits.clamp(9, 15),
        );
        Self {
            compress,
            context_takeover,
        }
    }

    /// Appends a message's compressed form, to be sent in frames of which the first has RSV1 set.
    pub fn compress(&mut self, message: &[u8], out: &mut Vec<u8>) {
        if !self.context_takeover {
            self.compress.reset();
        }
        let start = out.len();
        let mut message = message;
        // Enough for one call unless the data doesn't compress; then there is another round.
        out.reserve(message.len() / 2 + 64);
        loop {
            let before = self.compress.total_in();
            // It fails only when it is used after a `Finish`, which is never given.
            let status = self
                .compress
                .compress_vec(message, out, FlushCompress::Sync);
            let read = (self.compress.total_in() - before) as usize;
            message = message.get(read..).unwrap_or_default();
            if out.len() < out.capacity() || !matches!(status, Ok(Status::Ok)) {
                break;
            }
            out.reserve(message.len() + 64);
        }
        if out[start..].ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        if out.len() == start {
            // An empty message after another one: the compressor has nothing to flush (RFC 7692,
            // 7.2.3.6).
            out.push(0);
        }
    }
}

/// Decompresses messages.
///
/// Its state takes about 50 KiB at 15 window bits. Without context takeover one of them serves any
/// number of connections.
pub struct Inflater {
    decompress: Decompress,
    context_takeover: bool,
    /// The last octet read was the end of a block with BFINAL set.
    ended: bool,
}

/// How far a piece of a message was decompressed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inflated {
    /// All of it.
    Whole,
    /// There was more output than the limit: `over` bytes more so far, and `unread` octets of input
    /// are left.
    Limited { unread: usize, over: usize },
}

impl Inflater {
    /// A decompressor for a sender that uses 9 to 15 window bits (others are brought into this
    /// range). With `context_takeover` it belongs to one connection and has to see every message.
    pub fn new(window_bits: u8, context_takeover: bool) -> Self {
        let decompress = Decompress::new_with_window_bits(false, window_bits.clamp(9, 15));
        Self {
            decompress,
            context_takeover,
            ended: false,
        }
    }

    /// Appends a decompressed message of at most `limit` bytes (0: any number).
    ///
    /// Returns false when it is larger; `out` then holds its first `limit` bytes. With context
    /// takeover the decompressor can't be used after that.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidDeflate`]. Without context takeover the next message is decompressed
    /// all the same.
    pub fn decompress(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<bool, ProtocolError> {
        let start = out.len();
        if !self.context_takeover {
            self.decompress.reset(false);
            self.ended = false;
        }
        Ok(self.push(message, out, start, limit)? == Inflated::Whole
            && self.finish(out, start, limit)? == Inflated::Whole)
    }

    /// Takes the next piece of a message whose output began at `start` of `out`.
    pub(crate) fn push(
        &mut self,
        mut piece: &[u8],
        out: &mut Vec<u8>,
        start: usize,
        limit: usize,
    ) -> Result<Inflated, ProtocolError> {
        let most = if limit == 0 {
            usize::MAX
        } else {
            start.saturating_add(limit)
        };
        loop {
            if piece.is_empty() && self.ended {
                return Ok(Inflated::Whole);
            }
            if self.ended {
                self.restart(&out[start..]);
            }
            reserve(out, piece.len(), most);
            let (read, status) = self.step(piece, out);
            piece = &piece[read..];
            if out.len() > most {
                let over = out.len() - most;
                out.truncate(most);
                return Ok(Inflated::Limited {
                    unread: piece.len(),
                    over,
                });
            }
            if status? && piece.is_empty() && out.len() < out.capacity() {
                return Ok(Inflated::Whole);
            }
        }
    }

    /// Reads on in a message whose output nobody wants, as the messages after it may refer back to
    /// it. Calls `produced` with the number of bytes of each step of the output.
    pub(crate) fn discard(
        &mut self,
        mut piece: &[u8],
        room: &mut Vec<u8>,
        mut produced: impl FnMut(usize) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        room.clear();
        room.reserve(16 * 1024);
        loop {
            if piece.is_empty() && self.ended {
                return Ok(());
            }
            if self.ended {
                self.restart(&[]);
            }
            room.clear();
            let (read, status) = self.step(piece, room);
            piece = &piece[read..];
            produced(room.len())?;
            if status? && piece.is_empty() && room.len() < room.capacity() {
                room.clear();
                return Ok(());
            }
        }
    }

    /// The message ends here. With `out` the end of its output is appended; the rest is as for
    /// [`push`](Self::push).
    pub(crate) fn finish(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        limit: usize,
    ) -> Result<Inflated, ProtocolError> {
        // A message that ends with a final block needs no tail (the one in RFC 7692, 7.2.3.4 has
        // one more octet, to which the tail belongs).
        if self.ended {
            if self.context_takeover {
                self.restart(&out[start..]);
            }
            return Ok(Inflated::Whole);
        }
        if self.context_takeover {
            return self.push(&TAIL, out, start, limit);
        }
        // Where the history is of no use any more, a final block shows whether the message ended
        // where a block does.
        let inflated = self.push(&FINAL_TAIL, out, start, limit)?;
        if inflated == Inflated::Whole && !self.ended {
            return Err(ProtocolError::InvalidDeflate);
        }
        Ok(inflated)
    }

    /// The end of a message that was [discarded](Self::discard), `unread` octets of the tail being
    /// left to read.
    pub(crate) fn finish_discarded(
        &mut self,
        unread: usize,
        room: &mut Vec<u8>,
        produced: impl FnMut(usize) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        // A final block that ends inside the tail is a fault, as it is in `finish`.
        if self.ended && unread == TAIL.len() {
            self.restart(&[]);
            return Ok(());
        }
        self.discard(&TAIL[TAIL.len().saturating_sub(unread)..], room, produced)
    }

    /// Decompresses into the room that `out` has. Returns how much was read, and true unless a
    /// final block ended.
    fn step(&mut self, piece: &[u8], out: &mut Vec<u8>) -> (usize, Result<bool, ProtocolError>) {
        let (before, len) = (self.decompress.total_in(), out.len());
        let status = self
            .decompress
            .decompress_vec(piece, out, FlushDecompress::Sync);
        let read = ((self.decompress.total_in() - before) as usize).min(piece.len());
        let stuck = read == 0 && out.len() == len && !piece.is_empty();
        let status = match status {
            Ok(Status::StreamEnd) => {
                self.ended = true;
                Ok(false)
            }
            Ok(_) if !stuck => Ok(true),
            _ => Err(ProtocolError::InvalidDeflate),
        };
        (read, status)
    }

    /// After a final block the next one begins at the next octet, and may refer back over it into
    /// `history`.
    fn restart(&mut self, history: &[u8]) {
        self.ended = false;
        self.decompress.reset(false);
        let history = &history[history.len().saturating_sub(WINDOW)..];
        if !history.is_empty() {
            // It only fails on a stream with a header, which this is not.
            let _ = self.decompress.set_dictionary(history);
        }
    }
}

/// Makes room for what `unread` octets may become, without trusting them: at most one byte past
/// `most`, which tells that there is more, and at most as much again as there is.
fn reserve(out: &mut Vec<u8>, unread: usize, most: usize) {
    if out.len() < out.capacity() {
        return;
    }
    let step = unread.saturating_mul(4).max(out.len()).clamp(1024, 1 << 20);
    let room = most.saturating_add(1).saturating_sub(out.len());
    out.reserve_exact(step.min(room).max(1));
}
