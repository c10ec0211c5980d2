//! Options that all benchmarks share.

use std::path::PathBuf;
use std::time::Duration;

use super::client::Wire;
use super::proc;

/// Options that all benchmarks share.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of every benchmark")]
pub(crate) struct Options {
    /// Measure the server at this address (ws://HOST:PORT/PATH) rather than start one.
    ///
    /// Its limits apply: messages a second and connections per address are the ones that a benchmark meets first.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The process of the server at --url, whose processor time and memory are then read.
    #[arg(long, global = true, value_name = "PID", requires = "url")]
    pub(crate) pid: Option<u32>,
    /// Let --url name another machine.
    #[arg(long, global = true)]
    pub(crate) allow_remote: bool,
    /// Write the figures to a file as well, as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Runs of each measurement, in turns; their medians are shown [default: 3].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) repeat: Option<u32>,
    /// Seconds that count in each run [default: the benchmark's own].
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: Option<u32>,
    /// Few connections and short runs: shows that nothing is lost, says little about speed.
    #[arg(long, global = true)]
    pub(crate) quick: bool,
    /// The wire format that the clients speak.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) wire: Wire,
    /// Measure the server alone, without the bare loops beside it.
    #[arg(long, global = true)]
    pub(crate) alone: bool,
    /// The binary to start as the server [default: this one].
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    pub(crate) program: Option<PathBuf>,
}

impl Options {
    /// How often each measurement runs.
    pub(crate) fn repeat(&self) -> u32 {
        self.repeat.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// How long a run counts: as asked for, or `default` seconds, or short.
    pub(crate) fn measure(&self, default: u32) -> Duration {
        let seconds = self.seconds.unwrap_or(if self.quick { 1 } else { default });
        Duration::from_secs(seconds.into())
    }

    /// `full`, or `quick` in a quick run.
    pub(crate) fn size(&self, full: u32, quick: u32) -> u32 {
        if self.quick { full.min(quick) } else { full }
    }

    /// The processors of the server and of the load generator.
    ///
    /// One for the server's shard, so that what is measured is one core; the next for the load generator. More shards
    /// get as many as there are, and where that is all of them they share the load generator's.
    pub(crate) fn processors(&self, shards: u32) -> (Vec<usize>, Vec<usize>) {
        let all = ALL.get_or_init(proc::processors);
        let shards = (shards as usize).clamp(1, all.len().max(1));
        let server = all.iter().copied().take(shards).collect();
        let client = all
            .get(shards)
            .or(all.last())
            .copied()
            .into_iter()
            .collect();
        (server, client)
    }
}

/// Read before this process keeps itself to one of them.
static ALL: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
