//! A process with clients, which takes errands from its standard input, one a line, and ends with it.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::crew::Clients;
use crate::bench::client::{
    Faults, Fleet, Look, Opening, Pace, Plan, Route, Shape, Swarm, Waits, Wire,
};
use crate::bench::error::{Error, Result};
use crate::bench::proc;

/// How long clients wait for what comes, before they look for an errand.
const IDLE: Duration = Duration::from_millis(50);

/// Microseconds by a clock that all processes of this machine share.
pub(crate) fn moment() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// What a worker is told when it starts.
pub(super) fn job(route: &Route, source: u8, clients: &Clients<'_>) -> Value {
    let nodes: Vec<String> = route.nodes.iter().map(SocketAddr::to_string).collect();
    let mut job = json!({
        "nodes": nodes, "host": route.host, "path": route.path, "first": route.first, "source": source,
    });
    match clients {
        Clients::Swarm(plan) => {
            job["rooms"] = plan.shape.rooms.into();
            job["members"] = plan.shape.members.into();
            job["senders"] = plan.shape.senders.into();
            job["run"] = plan.run.as_str().into();
        }
        Clients::Fleet {
            sessions,
            run,
            waits,
        } => {
            job["sessions"] = (*sessions).into();
            job["run"] = (*run).into();
            job["wait"] = (*waits == Waits::Sdk).into();
        }
    }
    job
}

/// What it does.
pub(crate) fn work(job: &str) -> Result<()> {
    proc::raise_file_limit();
    let job: Value = serde_json::from_str(job).map_err(|_| unreadable("job"))?;
    let mut clients = Worker::new(&job)?;
    let (sender, errands) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(|line| line.ok()) {
            let _ = sender.send(line);
        }
    });
    while let Some(errand) = next(&mut clients, &errands)? {
        let errand: Value = serde_json::from_str(&errand).map_err(|_| unreadable("errand"))?;
        let answer = clients.run(&errand);
        let answer = answer.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{answer}")?;
        stdout.flush()?;
    }
    Ok(())
}

/// Serves the clients until there is an errand; `None`: there will be no more.
fn next(clients: &mut Worker, errands: &Receiver<String>) -> Result<Option<String>> {
    loop {
        match errands.try_recv() {
            Ok(errand) => return Ok(Some(errand)),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => match clients {
                Worker::Swarm(swarm) => swarm.wait(IDLE)?,
                Worker::Fleet(fleet, _) => fleet.turn(IDLE)?,
            },
        }
    }
}

enum Worker {
    Swarm(Box<Swarm>),
    /// And how many sessions it has.
    Fleet(Box<Fleet>, u32),
}

impl Worker {
    fn new(job: &Value) -> Result<Worker> {
        let number = |name: &str| job[name].as_u64().map(|number| number as u32);
        let text = |name: &str| job[name].as_str().map(str::to_owned);
        let of = || {
            let nodes = job["nodes"].as_array()?.iter();
            let nodes: Vec<_> = nodes.filter_map(|it| it.as_str()?.parse().ok()).collect();
            let route = Route {
                nodes,
                host: text("host")?,
                path: text("path")?,
                first: number("first")?,
                homes: Vec::new(),
                source: number("source")? as u8,
            };
            let run = text("run")?;
            if let Some(sessions) = number("sessions") {
                let waits = match job["wait"].as_bool()? {
                    true => Waits::Sdk,
                    false => Waits::None,
                };
                let fleet = Fleet::new(route, run, sessions, Wire::Json, waits);
                return Some(fleet.map(|fleet| Worker::Fleet(Box::new(fleet), sessions)));
            }
            let shape = Shape::new(number("rooms")?, number("members")?);
            let shape = shape.with_senders(number("senders")?);
            let plan = Plan {
                kind: "relay",
                run,
                ..Plan::new(shape, Pace::InFlight(0), Duration::ZERO)
            };
            Some(Swarm::new(route, plan).map(|swarm| Worker::Swarm(Box::new(swarm))))
        };
        of().unwrap_or_else(|| Err(unreadable("job")))
    }

