//! Why something was not done.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use roomcast_protocol::client::ErrorBody;

/// A refusal or a failure. [`Error::code`] is stable: the server's codes (`docs/protocol.md`, "Errors") and the
/// [client's own](code).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    retry_after_ms: u64,
}

/// A server that names a longer time is not believed: no client waits for ever because of what it was told.
pub(crate) const BELIEVED_MS: u64 = 600_000;

/// The codes that the client itself gives; all others are the server's.
pub mod code {
    /// There is no connection, and what was asked is not kept for later.
    pub const NOT_CONNECTED: &str = "not_connected";
    /// The room is not joined, and what was asked is not kept for later.
    pub const NOT_JOINED: &str = "not_joined";
    /// The bytes that wait would be more than [`Config::outbox_bytes`](crate::session::Config::outbox_bytes).
    pub const OUTBOX_FULL: &str = "outbox_full";
    /// Its time ran out before it was sent: it was not done.
    pub const EXPIRED: &str = "expired";
    /// It was withdrawn before it was sent: it was not done.
    pub const ABORTED: &str = "aborted";
    /// It was sent and has no answer, and none will be waited for: it may have been done.
    pub const UNCONFIRMED: &str = "unconfirmed";
    /// The room was left before it was sent: it was not done.
    pub const LEFT: &str = "left";
    /// The server did not answer in time: a page of history or members.
    pub const UNANSWERED: &str = "unanswered";
    /// Events are missing that can't be had any more.
    pub const GAP: &str = "gap";
    /// The client was closed.
    pub const CLOSED: &str = "closed";
    /// The connection broke, or could not be opened.
    pub const CONNECTION_LOST: &str = "connection_lost";
    /// The session went on over another connection.
    pub const TAKEN_OVER: &str = "taken_over";
    /// The server wants another token, or the source of tokens has none.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// The server answered the handshake with a status that will not change.
    pub const HANDSHAKE_REFUSED: &str = "handshake_refused";
    /// The message has more bytes than the server takes.
    pub const TOO_LARGE: &str = "too_large";
    /// The address is not one of a WebSocket.
    pub const BAD_URL: &str = "bad_url";
    /// The system gave no certificates or no random numbers.
    pub const SYSTEM: &str = "system";
}

impl Error {
    /// An error of one's own, as a source of tokens gives it.
    ///
    /// ```
    /// use roomcast_client::{Error, code};
    ///
    /// let error = Error::new(code::UNAUTHORIZED, "logged out");
    /// assert_eq!(error.to_string(), "unauthorized: logged out");
    /// ```
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Error {
        Error {
            code: code.into(),
            message: message.into(),
            retry_after_ms: 0,
        }
    }

    pub(crate) fn after(self, retry_after_ms: u64) -> Error {
        Error {
            retry_after_ms: retry_after_ms.min(BELIEVED_MS),
            ..self
        }
    }

    pub(crate) fn of_server(error: &ErrorBody) -> Error {
        Error {
            code: Cow::Owned(error.code.clone()),
            message: Cow::Owned(error.message.clone()),
            retry_after_ms: 0,
        }
        .after(error.retry_after_ms)
    }

    /// The stable code, as `rate_limited`.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// A sentence for a developer.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn retry_after_ms(&self) -> u64 {
        self.retry_after_ms
    }

    /// After which time asking again may help, if the server said so.
    pub fn retry_after(&self) -> Option<Duration> {
        (self.retry_after_ms > 0).then(|| Duration::from_millis(self.retry_after_ms))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}
