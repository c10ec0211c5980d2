//! `roomcast pub` and `roomcast sub`: publish to a room, and follow one, from a shell.

mod http;
mod publish;
mod subscribe;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use roomcast_server::config::exit;

/// `roomcast pub`
///
/// It asks the API with a key of `[api_keys.NAME]` that has the right `publish`, and is no member of the room. Without a
/// message each line of standard input is one. For each message it prints the log's epoch and the message's offset.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roomcast pub --key-file shop.key chat:42 'hello'
  roomcast pub --key-file shop.key chat:42 --event shipped --json '{\"order\":7}' --once order-7-shipped
  tail -f log | roomcast pub --key-file shop.key logs

ROOMCAST_API_URL, ROOMCAST_API_KEY_FILE and ROOMCAST_API_KEY stand for --url, --key-file and the key itself.")]
pub(crate) struct PubArgs {
    /// The room.
    room: String,
    /// What is said [default: each line of standard input].
    message: Option<String>,
    /// An event of this name, not a chat.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// A message is JSON, not a text; and print each answer as JSON.
    #[arg(long)]
    json: bool,
    /// No log keeps it: who is not there misses it.
    #[arg(long)]
    ephemeral: bool,
    /// Whatever is asked again with this key is published once.
    #[arg(
        long,
        value_name = "KEY",
        requires = "message",
        conflicts_with = "ephemeral"
    )]
    once: Option<String>,
    /// Where the API is [default: http://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A file with the key.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Trust certificates that are signed by those in this file (PEM) [default: those that this machine trusts].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// `roomcast sub`
///
/// It joins the room as a client does, and prints what is said there, one line for each message, until it is interrupted.
/// When the connection is lost it comes back, and misses nothing that the room's log still has.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  roomcast sub chat:42
  roomcast sub chat:42 --json | jq .payload
  roomcast token --user me | roomcast sub chat:42 --token-file /dev/stdin --url wss://rooms.example.com
  roomcast sub chat:42 --count 1                 wait for one message

ROOMCAST_URL, ROOMCAST_TOKEN_FILE and ROOMCAST_TOKEN stand for --url, --token-file and the token itself.")]
pub(crate) struct SubArgs {
    /// The room.
    room: String,
    /// Print each message as JSON.
    #[arg(long)]
    json: bool,
    /// Begin behind this place in the room's log, as `pub` and `--json` name it.
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = subscribe::place)]
    since: Option<roomcast_client::Position>,
    /// End after so many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Who comes and goes, too.
    #[arg(long)]
    members: bool,
    /// What others call one.
    #[arg(long, value_name = "NAME")]
    nickname: Option<String>,
    /// A file with a token, where the server wants one.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Where the server is [default: ws://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Trust certificates that are signed by those in this file (PEM) [default: those that this machine trusts].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Why it ends, in a sentence; and whether the command line is to blame.
#[derive(Debug)]
struct Failure {
    sentence: String,
    usage: bool,
}

impl Failure {
    fn new(sentence: impl Into<String>) -> Failure {
        Failure {
            sentence: sentence.into(),
            usage: false,
        }
    }

    fn usage(sentence: impl Into<String>) -> Failure {
        Failure {
            usage: true,
            ..Failure::new(sentence)
        }
    }
}

pub(crate) fn publish(args: &PubArgs) -> ExitCode {
    ended(publish::run(args))
}

pub(crate) fn subscribe(args: SubArgs) -> ExitCode {
    ended(subscribe::run(args))
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(Failure { sentence, usage }) => {
            eprintln!("roomcast: {sentence}");
            ExitCode::from(if usage { exit::USAGE } else { exit::FAILURE })
        }
    }
}

/// A key or a token: from the file that is named, or that the variable `NAME_FILE` names, or else from the variable itself.
/// No flag has one, as everybody on the machine sees those.
fn secret(what: &str, file: Option<&Path>, name: &str) -> Result<Option<String>, Failure> {
    let file = file.map(Path::to_owned);
    let file = file.or_else(|| variable(&format!("{name}_FILE")).map(Into::into));
    let text = match file {
        Some(file) => std::fs::read_to_string(&file).map_err(|error| {
            let shown = file.display();
            Failure::usage(format!("cannot read the {what} in {shown}: {error}"))
        })?,
        None => match variable(name) {
            Some(text) => text,
            None => return Ok(None),
        },
    };
    let secret = text.trim();
    // Else it would be more than one line of a request.
    if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        let sentence = format!("the {what} is empty, or has characters that no {what} has");
        return Err(Failure::usage(sentence));
    }
    Ok(Some(secret.to_owned()))
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}
