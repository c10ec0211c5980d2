use std::fmt;

use crate::close::code;

/// A breach of RFC 6455 or RFC 7692 by the peer. The connection has to be failed: send a close
/// frame with [`close_code`](Self::close_code), then close the transport (RFC 6455 section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set that no negotiated extension gives a meaning to.
    ReservedBits,
    /// RSV1 is set on a frame that isn't the first of a message.
    CompressedContinuation,
    /// Opcodes 3 to 7 and 11 to 15.
    ReservedOpcode,
    /// A client sent a frame without a mask.
    Unmasked,
    /// A server sent a frame with a mask.
    Masked,
    /// A control frame without FIN.
    FragmentedControl,
    /// A control frame with more than 125 bytes of payload.
    OversizedControl,
    /// A payload length in more octets than it needs.
    LengthNotMinimal,
    /// A 64-bit payload length with its most significant bit set.
    LengthTopBit,
    /// A continuation frame while no message is in progress.
    UnexpectedContinuation,
    /// A new data frame while a message is in progress.
    ExpectedContinuation,
    /// A close frame with a payload of one byte.
    ClosePayload,
    /// A close code that may not appear in a frame.
    CloseCode,
    /// A close reason that isn't UTF-8.
    CloseReason,
    /// A text message that isn't UTF-8.
    InvalidUtf8,
    /// A compressed message that isn't DEFLATE data.
    InvalidDeflate,
    /// A message that is too large even to be read past.
    TooLarge,
}

impl ProtocolError {
    /// The code for the close frame: 1002, 1007 or 1009.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::CloseReason | Self::InvalidUtf8 | Self::InvalidDeflate => code::INVALID_PAYLOAD,
            Self::TooLarge => code::TOO_LARGE,
            _ => code::PROTOCOL_ERROR,
        }
    }

    /// What was wrong, in a sentence that fits the reason of a close frame and names the section of
    /// the RFC.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "a reserved bit is set (RFC 6455, 5.2)",
            Self::CompressedContinuation => {
                "RSV1 is set on a continuation or control frame (RFC 7692, 6)"
            }
            Self::ReservedOpcode => "the opcode is reserved (RFC 6455, 5.2)",
            Self::Unmasked => "a client's frame is not masked (RFC 6455, 5.1)",
            Self::Masked => "a server's frame is masked (RFC 6455, 5.1)",
            Self::FragmentedControl => "a control frame is fragmented (RFC 6455, 5.5)",
            Self::OversizedControl => "a control frame has more than 125 bytes (RFC 6455, 5.5)",
            Self::LengthNotMinimal => "a length is not in its shortest form (RFC 6455, 5.2)",
            Self::LengthTopBit => "a 64-bit length has its top bit set (RFC 6455, 5.2)",
            Self::UnexpectedContinuation => "there is no message to continue (RFC 6455, 5.4)",
            Self::ExpectedContinuation => {
                "a message begins before the last one ended (RFC 6455, 5.4)"
            }
            Self::ClosePayload => "a close frame has a payload of one byte (RFC 6455, 5.5.1)",
            Self::CloseCode => "the close code may not be sent (RFC 6455, 7.4)",
            Self::CloseReason => "the close reason is not UTF-8 (RFC 6455, 5.5.1)",
            Self::InvalidUtf8 => "a text message is not UTF-8 (RFC 6455, 8.1)",
            Self::InvalidDeflate => "a compressed message is not DEFLATE data (RFC 7692, 7.2.2)",
            Self::TooLarge => "the message is too large (RFC 6455, 7.4.1)",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ProtocolError {}
