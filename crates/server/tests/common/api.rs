//! A server whose API has keys, and requests to it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test uses its part of the harness"
)]

use roomcast_protocol::{Hello, Incoming, MessageType, Request};
use roomcast_server::RunningServer;
use roomcast_server::auth::{NewToken, Signer};
use roomcast_server::config::{ApiKey, Config, Right};

use crate::common::{Client, address};
use crate::http::{Answer, request};

pub const KEY: &str = "a-key-that-may-do-everything-1234567890";
/// The name of its table: who sends what is published with it.
pub const SERVICE: &str = "all";
pub const WEAK: &str = "a-key-that-may-do-nothing-much-1234567890";
pub const SLOW: &str = "a-key-that-may-be-used-once-1234567890123";

pub fn key(name: &str, key: &str, rights: &[Right], rate: u32) -> ApiKey {
    ApiKey {
        name: name.to_owned(),
        key: key.to_owned().into(),
        rights: rights.to_vec(),
        rate,
        ..ApiKey::default()
    }
}

pub fn with_keys(config: &mut Config) {
    config.server.shards = Some(2);
    config.api_keys = vec![
        key(SERVICE, KEY, Right::ALL, 0),
        key("slow", SLOW, Right::ALL, 1),
    ];
}

/// Every right but this one.
pub fn all_but(right: Right) -> Vec<Right> {
    let all = Right::ALL.iter().copied();
    all.filter(|it| *it != right).collect()
}

pub fn ask(server: &RunningServer, key: &str, method: &str, path: &str, body: &str) -> Answer {
    ask_with(server, key, method, path, &[], body)
}

pub fn ask_with(
    server: &RunningServer,
    key: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let bearer = format!("authorization: Bearer {key}");
    let headers: Vec<&str> = [&*bearer]
        .into_iter()
        .chain(headers.iter().copied())
        .collect();
    request(
        address(server),
        method,
        &format!("/api/v1{path}"),
        &headers,
        body,
    )
}

pub const CHAT: &str = r#"{"type":"chat","payload":"hello"}"#;

/// A client with this user's token.
pub fn user(server: &RunningServer, user: &str) -> Client {
    let token = NewToken {
        user: user.to_owned(),
        ttl: std::time::Duration::from_secs(3_600),
        ..NewToken::default()
    };
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    let token = signer.sign(&token).unwrap();
    let mut client = Client::json(address(server));
    client.request(&Incoming::new(Request::Hello(Box::new(Hello {
        token: Some(token.into()),
        ..Hello::default()
    }))));
    client.expect(MessageType::Welcome);
    client
}

pub const SECRET: &str = "a secret for tests, with enough bytes in it";

pub fn with_users(config: &mut Config) {
    with_keys(config);
    config.auth.hs256_secret = SECRET.to_owned().into();
}
