//! The keys of backends: who has one, and how often it may be used.
//!
//! A key is compared by its SHA-256 digest, with all that there are and in constant time. No key is ever logged.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use roomcast_core::backend::Asker;

use super::rights::Right;
use super::settings::ApiKey;
use crate::files::{self, FromFiles};

/// Fewest bytes of a key: too many to guess.
const LEAST: usize = 32;

/// Whoever has shown a key.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(super) name: String,
    /// As whom it asks shards.
    pub(super) asker: Asker,
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
    /// Of each holder's key; `None`: its file is gone, and nobody has it.
    digests: RwLock<Vec<Option<Digest>>>,
}

impl Keys {
    /// The keys of the settings.
    ///
    /// # Errors
    /// A key that can't be read or used, as a sentence that names its setting.
    pub(crate) fn load(settings: &[ApiKey], reload_interval: Duration) -> Result<Keys, Problem> {
        let digests = read(settings)?;
        let holder = |(number, it): (u32, &ApiKey)| {
            Arc::new(Holder {
                name: it.name.clone(),
                asker: Asker(number),
                rights: it.rights.clone(),
                rate: it.rate,
                tokens: Mutex::new(Tokens {
                    left: f64::from(it.rate),
                    at: Instant::now(),
                }),
            })
        };
        Ok(Keys {
            holders: (0..).zip(settings).map(holder).collect(),
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
            let known = known.as_ref().map_or(&[][..], Digest::as_ref);
            if verify_slices_are_equal(known, shown.as_ref()).is_ok() {
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
        for told in self.read_anew() {
            tracing::warn!("{told}");
        }
        Ok(())
    }
}

impl Keys {
    /// Reads each file for itself: one that is gone ends its key, and one that can't be used leaves the key as it is.
    /// Returns what there is to tell.
    fn read_anew(&self) -> Vec<String> {
        let lock = self.digests.read();
        let before = lock.unwrap_or_else(PoisonError::into_inner).clone();
        let (mut now, mut told) = (before.clone(), Vec::new());
        let of_files = (0..).zip(&self.settings);
        let of_files = of_files.filter(|(_, key)| !key.key_path.is_empty());
        for (at, key) in of_files.clone() {
            let read = match is_gone(&key.key_path) {
                true => {
                    if before.get(at).is_some_and(Option::is_some) {
                        let name = &key.name;
                        told.push(format!(
                            "the file of api_keys.{name} is gone: nobody has this key any more"
                        ));
                    }
                    None
                }
                false => match read_one(key) {
                    Ok(made) => Some(made),
                    Err(problem) => {
                        told.push(kept(key, &problem));
                        continue;
                    }
                },
            };
            if let Some(digest) = now.get_mut(at) {
                *digest = read;
            }
        }
        for (at, key) in of_files {
            // Who has a key already does not lose it to another one whose file gets the same.
            let one = |all: &[Option<Digest>]| Some(all.get(at)?.as_ref()?.as_ref().to_vec());
            if one(&now) == one(&before) {
                continue;
            }
            let made = now.get_mut(at).and_then(Option::take);
            let own = match made {
                Some(made) if is_among(&now, &made) => {
                    told.push(kept(key, &twice(key)));
                    let before = before.get(at).cloned().flatten();
                    before.filter(|it| !is_among(&now, it))
                }
                made => made,
            };
            if let Some(digest) = now.get_mut(at) {
                *digest = own;
            }
        }
        *self.digests.write().unwrap_or_else(PoisonError::into_inner) = now;
        told
    }
}

fn kept(key: &ApiKey, problem: &Problem) -> String {
    let name = &key.name;
    format!(
        "api_keys.{name} keeps the key that it had: {}",
        problem.message
    )
}

/// What is wrong with a key, without any part of it.
#[derive(Debug)]
pub(crate) struct Problem {
    /// The setting: `api_keys.shop.key`.
    pub(crate) setting: String,
    pub(crate) message: String,
}

/// The digests of all keys, at start: each has to be good.
fn read(settings: &[ApiKey]) -> Result<Vec<Option<Digest>>, Problem> {
    let mut digests = Vec::new();
    for key in settings {
        if key.rights.is_empty() {
            let message = format!(
                "api_keys.{} has no rights: name what may be done with it, such as rights = [\"publish\"]",
                key.name
            );
            return Err(problem(key, "rights", message));
        }
        let made = read_one(key)?;
        if is_among(&digests, &made) {
            return Err(twice(key));
        }
        digests.push(Some(made));
    }
    Ok(digests)
}

fn read_one(key: &ApiKey) -> Result<Digest, Problem> {
    let table = format!("api_keys.{}", key.name);
    let (inline, path) = (key.key.expose(), key.key_path.as_str());
    let (field, text) = match (inline.is_empty(), path.is_empty()) {
        (false, true) => ("key", inline.to_owned()),
        (true, false) => {
            let wrong = |wrong| format!("{table}.key_path = {path:?} {wrong}");
            let text = of_file(path).map_err(|it| problem(key, "key_path", wrong(it)))?;
            ("key_path", text)
        }
        (true, true) => {
            let message = format!(
                "{table} has no key: set key_path to a file with at least {LEAST} random characters, or key to them"
            );
            return Err(problem(key, "key", message));
        }
        (false, false) => {
            let message = format!("{table} has a key and a key_path: set one of them");
            return Err(problem(key, "key_path", message));
        }
    };
    if text.len() < LEAST {
        let message = format!("{table}.{field} has less than {LEAST} bytes");
        return Err(problem(key, field, message));
    }
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b',';
    if !text.bytes().all(fits) {
        let message = format!(
            "{table}.{field} has characters that a header can't carry: use letters, digits and signs, without commas"
        );
        return Err(problem(key, field, message));
    }
    Ok(digest(&SHA256, text.as_bytes()))
}

fn is_among(digests: &[Option<Digest>], made: &Digest) -> bool {
    let mut all = digests.iter().flatten();
    all.any(|known| known.as_ref() == made.as_ref())
}

fn problem(key: &ApiKey, field: &str, message: String) -> Problem {
    Problem {
        setting: format!("api_keys.{}.{field}", key.name),
        message,
    }
}

fn twice(key: &ApiKey) -> Problem {
    let field = if key.key_path.is_empty() {
        "key"
    } else {
        "key_path"
    };
    let message = format!(
        "api_keys.{}.{field} is the key of another table as well",
        key.name
    );
    problem(key, field, message)
}

/// Whether there is no such file. One that can't be reached may be there.
fn is_gone(path: &str) -> bool {
    matches!(std::path::Path::new(path).try_exists(), Ok(false))
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
    fn each_file_is_read_again_for_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let of_file = |name: &str| ApiKey {
            key_path: path(name).to_str().unwrap().to_owned(),
            ..key(name, "")
        };
        let text = |n: u32| n.to_string().repeat(40);
        std::fs::write(path("a"), text(1)).unwrap();
        std::fs::write(path("b"), text(2)).unwrap();
        let keys = load(&[of_file("a"), of_file("b"), key("c", &text(3))]).unwrap();
        let who = |n: u32| keys.holder(&text(n)).map(|it| it.name.clone());
        // One that can't be used keeps its key, and the other is read all the same.
        std::fs::write(path("a"), "short").unwrap();
        std::fs::write(path("b"), text(4)).unwrap();
        let told = keys.read_anew().join("");
        assert!(
            told.contains("api_keys.a.key_path has less than 32"),
            "{told}"
        );
        assert!(!told.contains("short"), "{told}");
        assert_eq!((who(1).as_deref(), who(2)), (Some("a"), None));
        assert_eq!(who(4).as_deref(), Some("b"));
        // The key of another table is taken for nobody else's.
        std::fs::write(path("a"), text(3)).unwrap();
        assert!(keys.read_anew().join("").contains("another table"));
        assert_eq!(who(1).as_deref(), Some("a"));
        assert_eq!(who(3).as_deref(), Some("c"));
        // A file that is gone ends its key, which is told once. One that is there again begins it.
        std::fs::remove_file(path("a")).unwrap();
        assert!(keys.read_anew().join("").contains("api_keys.a is gone"));
        assert!(keys.read_anew().is_empty());
        assert_eq!((who(1), who(4).as_deref()), (None, Some("b")));
        std::fs::write(path("a"), text(1)).unwrap();
        assert!(keys.read_anew().is_empty());
        assert_eq!(who(1).as_deref(), Some("a"));
        // Two change their keys with each other.
        std::fs::write(path("a"), text(4)).unwrap();
        std::fs::write(path("b"), text(1)).unwrap();
        assert!(keys.read_anew().is_empty());
        assert_eq!(who(4).as_deref(), Some("a"));
        assert_eq!(who(1).as_deref(), Some("b"));
        // Nobody loses a key to another table whose file gets the same.
        std::fs::write(path("b"), text(4)).unwrap();
        assert!(keys.read_anew().join("").contains("api_keys.b keeps"));
        assert_eq!(who(4).as_deref(), Some("a"));
        assert_eq!(who(1).as_deref(), Some("b"));
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
