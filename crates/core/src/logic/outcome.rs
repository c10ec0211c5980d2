//! What logic says to what it was asked about.

use std::borrow::Cow;

use roomcast_protocol::{ErrorCode, PayloadKind};
use serde::Serialize;

/// Bytes of a reason that is told to a client; what is longer is cut. Answers have 4 KiB for each connection.
const MOST_REASON: usize = 512;

/// What logic made of an action, an event or a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; whoever sent it gets no answer beyond what changed, and nobody else hears of it.
    Handled,
    /// The room passes it on to its members, as it was sent.
    Relay,
    /// The room passes this on in its place, as from the same sender.
    RelayAs(Changed),
    /// Against the rules: whoever sent it gets an `error`.
    Refused(Refusal),
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: ErrorCode,
    /// A sentence for whoever asked. At most 512 bytes of it are sent.
    pub message: Cow<'static, str>,
    /// Milliseconds after which another try may pass; 0 where waiting doesn't help.
    pub retry_after_ms: u64,
}

/// What a message says in place of what was sent. Its type, its sender and its number stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub(crate) name: Option<Box<str>>,
    pub(crate) payload_kind: PayloadKind,
    pub(crate) payload: Box<[u8]>,
}

impl Outcome {
    /// A refusal with the code `action_refused`.
    pub fn refused(message: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::Refused(Refusal::new(message))
    }

    /// A refusal with a code of one's choice.
    pub fn refused_with(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Outcome {
        Outcome::Refused(Refusal::new(message).with_code(code))
    }

    /// Passes it on with another payload: [`Changed::json`].
    pub fn relay_as<T: Serialize + ?Sized>(payload: &T) -> Outcome {
        Outcome::RelayAs(Changed::json(payload))
    }
}

impl Refusal {
    /// With the code `action_refused`.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            code: ErrorCode::ActionRefused,
            message: message.into(),
            retry_after_ms: 0,
        }
    }

    /// With another code.
    pub fn with_code(self, code: ErrorCode) -> Refusal {
        Refusal { code, ..self }
    }

    /// It may pass after so many milliseconds.
    pub fn retry_after(self, retry_after_ms: u64) -> Refusal {
        Refusal {
            retry_after_ms,
            ..self
        }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Outcome {
        Outcome::Refused(refusal)
    }
}

impl From<Result<(), Refusal>> for Outcome {
    /// What was done is [`Outcome::Handled`].
    fn from(result: Result<(), Refusal>) -> Outcome {
        result.map_or_else(Outcome::Refused, |()| Outcome::Handled)
    }
}

impl Changed {
    /// JSON. An action must be an object with an `action`.
    ///
    /// # Panics
    /// If `payload` is nothing that JSON can say, as a map whose keys are no strings.
    pub fn json<T: Serialize + ?Sized>(payload: &T) -> Changed {
        Changed {
            name: None,
            payload_kind: PayloadKind::Json,
            payload: to_json(payload).into_bytes().into(),
        }
    }

    /// A text: a chat, mostly.
    pub fn text(text: &str) -> Changed {
        Changed {
            name: None,
            payload_kind: PayloadKind::Text,
            payload: text.as_bytes().into(),
        }
    }

    /// With another name of the event.
    pub fn named(self, name: &str) -> Changed {
        Changed {
            name: Some(name.into()),
            ..self
        }
    }
}

/// The text of a value in JSON.
///
/// # Panics
/// If JSON can't say it. That is a fault of the program, and as each panic of logic it closes the room.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> String {
    match serde_json::to_string(value) {
        Ok(json) => json,
        Err(error) => panic!("not to be written in JSON: {error}"),
    }
}

/// The first bytes of a reason, as many as are sent.
pub(crate) fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(MOST_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        assert_eq!(cut("no"), "no");
        let long = "ä".repeat(MOST_REASON);
        assert_eq!(cut(&long).len(), MOST_REASON);
        assert_eq!(cut(&format!("x{long}")).len(), MOST_REASON - 1);
    }
}
