use super::partial::Message;
use super::scratch::Scratch;
use crate::deflate::{Inflated, Inflater};
use crate::error::ProtocolError;

#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_message: usize,
    pub(super) max_skip: usize,
}

impl Limits {
    /// Whether a message has more payload on the wire than one within the limit can have.
    pub(super) fn wire_exceeded(&self, message: &Message) -> bool {
        let mut most = self.max_message as u64;
        if message.compressed {
            most = most.saturating_add(most / 8 + 64);
        }
        self.max_message != 0 && message.wire > most
    }

    /// What was decompressed past the limit is bounded as what is read past is.
    fn discard(&self, message: &mut Message, bytes: usize) -> Result<(), ProtocolError> {
        message.discarded = message.discarded.saturating_add(bytes as u64);
        if self.max_skip != 0 && message.discarded > self.max_skip as u64 {
            return Err(ProtocolError::TooLarge);
        }
        Ok(())
    }
}

/// Decompresses a piece of a message with the connection's own decompressor.
pub(super) fn absorb(
    inflater: &mut Inflater,
    message: &mut Message,
    piece: &[u8],
    buffer: &mut Vec<u8>,
    scratch: &mut Scratch,
    limits: Limits,
) -> Result<(), ProtocolError> {
    let mut unread = piece;
    if !message.too_large {
        let before = buffer.len();
        let inflated = inflater.push(piece, buffer, 0, limits.max_message);
        // First what came before the error, so that the verdict doesn't depend on how the input was
        // cut.
        check_inflated(message, &buffer[before..])?;
        match inflated? {
            Inflated::Whole => return Ok(()),
            Inflated::Limited { unread: left, over } => {
                unread = &piece[piece.len() - left..];
                give_up(message, buffer, over, limits)?;
            }
        }
    }
    inflater.discard(unread, &mut scratch.inflated, |bytes| {
        limits.discard(message, bytes)
    })
}

/// Ends a message in the connection's own decompressor.
pub(super) fn end(
    inflater: &mut Inflater,
    message: &mut Message,
    buffer: &mut Vec<u8>,
    scratch: &mut Scratch,
    limits: Limits,
) -> Result<(), ProtocolError> {
    let mut tail = 4;
    if !message.too_large {
        let before = buffer.len();
        let inflated = inflater.finish(buffer, 0, limits.max_message);
        check_inflated(message, &buffer[before..])?;
        match inflated? {
            Inflated::Whole if message.text => return message.utf8.finish(),
            Inflated::Whole => return Ok(()),
            Inflated::Limited { unread, over } => {
                tail = unread;
                give_up(message, buffer, over, limits)?;
            }
        }
    }
    inflater.finish_discarded(tail, &mut scratch.inflated, |bytes| {
        limits.discard(message, bytes)
    })
}

fn check_inflated(message: &mut Message, output: &[u8]) -> Result<(), ProtocolError> {
    if message.text {
        message.utf8.push(output)
    } else {
        Ok(())
    }
}

fn give_up(
    message: &mut Message,
    buffer: &mut Vec<u8>,
    over: usize,
    limits: Limits,
) -> Result<(), ProtocolError> {
    message.too_large = true;
    *buffer = Vec::new();
    limits.discard(message, over)
}
