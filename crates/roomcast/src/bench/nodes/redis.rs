//! A Redis for a benchmark, and what it says of its work.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomcast_engine::redis::{Reader, Value, write_command};

use super::cluster::free_port;
use super::guard::{Guard, Kept};
use crate::bench::error::{Error, Result};

/// How long it may take to load what it has, and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a Redis that starts again has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// What it had written to its disk.
    Data,
    /// Nothing.
    Nothing,
}

/// A `redis-server`, ended with this value.
pub(crate) struct Redis {
    pub(crate) port: u16,
    directory: PathBuf,
    guard: Arc<Guard>,
    process: Option<Kept>,
}

impl Redis {
    /// Starts one with its data in a directory.
    pub(super) fn start(directory: &Path, guard: &Arc<Guard>) -> Result<Redis> {
        let mut redis = Redis {
            port: free_port()?,
            directory: directory.to_owned(),
            guard: guard.clone(),
            process: None,
        };
        redis.run()?;
        Ok(redis)
    }

    fn run(&mut self) -> Result<()> {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            // As docs/scaling.md asks for. A rewrite of the file would come by chance, and is not measured.
            .args([
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
            ])
            .args(["--auto-aof-rewrite-percentage", "0"])
            .args(["--maxmemory-policy", "noeviction", "--loglevel", "warning"])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let process = Kept::start(&mut command, &self.guard).map_err(|error| {
            Error::new(format!(
                "{error}; this benchmark needs Redis 7.0 or later (on Debian: apt-get install redis-server)"
            ))
        })?;
        self.process = Some(process);
        let begin = Instant::now();
        while !matches!(self.ask(&["PING"]), Ok(Value::Bytes(_))) {
            if begin.elapsed() > PATIENCE {
                return Err(Error::new("redis-server does not answer"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Kept::pid)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again, and waits until it answers.
    pub(crate) fn start_again(&mut self, keeps: Keeps) -> Result<()> {
        if keeps == Keeps::Nothing {
            // It has none if it has written nothing.
            let _ = std::fs::remove_dir_all(self.directory.join("appendonlydir"));
        }
        self.run()
    }

    /// Asks it for something, over a connection of its own.
    pub(crate) fn ask(&self, parts: &[&str]) -> Result<Value> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut out = Vec::new();
        write_command(&mut out, parts.iter().map(|part| part.as_bytes()));
        socket.write_all(&out)?;
        let mut reader = Reader::new(1 << 20);
        let broken = |_| Error::new("Redis's answer can't be read");
        loop {
            if let Some(value) = reader.read().map_err(broken)? {
                return Ok(value);
            }
            let mut bytes = [0; 16 * 1024];
            match socket.read(&mut bytes)? {
                0 => return Err(Error::new("Redis has closed the connection")),
                read => reader.buffer().extend_from_slice(&bytes[..read]),
            }
        }
    }

    fn info(&self, section: &str) -> Result<String> {
        match self.ask(&["INFO", section])? {
            Value::Bytes(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            other => Err(Error::new(format!("INFO {section}: {other:?}"))),
        }
    }

    /// Bytes that it has read and written so far.
    pub(crate) fn bytes(&self) -> Result<(u64, u64)> {
        let info = self.info("stats")?;
        let number = |name: &str| {
            let mut lines = info.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            value.trim().parse().ok()
        };
        let both = number("total_net_input_bytes").zip(number("total_net_output_bytes"));
        both.ok_or_else(|| Error::new("Redis does not say how much it has read"))
    }

    /// Keys in it.
    pub(crate) fn keys(&self) -> Result<u64> {
        match self.ask(&["DBSIZE"])? {
            Value::Int(count) => Ok(count as u64),
            other => Err(Error::new(format!("DBSIZE: {other:?}"))),
        }
    }

    /// What it was asked so far.
    pub(crate) fn calls(&self) -> Result<Calls> {
        let info = self.info("commandstats")?;
        let calls = info.lines().filter_map(|line| {
            let (name, values) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = values.strip_prefix("calls=")?.split(',').next()?;
            Some((name.to_owned(), calls.parse().ok()?))
        });
        Ok(Calls(calls.collect()))
    }
}

/// How often each command was called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(BTreeMap<String, u64>);

impl Calls {
    pub(crate) fn since(&self, earlier: &Calls) -> Calls {
        let of = |name: &String| earlier.0.get(name).copied().unwrap_or(0);
        let new = self.0.iter();
        Calls(
            new.map(|(name, calls)| (name.clone(), calls - of(name)))
                .collect(),
        )
    }

    /// Scripts: what is asked of the store.
    pub(crate) fn scripts(&self) -> u64 {
        self.of(&["evalsha", "eval"])
    }

    /// Messages from node to node.
    pub(crate) fn messages(&self) -> u64 {
        self.of(&["publish", "spublish"])
    }

    fn of(&self, names: &[&str]) -> u64 {
        names.iter().filter_map(|name| self.0.get(*name)).sum()
    }
}
