//! Many sessions dropped at one moment, which all come back.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;

use crate::bench::client::{Fleet, Live, Pace, Plan, Shape, Waits};
use crate::bench::error::{Error, Result};
use crate::bench::proc;
use crate::bench::report::{Bound, Goal, Section, figure, maybe, median};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};
use crate::bench::target::{Setup, Subject, Target};

/// Options of `resume`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Sessions, with two rooms each.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(8..=100_000))]
    sessions: u32,
    /// Messages that each room gets while they are away.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    missed: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            sessions: 10_000,
            missed: 4,
        }
    }
}

/// Seconds from the first attempt until all are back, where clients don't wait.
const SECONDS: f64 = 3.0;
/// Clients on their way at once, when they come for the first time.
const WINDOW: u32 = 256;
/// How long nothing may come before the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Part of a second that rates are counted over.
const SLICE: Duration = Duration::from_millis(100);
/// Messages a second in rooms of the live traffic, and its rooms of eight.
const LIVE_RATE: f64 = 2_000.0;
const LIVE_ROOMS: u32 = 50;
const LIVE_ROOMS_QUICK: u32 = 10;

/// What one drop has shown.
struct Run {
    /// From the first attempt until each was back.
    back: Vec<f64>,
    /// From the first attempt until nobody lacked anything.
    complete: f64,
    attempts: f64,
    /// Parts of a core that the server used, slice by slice.
    cpu: Vec<f64>,
    /// Latencies of live traffic in microseconds: before, from the drop to the first attempt, and until all were back.
    live: [Histogram<u64>; 3],
}

/// How fast they are back, and what others feel of it.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let sessions = bench.options.size(args.sessions, 400);
    let rooms = Fleet::rooms(sessions);
    let mut section = Section {
        name: "resume",
        title: format!(
            "Resume: {sessions} sessions with two of {rooms} rooms each dropped at one moment, {} messages a room \
             while they are away",
            args.missed
        ),
        columns: vec![
            "clients wait",
            "half back after s",
            "all back after s",
            "all has come after s",
            "resumes/s",
            "at most in 0.1 s",
            "server CPU %",
            "at most in 0.1 s",
            "live p99 ms before",
            "when dropped",
            "coming back",
            "max",
        ],
        ..Section::default()
    };
    for (name, waits) in [("not at all", Waits::None), ("as the SDK does", Waits::Sdk)] {
        let mut runs = Vec::new();
        for turn in 1..=bench.options.repeat() {
            let label = format!("resume, clients wait {name}, run {turn}");
            runs.push(once(
                bench,
                &label,
                sessions,
                args.missed,
                waits,
                &mut section.notes,
            )?);
        }
        let over = |figure: &dyn Fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        let all_back = over(&Run::all_back);
        let p99 = |latency: &Histogram<u64>| latency.value_at_percentile(99.0) as f64 / 1e3;
        let measured = runs.iter().all(|run| !run.cpu.is_empty());
        section.rows.push(vec![
            name.to_owned(),
            figure(over(&|run| run.back[run.back.len() / 2])),
            figure(all_back),
            figure(over(&|run| run.complete)),
            figure(over(&Run::mean)),
            figure(over(&Run::most)),
            maybe(measured.then(|| over(&|run| mean(&run.cpu) * 100.0))),
            maybe(measured.then(|| over(&|run| most(&run.cpu) * 100.0))),
            figure(over(&|run| p99(&run.live[0]))),
            figure(over(&|run| p99(&run.live[1]))),
            figure(over(&|run| p99(&run.live[2]))),
            figure(over(&|run| run.live[2].max() as f64 / 1e3)),
        ]);
        section.data.push(json!({
            "clients_wait": name,
            "sessions": sessions,
            "rooms": rooms,
            "runs": runs.iter().map(|run| json!({
                "half_back_after_s": run.back[run.back.len() / 2],
                "all_back_after_s": run.all_back(),
                "all_has_come_after_s": run.complete,
                "resumes_per_second": run.mean(),
                "most_resumes_per_second": run.most(),
                "attempts": run.attempts,
                "server_cpu_share": mean(&run.cpu),
                "most_server_cpu_share": most(&run.cpu),
                "live_p99_ms_before": p99(&run.live[0]),
                "live_p99_ms_when_dropped": p99(&run.live[1]),
                "live_p99_ms_coming_back": p99(&run.live[2]),
                "live_max_ms_coming_back": run.live[2].max() as f64 / 1e3,
            })).collect::<Vec<_>>(),
        }));
        if waits == Waits::None && !bench.options.quick {
            section.goals.push(Goal {
                what: "all back, from the first attempt".to_owned(),
                value: all_back,
                bound: Bound::AtMost(SECONDS),
                unit: "s",
            });
        }
    }
    let live_rooms = bench.options.size(LIVE_ROOMS, LIVE_ROOMS_QUICK);
    section.notes.push(format!(
        "seconds are from the first attempt; back is who is in both rooms; live: {live_rooms} rooms of 8 with \
         {LIVE_RATE} messages/s beside them: before, from the drop until the messages that are missed were said, and until \
         all are back"
    ));
    bench.add(section);
    Ok(())
}

