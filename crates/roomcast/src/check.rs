//! `roomcast check`: the settings without the server, and the Redis that they name.

use std::io::Write;
use std::process::ExitCode;

use roomcast_engine::redis;
use roomcast_server::config::{self, Config, Loaded, Problems, exit};

use crate::cli::{CheckArgs, Settings};

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    if args.defaults {
        return print(&config::example());
    }
    let loaded = match load(&args.settings) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    for warning in &loaded.warnings {
        eprintln!("roomcast: {warning}");
    }
    let file = loaded
        .file
        .as_ref()
        .map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    eprintln!("roomcast: the settings are right ({file})");
    let printed = print(&loaded.report());
    if args.offline || loaded.config.redis.urls.is_empty() {
        return printed;
    }
    check_redis(&loaded)
}

/// Says what Roomcast lacks at the Redis of the settings, one line for each finding.
fn check_redis(loaded: &Loaded) -> ExitCode {
    let config = match loaded.config.redis.connection() {
        Ok(config) => config,
        Err((_, message)) => {
            eprintln!("roomcast: {message}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("roomcast: no event loop: {error}");
            return ExitCode::from(exit::FAILURE);
        }
    };
    let report = runtime.block_on(redis::check(&config));
    for finding in &report.findings {
        eprintln!("{finding}");
    }
    match report.is_usable() {
        true => ExitCode::from(exit::OK),
        false => ExitCode::from(exit::FAILURE),
    }
}

/// Reads the settings; what is wrong with them goes to standard error.
///
/// # Errors
/// The exit code that says so.
pub(crate) fn load(settings: &Settings) -> Result<Loaded, ExitCode> {
    Config::load(&settings.sources()).map_err(|problems| {
        eprintln!("{}", listed(&problems));
        ExitCode::from(exit::CONFIG)
    })
}

fn listed(problems: &Problems) -> String {
    let count = match problems.iter().count() {
        1 => "this is".to_owned(),
        count => format!("{count} things are"),
    };
    let mut text = format!("roomcast: {count} wrong with the settings:");
    for problem in problems.iter() {
        text.push_str(&format!("\n  {problem}"));
    }
    text
}

/// Not `print!`, which panics when the reader (`| head`) is gone.
pub(crate) fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(_) => ExitCode::from(exit::FAILURE),
    }
}
