//! A backend decides what is done: shards ask, and go on. One thread of its own sends questions, and gives answers back.

mod ask;
mod settings;
mod stats;

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use roomcast_core::Kinds;
use roomcast_core::authorize::{Asks, Decision, Inquiry};
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::config::Config;
use crate::error::ServerError;
use crate::files::watch;
use crate::mailbox::Mailboxes;
use crate::outgoing::Outgoing;
use crate::shard::Order;
use crate::webhooks::Secrets;
use ask::Table;
pub(crate) use settings::described;
pub use settings::{Asked, AuthorizeSettings, Silence};
pub(crate) use stats::{OUTCOMES, TableStats};

/// What is wrong with a table: the key, and a sentence.
pub(crate) fn problem(config: &Config, settings: &AuthorizeSettings) -> Option<(String, String)> {
    let table = format!("authorize.{}", settings.name);
    let wrong = |key: &str, sentence: String| Some((format!("{table}.{key}"), sentence));
    if settings.url.is_empty() {
        let sentence = format!(
            "{table} has no url: set it to where questions go, such as \"https://shop.example/allow\""
        );
        return wrong("url", sentence);
    }
    if settings.kinds.is_empty() {
        let sentence =
            format!("{table} has no kinds: name those that it decides about, such as [\"chat\"]");
        return wrong("kinds", sentence);
    }
    if settings.asks.is_empty() {
        let sentence = format!("{table} has no asks: name what it decides, such as [\"join\"]");
        return wrong("asks", sentence);
    }
    let others = config.authorize.iter();
    let mut others = others.take_while(|it| it.name != settings.name);
    let shared = |kind: &&String| settings.kinds.contains(kind);
    if let Some((other, kind)) = others.find_map(|it| Some((it, it.kinds.iter().find(shared)?))) {
        let sentence = format!(
            "{table}.kinds has {kind:?} in it, as authorize.{}.kinds has: one of them decides about a kind",
            other.name
        );
        return wrong("kinds", sentence);
    }
    if let Err(problem) = Outgoing::new(&settings.ca_path) {
        return wrong("ca_path", format!("{table}.ca_path = {problem}"));
    }
    secrets_of(config, settings).err()
}

fn secrets_of(config: &Config, settings: &AuthorizeSettings) -> Result<Secrets, (String, String)> {
    Secrets::load(
        format!("authorize.{}", settings.name),
        &settings.secret,
        &settings.secret_path,
        config.auth.reload_interval,
    )
}

/// What is asked about rooms of a kind.
pub(crate) fn asks_of(tables: &[AuthorizeSettings], kind: &str) -> Asks {
    let table = tables
        .iter()
        .find(|it| it.kinds.iter().any(|it| it == kind));
    table.map_or_else(Asks::default, |table| {
        let asks = |what| table.asks.contains(&what);
        Asks {
            joins: asks(Asked::Join),
            chats: asks(Asked::Chat),
            events: asks(Asked::Event),
            actions: asks(Asked::GameAction),
            timeout: u64::try_from(table.timeout.as_millis()).unwrap_or(u64::MAX),
            allows_silence: table.silence == Silence::Allow,
        }
    })
}

/// Where shards ask.
#[derive(Debug)]
pub(crate) struct Asker {
    tables: Vec<Arc<Table>>,
    kinds: Arc<Kinds>,
    mailboxes: Arc<Mailboxes>,
    runtime: Handle,
}

impl Asker {
    /// Asks for a shard. Waits for nothing: the shard is given what was decided.
    pub(crate) fn ask(self: &Arc<Asker>, shard: u16, inquiry: Inquiry) {
        let number = inquiry.number;
        let kind = self.kinds.name_of(&inquiry.room).unwrap_or_default();
        let mut tables = self.tables.iter();
        let table = tables.find(|it| it.settings.kinds.iter().any(|it| it == kind));
        let Some(table) = table else {
            return self.tell(shard, number, Decision::Silent);
        };
        let Some(permit) = table.permit() else {
            return self.tell(shard, number, Decision::Silent);
        };
        let (table, asker, kind) = (Arc::clone(table), Arc::clone(self), kind.to_owned());
        self.runtime.spawn(async move {
            let decision = table.ask(&kind, &inquiry).await;
            drop(permit);
            asker.tell(shard, number, decision);
        });
    }

    fn tell(&self, shard: u16, number: u32, decision: Decision) {
        if let Some(mailbox) = self.mailboxes.get(shard) {
            mailbox.order(Order::Decided { number, decision });
        }
    }
}

/// The running tables of a server. When they are dropped, they stop.
#[derive(Debug)]
pub(crate) struct Authorize {
    asker: Arc<Asker>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Authorize {
    /// Starts those that are configured.
    ///
    /// # Errors
    /// A secret or a certificate that can't be read, or the system gives no thread.
    pub(crate) fn start(
        config: &Config,
        kinds: &Arc<Kinds>,
        (mailboxes, clock): (&Arc<Mailboxes>, &Clock),
        hangup: bool,
    ) -> Result<Option<Authorize>, ServerError> {
        if config.authorize.is_empty() {
            return Ok(None);
        }
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut tables = Vec::new();
        for settings in &config.authorize {
            let secrets = secrets_of(config, settings).map_err(|(_, it)| ServerError::Keys(it))?;
            let secrets = Arc::new(secrets);
            let guard = runtime.enter();
            runtime.spawn(watch(Arc::clone(&secrets), hangup));
            drop(guard);
            let outgoing = Outgoing::new(&settings.ca_path).map_err(ServerError::Keys)?;
            let limits = &config.core.message;
            let table = Table::new(settings.clone(), secrets, outgoing, clock.clone(), limits);
            tables.push(Arc::new(table));
        }
        let asker = Arc::new(Asker {
            tables,
            kinds: Arc::clone(kinds),
            mailboxes: Arc::clone(mailboxes),
            runtime: runtime.handle().clone(),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("roomcast-ask".to_owned())
            .spawn(move || {
                // An error means that the sender is gone, which means stop as well.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Some(Authorize {
            asker,
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    /// Where shards ask.
    pub(crate) fn asker(&self) -> &Arc<Asker> {
        &self.asker
    }

    /// For the metrics.
    pub(crate) fn stats(&self) -> Vec<Arc<TableStats>> {
        let tables = self.asker.tables.iter();
        tables.map(|it| Arc::clone(&it.stats)).collect()
    }
}

impl Drop for Authorize {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and then has said so.
            let _ = thread.join();
        }
    }
}
