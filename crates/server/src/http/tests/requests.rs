//! What is wrong with a request, said in words.

use std::time::{Duration, Instant};

use super::harness::{Client, Server, wait_until};
use crate::http::RefusedBy;

#[test]
fn unknown_paths() {
    let server = Server::start(|_| {});
    server.get("/nothing").is(404, "/ws");
    server.get("/ws/x").is(404, "/ws");
    server
        .ask("POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx")
        .is(404, "/ws");
}

#[test]
fn methods() {
    let server = Server::start(|_| {});
    for path in ["/", "/healthz", "/readyz", "/metrics"] {
        let ask = |method: &str| {
            let ask =
                format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let mut client = server.connect();
            client.send(ask.as_bytes());
            String::from_utf8(client.rest()).unwrap()
        };
        for method in ["POST", "PUT", "DELETE", "TRACE", "BREW"] {
            let answer = ask(method);
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
            assert!(answer.contains("allow: GET, HEAD, OPTIONS\r\n"), "{answer}");
            assert!(answer.ends_with(&format!("{path} takes GET, HEAD, OPTIONS only.\n")));
        }
        let whole = ask("GET");
        let head = ask("HEAD");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "a head has no body: {head}");
        assert!(whole.len() > head.len(), "{path}");
        let options = ask("OPTIONS");
        assert!(options.starts_with("HTTP/1.1 204 "), "{options}");
        assert!(
            options.contains("allow: GET, HEAD, OPTIONS\r\n"),
            "{options}"
        );
        assert!(options.ends_with("\r\n\r\n"), "{options}");
    }
    let options = server.ask("OPTIONS /ws HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some("GET, OPTIONS"))
    );
    let options = server.ask("OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(options.status, 204);
}

#[test]
fn the_path_of_the_web_socket_may_end_in_a_slash() {
    let server = Server::start(|_| {});
    let answer = server.ask(&super::harness::handshake("").replace("/ws ", "/ws/ "));
    assert_eq!(answer.status, 101);
    server.get("/ws/").is(426, "WebSocket");
}

#[test]
fn bodies() {
    let server = Server::start(|_| {});
    for path in ["/", "/ws", "/healthz"] {
        for body in [
            "content-length: 5\r\n\r\nhello",
            "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            let answer = server.ask(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{body}"));
            answer.is(413, "no request bodies");
        }
    }
    assert_eq!(
        server
            .ask("GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
            .status,
        200
    );
}

#[test]
fn a_large_body_is_answered_before_it_has_come() {
    let server = Server::start(|_| {});
    let mut client = server.connect();
    client.send(b"POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n");
    let piece = [b'x'; 1000];
    for _ in 0..100 {
        client.try_send(&piece);
    }
    client.answer().is(413, "no request bodies");
}

#[test]
fn headers_have_limits() {
    let server = Server::start(|config| {
        config.http.max_header_size = 4096;
        config.http.max_headers = 20;
    });
    let request = |headers: &str| {
        server.ask(&format!(
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"
        ))
    };
    assert_eq!(request(&format!("a: {}\r\n", "x".repeat(3000))).status, 200);
    request(&format!("a: {}\r\n", "x".repeat(5000))).is(431, "http.max_header_size");
    // More than the server reads before it has made up its mind.
    request(&format!("a: {}\r\n", "x".repeat(100_000))).is(431, "http.max_header_size");
    assert_eq!(request(&"a: b\r\n".repeat(19)).status, 200);
    request(&"a: b\r\n".repeat(20)).is(431, "http.max_headers");
    let path = format!(
        "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "x".repeat(5000)
    );
    server.ask(&path).is(431, "http.max_header_size");
    assert_eq!(server.stats.refused(RefusedBy::Request), 4);
}

#[test]
fn what_is_not_http() {
    let server = Server::start(|_| {});
    server.ask("hello\r\n\r\n").is(400, "HTTP/1.1");
    server
        .ask("GET / HTTP/1.1\r\nno colon\r\n\r\n")
        .is(400, "HTTP/1.1");
    server
        .ask("GET / HTTP/1.1\r\nhost: a\r\nx: \u{1}\r\n\r\n")
        .is(400, "HTTP/1.1");
    server
        .ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .is(400, "HTTP/1.1");
    server
        .ask("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}")
        .is(400, "plain HTTP");
}

#[test]
fn a_slow_request_is_given_up() {
    let server = Server::start(|config| config.http.handshake_timeout = Duration::from_millis(100));
    let mut silent = server.connect();
    let mut slow = server.connect();
    slow.send(b"GET /ws HTTP/1.1\r\nhost: loc");
    for client in [&mut silent, &mut slow] {
        client.answer().is(408, "http.handshake_timeout");
        assert!(client.rest().is_empty());
    }
    assert_eq!(server.stats.refused(RefusedBy::Timeout), 2);
}

#[test]
fn a_trickle_of_bytes_does_not_keep_a_connection() {
    let server = Server::start(|config| config.http.handshake_timeout = Duration::from_millis(100));
    let mut client = server.connect();
    client.send(b"GET /ws HTTP/1.1\r\nx: ");
    // Each byte is in time, the whole never comes.
    let mut last = Instant::now();
    wait_until(|| {
        if last.elapsed() > Duration::from_millis(5) {
            last = Instant::now();
            client.try_send(b"a");
        }
        server.stats.refused(RefusedBy::Timeout) == 1
    });
}

#[test]
fn a_connection_kept_alive_for_nothing_ends_without_a_word() {
    let server = Server::start(|config| config.http.handshake_timeout = Duration::from_millis(100));
    let mut client = server.connect();
    client.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(client.rest().is_empty());
    assert_eq!(server.stats.refused(RefusedBy::Timeout), 0);
}

#[test]
fn requests_of_one_connection_are_answered_in_turn() {
    let server = Server::start(|_| {});
    let mut client = server.connect();
    let mut bytes = String::new();
    for _ in 0..20 {
        bytes.push_str(
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /x HTTP/1.1\r\nhost: localhost\r\n\r\n",
        );
    }
    client.send(bytes.as_bytes());
    for _ in 0..20 {
        assert_eq!(client.answer().status, 200);
        assert_eq!(client.answer().status, 404);
    }
}

#[test]
fn stopping_does_not_wait_for_clients() {
    let mut server = Server::start(|_| {});
    let mut client: Client = server.connect();
    client.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.answer();
    server.http.take().unwrap().stop();
    assert!(client.rest().is_empty());
}
