//! The keys of backends: who has one, and how often it may be used.
//!
//! A key is compared by its SHA-256 digest, with all that there are and in constant time. No key is ever logged.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};

use super::rights::Right;
use super::settings::ApiKey;
use crate::files::{self, FromFiles};

/// Fewest bytes of a key: too many to guess.
const LEAST: usize = 32;

/// Whoever has shown a key.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(super) name: String,
    rights: Vec<Right>,
    rate: u32,
    tokens: Mutex<Tokens>,
}

#[derive(Debug)]
struct Tokens {
    left: f64,
    at: Instant,
}

impl Holder {
    pub(super) fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// Takes a request off what the key may do now.
    ///
    /// # Errors
    /// Seconds until there is one.
    pub(super) fn take(&self) -> Result<(), f64> {
        if self.rate == 0 {
            return Ok(());
        }
        let rate = f64::from(self.rate);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let grown = now.duration_since(tokens.at).as_secs_f64() * rate;
        (tokens.left, tokens.at) = ((tokens.left + grown).min(rate), now);
        if tokens.left < 1.0 {
            return Err((1.0 - tokens.left) / rate);
        }
        tokens.left -= 1.0;
        Ok(())
    }

    /// A request that was taken counts for so many more: those that follow wait for them. So a batch may be larger than
    /// what the key may do in a second.
    pub(super) fn owe(&self, more: u32) {
        if self.rate > 0 {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.left -= f64::from(more);
        }
    }
}

/// All keys.
#[derive(Debug)]
pub(crate) struct Keys {
    settings: Vec<ApiKey>,
    /// How often files are looked at.
    reload_interval: Duration,
    holders: Vec<Arc<Holder>>,
    /// Of each holder's key. Replaced as a whole when a file has changed.
    digests: RwLock<Vec<Digest>>,
}

