use super::Role;
use crate::error::ProtocolError;
use crate::frame::{FirstOctet, Opcode};

/// What the first octet of a frame, and then its mask bit, say of the connection's state.
pub(super) fn check_header(
    role: Role,
    deflate: bool,
    in_message: bool,
    first: FirstOctet,
    masked: Option<bool>,
) -> Result<(), ProtocolError> {
    match (role, masked) {
        (Role::Server, Some(false)) => return Err(ProtocolError::Unmasked),
        (Role::Client, Some(true)) => return Err(ProtocolError::Masked),
        (_, Some(_)) => return Ok(()),
        (_, None) => {}
    }
    if first.rsv & 3 != 0 || first.rsv != 0 && !deflate {
        return Err(ProtocolError::ReservedBits);
    }
    match first.opcode {
        None => Err(ProtocolError::ReservedOpcode),
        Some(Opcode::Text | Opcode::Binary) if in_message => {
            Err(ProtocolError::ExpectedContinuation)
        }
        Some(Opcode::Text | Opcode::Binary) => Ok(()),
        Some(_) if first.rsv != 0 => Err(ProtocolError::CompressedContinuation),
        Some(Opcode::Continuation) if !in_message => Err(ProtocolError::UnexpectedContinuation),
        Some(_) => Ok(()),
    }
}
