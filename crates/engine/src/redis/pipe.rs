//! A connection on which many things are asked at once, and answered in their order.
//!
//! A script is loaded with its first use on the connection, in the same write. If Redis does not know one that was
//! loaded, then its scripts were flushed, or it is another Redis behind the same address: nothing more is sent until INFO
//! has said which.
//!
//! A Redis that was demoted and promoted again may keep its connections, and it keeps its scripts (seen with 7.0.15). So
//! INFO also goes before what is sent, where it was not asked for a while, and the script does not look itself. If it then
//! shows another id, nothing of what was sent behind counts as done.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use roomcast_core::store::{Cause, StoreError};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::sleep_until;

use super::command::{Command, Script};
use super::config::RedisConfig;
use super::connection::{Connection, Io, malformed};
use super::failure::{Failure, Then};
use super::job::{Done, Job, What};
use super::master::{Place, Shared, Trouble, store_in};
use super::resp::{Reader, Value, write_command, write_head, write_part};

pub(crate) struct Pipe<'a> {
    read: ReadHalf<Box<dyn Io>>,
    write: WriteHalf<Box<dyn Io>>,
    asked: Asked<'a>,
}

/// How a connection ended.
pub(crate) enum End {
    /// The queue was closed.
    Closed,
    Lost(Failure),
}

/// All of it but the socket.
struct Asked<'a> {
    config: &'a RedisConfig,
    shared: &'a Shared,
    place: Place,
    trouble: &'a Trouble,
    reader: Reader,
    out: Vec<u8>,
    /// What of `out` has been written.
    written: usize,
    flushed: bool,
    waiting: VecDeque<Waiting>,
    scripts: HashMap<&'static str, Loaded>,
    /// Jobs whose script is not known there, in their order. Nothing is sent while there are some.
    unknown: Vec<Job>,
    /// What Redis said to a script that was to be loaded.
    refused: Option<StoreError>,
    has_answered: bool,
    /// When it was asked last which Redis this is.
    identified: Instant,
    /// Answers that are still to come to what was sent when it was another Redis.
    outdated: usize,
    /// Shards that have got answers.
    to_wake: Vec<Arc<Done>>,
}

/// What an answer is awaited for.
enum Waiting {
    Load,
    /// Whether it was asked because a script was not known.
    Info(bool),
    Login,
    Job(Job),
    /// A job with a command behind its script.
    Two(Job, Option<Value>),
}

struct Loaded {
    sha: String,
    there: bool,
}

/// Bytes that are taken from the queue for one write. What is more goes with the next.
const WRITE: usize = 256 * 1024;

impl<'a> Pipe<'a> {
    pub(crate) fn new(
        connection: Connection,
        config: &'a RedisConfig,
        shared: &'a Shared,
        place: Place,
        trouble: &'a Trouble,
    ) -> Self {
        let (read, write) = split(connection.io);
        let asked = Asked {
            config,
            shared,
            place,
            trouble,
            reader: connection.reader,
            out: Vec::new(),
            written: 0,
            flushed: true,
            waiting: VecDeque::new(),
            scripts: HashMap::new(),
            unknown: Vec::new(),
            refused: None,
            has_answered: false,
            identified: Instant::now(),
            outdated: 0,
            to_wake: Vec::new(),
        };
        Self { read, write, asked }
    }

    /// Whether anything was answered.
    pub(crate) fn has_answered(&self) -> bool {
        self.asked.has_answered
    }

    /// Sends what is in the queue, and answers it, until the connection is lost. What has no answer by then is dropped,
    /// which answers it.
    pub(crate) async fn serve(&mut self) -> End {
        match self.run().await {
            Ok(()) => End::Closed,
            Err(failure) => {
                if failure.error == StoreError::Again(Cause::Timeout) {
                    self.asked.fail_all(&failure.error);
                }
                End::Lost(failure)
            }
        }
    }

    async fn run(&mut self) -> Result<(), Failure> {
        let Self { read, write, asked } = self;
        let mut end = asked.shared.queue.end();
        let mut named = asked.shared.named.subscribe();
        let endpoint = asked.place.endpoint.clone();
        loop {
            asked.fill();
            let has_out = asked.written < asked.out.len();
            let takes = asked.takes();
            let deadline = asked.deadline();
            tokio::select! {
                bytes = read.read_buf(asked.reader.buffer()) => {
                    if bytes.map_err(Failure::connection)? == 0 {
                        return Err(Failure::connection(format!("{}: Redis closed the connection", asked.place.endpoint)));
                    }
                    asked.read()?;
                }
                wrote = advance(write, &asked.out[asked.written..]), if has_out || !asked.flushed => {
                    asked.wrote(wrote.map_err(Failure::connection)?);
                }
                () = asked.shared.queue.changed(), if takes => {}
                _ = named.wait_for(|named| named.as_ref().is_some_and(|named| *named != endpoint)) => {
                    return Err(Failure::connection(format!("{endpoint} is the master no more")));
                }
                _ = end.wait_for(|end| *end) => return Ok(()),
                () = until(deadline) => {
                    let most = asked.config.response_timeout;
                    return Err(Failure::timeout(format!("{}: no answer within {most:?}", asked.place.endpoint)));
                }
            }
        }
    }
}

