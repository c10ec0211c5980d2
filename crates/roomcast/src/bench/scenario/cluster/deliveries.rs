//! The most deliveries of several nodes through one Redis.

use serde_json::json;

use super::{NODES, drive, fill, plan, shares};
use crate::bench::client::{Look, Measured, Pace, Shape};
use crate::bench::error::Result;
use crate::bench::nodes::{Calls, Cluster, Engine};
use crate::bench::report::{Bound, Goal, Section, figure, median};
use crate::bench::runner::{Bench, over, progress};

/// Deliveries a second that are wanted.
const WANTED: f64 = 650_000.0;

/// In rooms of several sizes, as many as can be.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let mut section = Section {
        name: "cluster_deliveries",
        title: format!("Most deliveries of {NODES} nodes with one Redis"),
        columns: vec![
            "rooms × members",
            "deliveries/s",
            "messages/s",
            "commands/s",
            "nodes CPU %",
            "Redis CPU %",
            "client CPU %",
            "per Redis CPU s",
            "p50 ms",
            "p99 ms",
        ],
        ..Section::default()
    };
    let size = |full, quick| bench.options.size(full, quick);
    let shapes = [
        (Shape::new(size(200, 20), 8), 1),
        (Shape::new(size(40, 4), 50).with_senders(8), 2),
        (Shape::new(size(4, 1), size(500, 100)).with_senders(16), 4),
    ];
    let mut best = 0.0_f64;
    // Few rooms are enough to see whether something is lost.
    let shapes = if bench.options.quick {
        &shapes[..1]
    } else {
        &shapes
    };
    let engines = [Engine::Redis, Engine::Peers];
    for ((shape, in_flight), engine) in shapes
        .iter()
        .flat_map(|it| engines.map(|engine| (*it, engine)))
    {
        let name = format!("{} × {}, {}", shape.rooms, shape.members, engine.name());
        let label = format!("cluster-deliveries, {name}");
        progress(&label, "connecting");
        let mut cluster = Cluster::start(NODES, engine, &bench.options)?;
        let mut swarm = fill(bench, &cluster, &plan(bench, shape, 4))?;
        let mut runs: Vec<Measured> = Vec::new();
        let mut commands = Vec::new();
        for turn in 1..=bench.options.repeat() {
            let label = format!("{label}, run {turn}");
            let mut calls: Vec<Calls> = Vec::new();
            let look = |cluster: &mut Cluster, at: Look| {
                if !matches!(at, Look::Done(_)) {
                    calls.extend(cluster.redis().and_then(|redis| redis.calls()));
                }
            };
            let pace = Pace::InFlight(in_flight);
            let run = drive(bench, &label, (&mut cluster, &mut swarm), pace, look)?;
            if let [before, after] = &calls[..] {
                let calls = after.since(before);
                let count = calls.scripts() + calls.messages();
                commands.push(count as f64 / run.wall.as_secs_f64());
            }
            runs.push(run);
        }
        let deliveries = over(&runs, Measured::per_second);
        best = best.max(deliveries);
        section.rows.push(vec![
            name,
            figure(deliveries),
            figure(deliveries / f64::from(shape.members)),
            figure(median(commands)),
            figure(over(&runs, |run| shares(&cluster, run).0) * 100.0),
            figure(over(&runs, |run| shares(&cluster, run).1.unwrap_or(0.0)) * 100.0),
            figure(over(&runs, Measured::client_share) * 100.0),
            figure(over(&runs, |run| {
                run.per_second() / shares(&cluster, run).1.unwrap_or(f64::NAN)
            })),
            figure(over(&runs, |run| run.latency_ms(50.0))),
            figure(over(&runs, |run| run.latency_ms(99.0))),
        ]);
        section.data.push(json!({
            "rooms": shape.rooms, "members": shape.members, "engine": engine.name(), "deliveries_per_second": deliveries,
        }));
    }
    if !bench.options.quick {
        section.goals.push(Goal {
            what: "deliveries a second".to_owned(),
            value: best,
            bound: Bound::AtLeast(WANTED),
            unit: "",
        });
    }
    bench.add(section);
    Ok(())
}
