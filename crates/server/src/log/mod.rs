//! The log: lines for people on a terminal, JSON else, on standard error.
//!
//! What can happen often is limited per cause: [`RateLimited`]. A payload or a secret never goes into a line.

mod limited;

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
pub use limited::{Admitted, RateLimited};

/// Sends what the program logs to standard error from now on, for the whole process.
///
/// # Errors
/// When the process has a subscriber already: a program that embeds the server may bring its own.
pub fn init(settings: &Log) -> Result<(), AlreadySet> {
    let targets = filter(&settings.level)
        .unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let registry = tracing_subscriber::registry().with(targets);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let set = if is_text(settings.format) {
        // NO_COLOR is honoured by the layer itself where colours are not asked for; so ask only on a terminal.
        let colours = std::io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        registry
            .with(lines.with_ansi(colours).with_target(false))
            .try_init()
    } else {
        registry
            .with(
                lines
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false),
            )
            .try_init()
    };
    set.map_err(|_| AlreadySet)
}

/// The process has a subscriber for its log already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadySet;

impl std::fmt::Display for AlreadySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the process has a subscriber for its log already")
    }
}

impl std::error::Error for AlreadySet {}

/// Whether lines are for people, with standard error as it is now.
pub fn is_text(format: LogFormat) -> bool {
    match format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    }
}

/// `info`, or `warn,roomcast_server=debug`. Nothing where a level is not known.
pub(crate) fn filter(text: &str) -> Option<Targets> {
    let known = |level: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|name| name.eq_ignore_ascii_case(level))
    };
    // `Targets` takes a word that is no level for a target with everything on: a typing mistake would log all there is.
    let right = text.split(',').all(|part| match part.split_once('=') {
        Some((target, level)) => !target.is_empty() && known(level),
        None => known(part),
    });
    if right { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_known_by_name_only() {
        for right in [
            "info",
            "OFF",
            "warn,roomcast_server=debug",
            "roomcast_core=trace",
        ] {
            assert!(filter(right).is_some(), "{right}");
        }
        for wrong in [
            "",
            "inof",
            "roomcast_core",
            "info,",
            "=info",
            "a=verbose",
            "1",
        ] {
            assert!(filter(wrong).is_none(), "{wrong}");
        }
    }
}
