//! Keys and tokens for tests, made when they run.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;

use super::Algorithm;

/// A moment, in seconds since the Unix epoch, for tokens that are checked with a clock of the test's.
pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const SECRET: &str = "a secret for tests, with enough bytes in it";

/// A key of each type, as PEM.
pub(crate) struct Pair {
    pub(crate) algorithm: Algorithm,
    pub(crate) private: String,
    pub(crate) public: String,
}

impl Pair {
    pub(crate) fn new(algorithm: Algorithm) -> Pair {
        let random = SystemRandom::new();
        let (private, public) = match algorithm {
            Algorithm::Rs256 => rsa_of(rsa::KeySize::Rsa2048),
            Algorithm::Es256 => {
                let private =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                        .unwrap();
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref())
                        .unwrap();
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                (private.as_ref().to_vec(), public.as_ref().to_vec())
            }
            Algorithm::EdDsa => {
                let private = Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(private.as_ref()).unwrap();
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                (private.as_ref().to_vec(), public.as_ref().to_vec())
            }
            Algorithm::Hs256 => panic!("a secret is no pair"),
        };
        Pair {
            algorithm,
            private: pem("PRIVATE KEY", &private),
            public: pem("PUBLIC KEY", &public),
        }
    }

    pub(crate) fn signing_key(&self) -> EncodingKey {
        let pem = self.private.as_bytes();
        match self.algorithm {
            Algorithm::Rs256 => EncodingKey::from_rsa_pem(pem),
            Algorithm::Es256 => EncodingKey::from_ec_pem(pem),
            _ => EncodingKey::from_ed_pem(pem),
        }
        .unwrap()
    }

    /// The public key as a provider publishes it.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        // Ed25519 and RSA are converted from the private key, and only the public part comes out.
        let jwk = Jwk::from_encoding_key(&self.signing_key(), self.algorithm.into()).unwrap();
        let mut value = serde_json::to_value(jwk).unwrap();
        value["kid"] = kid.into();
        value["use"] = "sig".into();
        value
    }

    pub(crate) fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm.into());
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, &self.signing_key()).unwrap()
    }
}

fn rsa_of(size: rsa::KeySize) -> (Vec<u8>, Vec<u8>) {
    let pair = rsa::KeyPair::generate(size).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    (private.as_ref().to_vec(), public.as_ref().to_vec())
}

/// A public key of a curve that ES256 doesn't have.
pub(crate) fn p384() -> String {
    let random = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, private.as_ref()).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    pem("PUBLIC KEY", public.as_ref())
}

pub(crate) fn pem(name: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!(
        "-----BEGIN {name}-----\n{}\n-----END {name}-----\n",
        lines.join("\n")
    )
}

/// A token with the secret of [`SECRET`].
pub(crate) fn hs256(claims: &Value) -> String {
    signed_with(
        SECRET.as_bytes(),
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &claims.to_string(),
    )
}

/// A token whose header and claims are any text, signed with HMAC.
pub(crate) fn signed_with(secret: &[u8], header: &str, claims: &str) -> String {
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let signature = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
