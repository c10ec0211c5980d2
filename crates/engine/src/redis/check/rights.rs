//! The rights that Roomcast needs at Redis: each is tried on a key and a channel of its own.

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::resp::Value;

/// What is tried, and where.
pub(super) struct Names {
    pub(super) key: String,
    pub(super) channel: String,
    /// Whether the pub/sub of a Cluster is used.
    pub(super) sharded: bool,
}

/// What a user of Redis has to be allowed, beside the keys and channels that begin with the prefix: `~PREFIX* &PREFIX*`.
/// The last three are for a Redis Cluster. With a database other than 0 it also needs `+select`.
pub const RIGHTS: &str = "+info +time +script|load +evalsha +exists +unlink +rename +persist +pexpire +pexpireat \
                          +pexpiretime +hset +hget +hmget +hgetall +hdel +xadd +xrange +xlen +xtrim +xdel +sadd +srem \
                          +smembers +scard +publish +subscribe +ping +cluster|slots +spublish +ssubscribe";

/// Commands that scripts and connections use, with arguments that do no harm. KEY and CHANNEL are replaced. They are in
/// such an order that each finds what it needs.
const COMMANDS: &[&[&str]] = &[
    &["INFO"],
    &["UNLINK", "KEY"],
    &["HSET", "KEY", "field", "1"],
    &["PEXPIRE", "KEY", "10000"],
    &["PERSIST", "KEY"],
    &["PEXPIREAT", "KEY", "99999999999999"],
    &["PEXPIRETIME", "KEY"],
    &["HGET", "KEY", "field"],
    &["HMGET", "KEY", "field"],
    &["HGETALL", "KEY"],
    &["HDEL", "KEY", "field"],
    &["EXISTS", "KEY"],
    &["XADD", "KEY:log", "1-0", "e", "1"],
    &["PEXPIRE", "KEY:log", "10000"],
    &["XRANGE", "KEY:log", "-", "+"],
    &["XLEN", "KEY:log"],
    &["XTRIM", "KEY:log", "MINID", "1"],
    &["XDEL", "KEY:log", "1-0"],
    &["RENAME", "KEY:log", "KEY:next"],
    &["SADD", "KEY:set", "1"],
    &["PEXPIRE", "KEY:set", "10000"],
    &["SMEMBERS", "KEY:set"],
    &["SCARD", "KEY:set"],
    &["SREM", "KEY:set", "1"],
    &["UNLINK", "KEY", "KEY:log", "KEY:next", "KEY:set"],
    &["TIME"],
    &["SCRIPT", "LOAD", "return 1"],
    // What `return 1` is called.
    &[
        "EVALSHA",
        "e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
        "1",
        "KEY",
    ],
];

const PUBSUB: &[&[&str]] = &[
    &["PING"],
    &["PUBLISH", "CHANNEL", ""],
    &["SUBSCRIBE", "CHANNEL"],
];

const SHARDED: &[&[&str]] = &[
    &["PING"],
    &["CLUSTER", "SLOTS"],
    &["SPUBLISH", "CHANNEL", ""],
    &["SSUBSCRIBE", "CHANNEL"],
];

/// Sentences about what the user may not do. The connection is subscribed afterwards, and of no other use.
pub(super) async fn lacking(
    connection: &mut Connection,
    names: &Names,
) -> Result<Vec<String>, Failure> {
    let others = match names.sharded {
        true => SHARDED,
        false => PUBSUB,
    };
    let mut problems = Vec::new();
    let mut forbidden = Vec::new();
    for command in COMMANDS.iter().chain(others) {
        let parts: Vec<String> = command
            .iter()
            .map(|part| {
                part.replace("KEY", &names.key)
                    .replace("CHANNEL", &names.channel)
            })
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let Value::Error(text) = connection.ask(&parts).await? else {
            continue;
        };
        match explain(&text, &parts, names) {
            Some(Lacking::Command(name)) if !forbidden.contains(&name) => forbidden.push(name),
            Some(Lacking::Other(problem)) if !problems.contains(&problem) => problems.push(problem),
            _ => {}
        }
    }
    if !forbidden.is_empty() {
        let rights: Vec<_> = forbidden
            .iter()
            .map(|name| format!("+{}", name.to_lowercase()))
            .collect();
        let (names, rights) = (forbidden.join(", ").replace('|', " "), rights.join(" "));
        problems.push(format!(
            "The user may not run these: {names}. Give it what it lacks: {rights}"
        ));
    }
    Ok(problems)
}

/// The command that somebody may not run, where an error is about that.
pub(super) fn forbidden(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("no permissions to run the '")?;
    Some(rest.split_once('\'')?.0)
}

/// What an error says that is lacking.
enum Lacking {
    /// A command, with its first argument behind `|` where that is a command of its own.
    Command(String),
    /// A sentence.
    Other(String),
}

/// `None`: the error is not about rights. It follows from one before.
fn explain(text: &str, parts: &[&str], names: &Names) -> Option<Lacking> {
    let name = match parts {
        [command @ ("SCRIPT" | "CLUSTER"), sub, ..] => format!("{command}|{sub}"),
        [command, ..] => (*command).to_owned(),
        [] => return None,
    };
    if text.starts_with("ERR unknown command") {
        let name = name.replace('|', " ");
        let problem =
            format!("It has no command {name}: it was renamed, or forbidden. Roomcast needs it.");
        return Some(Lacking::Other(problem));
    }
    if !text.starts_with("NOPERM") {
        return None;
    }
    let prefix = |name: &str| {
        name.split_once('{')
            .map_or(name, |(prefix, _)| prefix)
            .to_owned()
    };
    let (what, right) = match text {
        _ if text.contains("command") => return Some(Lacking::Command(name)),
        _ if text.contains("channel") => ("channels", format!("&{}*", prefix(&names.channel))),
        _ => ("keys", format!("~{}*", prefix(&names.key))),
    };
    let problem = format!("The user may not use the {what} of Roomcast. Give it the right {right}");
    Some(Lacking::Other(problem))
}
