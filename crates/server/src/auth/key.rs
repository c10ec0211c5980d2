//! The keys: from the secret, from PEM files, from a JWKS file.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};

use super::{fault, jwks};
use crate::config::AuthSettings;

/// Keys in all: a token without `kid` is tried with each of its algorithm.
const MOST_KEYS: usize = 32;
/// RFC 7518 section 3.2: a secret has at least as many bits as the hash.
pub(super) const LEAST_SECRET: usize = 32;
/// A file of keys has a few KiB.
const LARGEST_FILE: u64 = 1024 * 1024;

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

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
        match algorithm {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// One key, which checks tokens of one algorithm.
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

impl Key {
    /// # Errors
    /// Why the key can't check tokens, to be put behind "it" or the key's name.
    pub(super) fn new(kid: Option<String>, decoding: DecodingKey) -> Result<Key, String> {
        let algorithm = match decoding.family() {
            AlgorithmFamily::Hmac => Algorithm::Hs256,
            AlgorithmFamily::Rsa => Algorithm::Rs256,
            AlgorithmFamily::Ec => Algorithm::Es256,
            AlgorithmFamily::Ed => Algorithm::EdDsa,
        };
        check(algorithm, &decoding)?;
        Ok(Key {
            kid,
            algorithm,
            decoding,
        })
    }

    fn from_pem(pem: &[u8]) -> Result<Key, String> {
        let readers = [
            DecodingKey::from_rsa_pem,
            DecodingKey::from_ec_pem,
            DecodingKey::from_ed_pem,
        ];
        if pem.windows(11).any(|part| part == b"PRIVATE KEY") {
            return Err(
                "is a private key: the server needs the public one (`openssl pkey -pubout`)"
                    .to_owned(),
            );
        }
        let decoding = readers.into_iter().find_map(|read| read(pem).ok());
        let decoding = decoding.ok_or(
            "is not the public key of RSA, of the curve P-256 or of Ed25519 as PEM (\"BEGIN PUBLIC KEY\")",
        )?;
        Key::new(None, decoding)
    }
}

/// Whether the key's numbers are such a key: the signatures are checked by who else finds it out only then.
fn check(algorithm: Algorithm, key: &DecodingKey) -> Result<(), String> {
    let parse = |with: &'static dyn VerificationAlgorithm, wrong: &str| {
        let bytes = key.try_get_as_bytes().map_err(|_| wrong.to_owned())?;
        match ParsedPublicKey::new(with, bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(wrong.to_owned()),
        }
    };
    match algorithm {
        Algorithm::Hs256 => match key.try_get_as_bytes() {
            Ok(secret) if secret.len() >= LEAST_SECRET => Ok(()),
            _ => Err(format!("is a secret of less than {LEAST_SECRET} bytes")),
        },
        Algorithm::Rs256 => match key.kind() {
            jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } => {
                let bits = n.iter().skip_while(|byte| **byte == 0).count() * 8;
                let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
                let good = (2048..=8192).contains(&bits) && odd(n) && odd(e) && e != &[1];
                good.then_some(()).ok_or_else(|| RSA.to_owned())
            }
            _ => parse(&RSA_PKCS1_2048_8192_SHA256, RSA),
        },
        Algorithm::Es256 => parse(
            &ECDSA_P256_SHA256_FIXED,
            "is not a key of the curve P-256, which ES256 needs",
        ),
        Algorithm::EdDsa => parse(&ED25519, "is not a key of Ed25519"),
    }
}

const RSA: &str = "is not an RSA key of 2048 to 8192 bits";

/// All keys that tokens are checked with.
pub(super) struct Keys(Vec<Key>);

impl Keys {
    /// Reads the keys of the settings.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn load(settings: &AuthSettings) -> Result<Keys, KeyProblem> {
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
            let text = read(path).map_err(wrong)?;
            keys.extend(jwks::read(&text).map_err(wrong)?);
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

    pub(super) fn count(&self) -> usize {
        self.0.len()
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
    Keys::load(settings).err()
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

fn read(path: &str) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > LARGEST_FILE {
        return Err("is larger than a file of keys can be (1MiB)".to_owned());
    }
    std::fs::read(path).map_err(unreadable)
}
