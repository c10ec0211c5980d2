//! A sample of the deliveries is decoded whole, with the protocol's own decoder.

use roomcast_protocol::Format;
use roomcast_protocol::client::decode_server;

use super::plan::Wire;

impl Wire {
    /// The format that it is.
    pub(crate) fn format(self) -> Format {
        match self {
            Wire::Json => Format::Json,
            Wire::Protobuf => Format::Protobuf,
        }
    }
}

/// Whether `message` is a message of the protocol's.
pub(crate) fn decodes(wire: Wire, message: &[u8]) -> bool {
    decode_server(wire.format(), message).is_ok()
}
