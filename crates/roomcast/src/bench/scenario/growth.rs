//! How the cost of a delivery grows with members and with rooms: best not at all.

use std::path::PathBuf;

use serde_json::json;

use crate::bench::baseline::Mode;
use crate::bench::client::{Measured, Pace, Plan, Shape};
use crate::bench::error::{Error, Result};
use crate::bench::report::{Section, figure, median};
use crate::bench::runner::Bench;
use crate::bench::svg::{Chart, Line, Panel};
use crate::bench::target::{Setup, Subject};

/// Options of `growth`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Draw the figures into a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

const MEMBERS: [u32; 7] = [10, 30, 100, 300, 1_000, 3_000, 10_000];
const ROOMS: [u32; 9] = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000];

/// Deliveries a second at every point: far below what a core can, so that messages seldom share a write.
const AGAINST_MEMBERS: f64 = 40_000.0;
const AGAINST_ROOMS: f64 = 16_000.0;

/// Connections that the members of all rooms share at most.
const CONNECTIONS: u32 = 8_000;

/// Processor time per delivery against members of one room, and against rooms of 8.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let largest = bench.options.size(10_000, 100);
    let members = MEMBERS
        .iter()
        .filter(|&&members| members <= largest)
        .map(|&members| {
            let shape = Shape::new(1, members).with_senders(50);
            (members, shape, AGAINST_MEMBERS / f64::from(members))
        });
    let members = sweep(bench, "members", members.collect())?;
    let rooms = ROOMS
        .iter()
        .filter(|&&rooms| rooms <= largest)
        .map(|&rooms| {
            let shape = Shape::new(rooms, 8).with_connections(CONNECTIONS);
            (rooms, shape, AGAINST_ROOMS / 8.0)
        });
    let rooms = sweep(bench, "rooms", rooms.collect())?;
    let Some(path) = &args.svg else { return Ok(()) };
    let panels = vec![
        Panel {
            title: "One room, 40 000 deliveries a second".to_owned(),
            x: "members of the room",
            lines: members,
        },
        Panel {
            title: "Rooms of 8, 16 000 deliveries a second".to_owned(),
            x: "rooms",
            lines: rooms,
        },
    ];
    let chart = Chart {
        title: "Processor time per delivery".to_owned(),
        y: "µs",
        panels,
    };
    std::fs::write(path, chart.svg())
        .map_err(|error| Error::new(format!("{}: {error}", path.display())))
}

fn sweep(
    bench: &mut Bench,
    what: &'static str,
    points: Vec<(u32, Shape, f64)>,
) -> Result<Vec<Line>> {
    let subjects = bench.subjects(Subject::Bare(Mode::Flush), &Setup::default());
    let mut section = Section {
        name: if what == "members" {
            "growth_members"
        } else {
            "growth_rooms"
        },
        title: format!("Growth: CPU per delivery against {what}"),
        columns: vec![what],
        ..Section::default()
    };
    let mut lines: Vec<Line> = Vec::new();
    for (subject, _) in subjects.iter().rev() {
        let name = match subject {
            Subject::Server => "Roomcast, µs",
            Subject::Bare(_) => "bare loop, µs",
        };
        section.columns.push(name);
        lines.push(Line {
            name: subject.name(),
            points: Vec::new(),
        });
    }
    let turns = bench.options.repeat.unwrap_or(1);
    for (x, shape, rate) in points {
        // A joiner of a `state` room is told of every player: that would be measured, not the delivery.
        let plan = Plan {
            kind: "relay",
            ..Plan::new(shape, Pace::Rate(rate), bench.options.measure(3))
        };
        let runs = bench.compare(&format!("{x} {what}"), &subjects, &plan, turns)?;
        let mut row = vec![x.to_string()];
        for ((subject, runs), line) in subjects.iter().zip(&runs).rev().zip(&mut lines) {
            let cost = median(runs.iter().filter_map(Measured::cpu_per_delivery).collect());
            row.push(figure(cost));
            line.points.push((f64::from(x), cost));
            section.data.push(
                json!({ "subject": subject.0.name(), (what): x, "cpu_us_per_delivery": cost }),
            );
        }
        section.rows.push(row);
    }
    section.notes.push(
        "few messages share a write at this pace, so this is what a delivery costs at most"
            .to_owned(),
    );
    bench.add(section);
    Ok(lines)
}
