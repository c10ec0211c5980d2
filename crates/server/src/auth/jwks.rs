//! A JSON Web Key Set (RFC 7517), as identity providers publish it.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use serde::Deserialize;
use serde_json::Value;

use super::key::Key;
use super::settings::Algorithm;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Reads the keys that can check tokens. Others, for encryption or of other algorithms, may be there and are passed over.
///
/// # Errors
/// What is wrong, to be put behind the file's name.
pub(super) fn read(text: &[u8]) -> Result<Vec<Key>, String> {
    // Not the error's own text: it may quote a part of a secret key.
    let set: Set = serde_json::from_slice(text)
        .map_err(|error| format!("is not a JWKS (line {}): {{\"keys\": [...]}}", error.line()))?;
    let mut keys = Vec::new();
    for (index, value) in set.keys.into_iter().enumerate() {
        let number = index + 1;
        let jwk: Jwk = serde_json::from_value(value)
            .map_err(|_| format!("has a key that is none (the key number {number})"))?;
        if let Some(key) =
            usable(jwk).map_err(|wrong| format!("has a key (number {number}) that {wrong}"))?
        {
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err("has no key for HS256, RS256, ES256 or EdDSA in it".to_owned());
    }
    Ok(keys)
}

/// Reads a key set that anybody can fetch, and that is not ours: of its keys it takes those that can be used here and are
/// for one of these algorithms, `most` of them at most. Secrets have no place there, and are passed over.
///
/// # Errors
/// There are none, or it is no key set.
pub(super) fn read_public(
    text: &[u8],
    allowed: &[Algorithm],
    most: usize,
) -> Result<Vec<Key>, String> {
    let set: Set = serde_json::from_slice(text)
        .map_err(|error| format!("is not a JWKS (line {}): {{\"keys\": [...]}}", error.line()))?;
    let keys = set.keys.into_iter().filter_map(|value| {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let key = usable(jwk).ok()??;
        let good = key.algorithm != Algorithm::Hs256 && allowed.contains(&key.algorithm);
        good.then_some(key)
    });
    let keys: Vec<_> = keys.take(most).collect();
    if keys.is_empty() {
        return Err("has no public key in it that can be used here".to_owned());
    }
    Ok(keys)
}

fn usable(jwk: Jwk) -> Result<Option<Key>, String> {
    let common = &jwk.common;
    let signs = match (&common.public_key_use, &common.key_operations) {
        (Some(PublicKeyUse::Signature) | None, None) => true,
        (Some(PublicKeyUse::Signature) | None, Some(operations)) => {
            operations.contains(&KeyOperations::Verify)
        }
        _ => false,
    };
    let of_type = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Some(Algorithm::Rs256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Some(Algorithm::Es256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Some(Algorithm::EdDsa)
        }
        AlgorithmParameters::OctetKey(_) => Some(Algorithm::Hs256),
        _ => None,
    };
    let (true, Some(algorithm)) = (signs, of_type) else {
        return Ok(None);
    };
    match common.key_algorithm {
        None => {}
        Some(named) if named == KeyAlgorithm::from(jsonwebtoken::Algorithm::from(algorithm)) => {}
        Some(named) if Algorithm::from_name(&named.to_string()).is_some() => {
            return Err(format!(
                "says that it is for {named}, and its type is one for {}",
                algorithm.name()
            ));
        }
        // RS512, PS256 and others.
        Some(_) => return Ok(None),
    }
    let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| "is not base64".to_owned())?;
    Key::new(jwk.common.key_id, decoding).map(Some)
}
