//! The live tail of a room over HTTP.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;
#[path = "common/http.rs"]
mod http;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use common::{Client, DEADLINE, address, start};
use http::request;
use roomcast_server::RunningServer;
use roomcast_server::config::{ApiKey, Config, Right};
use serde_json::Value;

const KEY: &str = "a-key-that-may-listen-1234567890-1234567890";
const EYES: &str = "a-key-that-listens-too-1234567890-123456789";
const WEAK: &str = "a-key-that-may-not-listen-1234567890-12345";

fn with_keys(config: &mut Config) {
    let key = |name: &str, key: &str, rights: &[Right]| ApiKey {
        name: name.to_owned(),
        key: key.to_owned().into(),
        rights: rights.to_vec(),
        rate: 0,
        ..ApiKey::default()
    };
    let most: Vec<_> = Right::ALL
        .iter()
        .copied()
        .filter(|it| *it != Right::Tail)
        .collect();
    config.api_keys = vec![
        key("ops", KEY, Right::ALL),
        key("weak", WEAK, &most),
        key("eyes", EYES, &[Right::Tail]),
    ];
}

/// A stream of server-sent events.
struct Tail(BufReader<TcpStream>);

impl Tail {
    fn open(server: &RunningServer, last: Option<&str>) -> Tail {
        Tail::with_key(server, KEY, last)
    }

    fn with_key(server: &RunningServer, key: &str, last: Option<&str>) -> Tail {
        let mut stream = TcpStream::connect(address(server)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let last = last.map_or(String::new(), |last| format!("last-event-id: {last}\r\n"));
        let request = format!(
            "GET /api/v1/rooms/relay%3A1/tail HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n{last}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut tail = Tail(BufReader::new(stream));
        let head = tail.line_that(|line| line.is_empty());
        assert_eq!(head, "");
        tail
    }

    /// The next line that is so; the others, among them those of the chunks, are passed over.
    fn line_that(&mut self, is: impl Fn(&str) -> bool) -> String {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "it has ended");
            let line = line.trim_end();
            if is(line) {
                return line.to_owned();
            }
        }
    }

    fn listening(&mut self) {
        self.line_that(|line| line == ": listening");
    }

    /// The id and the message of the next event.
    fn next(&mut self) -> (String, Value) {
        let id = self.line_that(|line| line.starts_with("id: "));
        let data = self.line_that(|line| line.starts_with("data: "));
        let message = serde_json::from_str(&data["data: ".len()..]).unwrap();
        (id["id: ".len()..].to_owned(), message)
    }
}

#[test]
fn who_may_listen_hears_what_members_hear_and_goes_on_where_it_was() {
    let server = start(with_keys);
    let mut client = Client::json(address(&server));
    client.join("relay:1");
    let mut tail = Tail::open(&server, None);
    tail.listening();
    client.text(
        r#"{"type":"chat","room_id":"relay:1","payload":{"n":
        1}}"#,
    );
    let (first, message) = tail.next();
    assert_eq!(
        (&message["type"], &message["payload"]["n"]),
        (&"chat".into(), &1.into())
    );
    client.text(r#"{"type":"event","room_id":"relay:1","name":"x","payload":2}"#);
    drop(tail);
    let (_, message) = Tail::open(&server, Some(&first)).next();
    assert_eq!(
        (&message["name"], &message["payload"]),
        (&"x".into(), &2.into())
    );
}

#[test]
fn it_needs_a_right_of_its_own_and_good_input() {
    let server = start(with_keys);
    let path = "/api/v1/rooms/relay:1/tail";
    let ask = |key: &str, path: &str, last: &str| {
        let bearer = format!("authorization: Bearer {key}");
        request(address(&server), "GET", path, &[&bearer, last], "")
    };
    let none = ask(WEAK, path, "x: y");
    assert_eq!((none.status, none.code()), (403, "forbidden"));
    let wrong = ask(&KEY[1..], path, "x: y");
    assert_eq!((wrong.status, wrong.code()), (401, "unauthorized"));
    let odd = ask(KEY, path, "last-event-id: nothing");
    assert_eq!((odd.status, odd.code()), (400, "invalid_value"));
    let room = ask(KEY, "/api/v1/rooms/bad%20name/tail", "x: y");
    assert_eq!((room.status, room.code()), (400, "invalid_name"));
}

#[test]
fn there_are_sixteen_at_most_and_each_key_gets_one() {
    let server = start(with_keys);
    let mut tails: Vec<_> = (0..15).map(|_| Tail::open(&server, None)).collect();
    tails.iter_mut().for_each(Tail::listening);
    let path = "/api/v1/rooms/relay:1/tail";
    let more = |key: &str| {
        let bearer = format!("authorization: Bearer {key}");
        request(address(&server), "GET", path, &[&bearer], "")
    };
    let refused = more(KEY);
    assert_eq!((refused.status, refused.code()), (503, "unavailable"));
    let mut last = Tail::with_key(&server, EYES, None);
    last.listening();
    for key in [KEY, EYES] {
        assert_eq!(more(key).status, 503);
    }
}