/// Writes some of the bytes; or, where there are none, lets TLS write what it has. It may be given up at any await.
async fn advance(write: &mut WriteHalf<Box<dyn Io>>, bytes: &[u8]) -> std::io::Result<usize> {
    match bytes {
        [] => write.flush().await.map(|()| 0),
        bytes => match write.write(bytes).await? {
            0 => Err(std::io::ErrorKind::WriteZero.into()),
            written => Ok(written),
        },
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

impl Asked<'_> {
    /// Whether jobs are taken from the queue now.
    fn takes(&self) -> bool {
        self.unknown.is_empty() && self.out.len() - self.written < WRITE
    }

    fn fill(&mut self) {
        if self.shared.queue.takes_log_in() {
            self.log_in();
        }
        while self.takes() {
            let Some(job) = self.shared.queue.take() else {
                return;
            };
            self.send(job);
        }
    }

    fn send(&mut self, job: Job) {
        let now = Instant::now();
        if job.deadline <= now {
            return job.answer(Err(StoreError::Again(Cause::Timeout)));
        }
        let is_known = now.duration_since(self.identified) <= self.config.identity_age;
        let looks = matches!(&job.what, What::Run(command) if command.script.looks());
        if !is_known && !looks {
            self.ask_identity(false);
        }
        self.flushed = false;
        match &job.what {
            What::Plain(parts) => {
                write_command(&mut self.out, parts.iter().map(Vec::as_slice));
                self.waiting.push_back(Waiting::Job(job));
            }
            What::Run(command) => {
                if command.store.is_some_and(|store| store != self.place.store) {
                    return job.answer(Err(StoreError::Again(Cause::OtherStore)));
                }
                self.load(command.script);
                let sha = &self.scripts[command.script.name].sha;
                write_run(&mut self.out, sha, command);
                match command.behind.is_empty() {
                    true => self.waiting.push_back(Waiting::Job(job)),
                    false => {
                        write_command(&mut self.out, command.behind.iter().map(Vec::as_slice));
                        self.waiting.push_back(Waiting::Two(job, None));
                    }
                }
            }
        }
    }

    /// Loads a script, if this connection has not yet.
    fn load(&mut self, script: &'static Script) {
        let loaded = self.scripts.get(script.name);
        if loaded.is_some_and(|loaded| loaded.there) {
            return;
        }
        let text = script.text(self.place.store);
        write_command(&mut self.out, [&b"SCRIPT"[..], b"LOAD", text.as_bytes()]);
        self.waiting.push_back(Waiting::Load);
        let sha = Sha1::digest(&text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.scripts
            .insert(script.name, Loaded { sha, there: true });
    }

    fn ask_identity(&mut self, unknown: bool) {
        write_command(&mut self.out, [&b"INFO"[..], b"server", b"replication"]);
        self.flushed = false;
        self.identified = Instant::now();
        self.waiting.push_back(Waiting::Info(unknown));
    }

    fn log_in(&mut self) {
        let Some(secret) = &self.config.login.password else {
            return;
        };
        let password = match secret.read() {
            Ok(password) => password,
            Err(problem) => return tracing::warn!("Redis: {problem}"),
        };
        let user = self.config.login.user.as_deref();
        let parts = [Some("AUTH"), user, Some(&password)];
        let parts: Vec<_> = parts.into_iter().flatten().map(str::as_bytes).collect();
        write_command(&mut self.out, parts);
        self.flushed = false;
        self.waiting.push_back(Waiting::Login);
    }

    /// So many bytes were written; none: what was written is on its way.
    fn wrote(&mut self, bytes: usize) {
        self.flushed = bytes == 0;
        self.written += bytes;
        if self.written == self.out.len() {
            self.written = 0;
            match self.out.capacity() > 4 * WRITE {
                true => self.out = Vec::new(),
                false => self.out.clear(),
            }
        }
    }

    /// When the oldest answer is late. A connection that owes only others' answers, such as a script's, has a job behind.
    fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().find_map(|waiting| match waiting {
            Waiting::Job(job) | Waiting::Two(job, _) => Some(job.deadline),
            Waiting::Info(_) => self.unknown.first().map(|job| job.deadline),
            Waiting::Load | Waiting::Login => None,
        })
    }

    /// Shards are woken when all that has come is with them: one that wakes at the first answer would take a turn for it,
    /// and another one for the others.
    fn read(&mut self) -> Result<(), Failure> {
        let read = self.read_all();
        for done in self.to_wake.drain(..) {
            done.wake();
        }
        read
    }

    fn read_all(&mut self) -> Result<(), Failure> {
        while let Some(value) = self.reader.read().map_err(malformed)? {
            self.has_answered = true;
            let Some(next) = self.waiting.pop_front() else {
                return Err(Failure::again(
                    Cause::Protocol,
                    "Redis answered what nobody had asked",
                ));
            };
            if let Waiting::Two(job, None) = next {
                self.waiting.push_front(Waiting::Two(job, Some(value)));
                continue;
            }
            let outdated = self.outdated > 0;
            self.outdated = self.outdated.saturating_sub(1);
            match next {
                Waiting::Job(job) | Waiting::Two(job, _) if outdated => {
                    job.answer(Err(StoreError::Again(Cause::OtherStore)));
                }
                Waiting::Load => self.loaded(value),
                Waiting::Info(unknown) => self.identified(&value, unknown)?,
                Waiting::Login => logged_in(value)?,
                Waiting::Job(job) | Waiting::Two(job, None) => self.answered(job, value)?,
                Waiting::Two(job, Some(first)) => {
                    let value = match (first, value) {
                        (error @ Value::Error(_), _) | (_, error @ Value::Error(_)) => error,
                        (first, second) => Value::Array(vec![first, second]),
                    };
                    self.answered(job, value)?;
                }
            }
        }
        Ok(())
    }

    fn loaded(&mut self, value: Value) {
        if let Value::Error(text) = value {
            let (failure, _) = Failure::said(&text);
            tracing::warn!("Redis did not load a script: {failure}");
            self.refused = Some(failure.error);
        }
    }

    fn answered(&mut self, mut job: Job, value: Value) -> Result<(), Failure> {
        let Value::Error(text) = value else {
            self.overtakes(&job);
            let answer = Ok((self.place.store, value));
            self.to_wake.extend(job.answer_quietly(answer));
            return Ok(());
        };
        let (failure, then) = Failure::said(&text);
        match then {
            Then::ReadIdentity if !job.repeated => {
                job.repeated = true;
                self.unknown.push(job);
                if self.unknown.len() == 1 {
                    self.ask_identity(true);
                }
                return Ok(());
            }
            Then::ReadIdentity => {
                let error = self.refused.clone().unwrap_or(failure.error);
                job.answer(Err(error));
                return Ok(());
            }
            _ => self.overtakes(&job),
        }
        job.answer(Err(failure.error.clone()));
        match then {
            Then::Reconnect => return Err(failure),
            Then::ReadSlots => self.trouble.notify_one(),
            Then::Nothing | Then::ReadIdentity => {}
        }
        Ok(())
    }

    /// A job is done while one about the same key, from before, still waits: whoever asked for that one asks again. So
    /// requests about one key are never done in another order.
    fn overtakes(&mut self, done: &Job) {
        if self.unknown.is_empty() {
            return;
        }
        let (overtaken, others) = std::mem::take(&mut self.unknown)
            .into_iter()
            .partition(|job| key_of(job).is_some() && key_of(job) == key_of(done));
        self.unknown = others;
        let overtaken: Vec<Job> = overtaken;
        for job in overtaken {
            job.answer(Err(StoreError::Again(Cause::Busy)));
        }
    }

    /// INFO has come.
    fn identified(&mut self, value: &Value, unknown: bool) -> Result<(), Failure> {
        let store = store_in(value)?;
        let other = store != self.place.store;
        if other {
            self.place.store = store;
            self.shared.set_place(Some(self.place.clone()));
            self.outdated = self.waiting.len();
        }
        if other || unknown {
            self.scripts.clear();
        }
        if other {
            for job in std::mem::take(&mut self.unknown) {
                job.answer(Err(StoreError::Again(Cause::OtherStore)));
            }
        }
        if unknown {
            for job in std::mem::take(&mut self.unknown) {
                self.send(job);
            }
        }
        Ok(())
    }

    fn fail_all(&mut self, error: &StoreError) {
        let waiting = self.waiting.drain(..).filter_map(|waiting| match waiting {
            Waiting::Job(job) | Waiting::Two(job, _) => Some(job),
            Waiting::Load | Waiting::Info(_) | Waiting::Login => None,
        });
        for job in self.unknown.drain(..).chain(waiting) {
            job.answer(Err(error.clone()));
        }
    }
}

fn logged_in(value: Value) -> Result<(), Failure> {
    match value {
        Value::Error(text) => Err(Failure::said(&text).0),
        _ => Ok(()),
    }
}

fn key_of(job: &Job) -> Option<&[u8]> {
    match &job.what {
        What::Run(command) => command.keys.first().map(Vec::as_slice),
        What::Plain(_) => None,
    }
}

fn write_run(out: &mut Vec<u8>, sha: &str, command: &Command) {
    write_head(out, 3 + command.keys.len() + command.args.len());
    write_part(out, b"EVALSHA");
    write_part(out, sha.as_bytes());
    write_part(out, command.keys.len().to_string().as_bytes());
    for part in command.keys.iter().chain(&command.args) {
        write_part(out, part);
    }
}
