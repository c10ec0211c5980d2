//! What is measured: a server that is running, or one started for the measurement on a processor of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, thread};

use super::baseline::Mode;
use super::client::Route;
use super::error::{Error, Result};
use super::options::Options;
use super::proc;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The server.
    Server,
    /// A bare loop.
    Bare(Mode),
}

impl Subject {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Server => "Roomcast",
            Subject::Bare(Mode::Send) => "bare loop, send per delivery",
            Subject::Bare(Mode::Flush) => "bare loop, flush per turn",
        }
    }
}

/// How a server of our own is started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Shards.
    pub(crate) shards: u32,
    /// Lines added to the configuration.
    pub(crate) config: String,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            shards: 1,
            config: String::new(),
        }
    }
}

/// A server that can be connected to. One that was started for it ends with this value.
pub(crate) struct Target {
    /// What it is.
    pub(crate) subject: Subject,
    /// Its address.
    pub(crate) to: SocketAddr,
    /// The value of `Host`.
    pub(crate) host: String,
    /// The path of its WebSocket.
    pub(crate) path: String,
    /// Its process, where that is known and on this machine.
    pub(crate) pid: Option<u32>,
    child: Option<Child>,
    config: Option<PathBuf>,
}

impl Target {
    /// The server that the options name, or a new one.
    pub(crate) fn start(subject: Subject, setup: &Setup, options: &Options) -> Result<Target> {
        if subject == Subject::Server
            && let Some(url) = &options.url
        {
            return connect_to(url, options);
        }
        let program = match &options.program {
            Some(program) if subject == Subject::Server => program.clone(),
            _ => env::current_exe()?,
        };
        let mut command = Command::new(program);
        let mut config = None;
        match subject {
            Subject::Bare(mode) => {
                let mode = if mode == Mode::Send { "send" } else { "flush" };
                command.args(["bench", "baseline", "--mode", mode]);
            }
            Subject::Server => {
                let path =
                    env::temp_dir().join(format!("roomcast-bench-{}.toml", std::process::id()));
                fs::write(&path, format!("{LIMITS_OFF}{}", setup.config))?;
                command.arg("serve").arg("--config").arg(&path);
                command.args([
                    "--listen",
                    "127.0.0.1:0",
                    "--shards",
                    &setup.shards.to_string(),
                ]);
                config = Some(path);
            }
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A child runs where its parent did when it began.
        let (server, client) = options.processors(setup.shards);
        proc::run_on(&server);
        let child = command.spawn();
        proc::run_on(&client);
        let mut target = Target {
            subject,
            to: SocketAddr::from(([127, 0, 0, 1], 0)),
            host: String::new(),
            path: "/ws".to_owned(),
            pid: None,
            child: Some(child?),
            config,
        };
        target.to = target.listening()?;
        target.host = target.to.to_string();
        target.pid = target.child.as_ref().map(Child::id);
        Ok(target)
    }

    /// The way to it.
    pub(crate) fn route(&self) -> Route {
        Route {
            nodes: vec![self.to],
            host: self.host.clone(),
            path: self.path.clone(),
            first: 0,
            homes: Vec::new(),
            source: 0,
        }
    }

    /// Waits until the child says where it listens.
    fn listening(&mut self) -> Result<SocketAddr> {
        let said = Arc::new(Mutex::new(String::new()));
        let (sender, address) = channel();
        if let Some(child) = &mut self.child {
            if let Some(stdout) = child.stdout.take() {
                follow(stdout, sender.clone(), said.clone());
            }
            if let Some(stderr) = child.stderr.take() {
                follow(stderr, sender, said.clone());
            }
        }
        address.recv_timeout(Duration::from_secs(10)).map_err(|_| {
            let said = said.lock().map(|said| said.clone()).unwrap_or_default();
            Error::new(format!(
                "the server didn't say where it listens; it said:\n{said}"
            ))
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that has ended by itself needs neither.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(config) = &self.config {
            let _ = fs::remove_file(config);
        }
    }
}

/// Every limit that a load test runs into, off: one key each.
pub(crate) const LIMITS_OFF: &str = r#"
[server]
metrics = false
pages = false
[limits]
connections = 0
connections_per_address = 0
memory = 0
max_rooms = 0
messages_per_second = 0
max_offences = 0
[kinds.relay]
mode = "relay"
"#;

/// Reads what a child says to its end, and passes the first address in it on.
fn follow(output: impl Read + Send + 'static, found: Sender<SocketAddr>, said: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if let Some(address) = address_in(&line) {
                // Nobody waits for a second one.
                let _ = found.send(address);
            }
            if let Ok(mut said) = said.lock()
                && said.len() < 10_000
            {
                said.push_str(&line);
                said.push('\n');
            }
        }
    });
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let at = line.find("127.0.0.1:")?;
    let rest = &line[at..];
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')
        .unwrap_or(rest.len());
    rest[..end]
        .parse()
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0)
}

fn connect_to(url: &str, options: &Options) -> Result<Target> {
    let wrong = || Error::new(format!("--url {url}: want ws://HOST:PORT/PATH"));
    let rest = url.strip_prefix("ws://").ok_or_else(wrong)?;
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/ws"),
    };
    let port_given = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if port_given {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let to = with_port
        .to_socket_addrs()
        .map_err(|error| Error::new(format!("--url {url}: {error}")))?
        .next()
        .ok_or_else(wrong)?;
    if !to.ip().is_loopback() && !options.allow_remote {
        return Err(Error::new(format!(
            "{to} is another machine: a benchmark is an attack on who has not asked for it; \
             --allow-remote says that they have"
        )));
    }
    let (_, client) = options.processors(1);
    proc::run_on(&client);
    Ok(Target {
        subject: Subject::Server,
        to,
        host: host.to_owned(),
        path: path.to_owned(),
        pid: options.pid,
        child: None,
        config: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_line() {
        let address = Some(SocketAddr::from(([127, 0, 0, 1], 4711)));
        assert_eq!(address_in("listening on 127.0.0.1:4711"), address);
        assert_eq!(
            address_in("open http://127.0.0.1:4711/ in a browser"),
            address
        );
        assert_eq!(address_in("listening on 127.0.0.1:0"), None);
        assert_eq!(address_in("[::1]:4711"), None);
    }
}
