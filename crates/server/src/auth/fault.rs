//! Why a token is refused: every sentence there is, as docs/authentication.md lists them. None has a part of a token.

pub(crate) const MALFORMED: &str = "The token is malformed: it is not a signed JWT.";
pub(crate) const ALGORITHM: &str = "The token's algorithm is not allowed here.";
pub(crate) const UNKNOWN_KEY: &str = "The token's key (kid) is not known here.";
pub(crate) const SIGNATURE: &str = "The token's signature is wrong.";
pub(crate) const CRITICAL: &str =
    "The token's header has critical extensions (crit), which are not supported.";
pub(crate) const CLAIMS: &str =
    "The token's claims are malformed: one of them has the wrong type, or is there twice.";
pub(crate) const EXPIRED: &str = "The token has expired.";
pub(crate) const NO_EXPIRY: &str = "The token has no end (exp), and needs one.";
pub(crate) const NOT_YET: &str = "The token is not valid yet (nbf).";
pub(crate) const AUDIENCE: &str = "The token is for another audience (aud).";
pub(crate) const ISSUER: &str = "The token is from another issuer (iss).";
pub(crate) const USER: &str =
    "The token's user (sub) is no id: it is too long, or has white space or control characters.";
pub(crate) const NAME: &str = "The token's name is no nickname.";
pub(crate) const ROOM: &str =
    "The token names rooms that can't be: it takes names, \"kind:*\" and \"*\".";
pub(crate) const RIGHT: &str =
    "The token allows something unknown: it takes join, publish, presence, history and direct.";
pub(crate) const TOO_MANY_GRANTS: &str = "The token names more than 64 rooms.";
pub(crate) const TOO_LARGE: &str = "The token is too large (message.max_token).";
pub(crate) const HEADER: &str = "The header Authorization is not one \"Bearer\" and a token.";

/// For an HTTP answer where [`roomcast_core::TokenFault::NotSupported`] is told.
pub(crate) const NOT_SUPPORTED: &str = "This server takes no tokens: no key is configured (auth).";

/// For an HTTP answer where [`roomcast_core::TokenFault::NotYet`] is told.
pub(crate) const NO_KEYS_YET: &str =
    "The keys for tokens have not been fetched yet (auth.jwks_path).";

/// All of them, for the test of the document.
#[cfg(test)]
pub(crate) const ALL: &[&str] = &[
    MALFORMED,
    ALGORITHM,
    UNKNOWN_KEY,
    SIGNATURE,
    CRITICAL,
    CLAIMS,
    EXPIRED,
    NO_EXPIRY,
    NOT_YET,
    AUDIENCE,
    ISSUER,
    USER,
    NAME,
    ROOM,
    RIGHT,
    TOO_MANY_GRANTS,
    TOO_LARGE,
    HEADER,
    NOT_SUPPORTED,
];
