//! `[api]` and `[api_keys.NAME]`.

use super::super::field::{List, Number, Text, Zero};
use super::super::units::Unit;
use super::super::{ApiKey, Config, items};
use super::{Key, Section};

pub(super) static API: Section = Section {
    name: "api",
    about: "The API for an application's backend. It is off unless there is an `[api_keys.NAME]`. See docs/api.md.",
    keys: &[
        Key::new(
            "listen",
            "Addresses of its own, which serve the API and nothing else. If there are none, it is on those of \
             `server.listen`.",
            &List {
                place: |c: &mut Config| &mut c.api.listen,
                read: items::address,
                show: |address| address.to_string(),
                takes: "a list of addresses with ports, such as [\"10.0.0.1:8081\"]",
            },
        ),
        Key::new(
            "max_body",
            "Size of a request's body. Beyond it: 413.",
            &Number {
                place: |c: &mut Config| &mut c.api.max_body,
                unit: Unit::Bytes,
                range: ("1KiB", "64MiB"),
                zero: Zero::Refused,
            },
        ),
    ],
};

/// Each is one key, with what may be done with it.
pub(crate) static API_KEY_KEYS: &[Key<ApiKey>] = &[
    Key::new(
        "key",
        "The key itself: at least 32 random characters. Better keep it out of the file: name a file in `key_path`, or in \
         the variable `ROOMCAST_API_KEYS_NAME_KEY_FILE`.",
        &Text {
            place: |k: &mut ApiKey| &mut k.key.0,
            check: items::secret,
            takes: "a text of at least 32 bytes, or \"\" (it is in `key_path`)",
        },
    )
    .secret(),
    Key::new(
        "key_path",
        "A file with the key. It is looked at every `auth.reload_interval`, and a new key is taken at once.",
        &Text {
            place: |k: &mut ApiKey| &mut k.key_path,
            check: |_| Ok(()),
            takes: "a file, such as \"/etc/roomcast/shop.key\", or \"\" (it is in `key`)",
        },
    ),
    Key::new(
        "rights",
        "What may be done with the key. There is no default: name each right that its holder needs.",
        &List {
            place: |k: &mut ApiKey| &mut k.rights,
            read: items::right,
            show: |right| right.name().to_owned(),
            takes: "a list of \"publish\", \"send\", \"read\", \"moderate\", \"manage\", \"tail\" and \"operate\"",
        },
    ),
    Key::new(
        "rate",
        "Requests a second with this key, at this server; as many may come at once. Each message of a batch counts as \
         one. Beyond it: 429.",
        &Number {
            place: |k: &mut ApiKey| &mut k.rate,
            unit: Unit::Count,
            range: ("1", "10000000"),
            zero: Zero::Off,
        },
    ),
];
