//! The opening handshake, both sides.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use roomcast_websocket::handshake::{
    ClientRequest, HandshakeError, ResponseError, accept, accept_key, choose_protocol,
};
use roomcast_websocket::{DeflateConfig, DeflateOffer};

type Lines<'a> = Vec<(&'a str, &'a [u8])>;

/// The request of RFC 6455 section 1.2, as browsers write it.
fn browser() -> Lines<'static> {
    vec![
        ("Host", b"server.example.com"),
        ("upgrade", b"WebSocket"),
        ("CONNECTION", b"keep-alive, Upgrade"),
        ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ("Origin", b"http://example.com"),
        ("Sec-WebSocket-Protocol", b"chat, superchat"),
        ("Sec-WebSocket-Protocol", b"last"),
        ("Sec-WebSocket-Version", b"13"),
        (
            "Sec-WebSocket-Extensions",
            b"permessage-deflate; client_max_window_bits",
        ),
    ]
}

fn without(name: &str) -> Lines<'static> {
    browser()
        .into_iter()
        .filter(|line| !line.0.eq_ignore_ascii_case(name))
        .collect()
}

fn with<'a>(name: &'a str, value: &'a [u8]) -> Lines<'a> {
    let mut lines: Lines<'a> = without(name);
    lines.push((name, value));
    lines
}

fn twice(name: &str) -> Lines<'static> {
    let mut lines = browser();
    lines.extend(
        browser()
            .into_iter()
            .filter(|line| line.0.eq_ignore_ascii_case(name)),
    );
    lines
}

