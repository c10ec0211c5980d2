//! `roomcast bench`: a load generator, and the benchmarks made with it.
//!
//! The load generator and the server each get a processor of their own. What a figure is compared with is measured in the
//! same run, in turns. Every delivery is checked.

mod baseline;
mod client;
mod error;
mod nodes;
mod options;
mod proc;
mod report;
mod runner;
mod scenario;
mod svg;
mod target;

use std::fs;
use std::process::ExitCode;

use error::{Error, Result};
use options::Options;
use runner::Bench;
use scenario::{
    api, cluster, compression, fanout, growth, idle, resume, rooms, snapshot, stalled, storm, tls,
    webhooks,
};

/// What to measure, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    benchmark: Benchmark,
    #[command(flatten)]
    options: Options,
}

const HELP: &str = "\
Starts a server of its own with its limits off, on one processor, and puts the load on from another; or drives one
that is running (--url). Connects to this machine only, unless --allow-remote is given.

Exit codes: 0; 1 when a server lost, repeated or mixed up a message, whatever the figures are, or could not be
measured; 64 for a wrong option.";

#[derive(Clone, Debug, clap::Subcommand)]
enum Benchmark {
    /// Memory and processor time of connections that do nothing.
    Idle(idle::Args),
    /// What a delivery costs, and how many one core makes.
    Fanout(fanout::Args),
    /// Latency in many small rooms at a game's pace, in `relay` and in `state`.
    Rooms(rooms::Args),
    /// How the cost of a delivery grows with members and with rooms.
    Growth(growth::Args),
    /// Connections made all at once: time, failures, memory after.
    Storm(storm::Args),
    /// Sessions dropped all at once, which come back: time, what they missed, and what others feel of it.
    Resume(resume::Args),
    /// Connections that stopped reading, among others that read.
    Stalled(stalled::Args),
    /// What compression saves, and what it costs.
    Compression(compression::Args),
    /// Publishing over the API: how many a second, and what others feel of it.
    Api(api::Args),
    /// Webhooks: what members feel of receivers that take all, and of those that do not.
    Webhooks,
    /// What TLS and event streams cost: memory of idle connections, and handshakes.
    Tls(tls::Args),
    /// What the second copy of rooms and sessions costs that memory.snapshot_path asks for.
    Snapshot,
    /// What Redis adds to the time that a message takes. This and those that follow start a redis-server and several nodes.
    ClusterLatency,
    /// What a message asks of Redis.
    ClusterCost,
    /// The most deliveries of several nodes through one Redis.
    ClusterDeliveries,
    /// Many joins at once, at several nodes.
    ClusterJoin(cluster::join::Args),
    /// All nodes are killed and start again: time until everybody is back.
    ClusterRestart(cluster::restart::Args),
    /// Redis is killed and starts again: time until every room answers.
    ClusterRedisRestart(cluster::restart::Args),
    /// A node is killed that is the home of many rooms: time until each of them answers.
    ClusterTakeover(cluster::takeover::Args),
    /// A node that is the home of many rooms is ended politely: how long rooms pause.
    ClusterDrain(cluster::takeover::Args),
    /// A million connections on this machine, as far as its memory goes.
    ClusterMillion(cluster::million::Args),
    /// All but those of clusters: the tables of docs/benchmarks.md, in about a quarter of an hour.
    All(growth::Args),
    /// One of the bare loops that servers are compared with, on a free port of loopback.
    #[command(hide = true)]
    Baseline {
        /// When it writes.
        #[arg(long, value_enum)]
        mode: baseline::Mode,
        /// Leave every Nth delivery out.
        #[arg(long, value_name = "N", default_value_t = 0)]
        lose: u64,
    },
    /// Clients of a cluster, in a process of their own.
    #[command(hide = true)]
    Worker {
        /// What they are.
        job: String,
    },
    /// Ends the processes of a benchmark that has ended without them.
    #[command(hide = true)]
    Guard,
}

/// Runs a benchmark.
pub(crate) fn run(args: Args) -> ExitCode {
    match measure(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            runner::progress_done();
            eprintln!("roomcast bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was lost.
fn measure(args: Args) -> Result<bool> {
    if let Benchmark::Baseline { mode, lose } = args.benchmark {
        baseline::serve(mode, lose)?;
        return Ok(true);
    }
    match &args.benchmark {
        Benchmark::Worker { job } => return nodes::work(job).map(|()| true),
        Benchmark::Guard => {
            nodes::guard();
            return Ok(true);
        }
        _ => {}
    }
    let json = args.options.json.clone();
    let mut bench = Bench::new(args.options);
    let machine = proc::machine();
    println!("{machine}\n");
    match &args.benchmark {
        Benchmark::Idle(args) => idle::run(&mut bench, args)?,
        Benchmark::Fanout(args) => fanout::run(&mut bench, args)?,
        Benchmark::Rooms(args) => rooms::run(&mut bench, args)?,
        Benchmark::Growth(args) => growth::run(&mut bench, args)?,
        Benchmark::Storm(args) => storm::run(&mut bench, args)?,
        Benchmark::Resume(args) => resume::run(&mut bench, args)?,
        Benchmark::Stalled(args) => stalled::run(&mut bench, args)?,
        Benchmark::Compression(args) => compression::run(&mut bench, args)?,
        Benchmark::Tls(args) => tls::run(&mut bench, args)?,
        Benchmark::Snapshot => snapshot::run(&mut bench)?,
        Benchmark::Api(args) => api::run(&mut bench, args)?,
        Benchmark::Webhooks => webhooks::run(&mut bench)?,
        Benchmark::All(growth) => {
            idle::run(&mut bench, &Default::default())?;
            fanout::run(&mut bench, &Default::default())?;
            rooms::run(&mut bench, &Default::default())?;
            storm::run(&mut bench, &Default::default())?;
            resume::run(&mut bench, &Default::default())?;
            stalled::run(&mut bench, &Default::default())?;
            compression::run(&mut bench, &Default::default())?;
            tls::run(&mut bench, &Default::default())?;
            api::run(&mut bench, &Default::default())?;
            webhooks::run(&mut bench)?;
            snapshot::run(&mut bench)?;
            growth::run(&mut bench, growth)?;
        }
        Benchmark::ClusterLatency => cluster::latency::run(&mut bench)?,
        Benchmark::ClusterCost => cluster::cost::run(&mut bench)?,
        Benchmark::ClusterDeliveries => cluster::deliveries::run(&mut bench)?,
        Benchmark::ClusterJoin(args) => cluster::join::run(&mut bench, args)?,
        Benchmark::ClusterRestart(args) => cluster::restart::run(&mut bench, args)?,
        Benchmark::ClusterRedisRestart(args) => cluster::redis_restart::run(&mut bench, args)?,
        Benchmark::ClusterTakeover(args) => cluster::takeover::run(&mut bench, args)?,
        Benchmark::ClusterDrain(args) => cluster::drain::run(&mut bench, args)?,
        Benchmark::ClusterMillion(args) => cluster::million::run(&mut bench, args)?,
        Benchmark::Baseline { .. } | Benchmark::Worker { .. } | Benchmark::Guard => {}
    }
    if let Some(path) = json {
        let text = format!("{:#}\n", bench.report.json(&machine));
        fs::write(&path, text)
            .map_err(|error| Error::new(format!("{}: {error}", path.display())))?;
    }
    Ok(!bench.faulty)
}
