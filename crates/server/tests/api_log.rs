//! What the log says of requests to the API: never a key, and each change with the key's name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

#[path = "common/api.rs"]
mod api;
mod common;
#[path = "common/http.rs"]
mod http;
#[path = "common/log.rs"]
mod log;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use api::{CHAT, KEY, WEAK, ask, key, with_keys};
use common::{Client, DEADLINE, address, start};
use http::request;
use log::Log;
use roomcast_server::RunningServer;
use roomcast_server::config::Right;

#[test]
fn no_key_is_ever_logged() {
    const WRONG: &str = "a-key-that-nobody-has-0123456789";
    let log = Log::of_all();
    let server = start(with_keys);
    let kick = (
        "POST",
        "/api/v1/rooms/relay:secrets/kick",
        r#"{"user":"u"}"#,
    );
    let publish = ("POST", "/api/v1/rooms/relay:1/messages", CHAT);
    for key in [KEY, WRONG] {
        for (method, path, body) in [kick, publish, ("GET", "/api/v1/rooms", "")] {
            let bearer = format!("authorization: Bearer {key}");
            let in_place = request(address(&server), method, path, &[&bearer], body);
            assert_eq!(in_place.status, if key == KEY { 200 } else { 401 });
            for headers in [
                vec![format!("authorization: {key}")],
                vec![format!("authorization: Basic {key}")],
                vec![bearer.clone(), bearer.clone()],
                vec![format!("x-api-key: {key}")],
                vec![format!("cookie: key={key}")],
                vec![format!("idempotency-key: {key}")],
                vec![format!("traceparent: {key}")],
            ] {
                let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
                let refused = request(address(&server), method, path, &headers, body);
                assert_eq!(refused.status, 401, "{headers:?}");
            }
            let query = format!("{path}?key={key}");
            let refused = request(address(&server), method, &query, &[], body);
            assert_eq!(refused.status, 401);
            let refused = request(address(&server), method, &query, &[&bearer], body);
            assert!(matches!(refused.status, 400 | 401), "{refused:?}");
            let bodiless = request(address(&server), method, path, &[], key);
            assert_eq!(bodiless.status, 401);
        }
        // As if it were a client's token.
        let bearer = format!("authorization: Bearer {key}");
        for path in ["/ws", "/sse", "/admin", "/metrics", "/elsewhere"] {
            let query = format!("{path}?token={key}");
            for path in [path, &query] {
                request(address(&server), "GET", path, &[&bearer], "");
            }
        }
        let mut client = Client::json(address(&server));
        client.text(&format!(
            r#"{{"type":"hello","payload":{{"version":1,"token":"{key}"}}}}"#
        ));
        let _ = client.next();
    }
    drop(server);
    let text = log.text();
    assert!(text.contains("relay:secrets/kick"), "nothing was logged");
    for key in [KEY, WRONG] {
        assert!(!text.contains(key), "{key} is in the log:\n{text}");
    }
}

/// Routes that the audit log shows, with a request and what comes of it.
const AUDITED: &[(&str, &str, &str, &str, u16, &str)] = &[
    (
        "disconnect",
        "POST",
        "/users/nobody/disconnect",
        "",
        200,
        "",
    ),
    (
        "kick",
        "POST",
        "/rooms/audit/kick",
        r#"{"user":"u"}"#,
        200,
        "",
    ),
    (
        "ban",
        "POST",
        "/rooms/audit/bans",
        r#"{"user":"u","seconds":9}"#,
        200,
        "",
    ),
    ("lift_ban", "DELETE", "/rooms/audit/bans/u", "", 200, ""),
    (
        "lock",
        "POST",
        "/rooms/audit/lock",
        r#"{"seconds":0}"#,
        400,
        "invalid_value",
    ),
    ("unlock", "DELETE", "/rooms/audit/lock", "", 200, ""),
    (
        "set_properties",
        "PATCH",
        "/rooms/audit/properties",
        r#"{"a":1}"#,
        200,
        "",
    ),
    (
        "clear_history",
        "DELETE",
        "/rooms/audit/history",
        "",
        200,
        "",
    ),
    ("tail", "GET", "/rooms/audit/tail", "", 200, ""),
    (
        "drain",
        "POST",
        "/drain",
        r#"{"node":"another"}"#,
        409,
        "another_node",
    ),
];

/// Routes that change something and are not in the audit log: there may be thousands of such requests a second.
const MESSAGES: [&str; 4] = ["publish", "publish_many", "send_to_user", "send_to_client"];

/// The status of the answer. A tail has no end that this would wait for.
fn status(server: &RunningServer, key: &str, method: &str, path: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(address(server)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} /api/v1{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn each_change_is_in_the_audit_log_with_the_keys_name_and_what_came_of_it() {
    let log = Log::of_all();
    let server = start(|config| {
        with_keys(config);
        config.api_keys[0].name = "auditor".to_owned();
        config
            .api_keys
            .push(key("weak", WEAK, &[Right::Publish], 0));
    });
    let lines = |part: &str| -> Vec<String> {
        let text = log.text();
        let audit = text.lines().filter(|it| it.contains("roomcast::audit"));
        audit
            .filter(|it| it.contains(part))
            .map(str::to_owned)
            .collect()
    };
    for (name, method, path, body, done, code) in AUDITED.iter().copied() {
        assert_eq!(status(&server, KEY, method, path, body), done, "{name}");
        assert_eq!(status(&server, WEAK, method, path, body), 403, "{name}");
        assert_eq!(
            status(&server, "nobodys", method, path, body),
            401,
            "{name}"
        );
        let line = |key: &str, body: &str, status: u16, code: &str| {
            let line = format!(
                "key=\"{key}\" action=\"{name}\" path=\"/api/v1{path}\" body={body} \
                 status={status} code=\"{code}\""
            );
            assert_eq!(lines(&line).len(), 1, "{line}\n{:#?}", lines(name));
        };
        line("auditor", body, done, code);
        // What may not be asked is not read.
        line("weak", "", 403, "forbidden");
    }
    assert_eq!(lines("status=401"), [""; 0]);
    for path in [
        "/rooms/audit/messages",
        "/users/u/messages",
        "/clients/c/messages",
    ] {
        ask(&server, KEY, "POST", path, CHAT);
    }
    ask(&server, KEY, "POST", "/messages", r#"{"messages":[]}"#);
    assert_eq!(lines("/messages\""), [""; 0]);
}

#[test]
fn each_route_that_changes_something_is_audited_or_named_here() {
    let document = roomcast_server::openapi();
    let mut changing = Vec::new();
    for (_, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            if method != "get" || name == "tail" {
                changing.push(name.to_owned());
            }
        }
    }
    let mut here: Vec<_> = AUDITED.iter().map(|row| row.0).chain(MESSAGES).collect();
    here.sort_unstable();
    changing.sort();
    assert_eq!(changing, here);
}
