//! `[auth]`: settings, which know nothing of the rest of the configuration.

use std::fmt;
use std::time::Duration;

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256: who can check a token can make one.
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    Rs256,
    /// ECDSA with the curve P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    pub(crate) const ALL: [Algorithm; 4] = [
        Algorithm::Hs256,
        Algorithm::Rs256,
        Algorithm::Es256,
        Algorithm::EdDsa,
    ];

    /// As in a token's `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// `[auth]`: what tokens are checked with, and who needs none.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// The secret of HS256, at least 32 bytes; empty for none.
    pub hs256_secret: Secret,
    /// PEM files with public keys: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA.
    pub public_key_paths: Vec<String>,
    /// A file with a JSON Web Key Set, or the `https` URL of one; empty for none.
    pub jwks_path: String,
    /// A PEM file with the certificates that are trusted when it is fetched; empty for those of the system.
    pub jwks_ca_path: String,
    /// How often a key set is fetched at least. Never off.
    pub jwks_refresh: Duration,
    /// How often the files of keys are looked at. Never off.
    pub reload_interval: Duration,
    /// Algorithms that there may be keys for.
    pub algorithms: Vec<Algorithm>,
    /// Whom a token may be for (`aud`): one of them. Empty: a token that names somebody is refused.
    pub audience: Vec<String>,
    /// Whom a token may be from (`iss`): one of them. Empty: anybody who has a key.
    pub issuer: Vec<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// Whether a token needs an end (`exp`).
    pub require_exp: bool,
    /// Whether clients without a token are served; `None`: see [`Anonymous`].
    pub anonymous: Option<bool>,
}

impl Default for AuthSettings {
    fn default() -> AuthSettings {
        AuthSettings {
            hs256_secret: Secret::default(),
            public_key_paths: Vec::new(),
            jwks_path: String::new(),
            jwks_ca_path: String::new(),
            jwks_refresh: Duration::from_secs(300),
            reload_interval: Duration::from_secs(5),
            algorithms: Algorithm::ALL.to_vec(),
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway: Duration::from_secs(30),
            require_exp: true,
            anonymous: None,
        }
    }
}

impl AuthSettings {
    /// Whether there is a key to check tokens with.
    pub fn has_keys(&self) -> bool {
        let none = self.hs256_secret.expose().is_empty()
            && self.public_key_paths.is_empty()
            && self.jwks_path.is_empty();
        !none
    }

    /// Whether the key set is fetched, and not read from a file.
    pub fn fetches(&self) -> bool {
        self.jwks_path.contains("://")
    }

    /// Who is served without a token, on a listener that is on loopback or not.
    pub(crate) fn anonymous(&self, loopback: bool, public_demo: bool) -> Anonymous {
        match self.anonymous {
            Some(true) => Anonymous::Everybody,
            Some(false) => Anonymous::Nobody,
            None if public_demo => Anonymous::Everybody,
            None if loopback => Anonymous::Local,
            None => Anonymous::Nobody,
        }
    }
}

/// Who is served without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Nobody.
    Nobody,
    /// Clients on this machine whose request no proxy has brought.
    Local,
    /// Everybody.
    Everybody,
}

/// A text that is never shown.
#[derive(Clone, Default)]
pub struct Secret(pub(crate) String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "none"
        } else {
            "(not shown)"
        })
    }
}
