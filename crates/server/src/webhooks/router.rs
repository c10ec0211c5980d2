//! From facts to events, and to the webhooks that want them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use roomcast_core::Kinds;
use roomcast_core::fact::{Fact, What};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::event::{self, About, Event, Ids};
use super::hook::{Hook, LANES};
use super::intake::Intake;
use super::settings::EventType;
use crate::clock::Clock;
use crate::http::{HttpStats, RefusedBy};

/// Refused clients are told of so often, each time all of them at once: strangers can't flood a backend.
const REFUSALS: Duration = Duration::from_secs(1);

/// Facts are taken so far apart at least: what comes meanwhile goes with one request instead of hundreds, and the shards of
/// a small machine are not interrupted for each. The first after a pause is taken at once.
const GATHER: Duration = Duration::from_millis(10);

/// Makes events of facts, and gives each to the webhooks that want it.
pub(super) struct Router {
    pub(super) intake: Arc<Intake>,
    pub(super) hooks: Vec<Arc<Hook>>,
    pub(super) kinds: Arc<Kinds>,
    pub(super) clock: Clock,
    pub(super) http: Arc<HttpStats>,
    pub(super) ids: Ids,
    /// What was told of the counters of refused clients.
    pub(super) told: [u64; RefusedBy::ALL.len()],
    /// Facts that were dropped before they came here, as far as receivers will hear of it.
    pub(super) lost: u64,
    /// Clients that shards have refused since, by cause.
    pub(super) refused: BTreeMap<&'static str, u64>,
}

impl Router {
    /// Until the runtime ends.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(REFUSALS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let wants = |hook: &Arc<Hook>| hook.settings.wants(EventType::ConnectionRefused);
        let tells_refusals = self.hooks.iter().any(wants);
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = self.intake.changed() => {}
                _ = ticks.tick(), if tells_refusals => self.tell_refusals(),
            }
            sleep_until(next).await;
            next = Instant::now() + GATHER;
            let flushed = self.intake.take_flushed();
            for fact in self.intake.take() {
                self.tell(&fact);
            }
            let lost = self.intake.dropped() + self.intake.lost();
            let more = lost - std::mem::replace(&mut self.lost, lost);
            if more > 0 {
                self.hooks.iter().for_each(|hook| hook.missed(more));
            }
            for flushed in flushed {
                // Whoever asked may have stopped waiting.
                let _ = flushed.send(());
            }
        }
    }

    fn tell(&mut self, fact: &Fact) {
        if let What::Refused(code) = &fact.what {
            *self.refused.entry(code.as_str()).or_default() += 1;
            return;
        }
        let Some(event_type) = event::type_of(fact) else {
            return;
        };
        let kind = fact.room().map(|room| self.kinds.name_of(room));
        let lot = match &fact.what {
            What::Message { lot, .. } => *lot,
            _ => 0,
        };
        let mut made: Option<Event> = None;
        for hook in &self.hooks {
            let settings = &hook.settings;
            let is_about = match kind {
                Some(Some(kind)) => settings.is_about(kind),
                // A room whose kind is refused is none.
                Some(None) => false,
                None => true,
            };
            let is_drawn = event_type != EventType::Message || lot <= settings.lots();
            if !settings.wants(event_type) || !is_about || !is_drawn {
                continue;
            }
            if made.is_none() {
                made = event::of_fact(&mut self.ids, fact);
            }
            if let Some(event) = &made {
                hook.put(event::about(fact).lane(LANES), event.clone());
            }
        }
    }

    fn tell_refusals(&mut self) {
        for (cause, told) in RefusedBy::ALL.into_iter().zip(&mut self.told) {
            let counted = self.http.refused(cause);
            let count = counted - std::mem::replace(told, counted);
            if count > 0 {
                *self.refused.entry(cause.as_str()).or_default() += count;
            }
        }
        let now = self.clock.now().unix_ms;
        for (cause, count) in std::mem::take(&mut self.refused) {
            let Some(event) = event::of_refusals(&mut self.ids, now, cause, count) else {
                continue;
            };
            for hook in &self.hooks {
                if hook.settings.wants(EventType::ConnectionRefused) {
                    hook.put(About::Connections.lane(LANES), event.clone());
                }
            }
        }
    }
}