impl Run {
    fn all_back(&self) -> f64 {
        self.back.last().copied().unwrap_or(0.0)
    }

    /// Resumes a second, from the first to the last.
    fn mean(&self) -> f64 {
        let first = self.back.first().copied().unwrap_or(0.0);
        self.back.len() as f64 / (self.all_back() - first).max(SLICE.as_secs_f64())
    }

    /// The same in the busiest slice.
    fn most(&self) -> f64 {
        let slice = SLICE.as_secs_f64();
        let mut first = 0;
        let within = self.back.iter().enumerate().map(|(last, at)| {
            while at - self.back[first] > slice {
                first += 1;
            }
            last - first + 1
        });
        within.max().unwrap_or(0) as f64 / slice
    }
}

fn mean(shares: &[f64]) -> f64 {
    shares.iter().sum::<f64>() / shares.len().max(1) as f64
}

fn most(shares: &[f64]) -> f64 {
    shares.iter().copied().fold(0.0, f64::max)
}

fn once(
    bench: &mut Bench,
    label: &str,
    sessions: u32,
    missed: u32,
    waits: Waits,
    notes: &mut Vec<String>,
) -> Result<Run> {
    let live = Plan {
        kind: "relay",
        ..Plan::new(
            Shape::new(bench.options.size(LIVE_ROOMS, LIVE_ROOMS_QUICK), 8),
            Pace::Rate(LIVE_RATE),
            Duration::ZERO,
        )
    };
    let connections = Fleet::connections(sessions) + live.shape.connections;
    bench.check_file_limit(connections)?;
    progress(label, "connecting");
    let target = Target::start(Subject::Server, &Setup::default(), &bench.options)?;
    let mut swarm = bench.swarm(&target, &live)?;
    bench.fill(&mut swarm, Subject::Server)?;
    let mut fleet = Fleet::new(
        target.route(),
        format!("relay:back-{}", std::process::id()),
        sessions,
        bench.options.wire,
        waits,
    )?;
    fleet.open(WINDOW, OPEN_WITHIN)?;
    let live = Live::start(swarm);
    if !live.first {
        let note = "the live traffic's thread may not go before the others here: its latency has waits of its own";
        if !notes.iter().any(|it| it == note) {
            notes.push(note.to_owned());
        }
    }
    // The first second warms up.
    turns(&mut fleet, Duration::from_secs(1))?;
    live.window();
    turns(&mut fleet, bench.options.measure(5))?;

    progress(label, "dropped");
    live.window();
    fleet.drop_all();
    for room in (0..missed).flat_map(|_| 0..Fleet::rooms(sessions)) {
        fleet.say(room)?;
        if fleet.unanswered > 256 {
            until(&mut fleet, "acks", |fleet| fleet.unanswered < 64)?;
        }
    }
    until(&mut fleet, "acks", |fleet| fleet.unanswered == 0)?;

    progress(label, "coming back");
    let attempts = fleet.attempts;
    let overflows = proc::listen_overflows();
    let begin = fleet.elapsed();
    let mut usage = Usage::begin(target.pid);
    live.window();
    fleet.come_back()?;
    let deadline = Instant::now() + OPEN_WITHIN;
    let mut news = 0..Fleet::rooms(sessions);
    while fleet.present < Fleet::connections(sessions) && Instant::now() < deadline {
        usage.look();
        // New messages, while older ones are still being told.
        if let Some(room) = news.next() {
            fleet.say(room)?;
        }
        fleet.turn(Duration::from_millis(5))?;
    }
    usage.look_last();
    live.window();
    until(&mut fleet, "all sessions", |fleet| {
        fleet.present == Fleet::connections(sessions)
    })?;
    settle(&mut fleet)?;
    let complete = fleet.elapsed() - begin;
    // What comes twice has come before these.
    (0..Fleet::rooms(sessions)).try_for_each(|room| fleet.say(room))?;
    settle(&mut fleet)?;
    fleet.faults.lost += fleet.lacking;
    let heard = live.finish()?;
    fleet.close();

    bench.judge(label, Subject::Server, &fleet.faults, Some(&fleet.reason));
    let beside = format!("{label}, live traffic");
    bench.judge(
        &beside,
        Subject::Server,
        &heard.faults,
        heard.first_error.as_deref(),
    );
    if fleet.forgotten + fleet.gaps > 0 {
        let (forgotten, gaps) = (fleet.forgotten, fleet.gaps);
        eprintln!("{label}: {forgotten} sessions were not resumed, {gaps} rooms had a gap");
        bench.faulty = true;
    }
    bench.others_used(usage.others);
    let overflows = overflows
        .zip(proc::listen_overflows())
        .map_or(0, |(before, after)| after - before);
    if overflows > 0 {
        notes.push(format!(
            "{label}: {overflows} attempts found the queue of new connections full (net.core.somaxconn), which TCP \
             tries again after a second"
        ));
    }
    let windows = heard.windows.into_iter().take(3).collect::<Vec<_>>();
    let live = <[_; 3]>::try_from(windows);
    let live = live.map_err(|_| Error::new("the live traffic was not measured"))?;
    let since = |at: &Duration| at.saturating_sub(begin).as_secs_f64();
    Ok(Run {
        back: fleet.back.iter().map(since).collect(),
        complete: complete.as_secs_f64(),
        attempts: (fleet.attempts - attempts) as f64,
        cpu: usage.slices,
        live,
    })
}

