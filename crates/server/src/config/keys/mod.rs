//! The table of all settings.

mod api;
mod auth;
mod cluster;
mod connections;
mod kinds;
mod memory;
mod message;
mod redis;
mod server;
mod sessions;
#[cfg(test)]
mod tests;

use roomcast_core::settings::Kind;

use super::field::Field;
use super::{ApiKey, Config};

/// All sections but those of the kinds, in the order of the documents.
pub(crate) static SECTIONS: &[&Section] = &[
    &server::SERVER,
    &server::ADMIN,
    &server::TLS,
    &server::HTTP,
    &auth::AUTH,
    &api::API,
    &connections::LIMITS,
    &message::MESSAGE,
    &connections::HEARTBEAT,
    &connections::POOL,
    &sessions::SESSION,
    &connections::QUEUES,
    &connections::BATCHER,
    &connections::SOCKET,
    &connections::COMPRESSION,
    &connections::ROOMS,
    &memory::MEMORY,
    &redis::REDIS,
    &cluster::CLUSTER,
    &server::SHUTDOWN,
    &server::LOG,
];

/// The keys of each `[api_keys.NAME]`.
pub(crate) use api::API_KEY_KEYS;
/// The keys of each `[kinds.NAME]`.
pub(crate) use kinds::KIND_KEYS;

/// A table of the file.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// What it is about, as sentences.
    pub(crate) about: &'static str,
    pub(crate) keys: &'static [Key<Config>],
}

/// A setting of a `T`.
pub(crate) struct Key<T: 'static> {
    /// Within its section. In a kind it may have a dot.
    pub(crate) name: &'static str,
    /// What it means, as sentences.
    pub(crate) about: &'static str,
    pub(crate) field: &'static dyn Field<T>,
    /// A flag of `roomcast serve` that sets it.
    pub(crate) flag: Option<&'static str>,
    /// Never shown.
    pub(crate) secret: bool,
}

impl<T> Key<T> {
    const fn new(name: &'static str, about: &'static str, field: &'static dyn Field<T>) -> Key<T> {
        Key {
            name,
            about,
            field,
            flag: None,
            secret: false,
        }
    }

    const fn secret(self) -> Key<T> {
        Key {
            secret: true,
            ..self
        }
    }

    const fn flag(self, flag: &'static str) -> Key<T> {
        Key {
            flag: Some(flag),
            ..self
        }
    }
}

/// A key as it was found by its path.
pub(crate) enum Found {
    Global(&'static Key<Config>),
    OfKind(&'static Key<Kind>),
    OfApiKey(&'static Key<ApiKey>),
}

/// Finds `server.listen` or `kinds.arena.state.max_speed`, given as its parts.
pub(crate) fn find(path: &[String]) -> Option<Found> {
    match path {
        [kinds, _, rest @ ..] if kinds == "kinds" => {
            let name = rest.join(".");
            let key = KIND_KEYS.iter().find(|key| key.name == name)?;
            Some(Found::OfKind(key))
        }
        [api_keys, _, name] if api_keys == "api_keys" => {
            let key = API_KEY_KEYS.iter().find(|key| key.name == name)?;
            Some(Found::OfApiKey(key))
        }
        [section, name] => {
            let section = SECTIONS.iter().find(|known| known.name == section)?;
            let key = section.keys.iter().find(|key| key.name == name)?;
            Some(Found::Global(key))
        }
        _ => None,
    }
}

/// Whether `path` names a table of the file that may be written.
pub(crate) fn is_table(path: &[String]) -> bool {
    match path {
        [section] if section == "api_keys" => true,
        [api_keys, _] if api_keys == "api_keys" => true,
        [section] => section == "kinds" || SECTIONS.iter().any(|known| known.name == section),
        [kinds, _] => kinds == "kinds",
        [kinds, _, table] if kinds == "kinds" => {
            let inner = |name: &str| {
                name.split_once('.')
                    .is_some_and(|(first, _)| first == table)
            };
            KIND_KEYS.iter().any(|key| inner(key.name))
        }
        _ => false,
    }
}
