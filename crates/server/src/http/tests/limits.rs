//! Who is let in.

use super::harness::Server;
use crate::http::RefusedBy;

#[test]
fn connections_in_all() {
    let server = Server::start(|config| config.limits.connections = 3);
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (client, answer) = server.open("");
        assert_eq!(answer.status, 101);
        clients.push((client, server.shards.take()));
    }
    server.upgrade("").is(503, "limits.connections");
    server.get("/").is(503, "limits.connections");
    // Whoever watches the server must still be able to.
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/metrics").status, 200);
    assert_eq!(server.stats.refused(RefusedBy::Connections), 2);
    // One leaves: its permit goes with it.
    clients.pop();
    assert_eq!(server.upgrade("").status, 101);
}

#[test]
fn a_flood_of_refused_clients_is_answered_too() {
    let server = Server::start(|config| config.limits.connections = 1);
    let (_client, _) = server.open("");
    let _upgraded = server.shards.take();
    // None of them asks for anything: those that no polite place is left for get their 503 at once.
    let mut silent: Vec<_> = (0..200).map(|_| server.connect()).collect();
    server.wait_for_refusals(RefusedBy::Connections, 100);
    silent.pop().unwrap().answer().is(503, "limits.connections");
}

#[test]
fn by_memory() {
    let server = Server::start(|config| config.limits.memory = Some(16 * 1024));
    server.upgrade("").is(503, "limits.memory");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn by_address() {
    let server = Server::start(|config| {
        config.limits.connections_per_address = 2;
        config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let from = |address: &str| server.open(&format!("X-Forwarded-For: {address}\r\n"));
    let _kept = [from("192.0.2.7"), from("192.0.2.7"), from("192.0.2.8")];
    let upgraded = server.shards.take();
    from("192.0.2.7")
        .1
        .is(503, "limits.connections_per_address");
    assert_eq!(from("192.0.2.9").1.status, 101);
    // This machine's own clients (a benchmark, say) aren't counted.
    for _ in 0..5 {
        assert_eq!(server.upgrade("").status, 101);
    }
    drop(upgraded);
    assert_eq!(from("192.0.2.7").1.status, 101);
}

#[test]
fn a_proxy_that_is_not_trusted_is_one_client() {
    let server = Server::start(|config| config.limits.connections_per_address = 1);
    let from = |address: &str| server.open(&format!("X-Forwarded-For: {address}\r\n"));
    let (_client, answer) = from("192.0.2.7");
    assert_eq!(answer.status, 101);
    from("192.0.2.8")
        .1
        .is(503, "limits.connections_per_address");
    assert_eq!(server.upgrade("").status, 101);
}

#[test]
fn a_failed_handshake_gives_its_place_back() {
    let server = Server::start(|config| config.limits.connections = 1);
    for _ in 0..20 {
        let answer = server.upgrade("Origin: http://evil.example\r\nConnection: close\r\n");
        if answer.status == 503 {
            // The one before is still on its way out.
            continue;
        }
        answer.is(403, "server.origins");
    }
    super::harness::wait_until(|| server.upgrade("").status == 101);
}
