//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use roomcast_server::config::{Flag, Sources, exit};

/// A self-hosted real-time server for multiplayer games and live apps.
///
/// Without a command it serves: clients connect to /ws, a page to try it out is at /. Without any settings it listens
/// on port 8080 of this machine alone.
#[derive(Debug, Parser)]
#[command(name = "roomcast", version, args_conflicts_with_subcommands = true)]
#[command(after_help = after_help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server, until SIGTERM or SIGINT (Ctrl-C); a second one ends it at once.
    Serve {
        #[command(flatten)]
        settings: Settings,
    },
    /// Check the settings, and print what is in effect and where each value comes from. Opens nothing.
    Check(CheckArgs),
    /// Ask a running server whether it is alive: for containers, which have no curl.
    Healthcheck(HealthcheckArgs),
    /// Measure a server: its memory, its speed, and whether it loses anything.
    #[cfg(target_os = "linux")]
    Bench(crate::bench::Args),
}

/// Flags that set something. They win over variables, which win over the file.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// Read settings from this file [default: ./roomcast.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    // Not a doc comment: rustdoc would take the IPv6 address for a link.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        help = "Listen on this address; may be given several times [default: 127.0.0.1:8080 and [::1]:8080]"
    )]
    listen: Vec<String>,
    /// Run so many event loops [default: one for each core that the process may use].
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// Let everybody in who can reach the server, from other machines too; nobody is asked who they are.
    #[arg(long)]
    public_demo: bool,
    /// Log from this level on: off, error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log as text or as json [default: text on a terminal, json else].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Set any key of the file, such as limits.max_rooms=8; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// `roomcast check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Print a roomcast.toml with every key, its meaning and its default instead.
    #[arg(long)]
    pub(crate) defaults: bool,
}

/// `roomcast healthcheck`
#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Ask whether it is ready for new clients (/readyz) rather than alive (/healthz).
    #[arg(long)]
    pub(crate) ready: bool,
    /// Wait so many seconds for the answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

impl HealthcheckArgs {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

impl Settings {
    /// The process's environment and usual file, with these flags over them.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = Sources::of_process();
        if let Some(config) = &self.config {
            sources.file = Some(config.clone());
        }
        let mut flag = |name: &str, key: &str, values: Vec<String>| {
            sources.flags.push(Flag {
                name: name.to_owned(),
                key: key.to_owned(),
                values,
            });
        };
        // The special flags come after --set and win over it: they are the plainer ones.
        for (key, value) in &self.set {
            flag("--set", key, vec![value.clone()]);
        }
        if !self.listen.is_empty() {
            flag("--listen", "server.listen", self.listen.clone());
        }
        if self.public_demo {
            flag(
                "--public-demo",
                "server.public_demo",
                vec!["true".to_owned()],
            );
        }
        let single = [
            ("--shards", "server.shards", &self.shards),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        for (name, key, value) in single {
            if let Some(value) = value {
                flag(name, key, vec![value.clone()]);
            }
        }
        sources
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write KEY=VALUE, such as limits.max_rooms=8".to_owned()),
    }
}

fn after_help() -> String {
    let mut text = String::from(
        "\
Examples:
  roomcast                                        on this machine alone: open http://127.0.0.1:8080/
  roomcast --listen 0.0.0.0:8080 --public-demo    for every device in this network
  roomcast --set limits.max_message=16KiB         with one setting changed
  roomcast check --defaults > roomcast.toml       a file with every setting, to change
  ROOMCAST_LOG_LEVEL=debug roomcast               a setting from the environment

Exit codes:
",
    );
    for (code, meaning) in exit::ALL {
        text.push_str(&format!("  {code:>2}  {meaning}\n"));
    }
    text.push_str("\nEvery setting is in docs/configuration.md.");
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let cli = Cli::try_parse_from([
            "roomcast",
            "--listen",
            "127.0.0.1:1",
            "--listen",
            "[::1]:2",
            "--set",
            "limits.burst = 7",
            "--shards",
            "2",
        ])
        .unwrap();
        let flags = cli.settings.sources().flags;
        let seen: Vec<(&str, &str, usize)> = flags
            .iter()
            .map(|flag| (&*flag.name, &*flag.key, flag.values.len()))
            .collect();
        assert_eq!(
            seen,
            [
                ("--set", "limits.burst", 1),
                ("--listen", "server.listen", 2),
                ("--shards", "server.shards", 1)
            ]
        );
    }
}
