//! Putting a server together: settings, kinds, logic, pages.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use roomcast_core::settings::Kind;
use roomcast_core::{Kinds, LogicFactory, RoomLogic};

use crate::config::flags::{self, Asked};
use crate::config::{Config, Loaded, Sources, exit};
use crate::error::ServerError;
use crate::http::Page;
use crate::running::RunningServer;
use crate::server::Server;

/// Puts a [`Server`] together. Made by [`Server::builder`].
#[derive(Default)]
pub struct ServerBuilder {
    config: Option<Config>,
    kinds: Vec<Kind>,
    logic: BTreeMap<String, LogicFactory>,
    pages: Vec<(String, String, Vec<u8>)>,
}

impl Server {
    /// Puts a server together.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }
}

impl ServerBuilder {
    /// The settings. Without them the defaults hold, or in [`ServerBuilder::main`] those of the process.
    pub fn config(mut self, config: Config) -> ServerBuilder {
        self.config = Some(config);
        self
    }

    /// Adds a kind of room. Where the settings have a kind of that name too, theirs holds: whoever runs the server
    /// has the last word.
    pub fn kind(mut self, kind: Kind) -> ServerBuilder {
        self.kinds.push(kind);
        self
    }

    /// Gives the rooms of a kind their logic. `make` is called with the name of each room that comes into being.
    ///
    /// A kind that neither [`ServerBuilder::kind`] nor the settings have takes the settings of `default`.
    pub fn logic(
        mut self,
        kind: impl Into<String>,
        make: impl Fn(&str) -> Box<dyn RoomLogic> + Send + Sync + 'static,
    ) -> ServerBuilder {
        self.logic.insert(kind.into(), Arc::new(make));
        self
    }

    /// Serves a page, in place of the server's own one at that path. Content types are written in full:
    /// `text/html; charset=utf-8`. Where the server answers clients, backends and supervisors there can be none: `/ws`,
    /// `/sse`, `/send`, `/healthz`, `/readyz`, `/metrics`, and what is below `/api` and `/admin`.
    pub fn page(
        mut self,
        path: impl Into<String>,
        content_type: impl Into<String>,
        content: impl Into<Vec<u8>>,
    ) -> ServerBuilder {
        self.pages
            .push((path.into(), content_type.into(), content.into()));
        self
    }

    /// Checks what was given. Nothing is opened yet.
    ///
    /// # Errors
    /// A page whose path or content type can't be served.
    pub fn build(self) -> Result<Server, ServerError> {
        let config = self.config.unwrap_or_default();
        let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
        for kind in self.kinds.into_iter().chain(config.kinds.iter().cloned()) {
            kinds.insert(kind.name.clone(), kind);
        }
        let default = kinds.get("default").cloned().unwrap_or_default();
        for name in self
            .logic
            .keys()
            .filter(|name| !kinds.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
        {
            kinds.insert(
                name.clone(),
                Kind {
                    name,
                    ..default.clone()
                },
            );
        }
        let mut entries = Kinds::new(config.core.refuse_unknown_kinds);
        for (name, mut kind) in kinds {
            kind.asks = crate::authorize::asks_of(&config.authorize, &name);
            kind.facts = crate::webhooks::facts_of(&config.webhooks, &name);
            entries.insert(kind, self.logic.get(&name).cloned());
        }
        let page = |(path, content_type, content): (String, String, Vec<u8>)| {
            Page::new(&path, &content_type, content.into()).map_err(ServerError::Page)
        };
        let pages = self.pages.into_iter().map(page).collect::<Result<_, _>>()?;
        Ok(Server::new(config, Arc::new(entries), pages))
    }

    /// Everything that a program's `main` has to do: reads the settings where none were given (`roomcast.toml`,
    /// `ROOMCAST_…` variables, and the program's arguments, which are those of `roomcast serve`), sets up the log, says
    /// where it listens, and serves until SIGTERM or SIGINT. What is wrong goes to standard error; the exit codes are
    /// those of [`exit`].
    ///
    /// A program with arguments of its own reads its settings itself: see [`ServerBuilder::config`] and
    /// [`ServerBuilder::serve`].
    pub fn main(self) -> ExitCode {
        let sources = match self.config {
            Some(_) => Sources::default(),
            None => match of_command_line() {
                Ok(sources) => sources,
                Err(code) => return code,
            },
        };
        match Config::load(&sources) {
            Ok(mut loaded) => {
                if let Some(config) = &self.config {
                    loaded.config = config.clone();
                }
                self.serve(loaded)
            }
            Err(problems) => fail(&ServerError::Config(problems)),
        }
    }

    /// [`ServerBuilder::main`] with settings that were read already.
    pub fn serve(self, loaded: Loaded) -> ExitCode {
        // A program that embeds the server may have a log of its own.
        let _ = crate::log::init(&loaded.config.log);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let server = self.config(loaded.config.clone()).build();
        let announce = |running: &RunningServer| {
            loaded.announce(&running.local_addrs(), running.most_connections());
        };
        match server.and_then(|server| server.run(announce)) {
            Ok(()) => ExitCode::from(exit::OK),
            Err(error) => fail(&error),
        }
    }
}

/// The process's settings with what its arguments set, or how it is to end.
fn of_command_line() -> Result<Sources, ExitCode> {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    match flags::read(Sources::of_process(), arguments) {
        Ok(Asked::Serve(sources)) => Ok(*sources),
        Ok(Asked::Help) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = std::io::stdout().write_all(flags::help().as_bytes());
            Err(ExitCode::from(exit::OK))
        }
        Err(usage) => {
            eprintln!("roomcast: {usage}");
            Err(ExitCode::from(exit::USAGE))
        }
    }
}

fn fail(error: &ServerError) -> ExitCode {
    eprintln!("roomcast: {error}");
    ExitCode::from(error.exit_code())
}
