//! All nodes are killed at one moment, and start again.

use serde_json::json;

use super::takeover::judge;
use super::{NODES, SAY, fleet};
use crate::bench::client::Fleet;
use crate::bench::error::{Error, Result};
use crate::bench::nodes::{Cluster, Engine, Errand, Load, moment, moments};
use crate::bench::report::{Section, figure};
use crate::bench::runner::{Bench, OPEN_WITHIN, progress};

/// Options of `cluster-restart` and `cluster-redis-restart`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Sessions, with two rooms each.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(8..=100_000))]
    pub(super) sessions: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args { sessions: 20_000 }
    }
}

/// Time until everybody is back and has what was said.
pub(crate) fn run(bench: &mut Bench, args: &Args) -> Result<()> {
    let sessions = bench.options.size(args.sessions, 400);
    let mut section = Section {
        name: "cluster_restart",
        title: format!(
            "All {NODES} nodes are killed and start again: {sessions} sessions with two of {} rooms each",
            Fleet::rooms(sessions)
        ),
        columns: vec![
            "run",
            "nodes ready after s",
            "half back",
            "all back",
            "all have all",
            "Redis CPU %",
            "at most in 0.1 s",
            "commands/session",
        ],
        ..Section::default()
    };
    for turn in 1..=bench.options.repeat.unwrap_or(1) {
        let label = format!("cluster-restart, run {turn}");
        progress(&label, "connecting");
        let mut cluster = Cluster::start(NODES, Engine::Redis, &bench.options)?;
        let mut crew = fleet(&cluster, sessions)?;
        crew.all(Errand::ExpectReturns, || Ok(()))?;
        progress(&label, "killed");
        let before = cluster.redis()?.calls()?;
        let mut redis = Load::begin(vec![cluster.redis()?.pid()]);
        let begin = moment();
        (0..NODES as usize).for_each(|node| cluster.kill_node(node));
        (0..NODES as usize).try_for_each(|node| cluster.start_node(node))?;
        crew.all(SAY, || Ok(()))?;
        let whole = Errand::Whole {
            within: OPEN_WITHIN * 2,
        };
        let mut ready = None;
        let answers = crew.all(whole, || {
            redis.look();
            if ready.is_none() && cluster.are_ready() {
                ready = Some(moment());
            }
            Ok(())
        })?;
        let calls = cluster.redis()?.calls()?.since(&before);
        judge(bench, &label, &answers);
        let back = moments(&answers, "back", begin);
        let all_have_all = moments(&answers, "at", begin).last().copied();
        let (Some(last), Some(all_have_all)) = (back.last().copied(), all_have_all) else {
            return Err(Error::new("no session has come back"));
        };
        let ready = ready.map_or(f64::NAN, |at| at.saturating_sub(begin) as f64 / 1e6);
        let commands = (calls.scripts() + calls.messages()) as f64 / f64::from(sessions);
        section.rows.push(vec![
            turn.to_string(),
            figure(ready),
            figure(back[back.len() / 2]),
            figure(last),
            figure(all_have_all),
            figure(redis.mean() * 100.0),
            figure(redis.most() * 100.0),
            figure(commands),
        ]);
        section.data.push(json!({
            "sessions": sessions, "half_back_after_s": back[back.len() / 2], "all_back_after_s": last,
            "all_have_all_after_s": all_have_all, "redis_cpu_share": redis.mean(),
        }));
    }
    section.notes.push(
        "seconds are from the kill. A message was said in each room then; clients wait as the SDK does".to_owned(),
    );
    bench.add(section);
    Ok(())
}
