//! One webhook: what waits for its receiver in this process, and a request to it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use rand::TryRng as _;
use tokio::sync::Notify;

use super::event::Event;
use super::kept::Kept;
use super::secrets::Secrets;
use super::settings::WebhookSettings;
use super::stats::HookStats;
use crate::clock::{Clock, own_time};
use crate::outgoing::Outgoing;

/// Requests of a webhook under way at once. All about one room, or one session, is sent in one of these lanes, in its
/// order. The same number in all versions: lanes in Redis outlive a process.
pub(super) const LANES: usize = 4;
/// Before a request is sent again, at first and at most; each time twice as long, and up to half more or less.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// One webhook.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) settings: WebhookSettings,
    pub(super) secrets: std::sync::Arc<Secrets>,
    pub(super) outgoing: Outgoing,
    pub(super) clock: Clock,
    pub(super) stats: std::sync::Arc<HookStats>,
    lanes: [Lane; LANES],
    held: Mutex<Held>,
    /// Events that there was no room for, and of which the receiver does not know yet.
    untold: AtomicU64,
}

#[derive(Debug, Default)]
struct Lane {
    events: Mutex<VecDeque<Event>>,
    changed: Notify,
    kept: Mutex<Kept>,
}

/// What waits in this process.
#[derive(Debug, Default)]
struct Held {
    events: u64,
    bytes: u64,
}

/// The events of one request. It is the same each time that it is sent.
#[derive(Debug)]
pub(super) struct Batch {
    id: String,
    body: Bytes,
    pub(super) count: usize,
    /// When the first and the last of them happened, in milliseconds since the Unix epoch.
    times: (i64, i64),
    /// What it says was dropped.
    dropped: u64,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The receiver has it.
    Done,
    /// It was sent again for as long as the settings say.
    GivenUp,
}

impl Hook {
    pub(super) fn new(
        settings: WebhookSettings,
        secrets: std::sync::Arc<Secrets>,
        outgoing: Outgoing,
        clock: Clock,
    ) -> Hook {
        Hook {
            stats: std::sync::Arc::new(HookStats::new(&settings.name)),
            settings,
            secrets,
            outgoing,
            clock,
            lanes: Default::default(),
            held: Mutex::default(),
            untold: AtomicU64::new(0),
        }
    }

    /// Puts an event behind those that wait, if there is room for it.
    pub(super) fn put(&self, lane: usize, event: Event) {
        let bytes = event.json.len() as u64;
        let Some(lane) = self.lanes.get(lane) else {
            return;
        };
        {
            let mut held = lock(&self.held);
            if held.events >= self.settings.queue_events
                || held.bytes + bytes > self.settings.queue_bytes
            {
                drop(held);
                return self.dropped(1);
            }
            held.events += 1;
            held.bytes += bytes;
            self.stats.waiting[0].store(held.events, Ordering::Relaxed);
        }
        lock(&lane.events).push_back(event);
        lane.changed.notify_one();
    }

    /// There was no room for so many events.
    pub(super) fn dropped(&self, count: u64) {
        self.missed(count);
        self.stats.full.fetch_add(count, Ordering::Relaxed);
    }

    /// The receiver is to be told that it lacks so many events, or that it may.
    pub(super) fn missed(&self, count: u64) {
        self.untold.fetch_add(count, Ordering::Relaxed);
    }

    /// The first events of a lane; they stay there until they are forgotten. Waits until there are some.
    pub(super) async fn first(&self, lane: usize) -> Vec<Event> {
        let Some(lane) = self.lanes.get(lane) else {
            return std::future::pending().await;
        };
        loop {
            {
                let events = lock(&lane.events);
                if !events.is_empty() {
                    let mut bytes = 0;
                    let fits = |event: &&Event| {
                        let first = bytes == 0;
                        bytes += event.json.len();
                        first || bytes <= self.settings.batch_bytes
                    };
                    let most = self.settings.batch_events as usize;
                    return events.iter().take(most).take_while(fits).cloned().collect();
                }
            }
            lane.changed.notified().await;
        }
    }

    /// The first events of a lane are where they are to go.
    pub(super) fn forget(&self, lane: usize, count: usize) {
        let Some(lane) = self.lanes.get(lane) else {
            return;
        };
        let (mut events, mut held) = (lock(&lane.events), lock(&self.held));
        let count = count.min(events.len());
        for event in events.drain(..count) {
            held.events = held.events.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(event.json.len() as u64);
        }
        self.stats.waiting[0].store(held.events, Ordering::Relaxed);
        if events.is_empty() {
            *events = VecDeque::new();
        }
    }

