//! `[auth]`.

use super::super::field::{AutoSwitch, List, Number, Switch, Text, Zero};
use super::super::units::Unit;
use super::super::{Config, items};
use super::{Key, Section};

pub(super) static AUTH: Section = Section {
    name: "auth",
    about: "Who clients are: keys that their tokens are checked with, and who needs no token. See \
            docs/authentication.md.",
    keys: &[
        Key::new(
            "hs256_secret",
            "The secret that HS256 tokens are signed with. Better than in the file it is in \
             `ROOMCAST_AUTH_HS256_SECRET`, or in a file that `ROOMCAST_AUTH_HS256_SECRET_FILE` names.",
            &Text {
                place: |c: &mut Config| &mut c.auth.hs256_secret.0,
                check: items::secret,
                takes: "a text of at least 32 bytes, or \"\" (none)",
            },
        )
        .secret(),
        Key::new(
            "public_key_paths",
            "PEM files with public keys: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA.",
            &List {
                place: |c: &mut Config| &mut c.auth.public_key_paths,
                read: items::path,
                show: Clone::clone,
                takes: "a list of files, such as [\"/etc/roomcast/key.pem\"]",
            },
        ),
        Key::new(
            "jwks_path",
            "A file with a JSON Web Key Set (RFC 7517). A token's `kid` chooses among its keys.",
            &Text {
                place: |c: &mut Config| &mut c.auth.jwks_path,
                check: |_| Ok(()),
                takes: "a file, such as \"/etc/roomcast/jwks.json\", or \"\" (none)",
            },
        ),
        Key::new(
            "reload_interval",
            "How often the files of keys are looked at. Those of a changed file are taken at once; where it is broken, \
             those before stay.",
            &Number {
                place: |c: &mut Config| &mut c.auth.reload_interval,
                unit: Unit::Micros,
                range: ("10ms", "1d"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "algorithms",
            "Algorithms that there may be keys for. A key of another is refused.",
            &List {
                place: |c: &mut Config| &mut c.auth.algorithms,
                read: items::algorithm,
                show: |algorithm| algorithm.name().to_owned(),
                takes: "a list of \"HS256\", \"RS256\", \"ES256\" and \"EdDSA\"",
            },
        ),
        Key::new(
            "audience",
            "Whom a token has to be for (`aud`): one of these. With none, a token that names an audience is refused.",
            &List {
                place: |c: &mut Config| &mut c.auth.audience,
                read: items::claim,
                show: Clone::clone,
                takes: "a list of texts, such as [\"roomcast\"]",
            },
        ),
        Key::new(
            "issuer",
            "Whom a token has to be from (`iss`): one of these. With none, that is not looked at.",
            &List {
                place: |c: &mut Config| &mut c.auth.issuer,
                read: items::claim,
                show: Clone::clone,
                takes: "a list of texts, such as [\"https://accounts.example\"]",
            },
        ),
        Key::new(
            "leeway",
            "How far the clocks of whoever makes tokens may be from this machine's: a token is good for so long before \
             its `nbf` and after its `exp`.",
            &Number {
                place: |c: &mut Config| &mut c.auth.leeway,
                unit: Unit::Micros,
                range: ("1ms", "10m"),
                zero: Zero::Is("none"),
            },
        ),
        Key::new(
            "require_exp",
            "Whether a token needs an end (`exp`). One without is good until its key is taken away.",
            &Switch {
                place: |c: &mut Config| &mut c.auth.require_exp,
            },
        ),
        Key::new(
            "token_timeout",
            "A client that needs a token has so long to show it; then its connection is closed with 4003. An `error` \
             that answers a message before that gives it no more time.",
            &Number {
                place: |c: &mut Config| &mut c.core.token_timeout,
                unit: Unit::Millis,
                range: ("50ms", "1h"),
                zero: Zero::Off,
            },
        ),
        Key::new(
            "anonymous",
            "Whether clients without a token are served.",
            &AutoSwitch {
                place: |c: &mut Config| &mut c.auth.anonymous,
                meaning: "on loopback, but for requests that a proxy has brought, and with `server.public_demo`",
            },
        ),
    ],
};
