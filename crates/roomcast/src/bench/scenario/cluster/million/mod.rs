//! A million connections on one machine, as far as its memory goes.

mod opening;

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::plan;
use crate::bench::client::{Plan, Shape, latencies};
use crate::bench::error::Result;
use crate::bench::nodes::{Clients, Cluster, Crew, Engine, Errand, Load, faults, sum};
use crate::bench::proc;
use crate::bench::report::{Section, figure};
use crate::bench::runner::{Bench, progress};
use crate::bench::target::Subject;
use opening::Open;

/// Options of `cluster-million`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections, in rooms of 8.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(64..=4_000_000))]
    connections: u32,
    /// Connections of a node, and of a process of clients. Each is an open file.
    #[arg(long, value_name = "N", default_value_t = 19_232, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    each: u32,
    /// Messages a second, of all rooms together.
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    rate: f64,
    /// Seconds after which no more connections are made.
    #[arg(long, value_name = "SECONDS", default_value_t = 1_200)]
    within: u64,
    /// MiB of the machine's memory that stay free: no more connections are made then.
    #[arg(long, value_name = "MIB", default_value_t = 2_048)]
    free: u64,
    /// Let nodes talk from one to the other (`cluster.listen`), and not over Redis.
    #[arg(long)]
    peers: bool,
    /// Seconds for which what has been opened is held [default: 180].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    hold: Option<u32>,
    /// Seconds between two pings of a server to a silent connection. More of them let a processor hold more connections.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    heartbeat: u32,
    /// Processes of clients that connect at once.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    at_once: u32,
}

/// Nodes that the members of a room are on.
const SPREAD: usize = 8;

/// Connects as many as the machine carries, holds them, lets rooms talk, and says what it all takes.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let wanted = bench.options.size(args.connections, 640);
    let each = bench.options.size(args.each, 160);
    let processes = wanted.div_ceil(each) as usize;
    bench.check_file_limit(each)?;
    let label = "cluster-million";
    let engine = match args.peers {
        true => Engine::Peers,
        false => Engine::Redis,
    };
    progress(label, &format!("starting {processes} nodes"));
    // A client is given up after as many missing signs of life as by default.
    let settings = [
        format!("heartbeat.ping_interval={}s", args.heartbeat),
        format!("heartbeat.pong_timeout={}s", args.heartbeat * 2),
    ];
    let mut cluster = Cluster::start_with(processes as u32, engine, &bench.options, &settings)?;
    let plans = plans(bench, wanted, each);
    let mut crew = start_crew(&cluster, &plans)?;
    let mut rest = Memory::of(&mut cluster, &crew)?;

    let open = Open {
        within: Duration::from_secs(args.within),
        free: args.free << 20,
        at_once: args.at_once as usize,
    };
    let opened = open.all(&cluster, &mut crew, plans.len())?;
    let joined = f64::from(opened.joined.max(1));
    let mut section = Section {
        name: "cluster_million",
        title: format!(
            "{} connections in rooms of 8 over {processes} nodes, engine: {}",
            figure(joined),
            engine.name()
        ),
        columns: vec!["", "bytes a connection", "MiB in all"],
        ..Section::default()
    };

    let hold = args.hold.map(|hold| Duration::from_secs(hold.into()));
    let time = hold.unwrap_or_else(|| bench.options.measure(180));
    progress(
        label,
        &format!("holding {} for {} s", opened.joined, time.as_secs()),
    );
    let before = cluster.redis()?.calls()?;
    let mut loads = [
        Load::begin(cluster.nodes()),
        Load::begin(vec![cluster.redis()?.pid()]),
        Load::begin(crew.pids()),
    ];
    let rate = args.rate / opened.workers.len() as f64;
    let answers = crew.some(&opened.workers, Errand::Drive { rate, time }, || {
        loads.iter_mut().for_each(Load::look_slowly);
        opening::memory_left(args.free << 19)
    })?;
    loads.iter_mut().for_each(Load::look);
    let calls = cluster.redis()?.calls()?.since(&before);
    let mut memory = Memory::of(&mut cluster, &crew)?;
    let present = sum(
        &crew.some(&opened.workers, Errand::Count, || Ok(()))?,
        "present",
    );
    let faults = faults(&answers);
    let first_error = answers.iter().find_map(|it| it["error_seen"].as_str());
    bench.judge(label, Subject::Server, &faults, first_error);
    bench.faulty |= opened.failures > 0;

    for (name, of) in Memory::PARTS {
        let bytes = of(&mut memory).saturating_sub(*of(&mut rest));
        section.rows.push(vec![
            name.to_owned(),
            figure(bytes as f64 / joined),
            figure(bytes as f64 / f64::from(1 << 20)),
        ]);
    }
    let seconds = time.as_secs_f64();
    let latency = merge(&answers)?;
    let millis = |percentile| figure(latency.value_at_percentile(percentile) as f64 / 1e3);
    let [nodes, redis, clients] = loads.map(|load| figure(load.mean() * 100.0));
    section.notes.extend([
        format!(
            "{} were connected after {} s, {} a second; {} failed. {}. At the end of the hold {} were there",
            figure(joined),
            figure(opened.took),
            figure(joined / opened.took),
            opened.failures,
            opened.ended,
            figure(present as f64)
        ),
        format!(
            "held for {seconds} s, with a heartbeat each {} s: {} messages, {} deliveries, p50 {} ms, p99 {} ms, at most {} ms; {}",
            args.heartbeat,
            figure(sum(&answers, "sent") as f64),
            figure(sum(&answers, "deliveries") as f64),
            millis(50.0),
            millis(99.0),
            millis(100.0),
            crate::bench::runner::describe(&faults)
        ),
        format!(
            "meanwhile the nodes used {nodes} % of a core, Redis {redis} %, the clients {clients} %; Redis was asked {} \
             scripts/s and passed {} letters/s from node to node",
            figure(calls.scripts() as f64 / seconds),
            figure(calls.messages() as f64 / seconds)
        ),
        format!("Redis has {} keys", figure(cluster.redis()?.keys()? as f64)),
        format!(
            "before the first connection the {processes} nodes took {} MiB, the {processes} processes of clients {} MiB, \
             Redis {} MiB",
            rest.nodes >> 20,
            rest.clients >> 20,
            rest.redis >> 20
        ),
    ]);
    section.data.push(json!({
        "wanted": wanted, "joined": opened.joined, "failures": opened.failures, "took_s": opened.took,
        "node_bytes": memory.nodes - rest.nodes.min(memory.nodes), "redis_bytes": memory.redis,
    }));
    bench.add(section);
    Ok(())
}

