//! The PROXY protocol on real connections; X-Forwarded-For is in `limits` and `handshake`.

use std::time::Duration;

use super::harness::{Server, handshake};
use crate::config::{Config, ProxyProtocol};
use crate::http::RefusedBy;

fn behind_proxy(config: &mut Config) {
    config.server.proxy_protocol = ProxyProtocol::V2;
    config.server.trusted_proxies = vec![
        "127.0.0.1/32".parse().unwrap(),
        "10.0.0.0/8".parse().unwrap(),
    ];
    config.limits.connections_per_address = 1;
}

fn header(source: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend(source);
    bytes.extend([10, 0, 0, 1, 0x10, 0, 0, 80]);
    bytes
}

fn open(
    server: &Server,
    head: &[u8],
    headers: &str,
) -> (super::harness::Client, super::harness::Answer) {
    let mut client = server.connect();
    // In two pieces: the header may come by itself.
    client.send(head);
    client.send(handshake(headers).as_bytes());
    let answer = client.answer();
    (client, answer)
}

#[test]
fn the_named_client_counts() {
    let server = Server::start(behind_proxy);
    let (_first, answer) = open(&server, &header([192, 0, 2, 7]), "");
    assert_eq!(answer.status, 101);
    open(&server, &header([192, 0, 2, 7]), "")
        .1
        .is(503, "limits.connections_per_address");
    assert_eq!(open(&server, &header([192, 0, 2, 8]), "").1.status, 101);
    // It is not on this machine, whoever brought it here.
    let loopback = "Origin: http://localhost:5173\r\n";
    open(&server, &header([192, 0, 2, 9]), loopback)
        .1
        .is(403, "server.origins");
    // A proxy of proxies that is trusted names the client in the request.
    let forwarded = "X-Forwarded-For: 192.0.2.7\r\n";
    open(&server, &header([10, 0, 0, 9]), forwarded)
        .1
        .is(503, "limits.connections_per_address");
    // One that is not trusted can't.
    let forwarded = "X-Forwarded-For: 192.0.2.99\r\n";
    open(&server, &header([192, 0, 2, 8]), forwarded)
        .1
        .is(503, "limits.connections_per_address");
}

#[test]
fn a_proxys_own_health_check() {
    let server = Server::start(behind_proxy);
    let mut client = server.connect();
    client.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_trusted_proxy_has_to_send_it() {
    let server = Server::start(behind_proxy);
    server.upgrade("").is(400, "PROXY protocol v2");
    server
        .ask("PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n\r\n")
        .is(400, "PROXY protocol v2");
    assert_eq!(server.stats.refused(RefusedBy::ProxyHeader), 2);
}

#[test]
fn nobody_else_may() {
    let server = Server::start(|config| {
        behind_proxy(config);
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let mut client = server.connect();
    client.send(&header([192, 0, 2, 7]));
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    client.answer().is(400, "HTTP/1.1");
    assert_eq!(server.upgrade("").status, 101);

    let off = Server::start(|config| {
        behind_proxy(config);
        config.server.proxy_protocol = ProxyProtocol::Off;
    });
    let mut client = off.connect();
    client.send(&header([192, 0, 2, 7]));
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    client.answer().is(400, "HTTP/1.1");
}

#[test]
fn a_header_that_never_ends_is_given_up() {
    let server = Server::start(|config| {
        behind_proxy(config);
        config.http.handshake_timeout = Duration::from_millis(100);
    });
    let mut client = server.connect();
    client.send(&header([192, 0, 2, 7])[..20]);
    client.answer().is(400, "in time");
}
