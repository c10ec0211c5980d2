//! `roomcast serve`: the settings first, then the log, then the server.

use std::process::ExitCode;

use roomcast_server::config::exit;
use roomcast_server::log;

use crate::check;
use crate::cli::Settings;

pub(crate) fn run(settings: &Settings) -> ExitCode {
    let loaded = match check::load(settings) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(error) = log::init(&loaded.config.log) {
        eprintln!("roomcast: {error}");
        return ExitCode::from(exit::FAILURE);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    tracing::error!("there is no server in this build");
    ExitCode::from(exit::FAILURE)
}
