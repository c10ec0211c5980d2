//! What a listener on loopback gives whom: a page of the web can reach it by a name of its own, and a proxy brings others.

use super::harness::{Answer, Server, handshake};
use crate::config::{Config, ProxyProtocol};
use crate::http::RefusedBy;

/// Everything that is served: the pages, the metrics, the SDK, the WebSocket, and what isn't there.
const PATHS: [&str; 6] = [
    "/",
    "/console",
    "/metrics",
    "/sdk/roomcast.js",
    "/ws",
    "/nothing",
];

fn get(server: &Server, path: &str, host: &str) -> Answer {
    if path == "/ws" {
        return server.ask(&handshake("").replace("Host: localhost", &format!("Host: {host}")));
    }
    server.ask(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
}

fn right(path: &str) -> u16 {
    match path {
        "/ws" => 101,
        "/nothing" => 404,
        _ => 200,
    }
}

#[test]
fn only_names_that_mean_this_machine_are_answered() {
    let server = Server::start(|_| {});
    let port = server.addresses[0].0.port();
    for path in PATHS {
        for host in [
            "localhost".to_owned(),
            "LocalHost:1".to_owned(),
            format!("127.0.0.1:{port}"),
            "127.7.7.7".to_owned(),
            "[::1]:8080".to_owned(),
        ] {
            assert_eq!(
                get(&server, path, &host).status,
                right(path),
                "{path} {host}"
            );
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "evil.localhost",
            "localhost.",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "192.168.1.7",
        ] {
            let answer = get(&server, path, host);
            assert_eq!(answer.status, 421, "{path} {host}: {answer:?}");
        }
        for host in ["evil.example@localhost", "localhost:x", "[::1", ""] {
            let answer = get(&server, path, host);
            assert_eq!(answer.status, 400, "{path} {host}: {answer:?}");
        }
    }
    assert!(server.stats.refused(RefusedBy::Host) > 0);
    assert!(server.shards.count() > 0);
}

/// The attack itself: to the browser, the page and the server are one place.
#[test]
fn a_page_that_has_its_name_point_here_gets_nothing() {
    let server = Server::start(|_| {});
    let evil = handshake("Origin: http://evil.example:8080\r\n")
        .replace("Host: localhost", "Host: evil.example:8080");
    server
        .ask(&evil)
        .is(421, "add \"evil.example\" to `server.hosts`");
    // A page may add headers to what it asks for: no claim makes up for the name.
    for claim in ["x-forwarded-for: 127.0.0.1", "x-forwarded-host: localhost"] {
        let ask = format!("GET /metrics HTTP/1.1\r\nhost: evil.example\r\n{claim}\r\n\r\n");
        server.ask(&ask).is(421, "server.hosts");
    }
    let absolute = "GET http://evil.example/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    server.ask(absolute).is(421, "server.hosts");
    for hosts in ["", "host: localhost\r\nhost: evil.example\r\n"] {
        let ask = format!("GET /metrics HTTP/1.1\r\n{hosts}\r\n");
        server.ask(&ask).is(400, "Host");
    }
    assert_eq!(server.shards.count(), 0);
}

#[test]
fn names_can_be_configured_and_are_exact() {
    let server = Server::start(|config| {
        config.server.hosts = vec!["Game.Example".parse().unwrap()];
    });
    for path in PATHS {
        assert_eq!(get(&server, path, "game.example:443").status, right(path));
        assert_eq!(get(&server, path, "www.game.example").status, 421);
        assert_eq!(get(&server, path, "game.example.evil.example").status, 421);
    }
}

#[test]
fn probes_may_ask_by_any_name() {
    let server = Server::start(|_| {});
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&server, path, "10.1.2.3:8080").status, 200);
        let without = server.ask(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert_eq!(without.status, 200);
    }
}

#[test]
fn other_listeners_answer_to_any_name() {
    let server = Server::start(|config| {
        config.server.listen = vec!["0.0.0.0:0".parse().unwrap()];
        config.server.public_demo = true;
    });
    let address = format!("127.0.0.1:{}", server.addresses[0].0.port());
    let mut client = super::harness::Client::connect(address.parse().unwrap());
    client.send(
        handshake("")
            .replace("localhost", "game.example")
            .as_bytes(),
    );
    assert_eq!(client.answer().status, 101);
}

/// A header of the PROXY protocol, and whether its client has an address.
const HEADERS: [(&str, &[u8]); 4] = [
    ("unspecified", b"\x21\0\0\0"),
    ("unix sockets", b"\x21\x31\0\x02ab"),
    ("the proxy itself", b"\x20\0\0\0"),
    (
        "a client on loopback",
        b"\x21\x11\0\x0c\x7f\0\0\x09\x7f\0\0\x01\0\x01\0\x02",
    ),
];

fn behind_proxy(config: &mut Config) {
    config.server.proxy_protocol = ProxyProtocol::V2;
    config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    config.limits.connections_per_address = 1;
}

#[test]
fn whoever_a_proxy_brings_is_no_program_on_this_machine() {
    for (what, header) in HEADERS {
        let server = Server::start(behind_proxy);
        let open = |headers: &str| {
            let mut client = server.connect();
            client.send(b"\r\n\r\n\0\r\nQUIT\n");
            client.send(header);
            client.send(handshake(headers).as_bytes());
            let answer = client.answer();
            (client, answer)
        };
        let (_client, answer) = open("");
        assert_eq!(answer.status, 101, "{what}");
        let upgraded = server.shards.take();
        assert!(!upgraded.access.anonymous, "{what}");
        // It is counted, under the proxy's address where it has none, and can't give itself one.
        open("X-Forwarded-For: 192.0.2.7\r\n")
            .1
            .is(503, "limits.connections_per_address");
    }
    let direct = Server::start(|_| {});
    let (_client, answer) = direct.open("");
    assert_eq!(answer.status, 101);
    assert!(direct.shards.take().access.anonymous);
}

/// A name that a proxy passes on can be configured: what it brings is served then, but for what is only local.
#[test]
fn metrics_that_are_on_for_this_machine_are_not_for_whoever_a_proxy_brings() {
    let asked = |server: &Server, begin: &[u8], headers: &str| {
        let mut client = server.connect();
        client.send(begin);
        let ask = format!("GET /metrics HTTP/1.1\r\nhost: game.example\r\n{headers}\r\n");
        client.send(ask.as_bytes());
        client.answer()
    };
    let named = |config: &mut Config| config.server.hosts = vec!["game.example".parse().unwrap()];
    let claims = [
        "x-forwarded-for: 192.0.2.7\r\n",
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-forwarded-proto: https\r\n",
        "forwarded: for=127.0.0.1\r\n",
        "via: 1.1 proxy\r\n",
    ];
    for trusted in [&[][..], &["127.0.0.1/32".parse().unwrap()]] {
        let server = Server::start(|config| {
            named(config);
            config.server.trusted_proxies = trusted.to_vec();
        });
        assert_eq!(asked(&server, b"", "").status, 200);
        for claim in claims {
            asked(&server, b"", claim).is(404, "`server.metrics = true`");
        }
    }
    for (what, header) in HEADERS {
        let server = Server::start(|config| {
            behind_proxy(config);
            named(config);
        });
        let begin = [&b"\r\n\r\n\0\r\nQUIT\n"[..], header].concat();
        let answer = asked(&server, &begin, "");
        assert_eq!(answer.status, 404, "{what}: {answer:?}");
    }
    let open = Server::start(|config| {
        named(config);
        config.server.metrics = Some(true);
    });
    for claim in claims {
        assert_eq!(asked(&open, b"", claim).status, 200);
    }
}
