//! A node is ended politely that is the home of many rooms: how long do they pause?

use std::time::Duration;

use serde_json::{Value, json};

use super::takeover::{Args, judge};
use super::{NODES, home_of_all};
use crate::bench::client::Fleet;
use crate::bench::error::{Error, Result};
use crate::bench::nodes::{Crew, Errand, Load, moment, moments};
use crate::bench::report::{Section, figure, median};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};

/// A message in each room takes so long: then the machine has processor time left.
const ROUND: Duration = Duration::from_millis(500);
/// Rounds before the signal. One more comes first, and does not count.
const BEFORE: usize = 10;

/// What rooms waited for their acks, around a SIGTERM.
struct Run {
    before: Rounds,
    during: Rounds,
    /// Seconds from the signal until the node had ended.
    ended: f64,
    /// Clients that were told to come back.
    sent_back: u64,
    /// Part of a core that everything used before.
    load: f64,
}

/// Rounds of a message in each room.
#[derive(Default)]
struct Rounds {
    count: u64,
    /// Seconds from when a message was due until its ack.
    waited: Vec<f64>,
}

impl Rounds {
    fn run(&mut self, crew: &mut Crew, mut look: impl FnMut() -> Result<()>) -> Result<Vec<Value>> {
        crew.all(Errand::Say { over: ROUND }, &mut look)?;
        let whole = Errand::Whole {
            within: OPEN_WITHIN,
        };
        let answers = crew.all(whole, look)?;
        self.count += 1;
        self.waited.extend(moments(&answers, "waited", 0));
        self.waited.sort_by(f64::total_cmp);
        Ok(answers)
    }

    /// Milliseconds.
    fn at(&self, part: f64) -> f64 {
        let place = (self.waited.len().saturating_sub(1)) as f64 * part;
        self.waited
            .get(place as usize)
            .map_or(f64::NAN, |it| it * 1e3)
    }

    fn figures(&self) -> [String; 4] {
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|part| figure(self.at(part)));
        [self.count.to_string(), p50, p99, most]
    }

    fn data(&self) -> Value {
        json!({ "rounds": self.count, "p50_ms": self.at(0.5), "p99_ms": self.at(0.99), "max_ms": self.at(1.0) })
    }
}

/// Rooms talk while their home hands them over.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let sessions = bench.options.size(args.rooms, 100) * 4;
    let mut section = Section {
        name: "cluster_drain",
        title: format!(
            "Drain: one of {NODES} nodes is sent SIGTERM, the home of {} rooms, each with 8 sessions and a speaker elsewhere",
            Fleet::rooms(sessions)
        ),
        columns: vec![
            "run",
            "ended after s",
            "rounds before",
            "p50 ms",
            "p99 ms",
            "max ms",
            "rounds during",
            "p50 ms",
            "p99 ms",
            "max ms",
            "clients sent back",
            "CPU % before",
        ],
        ..Section::default()
    };
    let mut pauses = Vec::new();
    for turn in 1..=bench.options.repeat() {
        let run = once(bench, turn, sessions)?;
        let mut row = vec![turn.to_string(), figure(run.ended)];
        row.extend(run.before.figures());
        row.extend(run.during.figures());
        row.extend([run.sent_back.to_string(), figure(run.load * 100.0)]);
        section.rows.push(row);
        section.data.push(json!({
            "ended_s": run.ended, "before": run.before.data(), "during": run.during.data(), "sent_back": run.sent_back,
            "cpu_share_before": run.load,
        }));
        pauses.push(run.during.at(1.0));
    }
    section.notes.push(format!(
        "longest pause of a room: {} ms, the median of all runs. Where its home is killed it waits for redis.lease, which is {} s",
        figure(median(pauses)),
        if bench.options.quick { 1 } else { 3 },
    ));
    section.notes.push(format!(
        "a round is a message in each room, evenly over {} ms; times are from when it was due until its ack. During: from \
         SIGTERM until the round after the node had ended. The rooms go when shutdown.delay (1 s) is over",
        ROUND.as_millis()
    ));
    if !bench.faulty {
        let note = "nothing lost, twice or out of order, and no session was forgotten";
        section.notes.push(note.to_owned());
    }
    bench.add(section);
    Ok(())
}

fn once(bench: &mut Bench, turn: u32, sessions: u32) -> Result<Run> {
    let label = format!("cluster-drain, run {turn}");
    let (mut cluster, mut founders, mut crew) = home_of_all(bench, &label, sessions)?;
    // Those who are at the node itself are not what is measured.
    founders.close();
    Rounds::default().run(&mut crew, || Ok(()))?;
    progress(&label, "before");
    let (mut before, mut during) = (Rounds::default(), Rounds::default());
    let mut load = Load::begin([cluster.pids(), crew.pids()].concat());
    for _ in 0..BEFORE {
        before.run(&mut crew, || {
            load.look();
            Ok(())
        })?;
    }
    // Whoever is owed an answer by a room that goes may be told to come back.
    crew.all(Errand::ExpectReturns, || Ok(()))?;
    progress(&label, "SIGTERM");
    let begin = moment();
    let since = |end: u64| end.saturating_sub(begin) as f64 / 1e6;
    cluster.end_node(0)?;
    let mut ended = None;
    let mut whole = true;
    while ended.is_none() && since(moment()) < OPEN_WITHIN.as_secs_f64() {
        let answers = during.run(&mut crew, || {
            if ended.is_none() && cluster.has_ended(0)? {
                ended = Some(since(moment()));
            }
            Ok(())
        })?;
        whole &= answers.iter().all(|it| it["whole"] == true);
    }
    let ended = ended.ok_or_else(|| Error::new("the node does not end"))?;
    let answers = during.run(&mut crew, || Ok(()))?;
    judge(bench, &label, &answers);
    let homes: u64 = cluster.homes()?.iter().sum();
    if !whole || homes != u64::from(Fleet::rooms(sessions)) {
        return Err(Error::new(format!(
            "not all rooms have gone on: {homes} have a home"
        )));
    }
    let ends = answers.iter().filter_map(|it| it["ends"].as_object());
    let sent_back = ends.flat_map(|it| it.values()).filter_map(Value::as_u64);
    Ok(Run {
        before,
        during,
        ended,
        sent_back: sent_back.sum(),
        load: load.mean(),
    })
}
