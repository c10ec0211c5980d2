//! Webhooks: an application's backend is told what happens.
//!
//! Shards leave facts at the [`Intake`], and go on. One thread of its own makes events of them, and sends them. With Redis
//! they wait there: a node that is killed leaves them to the others.

mod event;
mod hook;
mod intake;
mod kept;
mod router;
mod secrets;
mod send;
mod settings;
mod stats;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use roomcast_core::Kinds;
use roomcast_core::fact::{ClientFacts, RoomFacts};
use roomcast_engine::redis::WebhookQueue;
use tokio::runtime;
use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::config::Config;
use crate::engine::Departed;
use crate::error::ServerError;
use crate::files::watch;
use crate::http::{HttpStats, RefusedBy};
use crate::outgoing::{self, Outgoing};
use event::Ids;
use hook::{Hook, LANES};
pub(crate) use hook::{USER_AGENT, random};
pub(crate) use intake::Intake;
use router::Router;
pub(crate) use secrets::Secrets;
pub(crate) use settings::described;
pub use settings::{EventType, WebhookSettings};
pub(crate) use stats::HookStats;

/// How much the thread lets others go first, as `nice` counts: with 5 it has a quarter of a processor that a shard fills.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// What a URL that requests go to has to be.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    outgoing::read_url(text).map(drop)
}

/// What is wrong with a webhook: the key, and a sentence.
pub(crate) fn problem(config: &Config, settings: &WebhookSettings) -> Option<(String, String)> {
    let table = format!("webhooks.{}", settings.name);
    if settings.url.is_empty() {
        let message = format!(
            "{table} has no url: set it to where events go, such as \"https://shop.example/hooks\""
        );
        return Some((format!("{table}.url"), message));
    }
    if settings.events.is_empty() {
        let message = format!(
            "{table} has no events: name what is told, such as events = [\"room.opened\", \"room.emptied\"]"
        );
        return Some((format!("{table}.events"), message));
    }
    if let Err(wrong) = Outgoing::new(&settings.ca_path) {
        return Some((
            format!("{table}.ca_path"),
            format!("{table}.ca_path = {wrong}"),
        ));
    }
    secrets_of(config, settings).err()
}

fn secrets_of(config: &Config, settings: &WebhookSettings) -> Result<Secrets, (String, String)> {
    Secrets::load(
        format!("webhooks.{}", settings.name),
        &settings.secret,
        &settings.secret_path,
        config.auth.reload_interval,
    )
}

/// What all webhooks together are told of rooms of a kind.
pub(crate) fn facts_of(webhooks: &[WebhookSettings], kind: &str) -> RoomFacts {
    let mut facts = RoomFacts::default();
    for webhook in webhooks.iter().filter(|it| it.is_about(kind)) {
        let wants = |event| webhook.wants(event);
        facts.rooms |= wants(EventType::RoomOpened) || wants(EventType::RoomEmptied);
        facts.members |= wants(EventType::MemberJoined) || wants(EventType::MemberLeft);
        if wants(EventType::Message) {
            facts.messages = facts.messages.max(webhook.lots());
        }
    }
    facts
}

/// The same of clients.
pub(crate) fn client_facts(webhooks: &[WebhookSettings]) -> ClientFacts {
    let any = |event| webhooks.iter().any(|it| it.wants(event));
    ClientFacts {
        sessions: any(EventType::SessionBegan) || any(EventType::SessionEnded),
        refusals: any(EventType::ConnectionRefused),
    }
}

