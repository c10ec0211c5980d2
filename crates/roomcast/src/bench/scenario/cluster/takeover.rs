//! A node is killed that is the home of many rooms: when does each of them answer again?

use serde_json::json;

use super::{NODES, SAY, home_of_all};
use crate::bench::client::Fleet;
use crate::bench::error::{Error, Result};
use crate::bench::nodes::{Errand, Load, faults, moment, moments, sum};
use crate::bench::report::{Section, figure, median};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};
use crate::bench::target::Subject;

/// Options of `cluster-takeover` and `cluster-drain`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Rooms at home on the node that ends.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(2..=4_000))]
    pub(super) rooms: u32,
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
            "half have a home after s",
            "99 %",
            "half answer after s",
            "99 %",
            "all",
            "Redis CPU %",
            "at most in 0.1 s",
        ],
        ..Section::default()
    };
    let mut all = Vec::new();
    for turn in 1..=bench.options.repeat() {
        let (homes, answered, redis) = once(bench, turn, sessions)?;
        let at = |part: f64| answered[((answered.len() - 1) as f64 * part) as usize];
        let home = |part: f64| {
            let enough = |(_, count): &&(f64, u64)| *count as f64 >= f64::from(rooms) * part;
            homes.iter().find(enough).map_or(f64::NAN, |(at, _)| *at)
        };
        section.rows.push(vec![
            turn.to_string(),
            figure(home(0.5)),
            figure(home(0.99)),
            figure(at(0.5)),
            figure(at(0.99)),
            figure(at(1.0)),
            figure(redis.mean() * 100.0),
            figure(redis.most() * 100.0),
        ]);
        section
            .data
            .push(json!({
            "home_p50_s": home(0.5), "home_p99_s": home(0.99), "p50_s": at(0.5), "p99_s": at(0.99), "all_s": at(1.0),
        }));
        all.push([home(0.5), home(0.99), at(0.5), at(0.99)]);
    }
    let over = |place: usize| figure(median(all.iter().map(|it: &[f64; 4]| it[place]).collect()));
    section.notes.push(format!(
        "medians: a home again p50 {} s, p99 {} s; an answer p50 {} s, p99 {} s. Rooms wait for redis.lease, which is {} s",
        over(0),
        over(1),
        over(2),
        over(3),
        if bench.options.quick { 1 } else { 3 },
    ));
    section.notes.push(
        "a message was said in each room when the node was killed, and a room answers when it is acked: who said it is \
         sent back when the node is seen to be dead, comes as the SDK does, and says it again"
            .to_owned(),
    );
    bench.add(section);
    Ok(())
}

/// Rooms that have a home, after so many seconds; seconds after which rooms have answered, in order; what Redis used.
type Took = (Vec<(f64, u64)>, Vec<f64>, Load);

fn once(bench: &mut Bench, turn: u32, sessions: u32) -> Result<Took> {
    let label = format!("cluster-takeover, run {turn}");
    let (mut cluster, _founders, mut crew) = home_of_all(bench, &label, sessions)?;
    // Whoever waits for an answer of the home that is gone comes back to ask again.
    crew.all(Errand::ExpectReturns, || Ok(()))?;
    progress(&label, "killed");
    let mut redis = Load::begin(vec![cluster.redis()?.pid()]);
    let begin = moment();
    cluster.kill_node(0);
    crew.all(SAY, || Ok(()))?;
    let whole = Errand::Whole {
        within: OPEN_WITHIN,
    };
    let mut homes = Vec::new();
    let answers = crew.all(whole, || {
        redis.look();
        let count = cluster.homes()?.iter().sum();
        homes.push((moment().saturating_sub(begin) as f64 / 1e6, count));
        Ok(())
    })?;
    let answered = moments(&answers, "acked", begin);
    judge(bench, &label, &answers);
    if answered.is_empty() {
        return Err(Error::new("no room has answered"));
    }
    Ok((homes, answered, redis))
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
