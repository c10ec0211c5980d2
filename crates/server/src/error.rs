//! Why a server did not start, or ended.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::config::{Problems, exit};

/// Why a server did not start, or ended otherwise than by being told to.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// The settings are wrong.
    Config(Problems),
    /// A key for tokens can't be read or used.
    Keys(String),
    /// The certificate or its key can't be read or used.
    Certificate(String),
    /// The settings of Redis can't be used.
    Redis(String),
    /// The file of `memory.snapshot_path` can't be used.
    Snapshot(String),
    /// The folder of `server.static_dir` can't be served.
    StaticDir(String),
    /// Traces can't be sent where the settings say.
    Tracing(String),
    /// A page's path or content type can't be served.
    Page(String),
    /// An address could not be bound.
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says, with what may help.
        message: String,
    },
    /// The system gives no thread, no poll or no random numbers.
    System(io::Error),
    /// A shard panicked. Its rooms have no home any more, so the server ended.
    ShardFailed,
}

impl ServerError {
    /// What the process's exit code should be: see [`exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            ServerError::Config(_)
            | ServerError::Keys(_)
            | ServerError::Certificate(_)
            | ServerError::Redis(_)
            | ServerError::Snapshot(_)
            | ServerError::StaticDir(_)
            | ServerError::Tracing(_) => exit::CONFIG,
            ServerError::Bind { .. } => exit::CANNOT_BIND,
            ServerError::Page(_) | ServerError::System(_) | ServerError::ShardFailed => {
                exit::FAILURE
            }
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Config(problems) => {
                f.write_str("the settings are wrong:")?;
                problems
                    .iter()
                    .try_for_each(|problem| write!(f, "\n  {problem}"))
            }
            ServerError::Page(message)
            | ServerError::Keys(message)
            | ServerError::Certificate(message)
            | ServerError::Redis(message)
            | ServerError::Snapshot(message)
            | ServerError::StaticDir(message)
            | ServerError::Tracing(message)
            | ServerError::Bind { message, .. } => f.write_str(message),
            ServerError::System(error) => write!(f, "the server could not start: {error}"),
            ServerError::ShardFailed => f.write_str("a shard failed, so the server ended"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServerError::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ServerError {
    fn from(error: io::Error) -> ServerError {
        ServerError::System(error)
    }
}

impl From<crate::http::BindError> for ServerError {
    fn from(error: crate::http::BindError) -> ServerError {
        ServerError::Bind {
            address: error.address,
            message: error.to_string(),
        }
    }
}
