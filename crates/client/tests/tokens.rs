//! Tokens that end while a connection lives: renewed on it, or not.

#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod wire;

use std::time::Duration;

use roomcast_client::session::{JoinOptions, Status};
use roomcast_client::{Client, Format, TokenError};
use roomcast_server::RunningServer;
use roomcast_server::auth::{NewToken, Signer};
use tokio::sync::watch;
use wire::{chat, quick, soon, start_with, url};

const SECRET: &str = "a secret for tests, with enough bytes in it";
/// How long a token is good. Its end is told in whole seconds.
const TTL: Duration = Duration::from_secs(5);

fn start() -> RunningServer {
    start_with(|config| {
        config.auth.hs256_secret = SECRET.to_owned().into();
        config.auth.leeway = Duration::ZERO;
    })
}

fn token() -> String {
    let token = NewToken {
        user: "ada".to_owned(),
        ttl: TTL,
        ..NewToken::default()
    };
    let signer = Signer::from_secret(SECRET.as_bytes()).unwrap();
    signer.sign(&token).unwrap()
}

/// A client whose tokens come from `source`, which is given the number of the time that it is asked, from 1.
fn client(
    server: &RunningServer,
    source: impl Fn(u32) -> Result<String, TokenError> + Send + Sync + 'static,
) -> (Client, watch::Receiver<u32>) {
    let (asked, times) = watch::channel(0);
    let builder = Client::builder(&url(server.local_addrs()[0]))
        .config(quick(Format::Json))
        .token_source(move || {
            asked.send_modify(|count| *count += 1);
            let token = source(*asked.borrow());
            async move { token }
        });
    (builder.connect().unwrap(), times)
}

/// All that becomes of the connection, the present status first.
fn statuses(client: &Client) -> watch::Receiver<Vec<Status>> {
    let mut status = client.status();
    let (told, all) = watch::channel(vec![status.borrow_and_update().clone()]);
    tokio::spawn(async move {
        while status.changed().await.is_ok() {
            let status = status.borrow_and_update().clone();
            told.send_modify(|all| all.push(status));
        }
    });
    all
}

#[tokio::test]
async fn a_token_is_renewed_on_the_live_connection() {
    let server = start();
    let (client, mut asked) = client(&server, |_| Ok(token()));
    soon(client.connected()).await.unwrap();
    let statuses = statuses(&client);
    let room = client.room("r");
    let mut events = room.events();
    soon(room.join(JoinOptions::default())).await.unwrap();
    // Each is asked for when four fifths of the time of the one before are over: the third after the end of the first.
    soon(asked.wait_for(|count| *count >= 3)).await.unwrap();
    soon(room.chat("still here")).await.unwrap();
    assert_eq!(chat(&mut events).await, "still here");
    let connected = Status::Connected { resumed: false };
    assert_eq!(
        *statuses.borrow(),
        [connected],
        "one connection all the time"
    );
}

#[tokio::test]
async fn without_a_new_token_the_connection_ends_and_the_session_waits() {
    let server = start();
    let (client, _) = client(&server, |count| match count {
        // The renewal, and the first try to come back.
        2 | 3 => Err(TokenError::Unavailable("the issuer is away".to_owned())),
        _ => Ok(token()),
    });
    let room = client.room("r");
    let mut events = room.events();
    soon(room.join(JoinOptions::default())).await.unwrap();
    let id = client.client_id();
    let mut statuses = statuses(&client);
    let back = Status::Connected { resumed: true };
    let all = soon(statuses.wait_for(|all| all.last() == Some(&back))).await;
    let reasons: Vec<_> = all
        .unwrap()
        .iter()
        .filter_map(|status| match status {
            Status::Reconnecting { reason, .. } => Some(reason.code().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(reasons[0], "token_expired", "{reasons:?}");
    assert_eq!(client.client_id(), id);
    soon(room.chat("back")).await.unwrap();
    assert_eq!(chat(&mut events).await, "back");
}
