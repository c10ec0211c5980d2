//! As many connections as the machine carries.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::client::Opening;
use crate::bench::error::{Error, Result};
use crate::bench::nodes::{Cluster, Crew, Errand, sum};
use crate::bench::proc;
use crate::bench::runner::progress;

/// Connections of one process that are on their way at once.
const WINDOW: u32 = 256;
/// How long is looked at what the connections take that are there.
const REST: Duration = Duration::from_secs(2);
/// Part of all processors that their heartbeats may take.
const MOST_BUSY: f64 = 0.85;

pub(super) struct Open {
    /// Time after which no more are opened.
    pub(super) within: Duration,
    /// Bytes of memory that stay free.
    pub(super) free: u64,
    /// Processes that connect at once.
    pub(super) at_once: usize,
}

pub(super) struct Opened {
    /// Those that have connections.
    pub(super) workers: Vec<usize>,
    pub(super) joined: u32,
    /// Connections that failed, which ended it.
    pub(super) failures: u32,
    pub(super) took: f64,
    /// Why there are no more.
    pub(super) ended: String,
}

impl Open {
    /// Until all are there, or what is there takes all that the machine has.
    pub(super) fn all(&self, cluster: &Cluster, crew: &mut Crew, all: usize) -> Result<Opened> {
        let begin = Instant::now();
        let mut opened = Opened {
            workers: Vec::new(),
            joined: 0,
            failures: 0,
            took: 0.0,
            ended: "All that were asked for are there".to_owned(),
        };
        let numbers: Vec<usize> = (0..all).collect();
        for some in numbers.chunks(self.at_once) {
            let left = self.within.saturating_sub(begin.elapsed());
            if left.is_zero() {
                opened.ended = "It ended there as the time was over".to_owned();
                break;
            }
            let errand = Errand::Open(Opening {
                window: WINDOW,
                within: left,
                while_free: Some(self.free),
            });
            let answers = crew.some(some, errand, || memory_left(self.free / 2))?;
            for answer in &answers {
                if answer["failures"] != 0 {
                    eprintln!("{}: {}", answer["reasons"], answer["error_seen"]);
                }
            }
            opened.joined += sum(&answers, "joined") as u32;
            opened.failures += sum(&answers, "failures") as u32;
            opened.workers.extend(some);
            opened.took = begin.elapsed().as_secs_f64();
            let state = format!(
                "{} after {:.0} s, {} MiB free",
                opened.joined,
                opened.took,
                proc::memory_available().unwrap_or(0) >> 20
            );
            progress("cluster-million", &state);
            let stopped = answers.iter().find_map(|it| it["stopped"].as_str());
            let full = match stopped {
                Some(stopped) => Some(stopped.to_owned()),
                None => is_full(cluster, crew, &opened.workers)?,
            };
            if let Some(full) = full {
                opened.ended = format!("It ended there: {full}");
                break;
            }
        }
        match opened.joined {
            0 => Err(Error::new(format!(
                "nobody was connected. {}",
                opened.ended
            ))),
            _ => Ok(opened),
        }
    }
}

/// Why there can't be more than there are.
fn is_full(cluster: &Cluster, crew: &mut Crew, workers: &[usize]) -> Result<Option<String>> {
    let pids = [cluster.pids(), crew.pids()].concat();
    let used = || -> Duration { pids.iter().filter_map(|pid| proc::cpu(*pid)).sum() };
    let (before, begin) = (used(), Instant::now());
    thread::sleep(REST);
    let used = used().saturating_sub(before).as_secs_f64();
    let busy = used / begin.elapsed().as_secs_f64() / proc::processors().len().max(1) as f64;
    let closed = sum(&crew.some(workers, Errand::Count, || Ok(()))?, "closed");
    Ok(if closed > 0 {
        Some(format!("{closed} open connections were closed"))
    } else if !cluster.are_ready() {
        Some("a node was not ready any more".to_owned())
    } else if busy > MOST_BUSY {
        let percent = busy * 100.0;
        Some(format!(
            "heartbeats alone took {percent:.0} % of all processors"
        ))
    } else {
        None
    })
}

/// An error if less than this is free.
pub(super) fn memory_left(least: u64) -> Result<()> {
    match proc::memory_available() {
        Some(free) if free < least => Err(Error::new(format!(
            "only {} MiB of this machine's memory are free",
            free >> 20
        ))),
        _ => Ok(()),
    }
}
