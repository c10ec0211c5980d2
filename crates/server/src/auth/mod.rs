//! Tokens: JSON Web Tokens (RFC 7519) that say who a client is and what it may do.
//!
//! A key has one algorithm, which its type decides; the one that a token names only chooses among the keys. So a public
//! key never serves as a secret, and `none` chooses nothing.

mod claims;
pub(crate) mod fault;
mod header;
mod jwks;
mod key;
mod keys;
mod remote;
mod settings;
mod sign;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode};
use roomcast_core::{Identity, TokenFault};
use roomcast_protocol::Limits;
use tokio::sync::Notify;

use claims::Claims;
use key::Key;
use keys::Keys;

use crate::clock::own_unix_ms;
use crate::files::FromFiles;

pub(crate) use keys::problems;
pub(crate) use remote::{check_jwks_path, follow};
pub use settings::{Algorithm, Anonymous, AuthSettings, Secret};
pub use sign::{NewToken, Signer};

/// Unknown keys that are remembered at most: anybody can name some.
const MOST_UNKNOWN: usize = 64;

/// What tokens are checked with. Shared by all threads.
///
/// [`Authority::verify`] computes and waits for nothing. Measured in a release build on one core of the benchmarks'
/// machine, it takes 2 µs with HS256, 16 µs with RS256 (2048 bits), 25 µs with EdDSA and 36 µs with ES256: 10,000
/// connections with a token each cost a core 0.02 to 0.36 s.
pub(crate) struct Authority {
    /// Replaced as a whole when a file of keys has changed; locked for as long as it takes to copy the pointer.
    keys: RwLock<Arc<Keys>>,
    /// The newest key set that was fetched, and when it was asked for.
    fetched: Mutex<Option<(Instant, Bytes)>>,
    /// Keys that tokens have named and that nobody knew, with the time when that was seen first.
    unknown: Mutex<VecDeque<(Option<String>, Instant)>>,
    /// There is one more: the set may have it by now.
    unknown_key: Notify,
    settings: AuthSettings,
    limits: Limits,
}

impl Authority {
    /// The keys of the settings; nothing where there are none.
    ///
    /// # Errors
    /// A key that can't be read or used, as a sentence that names its setting.
    pub(crate) fn load(
        settings: &AuthSettings,
        limits: &Limits,
    ) -> Result<Option<Arc<Authority>>, String> {
        if !settings.has_keys() {
            return Ok(None);
        }
        let keys = Keys::load(settings, None).map_err(|problem| problem.to_string())?;
        Ok(Some(Arc::new(Authority {
            keys: RwLock::new(Arc::new(keys)),
            fetched: Mutex::default(),
            unknown: Mutex::default(),
            unknown_key: Notify::new(),
            settings: settings.clone(),
            limits: limits.clone(),
        })))
    }

    /// Checks a token at this time, in milliseconds since the Unix epoch: its signature first, then what it says.
    ///
    /// # Errors
    /// A sentence of [`fault`].
    pub(crate) fn verify(&self, unix_ms: i64, token: &str) -> Result<Identity, TokenFault> {
        self.check(unix_ms, token).map_err(|sentence| {
            let unknown = matches!(sentence, fault::UNKNOWN_KEY | fault::ALGORITHM);
            if !unknown || !self.settings.fetches() {
                return TokenFault::Bad(sentence);
            }
            let kid = header::read(token).ok().and_then(|header| header.kid);
            if self.lacks(kid) {
                return TokenFault::Bad(sentence);
            }
            TokenFault::NotYet
        })
    }

    /// Whether a set that was fetched since a key was first asked for does not have it. A provider may sign with a new key
    /// at once: before that nobody is refused for good.
    fn lacks(&self, kid: Option<String>) -> bool {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let fetched = fetched.as_ref().map(|(at, _)| *at);
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, since)) = unknown.iter_mut().find(|(it, _)| *it == kid) {
            let lacks = |at: Instant| at > *since && at.elapsed() < remote::PACE;
            if fetched.is_some_and(lacks) {
                return true;
            }
            // The set may have it since.
            *since = (*since).max(fetched.unwrap_or(*since));
            self.unknown_key.notify_one();
            return false;
        }
        if unknown.len() >= MOST_UNKNOWN {
            unknown.pop_front();
        }
        unknown.push_back((kid, Instant::now()));
        self.unknown_key.notify_one();
        false
    }

    /// Whether a key set was never fetched yet.
    pub(crate) fn waits_for_keys(&self) -> bool {
        self.settings.fetches() && self.fetched().is_none()
    }

    fn fetched(&self) -> Option<Bytes> {
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        fetched.as_ref().map(|(_, text)| text.clone())
    }

    /// Takes a key set that was fetched, and asked for `at` this time.
    ///
    /// # Errors
    /// It is none. The one before stays.
    fn take_fetched(&self, at: Instant, text: Bytes) -> Result<(), String> {
        let keys =
            Keys::load(&self.settings, Some(&text)).map_err(|problem| problem.to_string())?;
        *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, text));
        self.replace(keys);
        Ok(())
    }

    fn replace(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn check(&self, unix_ms: i64, token: &str) -> Result<Identity, &'static str> {
        let max = self.limits.max_token;
        if max != 0 && token.len() > max {
            return Err(fault::TOO_LARGE);
        }
        let header = header::read(token)?;
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let mut outcome = Err(fault::SIGNATURE);
        for key in keys.choose(header.algorithm, header.kid.as_deref())? {
            outcome = signed_claims(token, key);
            // Only another key can make a wrong signature right.
            if !matches!(outcome, Err(fault::SIGNATURE)) {
                break;
            }
        }
        outcome?.identity(unix_ms, &self.settings, &self.limits)
    }
}

impl FromFiles for Authority {
    const WHAT: &'static str = "the keys for tokens";

    fn files(&self) -> Vec<PathBuf> {
        let is_file = |path: &&String| !path.is_empty() && !self.settings.fetches();
        let jwks = Some(&self.settings.jwks_path).filter(is_file);
        let pem = self.settings.public_key_paths.iter();
        pem.chain(jwks).map(PathBuf::from).collect()
    }

    fn interval(&self) -> Duration {
        self.settings.reload_interval
    }

    fn reload(&self) -> Result<(), String> {
        let fetched = self.fetched();
        let keys = Keys::load(&self.settings, fetched.as_deref());
        self.replace(keys.map_err(|problem| problem.to_string())?);
        Ok(())
    }
}

/// Why a server with these settings would refuse a token now, if it would.
pub fn refusal(settings: &AuthSettings, limits: &Limits, token: &str) -> Option<&'static str> {
    let authority = Authority::load(settings, limits);
    let Ok(Some(authority)) = authority else {
        return Some(fault::NOT_SUPPORTED);
    };
    authority.check(own_unix_ms(), token).err()
}

/// What a token says, if that key has signed it. Times, audience and issuer are ours to check: with the caller's clock,
/// and with a sentence for each.
fn signed_claims(token: &str, key: &Key) -> Result<Claims, &'static str> {
    let mut validation = Validation::new(key.algorithm.into());
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    decode::<Claims>(token, &key.decoding, &validation)
        .map(|token| token.claims)
        .map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => fault::SIGNATURE,
            ErrorKind::InvalidAlgorithm => fault::ALGORITHM,
            // The signature was right before anybody looked at the claims.
            ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidClaimFormat(_) => {
                fault::CLAIMS
            }
            _ => fault::MALFORMED,
        })
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}
