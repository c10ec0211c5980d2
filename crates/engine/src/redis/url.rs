//! URLs of Redis: `redis://user:password@host:port/database`, `rediss://` with TLS, `unix:///path?db=1`.

use std::fmt;
use std::path::PathBuf;

use super::config::{Login, Mode, Secret};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// TCP.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS is spoken there.
        tls: bool,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What several URLs say together.
#[derive(Debug, Default)]
pub(crate) struct Urls {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) login: Login,
    pub(crate) database: u32,
}

/// What is wrong with a URL. It shows no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError {
    /// Which URL, counted from 1.
    pub number: usize,
    /// A sentence that says what would be right.
    pub problem: String,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            1 => write!(f, "the URL of Redis: {}", self.problem),
            number => write!(f, "URL {number} of Redis: {}", self.problem),
        }
    }
}

impl std::error::Error for UrlError {}

/// Reads all of them. Those that name a user, a password or a database name the same.
pub(crate) fn read_urls<S: AsRef<str>>(urls: &[S], mode: &Mode) -> Result<Urls, UrlError> {
    let mut all = Urls::default();
    let mut database = None;
    let wrong = |number: usize, problem: &str| UrlError {
        number,
        problem: problem.to_owned(),
    };
    for (at, url) in urls.iter().enumerate() {
        let number = at + 1;
        let url = read_url(url.as_ref(), mode).map_err(|problem| UrlError { number, problem })?;
        if all.endpoints.contains(&url.endpoint) {
            return Err(wrong(
                number,
                "it is there twice; each server is named once",
            ));
        }
        all.endpoints.push(url.endpoint);
        if url.login != Login::default() {
            if all.login != Login::default() && all.login != url.login {
                return Err(wrong(
                    number,
                    "it has another user or password than the one before; all have the same",
                ));
            }
            all.login = url.login;
        }
        if let Some(new) = url.database {
            if database.is_some_and(|old| old != new) {
                return Err(wrong(
                    number,
                    "it has another database than the one before; all have the same",
                ));
            }
            if *mode == Mode::Cluster && new != 0 {
                return Err(wrong(
                    number,
                    "a Redis Cluster has the database 0 alone; leave the number out",
                ));
            }
            database = Some(new);
        }
    }
    if all.endpoints.is_empty() {
        return Err(wrong(
            1,
            "there is none; write one such as redis://localhost:6379",
        ));
    }
    all.database = database.unwrap_or(0);
    Ok(all)
}

struct Url {
    endpoint: Endpoint,
    login: Login,
    database: Option<u32>,
}

fn read_url(url: &str, mode: &Mode) -> Result<Url, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err("it should begin with redis://, rediss:// (TLS) or unix://".to_owned());
    };
    if rest.contains('#') {
        return Err(
            "it has a #, which stands for nothing here; in a password write it as %23".to_owned(),
        );
    }
    match scheme {
        "redis" => read_tcp(rest, false, mode),
        "rediss" => read_tcp(rest, true, mode),
        "unix" => read_unix(rest),
        _ => Err(format!(
            "{scheme}:// is not known; it should be redis://, rediss:// (TLS) or unix://"
        )),
    }
}

fn read_tcp(rest: &str, tls: bool, mode: &Mode) -> Result<Url, String> {
    if rest.contains('?') {
        return Err(
            "it has a ?, which stands for nothing here; in a password write it as %3F".to_owned(),
        );
    }
    // The password may have an @ that somebody forgot to escape: the last one is meant.
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (read_login(login)?, rest),
        None => (Login::default(), rest),
    };
    let (place, database) = match rest.split_once('/') {
        Some((place, "")) => (place, None),
        Some((place, database)) => (place, Some(read_database(database)?)),
        None => (rest, None),
    };
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (
                host,
                Some(
                    port.strip_prefix(':')
                        .ok_or("after ] there should be a colon and the port")?,
                ),
            ),
            None => return Err("an IPv6 address should stand in brackets: [::1]".to_owned()),
        },
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err("the host is missing; write one such as redis://localhost:6379".to_owned());
    }
    if host.contains(':') && !place.starts_with('[') {
        return Err("an IPv6 address should stand in brackets: [::1]".to_owned());
    }
    let port = match port {
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            // It isn't shown: where the host was forgotten, it is a password.
            _ => return Err("the port should be a number from 1 to 65535".to_owned()),
        },
        None if matches!(mode, Mode::Sentinel { .. }) => 26379,
        None => 6379,
    };
    let host = host.to_owned();
    Ok(Url {
        endpoint: Endpoint::Tcp { host, port, tls },
        login,
        database,
    })
}

fn read_unix(rest: &str) -> Result<Url, String> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    if !path.starts_with('/') {
        return Err(
            "a path should follow that begins with a slash: unix:///run/redis/redis.sock"
                .to_owned(),
        );
    }
    let mut url = Url {
        endpoint: Endpoint::Unix(unescape(path)?.into()),
        login: Login::default(),
        database: None,
    };
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        match pair.split_once('=') {
            Some(("db", number)) => url.database = Some(read_database(number)?),
            Some(("user", user)) => url.login.user = Some(unescape(user)?),
            Some(("password", password)) => {
                url.login.password = Some(Secret::Value(unescape(password)?))
            }
            _ => {
                return Err(
                    "after the ? there should be db=NUMBER, user=NAME or password=PASSWORD"
                        .to_owned(),
                );
            }
        }
    }
    Ok(url)
}

fn read_login(login: &str) -> Result<Login, String> {
    let Some((user, password)) = login.split_once(':') else {
        return Err("before the @ there should be user:password, or :password".to_owned());
    };
    let user = unescape(user)?;
    let password = unescape(password)?;
    Ok(Login {
        user: (!user.is_empty()).then_some(user),
        password: (!password.is_empty()).then_some(Secret::Value(password)),
    })
}

fn read_database(number: &str) -> Result<u32, String> {
    match number.parse() {
        Ok(number) if number < 1_000_000 => Ok(number),
        _ => Err(format!(
            "the database is {number:?}, but should be a number, such as 0"
        )),
    }
}

/// Takes `%40` for `@`, and so on.
fn unescape(text: &str) -> Result<String, String> {
    let wrong = || "after a % there should be two hexadecimal digits; a % itself is %25".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| (digit as char).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
            _ => return Err(wrong()),
        }
    }
    String::from_utf8(bytes).map_err(|_| "what is escaped by % should be UTF-8".to_owned())
}

#[cfg(test)]
mod tests;
