//! Many connections made at once.

use serde_json::json;

use crate::bench::baseline::Mode;
use crate::bench::client::{Opening, Pace, Plan, Shape};
use crate::bench::error::Result;
use crate::bench::proc;
use crate::bench::report::{Section, figure, maybe, median};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};
use crate::bench::target::{Setup, Subject, Target};

/// Options of `storm`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            connections: 10_000,
        }
    }
}

struct Storm {
    upgraded: f64,
    joined: f64,
    failures: f64,
    with: Option<f64>,
    after: Option<f64>,
    cpu: Option<f64>,
}

/// Time, failures, and memory with the connections and after they are gone.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let connections = bench.options.size(args.connections, 500);
    let shape = Shape::new((connections / 8).max(1), connections.min(8));
    let plan = Plan::new(shape, Pace::InFlight(0), bench.options.measure(1));
    let mut section = Section {
        name: "storm",
        title: format!(
            "Storm: {} connections made at once, in rooms of {}",
            shape.connections, shape.members
        ),
        columns: vec![
            "",
            "all open after s",
            "all in rooms after s",
            "failures",
            "server CPU s",
            "MiB more with them",
            "MiB more when gone",
        ],
        ..Section::default()
    };
    let subjects = bench.subjects(Subject::Bare(Mode::Flush), &Setup::default());
    let mut storms: Vec<Vec<Storm>> = subjects.iter().map(|_| Vec::new()).collect();
    for turn in 1..=bench.options.repeat() {
        for ((subject, setup), storms) in subjects.iter().zip(&mut storms) {
            progress(
                &format!("storm, run {turn}: {}", subject.name()),
                "connecting",
            );
            storms.push(once(bench, *subject, setup, &plan, &mut section.notes)?);
        }
    }
    for ((subject, _), storms) in subjects.iter().zip(&storms) {
        let over = |figure: fn(&Storm) -> f64| median(storms.iter().map(figure).collect());
        let over_some = |figure: fn(&Storm) -> Option<f64>| {
            let values: Vec<f64> = storms.iter().filter_map(figure).collect();
            (!values.is_empty()).then(|| median(values))
        };
        let failures: f64 = storms.iter().map(|storm| storm.failures).sum();
        bench.faulty |= *subject == Subject::Server && failures > 0.0;
        section.rows.push(vec![
            subject.name().to_owned(),
            figure(over(|storm| storm.upgraded)),
            figure(over(|storm| storm.joined)),
            figure(failures),
            maybe(over_some(|storm| storm.cpu)),
            maybe(over_some(|storm| storm.with)),
            maybe(over_some(|storm| storm.after)),
        ]);
        section.data.push(json!({
            "subject": subject.name(),
            "connections": shape.connections,
            "open_after_s": over(|storm| storm.upgraded),
            "joined_after_s": over(|storm| storm.joined),
            "failures": failures,
            "server_cpu_s": over_some(|storm| storm.cpu),
            "mib_with": over_some(|storm| storm.with),
            "mib_after": over_some(|storm| storm.after),
        }));
    }
    bench.add(section);
    Ok(())
}

fn once(
    bench: &Bench,
    subject: Subject,
    setup: &Setup,
    plan: &Plan,
    notes: &mut Vec<String>,
) -> Result<Storm> {
    let target = Target::start(subject, setup, &bench.options)?;
    let memory = || {
        target
            .pid
            .and_then(proc::pss)
            .map(|bytes| bytes as f64 / 1024.0 / 1024.0)
    };
    let before = memory();
    let cpu = || target.pid.and_then(proc::cpu);
    let cpu_before = cpu();
    let mut swarm = bench.swarm(&target, plan)?;
    let opened = swarm.open(Opening::all(u32::MAX, OPEN_WITHIN))?;
    let cpu = cpu()
        .zip(cpu_before)
        .map(|(after, before)| after.saturating_sub(before).as_secs_f64());
    for (why, count) in &opened.failures {
        notes.push(format!("{}: {count} × {why}", subject.name()));
    }
    swarm.wait(std::time::Duration::from_secs(1))?;
    let with = memory().zip(before).map(|(with, before)| with - before);
    swarm.close();
    // Long enough for the server to see the connections end, and to give memory back if it does.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let after = memory().zip(before).map(|(after, before)| after - before);
    Ok(Storm {
        upgraded: opened.upgraded_after.as_secs_f64(),
        joined: opened.joined_after.as_secs_f64(),
        failures: opened
            .failures
            .values()
            .map(|&count| f64::from(count))
            .sum(),
        with,
        after,
        cpu,
    })
}
