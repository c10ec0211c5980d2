//! How Redis is reached: what an operator sets.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use super::url::{Endpoint, UrlError, read_urls};

/// All settings of the way to Redis.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Redis, each of several that share the rooms; or the Sentinels; or nodes of the Cluster, from which the others
    /// are learned. At least one.
    pub endpoints: Vec<Endpoint>,
    /// What the endpoints are.
    pub mode: Mode,
    /// Who logs in at Redis.
    pub login: Login,
    /// The number of the database; 0 in a Cluster.
    pub database: u32,
    /// Begins each key and each channel. Another prefix is another cluster of Roomcast.
    pub prefix: String,
    /// Certificates, for endpoints with TLS.
    pub tls: Tls,
    /// How long a connection may take until it can be used, names and certificates included.
    pub connect_timeout: Duration,
    /// How long an answer may take. A connection on which one takes longer is given up.
    pub response_timeout: Duration,
    /// Where it was not asked for so long which Redis it is, it is asked before anything else is sent. A Redis that is
    /// demoted and promoted within that time, without closing its connections, is not noticed. An INFO costs Redis some 5 µs.
    pub identity_age: Duration,
    /// Requests of one shard that may be without an answer.
    pub queue_entries: usize,
    /// Bytes of their keys and arguments.
    pub queue_bytes: usize,
    /// Bytes of one answer: a room with its members, or its log.
    pub answer_bytes: usize,
}

/// How the endpoints of a configuration are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each endpoint is a Redis. Several share the rooms, by a hash of their names.
    Standalone,
    /// The endpoints are Sentinels.
    Sentinel {
        /// The master's name there.
        master: String,
        /// Who logs in at the Sentinels.
        login: Login,
    },
    /// The endpoints are nodes of a Redis Cluster.
    Cluster,
}

/// Who logs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// An ACL user; `None`: `default`.
    pub user: Option<String>,
    /// Its password; `None`: nobody logs in.
    pub password: Option<Secret>,
}

/// A password, or where it is. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// As it is.
    Value(String),
    /// A file that has it in its first line, read whenever a connection is made. So it can change while the node runs.
    File(PathBuf),
}

/// Files with certificates and keys, in PEM, read whenever a connection is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who is trusted to sign Redis's certificate; `None`: whom the operating system trusts.
    pub ca: Option<PathBuf>,
    /// The node's own certificate and key, where Redis asks for them.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl RedisConfig {
    /// The defaults, for the Redis that `urls` name.
    ///
    /// # Errors
    ///
    /// A URL that is none, or URLs that contradict each other.
    pub fn new<S: AsRef<str>>(urls: &[S], mode: Mode) -> Result<Self, UrlError> {
        let urls = read_urls(urls, &mode)?;
        Ok(Self {
            endpoints: urls.endpoints,
            mode,
            login: urls.login,
            database: urls.database,
            prefix: "roomcast:".to_owned(),
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_secs(3),
            identity_age: Duration::from_millis(10),
            queue_entries: 16_384,
            queue_bytes: 64 << 20,
            answer_bytes: 256 << 20,
        })
    }
}

/// Bytes of a file with a password.
const SECRET_BYTES: u64 = 4096;

impl Secret {
    /// The password, as it is now.
    ///
    /// # Errors
    ///
    /// The file can't be read, or is none: a sentence.
    pub fn read(&self) -> Result<String, String> {
        let path = match self {
            Secret::Value(value) => return Ok(value.clone()),
            Secret::File(path) => path,
        };
        let text = (|| {
            let mut text = String::new();
            let file = std::fs::File::open(path)?;
            if !file.metadata()?.is_file() {
                return Err(std::io::Error::other("it is not a plain file"));
            }
            file.take(SECRET_BYTES).read_to_string(&mut text)?;
            Ok(text)
        })();
        let text = text
            .map_err(|error| format!("can't read the password in {}: {error}", path.display()))?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(line.to_owned()),
            _ => Err(format!(
                "the first line of {} is empty, but should be the password",
                path.display()
            )),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Value(_) => f.write_str("(a password)"),
            Secret::File(path) => write!(f, "(a password in {})", path.display()),
        }
    }
}
