//! Pages, health and metrics.

use bytes::Bytes;

use super::harness::{Client, Server};
use crate::config::Role;
use crate::http::{Bound, Page};

#[test]
fn the_page_is_there_and_safe() {
    let server = Server::start(|_| {});
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<html"), "{page:?}");
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let script = server.get("/app.js?version=1");
    assert_eq!(
        script.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );

    let head = {
        let mut client = server.connect();
        client.send(b"HEAD / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        String::from_utf8(client.rest()).unwrap()
    };
    assert!(
        head.contains(&format!("content-length: {}\r\n", page.body.len())),
        "{head}"
    );
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn an_unchanged_page_is_not_sent_again() {
    let server = Server::start(|_| {});
    let etag = server.get("/style.css").header("etag").unwrap().to_owned();
    let again = |tags: &str| {
        server.ask(&format!(
            "GET /style.css HTTP/1.1\r\nhost: localhost\r\nif-none-match: {tags}\r\n\r\n"
        ))
    };
    for tags in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
        let answer = again(&tags);
        assert_eq!(
            (answer.status, answer.header("etag")),
            (304, Some(etag.as_str()))
        );
    }
    assert_eq!(again("\"x\"").status, 200);
    assert_ne!(server.get("/app.js").header("etag"), Some(etag.as_str()));
}

#[test]
fn what_is_off_says_how_to_turn_it_on() {
    let server = Server::start(|config| {
        config.server.pages = Some(false);
        config.server.metrics = Some(false);
    });
    server.get("/").is(404, "server.pages");
    server.get("/app.js").is(404, "/ws");
    server.get("/metrics").is(404, "server.metrics");
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.upgrade("").status, 101);
}

#[test]
fn an_admin_listener_has_what_the_public_one_has_not() {
    let server = Server::start(|config| config.admin.listen = vec!["127.0.0.1:0".parse().unwrap()]);
    let admin = server
        .addresses
        .iter()
        .find(|(_, role)| *role == Role::Admin)
        .unwrap()
        .0;
    let ask = |path: &str| {
        let mut client = Client::connect(admin);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes());
        client.answer()
    };
    assert_eq!(ask("/").status, 200);
    assert_eq!(ask("/metrics").body, "roomcast_test 1\n");
    server.get("/").is(404, "server.pages");
    server.get("/metrics").is(404, "server.metrics");

    server.http().refuse_newcomers();
    assert_eq!(ask("/metrics").status, 200);
    assert_eq!(ask("/readyz").status, 503);
}

#[test]
fn metrics() {
    let server = Server::start(|_| {});
    let answer = server.get("/metrics");
    assert_eq!(answer.body, "roomcast_test 1\n");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
}

#[test]
fn pages_of_the_embedding_program() {
    let page = Page::new("/game", "text/html", Bytes::from_static(b"<html>mine")).unwrap();
    let server = Server::start_with_pages(|config| config.server.pages = Some(false), vec![page]);
    assert_eq!(server.get("/game").body, "<html>mine");
    assert_eq!(server.get("/sdk/roomcast.js").status, 200);
    assert_eq!(server.get("/app.js").status, 404);
}

/// Where each file of the SDK is served, and as what.
fn sdk_files() -> Vec<(String, &'static str)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web/sdk");
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let served = names.map(|name| {
        let content_type = match name.ends_with(".js") {
            true => "text/javascript; charset=utf-8",
            false => "text/plain; charset=utf-8",
        };
        (format!("/sdk/{name}"), content_type)
    });
    served.collect()
}

#[test]
fn the_sdk_is_served_with_and_without_the_pages() {
    for pages in [true, false] {
        let server = Server::start(|config| config.server.pages = Some(pages));
        for (path, content_type) in sdk_files() {
            let script = server.get(&path);
            assert_eq!(script.status, 200, "{path}");
            assert_eq!(script.header("content-type"), Some(content_type), "{path}");
            // A page of another origin imports it as a module.
            assert_eq!(script.header("access-control-allow-origin"), Some("*"));
            assert_eq!(script.header("cache-control"), Some("no-cache"));
            let etag = script.header("etag").unwrap();
            let again = server.ask(&format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nif-none-match: {etag}\r\n\r\n"
            ));
            assert_eq!(again.status, 304);
            assert_eq!(again.header("access-control-allow-origin"), Some("*"));
        }
        let page = server.get("/console");
        assert_eq!(page.status, if pages { 200 } else { 404 });
        assert_eq!(page.header("access-control-allow-origin"), None);
    }
}

#[test]
fn readiness() {
    let server = Server::start(|_| {});
    assert_eq!(server.get("/readyz").status, 200);
    let mut kept = server.connect();
    kept.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(kept.answer().status, 200);

    server.http().not_ready();
    assert_eq!(server.get("/readyz").status, 503);
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.upgrade("").status, 101);

    server.http().refuse_newcomers();
    kept.send(super::harness::handshake("").as_bytes());
    kept.answer().is(503, "shutting down");
    let address = server.addresses[0].0;
    super::harness::wait_until(|| std::net::TcpStream::connect(address).is_err());
}

#[test]
fn an_address_in_use_is_named() {
    let server = Server::start(|_| {});
    let mut config = crate::config::Config::default();
    config.server.listen = vec![server.addresses[0].0];
    let error = Bound::bind(&config).unwrap_err().to_string();
    assert!(
        error.contains(&server.addresses[0].0.to_string()),
        "{error}"
    );
    assert!(error.contains("another server"), "{error}");
}

#[test]
fn both_loopbacks_share_a_port_with_any() {
    let mut config = crate::config::Config::default();
    config.server.listen = vec!["127.0.0.1:0".parse().unwrap()];
    let port = Bound::bind(&config).unwrap().addresses()[0].0.port();
    config.server.listen = vec![
        format!("0.0.0.0:{port}").parse().unwrap(),
        format!("[::]:{port}").parse().unwrap(),
    ];
    config.server.public_demo = true;
    // A machine without IPv6 can't say anything about this.
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        assert_eq!(Bound::bind(&config).unwrap().addresses().len(), 2);
    }
}

#[test]
fn a_folder_takes_the_place_of_the_demo_page_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("index.html", "<p>mine</p>");
    write("app.js", "mine()");
    write("console", "not the console");
    write(".secret", "hidden");
    let path = folder.path().to_str().unwrap().to_owned();
    for pages in [true, false] {
        let server = Server::start(|config| {
            config.server.static_dir = path.clone();
            config.server.pages = Some(pages);
        });
        let page = server.get("/");
        assert_eq!((page.status, &*page.body), (200, "<p>mine</p>"));
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let tag = page.header("etag").unwrap();
        let again = format!("GET / HTTP/1.1\r\nhost: localhost\r\nif-none-match: {tag}\r\n\r\n");
        assert_eq!(server.ask(&again).status, 304);
        assert_eq!(server.get("/app.js").body, "mine()");
        for path in [
            "/.secret",
            "/%2esecret",
            "/../index.html",
            "/arena.js",
            "/nothing",
        ] {
            assert_eq!(server.get(path).status, 404, "{path}");
        }
        assert_eq!(server.get("/sdk/roomcast.js").status, 200);
        assert_eq!(server.get("/healthz").body.trim(), "ok");
        let console = server.get("/console");
        assert!(!console.body.contains("not the console"), "{console:?}");
    }
}
