//! A node is killed that is the home of many rooms: when does each of them answer again?

use serde_json::json;

use super::{NODES, talk};
use crate::bench::client::{Fleet, Pace, Plan, Shape, Swarm, Waits};
use crate::bench::error::{Error, Result};
use crate::bench::nodes::{
    Clients, Cluster, Crew, Engine, Errand, Load, faults, moment, moments, sum,
};
use crate::bench::report::{Section, figure, median};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};
use crate::bench::target::Subject;

/// Options of `cluster-takeover`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Rooms at home on the node that is killed.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(2..=4_000))]
    rooms: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args { rooms: 2_000 }
    }
}

/// From the kill until each room answers.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let sessions = bench.options.size(args.rooms, 100) * 4;
    let rooms = Fleet::rooms(sessions);
    let mut section = Section {
        name: "cluster_takeover",
        title: format!(
            "Takeover: one of {NODES} nodes is killed, the home of {rooms} rooms, each with 8 sessions and a speaker elsewhere"
        ),
        columns: vec![
            "run",
            "first room answers after s",
            "p50",
            "p99",
            "all",
            "rooms/s",
            "Redis CPU %",
            "at most in 0.1 s",
        ],
        ..Section::default()
    };
    let mut all = Vec::new();
    for turn in 1..=bench.options.repeat() {
        let (answered, redis) = once(bench, turn, sessions)?;
        let at = |part: f64| answered[((answered.len() - 1) as f64 * part) as usize];
        section.rows.push(vec![
            turn.to_string(),
            figure(at(0.0)),
            figure(at(0.5)),
            figure(at(0.99)),
            figure(at(1.0)),
            figure(answered.len() as f64 / (at(1.0) - at(0.0)).max(0.001)),
            figure(redis.mean() * 100.0),
            figure(redis.most() * 100.0),
        ]);
        section
            .data
            .push(json!({ "p50_s": at(0.5), "p99_s": at(0.99), "all_s": at(1.0) }));
        all.push((at(0.5), at(0.99)));
    }
    section.notes.push(format!(
        "medians: p50 {} s, p99 {} s; a message was said in each room when the node was killed, and a room answers when \
         it is acked. Rooms wait for redis.lease, which is {} s; who said something then comes back, as the SDK does, to \
         say it again",
        figure(median(all.iter().map(|it| it.0).collect())),
        figure(median(all.iter().map(|it| it.1).collect())),
        if bench.options.quick { 1 } else { 3 },
    ));
    bench.add(section);
    Ok(())
}

fn once(bench: &mut Bench, turn: u32, sessions: u32) -> Result<(Vec<f64>, Load)> {
    let label = format!("cluster-takeover, run {turn}");
    progress(&label, "connecting");
    let rooms = Fleet::rooms(sessions);
    let mut cluster = Cluster::start(NODES, Engine::Redis, &bench.options)?;
    let run = format!("bench-{}", std::process::id());
    // Whoever is first in a room makes its node the room's home.
    let founding = Plan {
        kind: "relay",
        run: run.clone(),
        greets: false,
        ..Plan::new(
            Shape {
                connections: rooms.min(4),
                ..Shape::new(rooms, 1)
            },
            Pace::InFlight(0),
            OPEN_WITHIN,
        )
    };
    let mut founders = Swarm::new(cluster.route_to([0]), founding)?;
    bench.fill(&mut founders, Subject::Server)?;
    let elsewhere = cluster.route_to(1..NODES as usize);
    let run = format!("relay:{run}");
    let clients = Clients::Fleet {
        sessions,
        run: &run,
        waits: Waits::Sdk,
    };
    let mut crew = Crew::start(&cluster, &[(elsewhere, clients)])?;
    let open = Errand::Open {
        window: super::WINDOW,
        within: OPEN_WITHIN,
    };
    crew.all(open, || founders.wait(std::time::Duration::ZERO))?;
    talk(&mut crew)?;
    let homes = cluster.homes()?;
    if homes.first() != Some(&u64::from(rooms)) {
        let why = format!("the rooms are at home elsewhere too: {homes:?}");
        return Err(Error::new(why));
    }
    // Whoever waits for an answer of the home that is gone comes back to ask again.
    crew.all(Errand::ExpectReturns, || Ok(()))?;
    progress(&label, "killed");
    let mut redis = Load::begin(vec![cluster.redis()?.pid()]);
    let begin = moment();
    cluster.kill_node(0);
    crew.all(Errand::Say, || Ok(()))?;
    let whole = Errand::Whole {
        within: OPEN_WITHIN,
    };
    let answers = crew.all(whole, || {
        redis.look();
        Ok(())
    })?;
    let answered = moments(&answers, "acked", begin);
    judge(bench, &label, &answers);
    if answered.is_empty() {
        return Err(Error::new("no room has answered"));
    }
    Ok((answered, redis))
}

/// Whether all are whole, and nothing was lost on the way.
pub(super) fn judge(bench: &mut Bench, label: &str, answers: &[serde_json::Value]) {
    let mut faults = faults(answers);
    faults.lost += sum(answers, "lacking");
    bench.judge(label, Subject::Server, &faults, None);
    for ends in answers.iter().filter_map(|it| it["ends"].as_object()) {
        for (why, count) in ends {
            eprintln!("{label}: {count} connections ended: {why}");
        }
    }
    let whole = answers.iter().all(|it| it["whole"] == true);
    let (forgotten, gaps) = (sum(answers, "forgotten"), sum(answers, "gaps"));
    if !whole || forgotten + gaps > 0 {
        let (present, unanswered) = (sum(answers, "present"), sum(answers, "unanswered"));
        eprintln!(
            "{label}: {present} clients are there, {unanswered} messages have no ack, {forgotten} sessions were not \
             resumed, {gaps} rooms had a gap"
        );
        bench.faulty = true;
    }
}
