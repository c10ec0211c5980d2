//! `roomcast serve`: the settings first, then the log, then the server.

use std::process::ExitCode;

use roomcast_server::Server;

use crate::check;
use crate::cli::Settings;

pub(crate) fn run(settings: &Settings) -> ExitCode {
    match check::load(settings) {
        Ok(loaded) => Server::builder().serve(loaded),
        Err(code) => code,
    }
}
