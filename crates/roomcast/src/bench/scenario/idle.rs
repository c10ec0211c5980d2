//! What connections cost that do nothing.

use serde_json::json;

use crate::bench::client::{Pace, Plan, Shape};
use crate::bench::error::Result;
use crate::bench::proc;
use crate::bench::report::{Bound, Goal, Section, figure, maybe};
use crate::bench::runner::{Bench, progress};
use crate::bench::target::{Setup, Subject};

/// Options of `idle`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections.
    #[arg(long, value_name = "N", default_value_t = 15_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Members of each room.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    members: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            connections: 15_000,
            members: 8,
        }
    }
}

/// Bytes of user memory and µs of processor time a second that an idle connection may cost.
const MEMORY: f64 = 1_536.0;
const CPU: f64 = 0.5;

/// Memory and processor time of idle connections in rooms.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let connections = bench.options.size(args.connections, 400);
    let rooms = (connections / args.members).max(1);
    let shape = Shape::new(rooms, args.members.min(connections));
    // Over 30 s, so that each connection's ping is in it.
    let measure = bench.options.measure(40);
    let plan = Plan::new(shape, Pace::InFlight(0), measure);
    let mut section = Section {
        name: "idle",
        title: format!(
            "Idle: {} connections in rooms of {}",
            shape.connections, shape.members
        ),
        columns: vec![
            "",
            "bytes/connection",
            "CPU µs/s per connection",
            "connects/s",
            "threads",
        ],
        ..Section::default()
    };
    for (subject, setup) in bench.subjects(
        Subject::Bare(crate::bench::baseline::Mode::Flush),
        &Setup::default(),
    ) {
        progress(&format!("idle: {}", subject.name()), "connecting");
        let (before, after, opened, cpu, threads);
        {
            let empty = Plan {
                shape: Shape::new(1, 1),
                ..plan.clone()
            };
            // What the first connection brings into memory is not what one more costs.
            let (target, mut first, _) = bench.open(subject, &setup, &empty)?;
            first.wait(std::time::Duration::from_secs(1))?;
            first.close();
            before = target.pid.and_then(proc::pss);
            let mut swarm = bench.swarm(&target, &plan)?;
            opened = bench.fill(&mut swarm, subject)?;
            swarm.wait(std::time::Duration::from_secs(2))?;
            progress(&format!("idle: {}", subject.name()), "waiting");
            let start = target.pid.and_then(proc::cpu);
            swarm.wait(measure)?;
            cpu = target
                .pid
                .and_then(proc::cpu)
                .zip(start)
                .map(|(end, start)| end.saturating_sub(start));
            after = target.pid.and_then(proc::pss);
            threads = target.pid.and_then(proc::threads);
            bench.judge("idle", subject, &swarm.faults(), swarm.first_error());
            swarm.close();
        }
        let count = f64::from(shape.connections);
        let memory = before
            .zip(after)
            .map(|(before, after)| after.saturating_sub(before) as f64 / count);
        let cpu = cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / measure.as_secs_f64() / count);
        let rate = count / opened.joined_after.as_secs_f64();
        section.rows.push(vec![
            subject.name().to_owned(),
            maybe(memory),
            maybe(cpu),
            figure(rate),
            threads.map_or_else(|| "-".to_owned(), |threads| threads.to_string()),
        ]);
        section.data.push(json!({
            "subject": subject.name(),
            "connections": shape.connections,
            "bytes_per_connection": memory,
            "cpu_us_per_second_per_connection": cpu,
            "connects_per_second": rate,
            "threads": threads,
        }));
        if subject == Subject::Server && !bench.options.quick {
            let goals = [
                ("user memory of an idle connection", memory, MEMORY, "bytes"),
                ("processor time of an idle connection", cpu, CPU, "µs/s"),
            ];
            for (what, value, bound, unit) in goals {
                if let Some(value) = value {
                    section.goals.push(Goal {
                        what: what.to_owned(),
                        value,
                        bound: Bound::AtMost(bound),
                        unit,
                    });
                }
            }
        }
    }
    section.notes.push(format!(
        "memory is the growth of the server's PSS; the time that counts is {} s, heartbeats included",
        measure.as_secs()
    ));
    bench.add(section);
    Ok(())
}
