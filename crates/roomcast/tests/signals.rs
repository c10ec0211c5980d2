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
