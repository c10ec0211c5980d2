//! What the second copy that `memory.snapshot_path` asks for costs: each append waits at its room's gate for it.

use crate::bench::client::{Measured, Pace, Plan, Shape};
use crate::bench::error::Result;
use crate::bench::report::{Section, figure};
use crate::bench::runner::{Bench, COLUMNS, data, over, over_some, row};
use crate::bench::target::{Setup, Subject};

/// The same server without the file and with it, in one run.
pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let members = bench.options.size(1_000, 100);
    let rooms = bench.options.size(200, 20);
    // Nothing but the server is measured.
    if bench.options.url.is_some() {
        return Ok(());
    }
    let shapes = [
        ("snapshot_large", Shape::new(1, members).with_senders(32), 8),
        ("snapshot_small", Shape::new(rooms, 8), 1),
    ];
    let directory =
        std::env::temp_dir().join(format!("roomcast-bench-snapshot-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("rooms");
    // The copy alone: at intervals the file would be written, too.
    let kept = format!("[memory]\nsnapshot_path = {path:?}\nsnapshot_interval = 0\n");
    let mut measured = Ok(());
    for (name, shape, in_flight) in shapes {
        measured = compare(bench, name, shape, in_flight, &kept);
        if measured.is_err() {
            break;
        }
    }
    // What can't be removed is left to the system.
    let _ = std::fs::remove_dir_all(&directory);
    measured
}

fn compare(
    bench: &mut Bench,
    name: &'static str,
    shape: Shape,
    in_flight: u32,
    kept: &str,
) -> Result<()> {
    let plan = Plan::new(shape, Pace::InFlight(in_flight), bench.options.measure(4));
    let subjects: Vec<_> = ["", kept]
        .into_iter()
        .map(|config| {
            let setup = Setup {
                config: config.to_owned(),
                ..Setup::default()
            };
            (Subject::Server, setup)
        })
        .collect();
    let title = format!(
        "Snapshot: {} × {}, {in_flight} messages of each of {} senders a room under way",
        shape.rooms, shape.members, shape.senders
    );
    let turns = bench.options.repeat();
    let runs = bench.compare(&title, &subjects, &plan, turns)?;
    let mut section = Section {
        name,
        title,
        columns: COLUMNS.to_vec(),
        ..Section::default()
    };
    let names = ["without a file", "memory.snapshot_path"];
    for (name, runs) in names.iter().zip(&runs) {
        section.rows.push(row(name, runs));
        section.data.push(data(name, runs));
    }
    if let [without, with] = &runs[..] {
        let cost = |runs: &[Measured]| over_some(runs, Measured::cpu_per_delivery);
        if let Some((without, with)) = cost(without).zip(cost(with)) {
            let ratio = figure(with / without);
            section
                .notes
                .push(format!("CPU per delivery: {ratio} × that without a file"));
        }
        let most = |runs: &[Measured]| over(runs, Measured::per_second);
        let ratio = figure(most(with) / most(without));
        section
            .notes
            .push(format!("deliveries/s: {ratio} × those without a file"));
    }
    bench.add(section);
    Ok(())
}
