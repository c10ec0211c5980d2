//! Many small rooms at a game's pace: latency from the intended send time.

use crate::bench::baseline::Mode;
use crate::bench::client::{Measured, Pace, Plan, Say, Shape};
use crate::bench::error::Result;
use crate::bench::report::{Bound, Goal, Section, figure};
use crate::bench::runner::{Bench, COLUMNS, data, over, over_some, row};
use crate::bench::target::{Setup, Subject};

/// Options of `rooms`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// What the rooms do with actions [default: both, one after the other].
    #[arg(long, value_enum)]
    mode: Option<RoomMode>,
    /// Rooms.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,
    /// Players in each room.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    members: u32,
    /// Actions a second of each player.
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    rate: f64,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            mode: None,
            rooms: 200,
            members: 8,
            rate: 20.0,
        }
    }
}

/// What a room does with a `game_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoomMode {
    /// Each action goes to every player.
    Relay,
    /// Actions change the state, which every player gets once a tick.
    State,
}

/// Bounds of the 99th percentile: in `relay` against the loop and in milliseconds, in `state` in milliseconds; and the
/// part of the core that `state` has to leave free.
const RELAY_RATIO: f64 = 1.15;
const RELAY_MS: f64 = 50.0;
const STATE_MS: f64 = 60.0;
const STATE_SHARE: f64 = 50.0;

/// What the options ask for.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    if args.mode != Some(RoomMode::State) {
        relay(bench, args)?;
    }
    if args.mode != Some(RoomMode::Relay) {
        state(bench, args)?;
    }
    Ok(())
}

fn plan(bench: &Bench, args: &Args) -> Plan {
    let shape = Shape::new(bench.options.size(args.rooms, 25), args.members);
    let rate = args.rate * f64::from(shape.connections);
    Plan::new(shape, Pace::Rate(rate), bench.options.measure(10))
}

fn relay(bench: &mut Bench, args: &Args) -> Result<()> {
    let plan = Plan {
        say: Say::Action,
        kind: "relay",
        ..plan(bench, args)
    };
    let title = format!(
        "Rooms in relay: {} × {} × {} actions/s",
        plan.shape.rooms, plan.shape.members, args.rate
    );
    let subjects = bench.subjects(Subject::Bare(Mode::Flush), &Setup::default());
    let turns = bench.options.repeat();
    let runs = bench.compare(&title, &subjects, &plan, turns)?;
    let mut section = Section {
        name: "rooms_relay",
        title,
        columns: COLUMNS.to_vec(),
        ..Section::default()
    };
    for ((subject, _), runs) in subjects.iter().zip(&runs) {
        section.rows.push(row(subject.name(), runs));
        section.data.push(data(subject.name(), runs));
    }
    if let (Some(server), false) = (runs.last(), bench.options.quick) {
        let p99 = |runs: &[Measured]| over(runs, |run| run.latency_ms(99.0));
        if let [bare, server] = &runs[..] {
            section.goals.push(Goal {
                what: "p99 against the loop that flushes once a turn".to_owned(),
                value: p99(server) / p99(bare),
                bound: Bound::AtMost(RELAY_RATIO),
                unit: "×",
            });
        }
        section.goals.push(Goal {
            what: "p99".to_owned(),
            value: p99(server),
            bound: Bound::AtMost(RELAY_MS),
            unit: "ms",
        });
    }
    bench.add(section);
    Ok(())
}

fn state(bench: &mut Bench, args: &Args) -> Result<()> {
    let plan = Plan {
        say: Say::Move,
        ..plan(bench, args)
    };
    let title = format!(
        "Rooms in state: {} × {} × {} moves/s, until the sync that shows the move",
        plan.shape.rooms, plan.shape.members, args.rate
    );
    let subjects = [(Subject::Server, Setup::default())];
    let turns = bench.options.repeat();
    let runs = bench.compare(&title, &subjects, &plan, turns)?;
    let mut section = Section {
        name: "rooms_state",
        title,
        columns: COLUMNS.to_vec(),
        ..Section::default()
    };
    for runs in &runs {
        section.rows.push(row("Roomcast", runs));
        section.data.push(data("Roomcast", runs));
        let syncs = over(runs, |run| run.counts.syncs as f64 / run.wall.as_secs_f64());
        section.notes.push(format!(
            "{} syncs/s; a delivery is a move that a sync showed to a player",
            figure(syncs)
        ));
        if bench.options.quick {
            continue;
        }
        section.goals.push(Goal {
            what: "p99 from a move to the sync that shows it".to_owned(),
            value: over(runs, |run| run.latency_ms(99.0)),
            bound: Bound::AtMost(STATE_MS),
            unit: "ms",
        });
        if let Some(share) = over_some(runs, Measured::server_share) {
            section.goals.push(Goal {
                what: "part of the core that was used".to_owned(),
                value: share * 100.0,
                bound: Bound::AtMost(STATE_SHARE),
                unit: "%",
            });
        }
    }
    bench.add(section);
    Ok(())
}
