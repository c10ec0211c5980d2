//! What somebody sends to a room, as its logic sees it.

use std::borrow::Cow;

use roomcast_protocol::{ErrorCode, PayloadKind};
use serde::Deserialize;
use serde::de::value::BorrowedStrDeserializer;

use crate::logic::Refusal;

/// An event or a chat for a room: a member's, or a service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomEvent<'a> {
    /// The event's name; none for a chat.
    pub name: Option<&'a str>,
    /// What the payload is.
    pub payload_kind: PayloadKind,
    /// The payload as it was sent.
    pub payload: &'a [u8],
    /// It is not logged, and the first to be dropped.
    pub ephemeral: bool,
}

impl<'a> RoomEvent<'a> {
    /// The payload as a value. A text is a string.
    ///
    /// ```
    /// use roomcast_core::{Outcome, Refusal, RoomContext, RoomEvent};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Bid {
    ///     amount: u32,
    /// }
    ///
    /// fn bid(highest: &mut u32, event: &RoomEvent<'_>) -> Result<(), Refusal> {
    ///     let bid: Bid = event.json()?;
    ///     if bid.amount <= *highest {
    ///         return Err(Refusal::new(format!("bid more than {highest}")));
    ///     }
    ///     *highest = bid.amount;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// A refusal with `invalid_value` that says what is wrong, for whoever sent it.
    pub fn json<T: Deserialize<'a>>(&self) -> Result<T, Refusal> {
        let read = match self.payload_kind {
            PayloadKind::Text => {
                let text = std::str::from_utf8(self.payload).unwrap_or_default();
                T::deserialize(BorrowedStrDeserializer::<serde_json::Error>::new(text))
            }
            PayloadKind::Bytes => {
                return Err(not_understood("it is bytes"));
            }
            _ => serde_json::from_slice(self.payload),
        };
        read.map_err(not_understood)
    }

    /// The payload where it is a text, whether it was sent as a text or as a string in JSON: so a chat of a client of any
    /// format.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        match self.payload_kind {
            PayloadKind::Text => std::str::from_utf8(self.payload).ok().map(Cow::Borrowed),
            PayloadKind::Json => serde_json::from_slice(self.payload).ok().map(Cow::Owned),
            _ => None,
        }
    }
}

/// What was sent is not what logic takes.
pub(super) fn not_understood(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(format!("the payload is not what this room takes: {why}"))
        .with_code(ErrorCode::InvalidValue)
}
