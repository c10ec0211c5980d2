//! Whether a connection's client was let in, and as whom.

use roomcast_protocol::{CloseCode, ErrorCode};

use crate::host::Host;
use crate::identity::{Access, Identity, Rights, TokenFault};
use crate::time::Now;

/// Whom a session belongs to. All begin outside, where nothing is done for their clients: only [`Admission::enter`] lets
/// one in.
#[derive(Debug)]
pub(super) enum Admission {
    /// Nobody was let in. The client's first good message may be, by what the connection's request said.
    Outside {
        /// Whom the token in the request's header names.
        identity: Option<Box<Identity>>,
        /// Whether a client without a token is served.
        anonymous: bool,
    },
    /// A client that is served without a token. It may do everything.
    Anonymous,
    /// The client that a token names. It may do what that token allows.
    Token(Box<Identity>),
}

/// Why somebody stays outside: what the `error` says, and how the connection is closed.
pub(super) type Refusal = (ErrorCode, &'static str, CloseCode);

const NEEDS_TOKEN: &str = "this server asks for a token: send it in `hello`, or in the header `Authorization: Bearer` of the request";
pub(super) const TOKEN_ENDED: &str = "the token has expired: connect again with a new one";

impl Default for Admission {
    fn default() -> Admission {
        Admission::Outside {
            identity: None,
            anonymous: false,
        }
    }
}

impl Admission {
    /// Nobody was let in yet on a connection whose request said this.
    pub(super) fn outside(access: Access) -> Admission {
        Admission::Outside {
            identity: access.identity,
            anonymous: access.anonymous,
        }
    }

    /// What lets a client in that is outside: its token, or else what its request said. `None`: it is inside.
    pub(super) fn enter<H: Host>(
        &self,
        host: &mut H,
        now: Now,
        token: Option<&str>,
    ) -> Option<Result<Admission, Refusal>> {
        let Admission::Outside {
            identity,
            anonymous,
        } = self
        else {
            return None;
        };
        Some(match (token, identity) {
            (Some(token), _) => match host.verify(now.unix_ms, token) {
                Ok(identity) => Ok(Admission::Token(Box::new(identity))),
                Err(fault) => {
                    let (code, sentence) = token_fault(fault);
                    let close = match fault {
                        TokenFault::NotYet => CloseCode::Reconnect,
                        _ => CloseCode::Unauthorized,
                    };
                    Err((code, sentence, close))
                }
            },
            (None, Some(identity)) if identity.is_over(now.unix_ms) => Err((
                ErrorCode::Unauthorized,
                TOKEN_ENDED,
                CloseCode::TokenExpired,
            )),
            (None, Some(identity)) => Ok(Admission::Token(identity.clone())),
            (None, None) if *anonymous => Ok(Admission::Anonymous),
            (None, None) => Err((
                ErrorCode::Unauthorized,
                NEEDS_TOKEN,
                CloseCode::Unauthorized,
            )),
        })
    }

    pub(super) fn is_inside(&self) -> bool {
        !matches!(self, Admission::Outside { .. })
    }

    /// Whether the client is outside, and gets in by a token of its own alone.
    pub(super) fn waits_for_token(&self) -> bool {
        matches!(
            self,
            Admission::Outside {
                identity: None,
                anonymous: false
            }
        )
    }

    /// Whom the token names by which the client was let in.
    pub(super) fn identity(&self) -> Option<&Identity> {
        match self {
            Admission::Token(identity) => Some(identity),
            Admission::Outside { .. } | Admission::Anonymous => None,
        }
    }

    /// When the client's token ends, in milliseconds since the Unix epoch; 0: never, or there is none.
    pub(super) fn ends_at(&self) -> i64 {
        let identity = match self {
            Admission::Outside { identity, .. } => identity.as_deref(),
            inside => inside.identity(),
        };
        identity.map_or(0, |identity| identity.expires_at)
    }

    pub(super) fn is_over(&self, unix_ms: i64) -> bool {
        let ends_at = self.ends_at();
        ends_at > 0 && unix_ms >= ends_at
    }

    /// Whether a session that belongs to this client goes on as it, where `shown` is what its client has shown now: a
    /// token that has ended is nobody's any more.
    pub(super) fn goes_on(&self, shown: &Admission, unix_ms: i64) -> bool {
        shown.identity().is_some() || !self.is_over(unix_ms)
    }

    pub(super) fn may_send_direct(&self) -> bool {
        match self {
            Admission::Outside { .. } => false,
            Admission::Anonymous => true,
            Admission::Token(identity) => identity.direct,
        }
    }

    /// What may be done in a room.
    pub(super) fn rights(&self, room: &str) -> Rights {
        match self {
            Admission::Outside { .. } => Rights::NONE,
            Admission::Anonymous => Rights::ALL,
            Admission::Token(identity) => identity.rights(room),
        }
    }
}

pub(super) fn token_fault(fault: TokenFault) -> (ErrorCode, &'static str) {
    match fault {
        TokenFault::NotSupported => (
            ErrorCode::NotSupported,
            "this server has no key to check tokens with: see `auth` in its configuration",
        ),
        TokenFault::NotYet => (
            ErrorCode::Unavailable,
            "the keys to check tokens with have not been fetched yet; try again later",
        ),
        TokenFault::Bad(sentence) => (ErrorCode::Unauthorized, sentence),
    }
}