/// One for each process of clients.
fn plans(bench: &Bench, wanted: u32, each: u32) -> Vec<Plan> {
    let mut left = wanted / 8;
    let mut plans = Vec::new();
    while left > 0 {
        let rooms = left.min(each / 8);
        let mut plan = plan(bench, Shape::new(rooms, 8).with_senders(1), 1);
        plan.run = format!("bench-{}-{}", std::process::id(), plans.len());
        plans.push(plan);
        left -= rooms;
    }
    plans
}

/// Each process's rooms are on the nodes from its own number on.
fn start_crew(cluster: &Cluster, plans: &[Plan]) -> Result<Crew> {
    let nodes = cluster.nodes().len();
    let clients: Vec<_> = (plans.iter().enumerate())
        .map(|(number, plan)| {
            let some = (0..nodes.min(SPREAD)).map(|next| (number + next) % nodes);
            (cluster.route_to(some), Clients::Swarm(plan))
        })
        .collect();
    Crew::start(cluster, &clients)
}

/// Bytes of memory.
struct Memory {
    nodes: u64,
    clients: u64,
    redis: u64,
    kernel: u64,
}

type Part = (&'static str, fn(&mut Memory) -> &mut u64);

impl Memory {
    const PARTS: [Part; 4] = [
        ("nodes", |it| &mut it.nodes),
        ("clients", |it| &mut it.clients),
        ("Redis", |it| &mut it.redis),
        ("kernel, both sides", |it| &mut it.kernel),
    ];

    fn of(cluster: &mut Cluster, crew: &Crew) -> Result<Memory> {
        let of = |pids: &[u32]| pids.iter().filter_map(|pid| proc::pss(*pid)).sum();
        Ok(Memory {
            nodes: of(&cluster.nodes()),
            clients: of(&crew.pids()),
            redis: of(&[cluster.redis()?.pid()]),
            kernel: proc::kernel_memory().unwrap_or(0),
        })
    }
}

/// The latencies of all processes, in microseconds.
fn merge(answers: &[Value]) -> Result<Histogram<u64>> {
    let mut all = latencies()?;
    let lists = answers.iter().filter_map(|it| it["latency"].as_array());
    for pair in lists.flatten() {
        if let (Some(micros), Some(count)) = (pair[0].as_u64(), pair[1].as_u64()) {
            all.saturating_record_n(micros, count);
        }
    }
    Ok(all)
}
