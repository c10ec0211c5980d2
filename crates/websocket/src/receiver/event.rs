use super::scratch::Scratch;
use crate::close::{self, CloseFrame};
use crate::error::ProtocolError;
use crate::frame::Opcode;

/// What has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message, checked to be UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping; its answer is a pong with the same payload (RFC 6455 section 5.5.3).
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// A fragment without payload that doesn't end its message. It brings nothing; it is told of so
    /// that whoever reads can count it.
    EmptyFragment,
    /// A close frame; its answer is a close frame with the same code, if none was sent yet.
    /// Whatever comes after it is ignored.
    Close(Option<CloseFrame<'a>>),
    /// A message was larger than the limit and has been read past. Given when its last byte has
    /// arrived.
    TooLarge {
        /// Its size on the wire in bytes; when it is below the limit the message is a compressed
        /// one.
        size: u64,
    },
}

/// A complete event, and where its payload lies.
pub(super) enum Found<'i> {
    Control(Opcode, &'i [u8]),
    BufferedControl(Opcode, usize),
    Input { text: bool, payload: &'i [u8] },
    Inflated { text: bool },
    Lent { text: bool },
    EmptyFragment,
    TooLarge(u64),
}

impl<'i> Found<'i> {
    pub(super) fn event<'e>(self, scratch: &'e Scratch) -> Result<Event<'e>, ProtocolError>
    where
        'i: 'e,
    {
        let (text, payload) = match self {
            Self::Control(opcode, payload) => return control(opcode, payload),
            Self::BufferedControl(opcode, len) => {
                return control(opcode, scratch.control.get(..len).unwrap_or_default());
            }
            Self::EmptyFragment => return Ok(Event::EmptyFragment),
            Self::TooLarge(size) => return Ok(Event::TooLarge { size }),
            Self::Input { text, payload } => (text, payload),
            Self::Inflated { text } => (text, &scratch.inflated[..]),
            Self::Lent { text } => (
                text,
                scratch
                    .lent
                    .as_ref()
                    .map_or(&[][..], |partial| &partial.buffer),
            ),
        };
        if !text {
            return Ok(Event::Binary(payload));
        }
        // A text that was put together has been checked already; to check it again costs less than
        // 0.1 ns a byte.
        match simdutf8::basic::from_utf8(payload) {
            Ok(text) => Ok(Event::Text(text)),
            Err(_) => Err(ProtocolError::InvalidUtf8),
        }
    }
}

fn control(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    Ok(match opcode {
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        _ => Event::Close(close::parse(payload)?),
    })
}
