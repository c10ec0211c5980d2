//! What requests to backends are signed with, as the Standard Webhooks specification says
//! (<https://www.standardwebhooks.com>): receivers have libraries for it.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::auth::Secret;
use crate::files::{self, FromFiles};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Fewest and most bytes of one.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const HOW: &str = "make one with: echo whsec_$(openssl rand -base64 32)";

/// One secret, or two while one is replaced by the other: then each request has both signatures.
#[derive(Debug)]
pub(crate) struct Secrets {
    /// The table, for messages: `webhooks.shop`.
    table: String,
    inline: Secret,
    path: String,
    reload_interval: Duration,
    keys: RwLock<Vec<Key>>,
}

impl Secrets {
    /// # Errors
    /// The key that is wrong, and a sentence that does not show the secret.
    pub(crate) fn load(
        table: String,
        inline: &Secret,
        path: &str,
        reload_interval: Duration,
    ) -> Result<Secrets, (String, String)> {
        let keys = read(&table, inline, path)?;
        Ok(Secrets {
            table,
            inline: inline.clone(),
            path: path.to_owned(),
            reload_interval,
            keys: RwLock::new(keys),
        })
    }

    /// The value of `webhook-signature`.
    pub(crate) fn sign(&self, id: &str, unix_seconds: u64, body: &[u8]) -> String {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let one = |key: &Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(format!("{id}.{unix_seconds}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        keys.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

impl FromFiles for Secrets {
    const WHAT: &'static str = "the secrets of requests to backends";

    fn files(&self) -> Vec<PathBuf> {
        let path = Some(&self.path).filter(|path| !path.is_empty());
        path.map(PathBuf::from).into_iter().collect()
    }

    fn interval(&self) -> Duration {
        self.reload_interval
    }

    fn reload(&self) -> Result<(), String> {
        let keys = read(&self.table, &self.inline, &self.path).map_err(|(_, message)| message)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }
}

fn read(table: &str, inline: &Secret, path: &str) -> Result<Vec<Key>, (String, String)> {
    let problem = |field: &str, wrong: String| {
        let message = format!("{table}.{field} {wrong}");
        (format!("{table}.{field}"), message)
    };
    let inline = inline.expose();
    let (field, text) = match (inline.is_empty(), path.is_empty()) {
        (false, true) => ("secret", inline.to_owned()),
        (true, false) => {
            let bytes = files::read(path).map_err(|it| problem("secret_path", it))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| problem("secret_path", "is not text (UTF-8)".to_owned()))?;
            ("secret_path", text)
        }
        (true, true) => {
            let message =
                format!("{table} has no secret: set secret_path to a file with one; {HOW}");
            return Err((format!("{table}.secret"), message));
        }
        (false, false) => {
            let message = format!("{table} has a secret and a secret_path: set one of them");
            return Err((format!("{table}.secret_path"), message));
        }
    };
    let keys: Option<Vec<Key>> = text.split_whitespace().map(parse).collect();
    match keys {
        None => Err(problem(
            field,
            format!("has a secret that is not whsec_ and 24 to 64 bytes in base64; {HOW}"),
        )),
        Some(keys) if (1..=2).contains(&keys.len()) => Ok(keys),
        Some(keys) => Err(problem(
            field,
            format!(
                "has {} secrets: it takes one, or two while one replaces the other",
                keys.len()
            ),
        )),
    }
}

fn parse(text: &str) -> Option<Key> {
    let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    BYTES
        .contains(&bytes.len())
        .then(|| Key::new(HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(secret: &str) -> Result<Secrets, (String, String)> {
        let secret = secret.to_owned().into();
        Secrets::load("webhooks.shop".into(), &secret, "", Duration::ZERO)
    }

    #[test]
    fn a_request_is_signed_as_the_specification_says() {
        // The example of the specification's own libraries.
        let secrets = load("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secrets.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = load(&format!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw {other}")).unwrap();
        let signatures = both.sign("a", 1, b"b");
        let signatures: Vec<_> = signatures.split(' ').collect();
        assert_eq!(signatures.len(), 2);
        assert_eq!(signatures[1], load(&other).unwrap().sign("a", 1, b"b"));
    }

    #[test]
    fn a_bad_secret_is_told_without_showing_it() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let three = vec![format!("whsec_{}", STANDARD.encode([7; 24])); 3].join(" ");
        for (secret, key, says) in [
            ("", "webhooks.shop.secret", "has no secret"),
            ("abcdefgh", "webhooks.shop.secret", "is not whsec_"),
            (&short, "webhooks.shop.secret", "is not whsec_"),
            (&three, "webhooks.shop.secret", "has 3 secrets"),
        ] {
            let (at, message) = load(secret).unwrap_err();
            assert_eq!(at, key);
            assert!(message.contains(says), "{message}");
            assert!(secret.is_empty() || !message.contains(secret));
        }
    }
}
