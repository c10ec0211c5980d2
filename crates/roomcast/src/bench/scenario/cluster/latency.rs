//! What Redis adds to the time that a message takes.

use serde_json::json;

use super::{NODES, drive, fill, plan, shares};
use crate::bench::client::{Look, Measured, Pace, Shape, Swarm};
use crate::bench::error::Result;
use crate::bench::nodes::{Cluster, Engine};
use crate::bench::report::{Bound, Goal, Section, figure, maybe, median};
use crate::bench::runner::{Bench, over, progress};

/// Parts of the most that the cluster can do.
const PARTS: [f64; 2] = [0.1, 0.7];
/// Milliseconds that Redis may add at the first of them, and that a message may take at the second, at the 99th percentile.
const ADDED: f64 = 2.0;
const WHOLE: f64 = 50.0;

/// Nodes and their clients.
struct Subject {
    cluster: Cluster,
    swarm: Swarm,
}

impl Subject {
    fn start(bench: &Bench, nodes: u32, engine: Engine) -> Result<Subject> {
        progress("cluster-latency", "connecting");
        let cluster = Cluster::start(nodes, engine, &bench.options)?;
        let shape = Shape::new(bench.options.size(200, 20), 8);
        let swarm = fill(bench, &cluster, &plan(bench, shape, 4))?;
        Ok(Subject { cluster, swarm })
    }

    fn drive(&mut self, bench: &mut Bench, label: &str, pace: Pace) -> Result<Measured> {
        let nothing = |_: &mut Cluster, _: Look| {};
        drive(
            bench,
            label,
            (&mut self.cluster, &mut self.swarm),
            pace,
            nothing,
        )
    }
}

/// One node and several, at a tenth and at 70 % of what each can do.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let shape = Shape::new(bench.options.size(200, 20), 8);
    let mut section = Section {
        name: "cluster_latency",
        title: format!(
            "Latency with Redis: {} rooms of {}",
            shape.rooms, shape.members
        ),
        columns: vec![
            "",
            "deliveries/s",
            "p50 ms",
            "p99 ms",
            "p50 added",
            "p99 added",
            "nodes CPU %",
            "Redis CPU %",
            "client CPU %",
        ],
        ..Section::default()
    };
    let mut memory = Subject::start(bench, 1, Engine::Memory)?;
    let subjects = [
        (1, Engine::Redis),
        (NODES, Engine::Redis),
        (NODES, Engine::Peers),
    ];
    for (nodes, engine) in subjects {
        if bench.options.quick && nodes == 1 {
            continue;
        }
        let mut redis = Subject::start(bench, nodes, engine)?;
        let label = format!("cluster-latency, {}, nodes: {nodes}", engine.name());
        let most = redis.drive(bench, &format!("{label}, the most"), Pace::InFlight(1))?;
        let most = most.per_second() / f64::from(shape.members);
        for part in PARTS {
            let pace = Pace::Rate(most * part);
            let mut runs = [Vec::new(), Vec::new()];
            for turn in 1..=bench.options.repeat() {
                let label = format!("{label}, {:.0} %, run {turn}", part * 100.0);
                runs[0].push(memory.drive(bench, &format!("{label}, memory"), pace)?);
                runs[1].push(redis.drive(bench, &format!("{label}, redis"), pace)?);
            }
            rows(
                bench,
                &mut section,
                (nodes, engine),
                part,
                [&memory, &redis],
                &runs,
            );
        }
    }
    section.notes.push(
        "each rate is a part of what the nodes with Redis do at most, with one message of each member under way; \
         memory: one node without Redis, at the same rate, in turns"
            .to_owned(),
    );
    bench.add(section);
    Ok(())
}

fn rows(
    bench: &Bench,
    section: &mut Section,
    (nodes, engine): (u32, Engine),
    part: f64,
    subjects: [&Subject; 2],
    runs: &[Vec<Measured>; 2],
) {
    let latency = |of: usize, percentile| over(&runs[of], |run| run.latency_ms(percentile));
    let percent = part * 100.0;
    let plural = if nodes == 1 { "node" } else { "nodes" };
    let names = [
        format!("memory, {percent:.0} %"),
        format!("{}, {nodes} {plural}, {percent:.0} %", engine.name()),
    ];
    let added = |percentile| latency(1, percentile) - latency(0, percentile);
    for (of, name) in names.iter().enumerate() {
        let share = |share: &dyn Fn(&Measured) -> Option<f64>| {
            let shares: Vec<f64> = runs[of].iter().filter_map(share).collect();
            (!shares.is_empty()).then(|| median(shares) * 100.0)
        };
        let with_redis = of == 1;
        section.rows.push(vec![
            name.clone(),
            figure(over(&runs[of], Measured::per_second)),
            figure(latency(of, 50.0)),
            figure(latency(of, 99.0)),
            maybe(with_redis.then(|| added(50.0))),
            maybe(with_redis.then(|| added(99.0))),
            maybe(share(&|run| Some(shares(&subjects[of].cluster, run).0))),
            maybe(share(&|run| shares(&subjects[of].cluster, run).1)),
            figure(over(&runs[of], Measured::client_share) * 100.0),
        ]);
    }
    section.data.push(json!({
        "nodes": nodes, "engine": engine.name(), "part": part, "deliveries_per_second": over(&runs[1], Measured::per_second),
        "memory_p50_ms": latency(0, 50.0), "memory_p99_ms": latency(0, 99.0),
        "redis_p50_ms": latency(1, 50.0), "redis_p99_ms": latency(1, 99.0),
    }));
    if bench.options.quick {
        return;
    }
    let (what, value, bound) = match part < 0.5 {
        true => ("added at the 99th percentile", added(99.0), ADDED),
        false => ("99th percentile", latency(1, 99.0), WHOLE),
    };
    section.goals.push(Goal {
        what: format!(
            "{}, {nodes} {plural} at {percent:.0} %: {what}",
            engine.name()
        ),
        value,
        bound: Bound::AtMost(bound),
        unit: "ms",
    });
}
