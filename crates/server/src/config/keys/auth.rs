//! `[auth]`.

use super::super::field::{AutoSwitch, List, Number, Switch, Text, Zero};
use super::super::units::Unit;
use super::super::{Config, items};
use super::{Key, Section};

pub(super) static AUTH: Section = Section {
    name: "auth",
    about: "How clients prove who they are: the keys that tokens are checked with, and which clients need no token. \
            See docs/authentication.md.",
    keys: &[
        Key::new(
            "hs256_secret",
            "The secret that HS256 tokens are signed with. Better keep it out of the file: set the variable \
             `ROOMCAST_AUTH_HS256_SECRET`, or name a file in `ROOMCAST_AUTH_HS256_SECRET_FILE`.",
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
            "A file with a JSON Web Key Set (RFC 7517), or the `https` URL at which an identity provider has it. A token's \
             `kid` chooses among its keys. A set that was fetched stays until a newer one is fetched. Before the first one \
             is there, `/readyz` is red and no token is taken.",
            &Text {
                place: |c: &mut Config| &mut c.auth.jwks_path,
                check: crate::auth::check_jwks_path,
                takes: "a file or an https URL, such as \"/etc/roomcast/jwks.json\", or \"\" (none)",
            },
        ),
        Key::new(
            "jwks_ca_path",
            "Trust the server of `jwks_path` if its certificate is signed by one of those in this file (PEM).",
            &Text {
                place: |c: &mut Config| &mut c.auth.jwks_ca_path,
                check: |_| Ok(()),
                takes: "a file, or \"\" (those that the machine trusts)",
            },
        ),
        Key::new(
            "jwks_refresh",
            "How often the server fetches the key set of a URL. It fetches it at once, and at most every 10 s, when a token \
             has a `kid` that it does not know.",
            &Number {
                place: |c: &mut Config| &mut c.auth.jwks_refresh,
                unit: Unit::Micros,
                range: ("1s", "1d"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "reload_interval",
            "How often the server looks whether a file of keys has changed. It takes the keys of a changed file at \
             once. If that file is broken, the keys before stay.",
            &Number {
                place: |c: &mut Config| &mut c.auth.reload_interval,
                unit: Unit::Micros,
                range: ("10ms", "1d"),
                zero: Zero::Refused,
            },
        ),
        Key::new(
            "algorithms",
            "Algorithms that are allowed. The server does not start with a key for another one.",
            &List {
                place: |c: &mut Config| &mut c.auth.algorithms,
                read: items::algorithm,
                show: |algorithm| algorithm.name().to_owned(),
                takes: "a list of \"HS256\", \"RS256\", \"ES256\" and \"EdDSA\"",
            },
        ),
        Key::new(
            "audience",
            "A token's audience (`aud`) has to be one of these. If none is set, a token that has an `aud` is \
             refused.",
            &List {
                place: |c: &mut Config| &mut c.auth.audience,
                read: items::claim,
                show: Clone::clone,
                takes: "a list of texts, such as [\"roomcast\"]",
            },
        ),
        Key::new(
            "issuer",
            "A token's issuer (`iss`) has to be one of these. If none is set, `iss` is not checked.",
            &List {
                place: |c: &mut Config| &mut c.auth.issuer,
                read: items::claim,
                show: Clone::clone,
                takes: "a list of texts, such as [\"https://accounts.example\"]",
            },
        ),
        Key::new(
            "leeway",
            "How much the clocks of this machine and of the token's issuer may differ. A token is valid this long \
             before its `nbf`, and this long after its `exp`.",
            &Number {
                place: |c: &mut Config| &mut c.auth.leeway,
                unit: Unit::Micros,
                range: ("1ms", "10m"),
                zero: Zero::Is("none"),
            },
        ),
        Key::new(
            "require_exp",
            "Whether a token must have an expiry (`exp`). A token without one is valid until its key is removed.",
            &Switch {
                place: |c: &mut Config| &mut c.auth.require_exp,
            },
        ),
        Key::new(
            "token_timeout",
            "Time in which a client that needs a token has to send one. It counts from the start of the connection, \
             and an `error` does not prolong it. After it the connection is closed with 4003.",
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
                meaning: "on for requests to a loopback address that no proxy passed on, and on with `server.public_demo`",
            },
        ),
    ],
};