#[test]
fn a_browser_is_let_in() {
    let accepted = accept("GET", (1, 1), browser()).unwrap();
    assert_eq!(accepted.accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(accepted.protocols, ["chat", "superchat", "last"]);
    assert_eq!(accepted.origin, Some(&b"http://example.com"[..]));
    assert_eq!(accepted.host, b"server.example.com");
    assert_eq!(
        accepted.extensions,
        [b"permessage-deflate; client_max_window_bits"]
    );
    let response = String::from_utf8(accepted.response(Some("chat"), None)).unwrap();
    assert_eq!(
        response,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
}

#[test]
fn what_is_refused_and_with_which_status() {
    use HandshakeError::*;
    let get = |lines: Lines<'_>| accept("GET", (1, 1), lines).unwrap_err();
    for (lines, error, status) in [
        (without("upgrade"), NotAnUpgrade, 426),
        (with("upgrade", b"h2c"), NotAnUpgrade, 426),
        (with("connection", b"close"), Connection, 400),
        (without("connection"), Connection, 400),
        (without("host"), Host, 400),
        (twice("host"), Host, 400),
        (twice("origin"), Origin, 400),
        (without("sec-websocket-version"), Version, 426),
        (with("sec-websocket-version", b"8"), Version, 426),
        (with("sec-websocket-version", b"13, 8"), Version, 426),
        (twice("sec-websocket-version"), Version, 426),
        (without("sec-websocket-key"), Key, 400),
        (twice("sec-websocket-key"), Key, 400),
        (with("sec-websocket-key", b""), Key, 400),
        (
            with("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ"),
            Key,
            400,
        ),
        (
            with("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZSE="),
            Key,
            400,
        ),
        (
            with("sec-websocket-key", b"not base64, but 24 long!"),
            Key,
            400,
        ),
        (with("sec-websocket-protocol", b"a, b c"), Protocol, 400),
        (with("sec-websocket-protocol", b"a, a"), Protocol, 400),
    ] {
        let refused = get(lines.clone());
        assert_eq!((refused, refused.status()), (error, status), "{lines:?}");
        assert!(refused.to_string().len() > 20);
    }
    let refused = accept("POST", (1, 1), browser()).unwrap_err();
    assert_eq!((refused, refused.status()), (Method, 405));
    assert_eq!(refused.headers(), [("Allow", "GET")]);
    assert_eq!(accept("GET", (1, 0), browser()), Err(HttpVersion));
    // A page opened by hand, and a HEAD by a monitor, are told what this is.
    assert_eq!(
        accept("GET", (1, 1), without("upgrade"))
            .unwrap_err()
            .status(),
        426
    );
    assert_eq!(
        accept("HEAD", (1, 1), without("upgrade"))
            .unwrap_err()
            .status(),
        426
    );
    assert!(Version.headers().contains(&("Sec-WebSocket-Version", "13")));
}

#[test]
fn any_16_octets_are_a_key() {
    for key in [
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "+/+/+/+/+/+/+/+/+/+/+w==",
        "dGhlIHNhbXBsZSBub25jZZ==",
    ] {
        let accepted = accept("GET", (1, 1), with("sec-websocket-key", key.as_bytes())).unwrap();
        assert_eq!(accepted.accept_key, accept_key(key.as_bytes()));
    }
}

#[test]
fn the_clients_preference_decides_on_the_subprotocol() {
    assert_eq!(choose_protocol(["x", "b", "a"], &["a", "b"]), Some("b"));
    assert_eq!(choose_protocol(["x"], &["a", "b"]), None);
    assert_eq!(choose_protocol([], &["a"]), None);
}

fn request() -> ClientRequest<'static> {
    ClientRequest {
        host: "example.com:8080",
        target: "/ws?x=1",
        nonce: *b"the sample nonce",
        protocols: &["a", "b"],
        deflate: Some(DeflateOffer::default()),
        headers: &[("Origin", "http://example.com")],
    }
}

#[test]
fn a_client_and_a_server_understand_each_other() {
    let request = request();
    let bytes = request.encode();
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Request::new(&mut headers);
    assert!(parsed.parse(&bytes).unwrap().is_complete());
    assert_eq!((parsed.method, parsed.path), (Some("GET"), Some("/ws?x=1")));
    let lines = parsed
        .headers
        .iter()
        .map(|header| (header.name, header.value));
    let accepted = accept("GET", (1, 1), lines).unwrap();
    assert_eq!(accepted.accept_key, accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
    let protocol = choose_protocol(accepted.protocols.iter().copied(), &["b"]);
    let deflate = DeflateConfig::shared()
        .negotiate(accepted.extensions.clone())
        .unwrap()
        .unwrap();
    let response = accepted.response(protocol, Some(&deflate.response));

    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Response::new(&mut headers);
    assert!(parsed.parse(&response).unwrap().is_complete());
    let lines = parsed
        .headers
        .iter()
        .map(|header| (header.name, header.value));
    let upgraded = request.verify(parsed.code.unwrap(), lines).unwrap();
    assert_eq!(upgraded.protocol, Some("b"));
    assert_eq!(upgraded.deflate, Some(deflate.deflate));
}

#[test]
fn a_client_refuses_what_it_did_not_ask_for() {
    use ResponseError::*;
    let good: Lines<'_> = vec![
        ("upgrade", b"websocket"),
        ("connection", b"upgrade"),
        ("sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];
    let verify = |status, extra: &[(&'static str, &'static [u8])], drop: usize| {
        let mut lines = good.clone();
        lines.truncate(lines.len() - drop);
        lines.extend(extra);
        request()
            .verify(status, lines)
            .map(|upgraded| upgraded.deflate.is_some())
    };
    assert_eq!(verify(101, &[], 0), Ok(false));
    assert_eq!(verify(200, &[], 0), Err(Status(200)));
    assert_eq!(verify(101, &[], 1), Err(Accept));
    assert_eq!(verify(101, &[], 2), Err(NotAnUpgrade));
    assert_eq!(
        verify(101, &[("Sec-WebSocket-Accept", b"wrong")], 1),
        Err(Accept)
    );
    assert_eq!(
        verify(101, &[("Sec-WebSocket-Protocol", b"c")], 0),
        Err(Protocol)
    );
    let extensions = "Sec-WebSocket-Extensions";
    assert_eq!(
        verify(101, &[(extensions, b"permessage-deflate")], 0),
        Ok(true)
    );
    for value in [
        &b"x-other"[..],
        b"permessage-deflate, permessage-deflate",
        b"permessage-deflate; unknown",
        b"permessage-deflate; server_no_context_takeover=1",
        b"permessage-deflate; client_max_window_bits",
        b"permessage-deflate; client_max_window_bits=8",
        b"permessage-deflate; server_max_window_bits=16",
        b"permessage-deflate;",
    ] {
        assert_eq!(verify(101, &[(extensions, value)], 0), Err(Extensions));
    }
}

/// What a server with this configuration answers to these lines.
fn negotiate(config: DeflateConfig, offers: &[&str]) -> Option<String> {
    let offers = offers.iter().map(|offer| offer.as_bytes());
    config
        .negotiate(offers)
        .unwrap()
        .map(|accepted| accepted.response)
}

#[test]
fn offers_of_compression() {
    let any = |offer: &str| negotiate(DeflateConfig::default(), &[offer]);
    let some = |response: &str| Some(response.to_owned());
    let pmd = "permessage-deflate";
    assert_eq!(any(pmd), some(pmd));
    assert_eq!(any("PerMessage-Deflate; Client_Max_Window_Bits"), some(pmd));
    for kept in [
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=15",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=10; client_max_window_bits=11",
    ] {
        assert_eq!(any(kept), some(kept));
    }
    // The first that can be accepted is.
    assert_eq!(
        any(
            "x-other; a=1, permessage-deflate; server_max_window_bits=8, \
             permessage-deflate; server_max_window_bits=\"12\", permessage-deflate"
        ),
        some("permessage-deflate; server_max_window_bits=12")
    );
    let lines = [
        "permessage-deflate; unknown",
        "permessage-deflate; client_no_context_takeover",
    ];
    assert_eq!(
        negotiate(DeflateConfig::default(), &lines),
        some("permessage-deflate; client_no_context_takeover")
    );
    for declined in [
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    ] {
        assert_eq!(any(declined), None, "{declined}");
    }
    for malformed in [
        "permessage-deflate;",
        "permessage-deflate; =",
        "permessage-deflate, a b",
    ] {
        assert!(
            DeflateConfig::default()
                .negotiate([malformed.as_bytes()])
                .is_err()
        );
    }
}

#[test]
fn a_server_that_shares_its_frames() {
    let shared = |offer: &str| negotiate(DeflateConfig::shared(), &[offer]);
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(shared("permessage-deflate").as_deref(), Some(both));
    // What Chrome, Firefox and Safari offer.
    assert_eq!(
        shared("permessage-deflate; client_max_window_bits").as_deref(),
        Some(both)
    );
    assert_eq!(
        shared("permessage-deflate; server_max_window_bits=14"),
        None
    );
    assert_eq!(
        shared("permessage-deflate; server_max_window_bits=14, permessage-deflate").as_deref(),
        Some(both)
    );
    assert_eq!(
        shared("permessage-deflate; server_max_window_bits=15"),
        Some(format!("{both}; server_max_window_bits=15"))
    );
}

#[test]
fn a_server_that_limits_windows() {
    let config = DeflateConfig {
        server_max_window_bits: 11,
        client_max_window_bits: 10,
        ..DeflateConfig::default()
    };
    assert_eq!(
        negotiate(config, &["permessage-deflate"]).as_deref(),
        Some("permessage-deflate; server_max_window_bits=11")
    );
    assert_eq!(
        negotiate(config, &["permessage-deflate; client_max_window_bits"]).as_deref(),
        Some("permessage-deflate; server_max_window_bits=11; client_max_window_bits=10")
    );
    assert_eq!(
        negotiate(
            config,
            &["permessage-deflate; server_max_window_bits=9; client_max_window_bits=9"]
        )
        .as_deref(),
        Some("permessage-deflate; server_max_window_bits=9; client_max_window_bits=9")
    );
}
