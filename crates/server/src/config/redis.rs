//! `[redis]`, and what a connection is made from.

use std::path::PathBuf;
use std::time::Duration;

use roomcast_engine::redis::{self, Login, Mode, RedisConfig};

use super::Secret;

/// `[redis]`
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where Redis is, or the Sentinels, or nodes of a Cluster.
    pub urls: Vec<Secret>,
    /// What the URLs are: `standalone`, `sentinel:NAME` or `cluster`.
    pub mode: String,
    /// Who logs in; empty: whom the URLs name, or `default`.
    pub username: String,
    /// The password; empty: that of the URLs, if they have one.
    pub password: Secret,
    /// A file that has the password in its first line; empty: none.
    pub password_path: String,
    /// Who logs in at the Sentinels; empty: `default`.
    pub sentinel_username: String,
    /// The password there; empty: none.
    pub sentinel_password: Secret,
    /// A file that has the password there in its first line; empty: none.
    pub sentinel_password_path: String,
    /// The number of the database; `None`: that of the URLs, or 0.
    pub database: Option<u32>,
    /// Begins each key.
    pub prefix: String,
    /// Certificates (PEM) of those who may sign Redis's; empty: those that the machine trusts.
    pub ca_path: String,
    /// The server's own certificate and key (PEM); empty: none.
    pub certificate_path: String,
    /// The key of that certificate.
    pub key_path: String,
    /// How long a connection may take until it can be used. Never off.
    pub connect_timeout: Duration,
    /// How long an answer may take. Never off.
    pub response_timeout: Duration,
    /// How long a server is taken to live after it was last heard at Redis, in milliseconds. Never off.
    pub lease: u64,
    /// Time without Redis after which the server says that it is not ready. 0: at once.
    pub not_ready_after: Duration,
}

impl Default for RedisSettings {
    fn default() -> RedisSettings {
        RedisSettings {
            urls: Vec::new(),
            mode: "standalone".to_owned(),
            username: String::new(),
            password: Secret::default(),
            password_path: String::new(),
            sentinel_username: String::new(),
            sentinel_password: Secret::default(),
            sentinel_password_path: String::new(),
            database: None,
            prefix: "roomcast:".to_owned(),
            ca_path: String::new(),
            certificate_path: String::new(),
            key_path: String::new(),
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(3),
            lease: 3_000,
            not_ready_after: Duration::from_secs(10),
        }
    }
}

/// A key, and what is wrong there.
type Wrong = (&'static str, String);

impl RedisSettings {
    /// What Redis is reached with.
    ///
    /// # Errors
    /// The key to look at, and what is wrong.
    pub fn connection(&self) -> Result<RedisConfig, (&'static str, String)> {
        let mut mode = read_mode(&self.mode)
            .ok_or_else(|| ("redis.mode", format!("redis.mode {MODE_TAKES}")))?;
        if let Mode::Sentinel { login, .. } = &mut mode {
            login.user = some(&self.sentinel_username);
            login.password = self.sentinel_secret()?;
        }
        let urls: Vec<&str> = self.urls.iter().map(Secret::expose).collect();
        let mut config = RedisConfig::new(&urls, mode)
            .map_err(|wrong| ("redis.urls", format!("redis.urls: {wrong}")))?;
        self.log_in(&mut config.login)?;
        if let Some(database) = self.database {
            if config.database != 0 && config.database != database {
                return Err(twice("redis.database", "another database"));
            }
            if config.mode == Mode::Cluster && database != 0 {
                let message = "redis.database: a Redis Cluster has the database 0 alone";
                return Err(("redis.database", message.to_owned()));
            }
            config.database = database;
        }
        config.prefix.clone_from(&self.prefix);
        config.tls.ca = some(&self.ca_path).map(PathBuf::from);
        config.tls.certificate = match (some(&self.certificate_path), some(&self.key_path)) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => {
                let message =
                    "redis.certificate_path and redis.key_path belong together: set both or none";
                return Err(("redis.certificate_path", message.to_owned()));
            }
        };
        config.connect_timeout = self.connect_timeout;
        config.response_timeout = self.response_timeout;
        Ok(config)
    }

    /// Whether several Redis are named that know nothing of each other.
    pub fn is_several(&self) -> bool {
        read_mode(&self.mode) == Some(Mode::Standalone) && self.urls.len() > 1
    }

    fn sentinel_secret(&self) -> Result<Option<redis::Secret>, Wrong> {
        one_of(
            ("redis.sentinel_password", &self.sentinel_password),
            ("redis.sentinel_password_path", &self.sentinel_password_path),
        )
    }

    fn log_in(&self, login: &mut Login) -> Result<(), Wrong> {
        if let Some(user) = some(&self.username) {
            if login.user.as_ref().is_some_and(|named| *named != user) {
                return Err(twice("redis.username", "another user"));
            }
            login.user = Some(user);
        }
        let key = match self.password_path.is_empty() {
            true => "redis.password",
            false => "redis.password_path",
        };
        let Some(password) = one_of(
            ("redis.password", &self.password),
            ("redis.password_path", &self.password_path),
        )?
        else {
            return Ok(());
        };
        if login
            .password
            .as_ref()
            .is_some_and(|named| *named != password)
        {
            return Err(twice(key, "a password"));
        }
        login.password = Some(password);
        Ok(())
    }
}

