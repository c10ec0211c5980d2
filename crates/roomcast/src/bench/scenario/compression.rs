//! What compression saves, and what it costs.

use serde_json::json;

use crate::bench::client::{Measured, Pace, Plan, Shape};
use crate::bench::error::Result;
use crate::bench::proc;
use crate::bench::report::{Section, figure, maybe, median};
use crate::bench::runner::{Bench, over_some, progress};
use crate::bench::target::{Setup, Subject};

/// Options of `compression`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Bytes of a message's payload.
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(28..=60_000))]
    payload: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args { payload: 1_024 }
    }
}

/// Bytes and processor time of a delivery in a room of 1,000, and memory of idle connections, off and on.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let members = bench.options.size(1_000, 100);
    let shape = Shape::new(1, members).with_senders(50);
    let idle = Shape::new(bench.options.size(500, 20), 8);
    let mut section = Section {
        name: "compression",
        title: format!(
            "Compression: one room of {members} at 50 messages/s, payloads of {} bytes",
            args.payload
        ),
        columns: vec![
            "",
            "bytes/delivery",
            "CPU µs/delivery",
            "p99 ms",
            "bytes/idle connection",
        ],
        ..Section::default()
    };
    let setup = Setup::default();
    let mut runs = [Vec::new(), Vec::new()];
    for turn in 1..=bench.options.repeat() {
        for (deflate, runs) in [false, true].iter().zip(&mut runs) {
            let plan = Plan {
                deflate: *deflate,
                payload: args.payload as usize,
                ..Plan::new(shape, Pace::Rate(50.0), bench.options.measure(5))
            };
            let what = format!(
                "compression {}, run {turn}",
                if *deflate { "on" } else { "off" }
            );
            runs.push(bench.run(&what, Subject::Server, &setup, &plan)?);
        }
    }
    let mut sizes = Vec::new();
    for (deflate, runs) in [false, true].iter().zip(&runs) {
        let name = if *deflate { "on" } else { "off" };
        progress(&format!("compression {name}"), "idle connections");
        let plan = Plan {
            deflate: *deflate,
            ..Plan::new(idle, Pace::InFlight(0), bench.options.measure(1))
        };
        let memory = memory(bench, &setup, &plan)?;
        let bytes = median(
            runs.iter()
                .map(|run| run.counts.bytes as f64 / run.counts.deliveries.max(1) as f64)
                .collect(),
        );
        let cpu = over_some(runs, Measured::cpu_per_delivery);
        let p99 = median(runs.iter().map(|run| run.latency_ms(99.0)).collect());
        sizes.push(bytes);
        section.rows.push(vec![
            name.to_owned(),
            figure(bytes),
            maybe(cpu),
            figure(p99),
            maybe(memory),
        ]);
        section.data.push(json!({
            "compression": deflate,
            "bytes_per_delivery": bytes,
            "cpu_us_per_delivery": cpu,
            "p99_ms": p99,
            "bytes_per_idle_connection": memory,
        }));
    }
    if let [off, on] = sizes[..] {
        section.notes.push(format!(
            "{} % of the bytes are saved",
            figure(100.0 - 100.0 * on / off)
        ));
    }
    bench.add(section);
    Ok(())
}

fn memory(bench: &Bench, setup: &Setup, plan: &Plan) -> Result<Option<f64>> {
    let first = Plan {
        shape: Shape::new(1, 1),
        ..plan.clone()
    };
    let (target, mut swarm, _) = bench.open(Subject::Server, setup, &first)?;
    swarm.wait(std::time::Duration::from_millis(500))?;
    swarm.close();
    let before = target.pid.and_then(proc::pss);
    let mut swarm = bench.swarm(&target, plan)?;
    bench.fill(&mut swarm, Subject::Server)?;
    swarm.wait(std::time::Duration::from_secs(2))?;
    let after = target.pid.and_then(proc::pss);
    let connections = f64::from(plan.shape.connections);
    Ok(before
        .zip(after)
        .map(|(before, after)| after.saturating_sub(before) as f64 / connections))
}
