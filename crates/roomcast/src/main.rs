//! The `roomcast` binary: serve, check, healthcheck, token, admin, pub, sub, bench.

mod admin;
#[cfg(target_os = "linux")]
mod bench;
mod check;
mod cli;
mod healthcheck;
mod serve;
mod shell;
mod token;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use roomcast_server::CountingAllocator;
use roomcast_server::config::exit;

use cli::{Cli, Command};

/// Counts what is in use, for `limits.memory`.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::from(exit::OK),
                _ => ExitCode::from(exit::USAGE),
            };
        }
    };
    match cli.command {
        None => serve::run(&cli.settings),
        Some(Command::Serve { settings }) => serve::run(&settings),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Healthcheck(args)) => healthcheck::run(&args),
        Some(Command::Token(args)) => token::run(args),
        Some(Command::Admin(args)) => admin::run(args),
        Some(Command::Pub(args)) => shell::publish(&args),
        Some(Command::Sub(args)) => shell::subscribe(args),
        #[cfg(target_os = "linux")]
        Some(Command::Bench(args)) => bench::run(args),
    }
}