/// A password that is in the settings, or in a file that they name.
fn one_of(
    (key, value): (&'static str, &Secret),
    (path_key, path): (&'static str, &str),
) -> Result<Option<redis::Secret>, Wrong> {
    match (some(value.expose()), some(path)) {
        (Some(_), Some(_)) => {
            let message = format!("{key} and {path_key} are both set: set one of them");
            Err((path_key, message))
        }
        (Some(value), None) => Ok(Some(redis::Secret::Value(value))),
        (None, Some(path)) => Ok(Some(redis::Secret::File(path.into()))),
        (None, None) => Ok(None),
    }
}

fn twice(key: &'static str, what: &str) -> Wrong {
    let message = format!("{key} is set, and redis.urls have {what} too: set it in one place");
    (key, message)
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// What the mode takes.
pub(super) const MODE_TAKES: &str =
    "takes \"standalone\", \"sentinel:NAME\" with the name of the master there, or \"cluster\"";

/// `standalone`, `sentinel:NAME` or `cluster`.
pub(super) fn read_mode(text: &str) -> Option<Mode> {
    match text.split_once(':') {
        None if text == "standalone" => Some(Mode::Standalone),
        None if text == "cluster" => Some(Mode::Cluster),
        Some(("sentinel", master)) if !master.is_empty() => Some(Mode::Sentinel {
            master: master.to_owned(),
            login: Login::default(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sentinels() -> RedisSettings {
        RedisSettings {
            urls: vec!["redis://127.0.0.1:26379".to_owned().into()],
            mode: "sentinel:main".to_owned(),
            ..RedisSettings::default()
        }
    }

    #[test]
    fn the_password_of_the_sentinels_may_be_in_a_file() {
        let mut settings = with_sentinels();
        settings.password_path = "redis".to_owned();
        settings.sentinel_username = "watcher".to_owned();
        settings.sentinel_password_path = "sentinel".to_owned();
        let config = settings.connection().unwrap();
        let login = |user: Option<&str>, path: &str| Login {
            user: user.map(str::to_owned),
            password: Some(redis::Secret::File(path.into())),
        };
        assert_eq!(config.login, login(None, "redis"));
        let Mode::Sentinel { login: there, .. } = config.mode else {
            panic!("{:?}", config.mode);
        };
        assert_eq!(there, login(Some("watcher"), "sentinel"));
    }

    #[test]
    fn a_password_is_in_one_place() {
        let mut settings = with_sentinels();
        settings.sentinel_password = "a".to_owned().into();
        settings.sentinel_password_path = "b".to_owned();
        let (key, message) = settings.connection().unwrap_err();
        assert_eq!(key, "redis.sentinel_password_path");
        let says = "redis.sentinel_password and redis.sentinel_password_path are both set: set one of them";
        assert_eq!(message, says);
        settings = with_sentinels();
        settings.password = "a".to_owned().into();
        settings.password_path = "b".to_owned();
        assert_eq!(settings.connection().unwrap_err().0, "redis.password_path");
    }
}
