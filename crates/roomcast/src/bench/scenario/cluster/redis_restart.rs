//! Redis is killed, and starts again.

use serde_json::json;

use super::restart::Args;
use super::takeover::judge;
use super::{NODES, SAY, fleet};
use crate::bench::client::Fleet;
use crate::bench::error::{Error, Result};
use crate::bench::nodes::{Cluster, Engine, Errand, Keeps, Load, moment, moments};
use crate::bench::report::{Section, figure};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};

/// Time until every room answers, with Redis's data and without.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let sessions = bench.options.size(args.sessions, 400);
    let mut section = Section {
        name: "cluster_redis_restart",
        title: format!(
            "Redis is killed and starts again: {sessions} sessions with two of {} rooms each, over {NODES} nodes",
            Fleet::rooms(sessions)
        ),
        columns: vec![
            "Redis starts",
            "answers after s",
            "first room answers",
            "p50",
            "p99",
            "all have all",
            "Redis CPU %",
            "at most in 0.1 s",
        ],
        ..Section::default()
    };
    for (name, keeps) in [("with its data", Keeps::Data), ("empty", Keeps::Nothing)] {
        for turn in 1..=bench.options.repeat.unwrap_or(1) {
            let label = format!("cluster-redis-restart, {name}, run {turn}");
            progress(&label, "connecting");
            let mut cluster = Cluster::start(NODES, Engine::Redis, &bench.options)?;
            let mut crew = fleet(&cluster, sessions)?;
            crew.all(Errand::ExpectReturns, || Ok(()))?;
            progress(&label, "killed");
            let begin = moment();
            cluster.redis()?.kill();
            cluster.redis()?.start_again(keeps)?;
            let up = moment();
            let mut redis = Load::begin(vec![cluster.redis()?.pid()]);
            crew.all(SAY, || Ok(()))?;
            let whole = Errand::Whole {
                within: OPEN_WITHIN,
            };
            let answers = crew.all(whole, || {
                redis.look();
                Ok(())
            })?;
            judge(bench, &label, &answers);
            let acked = moments(&answers, "acked", begin);
            let all_have_all = moments(&answers, "at", begin).last().copied();
            let (Some(last), false) = (all_have_all, acked.is_empty()) else {
                return Err(Error::new("no room has answered"));
            };
            let at = |part: f64| acked[((acked.len() - 1) as f64 * part) as usize];
            section.rows.push(vec![
                name.to_owned(),
                figure(up.saturating_sub(begin) as f64 / 1e6),
                figure(at(0.0)),
                figure(at(0.5)),
                figure(at(0.99)),
                figure(last),
                figure(redis.mean() * 100.0),
                figure(redis.most() * 100.0),
            ]);
            section.data.push(json!({
                "starts": name, "sessions": sessions, "p50_s": at(0.5), "p99_s": at(0.99), "all_have_all_s": last,
                "redis_cpu_share": redis.mean(),
            }));
        }
    }
    section.notes.push(
        "seconds are from the kill. A message was said in each room as soon as Redis had answered; a room answers when it \
         is acked"
            .to_owned(),
    );
    bench.add(section);
    Ok(())
}
