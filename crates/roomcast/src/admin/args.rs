//! What `roomcast admin` takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::time;

/// `roomcast admin`
///
/// It asks the API of a running server, with a key of `[api_keys.NAME]`. A key that may look needs the right `read`; to put
/// somebody out, `moderate`; to listen to a room, `tail`; to end a server, `operate`. docs/api.md says more.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  roomcast admin --key-file admin.key nodes
  roomcast admin --key-file admin.key rooms --by slowest
  roomcast admin --key-file admin.key room chat:42 --tail
  roomcast admin --key-file admin.key kick chat:42 u7 --ban 1h
  roomcast admin --key-file admin.key --json user u7

ROOMCAST_ADMIN_URL, ROOMCAST_ADMIN_KEY_FILE and ROOMCAST_ADMIN_KEY stand for --url, --key-file and the key itself.")]
pub(crate) struct AdminArgs {
    /// Where the API is [default: http://127.0.0.1:8080].
    #[arg(long, value_name = "URL", global = true)]
    pub(super) url: Option<String>,
    /// Read the key from this file.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) key_file: Option<PathBuf>,
    /// Trust certificates that are signed by those in this file (PEM) [default: those that this machine trusts].
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) ca: Option<PathBuf>,
    /// Print what the API answers, as JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to look at, or what to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the servers, with what they count.
    Nodes,
    /// List rooms: the busiest, biggest or slowest ones, or by name.
    Rooms {
        /// What comes first.
        #[arg(long, value_enum, default_value_t = By::Busiest)]
        by: By,
        /// Only rooms of this kind.
        #[arg(long, default_value = "", hide_default_value = true)]
        kind: String,
        /// Only rooms whose names begin so; with --by name.
        #[arg(long, default_value = "", hide_default_value = true)]
        prefix: String,
        /// So many at most.
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// List a room's members and connections, and who lags and why; or listen to it.
    Room {
        /// Its name.
        room: String,
        /// Print what it tells its members, until Ctrl-C. The audit log says so.
        #[arg(long)]
        tail: bool,
    },
    /// List a user's sessions and connections; or send the user away.
    User {
        /// The user's id; of a client without a token, its client_id.
        user: String,
        /// End all sessions of the user, on all servers.
        #[arg(long)]
        disconnect: bool,
        /// Why, as the client is told.
        #[arg(
            long,
            requires = "disconnect",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
    },
    /// Put a user out of a room.
    Kick {
        /// The room's name.
        room: String,
        /// The user's id; of a client without a token, its client_id.
        user: String,
        /// And don't let the user in again for so long: 90s, 5m, 1h, 7d.
        #[arg(long, value_name = "TIME", value_parser = time)]
        ban: Option<Duration>,
    },
    /// End the server that answers, politely: its clients come back to others, its rooms are handed over.
    Drain {
        /// Only if this is the server that answers: its name, as `nodes` lists it.
        node: Option<String>,
        /// Wait until it has ended.
        #[arg(long)]
        wait: bool,
    },
}

/// What rooms are listed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum By {
    /// Messages a second, as that was lately.
    Busiest,
    /// Members.
    Biggest,
    /// Connections that lag.
    Slowest,
    /// Their names.
    Name,
}

impl By {
    pub(super) fn name(self) -> &'static str {
        match self {
            By::Busiest => "busiest",
            By::Biggest => "biggest",
            By::Slowest => "slowest",
            By::Name => "name",
        }
    }
}