    fn run(&mut self, errand: &Value) -> Result<Value> {
        let time = |name: &str| Duration::from_micros(errand[name].as_u64().unwrap_or(0));
        let within = time("within");
        match (errand["do"].as_str(), self) {
            (Some("open"), Worker::Swarm(swarm)) => {
                let opened = swarm.open(Opening {
                    window: errand["window"].as_u64().unwrap_or(1) as u32,
                    within,
                    while_free: errand["while_free"].as_u64(),
                })?;
                let failures: u32 = opened.failures.values().sum();
                Ok(json!({
                    "joined": opened.joined, "failures": failures, "reasons": opened.failures,
                    "took": opened.joined_after.as_secs_f64(), "error_seen": swarm.first_error(), "stopped": opened.stopped,
                }))
            }
            (Some("count"), Worker::Swarm(swarm)) => {
                let closed = swarm.faults().closed;
                Ok(json!({ "present": swarm.present(), "closed": closed }))
            }
            (Some("open"), Worker::Fleet(fleet, _)) => {
                fleet.open(errand["window"].as_u64().unwrap_or(1) as u32, within)?;
                Ok(json!({}))
            }
            (Some("drive"), Worker::Swarm(swarm)) => {
                swarm.pace(
                    Pace::Rate(errand["rate"].as_f64().unwrap_or(1.0)),
                    time("time"),
                );
                let run = swarm.drive(&[], |_: Look| {})?;
                let latency: Vec<_> = run
                    .latency
                    .iter_recorded()
                    .map(|it| (it.value_iterated_to(), it.count_at_value()))
                    .collect();
                Ok(json!({
                    "sent": run.counts.sent, "deliveries": run.counts.deliveries, "latency": latency,
                    "faults": faults(&run.faults), "error_seen": swarm.first_error(),
                }))
            }
            (Some("expect_returns"), Worker::Fleet(fleet, _)) => {
                fleet.expect_returns();
                Ok(json!({}))
            }
            (Some("say"), Worker::Fleet(fleet, _)) => {
                fleet.say_over(time("over"))?;
                Ok(json!({}))
            }
            (Some("whole"), Worker::Fleet(fleet, sessions)) => whole(fleet, *sessions, within),
            _ => Err(unreadable("errand")),
        }
    }
}

/// Waits until all are in their rooms and have what was said.
fn whole(fleet: &mut Fleet, sessions: u32, within: Duration) -> Result<Value> {
    let begin = Instant::now();
    let is_whole = |fleet: &Fleet| {
        fleet.present == Fleet::connections(sessions) && fleet.unanswered == 0 && fleet.lacking == 0
    };
    while !is_whole(fleet) && begin.elapsed() < within {
        fleet.turn(Duration::from_millis(5))?;
    }
    let start = moment().saturating_sub(fleet.elapsed().as_micros() as u64);
    let moments = |times: &[Duration]| -> Vec<u64> {
        times
            .iter()
            .map(|time| start + time.as_micros() as u64)
            .collect()
    };
    let waited = fleet.waited.iter().map(|time| time.as_micros() as u64);
    let waited: Vec<u64> = waited.collect();
    Ok(json!({
        "whole": is_whole(fleet), "at": [moment()], "back": moments(&fleet.back),
        "acked": moments(&fleet.acked), "waited": waited, "faults": faults(&fleet.faults), "forgotten": fleet.forgotten,
        "gaps": fleet.gaps, "present": fleet.present, "unanswered": fleet.unanswered,
        "lacking": fleet.lacking, "attempts": fleet.attempts, "ends": fleet.ends,
    }))
}

fn faults(faults: &Faults) -> Value {
    json!({
        "lost": faults.lost, "twice": faults.twice, "disordered": faults.disordered,
        "misdelivered": faults.misdelivered, "undecodable": faults.undecodable,
        "errors": faults.errors, "closed": faults.closed,
    })
}

fn unreadable(what: &str) -> Error {
    Error::new(format!("a worker's {what} can't be read"))
}
