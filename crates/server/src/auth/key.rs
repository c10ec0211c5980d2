//! One key, and whether it is good.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};

use super::settings::Algorithm;

/// RFC 7518 section 3.2: a secret has at least as many bits as the hash.
pub(super) const LEAST_SECRET: usize = 32;

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

    pub(super) fn from_pem(pem: &[u8]) -> Result<Key, String> {
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
