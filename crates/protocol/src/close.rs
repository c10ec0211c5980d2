//! Close codes: why a connection ended, and whether a client connects again.

/// Why the server closes a connection: RFC 6455 section 7.4.1 below 4000, Roomcast's own from there.
///
/// After 4000 to 4499 a client connects again, after 4500 to 4999 it does not. Of the RFC's codes it does not after 1002,
/// 1003, 1007 and 1009, as it would do the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
#[non_exhaustive]
pub enum CloseCode {
    /// The client closed with 1000, and the server answers. The session has ended; the client may connect again when
    /// it wants to.
    Normal = 1000,
    /// The client closed with 1001, as a browser does when a page closes, and the server answers.
    GoingAway = 1001,
    /// A breach of RFC 6455.
    ProtocolError = 1002,
    /// Too many errors, and the last frame was of the wrong type: binary for JSON, or text for Protobuf.
    UnsupportedData = 1003,
    /// A text frame that is not UTF-8.
    InvalidText = 1007,
    /// A message so large that the server does not read to its end.
    TooBig = 1009,
    /// The server shuts down, or moves its clients to another address: see `reconnect`.
    Reconnect = 4000,
    /// The client reads more slowly than its messages arrive, and too many wait for it.
    SlowReader = 4001,
    /// No byte came from the client for `heartbeat.pong_timeout`.
    HeartbeatTimeout = 4002,
    /// The client is in no room and has sent no message for `pool.max_idle`. Or it has shown no token within
    /// `auth.token_timeout`.
    Idle = 4003,
    /// The client is in no room, and the connection is older than `pool.max_lifetime`.
    MaxLifetime = 4004,
    /// The socket took no byte for `heartbeat.write_timeout`.
    WriteTimeout = 4005,
    /// The server can take no more connections, and noticed it only after the handshake. Or the user has too many
    /// sessions (`too_many_sessions`).
    Overloaded = 4006,
    /// The token has ended. The client connects again with a new one.
    TokenExpired = 4007,
    /// A message did not arrive whole within `limits.message_timeout`.
    MessageTimeout = 4008,
    /// Too many messages were refused in a short time.
    TooManyErrors = 4500,
    /// The session was resumed on another connection. The client does not connect again, with one exception: see
    /// docs/protocol.md.
    TakenOver = 4501,
    /// The token is not good.
    Unauthorized = 4502,
    /// The application has sent its user away: see docs/api.md. The reason may say why.
    Disconnected = 4503,
}

impl CloseCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [CloseCode; 19] = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::ProtocolError,
        CloseCode::UnsupportedData,
        CloseCode::InvalidText,
        CloseCode::TooBig,
        CloseCode::Reconnect,
        CloseCode::SlowReader,
        CloseCode::HeartbeatTimeout,
        CloseCode::Idle,
        CloseCode::MaxLifetime,
        CloseCode::WriteTimeout,
        CloseCode::Overloaded,
        CloseCode::TokenExpired,
        CloseCode::MessageTimeout,
        CloseCode::TooManyErrors,
        CloseCode::TakenOver,
        CloseCode::Unauthorized,
        CloseCode::Disconnected,
    ];

    /// The number in the close frame.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The code with this number, if it is one that the server sends.
    pub fn from_code(code: u16) -> Option<CloseCode> {
        CloseCode::ALL
            .into_iter()
            .find(|known| known.code() == code)
    }

    /// The name, with which the close frame's reason begins.
    pub const fn as_str(self) -> &'static str {
        match self {
            CloseCode::Normal => "normal",
            CloseCode::GoingAway => "going_away",
            CloseCode::ProtocolError => "protocol_error",
            CloseCode::UnsupportedData => "unsupported_data",
            CloseCode::InvalidText => "invalid_text",
            CloseCode::TooBig => "too_big",
            CloseCode::Reconnect => "reconnect",
            CloseCode::SlowReader => "slow_reader",
            CloseCode::HeartbeatTimeout => "heartbeat_timeout",
            CloseCode::Idle => "idle",
            CloseCode::MaxLifetime => "max_lifetime",
            CloseCode::WriteTimeout => "write_timeout",
            CloseCode::Overloaded => "overloaded",
            CloseCode::TokenExpired => "token_expired",
            CloseCode::MessageTimeout => "message_timeout",
            CloseCode::TooManyErrors => "too_many_errors",
            CloseCode::TakenOver => "taken_over",
            CloseCode::Unauthorized => "unauthorized",
            CloseCode::Disconnected => "disconnected",
        }
    }

    /// Whether the client should connect again.
    pub const fn comes_back(self) -> bool {
        comes_back(self.code())
    }

    /// The close frame's reason: the name and, for a code that comes back, when. At most 123 bytes (RFC 6455 section
    /// 5.5).
    pub fn reason(self, retry_after_ms: u64) -> String {
        if self.comes_back() && retry_after_ms > 0 {
            format!("{}; retry_after_ms={retry_after_ms}", self.as_str())
        } else {
            self.as_str().to_owned()
        }
    }
}

/// Whether a client should connect again after a close with this code, known or not. 1006, a connection that just broke,
/// comes back.
pub const fn comes_back(code: u16) -> bool {
    !matches!(code, 1002 | 1003 | 1007 | 1009 | 4500..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_say_whether_to_come_back() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_code(code.code()), Some(code));
            if code.code() >= 4000 {
                assert_eq!(code.comes_back(), code.code() < 4500, "{code:?}");
            }
            assert!(code.reason(u64::MAX).len() <= 123);
        }
        assert!(comes_back(1006) && CloseCode::GoingAway.comes_back());
        assert!(!CloseCode::TooBig.comes_back() && !CloseCode::InvalidText.comes_back());
        assert_eq!(
            CloseCode::SlowReader.reason(1000),
            "slow_reader; retry_after_ms=1000"
        );
        assert_eq!(CloseCode::TakenOver.reason(1000), "taken_over");
    }
}
