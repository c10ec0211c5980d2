//! Connections that stopped reading, among others that read.

use crate::bench::client::{Measured, Pace, Plan, Shape};
use crate::bench::error::Result;
use crate::bench::proc;
use crate::bench::report::{Bound, Goal, Section, figure, maybe, median};
use crate::bench::runner::{Bench, data, progress, progress_of};
use crate::bench::target::{Setup, Subject};

/// Options of `stalled`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections that read and send.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(8..=50_000))]
    healthy: u32,
    /// Connections in the same rooms that read nothing once they are in.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(8..=50_000))]
    stalled: u32,
    /// Messages a second of each healthy connection.
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    rate: f64,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            healthy: 1_000,
            stalled: 10_000,
            rate: 2.0,
        }
    }
}

/// Bytes that may wait for one connection, as the server is configured: events and answers.
const LANES: f64 = (256 + 4) as f64 * 1024.0;

/// Latency of the healthy ones without and with the stalled ones, and what those cost in memory.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let healthy = bench.options.size(args.healthy, 80);
    let stalled = bench.options.size(args.stalled, 400);
    let rooms = healthy / 8;
    let setup = Setup {
        config: STALLED_STAY.to_owned(),
        ..Setup::default()
    };
    let mut section = Section {
        name: "stalled",
        title: format!(
            "Stalled: {stalled} connections that read nothing among {healthy} that do, {rooms} rooms, \
             {} messages/s each",
            args.rate
        ),
        columns: vec![
            "",
            "p50 ms",
            "p99 ms",
            "max ms",
            "server CPU %",
            "MiB more at most",
            "KiB a stalled one",
            "kernel MiB at most",
            "still connected",
        ],
        ..Section::default()
    };
    let mut p99 = Vec::new();
    for (name, each) in [("without stalled", 0), ("with stalled", stalled / rooms)] {
        let mut runs = Vec::new();
        let (mut memory, mut connected) = (Vec::new(), Vec::new());
        for turn in 1..=bench.options.repeat().min(2) {
            let label = format!("{name}, run {turn}");
            let shape = Shape::new(rooms, 8 + each).with_senders(8);
            let rate = args.rate * f64::from(rooms * 8);
            let plan = Plan {
                stalled_from: Some(8),
                warm_up: std::time::Duration::from_secs(if bench.options.quick { 1 } else { 10 }),
                ..Plan::new(shape, Pace::Rate(rate), bench.options.measure(10))
            };
            progress(&label, "connecting");
            let (target, mut swarm, _) = bench.open(Subject::Server, &setup, &plan)?;
            let before = target.pid.and_then(proc::pss);
            let run = swarm.drive(target.pid.as_slice(), |look| progress_of(&label, look))?;
            connected.extend(
                target
                    .pid
                    .and_then(proc::descriptors)
                    .map(|count| count as f64),
            );
            swarm.close();
            memory.extend(
                before
                    .zip(run.peak_pss)
                    .map(|(before, peak)| peak.saturating_sub(before) as f64),
            );
            bench.judge(&label, Subject::Server, &run.faults, swarm.first_error());
            runs.push(run);
        }
        let over = |figure: &dyn Fn(&Measured) -> f64| median(runs.iter().map(figure).collect());
        let memory = (!memory.is_empty()).then(|| median(memory));
        let sockets = runs
            .iter()
            .filter_map(|run| run.peak_sockets)
            .max()
            .map(|bytes| bytes as f64);
        let per_stalled = memory
            .filter(|_| each > 0)
            .map(|bytes| bytes / f64::from(stalled));
        p99.push(over(&|run| run.latency_ms(99.0)));
        section.rows.push(vec![
            name.to_owned(),
            figure(over(&|run| run.latency_ms(50.0))),
            figure(over(&|run| run.latency_ms(99.0))),
            figure(over(&|run| run.latency_ms(100.0))),
            maybe(
                crate::bench::runner::over_some(&runs, Measured::server_share)
                    .map(|share| share * 100.0),
            ),
            maybe(memory.map(|bytes| bytes / 1024.0 / 1024.0)),
            maybe(per_stalled.map(|bytes| bytes / 1024.0)),
            maybe(sockets.map(|bytes| bytes / 1024.0 / 1024.0)),
            maybe((!connected.is_empty()).then(|| median(connected))),
        ]);
        section.data.push(data(name, &runs));
        if let (Some(value), false) = (per_stalled, bench.options.quick) {
            section.goals.push(Goal {
                what: "memory that a stalled connection holds against what its lanes may"
                    .to_owned(),
                value: value / 1024.0,
                bound: Bound::AtMost(LANES / 1024.0),
                unit: "KiB",
            });
        }
    }
    if let [without, with] = p99[..] {
        section.notes.push(format!(
            "p99 of the healthy ones: {} × that without the stalled",
            figure(with / without)
        ));
    }
    section.notes.push(
        "the write timeout is off, or the stalled would be gone before the time that counts; \
         socket.send_buffer is 16KiB; the memory of the kernel is that of all TCP sockets of the machine"
            .to_owned(),
    );
    bench.add(section);
    Ok(())
}

/// Lets stalled connections stay.
///
/// On loopback the kernel would take over a megabyte for each of them before its socket is full: a bound of its own, as
/// for any server with many slow readers, makes them stall.
const STALLED_STAY: &str = "
[heartbeat]
write_timeout = 0
[socket]
send_buffer = \"16KiB\"
";
