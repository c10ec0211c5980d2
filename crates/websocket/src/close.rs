//! Close frames: their codes and their payload (RFC 6455 sections 5.5.1 and 7.4).

use crate::error::ProtocolError;

/// The close codes of RFC 6455 section 7.4.1 and of the IANA registry.
pub mod code {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server is going down, or the browser has left the page.
    pub const GOING_AWAY: u16 = 1001;
    /// A breach of the protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A kind of data that the endpoint can't accept.
    pub const UNSUPPORTED: u16 = 1003;
    /// Stands for a close frame without a code; never sent.
    pub const NO_STATUS: u16 = 1005;
    /// Stands for a connection that ended without a close frame; never sent.
    pub const ABNORMAL: u16 = 1006;
    /// Data that doesn't fit the message's type, such as a text that isn't UTF-8.
    pub const INVALID_PAYLOAD: u16 = 1007;
    /// A message that breaks the endpoint's policy.
    pub const POLICY: u16 = 1008;
    /// A message that is too large.
    pub const TOO_LARGE: u16 = 1009;
    /// The client expected an extension that the server didn't negotiate.
    pub const MANDATORY_EXTENSION: u16 = 1010;
    /// The server met an unexpected condition.
    pub const INTERNAL: u16 = 1011;
    /// The service restarts.
    pub const SERVICE_RESTART: u16 = 1012;
    /// The service is overloaded.
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// The payload of a close frame that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// The close code, one that [`is_valid_code`] accepts when it was received.
    pub code: u16,
    /// The reason, at most 123 bytes.
    pub reason: &'a str,
}

/// Whether a code may appear in a close frame: those of the RFC and the IANA registry that aren't
/// reserved for local use, and 3000 to 4999 (RFC 6455 section 7.4).
pub const fn is_valid_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The part of a reason that fits a close frame: at most 123 bytes, cut at a character's boundary.
pub fn fitting_reason(reason: &str) -> &str {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// Reads a close frame's payload.
///
/// # Errors
///
/// A payload of one byte, a code that may not be sent (both 1002), a reason that isn't UTF-8
/// (1007).
pub(crate) fn parse(payload: &[u8]) -> Result<Option<CloseFrame<'_>>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(ProtocolError::ClosePayload)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_valid_code(code) {
        return Err(ProtocolError::CloseCode);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::CloseReason)?;
    Ok(Some(CloseFrame { code, reason }))
}
