//! The limit of open files, in a process of its own: this test binary started again.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::harness::{Client, Server, handshake};

const ROLE: &str = "ROOMCAST_TEST_FEW_DESCRIPTORS";
const LIMIT: u64 = 64;

/// The other process: a server that may open few files. It does what the lines on its standard input say.
#[test]
fn few_descriptors_server() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit {
        current: Some(LIMIT),
        maximum: Some(LIMIT),
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let server = Server::start(|_| {});
    println!("\naddress {}", server.addresses[0].0);
    let mut eaten = Vec::new();
    for line in std::io::stdin().lines() {
        match line.unwrap().as_str() {
            "eat" => {
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    eaten.push(file);
                }
                println!("\nate {}", eaten.len());
            }
            "spit" => eaten.clear(),
            _ => break,
        }
    }
}

struct Other {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Other {
    fn start() -> Other {
        let name = "http::tests::descriptors::few_descriptors_server";
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let address = wait_for(&mut output, "address ").parse().unwrap();
        Other {
            process,
            output,
            address,
        }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn open(&self) -> (Client, u16) {
        let mut client = Client::connect(self.address);
        client.try_send(handshake("").as_bytes());
        let answer = client.answer();
        if answer.status != 101 {
            answer.is(503, "file descriptors");
        }
        (client, answer.status)
    }

    fn get(&self, path: &str) -> u16 {
        let mut client = Client::connect(self.address);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes());
        client.answer().status
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn wait_for(output: &mut impl BufRead, start: &str) -> String {
    let mut lines = output.lines().map(|line| line.unwrap());
    lines
        .find_map(|line| line.strip_prefix(start).map(str::to_owned))
        .unwrap()
}

#[test]
fn newcomers_are_refused_before_descriptors_run_out() {
    let other = Other::start();
    let mut open = Vec::new();
    let refused = loop {
        let (client, status) = other.open();
        if status != 101 {
            break client;
        }
        open.push(client);
        assert!(open.len() < LIMIT as usize);
    };
    drop(refused);
    // Half of what a process with so few has.
    assert!(
        (10..LIMIT as usize / 2).contains(&open.len()),
        "{}",
        open.len()
    );
    assert_eq!(other.open().1, 503);
    assert_eq!(other.get("/healthz"), 200);
}

#[test]
fn a_503_can_be_sent_without_any_descriptor_left() {
    let mut other = Other::start();
    let (_client, status) = other.open();
    assert_eq!(status, 101);
    other.tell("eat");
    let ate: usize = wait_for(&mut other.output, "ate ").parse().unwrap();
    assert!(ate > 0);
    for _ in 0..20 {
        assert_eq!(other.open().1, 503);
    }
    other.tell("spit");
    super::harness::wait_until(|| other.open().1 == 101);
}
