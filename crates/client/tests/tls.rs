//! `wss://`: with a certificate that is trusted, and with one that is not.

#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use roomcast_client::session::{JoinOptions, Status};
use roomcast_client::{Client, code};
use roomcast_server::Server;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Takes TLS off in front of a server.
async fn terminator(server: SocketAddr, config: ServerConfig) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                if let Ok(mut near) = acceptor.accept(near).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    address
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test]
async fn tls_carries_messages_and_refuses_strangers() {
    let mut config = roomcast_server::config::Config::default();
    config.server.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.server.shards = Some(1);
    config.shutdown.delay = Duration::ZERO;
    let server = Server::builder().config(config).build().unwrap();
    let server = server.start().unwrap();

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = builder
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(key))
        .unwrap();
    let address = terminator(server.local_addrs()[0], config).await;
    let url = format!("wss://localhost:{}/ws", address.port());

    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = Client::builder(&url).tls(trusting(roots));
    let client = client.connect().unwrap();
    let room = client.room("r");
    let talk = async {
        room.join(JoinOptions::default()).await?;
        room.chat("hello").await
    };
    let receipt = tokio::time::timeout(Duration::from_secs(20), talk).await;
    assert_eq!(receipt.unwrap().unwrap().seq, 1);

    let stranger = Client::builder(&url).tls(trusting(RootCertStore::empty()));
    let stranger = stranger.connect().unwrap();
    let mut status = stranger.status();
    let refused = status.wait_for(|status| matches!(status, Status::Reconnecting { .. }));
    let refused = tokio::time::timeout(Duration::from_secs(20), refused).await;
    match &*refused.unwrap().unwrap() {
        Status::Reconnecting { reason, .. } => {
            assert_eq!(reason.code(), code::CONNECTION_LOST);
            assert!(reason.message().contains("TLS"), "{reason}");
        }
        status => panic!("{status:?}"),
    };
}
