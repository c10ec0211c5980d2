//! The table of all settings.

mod api;
mod auth;
mod authorize;
mod backend;
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
mod tracing;
mod webhooks;

use roomcast_core::settings::Kind;

use super::field::Field;
use super::{ApiKey, AuthorizeSettings, Config, WebhookSettings};

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
    &tracing::TRACING,
];

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

/// What there is a table of for each name that somebody gives: `[api_keys.shop]`.
pub(crate) trait Named: Default + 'static {
    /// The table that these are in.
    const TABLE: &'static str;
    /// One of them, as messages call it.
    const WHAT: &'static str;

    fn keys() -> &'static [Key<Self>];

    fn named(name: &str) -> Self;

    fn name(&self) -> &str;

    /// All that are configured.
    fn all(config: &mut Config) -> &mut Vec<Self>;
}

impl Named for ApiKey {
    const TABLE: &'static str = "api_keys";
    const WHAT: &'static str = "key";

    fn keys() -> &'static [Key<ApiKey>] {
        api::API_KEY_KEYS
    }

    fn named(name: &str) -> ApiKey {
        ApiKey {
            name: name.to_owned(),
            ..ApiKey::default()
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn all(config: &mut Config) -> &mut Vec<ApiKey> {
        &mut config.api_keys
    }
}

impl Named for WebhookSettings {
    const TABLE: &'static str = "webhooks";
    const WHAT: &'static str = "webhook";

    fn keys() -> &'static [Key<WebhookSettings>] {
        webhooks::WEBHOOK_KEYS
    }

    fn named(name: &str) -> WebhookSettings {
        WebhookSettings {
            name: name.to_owned(),
            ..WebhookSettings::default()
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn all(config: &mut Config) -> &mut Vec<WebhookSettings> {
        &mut config.webhooks
    }
}

impl Named for AuthorizeSettings {
    const TABLE: &'static str = "authorize";
    const WHAT: &'static str = "backend";

    fn keys() -> &'static [Key<AuthorizeSettings>] {
        authorize::AUTHORIZE_KEYS
    }

    fn named(name: &str) -> AuthorizeSettings {
        AuthorizeSettings {
            name: name.to_owned(),
            ..AuthorizeSettings::default()
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn all(config: &mut Config) -> &mut Vec<AuthorizeSettings> {
        &mut config.authorize
    }
}

/// The tables of all [`Named`], with the names of their keys.
pub(crate) fn named_tables() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    fn table<T: Named>() -> (&'static str, Vec<&'static str>) {
        (T::TABLE, T::keys().iter().map(|key| key.name).collect())
    }
    [
        table::<ApiKey>(),
        table::<WebhookSettings>(),
        table::<AuthorizeSettings>(),
    ]
    .into_iter()
}

/// A key as it was found by its path.
pub(crate) enum Found {
    Global(&'static Key<Config>),
    OfKind(&'static Key<Kind>),
}

/// Finds `server.listen` or `kinds.arena.state.max_speed`, given as its parts.
pub(crate) fn find(path: &[String]) -> Option<Found> {
    match path {
        [kinds, _, rest @ ..] if kinds == "kinds" => {
            let name = rest.join(".");
            let key = KIND_KEYS.iter().find(|key| key.name == name)?;
            Some(Found::OfKind(key))
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
        [table] | [table, _] if named_tables().any(|(named, _)| named == table) => true,
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
