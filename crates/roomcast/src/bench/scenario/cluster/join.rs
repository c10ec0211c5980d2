//! Many joins at once, at several nodes.

use serde_json::json;

use super::{A_PROCESS, NODES, plan};
use crate::bench::client::{Opening, Shape};
use crate::bench::error::Result;
use crate::bench::nodes::{Clients, Cluster, Crew, Engine, Errand, Load, sum};
use crate::bench::report::{Section, figure, median};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};

/// Options of `cluster-join`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections, each with a session and a room.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(8..=200_000))]
    connections: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            connections: 20_000,
        }
    }
}

/// Time until all are in their rooms, and what Redis does meanwhile.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let connections = bench.options.size(args.connections, 800);
    let processes = connections.div_ceil(A_PROCESS);
    let shape = Shape::new(connections / processes / 8, 8);
    let connections = processes * shape.connections;
    let mut section = Section {
        name: "cluster_join",
        title: format!(
            "Join storm: {connections} connections at once, in rooms of 8 over {NODES} nodes"
        ),
        columns: vec![
            "engine",
            "all in rooms after s",
            "joins/s",
            "failures",
            "nodes CPU s",
            "Redis CPU s",
            "Redis CPU %",
            "at most in 0.1 s",
            "commands/join",
        ],
        ..Section::default()
    };
    let (mut took, mut nodes_cpu, mut redis_cpu) = (Vec::new(), Vec::new(), Vec::new());
    let (mut share, mut most, mut asked, mut failures) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for turn in 1..=bench.options.repeat() {
        progress(&format!("cluster-join, run {turn}"), "connecting");
        let mut cluster = Cluster::start(NODES, Engine::Redis, &bench.options)?;
        let mut plan = plan(bench, shape, 1);
        let plans: Vec<_> = (0..processes)
            .map(|process| {
                plan.run = format!("bench-{}-{process}", std::process::id());
                plan.clone()
            })
            .collect();
        let clients: Vec<_> = (plans.iter())
            .map(|plan| (cluster.route(), Clients::Swarm(plan)))
            .collect();
        let mut crew = Crew::start(&cluster, &clients)?;
        let before = cluster.redis()?.calls()?;
        let mut nodes = Load::begin(cluster.nodes());
        let mut redis = Load::begin(vec![cluster.redis()?.pid()]);
        let open = Errand::Open(Opening::all(u32::MAX, OPEN_WITHIN));
        let answers = crew.all(open, || {
            redis.look();
            nodes.look();
            Ok(())
        })?;
        let calls = cluster.redis()?.calls()?.since(&before);
        let all = answers.iter().filter_map(|it| it["took"].as_f64());
        let all = all.fold(0.0, f64::max);
        took.push(all);
        nodes_cpu.push(nodes.mean() * nodes.seconds());
        redis_cpu.push(redis.mean() * redis.seconds());
        share.push(redis.mean() * 100.0);
        most.push(redis.most() * 100.0);
        asked.push((calls.scripts() + calls.messages()) as f64 / f64::from(connections));
        failures += sum(&answers, "failures");
        for answer in &answers {
            if answer["failures"] != 0 {
                section
                    .notes
                    .push(format!("run {turn}: {}", answer["reasons"]));
            }
        }
    }
    bench.faulty |= failures > 0;
    let took = median(took);
    section.rows.push(vec![
        "redis".to_owned(),
        figure(took),
        figure(f64::from(connections) / took),
        figure(failures as f64),
        figure(median(nodes_cpu)),
        figure(median(redis_cpu)),
        figure(median(share)),
        figure(median(most)),
        figure(median(asked)),
    ]);
    section.data.push(json!({
        "connections": connections, "joined_after_s": took, "failures": failures,
    }));
    section.notes.push(
        "a join is a connection, a hello that makes a session, and a room that is claimed or joined".to_owned(),
    );
    bench.add(section);
    Ok(())
}
