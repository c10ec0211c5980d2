//! The API for backends: where it is, and for whom.

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

use std::net::SocketAddr;

use api::{CHAT, KEY, WEAK, ask, key, with_keys};
use common::{Client, address, eventually, start};
use http::request;
use roomcast_server::RunningServer;
use roomcast_server::config::{ApiKey, Right};

#[test]
fn it_is_off_without_a_key() {
    let server = start(|_| {});
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let answer = ask(&server, KEY, "POST", "/rooms/relay:1/messages", body);
    assert!(answer.status == 404 || answer.status == 413, "{answer:?}");
    let document = request(address(&server), "GET", "/api/v1/openapi.json", &[], "");
    assert_eq!(document.status, 404);
    assert_eq!(
        request(address(&server), "GET", "/admin", &[], "").status,
        404
    );
}

#[test]
fn addresses_of_its_own_serve_it_and_nothing_else() {
    let server = start(|config| {
        with_keys(config);
        config.api.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    });
    let (main, own) = (server.local_addrs()[0], server.local_addrs()[1]);
    let bearer = format!("authorization: Bearer {KEY}");
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let path = "/api/v1/rooms/relay:1/messages";
    assert_eq!(request(own, "POST", path, &[&bearer], body).status, 200);
    assert_ne!(request(main, "POST", path, &[&bearer], body).status, 200);
    assert_eq!(request(own, "GET", "/readyz", &[], "").status, 200);
    for page in ["/admin", "/admin/admin.js", "/admin/style.css"] {
        assert_eq!(request(own, "GET", page, &[], "").status, 200, "{page}");
        assert_eq!(request(main, "GET", page, &[], "").status, 404, "{page}");
    }
    for nothing in ["/", "/ws", "/metrics", "/sdk/roomcast.js", "/style.css"] {
        assert_eq!(
            request(own, "GET", nothing, &[], "").status,
            404,
            "{nothing}"
        );
    }
    assert_eq!(
        request(own, "GET", "/api/v1/openapi.json", &[], "").status,
        200
    );
    let odd = request(own, "GET", "/api/v1/nothing", &[&bearer], "");
    assert_eq!((odd.status, odd.code()), (404, "not_found"));
}

#[test]
fn backends_get_in_when_clients_have_filled_the_server() {
    let chat = |address: SocketAddr, key: &str| {
        let bearer = format!("authorization: Bearer {key}");
        let path = "/api/v1/rooms/relay:1/messages";
        request(address, "POST", path, &[&bearer], CHAT)
    };
    let fill = |server: &RunningServer| {
        let mut client = Client::json(address(server));
        client.join("relay:1");
        // Until the connection before is gone, one more is refused by it alone.
        eventually("it is full", || {
            request(address(server), "GET", "/", &[], "").status == 503
        });
        client
    };
    let shared = start(|config| {
        with_keys(config);
        config.limits.connections = 1;
    });
    let mut client = fill(&shared);
    for _ in 0..3 {
        let told = chat(address(&shared), KEY);
        assert_eq!(told.status, 200, "{told:?}");
        assert_eq!(told.header("connection"), Some("close"));
        client.expect_chat();
    }
    assert_eq!(chat(address(&shared), WEAK).status, 503);
    let own = start(|config| {
        with_keys(config);
        config.limits.connections = 1;
        config.api.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    });
    let _client = fill(&own);
    let told = chat(own.local_addrs()[1], KEY);
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(chat(own.local_addrs()[1], WEAK).status, 401);
}

#[test]
fn a_key_in_a_file_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let server = start(|config| {
        config.auth.reload_interval = std::time::Duration::from_millis(10);
        config.api_keys = vec![ApiKey {
            key_path: path.to_str().unwrap().to_owned(),
            ..key("shop", "", &[Right::Publish], 0)
        }];
    });
    let body = r#"{"type":"chat","payload":"hello"}"#;
    let status = |key| ask(&server, key, "POST", "/rooms/relay:1/messages", body).status;
    assert_eq!((status(KEY), status(WEAK)), (200, 401));
    // A file that is not good changes nothing.
    std::fs::write(&path, "short").unwrap();
    let next = directory.path().join("next");
    std::fs::write(&next, WEAK).unwrap();
    assert_eq!(status(KEY), 200);
    std::fs::rename(&next, &path).unwrap();
    eventually("the new key is taken", || status(WEAK) == 200);
    assert_eq!(status(KEY), 401);
    std::fs::remove_file(&path).unwrap();
    eventually("the key has ended with its file", || status(WEAK) == 401);
}
