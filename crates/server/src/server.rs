//! A server, and its start.

use std::fmt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use mio::{Poll, Waker};
use rand::TryRng as _;
use rand::rngs::SysRng;
use roomcast_core::node::{hidden, settings_text};
use roomcast_core::settings::Settings;
use roomcast_core::store::{NoStore, NodeId};
use roomcast_core::{Kinds, hash_key, session_key};

use crate::api::{self, Api, ApiStats, Operator};
use crate::auth::Authority;
use crate::authorize::{self, Authorize};
use crate::clock::Clock;
use crate::config::{Config, Engine as EngineSetting};
use crate::engine::Engine;
use crate::error::ServerError;
use crate::handover::Shards;
use crate::http::{Bound, Folder, Page, Services};
use crate::mailbox::{Mailbox, Mailboxes};
use crate::metrics::Registry;
use crate::outgoing::Outgoing;
use crate::running::{Event, RunningServer};
use crate::shard::{self, Node, Order, WAKER};
use crate::shutdown;
use crate::snapshot::Snapshots;
use crate::spans::{self, SpanStats};
use crate::streams::Streams;
use crate::tls::Acceptor;
use crate::webhooks::{self, Webhooks};

/// Most shards of a node: each has a queue to each other.
const MOST_SHARDS: u32 = 1_024;

/// A server that can be started. Made by [`Server::builder`].
pub struct Server {
    config: Config,
    kinds: Arc<Kinds>,
    pages: Vec<Page>,
}

impl Server {
    pub(crate) fn new(config: Config, kinds: Arc<Kinds>, pages: Vec<Page>) -> Server {
        Server {
            config,
            kinds,
            pages,
        }
    }

    /// Opens the listeners and starts the threads.
    ///
    /// # Errors
    /// An address could not be bound, or the system gives no threads.
    pub fn start(self) -> Result<RunningServer, ServerError> {
        let (sender, events) = mpsc::channel();
        self.start_with(sender, events, false)
    }

    fn start_with(
        self,
        sender: Sender<Event>,
        events: Receiver<Event>,
        hangup: bool,
    ) -> Result<RunningServer, ServerError> {
        let authority = Authority::load(&self.config.auth, &self.config.core.message)
            .map_err(ServerError::Keys)?;
        let keys_from = self.config.auth.fetches().then(|| {
            let outgoing = Outgoing::new(&self.config.auth.jwks_ca_path);
            outgoing.map_err(|it| ServerError::Keys(format!("auth.jwks_ca_path = {it}")))
        });
        let keys_from = keys_from.transpose()?;
        let tls =
            Acceptor::load(&self.config.tls).map_err(|(_, it)| ServerError::Certificate(it))?;
        let reload_interval = self.config.auth.reload_interval;
        let api_keys = api::Keys::load(&self.config.api_keys, reload_interval)
            .map_err(|problem| ServerError::Keys(problem.message))?;
        let folder = Folder::load(&self.config.server.static_dir)
            .map_err(|it| ServerError::StaticDir(format!("server.static_dir = {it}")))?;
        let clock = Clock::start();
        let snapshots = Snapshots::open(&self.config, &clock)?;
        let bound = Bound::bind(&self.config)?;
        let count = self.config.server.shards().clamp(1, MOST_SHARDS) as u16;
        let mut polls = Vec::new();
        let mut mailboxes = Vec::new();
        for _ in 0..count {
            let poll = Poll::new()?;
            mailboxes.push(Arc::new(Mailbox::new(
                Waker::new(poll.registry(), WAKER)?,
                count,
            )));
            polls.push(poll);
        }
        let mailboxes = Arc::new(Mailboxes::new(mailboxes));
        let known_key = snapshots.as_ref().and_then(Snapshots::session_key);
        let settings = with_session_key(&self.config, known_key)?;
        let engine = engine(
            &self.config,
            &self.kinds,
            &settings,
            clock.clone(),
            &mailboxes,
        )?;
        let name = match &engine {
            Some(engine) => engine.node(),
            None => SysRng.try_next_u64().map_err(std::io::Error::other)?,
        };
        let (streams, from_nodes) = Streams::new(
            NodeId(name),
            engine.is_none(),
            &settings.session_key,
            &mailboxes,
        );
        let name = format!("{name:016x}");
        let webhooks = Webhooks::start(
            &self.config,
            &self.kinds,
            &clock,
            bound.stats(),
            hangup,
            |name| {
                let engine = engine.as_ref()?;
                Some((engine.webhook_queue(name), engine.departed()))
            },
        )?;
        let authorize = Authorize::start(&self.config, &self.kinds, (&mailboxes, &clock), hangup)?;
        let span_stats = Arc::new(SpanStats::default());
        let (tracer, exporter) = spans::start(
            &self.config.tracing,
            reload_interval,
            &clock,
            &name,
            &span_stats,
        )
        .map_err(ServerError::Tracing)?
        .unzip();
        let node = Arc::new(Node {
            name: name.clone(),
            asker: authorize.as_ref().map(|it| Arc::clone(it.asker())),
            intake: webhooks.as_ref().map(|it| Arc::clone(it.intake())),
            hash_key: match &engine {
                Some(_) => hash_key(&settings.session_key),
                None => random_key()?,
            },
            settings: Arc::new(settings),
            kinds: Arc::clone(&self.kinds),
            batcher: self.config.batcher.clone(),
            clock: clock.clone(),
            tracer: tracer.clone(),
            desk: engine.as_ref().map(|engine| engine.desk().clone()),
            authority: authority.clone(),
            mailboxes: Arc::clone(&mailboxes),
            streams: Arc::clone(&streams),
        });
        let ends = sender.clone();
        let api_stats = Arc::new(ApiStats::default());
        let mut running = RunningServer {
            addresses: bound
                .addresses()
                .into_iter()
                .map(|(address, _)| address)
                .collect(),
            most_connections: bound.admission().most(),
            http: None,
            registry: Arc::new(Registry::new(
                &mailboxes,
                bound.stats(),
                bound.admission(),
                engine.as_ref().map(|it| Arc::clone(it.status())),
                (&api_stats, &streams),
                (
                    webhooks.as_ref().map(Webhooks::stats),
                    authorize.as_ref().map(Authorize::stats).unwrap_or_default(),
                    snapshots.as_ref().map(|it| Arc::clone(it.stats())),
                ),
                (&self.kinds, &span_stats),
            )),
            mailboxes: Arc::clone(&mailboxes),
            webhooks,
            _authorize: authorize,
            engine,
            snapshots,
            threads: Vec::new(),
            events,
            settings: self.config.shutdown.clone(),
        };
        for (poll, mailbox) in polls.into_iter().zip(mailboxes.iter()) {
            let sender = sender.clone();
            let ended = move |whole| {
                // The server may be gone already.
                let _ = sender.send(if whole {
                    Event::ShardEnded
                } else {
                    Event::ShardFailed
                });
            };
            let index = running.threads.len() as u16;
            let thread = match (&running.engine, &running.snapshots) {
                (None, None) => shard::spawn(index, poll, mailbox, &node, NoStore, ended),
                (None, Some(snapshots)) => {
                    mailbox.order(Order::View(snapshots.view().into()));
                    shard::spawn(index, poll, mailbox, &node, snapshots.store(), ended)
                }
                (Some(engine), _) => {
                    let store = engine.store(mailbox);
                    shard::spawn(index, poll, mailbox, &node, store, ended)
                }
            };
            running.threads.push(thread?);
        }
        let registry = Arc::clone(&running.registry);
        let api = Api::new(
            &self.config,
            Arc::new(api_keys),
            Arc::clone(&mailboxes),
            clock.clone(),
            api_stats,
            Operator {
                node: name,
                end: hangup.then(|| Mutex::new(ends)),
            },
            tracer,
        );
        let services = Services {
            shards: mailboxes as Arc<dyn Shards>,
            clock,
            metrics: Box::new(move || registry.render()),
            engine: running.engine.as_ref().map(|it| Arc::clone(it.status())),
            pages: self.pages,
            folder,
            authority,
            keys_from,
            tls,
            hangup,
            api,
            streams,
            from_nodes: Some(from_nodes),
            exporter,
        };
        running.http = Some(bound.serve(&self.config, services)?);
        Ok(running)
    }

