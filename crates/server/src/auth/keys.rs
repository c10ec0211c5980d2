//! The keys of the settings: read, and chosen from.

use std::fmt;

use jsonwebtoken::DecodingKey;

use super::key::Key;
use super::settings::{Algorithm, AuthSettings};
use super::{fault, jwks};
use crate::files::read;

/// Keys in all: a token without `kid` is tried with each of its algorithm.
const MOST_KEYS: usize = 32;

/// All keys that tokens are checked with.
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Reads the keys of the settings. `fetched` are those of a key set that is elsewhere, where it was fetched.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn load(
        settings: &AuthSettings,
        fetched: Option<&[u8]>,
    ) -> Result<Keys, KeyProblem> {
        let mut keys = Vec::new();
        let secret = settings.hs256_secret.expose();
        if !secret.is_empty() {
            let key = Key::new(None, DecodingKey::from_secret(secret.as_bytes()));
            keys.push(key.map_err(|wrong| KeyProblem::new(SECRET, format!("{SECRET} {wrong}")))?);
        }
        for path in &settings.public_key_paths {
            let wrong = |wrong: String| KeyProblem::new(PEM, format!("{PEM}: {path:?} {wrong}"));
            let pem = read(path).map_err(wrong)?;
            keys.push(Key::from_pem(&pem).map_err(wrong)?);
        }
        if !settings.jwks_path.is_empty() {
            let path = &settings.jwks_path;
            let wrong = |wrong: String| KeyProblem::new(JWKS, format!("{JWKS} = {path:?} {wrong}"));
            if settings.fetches() {
                let most = MOST_KEYS.saturating_sub(keys.len());
                let read = |text| jwks::read_public(text, &settings.algorithms, most);
                let set = fetched.map(read).transpose();
                keys.extend(set.map_err(wrong)?.unwrap_or_default());
            } else {
                let text = read(path).map_err(wrong)?;
                keys.extend(jwks::read(&text).map_err(wrong)?);
            }
        }
        if keys.len() > MOST_KEYS {
            let message = format!("{JWKS}: there are more than {MOST_KEYS} keys in all");
            return Err(KeyProblem::new(JWKS, message));
        }
        let allowed = &settings.algorithms;
        if let Some(key) = keys.iter().find(|key| !allowed.contains(&key.algorithm)) {
            let name = key.algorithm.name();
            let message = format!("{ALGORITHMS} lacks {name:?}, which a configured key is for");
            return Err(KeyProblem::new(ALGORITHMS, message));
        }
        Ok(Keys(keys))
    }

    /// The keys that a token with this algorithm and `kid` may be signed with: those of that id, or else those without
    /// any.
    ///
    /// # Errors
    /// There are none: a sentence of [`fault`].
    pub(super) fn choose(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<impl Iterator<Item = &Key>, &'static str> {
        if !self.0.iter().any(|key| key.algorithm == algorithm) {
            return Err(fault::ALGORITHM);
        }
        let named = kid.filter(|kid| self.0.iter().any(|key| key.kid.as_deref() == Some(*kid)));
        let may = move |key: &&Key| {
            key.algorithm == algorithm
                && match (named, kid) {
                    (Some(kid), _) => key.kid.as_deref() == Some(kid),
                    (None, Some(_)) => key.kid.is_none(),
                    (None, None) => true,
                }
        };
        if !self.0.iter().any(|key| may(&key)) {
            return Err(if named.is_some() {
                fault::ALGORITHM
            } else {
                fault::UNKNOWN_KEY
            });
        }
        Ok(self.0.iter().filter(may))
    }
}

/// What is wrong with the keys of the settings, if anything is.
pub(crate) fn problems(settings: &AuthSettings) -> Option<KeyProblem> {
    Keys::load(settings, None).err()
}

const SECRET: &str = "auth.hs256_secret";
const PEM: &str = "auth.public_key_paths";
const JWKS: &str = "auth.jwks_path";
const ALGORITHMS: &str = "auth.algorithms";

/// A key that can't be used.
#[derive(Debug)]
pub(crate) struct KeyProblem {
    /// The setting that it is from.
    pub(crate) setting: &'static str,
    message: String,
}

impl KeyProblem {
    fn new(setting: &'static str, message: String) -> KeyProblem {
        KeyProblem { setting, message }
    }
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