    /// Copies of what this process has put into a lane of Redis.
    pub(super) fn kept(&self, lane: usize) -> MutexGuard<'_, Kept> {
        lock(&self.lanes[lane % LANES].kept)
    }

    /// Events that wait in this process.
    pub(super) fn waiting(&self) -> u64 {
        lock(&self.held).events
    }

    /// A request with these events.
    pub(super) fn batch(&self, events: &[Event]) -> Batch {
        let dropped = self.untold.swap(0, Ordering::Relaxed);
        let times = |event: Option<&Event>| event.map_or(0, |it| it.unix_ms);
        Batch {
            id: format!("msg_{:016x}{:016x}", random(), random()),
            body: super::event::body(events.iter().map(|it| &*it.json), dropped),
            count: events.len(),
            times: (times(events.first()), times(events.last())),
            dropped,
        }
    }

    /// Sends it until the receiver has it.
    pub(super) async fn send(&self, batch: &Batch) -> Sent {
        let mut backoff = BACKOFF.0;
        loop {
            let wait = match self.attempt(batch).await {
                Ok(()) => {
                    let late = self.clock.now().unix_ms.saturating_sub(batch.times.0);
                    self.stats.sent(batch.count as u64, late);
                    return Sent::Done;
                }
                Err(wait) => wait,
            };
            let age = self.clock.now().unix_ms.saturating_sub(batch.times.1);
            if u128::try_from(age).unwrap_or(0) >= self.settings.retry_for.as_millis() {
                self.stats.expired(batch.count as u64);
                self.untold
                    .fetch_add(batch.dropped + batch.count as u64, Ordering::Relaxed);
                return Sent::GivenUp;
            }
            // Who waits for the same receiver does not come back at once with all others.
            let part = f64::from((random() >> 32) as u32) / f64::from(u32::MAX);
            let jittered = backoff.mul_f64(0.5 + part);
            // A receiver may ask for more time, and not for none.
            let wait = wait.map_or(jittered, |asked| asked.max(jittered));
            tokio::time::sleep(wait.min(BACKOFF.1)).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// One request. If the receiver has not taken it: how long it asks to be left alone, if it does.
    async fn attempt(&self, batch: &Batch) -> Result<(), Option<Duration>> {
        // Receivers compare it with their own clocks, and not with Redis's.
        let unix_seconds = own_time().as_secs();
        let signature = self.secrets.sign(&batch.id, unix_seconds, &batch.body);
        let request = Request::post(&self.settings.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .header("webhook-id", &batch.id)
            .header("webhook-timestamp", unix_seconds)
            .header("webhook-signature", signature)
            .body(Full::new(batch.body.clone()));
        let sent = match request {
            Ok(request) => {
                let timeout = self.settings.timeout;
                self.outgoing.notify(request, timeout).await
            }
            Err(error) => Err(error.to_string()),
        };
        let (sentence, wait) = match sent {
            Ok(head) if head.status.is_success() => {
                self.stats.answered(true);
                if self.stats.recovered() {
                    tracing::info!(
                        webhook = self.settings.name,
                        "its receiver takes events again"
                    );
                }
                return Ok(());
            }
            Ok(head) => {
                let asks = head.status == StatusCode::TOO_MANY_REQUESTS
                    || head.status == StatusCode::SERVICE_UNAVAILABLE;
                let wait = head.headers.get(header::RETRY_AFTER).filter(|_| asks);
                let wait = wait.and_then(|it| it.to_str().ok()?.trim().parse().ok());
                let sentence = format!("it answers {}", head.status);
                (sentence, wait.map(Duration::from_secs))
            }
            Err(sentence) => (sentence, None),
        };
        self.stats.answered(false);
        if self.stats.failed() {
            tracing::warn!(
                webhook = self.settings.name,
                "its receiver does not take events: {sentence}. They wait, and are sent again"
            );
        }
        Err(wait)
    }

    /// A batch is not sent from here any more.
    pub(super) fn leave(&self, batch: &Batch) {
        self.untold.fetch_add(batch.dropped, Ordering::Relaxed);
    }
}

/// What requests say of their sender.
pub(crate) const USER_AGENT: &str = concat!("roomcast/", env!("CARGO_PKG_VERSION"));

/// Not a secret: two of them are not the same.
pub(crate) fn random() -> u64 {
    rand::rngs::SysRng.try_next_u64().unwrap_or_default()
}

/// A panic elsewhere leaves these as good as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn hook(change: impl FnOnce(&mut WebhookSettings)) -> Hook {
        let mut settings = WebhookSettings {
            name: "shop".to_owned(),
            ..WebhookSettings::default()
        };
        change(&mut settings);
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned().into();
        let secrets = Secrets::load("webhooks.shop".into(), &secret, "", Duration::ZERO).unwrap();
        let outgoing = Outgoing::new("").unwrap();
        Hook::new(settings, Arc::new(secrets), outgoing, Clock::start())
    }

    fn event(text: &str) -> Event {
        Event {
            unix_ms: 0,
            json: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_told_with_the_next_request() {
        let hook = hook(|it| {
            it.queue_events = 3;
            it.queue_bytes = 10;
        });
        for text in ["1111", "2222", "3333", "4"] {
            hook.put(0, event(text));
        }
        assert_eq!(hook.waiting(), 3, "four bytes more would not fit, one does");
        assert_eq!(hook.stats.full.load(Ordering::Relaxed), 1);
        let batch = hook.batch(&[event("{}")]);
        assert_eq!(&*batch.body, br#"{"events":[{}],"dropped":1}"#);
        let next = hook.batch(&[event("{}"), event("{}")]);
        assert_eq!(&*next.body, br#"{"events":[{},{}]}"#);
        hook.forget(0, 2);
        assert_eq!(hook.waiting(), 1);
        hook.put(1, event("55555"));
        assert_eq!(hook.waiting(), 2, "room is given back");
    }

    #[tokio::test]
    async fn a_request_has_as_many_events_as_fit_and_one_at_least() {
        let hook = hook(|it| {
            it.batch_events = 2;
            it.batch_bytes = 5;
        });
        for text in ["1234567", "1", "2", "3", "12345"] {
            hook.put(0, event(text));
        }
        let mut sizes = Vec::new();
        for _ in 0..4 {
            let count = hook.first(0).await.len();
            sizes.push(count);
            hook.forget(0, count);
        }
        assert_eq!(sizes, [1, 2, 1, 1], "of events and bytes");
    }
}