impl Keys {
    /// The keys of the settings.
    ///
    /// # Errors
    /// A key that can't be read or used, as a sentence that names its setting.
    pub(crate) fn load(settings: &[ApiKey], reload_interval: Duration) -> Result<Keys, Problem> {
        let digests = read(settings)?;
        let holder = |it: &ApiKey| {
            Arc::new(Holder {
                name: it.name.clone(),
                rights: it.rights.clone(),
                rate: it.rate,
                tokens: Mutex::new(Tokens {
                    left: f64::from(it.rate),
                    at: Instant::now(),
                }),
            })
        };
        Ok(Keys {
            holders: settings.iter().map(holder).collect(),
            settings: settings.to_vec(),
            reload_interval,
            digests: RwLock::new(digests),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    /// Who has this key.
    pub(super) fn holder(&self, key: &str) -> Option<Arc<Holder>> {
        let shown = digest(&SHA256, key.as_bytes());
        let digests = self.digests.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        // All are compared, so that the time says nothing of which it was.
        for (holder, known) in self.holders.iter().zip(digests.iter()) {
            if verify_slices_are_equal(known.as_ref(), shown.as_ref()).is_ok() {
                found = Some(holder);
            }
        }
        found.cloned()
    }
}

impl FromFiles for Keys {
    const WHAT: &'static str = "the keys of the API";

    fn files(&self) -> Vec<PathBuf> {
        let paths = self.settings.iter().map(|it| &it.key_path);
        paths
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .collect()
    }

    fn interval(&self) -> Duration {
        self.reload_interval
    }

    fn reload(&self) -> Result<(), String> {
        let digests = read(&self.settings).map_err(|problem| problem.message)?;
        *self.digests.write().unwrap_or_else(PoisonError::into_inner) = digests;
        Ok(())
    }
}

/// What is wrong with a key, without any part of it.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The setting: `api_keys.shop.key`.
    pub(crate) setting: String,
    pub(crate) message: String,
}

fn read(settings: &[ApiKey]) -> Result<Vec<Digest>, Problem> {
    let mut digests: Vec<Digest> = Vec::new();
    for key in settings {
        let table = format!("api_keys.{}", key.name);
        let problem = |field: &str, message: String| Problem {
            setting: format!("{table}.{field}"),
            message,
        };
        if key.rights.is_empty() {
            let message = format!(
                "{table} has no rights: name what may be done with it, such as rights = [\"publish\"]"
            );
            return Err(problem("rights", message));
        }
        let (inline, path) = (key.key.expose(), key.key_path.as_str());
        let (field, text) = match (inline.is_empty(), path.is_empty()) {
            (false, true) => ("key", inline.to_owned()),
            (true, false) => (
                "key_path",
                of_file(path).map_err(|wrong| {
                    problem("key_path", format!("{table}.key_path = {path:?} {wrong}"))
                })?,
            ),
            (true, true) => {
                let message = format!(
                    "{table} has no key: set key_path to a file with at least {LEAST} random characters, or key to them"
                );
                return Err(problem("key", message));
            }
            (false, false) => {
                let message = format!("{table} has a key and a key_path: set one of them");
                return Err(problem("key_path", message));
            }
        };
        if text.len() < LEAST {
            let message = format!("{table}.{field} has less than {LEAST} bytes");
            return Err(problem(field, message));
        }
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
        {
            let message = format!(
                "{table}.{field} has characters that a header can't carry: use letters, digits and signs, without commas"
            );
            return Err(problem(field, message));
        }
        let made = digest(&SHA256, text.as_bytes());
        if digests.iter().any(|known| known.as_ref() == made.as_ref()) {
            let message = format!("{table}.{field} is the key of another table as well");
            return Err(problem(field, message));
        }
        digests.push(made);
    }
    Ok(digests)
}

fn of_file(path: &str) -> Result<String, String> {
    let bytes = files::read(path)?;
    let text = String::from_utf8(bytes).map_err(|_| "is not text (UTF-8)".to_owned())?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(settings: &[ApiKey]) -> Result<Keys, Problem> {
        Keys::load(settings, Duration::from_secs(5))
    }

    fn key(name: &str, text: &str) -> ApiKey {
        ApiKey {
            name: name.to_owned(),
            key: text.to_owned().into(),
            rights: vec![Right::Publish],
            rate: 2,
            ..ApiKey::default()
        }
    }

    #[test]
    fn whoever_shows_a_key_is_known_and_nobody_else() {
        let (one, two) = ("1".repeat(32), "2".repeat(40));
        let keys = load(&[key("one", &one), key("two", &two)]).unwrap();
        assert_eq!(keys.holder(&one).unwrap().name, "one");
        assert_eq!(keys.holder(&two).unwrap().name, "two");
        for wrong in ["", &one[1..], &two[..32], "x"] {
            assert!(keys.holder(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_a_burst_and_what_grows_again() {
        let text = "1".repeat(32);
        let keys = load(&[key("one", &text)]).unwrap();
        let holder = keys.holder(&text).unwrap();
        assert!(holder.take().is_ok() && holder.take().is_ok());
        let wait = holder.take().unwrap_err();
        assert!(wait > 0.0 && wait <= 0.5, "{wait}");
        // What a batch owes is waited for by those who come next.
        holder.owe(10);
        let wait = holder.take().unwrap_err();
        assert!(wait > 4.9 && wait <= 5.5, "{wait}");
    }

    #[test]
    fn a_bad_key_is_told_without_showing_it() {
        let short = key("a", "secret-secret");
        let twice = [key("a", &"1".repeat(32)), key("b", &"1".repeat(32))];
        let none = ApiKey {
            rights: Vec::new(),
            ..key("a", &"1".repeat(32))
        };
        let (no_key, gone) = (
            key("a", ""),
            ApiKey {
                key_path: "/does/not/exist".to_owned(),
                ..key("a", "")
            },
        );
        for (settings, says) in [
            (&[short][..], "less than 32"),
            (&twice, "another table"),
            (&[none], "has no rights"),
            (&[no_key], "has no key"),
            (&[gone], "cannot be read"),
            (&[key("a", &" ".repeat(40))], "can't carry"),
        ] {
            let problem = load(settings).unwrap_err();
            assert!(problem.message.contains(says), "{}", problem.message);
            assert!(!problem.message.contains("secret-secret"));
        }
    }
}
