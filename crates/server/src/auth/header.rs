//! A token's header, as far as it chooses the key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fault;
use super::settings::Algorithm;

pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

/// The keys `jwk`, `jku` and `x5c` are not among them: a token doesn't bring its own key.
#[derive(Deserialize)]
struct Raw {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Reads the header of what should be a JWS in compact form (RFC 7515 section 7.1).
///
/// # Errors
/// A sentence of [`fault`].
pub(super) fn read(token: &str) -> Result<Header, &'static str> {
    let mut parts = token.split('.');
    let (Some(first), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(fault::MALFORMED);
    };
    let json = URL_SAFE_NO_PAD
        .decode(first)
        .map_err(|_| fault::MALFORMED)?;
    let raw: Raw = serde_json::from_slice(&json).map_err(|_| fault::MALFORMED)?;
    // RFC 7515 section 4.1.11: what is critical has to be understood.
    if raw.crit.is_some() {
        return Err(fault::CRITICAL);
    }
    let algorithm = Algorithm::from_name(&raw.alg).ok_or(fault::ALGORITHM)?;
    Ok(Header {
        algorithm,
        kid: raw.kid,
    })
}
