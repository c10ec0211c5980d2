//! Error codes: why a message was refused.

use std::borrow::Cow;

use crate::MessageType;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a message was refused. The text is stable: programs may rely on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// All codes, in the order of their numbers, which begin at 0.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// The text on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => $text,)*
                }
            }

            /// The code with this text.
            pub fn from_name(name: &str) -> Option<ErrorCode> {
                match name {
                    $($text => Some(ErrorCode::$name),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// A message on a JSON connection is not one JSON object.
    InvalidJson = "invalid_json",
    /// A message on a Protobuf connection is not a `gameproto.Message`: it is cut short, or has a bad tag.
    InvalidProtobuf = "invalid_protobuf",
    /// A text is not UTF-8, or has half of a surrogate pair.
    InvalidUtf8 = "invalid_utf8",
    /// A binary frame on a JSON connection, or a text frame on a Protobuf connection.
    WrongFormat = "wrong_format",
    /// A client can't send this `type`.
    UnknownType = "unknown_type",
    /// The message lacks a field that it needs.
    MissingField = "missing_field",
    /// A field has a value of another type, or in Protobuf another wire type.
    WrongType = "wrong_type",
    /// A field's value is out of its range, or two fields contradict each other.
    InvalidValue = "invalid_value",
    /// A name or id is empty, is too long, or has a character that is not allowed.
    InvalidName = "invalid_name",
    /// Objects and arrays are nested too deeply.
    TooDeep = "too_deep",
    /// A list or map has too many entries.
    TooMany = "too_many",
    /// The message, or a field of it, has too many bytes.
    TooLarge = "too_large",
    /// The presence would have too many keys or bytes.
    PresenceTooLarge = "presence_too_large",
    /// The server does not speak the protocol version of the `hello`.
    UnsupportedVersion = "unsupported_version",
    /// The message is not possible now: a `hello` after the client was let in.
    Unexpected = "unexpected",
    /// The server does not do this yet, or is not configured to.
    NotSupported = "not_supported",
    /// The client needs a token, or the token is not good.
    Unauthorized = "unauthorized",
    /// The token does not allow this.
    Forbidden = "forbidden",
    /// The sender is not in that room, or in none.
    NotInRoom = "not_in_room",
    /// The room has as many players as its kind takes.
    RoomFull = "room_full",
    /// The room's kind is not configured, and this server takes only configured kinds.
    UnknownKind = "unknown_kind",
    /// The session is in as many rooms as one may be.
    TooManyRooms = "too_many_rooms",
    /// The user has as many sessions as one may have.
    TooManySessions = "too_many_sessions",
    /// No session, or no user with a session, has the id that the direct message names.
    RecipientNotFound = "recipient_not_found",
    /// Too many messages in a short time.
    RateLimited = "rate_limited",
    /// The server can't do it at the moment.
    Unavailable = "unavailable",
    /// A `seq` before this one is missing.
    SeqGap = "seq_gap",
    /// Too many of the client's messages to this room, or of its direct messages, wait for their answers.
    TooManyUnanswered = "too_many_unanswered",
    /// No player in the room has that `target_id`, or the player can't be a target now.
    TargetNotFound = "target_not_found",
    /// The position, or the distance to the target, is beyond what the room allows.
    OutOfRange = "out_of_range",
    /// The player did this action a moment ago, and may not do it again yet.
    OnCooldown = "on_cooldown",
    /// The room's logic refuses the message.
    ActionRefused = "action_refused",
    /// The room's logic failed, and the room was closed.
    RoomFailed = "room_failed",
    /// The application has put the user out of the room.
    Removed = "removed",
    /// The application does not let the user into this room for a time.
    Banned = "banned",
    /// The application lets nobody more into this room for a time.
    RoomLocked = "room_locked",
    /// Only the room's logic sends events of this name.
    ReservedEvent = "reserved_event",
}

impl ErrorCode {
    /// The place in [`ErrorCode::ALL`].
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Whether the same message, sent again later, may be taken.
    pub const fn retryable(self) -> bool {
        matches!(
            self,
            ErrorCode::RoomFull
                | ErrorCode::TooManySessions
                | ErrorCode::RecipientNotFound
                | ErrorCode::RateLimited
                | ErrorCode::Unavailable
                | ErrorCode::SeqGap
                | ErrorCode::TooManyUnanswered
                | ErrorCode::OnCooldown
        )
    }

    /// Whether the refusal is final for the message's `seq`. If not, the next message must not use the next `seq` before
    /// this one was sent again or given up with `skip`.
    pub const fn uses_seq(self) -> bool {
        !matches!(
            self,
            ErrorCode::RateLimited
                | ErrorCode::Unavailable
                | ErrorCode::SeqGap
                | ErrorCode::TooManyUnanswered
        )
    }

    /// Whether the client broke the protocol: what a repeat offender is closed for. A refusal by a room's logic, a full
    /// room or a busy server is none.
    pub const fn is_offence(self) -> bool {
        matches!(
            self,
            ErrorCode::InvalidJson
                | ErrorCode::InvalidProtobuf
                | ErrorCode::InvalidUtf8
                | ErrorCode::WrongFormat
                | ErrorCode::UnknownType
                | ErrorCode::MissingField
                | ErrorCode::WrongType
                | ErrorCode::InvalidValue
                | ErrorCode::InvalidName
                | ErrorCode::TooDeep
                | ErrorCode::TooMany
                | ErrorCode::TooLarge
                | ErrorCode::PresenceTooLarge
                | ErrorCode::UnsupportedVersion
                | ErrorCode::Unexpected
                | ErrorCode::Unauthorized
                | ErrorCode::NotInRoom
        )
    }
}

/// Why a message could not be decoded, and what could be read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMessage {
    /// The code for the `error` that answers it.
    pub code: ErrorCode,
    /// A sentence for a developer. Names the key to change where a limit is the reason.
    pub message: Cow<'static, str>,
    /// Its `seq`, if it was read.
    pub seq: Option<u64>,
    /// The client's number for the request, if it was read; 0: it has none.
    pub request_id: u32,
    /// Its type, if it was read.
    pub request: Option<MessageType>,
    /// Its room, if it was read and the message was not for a client or a user.
    pub room_id: Option<String>,
    /// Whether it is a `chat` or `event` for a client or a user: then its `seq` is one of the direct messages'.
    pub direct: bool,
}

impl From<Fault> for BadMessage {
    fn from(fault: Fault) -> BadMessage {
        let Fault { code, message, .. } = fault;
        BadMessage {
            code,
            message,
            seq: None,
            request_id: 0,
            request: None,
            room_id: None,
            direct: false,
        }
    }
}

impl std::fmt::Display for BadMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for BadMessage {}

/// What is wrong with a part of a message.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) code: ErrorCode,
    pub(crate) message: Cow<'static, str>,
    /// Whether the message says which field it is about.
    named: bool,
}

impl Fault {
    /// About the message as a whole, or about a field that the sentence names.
    #[cold]
    pub(crate) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault {
            code,
            message: message.into(),
            named: true,
        }
    }

    /// About a field whose name [`Fault::name`] puts before the sentence.
    #[cold]
    pub(crate) fn field(code: ErrorCode, message: &'static str) -> Fault {
        Fault {
            code,
            message: Cow::Borrowed(message),
            named: false,
        }
    }

    #[cold]
    pub(crate) fn missing(name: &str) -> Fault {
        Fault::new(ErrorCode::MissingField, format!("`{name}` is missing"))
    }

    /// Names the field, unless one further inside is named already.
    #[cold]
    pub(crate) fn name(mut self, name: &str) -> Fault {
        if !self.named {
            self.message = Cow::Owned(format!("`{name}` {}", self.message));
            self.named = true;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_numbers_and_names_of_their_own() {
        for (index, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(usize::from(code.number()), index);
            assert_eq!(ErrorCode::from_name(code.as_str()), Some(*code));
            assert!(
                code.uses_seq() || code.retryable(),
                "{code:?} leaves its seq open for ever"
            );
        }
    }
}
