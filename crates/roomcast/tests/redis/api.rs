//! A backend asks any server; the room is at home on another one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use roomcast_client::session::JoinOptions;
use serde_json::Value;

use crate::process::Process;
use crate::redis_server::Server as Redis;
use crate::two::{chat, client, servers_with};
use crate::{DEADLINE, in_time, settings};

const KEY: &str = "a-key-of-these-tests-which-is-long-enough";

fn with_key(redis: &Redis) -> Vec<String> {
    let mut settings = settings(redis);
    settings.push(format!("api_keys.shop.key={KEY}"));
    settings.push("api_keys.shop.rights=publish".to_owned());
    settings
}

/// The status and the body of an answer.
fn ask(server: &Process, method: &str, path: &str, once: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let once = match once {
        "" => String::new(),
        once => format!("idempotency-key: {once}\r\n"),
    };
    let length = body.len();
    let request = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {KEY}\r\n{once}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

fn publish(server: &Process, once: &str, text: &str) -> (u16, Value) {
    let body = format!(r#"{{"type":"chat","payload":"{text}","payload_kind":"text"}}"#);
    ask(server, "POST", "/rooms/chat:1/messages", once, &body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_publishes_at_any_server_and_once_also_after_a_takeover() {
    let redis = Redis::start([""; 0]);
    let mut servers = servers_with(&with_key(&redis), 3).await;
    let (a, b, c) = (servers.remove(0), servers.remove(0), servers.remove(0));
    let (ada, bob) = (client(a.address), client(b.address));
    let (adas, bobs) = (ada.room("chat:1"), bob.room("chat:1"));
    let (mut ada_hears, mut bob_hears) = (adas.events(), bobs.events());
    in_time(adas.join(JoinOptions::default())).await.unwrap();
    in_time(bobs.join(JoinOptions::default())).await.unwrap();
    let mut first = Value::Null;
    for (server, text) in [(&a, "one"), (&b, "two"), (&c, "three")] {
        let (status, told) = publish(server, text, text);
        assert_eq!(status, 200, "{told}");
        let expected = (told["offset"].as_u64().unwrap(), text.to_owned());
        assert_eq!(chat(&mut ada_hears).await, expected);
        assert_eq!(chat(&mut bob_hears).await, expected);
        first = told;
    }
    // All but one server are asked the same again: among them is the room's home or not.
    a.kill();
    let begin = Instant::now();
    let (status, again) = publish(&b, "three", "three");
    assert_eq!(status, 200, "{again}");
    assert_eq!(
        (&again["epoch"], &again["offset"]),
        (&first["epoch"], &first["offset"])
    );
    assert_eq!(again["repeated"], true);
    assert!(begin.elapsed() < DEADLINE);
    let (status, next) = publish(&c, "four", "four");
    assert_eq!(status, 200, "{next}");
    let expected = (next["offset"].as_u64().unwrap(), "four".to_owned());
    assert_eq!(chat(&mut bob_hears).await, expected);
}
