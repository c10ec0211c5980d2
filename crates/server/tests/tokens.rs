//! Tokens over real sockets; and that none is ever in the log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod common;
#[path = "common/log.rs"]
mod log;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use common::{Client, DEADLINE, address, eventually, start};
use log::Log;
use roomcast_server::auth::{NewToken, Signer};
use roomcast_server::{RunningServer, Server};

const SECRET: &str = "a secret for tests, with enough bytes in it";

fn token(secret: &str, ttl: u64) -> String {
    let token = NewToken {
        user: "u7".to_owned(),
        ttl: Duration::from_secs(ttl),
        ..NewToken::default()
    };
    Signer::from_secret(secret.as_bytes())
        .unwrap()
        .sign(&token)
        .unwrap()
}

/// The status and text of the answer to a handshake with this token.
fn upgrade(address: SocketAddr, token: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        // A 401 is over with its sentence, which ends in a line break of its own.
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            if status == 101 || body.ends_with('\n') {
                return (status, text);
            }
        }
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{text}");
        answer.extend(&buffer[..count]);
    }
}

fn started(secret: &str) -> RunningServer {
    start(|config| config.auth.hs256_secret = secret.to_owned().into())
}

#[test]
fn no_token_and_no_secret_is_ever_logged() {
    let log = Log::of_all();
    let server = started(SECRET);
    let tokens = [
        token(SECRET, 3600),
        token(SECRET, 0),
        token("another secret, which is long enough too", 3600),
        "x".repeat(5_000),
        "not.a.token".to_owned(),
    ];
    for token in &tokens {
        let (status, answer) = upgrade(address(&server), token);
        assert!(matches!(status, 101 | 401), "{answer}");
        assert!(!answer.contains(token.as_str()));
        // In `hello`, `join_room` and `auth` too, as text that no parser takes and in messages that are refused.
        for message in [
            format!(r#"{{"type":"hello","payload":{{"version":1,"token":"{token}"}}}}"#),
            format!(
                r#"{{"type":"join_room","room_id":"relay:1","payload":{{"token":"{token}"}}}}"#
            ),
            format!(r#"{{"type":"auth","payload":{{"token":"{token}"}}}}"#),
            format!(r#"{{"type":"auth","payload":{{"token":"{token}"#),
        ] {
            let mut client = Client::json(address(&server));
            client.text(&message);
            let _ = client.next();
        }
    }
    eventually("the refusal is logged", || {
        log.text()
            .contains("a client was refused because of its token")
    });
    drop(server);
    let text = log.text();
    for token in &tokens {
        // Neither as a whole nor its signature or claims.
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!text.contains(part), "{part} is in the log:\n{text}");
        }
    }
    assert!(!text.contains(SECRET));
}

#[test]
fn a_server_with_a_token_of_its_own_takes_it() {
    let server = started(SECRET);
    assert_eq!(upgrade(address(&server), &token(SECRET, 3600)).0, 101);
    // Within the leeway of 30 s.
    assert_eq!(upgrade(address(&server), &token(SECRET, 0)).0, 101);
    let (status, answer) = upgrade(
        address(&server),
        &token("another secret, which is long enough too", 3600),
    );
    assert_eq!(status, 401);
    assert!(
        answer.contains("The token's signature is wrong."),
        "{answer}"
    );
    let answer = answer.to_ascii_lowercase();
    assert!(
        answer.contains("www-authenticate: bearer error=\"invalid_token\""),
        "{answer}"
    );
}

#[test]
fn a_server_with_a_key_that_is_no_key_does_not_start() {
    let mut config = common::config();
    config.auth.hs256_secret = "hunter2".to_owned().into();
    let server = Server::builder().config(config).build().unwrap();
    let error = server.start().unwrap_err();
    assert_eq!(error.exit_code(), 78);
    let text = error.to_string();
    assert!(
        text.contains("less than 32 bytes") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn a_broken_file_of_keys_is_told_and_changes_nothing() {
    let log = Log::of_all();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let put = |text: &str| {
        let fresh = directory.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    };
    // SECRET, in the base64 of URLs.
    let k = "YSBzZWNyZXQgZm9yIHRlc3RzLCB3aXRoIGVub3VnaCBieXRlcyBpbiBpdA";
    let good = format!(r#"{{"keys":[{{"kty":"oct","kid":"a","k":"{k}"}}]}}"#);
    put(&good);
    let server = start(|config| {
        config.auth.jwks_path = path.display().to_string();
        config.auth.reload_interval = Duration::from_millis(10);
    });
    assert_eq!(upgrade(address(&server), &token(SECRET, 3600)).0, 101);
    let says = |line: &str| eventually(line, || log.text().contains(line));
    put(&good[..good.len() - 8]);
    says("the keys for tokens stay as they are: auth.jwks_path");
    assert_eq!(upgrade(address(&server), &token(SECRET, 3600)).0, 101);
    put(&good);
    says("the keys for tokens were read anew");
    assert!(!log.text().contains(&k[..20]), "a key is in the log");
}

#[test]
fn a_proxy_without_keys_is_told_what_to_set() {
    let log = Log::of_all();
    let server = start(|_| {});
    let mut stream = TcpStream::connect(address(&server)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   X-Forwarded-For: 192.0.2.7\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    eventually("it is logged", || {
        log.text().contains("set auth.anonymous = true")
    });
}
