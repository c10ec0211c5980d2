//! A server process that can be killed, and what it counts.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::DEADLINE;

/// Lines of its log that are kept.
const KEPT: usize = 400;

/// `roomcast serve`, ended with this value.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts one and waits until it listens.
    pub fn start(address: SocketAddr, settings: &[&str]) -> Process {
        Process::with(address, &[], settings)
    }

    /// The same, with arguments that are no settings.
    pub fn with(address: SocketAddr, arguments: &[&str], settings: &[&str]) -> Process {
        let program = Path::new(env!("CARGO_BIN_EXE_roomcast"));
        Process::of(program, &[], address, arguments, settings)
    }

    /// The same, of another binary, and with these variables.
    pub fn of(
        program: &Path,
        variables: &[(String, String)],
        address: SocketAddr,
        arguments: &[&str],
        settings: &[&str],
    ) -> Process {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ROOMCAST_") {
                command.env_remove(name);
            }
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.args(["serve", "--listen", &address.to_string()]);
        command.args(arguments);
        command.args(["--set", "limits.connections_per_address=0"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let child = command
            .current_dir(std::env::temp_dir())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut process = Process {
            child: child.unwrap(),
            address,
            log: Arc::default(),
        };
        let mut lines = BufReader::new(process.child.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let log = process.log.clone();
        let keep = move |line| {
            let mut log = log.lock().unwrap();
            if log.len() == KEPT {
                log.pop_front();
            }
            log.push_back(line);
        };
        let listens = lines.by_ref().any(|line| {
            let listens = line.contains("listening on");
            keep(line);
            listens
        });
        assert!(listens, "the server did not start:\n{}", process.log());
        // The rest of the log is read too, so that its pipe never fills.
        std::thread::spawn(move || lines.for_each(keep));
        process
    }

    /// What it has logged last.
    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap();
        log.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// SIGKILL: nothing is written, flushed or said any more.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether its end was in good order.
    pub fn ended_well(mut self) -> bool {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(
                begin.elapsed() < DEADLINE,
                "it does not end:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The value of a metric, its labels summed.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let of_it = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let value = rest.strip_prefix(' ').or_else(|| {
                let labelled = rest.strip_prefix('{')?;
                Some(labelled.split_once("} ")?.1)
            })?;
            Some(value.parse::<u64>().unwrap())
        };
        let values: Vec<u64> = text.lines().filter_map(of_it).collect();
        assert!(!values.is_empty(), "there is no {name}");
        values.iter().sum()
    }

    /// Whether `/readyz` says yes.
    pub fn is_ready(&self) -> bool {
        self.get("/readyz").starts_with("HTTP/1.1 200")
    }

    /// The answer to a request, with its head.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that stays free while its server is down.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], crate::ports::free_port()))
}

/// Clients, and both ends of a proxy, are in this process.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
