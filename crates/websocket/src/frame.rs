//! Frames: their header, and how to write them (RFC 6455 section 5.2).
//!
//! A server's frames carry no mask, so one that was written once can be sent to any number of
//! clients.

use crate::close::{CloseFrame, fitting_reason};
use crate::error::ProtocolError;
use crate::mask::apply_mask;

/// The longest frame header: 2 octets, a 64-bit length and a mask.
pub const MAX_HEADER: usize = 14;

/// The longest payload of a control frame.
pub const MAX_CONTROL: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// To be answered by a pong with the same payload.
    Ping = 9,
    /// The answer to a ping, or an unasked sign of life.
    Pong = 10,
}

impl Opcode {
    /// Close, ping or pong: never fragmented, and allowed between the fragments of a message.
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }
}

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub opcode: Opcode,
    /// The message's last frame.
    pub fin: bool,
    /// The message is compressed (permessage-deflate; on a message's first frame only).
    pub rsv1: bool,
    /// The masking key; set on every frame of a client and on none of a server.
    pub mask: Option<[u8; 4]>,
    /// The payload's length in bytes, at most 2^63 - 1.
    pub len: u64,
}

impl Header {
    /// Writes the header to the front of `out` and returns its length: 2, 4 or 10, and 4 more with
    /// a mask.
    pub fn encode(&self, out: &mut [u8; MAX_HEADER]) -> usize {
        out[0] = self.opcode as u8 | u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6;
        let masked = u8::from(self.mask.is_some()) << 7;
        let len = match self.len {
            0..=125 => {
                out[1] = masked | self.len as u8;
                2
            }
            126..=0xffff => {
                out[1] = masked | 126;
                out[2..4].copy_from_slice(&(self.len as u16).to_be_bytes());
                4
            }
            _ => {
                out[1] = masked | 127;
                out[2..10].copy_from_slice(&self.len.to_be_bytes());
                10
            }
        };
        match self.mask {
            Some(mask) => {
                out[len..len + 4].copy_from_slice(&mask);
                len + 4
            }
            None => len,
        }
    }

    /// Reads a header from the front of `input`: the header and its length, or `None` when more is
    /// needed.
    ///
    /// What can be said of a header that isn't complete yet is said at once. Whether the mask, the
    /// reserved bits and the order of the frames are right is for the [`Receiver`](crate::Receiver)
    /// to judge, through `check`, which is called with the first octet's parts as soon as that is
    /// there, and with the mask bit as soon as that is.
    pub(crate) fn parse(
        input: &[u8],
        check: impl Fn(FirstOctet, Option<bool>) -> Result<(), ProtocolError>,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let [first, rest @ ..] = input else {
            return Ok(None);
        };
        let opcode = Opcode::from_bits(first & 15);
        let first = FirstOctet {
            opcode,
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 7,
        };
        check(first, None)?;
        let opcode = opcode.ok_or(ProtocolError::ReservedOpcode)?;
        if opcode.is_control() && !first.fin {
            return Err(ProtocolError::FragmentedControl);
        }
        let [second, rest @ ..] = rest else {
            return Ok(None);
        };
        let masked = second & 0x80 != 0;
        check(first, Some(masked))?;
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(ProtocolError::OversizedControl);
        }
        if opcode == Opcode::Close && short == 1 {
            return Err(ProtocolError::ClosePayload);
        }
        let (len, rest, width) = match short {
            126 => {
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                let len = u64::from(u16::from_be_bytes(*len));
                if len < 126 {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (len, rest, 4)
            }
            127 => {
                // The first octet alone tells of the top bit.
                if rest.first().is_some_and(|octet| octet & 0x80 != 0) {
                    return Err(ProtocolError::LengthTopBit);
                }
                let Some((len, rest)) = rest.split_first_chunk() else {
                    return Ok(None);
                };
                let len = u64::from_be_bytes(*len);
                if len < 0x1_0000 {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (len, rest, 10)
            }
            _ => (u64::from(short), rest, 2),
        };
        let (mask, width) = if masked {
            let Some((mask, _)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (Some(*mask), width + 4)
        } else {
            (None, width)
        };
        Ok(Some((
            Self {
                opcode,
                fin: first.fin,
                rsv1: first.rsv & 4 != 0,
                mask,
                len,
            },
            width,
        )))
    }
}

/// A frame's first octet, taken apart.
#[derive(Clone, Copy)]
pub(crate) struct FirstOctet {
    pub(crate) opcode: Option<Opcode>,
    pub(crate) fin: bool,
    /// RSV1 is 4, RSV2 is 2, RSV3 is 1.
    pub(crate) rsv: u8,
}

/// Appends a frame. With a `mask` (client role) the payload is masked on its way.
pub fn write_frame(
    out: &mut Vec<u8>,
    opcode: Opcode,
    fin: bool,
    rsv1: bool,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) {
    let mut buffer = [0; MAX_HEADER];
    let len = Header {
        opcode,
        fin,
        rsv1,
        mask,
        len: payload.len() as u64,
    }
    .encode(&mut buffer);
    out.reserve(len + payload.len());
    out.extend_from_slice(&buffer[..len]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask, 0);
    }
}

/// Appends an unmasked, unfragmented frame whose payload `write` appends to the vector it is given,
/// so that a message can be encoded straight into its frame. What was in `out` before has to stay
/// as it is.
pub fn write_frame_with<R>(
    out: &mut Vec<u8>,
    opcode: Opcode,
    rsv1: bool,
    write: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    let result = write(out);
    let len = out.len().saturating_sub(start + 2);
    let mut buffer = [0; MAX_HEADER];
    let header = Header {
        opcode,
        fin: true,
        rsv1,
        mask: None,
        len: len as u64,
    };
    let width = header.encode(&mut buffer);
    // A payload past 125 bytes moves up by 2 or 8: a copy within the cache.
    out.splice(start..start + 2, buffer[..width].iter().copied());
    result
}

/// Appends a close frame. The reason is cut to what fits, 123 bytes, at a character's boundary;
/// without a `close` the frame is empty.
pub fn write_close(out: &mut Vec<u8>, close: Option<CloseFrame<'_>>, mask: Option<[u8; 4]>) {
    let mut payload = [0; MAX_CONTROL];
    let mut len = 0;
    if let Some(CloseFrame { code, reason }) = close {
        let reason = fitting_reason(reason).as_bytes();
        payload[..2].copy_from_slice(&code.to_be_bytes());
        len = 2 + reason.len();
        payload[2..len].copy_from_slice(reason);
    }
    write_frame(out, Opcode::Close, true, false, &payload[..len], mask);
}
