//! The clock of Redis counts, and not that of the machine that is asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use roomcast_client::session::JoinOptions;
use roomcast_server::auth::{NewToken, Signer};
use serde_json::json;

use crate::api::{ask, with_key};
use crate::process::Process;
use crate::receiver::{Do, Receiver, SECRETS};
use crate::redis_server::Server as Redis;
use crate::two::{client, servers_with};
use crate::wall_clock::{Clock, HOUR};
use crate::{DEADLINE, in_time, settings};

const OF_TOKENS: &str = "of the tokens of these tests, thirty-two bytes long";

/// Seconds since the Unix epoch.
fn time_of(redis: &Redis) -> i64 {
    let time = redis.ask("TIME");
    let seconds = time.as_array().unwrap()[0].as_str().unwrap();
    seconds.parse().unwrap()
}

/// A Redis whose clock is off by as many seconds.
fn redis_ahead(ahead: i64) -> (Redis, Clock) {
    let clock = Clock::new(ahead);
    (Redis::start_with([""; 0], clock.variables()), clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_and_a_lock_last_as_long_as_asked_where_clocks_differ() {
    for ahead in [HOUR, -HOUR] {
        let (redis, _clock) = redis_ahead(ahead);
        let server = servers_with(&with_key(&redis), 1).await.remove(0);
        let ada = client(server.address);
        in_time(ada.room("chat:1").join(JoinOptions::default()))
            .await
            .unwrap();
        let before = time_of(&redis);
        let ban = json!({ "user": ada.client_id(), "seconds": 60 }).to_string();
        let (status, banned) = ask(&server, "POST", "/rooms/chat:1/bans", "", &ban);
        assert_eq!((status, &banned["sessions"]), (200, &json!(1)), "{banned}");
        let lock = r#"{"seconds":60}"#;
        let (status, locked) = ask(&server, "POST", "/rooms/chat:1/lock", "", lock);
        assert_eq!(status, 200, "{locked}");
        let between = (before + 60) * 1_000..=(time_of(&redis) + 61) * 1_000;
        for told in [&banned, &locked] {
            let until = told["until"].as_i64().unwrap();
            assert!(between.contains(&until), "{ahead}: {told}, not {between:?}");
        }
        let (_, kept) = ask(&server, "GET", "/rooms/chat:1/bans", "", "");
        let expected = json!({
            "room_id": "chat:1",
            "bans": [{ "user": ada.client_id(), "until": banned["until"] }],
            "locked_until": locked["until"],
        });
        assert_eq!(kept, expected, "{ahead}");
    }
}

/// Whether a client with a token in its request's header is let in.
fn lets_in(server: &Process, ttl: Duration) -> bool {
    let named = NewToken {
        user: "ada".to_owned(),
        ttl,
        ..NewToken::default()
    };
    let token = Signer::from_secret(OF_TOKENS.as_bytes()).unwrap();
    let token = token.sign(&named).unwrap();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    match line.split(' ').nth(1) {
        Some("101") => true,
        Some("401") => false,
        _ => panic!("{line}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_a_header_ends_by_the_clock_by_which_one_in_a_hello_ends() {
    let (redis, _clock) = redis_ahead(HOUR);
    let mut settings = settings(&redis);
    settings.push(format!("auth.hs256_secret={OF_TOKENS}"));
    let server = servers_with(&settings, 1).await.remove(0);
    let hour = Duration::from_secs(HOUR as u64);
    assert!(lets_in(&server, hour + hour / 2));
    assert!(!lets_in(&server, hour / 2));
}

/// Receivers compare the time of a signature with their own clocks. What they are told has the same dates as messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_to_a_backend_is_dated_as_messages_are() {
    let (redis, _clock) = redis_ahead(HOUR);
    let receiver = Receiver::start();
    receiver.then(Some(Do::Answer(200, r#"{"allow":true}"#.to_owned())));
    let mut settings = settings(&redis);
    settings.push(format!("authorize.shop.url={}", receiver.url()));
    settings.push(format!("authorize.shop.secret={}", SECRETS[0]));
    settings.push("authorize.shop.kinds=default".to_owned());
    settings.push("authorize.shop.asks=join".to_owned());
    let server = servers_with(&settings, 1).await.remove(0);
    let ada = client(server.address);
    let joined = ada.room("lobby");
    in_time(joined.join(JoinOptions::default())).await.unwrap();
    let asked =
        tokio::task::spawn_blocking(move || receiver.wait("a question", |got| !got.is_empty()));
    let asked = in_time(asked).await.unwrap().remove(0);
    let question = asked.json()["timestamp"].as_i64().unwrap() / 1_000;
    let now = time_of(&redis);
    assert!(
        (now - 60..=now).contains(&question),
        "{question}, not {now}"
    );
    let signed = now - HOUR - 60..=now - HOUR + 1;
    assert!(signed.contains(&asked.timestamp), "{}", asked.timestamp);
}
