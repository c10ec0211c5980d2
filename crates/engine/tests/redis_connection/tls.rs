//! TLS, with certificates that the test signs itself.

use std::fs;
use std::path::PathBuf;

use roomcast_core::store::{Cause, StoreError};
use roomcast_engine::redis::{Client, Mode, Tls};
use tempfile::TempDir;

use crate::redis_server::{Server, config, wait};
use crate::shard::{push, run};

struct Files {
    _dir: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

fn certificate(name: &str) -> Files {
    let dir = TempDir::new().expect("a directory");
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let files = Files {
        certificate: dir.path().join("certificate.pem"),
        key: dir.path().join("key.pem"),
        _dir: dir,
    };
    fs::write(&files.certificate, made.cert.pem()).expect("it is written");
    fs::write(&files.key, made.signing_key.serialize_pem()).expect("it is written");
    files
}

fn start(own: &Files, clients: &Files) -> Server {
    Server::start([
        "--tls-cert-file",
        &own.certificate.display().to_string(),
        "--tls-key-file",
        &own.key.display().to_string(),
        "--tls-ca-cert-file",
        &clients.certificate.display().to_string(),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_certificates() {
    let (redis_has, node_has) = (certificate("127.0.0.1"), certificate("a node"));
    let server = start(&redis_has, &node_has);
    let config = |tls: Tls| {
        let mut config = config(
            &[format!("rediss://127.0.0.1:{}", server.port)],
            Mode::Standalone,
        );
        config.tls = tls;
        config
    };
    let whole = Tls {
        ca: Some(redis_has.certificate.clone()),
        certificate: Some((node_has.certificate.clone(), node_has.key.clone())),
    };
    let redis = Client::start(config(whole.clone()));
    wait("a connection", || redis.masters()[0].store).await;
    let mut command = push(b"a", None);
    // More than TLS and the socket take at once.
    command.args = vec![vec![b'x'; 20 << 20]];
    let most = redis.run(command);
    assert!(matches!(
        most.await,
        Ok(_) | Err(StoreError::Again(Cause::Timeout))
    ));
    wait("a connection", || redis.masters()[0].store).await;
    run(&redis, push(b"a", None)).await.expect("it runs");

    let failures = [
        (
            Tls {
                certificate: None,
                ..whole.clone()
            },
            "ertificate",
        ),
        (
            Tls {
                ca: None,
                ..whole.clone()
            },
            "UnknownIssuer",
        ),
        (
            Tls {
                ca: Some(node_has.certificate.clone()),
                ..whole.clone()
            },
            "ertificate",
        ),
        (
            Tls {
                ca: Some("/nowhere.pem".into()),
                ..whole.clone()
            },
            "/nowhere.pem",
        ),
        (
            Tls {
                ca: Some(node_has.key.clone()),
                ..whole.clone()
            },
            "has no certificate in PEM",
        ),
    ];
    for (tls, expected) in failures {
        let redis = Client::start(config(tls.clone()));
        let failure = wait("a refusal", || redis.masters()[0].failure.clone()).await;
        assert!(failure.said.contains(expected), "{tls:?}: {failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_refused() {
    let files = certificate("redis.example");
    let server = start(&files, &files);
    let mut config = config(
        &[format!("rediss://127.0.0.1:{}", server.port)],
        Mode::Standalone,
    );
    config.tls.ca = Some(files.certificate.clone());
    let redis = Client::start(config);
    let failure = wait("a refusal", || redis.masters()[0].failure.clone()).await;
    assert!(failure.said.contains("not valid for name"), "{failure}");
}
