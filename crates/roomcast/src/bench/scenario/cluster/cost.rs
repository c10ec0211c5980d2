//! What a message asks of Redis.

use serde_json::json;

use super::{NODES, drive, fill, plan, shares};
use crate::bench::client::{Look, Measured, Pace, Shape};
use crate::bench::error::{Error, Result};
use crate::bench::nodes::{Calls, Cluster, Engine};
use crate::bench::report::{Section, figure, median};
use crate::bench::runner::{Bench, progress};

/// Messages a second in each room.
const RATES: [f64; 3] = [1.0, 10.0, 50.0];

/// What a run has asked of Redis.
struct Cost {
    sent: f64,
    deliveries: f64,
    seconds: f64,
    scripts: f64,
    messages: f64,
    redis: f64,
    nodes: f64,
    p99: f64,
}

/// Where the home is, at low and at high rates.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let shape = Shape::new(bench.options.size(200, 20), 8).with_senders(1);
    let mut section = Section {
        name: "cluster_cost",
        title: format!(
            "What a message asks of Redis: {} rooms of {} over {NODES} nodes, one sender each",
            shape.rooms, shape.members
        ),
        columns: vec![
            "home of the room",
            "publishes/s",
            "appends/publish",
            "letters/publish",
            "commands/delivery",
            "Redis µs/publish",
            "Redis µs/delivery",
            "nodes µs/delivery",
            "Redis CPU %",
            "p99 ms",
        ],
        ..Section::default()
    };
    for (name, home) in [("the sender's node", 0), ("another node", 1)] {
        progress(&format!("cluster-cost, home on {name}"), "connecting");
        let mut cluster = Cluster::start(NODES, Engine::Redis, &bench.options)?;
        let mut swarm = fill(bench, &cluster, &plan(bench, shape, 4), home)?;
        for rate in RATES {
            let pace = Pace::Rate(rate * f64::from(shape.rooms));
            let mut costs = Vec::new();
            for turn in 1..=bench.options.repeat() {
                let label = format!("cluster-cost, home on {name}, {rate} a room, run {turn}");
                let mut calls = Vec::new();
                let look = |cluster: &mut Cluster, at: Look| {
                    if !matches!(at, Look::Done(_)) {
                        calls.extend(cluster.redis().and_then(|redis| redis.calls()));
                    }
                };
                let run = drive(bench, &label, (&mut cluster, &mut swarm), pace, look)?;
                costs.push(Cost::of(&cluster, &run, &calls)?);
            }
            let over = |figure: &dyn Fn(&Cost) -> f64| median(costs.iter().map(figure).collect());
            let commands = |cost: &Cost| cost.scripts + cost.messages;
            section.rows.push(vec![
                name.to_owned(),
                figure(over(&|cost| cost.sent / cost.seconds)),
                figure(over(&|cost| cost.scripts / cost.sent)),
                figure(over(&|cost| cost.messages / cost.sent)),
                figure(over(&|cost| commands(cost) / cost.deliveries)),
                figure(over(&|cost| cost.redis * 1e6 / cost.sent)),
                figure(over(&|cost| cost.redis * 1e6 / cost.deliveries)),
                figure(over(&|cost| cost.nodes * 1e6 / cost.deliveries)),
                figure(over(&|cost| cost.redis * 100.0 / cost.seconds)),
                figure(over(&|cost| cost.p99)),
            ]);
            section.data.push(json!({
                "home": name, "rate": rate,
                "appends_per_publish": over(&|cost| cost.scripts / cost.sent),
                "letters_per_publish": over(&|cost| cost.messages / cost.sent),
                "redis_us_per_publish": over(&|cost| cost.redis * 1e6 / cost.sent),
                "redis_us_per_delivery": over(&|cost| cost.redis * 1e6 / cost.deliveries),
                "nodes_us_per_delivery": over(&|cost| cost.nodes * 1e6 / cost.deliveries),
            }));
        }
    }
    section.notes.push(
        "appends are scripts, letters are PUBLISH from node to node; beats and acks that no message asked for are in them"
            .to_owned(),
    );
    bench.add(section);
    Ok(())
}

impl Cost {
    fn of(cluster: &Cluster, run: &Measured, calls: &[Calls]) -> Result<Cost> {
        let [before, after] = calls else {
            return Err(Error::new("Redis did not say what it was asked"));
        };
        let calls = after.since(before);
        let seconds = run.wall.as_secs_f64();
        let (nodes, redis) = shares(cluster, run);
        Ok(Cost {
            sent: run.counts.sent.max(1) as f64,
            deliveries: run.counts.deliveries.max(1) as f64,
            seconds,
            scripts: calls.scripts() as f64,
            messages: calls.messages() as f64,
            redis: redis.unwrap_or(0.0) * seconds,
            nodes: nodes * seconds,
            p99: run.latency_ms(99.0),
        })
    }
}
