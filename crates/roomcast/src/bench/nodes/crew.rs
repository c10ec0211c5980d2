//! Clients in processes of their own: a process may have only so many open files. This is the side that gives orders.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::guard::Kept;
use super::worker;
use crate::bench::client::{Faults, Opening, Plan, Route, Waits};
use crate::bench::error::{Error, Result};

/// What a worker's clients are.
pub(crate) enum Clients<'a> {
    /// Raw ones, of which a process can have many that are busy.
    Swarm(&'a Plan),
    /// Those of the SDK, which come back. Each has two rooms.
    Fleet {
        sessions: u32,
        run: &'a str,
        waits: Waits,
    },
}

/// What they are to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Errand {
    /// Go into their rooms.
    Open(Opening),
    /// A swarm: say how many are in their rooms, and how many that were are not any more.
    Count,
    /// A swarm: send so many messages a second, for so long.
    Drive { rate: f64, time: Duration },
    /// A fleet: a message in each room, evenly over a time.
    Say { over: Duration },
    /// A fleet: connections will break from now on.
    ExpectReturns,
    /// A fleet: wait until all are in their rooms and have what was said.
    Whole { within: Duration },
}

impl Errand {
    pub(super) fn json(self) -> Value {
        let micros = |time: Duration| time.as_micros() as u64;
        match self {
            Errand::Open(how) => json!({
                "do": "open", "window": how.window, "within": micros(how.within), "while_free": how.while_free,
            }),
            Errand::Count => json!({ "do": "count" }),
            Errand::Drive { rate, time } => {
                json!({ "do": "drive", "rate": rate, "time": micros(time) })
            }
            Errand::Say { over } => json!({ "do": "say", "over": micros(over) }),
            Errand::ExpectReturns => json!({ "do": "expect_returns" }),
            Errand::Whole { within } => json!({ "do": "whole", "within": micros(within) }),
        }
    }

    /// How long an answer may take.
    fn patience(self) -> Duration {
        match self {
            Errand::Open(Opening { within, .. }) | Errand::Whole { within } => within,
            Errand::Drive { time, .. } | Errand::Say { over: time } => time,
            _ => Duration::ZERO,
        }
        .saturating_add(Duration::from_secs(60))
    }
}

/// The processes, which end with this value.
pub(crate) struct Crew {
    workers: Vec<(Kept, ChildStdin)>,
    answers: Receiver<(usize, Option<Value>)>,
}

impl Crew {
    /// Starts a process for each, with loopback addresses that no other one had lately: at those of an earlier crew the
    /// kernel keeps closed connections for a minute.
    pub(crate) fn start(cluster: &Cluster, clients: &[(Route, Clients<'_>)]) -> Result<Crew> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let (sender, answers) = channel();
        let mut workers = Vec::new();
        for (number, (route, clients)) in clients.iter().enumerate() {
            let mut command = Command::new(std::env::current_exe()?);
            let source = 1 + STARTED.fetch_add(1, Ordering::Relaxed) % 250;
            let job = worker::job(route, source as u8, clients);
            command.args(["bench", "worker", &job.to_string()]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut process = Kept::start(&mut command, &cluster.guard)?;
            let pipes = process.child.stdin.take().zip(process.child.stdout.take());
            let (stdin, stdout) = pipes.ok_or_else(|| Error::new("a worker has no pipes"))?;
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(|line| line.ok()) {
                    let _ = sender.send((number, serde_json::from_str(&line).ok()));
                }
                let _ = sender.send((number, None));
            });
            workers.push((process, stdin));
        }
        Ok(Crew { workers, answers })
    }

    /// The processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.workers
            .iter()
            .map(|(process, _)| process.pid())
            .collect()
    }

    /// Gives all the same errand, and returns their answers. `look` is called often meanwhile; it may end it.
    pub(crate) fn all(
        &mut self,
        errand: Errand,
        look: impl FnMut() -> Result<()>,
    ) -> Result<Vec<Value>> {
        let all: Vec<usize> = (0..self.workers.len()).collect();
        self.some(&all, errand, look)
    }

    /// The same for some of them.
    pub(crate) fn some(
        &mut self,
        workers: &[usize],
        errand: Errand,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<Vec<Value>> {
        let line = errand.json();
        for worker in workers {
            writeln!(self.workers[*worker].1, "{line}")?;
        }
        let mut answers = vec![None; self.workers.len()];
        let begin = Instant::now();
        let mut left = workers.len();
        while left > 0 {
            look()?;
            match self.answers.recv_timeout(Duration::from_millis(20)) {
                Ok((number, Some(answer))) => {
                    if let Some(error) = answer["error"].as_str() {
                        return Err(Error::new(error));
                    }
                    answers[number] = Some(answer);
                    left -= 1;
                }
                Ok((_, None)) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new("a process of clients has ended"));
                }
                Err(RecvTimeoutError::Timeout) if begin.elapsed() > errand.patience() => {
                    return Err(Error::new("a process of clients does not answer"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

/// The faults in all of these answers.
pub(crate) fn faults(answers: &[Value]) -> Faults {
    let of = |name: &str| {
        answers
            .iter()
            .filter_map(|it| it["faults"][name].as_u64())
            .sum()
    };
    Faults {
        lost: of("lost"),
        twice: of("twice"),
        disordered: of("disordered"),
        misdelivered: of("misdelivered"),
        undecodable: of("undecodable"),
        errors: of("errors"),
        closed: of("closed"),
    }
}

/// A number of all of these answers, summed.
pub(crate) fn sum(answers: &[Value], name: &str) -> u64 {
    answers.iter().filter_map(|it| it[name].as_u64()).sum()
}

/// Moments of all of these answers in seconds since `begin`, in order; of 0: times.
pub(crate) fn moments(answers: &[Value], name: &str, begin: u64) -> Vec<f64> {
    let moments = answers
        .iter()
        .filter_map(|it| it[name].as_array())
        .flatten();
    let mut moments: Vec<f64> = moments
        .filter_map(Value::as_u64)
        .map(|at| at.saturating_sub(begin) as f64 / 1e6)
        .collect();
    moments.sort_by(f64::total_cmp);
    moments
}