    /// Serves until SIGTERM or SIGINT, and then ends in good order; a second signal ends the process at once, with
    /// 128 and the signal's number as its exit code. SIGHUP makes it read the files of keys and the certificate anew. `started` is called when the listeners are open.
    ///
    /// # Errors
    /// Why it did not start, or ended otherwise than by a signal.
    pub fn run(self, started: impl FnOnce(&RunningServer)) -> Result<(), ServerError> {
        let (sender, events) = mpsc::channel();
        // From here on a signal waits until somebody looks.
        let _signals = shutdown::Signals::install(sender.clone())?;
        let running = self.start_with(sender, events, true)?;
        started(&running);
        running.until_signal()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The way to Redis, where the settings ask for it.
fn engine(
    config: &Config,
    kinds: &Kinds,
    core: &Settings,
    clock: Clock,
    mailboxes: &Arc<Mailboxes>,
) -> Result<Option<Engine>, ServerError> {
    if config.server.engine == EngineSetting::Memory {
        return Ok(None);
    }
    if config.session_secret.expose().is_empty() {
        let message = "server.engine = \"redis\" needs a session.secret".to_owned();
        return Err(ServerError::Redis(message));
    }
    let redis = &config.redis;
    let connection = redis.connection();
    let connection = connection.map_err(|(_, message)| ServerError::Redis(message))?;
    let alike = settings_text([
        ("kinds", kinds.described()),
        ("redis.lease", redis.lease.to_string()),
        ("session.grace", core.session_grace.to_string()),
        (
            "webhooks",
            hidden(&core.session_key, &webhooks::described(&config.webhooks)),
        ),
        (
            "authorize",
            hidden(&core.session_key, &authorize::described(&config.authorize)),
        ),
    ]);
    let alike = (&core.session_key, alike);
    // The rest of the grace is for the way to another server.
    let cut_off_after = core.session_grace / 3;
    let cluster = (&config.cluster, cut_off_after);
    let engine = Engine::start(redis, cluster, connection, alike, clock, mailboxes)?;
    Ok(Some(engine))
}

/// Says which shard a name is at home on. Nobody outside may choose names that all share a shard.
fn random_key() -> Result<[u64; 2], ServerError> {
    let random = || SysRng.try_next_u64().map_err(std::io::Error::other);
    Ok([random()?, random()?])
}

/// The shards' settings with the key that resume tokens are signed with.
///
/// `known`: one that was drawn before, and signs what clients have.
fn with_session_key(config: &Config, known: Option<[u8; 32]>) -> Result<Settings, ServerError> {
    let mut settings = config.core.clone();
    settings.facts = webhooks::client_facts(&config.webhooks);
    settings.come_back_pace = match config.shutdown.pace {
        0 => 0,
        pace => (pace / config.server.shards()).max(1),
    };
    settings.session_key = if let Some(known) = known {
        known
    } else if config.session_secret.expose().is_empty() {
        let mut key = [0; 32];
        SysRng
            .try_fill_bytes(&mut key)
            .map_err(std::io::Error::other)?;
        key
    } else {
        session_key(config.session_secret.expose())
    };
    Ok(settings)
}