/// The running webhooks of a server. When they are dropped, they stop.
#[derive(Debug)]
pub(crate) struct Webhooks {
    intake: Arc<Intake>,
    hooks: Vec<Arc<Hook>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Webhooks {
    /// Starts those that are configured. `queue`: what keeps a webhook's events, where there is Redis, and what tells that a
    /// server is gone, which may have sent them.
    ///
    /// # Errors
    /// A secret or a certificate that can't be read, or the system gives no thread.
    pub(crate) fn start(
        config: &Config,
        kinds: &Arc<Kinds>,
        clock: &Clock,
        http: &Arc<HttpStats>,
        hangup: bool,
        queue: impl Fn(&str) -> Option<(WebhookQueue, Departed)>,
    ) -> Result<Option<Webhooks>, ServerError> {
        if config.webhooks.is_empty() {
            return Ok(None);
        }
        let mut hooks = Vec::new();
        for settings in &config.webhooks {
            let keys = |message: String| ServerError::Keys(message);
            let secrets = secrets_of(config, settings).map_err(|(_, it)| keys(it))?;
            let outgoing = Outgoing::new(&settings.ca_path).map_err(keys)?;
            let (settings, clock) = (settings.clone(), clock.clone());
            let hook = Hook::new(settings, Arc::new(secrets), outgoing, clock);
            hooks.push(Arc::new(hook));
        }
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let intake = Arc::new(Intake::default());
        let guard = runtime.enter();
        for hook in &hooks {
            runtime.spawn(watch(Arc::clone(&hook.secrets), hangup));
            let queue = queue(&hook.settings.name);
            for lane in 0..LANES {
                let hook = Arc::clone(hook);
                match &queue {
                    None => drop(runtime.spawn(send::from_memory(hook, lane))),
                    Some((queue, departed)) => {
                        let added = Arc::new(Notify::new());
                        let to = send::to_redis(
                            Arc::clone(&hook),
                            queue.clone(),
                            lane,
                            Arc::clone(&added),
                        );
                        runtime.spawn(to);
                        let lease = config.redis.lease.max(1);
                        let wakes = (added, departed.clone());
                        let from = send::from_redis(hook, queue.clone(), lane, lease, wakes);
                        runtime.spawn(from);
                    }
                }
            }
        }
        let router = Router {
            intake: Arc::clone(&intake),
            hooks: hooks.clone(),
            kinds: Arc::clone(kinds),
            clock: clock.clone(),
            http: Arc::clone(http),
            ids: Ids::new(hook::random()),
            told: [0; RefusedBy::ALL.len()],
            lost: 0,
            refused: BTreeMap::new(),
        };
        runtime.spawn(router.run());
        drop(guard);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("roomcast-hooks".to_owned())
            .spawn(move || {
                give_way();
                // An error means that the sender is gone, which means stop as well.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Some(Webhooks {
            intake,
            hooks,
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    /// Where shards leave facts.
    pub(crate) fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    pub(crate) fn stats(&self) -> WebhookStats {
        WebhookStats {
            intake: Arc::clone(&self.intake),
            hooks: self.hooks.iter().map(|it| Arc::clone(&it.stats)).collect(),
        }
    }

    /// Waits until receivers have what was left here, or Redis has it; but no longer than this.
    pub(crate) fn flush(&self, most: Duration) {
        let deadline = Instant::now() + most;
        // Without an answer there is nothing more to be done.
        let _ = self.intake.flush().recv_timeout(most);
        while self.hooks.iter().any(|it| it.waiting() > 0) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let left: u64 = self.hooks.iter().map(|it| it.waiting()).sum();
        if left > 0 {
            tracing::warn!(
                events = left,
                "events of webhooks are lost: nobody took them in time"
            );
        }
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and then has said so.
            let _ = thread.join();
        }
    }
}

/// Shards go before this thread where they share a processor: members feel a millisecond, a backend does not. A thread has
/// a priority of its own only on Linux.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "webhooks have the priority of shards");
    }
}

/// For the metrics.
#[derive(Debug)]
pub(crate) struct WebhookStats {
    intake: Arc<Intake>,
    pub(crate) hooks: Vec<Arc<HookStats>>,
}

impl WebhookStats {
    /// Facts that no event could be made of, as they came too fast.
    pub(crate) fn dropped(&self) -> u64 {
        self.intake.dropped()
    }

    /// Facts of rooms that were lost to another server before Redis had confirmed them.
    pub(crate) fn lost(&self) -> u64 {
        self.intake.lost()
    }
}
