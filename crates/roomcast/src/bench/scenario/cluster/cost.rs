//! What a message asks of Redis.

use serde_json::json;

use super::{NODES, drive, plan, shares};
use crate::bench::client::{Look, Measured, Pace, Plan, Shape, Swarm};
use crate::bench::error::{Error, Result};
use crate::bench::nodes::{Calls, Cluster, Engine, Redis};
use crate::bench::report::{Section, figure, median};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};
use crate::bench::target::Subject;

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
    read: f64,
    written: f64,
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
            "home, engine",
            "publishes/s",
            "appends/publish",
            "letters/publish",
            "commands/delivery",
            "Redis µs/publish",
            "Redis µs/delivery",
            "nodes µs/delivery",
            "bytes to Redis/publish",
            "from Redis",
            "Redis CPU %",
            "p99 ms",
        ],
        ..Section::default()
    };
    let rates = match bench.options.quick {
        true => &RATES[2..],
        false => &RATES[..],
    };
    for engine in [Engine::Redis, Engine::Peers] {
        progress(&format!("cluster-cost, {}", engine.name()), "connecting");
        let mut cluster = Cluster::start(NODES, engine, &bench.options)?;
        for (place, home) in [("the sender's node", 0), ("another node", 1)] {
            let mut plan = plan(bench, shape, 4);
            plan.run = format!("{}-{home}", plan.run);
            let mut swarm = settle(bench, &cluster, &plan, home)?;
            let name = format!("{place}, {}", engine.name());
            for &rate in rates {
                let pace = Pace::Rate(rate * f64::from(shape.rooms));
                let mut costs = Vec::new();
                for turn in 1..=bench.options.repeat() {
                    let label = format!("cluster-cost, home on {name}, {rate} a room, run {turn}");
                    let mut seen = Vec::new();
                    let look = |cluster: &mut Cluster, at: Look| {
                        if !matches!(at, Look::Done(_)) {
                            seen.extend(cluster.redis().and_then(|redis| Seen::of(redis)));
                        }
                    };
                    let run = drive(bench, &label, (&mut cluster, &mut swarm), pace, look)?;
                    costs.push(Cost::of(&cluster, &run, &seen)?);
                }
                let over =
                    |figure: &dyn Fn(&Cost) -> f64| median(costs.iter().map(figure).collect());
                let commands = |cost: &Cost| cost.scripts + cost.messages;
                section.rows.push(vec![
                    name.clone(),
                    figure(over(&|cost| cost.sent / cost.seconds)),
                    figure(over(&|cost| cost.scripts / cost.sent)),
                    figure(over(&|cost| cost.messages / cost.sent)),
                    figure(over(&|cost| commands(cost) / cost.deliveries)),
                    figure(over(&|cost| cost.redis * 1e6 / cost.sent)),
                    figure(over(&|cost| cost.redis * 1e6 / cost.deliveries)),
                    figure(over(&|cost| cost.nodes * 1e6 / cost.deliveries)),
                    figure(over(&|cost| cost.read / cost.sent)),
                    figure(over(&|cost| cost.written / cost.sent)),
                    figure(over(&|cost| cost.redis * 100.0 / cost.seconds)),
                    figure(over(&|cost| cost.p99)),
                ]);
                section.data.push(json!({
                    "home": place, "engine": engine.name(), "rate": rate,
                    "appends_per_publish": over(&|cost| cost.scripts / cost.sent),
                    "letters_per_publish": over(&|cost| cost.messages / cost.sent),
                    "bytes_to_redis_per_publish": over(&|cost| cost.read / cost.sent),
                    "bytes_from_redis_per_publish": over(&|cost| cost.written / cost.sent),
                    "redis_us_per_publish": over(&|cost| cost.redis * 1e6 / cost.sent),
                    "redis_us_per_delivery": over(&|cost| cost.redis * 1e6 / cost.deliveries),
                    "nodes_us_per_delivery": over(&|cost| cost.nodes * 1e6 / cost.deliveries),
                }));
            }
            swarm.close();
        }
    }
    section.notes.push(
        "appends are scripts, letters are PUBLISH from node to node; beats and acks that no message asked for are in them"
            .to_owned(),
    );
    bench.add(section);
    Ok(())
}

/// The plan's connections. The sender of each room is on the room's home, or `home` nodes further.
fn settle(bench: &Bench, cluster: &Cluster, plan: &Plan, home: u32) -> Result<Swarm> {
    let mut route = cluster.route();
    // These have no sessions, so they are gone when they close.
    let founding = Plan {
        shape: Shape::new(plan.shape.rooms, 1),
        greets: false,
        ..plan.clone()
    };
    let mut founders = Swarm::new(route.clone(), founding)?;
    let mut before = cluster.homes()?;
    for _ in 0..plan.shape.rooms {
        founders.open_next(OPEN_WITHIN)?;
        let now = cluster.homes()?;
        let grown = now
            .iter()
            .zip(&before)
            .position(|(now, before)| now > before);
        let node = grown.ok_or_else(|| Error::new("a room has no home"))?;
        route.homes.push(node as u32);
        before = now;
    }
    route.first = home;
    let mut swarm = Swarm::new(route, plan.clone())?;
    bench.fill(&mut swarm, Subject::Server)?;
    founders.close();
    Ok(swarm)
}

/// What Redis says at a moment.
struct Seen {
    calls: Calls,
    bytes: (u64, u64),
}

impl Seen {
    fn of(redis: &Redis) -> Result<Seen> {
        let (calls, bytes) = (redis.calls()?, redis.bytes()?);
        Ok(Seen { calls, bytes })
    }
}

impl Cost {
    fn of(cluster: &Cluster, run: &Measured, seen: &[Seen]) -> Result<Cost> {
        let [before, after] = seen else {
            return Err(Error::new("Redis did not say what it was asked"));
        };
        let calls = after.calls.since(&before.calls);
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
            read: after.bytes.0.saturating_sub(before.bytes.0) as f64,
            written: after.bytes.1.saturating_sub(before.bytes.1) as f64,
            p99: run.latency_ms(99.0),
        })
    }
}
