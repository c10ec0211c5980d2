//! `[session]`.

use super::super::Config;
use super::super::field::{Number, Text, Zero};
use super::super::units::Unit;
use super::{Key, Section};

/// Shortest secret that is taken, in bytes: as long as the key that is made of it.
const SHORTEST_SECRET: usize = 32;

pub(super) static SESSION: Section = Section {
    name: "session",
    about: "What survives a connection: who said `hello` can come back and goes on where it was.",
    keys: &[
        Key::new(
            "grace",
            "How long a session lives without a connection. It stays in its rooms meanwhile.",
            &Number {
                place: |c: &mut Config| &mut c.core.session_grace,
                unit: Unit::Millis,
                range: ("100ms", "24h"),
                zero: Zero::Is("sessions end with their connections"),
            },
        ),
        Key::new(
            "goodbye_grace",
            "The same after a close frame with code 1001, which a browser sends when a page is closed or loaded anew.",
            &Number {
                place: |c: &mut Config| &mut c.core.goodbye_grace,
                unit: Unit::Millis,
                range: ("100ms", "24h"),
                zero: Zero::Is("such sessions end at once"),
            },
        ),
        Key::new(
            "token_lifetime",
            "How long a resume token is good. Each `welcome` brings a new one.",
            &Number {
                place: |c: &mut Config| &mut c.core.token_lifetime,
                unit: Unit::Millis,
                range: ("1s", "9000h"),
                zero: Zero::Is("for ever"),
            },
        ),
        Key::new(
            "max_parked",
            "Sessions without a connection that are kept, on each shard. Beyond it sessions end with their connections: \
             nobody's session ends because of another one's.",
            &Number {
                place: |c: &mut Config| &mut c.core.max_parked,
                unit: Unit::Count,
                range: ("1", "100000000"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "max_parked_per_address",
            "The same for connections from one IPv4 address, or from one IPv6 network of 64 bits. Programs on this \
             machine are not counted.",
            &Number {
                place: |c: &mut Config| &mut c.core.max_parked_per_origin,
                unit: Unit::Count,
                range: ("1", "100000000"),
                zero: Zero::Off,
            },
        ),
        Key::new(
            "inbox_memory",
            "Memory that the inboxes of all sessions may hold together. Beyond it those lose their messages first that \
             got none for longest, and their clients are told.",
            &Number {
                place: |c: &mut Config| &mut c.core.inbox_memory,
                unit: Unit::Bytes,
                range: ("1MiB", "65536GiB"),
                zero: Zero::Off,
            },
        ),
        Key::new(
            "secret",
            "Signs resume tokens. Left empty it is drawn at each start: clients then get a new `client_id` after one.",
            &Text {
                place: |c: &mut Config| &mut c.session_secret.0,
                check: secret,
                takes: "at least 32 random characters, or nothing",
            },
        )
        .secret(),
    ],
};

fn secret(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() >= SHORTEST_SECRET {
        Ok(())
    } else {
        Err("is too short to be safe".to_owned())
    }
}
