//! Keys that an identity provider has at a URL: before they are there, when they change, and when the provider is away.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::harness::{Server, wait_until};
use crate::auth::Algorithm;
use crate::auth::testing::Pair;

/// A provider with TLS. What it answers to every request: a key set, or a 503.
struct Provider {
    address: SocketAddr,
    certificate: String,
    keys: Arc<Mutex<Option<String>>>,
}

impl Provider {
    fn start() -> Provider {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let keys = Arc::new(Mutex::new(None));
        let (config, answers) = (Arc::new(config), Arc::clone(&keys));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), Arc::clone(&config), &answers);
            }
        });
        Provider {
            address,
            certificate: made.cert.pem(),
            keys,
        }
    }

    fn put(&self, keys: Option<serde_json::Value>) {
        *self.keys.lock().unwrap() = keys.map(|keys| json!({ "keys": keys }).to_string());
    }
}

/// One request. A client that does not trust the certificate is none.
fn answer(stream: TcpStream, config: Arc<ServerConfig>, keys: &Mutex<Option<String>>) {
    let session = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        request.push(byte[0]);
    }
    let keys = keys.lock().unwrap().clone();
    let (status, body) = keys.map_or((503, String::new()), |keys| (200, keys));
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn status(server: &Server, pair: &Pair, kid: &str) -> u16 {
    let token = pair.sign(Some(kid), &super::tokens::ada());
    server.upgrade(&super::tokens::bearer(&token)).status
}

/// A server that fetches keys from one provider, and trusts the certificate of another.
fn fetching(from: &Provider, trusted: &Provider) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, &trusted.certificate).unwrap();
    // The file is read when the server starts.
    Server::start(|config| {
        config.auth.jwks_path = format!("https://localhost:{}/jwks.json", from.address.port());
        config.auth.jwks_ca_path = ca.display().to_string();
        config.auth.jwks_refresh = Duration::from_millis(20);
    })
}

#[test]
fn keys_are_fetched_kept_and_fetched_again() {
    let provider = Provider::start();
    let server = fetching(&provider, &provider);
    let (old, new) = (Pair::new(Algorithm::Es256), Pair::new(Algorithm::EdDsa));
    // The provider is not up yet: nobody is refused for good.
    assert_eq!(status(&server, &old, "old"), 503);
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.contains("have not been fetched yet"),
        "{}",
        ready.body
    );

    provider.put(Some(json!([old.jwk("old")])));
    wait_until(|| server.get("/readyz").status == 200);
    assert_eq!(status(&server, &old, "old"), 101);
    // A key that is not known may be in the set by now: nobody is refused for good before that was looked at.
    assert_eq!(status(&server, &new, "new"), 503);
    wait_until(|| status(&server, &new, "new") == 401);
    provider.put(Some(json!([old.jwk("old"), new.jwk("new")])));
    wait_until(|| status(&server, &new, "new") == 101);
    assert_eq!(status(&server, &old, "old"), 101);

    // Away, or with nonsense: what was fetched stays.
    for nonsense in [None, Some(json!([])), Some(json!("none"))] {
        provider.put(nonsense);
        for _ in 0..20 {
            assert_eq!(status(&server, &old, "old"), 101);
        }
    }
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn a_provider_whose_certificate_is_not_trusted_gives_no_keys() {
    let (provider, other) = (Provider::start(), Provider::start());
    let pair = Pair::new(Algorithm::Es256);
    for it in [&provider, &other] {
        it.put(Some(json!([pair.jwk("a")])));
    }
    let (stranger, trusted) = (fetching(&provider, &other), fetching(&other, &other));
    wait_until(|| status(&trusted, &pair, "a") == 101);
    assert_eq!(status(&stranger, &pair, "a"), 503);
}

#[test]
fn a_public_set_has_no_secrets() {
    let provider = Provider::start();
    let server = fetching(&provider, &provider);
    let k = "YSBzZWNyZXQgZm9yIHRlc3RzLCB3aXRoIGVub3VnaCBieXRlcyBpbiBpdA";
    let pair = Pair::new(Algorithm::Es256);
    provider.put(Some(
        json!([{"kty": "oct", "kid": "s", "k": k}, pair.jwk("a")]),
    ));
    wait_until(|| status(&server, &pair, "a") == 101);
    let forged = crate::auth::testing::hs256(&super::tokens::ada());
    wait_until(|| server.upgrade(&super::tokens::bearer(&forged)).status == 401);
}
