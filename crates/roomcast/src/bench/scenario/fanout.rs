//! Rooms in which every message goes to every member: what a delivery costs, and how many one core makes.

use crate::bench::baseline::Mode;
use crate::bench::client::{Measured, Pace, Plan, Shape};
use crate::bench::error::Result;
use crate::bench::report::{Bound, Goal, Section, figure};
use crate::bench::runner::{Bench, COLUMNS, data, over_some, row};
use crate::bench::target::{Setup, Subject};

/// Options of `fanout`. Without any, the four measurements that the documentation shows.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Rooms.
    #[arg(long, value_name = "N", requires = "members", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rooms: Option<u32>,
    /// Members of each room.
    #[arg(long, value_name = "N", requires = "rooms", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    members: Option<u32>,
    /// Messages a second in each room, whatever comes back.
    #[arg(
        long,
        value_name = "N",
        requires = "rooms",
        conflicts_with = "in_flight"
    )]
    rate: Option<f64>,
    /// Messages that each sender has under way: as many a second as the server can [default: 1].
    #[arg(long, value_name = "N", requires = "rooms")]
    in_flight: Option<u32>,
    /// Members of each room that send [default: all, at most 50].
    #[arg(long, value_name = "N", requires = "rooms")]
    senders: Option<u32>,
    /// Bytes of a message's payload.
    #[arg(long, value_name = "BYTES", requires = "rooms", default_value_t = 128, value_parser = clap::value_parser!(u32).range(28..=60_000))]
    payload: u32,
    /// Shards of the server.
    #[arg(long, value_name = "N", default_value_t = 1)]
    shards: u32,
}

/// Cost per delivery against a loop that sends each alone; deliveries a core against one that flushes once a turn.
const COST: f64 = 1.15;
const MOST: f64 = 0.7;

/// What the options ask for, or all of it.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let Some((rooms, members)) = args.rooms.zip(args.members) else {
        let members = bench.options.size(1_000, 100);
        cost(bench, members)?;
        most(bench, Shape::new(1, members).with_senders(32), 8)?;
        most(bench, Shape::new(bench.options.size(200, 20), 8), 1)?;
        return shards(bench, members);
    };
    let shape = Shape::new(rooms, members).with_senders(args.senders.unwrap_or(50));
    let pace = match args.rate {
        Some(rate) => Pace::Rate(rate * f64::from(rooms)),
        None => Pace::InFlight(args.in_flight.unwrap_or(1)),
    };
    let mode = if args.rate.is_some() {
        Mode::Send
    } else {
        Mode::Flush
    };
    let plan = Plan {
        payload: args.payload as usize,
        ..Plan::new(shape, pace, bench.options.measure(5))
    };
    let setup = Setup {
        shards: args.shards,
        ..Setup::default()
    };
    let title = format!(
        "Fan-out: {rooms} × {members}, payloads of {} bytes",
        args.payload
    );
    measure(bench, "fanout", title, &plan, mode, &setup, None)
}

/// Processor time per delivery in one large room at 50 messages a second.
fn cost(bench: &mut Bench, members: u32) -> Result<()> {
    let shape = Shape::new(1, members).with_senders(50);
    let plan = Plan::new(shape, Pace::Rate(50.0), bench.options.measure(6));
    let title = format!("Cost of a delivery: one room of {members} at 50 messages/s");
    let goal = |bare: &[Measured], server: &[Measured]| {
        let cost = |runs| over_some(runs, Measured::cpu_per_delivery);
        Some(Goal {
            what: "CPU per delivery against the loop that sends each alone".to_owned(),
            value: cost(server)? / cost(bare)?,
            bound: Bound::AtMost(COST),
            unit: "×",
        })
    };
    measure(
        bench,
        "fanout_cost",
        title,
        &plan,
        Mode::Send,
        &Setup::default(),
        Some(&goal),
    )
}

/// The most deliveries that one core makes.
fn most(bench: &mut Bench, shape: Shape, in_flight: u32) -> Result<()> {
    let plan = Plan::new(shape, Pace::InFlight(in_flight), bench.options.measure(4));
    let title = format!(
        "Most deliveries of one core: {} × {}, {} messages of each of {} senders a room under way",
        shape.rooms, shape.members, in_flight, shape.senders
    );
    let goal = |bare: &[Measured], server: &[Measured]| {
        let most = |runs| over_some(runs, Measured::per_cpu_second);
        Some(Goal {
            what: "deliveries per server CPU second against the loop that flushes once a turn"
                .to_owned(),
            value: most(server)? / most(bare)?,
            bound: Bound::AtLeast(MOST),
            unit: "×",
        })
    };
    let name = if shape.rooms == 1 {
        "fanout_most_large"
    } else {
        "fanout_most_small"
    };
    measure(
        bench,
        name,
        title,
        &plan,
        Mode::Flush,
        &Setup::default(),
        Some(&goal),
    )
}

/// Two shards against one.
fn shards(bench: &mut Bench, members: u32) -> Result<()> {
    if bench.options.url.is_some() {
        return Ok(());
    }
    let shape = Shape::new(1, members).with_senders(32);
    let plan = Plan::new(shape, Pace::InFlight(8), bench.options.measure(4));
    let subjects: Vec<_> = [1, 2]
        .iter()
        .map(|&shards| {
            (
                Subject::Server,
                Setup {
                    shards,
                    ..Setup::default()
                },
            )
        })
        .collect();
    let turns = bench.options.repeat();
    let runs = bench.compare("two shards against one", &subjects, &plan, turns)?;
    let mut section = Section {
        name: "fanout_shards",
        title: format!("Two shards against one: one room of {members}"),
        columns: COLUMNS.to_vec(),
        ..Section::default()
    };
    for ((_, setup), runs) in subjects.iter().zip(&runs) {
        let name = format!("Roomcast, shards: {}", setup.shards);
        section.rows.push(row(&name, runs));
        section.data.push(data(&name, runs));
    }
    if bench.options.processors(2).0 == bench.options.processors(2).1
        || bench.options.processors(3).0.len() < 3
    {
        section.notes.push(
            "on two cores the second shard shares its core with the load generator: compare deliveries per server \
             CPU second, which says what the crossing costs, rather than deliveries/s"
                .to_owned(),
        );
    }
    bench.add(section);
    Ok(())
}

type GoalOf<'a> = &'a dyn Fn(&[Measured], &[Measured]) -> Option<Goal>;

fn measure(
    bench: &mut Bench,
    name: &'static str,
    title: String,
    plan: &Plan,
    bare: Mode,
    setup: &Setup,
    goal: Option<GoalOf<'_>>,
) -> Result<()> {
    let subjects = bench.subjects(Subject::Bare(bare), setup);
    let turns = bench.options.repeat();
    let runs = bench.compare(&title, &subjects, plan, turns)?;
    let mut section = Section {
        name,
        title,
        columns: COLUMNS.to_vec(),
        ..Section::default()
    };
    for ((subject, _), runs) in subjects.iter().zip(&runs) {
        section.rows.push(row(subject.name(), runs));
        section.data.push(data(subject.name(), runs));
        let bytes = runs
            .iter()
            .map(|run| run.counts.bytes as f64 / run.counts.deliveries.max(1) as f64);
        let bytes = crate::bench::report::median(bytes.collect());
        section.notes.push(format!(
            "{}: {} bytes a delivery",
            subject.name(),
            figure(bytes)
        ));
    }
    if let ([bare, server], Some(goal), false) = (&runs[..], goal, bench.options.quick) {
        section.goals.extend(goal(bare, server));
    }
    bench.add(section);
    Ok(())
}
