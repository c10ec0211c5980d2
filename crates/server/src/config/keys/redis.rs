//! `[redis]`.

use super::super::field::{AutoNumber, List, Number, Place, Text, Zero};
use super::super::units::Unit;
use super::super::{Config, Secret, items, redis};
use super::{Key, Section};

pub(super) static REDIS: Section = Section {
    name: "redis",
    about: "Where rooms and sessions are kept with `server.engine = \"redis\"`: Redis 7.0 or later, or Valkey. `roomcast \
            check` connects to it and says what is missing there. `session.secret` is needed too. See \
            docs/redis.md.",
    keys: &[
        Key::new(
            "urls",
            "Where Redis is: `redis://user:password@host:6379/0`, `rediss://` with TLS, `unix:///path`. With Sentinels \
             their addresses.",
            &List {
                place: |c: &mut Config| &mut c.redis.urls,
                read: items::redis_url,
                show: |url: &Secret| url.expose().to_owned(),
                takes: "a list of URLs, such as [\"redis://localhost:6379\"]",
            },
        )
        .flag("--redis URL")
        .secret(),
        Key::new(
            "mode",
            "What the URLs are: a Redis; Sentinels, which know the master by a name; or nodes of a Redis Cluster. \
             Of several Redis without a Cluster only `roomcast check` makes use.",
            &Text {
                place: |c: &mut Config| &mut c.redis.mode,
                check: |text| match redis::read_mode(text) {
                    Some(_) => Ok(()),
                    None => Err("is none of them".to_owned()),
                },
                takes: "\"standalone\", \"sentinel:NAME\" or \"cluster\"",
            },
        )
        .flag("--redis-mode MODE"),
        Key::new(
            "username",
            "The ACL user that logs in. If it is empty: the one in the URLs, or `default`.",
            &Text {
                place: |c: &mut Config| &mut c.redis.username,
                check: anything,
                takes: "a name, or \"\"",
            },
        ),
        Key::new(
            "password",
            "The password. Better keep it out of the file: set the variable `ROOMCAST_REDIS_PASSWORD`, or name a file \
             in `ROOMCAST_REDIS_PASSWORD_FILE` or `redis.password_path`.",
            &Text {
                place: |c: &mut Config| &mut c.redis.password.0,
                check: anything,
                takes: "a text, or \"\" (none)",
            },
        )
        .secret(),
        Key::new(
            "password_path",
            "A file with the password in its first line. It is read whenever a connection is made, so the password can \
             change while the server runs.",
            &Text {
                place: |c: &mut Config| &mut c.redis.password_path,
                check: anything,
                takes: "a file, or \"\" (none)",
            },
        )
        .flag("--redis-password-file FILE"),
        Key::new(
            "sentinel_username",
            "The user that logs in at the Sentinels.",
            &Text {
                place: |c: &mut Config| &mut c.redis.sentinel_username,
                check: anything,
                takes: "a name, or \"\"",
            },
        ),
        Key::new(
            "sentinel_password",
            "The password there.",
            &Text {
                place: |c: &mut Config| &mut c.redis.sentinel_password.0,
                check: anything,
                takes: "a text, or \"\" (none)",
            },
        )
        .secret(),
        Key::new(
            "sentinel_password_path",
            "A file with the password there in its first line. It is read whenever a connection to a Sentinel is made.",
            &Text {
                place: |c: &mut Config| &mut c.redis.sentinel_password_path,
                check: anything,
                takes: "a file, or \"\" (none)",
            },
        ),
        Key::new(
            "database",
            "The number of the database.",
            &AutoNumber {
                place: |c: &mut Config| &mut c.redis.database,
                unit: Unit::Count,
                range: ("1", "999999"),
                zero: Zero::Is("the first one"),
                auto: |c| c.redis.connection().map_or(0, |it| u64::from(it.database)),
                meaning: "that of the URLs, or 0",
            },
        ),
        Key::new(
            "prefix",
            "Begins each key and each channel. Servers with the same prefix at one Redis are one cluster.",
            &Text {
                place: |c: &mut Config| &mut c.redis.prefix,
                check: prefix,
                takes: "a text of 1 to 64 bytes without braces",
            },
        ),
        Key::new(
            "ca_path",
            "Trust Redis's certificate if it is signed by one of those in this file (PEM).",
            &Text {
                place: |c: &mut Config| &mut c.redis.ca_path,
                check: anything,
                takes: "a file, or \"\" (those that the machine trusts)",
            },
        )
        .flag("--redis-ca FILE"),
        Key::new(
            "certificate_path",
            "The server's own certificate (PEM), where Redis asks for one.",
            &Text {
                place: |c: &mut Config| &mut c.redis.certificate_path,
                check: anything,
                takes: "a file, or \"\" (none)",
            },
        ),
        Key::new(
            "key_path",
            "The key of that certificate (PEM).",
            &Text {
                place: |c: &mut Config| &mut c.redis.key_path,
                check: anything,
                takes: "a file, or \"\" (none)",
            },
        ),
        Key::new(
            "connect_timeout",
            "How long a connection to Redis may take until it can be used.",
            &Number {
                place: |c: &mut Config| &mut c.redis.connect_timeout,
                unit: Unit::Micros,
                range: ("10ms", "1m"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "response_timeout",
            "How long an answer of Redis may take. A connection on which one takes longer is given up.",
            &Number {
                place: |c: &mut Config| &mut c.redis.response_timeout,
                unit: Unit::Micros,
                range: ("10ms", "1m"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "lease",
            "How long a server is taken to live after Redis has last heard from it. After that others may take its \
             rooms. The same on all servers, and shorter than `session.grace`.",
            &millis(|c| &mut c.redis.lease, ("300ms", "1m"), Zero::Refused),
        ),
        Key::new(
            "patience",
            "How long an operation may wait while Redis does not confirm what was done before it. After that it is \
             refused: `unavailable`.",
            &millis(|c| &mut c.core.patience, ("10ms", "1m"), Zero::Refused),
        ),
        Key::new(
            "not_ready_after",
            "Time without Redis after which `/readyz` says no. It says no too until Redis was reached first. At most two \
             thirds of `session.grace`, so that clients can come back elsewhere in time.",
            &Number {
                place: |c: &mut Config| &mut c.redis.not_ready_after,
                unit: Unit::Micros,
                range: ("100ms", "1h"),
                zero: Zero::Is("at once"),
            },
        ),
        Key::new(
            "unconfirmed_room",
            "Bytes of one room that may be on their way to Redis. Beyond it the room's operations wait.",
            &bytes(|c| &mut c.core.unconfirmed.0, ("64KiB", "1GiB")),
        ),
        Key::new(
            "unconfirmed_shard",
            "Bytes of all rooms of a shard that may be on their way to Redis. Beyond it the operations of all of them \
             wait.",
            &bytes(|c| &mut c.core.unconfirmed.1, ("1MiB", "64GiB")),
        ),
    ],
};

fn anything(_text: &str) -> Result<(), String> {
    Ok(())
}

/// Braces would put all keys into one slot of a Redis Cluster.
fn prefix(text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err("is empty".to_owned()),
        65.. => Err("is too long".to_owned()),
        _ if text.contains(['{', '}']) => Err("has a brace in it".to_owned()),
        _ => Ok(()),
    }
}

type Range = (&'static str, &'static str);

const fn millis(place: Place<Config, u64>, range: Range, zero: Zero) -> Number<Config, u64> {
    Number {
        place,
        unit: Unit::Millis,
        range,
        zero,
    }
}

const fn bytes(place: Place<Config, usize>, range: Range) -> Number<Config, usize> {
    Number {
        place,
        unit: Unit::Bytes,
        range,
        zero: Zero::Refused,
    }
}
