//! `[api]` and `[api_keys.NAME]`: settings, which know nothing of the rest of the configuration.

use std::net::SocketAddr;

use super::rights::Right;
use crate::auth::Secret;

/// `[api]`
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Addresses of its own; empty: it is on those of `server.listen`.
    pub listen: Vec<SocketAddr>,
    /// The largest body of a request, in bytes.
    pub max_body: usize,
}

impl Default for ApiSettings {
    fn default() -> ApiSettings {
        ApiSettings {
            listen: Vec::new(),
            max_body: 1024 * 1024,
        }
    }
}

/// `[api_keys.NAME]`: who may use the API, and for what.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What logs call it.
    pub name: String,
    /// The key, at least 32 bytes; empty: it is in a file.
    pub key: Secret,
    /// A file with the key; empty: it is above. It is read again when it changes.
    pub key_path: String,
    /// What may be done with it.
    pub rights: Vec<Right>,
    /// Requests a second, and as many at once; 0: any number. Each message of a batch counts as one.
    pub rate: u32,
}

impl Default for ApiKey {
    fn default() -> ApiKey {
        ApiKey {
            name: String::new(),
            key: Secret::default(),
            key_path: String::new(),
            rights: Vec::new(),
            rate: 1_000,
        }
    }
}
