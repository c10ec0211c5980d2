//! The loops of one lane: from this process to the receiver, or by way of Redis.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roomcast_engine::redis::{WebhookBounds, WebhookQueue};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::event::Event;
use super::hook::{Batch, Hook};
use crate::engine::Departed;

/// Before Redis is asked again that did not answer, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// What a process did not send is kept in Redis for so much longer than it would be sent again.
const SPARE: u64 = 24 * 3_600_000;

/// Sends what waits in this process.
pub(super) async fn from_memory(hook: Arc<Hook>, lane: usize) {
    loop {
        let events = hook.first(lane).await;
        let batch = hook.batch(&events);
        hook.send(&batch).await;
        hook.forget(lane, batch.count);
    }
}

/// Puts what waits in this process into Redis.
pub(super) async fn to_redis(
    hook: Arc<Hook>,
    queue: WebhookQueue,
    lane: usize,
    added: Arc<Notify>,
) {
    let millis = u64::try_from(hook.settings.retry_for.as_millis()).unwrap_or(u64::MAX);
    let bounds = WebhookBounds {
        events: hook.settings.queue_events,
        bytes: hook.settings.queue_bytes,
        ends_after: millis.saturating_add(SPARE).min(1 << 50),
    };
    let mut backoff = BACKOFF.0;
    loop {
        let events = hook.first(lane).await;
        let bytes: Vec<&[u8]> = events.iter().map(|it| &*it.json).collect();
        match queue.add(lane, &bytes, bounds).await {
            Ok((kept, waiting)) => {
                backoff = BACKOFF.0;
                hook.stats.waiting[1].store(waiting, Ordering::Relaxed);
                let refused = (events.len() as u64).saturating_sub(kept);
                if refused > 0 {
                    hook.dropped(refused);
                }
                hook.forget(lane, events.len());
                added.notify_one();
            }
            Err(error) => {
                tracing::debug!(?error, "Redis did not take events of a webhook");
                sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
    }
}

/// Sends what waits in Redis, of whichever node it is. Redis is asked when something was added here, when a node is gone, and
/// while something waits: where nothing does, it is not asked.
pub(super) async fn from_redis(
    hook: Arc<Hook>,
    queue: WebhookQueue,
    lane: usize,
    lease: u64,
    (added, mut departed): (Arc<Notify>, Departed),
) {
    // A node holds a lane for a lease, and takes it anew in time. If it is killed, another one goes on after that.
    let look = Duration::from_millis(lease);
    let most = (
        u64::from(hook.settings.batch_events),
        hook.settings.batch_bytes as u64,
    );
    let mut sent = String::new();
    loop {
        let taken = match queue.take(lane, &sent, lease, most).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(?error, "Redis did not give events of a webhook");
                sleep(look).await;
                continue;
            }
        };
        sent.clear();
        if let Some(taken) = &taken {
            hook.stats.waiting[1].store(taken.waiting, Ordering::Relaxed);
        }
        // Where nothing waits in any lane, whoever adds something sends it, or is gone.
        let is_over = taken.as_ref().is_some_and(|it| it.waiting == 0);
        let taken = taken.unwrap_or_default();
        if taken.events.is_empty() {
            tokio::select! {
                () = added.notified() => {}
                () = departed.next() => {}
                () = sleep(look), if !is_over => {}
            }
            continue;
        }
        let events = taken.events.iter().map(|(id, json)| Event {
            unix_ms: added_at(id),
            json: json.clone().into(),
        });
        let events: Vec<Event> = events.collect();
        let batch = hook.batch(&events);
        if send_while_held(&hook, &queue, lane, lease, &batch).await {
            let last = taken.events.last();
            sent = last.map(|(id, _)| id.clone()).unwrap_or_default();
        } else {
            hook.leave(&batch);
        }
    }
}

/// Whether the batch is done with. If not, another node has the lane by now.
async fn send_while_held(
    hook: &Hook,
    queue: &WebhookQueue,
    lane: usize,
    lease: u64,
    batch: &Batch,
) -> bool {
    let mut sending = pin!(hook.send(batch));
    loop {
        tokio::select! {
            _ = &mut sending => return true,
            () = sleep(Duration::from_millis(lease / 3)) => {}
        }
        // What is being sent goes on meanwhile. Without an answer the lane is asked for again.
        let mut holding = pin!(queue.hold(lane, lease));
        tokio::select! {
            _ = &mut sending => return true,
            held = &mut holding => {
                match held {
                    Ok(None) => return false,
                    Ok(Some(waiting)) => hook.stats.waiting[1].store(waiting, Ordering::Relaxed),
                    Err(_) => {}
                }
            }
        }
    }
}

/// The id of an entry begins with Redis's time in milliseconds.
fn added_at(id: &str) -> i64 {
    let millis = id.split_once('-').map_or(id, |(millis, _)| millis);
    millis.parse().unwrap_or(0)
}
