//! Makes tokens: for trying, and for tests. In production an application's own server makes them.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

use super::claims::{DIRECT, RIGHTS, is_pattern};
use super::key::LEAST_SECRET;
use super::settings::Algorithm;
use crate::clock::own_time;

/// What a token is to say.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// The user's id (`sub`).
    pub user: String,
    /// The nickname (`name`).
    pub name: Option<String>,
    /// Rooms, `kind:*` or `*`. None of them: every room.
    pub rooms: Vec<String>,
    /// What is allowed there: `join`, `publish`, `presence`, `history`; and `direct`, which is of no room. None of them:
    /// everything in these rooms, and `direct` where no rooms are named either.
    pub allow: Vec<String>,
    /// For how long it is good.
    pub ttl: Duration,
    /// Whom it is for (`aud`).
    pub audience: Option<String>,
    /// Who has made it (`iss`).
    pub issuer: Option<String>,
    /// The id of its key (`kid`).
    pub key_id: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<[Permission<'a>; 1]>,
}

#[derive(Serialize)]
struct Permission<'a> {
    rooms: Vec<&'a str>,
    allow: Vec<&'a str>,
}

/// Signs tokens with one key.
pub struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    /// With a secret, for HS256.
    ///
    /// # Errors
    /// It has less than 32 bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Signer, String> {
        if secret.len() < LEAST_SECRET {
            return Err(format!("the secret has less than {LEAST_SECRET} bytes"));
        }
        Ok(Signer {
            algorithm: Algorithm::Hs256,
            key: EncodingKey::from_secret(secret),
        })
    }

    /// With a private key as PEM (PKCS #8; RSA also as PKCS #1), for RS256, ES256 or EdDSA, as its type is.
    ///
    /// # Errors
    /// It is not such a key.
    pub fn from_pem(pem: &[u8]) -> Result<Signer, String> {
        type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;
        let readers: [(Algorithm, Read); 3] = [
            (Algorithm::Rs256, EncodingKey::from_rsa_pem),
            (Algorithm::Es256, EncodingKey::from_ec_pem),
            (Algorithm::EdDsa, EncodingKey::from_ed_pem),
        ];
        for (algorithm, read) in readers {
            if let Ok(key) = read(pem) {
                return Ok(Signer { algorithm, key });
            }
        }
        Err("this is not a private key of RSA, of the curve P-256 or of Ed25519 as PEM (PKCS #8: `openssl pkcs8 \
             -topk8 -nocrypt` makes it of other forms)"
            .to_owned())
    }

    /// The algorithm, as in a token's `alg`.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    /// Makes a token that is good from now on.
    ///
    /// # Errors
    /// A room or a right that can't be, or the key can't sign.
    pub fn sign(&self, token: &NewToken) -> Result<String, String> {
        let known =
            |right: &String| right == DIRECT || RIGHTS.iter().any(|(known, _)| known == right);
        if let Some(unknown) = token.allow.iter().find(|right| !known(right)) {
            return Err(format!(
                "{unknown:?} can't be allowed: it is join, publish, presence, history or direct"
            ));
        }
        if let Some(wrong) = token.rooms.iter().find(|room| !is_pattern(room)) {
            return Err(format!(
                "{wrong:?} is no room: write a name, \"kind:*\" or \"*\""
            ));
        }
        let now = own_time().as_secs();
        let everything = token.rooms.is_empty() && token.allow.is_empty();
        let permission = || {
            let rooms = token.rooms.iter().map(String::as_str);
            let allow = token.allow.iter().map(String::as_str);
            let or = |list: Vec<&'static str>| list;
            Permission {
                rooms: if token.rooms.is_empty() {
                    or(vec!["*"])
                } else {
                    rooms.collect()
                },
                allow: if token.allow.is_empty() {
                    RIGHTS.iter().map(|(name, _)| *name).collect()
                } else {
                    allow.collect()
                },
            }
        };
        let claims = Claims {
            sub: &token.user,
            name: token.name.as_deref(),
            iat: now,
            exp: now.saturating_add(token.ttl.as_secs()),
            aud: token.audience.as_deref(),
            iss: token.issuer.as_deref(),
            permissions: (!everything).then(|| [permission()]),
        };
        let mut header = Header::new(self.algorithm.into());
        header.kid.clone_from(&token.key_id);
        encode(&header, &claims, &self.key)
            .map_err(|_| format!("this key can't sign with {}", self.algorithm()))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
