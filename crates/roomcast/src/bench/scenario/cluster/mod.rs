//! Several nodes with one Redis on this machine, one benchmark a file.
//!
//! Redis, nodes and clients share all processors, as none of them has one for itself. So what each of them uses is in the
//! tables.

pub(crate) mod cost;
pub(crate) mod deliveries;
pub(crate) mod drain;
pub(crate) mod join;
pub(crate) mod latency;
pub(crate) mod million;
pub(crate) mod redis_restart;
pub(crate) mod restart;
pub(crate) mod takeover;

use std::time::Duration;

use crate::bench::client::{Fleet, Measured, Opening, Pace, Plan, Shape, Swarm, Waits};
use crate::bench::error::{Error, Result};
use crate::bench::nodes::{Clients, Cluster, Crew, Engine, Errand};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};
use crate::bench::target::Subject;

/// Nodes of a cluster.
pub(crate) const NODES: u32 = 4;
/// Sessions of one process of clients.
const A_PROCESS: u32 = 10_000;
/// Clients of one process that are on their way at once.
const WINDOW: u32 = 256;
/// A message in each room at once.
const SAY: Errand = Errand::Say {
    over: Duration::ZERO,
};

/// A plan whose rooms are relayed.
fn plan(bench: &Bench, shape: Shape, seconds: u32) -> Plan {
    Plan {
        kind: "relay",
        wire: bench.options.wire,
        warm_up: Duration::from_millis(if bench.options.quick { 200 } else { 1_000 }),
        ..Plan::new(shape, Pace::InFlight(1), bench.options.measure(seconds))
    }
}

/// The plan's connections, in rooms whose members are spread over all nodes.
fn fill(bench: &Bench, cluster: &Cluster, plan: &Plan) -> Result<Swarm> {
    bench.check_file_limit(plan.shape.connections + cluster.nodes().len() as u32)?;
    let mut swarm = Swarm::new(cluster.route(), plan.clone())?;
    bench.fill(&mut swarm, Subject::Server)?;
    Ok(swarm)
}

/// Runs the swarm at a pace, and says what went wrong.
fn drive(
    bench: &mut Bench,
    label: &str,
    (cluster, swarm): (&mut Cluster, &mut Swarm),
    pace: Pace,
    mut look: impl FnMut(&mut Cluster, crate::bench::client::Look),
) -> Result<Measured> {
    swarm.pace(pace, bench.options.measure(4));
    let run = swarm.drive(&cluster.pids(), |at| {
        crate::bench::runner::progress_of(label, at);
        look(cluster, at);
    })?;
    bench.judge(label, Subject::Server, &run.faults, swarm.first_error());
    bench.others_used(run.others_share().unwrap_or(0.0));
    Ok(run)
}

/// Parts of a core that all nodes, and Redis, have used in a run.
fn shares(cluster: &Cluster, run: &Measured) -> (f64, Option<f64>) {
    let share = |time: Duration| time.as_secs_f64() / run.wall.as_secs_f64();
    let nodes = cluster.nodes().len();
    let redis = run.cpus.get(nodes).map(|time| share(*time));
    (share(run.cpus.iter().take(nodes).sum()), redis)
}

/// Processes with the SDK's clients at all nodes, so many sessions together, all in their rooms.
fn fleet(cluster: &Cluster, sessions: u32) -> Result<Crew> {
    let names: Vec<String> = (0..sessions.div_ceil(A_PROCESS))
        .map(|process| format!("relay:bench-{}-{process}", std::process::id()))
        .collect();
    let each = sessions / names.len() as u32;
    let clients: Vec<_> = (names.iter())
        .map(|run| {
            let clients = Clients::Fleet {
                sessions: each,
                run,
                waits: Waits::Sdk,
            };
            (cluster.route(), clients)
        })
        .collect();
    let mut crew = Crew::start(cluster, &clients)?;
    let open = Errand::Open(Opening::all(WINDOW, OPEN_WITHIN * 2));
    crew.all(open, || Ok(()))?;
    talk(&mut crew)?;
    Ok(crew)
}

/// A cluster whose first node is the home of all rooms, with clients that hold it there, and the SDK's clients at the other
/// nodes: so many sessions together, all in their rooms.
fn home_of_all(bench: &Bench, label: &str, sessions: u32) -> Result<(Cluster, Swarm, Crew)> {
    progress(label, "connecting");
    let rooms = Fleet::rooms(sessions);
    // A node that is alone is the home of all rooms.
    let mut cluster = Cluster::start(1, Engine::Redis, &bench.options)?;
    let run = format!("bench-{}", std::process::id());
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
    cluster.add_nodes(NODES - 1)?;
    let elsewhere = cluster.route_to(1..NODES as usize);
    let run = format!("relay:{run}");
    let clients = Clients::Fleet {
        sessions,
        run: &run,
        waits: Waits::Sdk,
    };
    let mut crew = Crew::start(&cluster, &[(elsewhere, clients)])?;
    let open = Errand::Open(Opening::all(WINDOW, OPEN_WITHIN));
    crew.all(open, || founders.wait(Duration::ZERO))?;
    talk(&mut crew)?;
    let homes = cluster.homes()?;
    if homes.first() != Some(&u64::from(rooms)) {
        let why = format!("the rooms are at home elsewhere too: {homes:?}");
        return Err(Error::new(why));
    }
    Ok((cluster, founders, crew))
}

/// A message in each room, and all have it.
fn talk(crew: &mut Crew) -> Result<()> {
    crew.all(SAY, || Ok(()))?;
    let within = OPEN_WITHIN;
    let answers = crew.all(Errand::Whole { within }, || Ok(()))?;
    match answers.iter().all(|it| it["whole"] == true) {
        true => Ok(()),
        false => Err(Error::new("not all clients heard what was said before")),
    }
}
