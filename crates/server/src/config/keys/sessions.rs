//! `[session]`.

use super::super::Config;
use super::super::field::{Number, Text, Zero};
use super::super::units::Unit;
use super::{Key, Section};

/// Shortest secret that is taken, in bytes: as long as the key that is made of it.
const SHORTEST_SECRET: usize = 32;

pub(super) static SESSION: Section = Section {
    name: "session",
    about: "What outlives a connection. A client that said `hello` can connect again and resume its session.",
    keys: &[
        Key::new(
            "grace",
            "How long a session lives without a connection. Meanwhile it stays in its rooms.",
            &Number {
                place: |c: &mut Config| &mut c.core.session_grace,
                unit: Unit::Millis,
                range: ("100ms", "24h"),
                zero: Zero::Is("sessions end with their connections"),
            },
        ),
        Key::new(
            "goodbye_grace",
            "The grace after the client closed with code 1001. A browser sends that when a page is closed or \
             reloaded.",
            &Number {
                place: |c: &mut Config| &mut c.core.goodbye_grace,
                unit: Unit::Millis,
                range: ("100ms", "24h"),
                zero: Zero::Is("such sessions end at once"),
            },
        ),
        Key::new(
            "token_lifetime",
            "How long a resume token is valid. Each `welcome` has a new one.",
            &Number {
                place: |c: &mut Config| &mut c.core.token_lifetime,
                unit: Unit::Millis,
                range: ("1s", "9000h"),
                zero: Zero::Is("for ever"),
            },
        ),
        Key::new(
            "max_parked",
            "Sessions without a connection that each shard keeps. Beyond it a session ends as soon as its connection \
             does. Sessions that are kept already are not ended.",
            &Number {
                place: |c: &mut Config| &mut c.core.max_parked,
                unit: Unit::Count,
                range: ("1", "100000000"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "max_parked_per_address",
            "The same limit, on each shard too, for sessions whose connections came from one IPv4 address, or from \
             one IPv6 network of 64 bits. Programs on this machine are not counted.",
            &Number {
                place: |c: &mut Config| &mut c.core.max_parked_per_origin,
                unit: Unit::Count,
                range: ("1", "100000000"),
                zero: Zero::Off,
            },
        ),
        Key::new(
            "inbox_memory",
            "Memory that the inboxes of all sessions may take together. Beyond it an inbox loses its messages: first \
             the one that has got no message for longest. Its client gets `inbox_recovered: false`.",
            &Number {
                place: |c: &mut Config| &mut c.core.inbox_memory,
                unit: Unit::Bytes,
                range: ("1MiB", "65536GiB"),
                zero: Zero::Off,
            },
        ),
        Key::new(
            "secret",
            "The secret that resume tokens are signed with. If it is empty, the server draws one at each start, and \
             after a restart clients get a new `client_id`.",
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
