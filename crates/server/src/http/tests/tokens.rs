//! Tokens in the `Authorization` header, and who does without.

use roomcast_core::Access;
use serde_json::{Value, json};

use super::harness::{Server, handshake, wait_until};
use crate::auth::Algorithm;
use crate::auth::fault;
use crate::auth::testing::{Pair, SECRET, hs256};
use crate::clock::own_time;
use crate::config::{Config, ProxyProtocol};
use crate::http::RefusedBy;

fn in_an_hour() -> u64 {
    own_time().as_secs() + 3600
}

pub(super) fn ada() -> Value {
    json!({"sub": "u7", "name": "Ada", "exp": in_an_hour()})
}

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn with_secret(config: &mut Config) {
    config.auth.hs256_secret = SECRET.to_owned().into();
}

/// What the shard is told of a client with these header lines.
fn access(server: &Server, headers: &str) -> Access {
    let (_client, answer) = server.open(headers);
    assert_eq!(answer.status, 101, "{answer:?}");
    server.shards.take().access
}

#[test]
fn a_good_token_goes_along_with_its_connection() {
    let server = Server::start(with_secret);
    let identity = access(&server, &bearer(&hs256(&ada()))).identity.unwrap();
    assert_eq!((&*identity.user_id, &*identity.name), ("u7", "Ada"));
    assert!(identity.expires_at > in_an_hour() as i64 * 1_000 - 60_000);
}

#[test]
fn a_bad_token_is_a_401_that_says_why() {
    let server = Server::start(with_secret);
    let expired = hs256(&json!({"sub": "u7", "exp": 1_000_000_000}));
    let good = hs256(&ada());
    let (start, signature) = good.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let tampered = format!("{start}.{other}{}", &signature[1..]);
    let cases = [
        (expired.as_str(), fault::EXPIRED),
        (&tampered, fault::SIGNATURE),
        ("nonsense", fault::MALFORMED),
        (&"x".repeat(5_000), fault::TOO_LARGE),
    ];
    for (token, sentence) in cases {
        let answer = server.upgrade(&bearer(token));
        answer.is(401, sentence);
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("Bearer error=\"invalid_token\""));
        assert!(!answer.body.contains(token) && !answer.head.contains(token));
    }
    let twice = format!("{}{}", bearer(&good), bearer(&good));
    server
        .upgrade(&twice)
        .is(401, fault::HEADER.trim_end_matches('.'));
    server.wait_for_refusals(RefusedBy::Token, 5);
    assert_eq!(server.shards.count(), 0);
    // The connection goes on: the next request may have a better one.
    let mut client = server.connect();
    client.send(handshake(&bearer(&expired)).as_bytes());
    client.answer().is(401, fault::EXPIRED);
    client.send(handshake(&bearer(&good)).as_bytes());
    assert_eq!(client.answer().status, 101);
}

#[test]
fn a_server_without_keys_takes_no_tokens() {
    let server = Server::start(|_| {});
    let answer = server.upgrade(&bearer(&hs256(&ada())));
    answer.is(401, fault::NOT_SUPPORTED);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    // That of another scheme is for somebody on the way.
    assert!(
        access(&server, "Authorization: Basic dTpw\r\n")
            .identity
            .is_none()
    );
}

#[test]
fn only_programs_on_this_machine_may_do_without_by_default() {
    let server = Server::start(|_| {});
    assert_eq!(access(&server, ""), Access::ANONYMOUS);
    for claim in [
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 proxy",
        "X-Real-IP: 127.0.0.1",
    ] {
        let access = access(&server, &format!("{claim}\r\n"));
        assert!(!access.anonymous, "{claim}");
    }
    // Also where the proxy is believed, and whoever it names.
    let server = Server::start(|config| {
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    });
    assert!(!access(&server, "X-Forwarded-For: 127.0.0.1\r\n").anonymous);
    let server = Server::start(|config| {
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        config.server.proxy_protocol = ProxyProtocol::V2;
    });
    let mut client = server.connect();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x10\0\0\x50";
    client.send(header);
    client.send(handshake("").as_bytes());
    assert_eq!(client.answer().status, 101);
    assert!(!server.shards.take().access.anonymous);
}

#[test]
fn who_may_do_without_is_a_setting() {
    for (anonymous, expected) in [(Some(true), true), (Some(false), false)] {
        let server = Server::start(|config| {
            with_secret(config);
            config.auth.anonymous = anonymous;
        });
        assert_eq!(access(&server, "").anonymous, expected);
        let forwarded = access(&server, "X-Forwarded-For: 192.0.2.7\r\n");
        assert_eq!(forwarded.anonymous, expected);
    }
    let demo = Server::start(|config| config.server.public_demo = true);
    assert!(access(&demo, "X-Forwarded-For: 192.0.2.7\r\n").anonymous);
}

#[test]
fn a_changed_file_of_keys_is_taken_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let put = |text: &str| {
        let fresh = directory.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    };
    let (old, new) = (Pair::new(Algorithm::Es256), Pair::new(Algorithm::EdDsa));
    put(&json!({"keys": [old.jwk("old")]}).to_string());
    let server = Server::start(|config| {
        config.auth.jwks_path = path.display().to_string();
        config.auth.reload_interval = std::time::Duration::from_millis(10);
    });
    let status = |pair: &Pair, kid| {
        server
            .upgrade(&bearer(&pair.sign(Some(kid), &ada())))
            .status
    };
    assert_eq!((status(&old, "old"), status(&new, "new")), (101, 401));
    put(&json!({"keys": [old.jwk("old"), new.jwk("new")]}).to_string());
    wait_until(|| status(&new, "new") == 101);
    assert_eq!(status(&old, "old"), 101);
    put("{\"keys\": [");
    assert_eq!((status(&old, "old"), status(&new, "new")), (101, 101));
    put(&json!({"keys": [new.jwk("new")]}).to_string());
    wait_until(|| status(&old, "old") == 401);
    assert_eq!(status(&new, "new"), 101);
    std::fs::remove_file(&path).unwrap();
    put(&json!({"keys": [old.jwk("old")]}).to_string());
    wait_until(|| status(&old, "old") == 101);
}
