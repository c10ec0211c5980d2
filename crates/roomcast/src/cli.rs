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
    /// Check the settings, and print what is in effect and where each value comes from. Where they name a Redis, say what
    /// Roomcast lacks there.
    Check(CheckArgs),
    /// Ask a running server whether it is alive: for containers, which have no curl.
    Healthcheck(HealthcheckArgs),
    /// Make a token that says who a client is, for trying.
    Token(TokenArgs),
    /// Look at running servers and act on them: nodes, rooms, members, users; kick, drain.
    Admin(crate::admin::AdminArgs),
    /// Publish to a room, with a key of the API.
    Pub(crate::shell::PubArgs),
    /// Follow a room: print what is said there.
    Sub(crate::shell::SubArgs),
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
    /// Keep rooms and sessions in: memory or redis [default: memory].
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// Serve the files of this folder, beside the server's own pages [default: none].
    #[arg(long = "static", value_name = "DIR")]
    static_dir: Option<String>,
    /// Keep what the engine memory has in this file, and read it at the next start [default: none].
    #[arg(long, value_name = "FILE")]
    snapshot: Option<String>,
    /// Where Redis is: redis://user:password@host:6379/0, rediss:// with TLS, unix:///path; may be given several times.
    #[arg(long, value_name = "URL")]
    redis: Vec<String>,
    /// What the URLs are: standalone, cluster, or sentinel:NAME with the name of the master [default: standalone].
    #[arg(long, value_name = "MODE")]
    redis_mode: Option<String>,
    /// Read the password of Redis from the first line of this file.
    #[arg(long, value_name = "FILE")]
    redis_password_file: Option<String>,
    /// Trust certificates that are signed by those in this file (PEM) [default: those that this machine trusts].
    #[arg(long, value_name = "FILE")]
    redis_ca: Option<String>,
    /// Speak TLS on the addresses of --listen, with the certificate in this file (PEM).
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// The private key of that certificate (PEM).
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Let other servers reach this one at this address, and talk to them from one to the other [default: over Redis].
    #[arg(long, value_name = "ADDR:PORT")]
    cluster_listen: Option<String>,
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
    /// Don't connect to Redis.
    #[arg(long, conflicts_with = "defaults")]
    pub(crate) offline: bool,
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

/// `roomcast token`
///
/// The token goes to standard output, alone. It is signed with the secret that the settings have
/// (auth.hs256_secret), or with a private key. docs/authentication.md says what tokens are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  roomcast token --user u7                                       everything is allowed, for an hour
  roomcast token --user u7 --name Ada --room chat:42 --ttl 5m    in one room, for five minutes
  roomcast token --user u7 --room 'chat:*' --allow join,history  to read along in all rooms of a kind
  roomcast token --user u7 --key private.pem                     with RS256, ES256 or EdDSA, as the key is

A client sends it as `token` of its hello, or in the header `Authorization: Bearer TOKEN` of its request.")]
pub(crate) struct TokenArgs {
    /// The user's id.
    #[arg(long, value_name = "ID")]
    pub(crate) user: String,
    /// The nickname where the client gives none.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Good in this room, in all of a kind (kind:*), or in all (*); may be given several times [default: all].
    #[arg(long)]
    pub(crate) room: Vec<String>,
    /// What is allowed there: join, publish, presence, history, with commas between them [default: all of these]; and
    /// direct, to send direct messages, which is allowed by default only where no room is named.
    #[arg(long, value_name = "RIGHTS", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// Good for so long: 90s, 5m, 1h, 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub(crate) ttl: Duration,
    /// Whom it is for (aud) [default: the first of auth.audience].
    #[arg(long, value_name = "AUD")]
    pub(crate) audience: Option<String>,
    /// Who has made it (iss) [default: the first of auth.issuer].
    #[arg(long, value_name = "ISS")]
    pub(crate) issuer: Option<String>,
    /// The id of its key (kid), where the server has a JWKS file.
    #[arg(long)]
    pub(crate) kid: Option<String>,
    /// Sign with this private key (PEM, PKCS #8) instead of the secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Read settings from this file [default: ./roomcast.toml, if it is there].
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// Set any key of the file; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value, help_heading = "Settings")]
    set: Vec<(String, String)>,
}

impl TokenArgs {
    /// The flags that set something.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            config: self.config.clone(),
            set: self.set.clone(),
            ..Settings::default()
        }
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
        if !self.redis.is_empty() {
            flag("--redis", "redis.urls", self.redis.clone());
        }
        let single = [
            ("--engine", "server.engine", &self.engine),
            ("--static", "server.static_dir", &self.static_dir),
            ("--snapshot", "memory.snapshot_path", &self.snapshot),
            ("--redis-mode", "redis.mode", &self.redis_mode),
            (
                "--redis-password-file",
                "redis.password_path",
                &self.redis_password_file,
            ),
            ("--redis-ca", "redis.ca_path", &self.redis_ca),
            (
                "--tls-certificate",
                "tls.certificate_path",
                &self.tls_certificate,
            ),
            ("--tls-key", "tls.key_path", &self.tls_key),
            ("--cluster-listen", "cluster.listen", &self.cluster_listen),
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

/// A time as in the settings.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time such as 90s, 5m, 1h or 7d".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match text.get(digits.len()..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit)
        .filter(|seconds| (1..=10 * 365 * 86_400).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "it is a second at least and ten years at most".to_owned())
}

fn after_help() -> String {
    let mut text = String::from(
        "\
Examples:
  roomcast                                        on this machine alone: open http://127.0.0.1:8080/
  roomcast --listen 0.0.0.0:8080 --public-demo    for every device in this network
  roomcast --set limits.max_message=16KiB         with one setting changed
  roomcast check --defaults > roomcast.toml       a file with every setting, to change
  roomcast check --redis redis://localhost        what Roomcast lacks at a Redis
  ROOMCAST_LOG_LEVEL=debug roomcast               a setting from the environment
  roomcast token --user u7 --room chat:42         a token that says who a client is
  roomcast admin --key-file admin.key rooms       which rooms are the busiest
  roomcast sub chat:42                            what is said in a room
  roomcast pub --key-file shop.key chat:42 hello  say something there

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

    /// The examples take them too, and read them without clap.
    #[test]
    fn every_flag_that_a_setting_names_is_one() {
        let command = Cli::command();
        let known: Vec<String> = command
            .get_arguments()
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .collect();
        let reference = roomcast_server::config::reference();
        let mut named = 0;
        for part in reference.split("Flag: `").skip(1) {
            let flag = part.split([' ', '`']).next().unwrap();
            assert!(known.iter().any(|known| known == flag), "{flag}");
            named += 1;
        }
        // And `--config`, `--set`.
        assert_eq!(
            known
                .iter()
                .filter(|it| !["--help", "--version"].contains(&&***it))
                .count(),
            named + 2
        );
    }
}