fn turns(fleet: &mut Fleet, time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        fleet.turn(left)?;
    }
    Ok(())
}

/// Until all has come, or nothing comes any more.
fn settle(fleet: &mut Fleet) -> Result<()> {
    let (mut lacking, mut since) = (fleet.lacking, Instant::now());
    while lacking > 0 && since.elapsed() < PATIENCE {
        fleet.turn(Duration::from_millis(10))?;
        if fleet.lacking != lacking {
            (lacking, since) = (fleet.lacking, Instant::now());
        }
    }
    Ok(())
}

fn until(fleet: &mut Fleet, what: &str, mut done: impl FnMut(&Fleet) -> bool) -> Result<()> {
    let deadline = Instant::now() + OPEN_WITHIN;
    while !done(fleet) {
        if Instant::now() > deadline {
            return Err(Error::new(format!(
                "waited in vain for {what}: {} clients are there, {} messages have no ack, {} did not come; {} \
                 connections failed, the last one: {}",
                fleet.present, fleet.unanswered, fleet.lacking, fleet.failures, fleet.reason
            )));
        }
        fleet.turn(Duration::from_millis(10))?;
    }
    Ok(())
}

/// What the server used of its core, slice by slice.
struct Usage {
    pid: Option<u32>,
    at: Instant,
    cpu: Option<Duration>,
    slices: Vec<f64>,
    /// The part of a core that neither it nor this process used.
    others: f64,
    machine: Duration,
    own: Duration,
}

impl Usage {
    fn begin(pid: Option<u32>) -> Usage {
        Usage {
            pid,
            at: Instant::now(),
            cpu: pid.and_then(proc::cpu),
            slices: Vec::new(),
            others: 0.0,
            machine: proc::machine_cpu(),
            own: proc::own_cpu(),
        }
    }

    fn look(&mut self) {
        if self.at.elapsed() >= SLICE {
            self.look_last();
        }
    }

    fn look_last(&mut self) {
        let time = self.at.elapsed().as_secs_f64();
        let now = Usage::begin(self.pid);
        if let (Some(last), Some(cpu)) = (self.cpu, now.cpu) {
            let cpu = cpu.saturating_sub(last);
            self.slices.push(cpu.as_secs_f64() / time);
            let all = now.machine.saturating_sub(self.machine);
            let others = all.saturating_sub(cpu + (now.own - self.own));
            self.others = self.others.max(others.as_secs_f64() / time);
        }
        (self.at, self.cpu) = (now.at, now.cpu);
        (self.machine, self.own) = (now.machine, now.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_slice_is_found_wherever_it_begins() {
        let latency = || Histogram::new(3).unwrap_or_else(|error| panic!("{error}"));
        let run = Run {
            back: vec![0.5, 0.68, 0.70, 0.75, 0.77, 1.5],
            complete: 1.5,
            attempts: 6.0,
            cpu: vec![0.5, 1.0, 0.0],
            live: [latency(), latency(), latency()],
        };
        assert_eq!((run.most(), run.mean()), (40.0, 6.0));
        assert_eq!((most(&run.cpu), mean(&run.cpu)), (1.0, 0.5));
    }
}
