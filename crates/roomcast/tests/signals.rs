//! What SIGTERM and SIGINT do to the process.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

const DEADLINE: Duration = Duration::from_secs(20);

/// A server on a free port, ended with the test.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(settings: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        let directory = std::env::temp_dir();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut process = command
            .current_dir(directory)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, addresses) = line.split_once("listening on ")?;
            addresses.split(['"', ',']).next().map(str::to_owned)
        });
        // The rest of the log is read, so that its pipe never fills.
        std::thread::spawn(move || lines.for_each(drop));
        Server {
            process,
            address: address.unwrap(),
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::yield_now();
        }
    }

    fn until_not_ready(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.get("/readyz").unwrap().starts_with("HTTP/1.1 503") {
            assert!(Instant::now() < deadline, "it stays ready");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn either_signal_ends_it_in_good_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&["shutdown.delay=0"]);
        assert!(server.get("/readyz").unwrap().starts_with("HTTP/1.1 200"));
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut server = Server::start(&["shutdown.delay=15s"]);
        server.signal(Signal::TERM);
        server.until_not_ready();
        let since = Instant::now();
        server.signal(second);
        assert_eq!(server.wait().code(), Some(code));
        assert!(since.elapsed() < Duration::from_secs(5));
    }
}

/// A service manager's reload, where keys are there and none is in a file that could be read anew.
#[test]
fn a_hangup_ends_no_server_that_has_keys() {
    let secret = format!("auth.hs256_secret={}", "s".repeat(32));
    let mut server = Server::start(&[&secret, "shutdown.delay=0"]);
    // Signals of one kind may be one; the one that ends it comes after them.
    for _ in 0..3 {
        server.signal(Signal::HUP);
        assert!(server.get("/readyz").unwrap().starts_with("HTTP/1.1 200"));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

/// A certificate for `localhost` in a directory's `certificate.pem` and `key.pem`.
fn certificate(directory: &std::path::Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(directory.join("certificate.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// Whether a server shows this certificate.
fn shows(address: &str, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = std::sync::Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut session = ClientConnection::new(config.into(), name).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    session.complete_io(&mut stream).is_ok()
}

#[test]
fn a_hangup_takes_another_certificate_and_healthchecks_speak_tls() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let first = certificate(directory.path());
    let settings = [
        format!("tls.certificate_path={}", path("certificate.pem")),
        format!("tls.key_path={}", path("key.pem")),
        // It is the signal that brings the new one.
        "tls.reload_interval=1d".to_owned(),
    ];
    let mut server = Server::start(&settings.each_ref().map(String::as_str));
    assert!(shows(&server.address, &first));
    let second = certificate(directory.path());
    let deadline = Instant::now() + DEADLINE;
    while !shows(&server.address, &second) {
        assert!(Instant::now() < deadline, "the old certificate stays");
        server.signal(Signal::HUP);
    }
    let mut check = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    check.args(["healthcheck", "--listen", &server.address]);
    for setting in &settings {
        check.args(["--set", setting]);
    }
    let output = check.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
}
