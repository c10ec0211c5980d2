//! The loops of one lane: from this process to the receiver, or by way of Redis.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roomcast_core::store::{Cause, StoreError, StoreId};
use roomcast_engine::redis::{Place, WebhookBounds, WebhookQueue};
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

/// Puts what waits in this process into Redis. What it has put there, and nobody has sent, it puts there again where another
/// Redis takes the place of the one that had it.
pub(super) async fn to_redis(
    hook: Arc<Hook>,
    queue: WebhookQueue,
    lane: usize,
    added: Arc<Notify>,
) {
    let mut changes = queue.changes();
    loop {
        let changed = async {
            if changes.changed().await.is_err() {
                // The engine has ended.
                std::future::pending().await
            }
        };
        let events = tokio::select! {
            events = hook.first(lane) => events,
            () = changed => Vec::new(),
        };
        let mut backoff = BACKOFF.0;
        while let Err(error) = give(&hook, &queue, lane, &events).await {
            tracing::debug!(?error, "Redis did not take events of a webhook");
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
        hook.forget(lane, events.len());
        added.notify_one();
    }
}

/// Gives Redis what it lacks of what it had, and then these.
async fn give(
    hook: &Hook,
    queue: &WebhookQueue,
    lane: usize,
    events: &[Event],
) -> Result<(), StoreError> {
    let Some(store) = queue.store(lane) else {
        // Where there is nothing to give, its return is a change.
        return match events.is_empty() {
            true => Ok(()),
            false => Err(StoreError::Again(Cause::Connection)),
        };
    };
    if hook.kept(lane).store() != Some(store) {
        give_again(hook, queue, lane, store).await?;
    }
    if events.is_empty() {
        return Ok(());
    }
    let new: Vec<_> = events.iter().map(|it| (None, &*it.json)).collect();
    let added = queue.add(lane, store, &new, bounds(hook)).await?;
    hook.stats.waiting[1].store(added.waiting, Ordering::Relaxed);
    let mut kept = hook.kept(lane);
    for (place, event) in added.places.iter().zip(events) {
        match place {
            Some(place) => kept.add(*place, event.clone()),
            None => hook.dropped(1),
        }
    }
    Ok(())
}

/// Gives a Redis what another one had. What it has of that stays where it is.
async fn give_again(
    hook: &Hook,
    queue: &WebhookQueue,
    lane: usize,
    store: StoreId,
) -> Result<(), StoreError> {
    let mut left = hook.kept(lane).take();
    let (mut there, mut lacking) = (VecDeque::with_capacity(left.len()), 0_u64);
    while !left.is_empty() {
        let mut bytes = 0;
        let fits = |(_, event): &&(Place, Event)| {
            let is_first = bytes == 0;
            bytes += event.json.len();
            is_first || bytes <= hook.settings.batch_bytes
        };
        let some = left.iter().take(hook.settings.batch_events as usize);
        let some: Vec<_> = some
            .take_while(fits)
            .map(|(place, it)| (Some(*place), &*it.json))
            .collect();
        let count = some.len();
        match queue.add(lane, store, &some, bounds(hook)).await {
            Ok(added) => {
                hook.stats.waiting[1].store(added.waiting, Ordering::Relaxed);
                for (place, (former, event)) in added.places.into_iter().zip(left.drain(..count)) {
                    lacking += u64::from(place != Some(former));
                    match place {
                        Some(place) => there.push_back((place, event)),
                        None => hook.dropped(1),
                    }
                }
            }
            Err(error) => {
                there.append(&mut left);
                hook.kept(lane).put(None, there);
                return Err(error);
            }
        }
    }
    hook.kept(lane).put(Some(store), there);
    if lacking > 0 {
        let webhook = &hook.settings.name;
        tracing::info!(
            webhook,
            lane,
            events = lacking,
            "Redis lacked events, and was given them again"
        );
    }
    Ok(())
}

fn bounds(hook: &Hook) -> WebhookBounds {
    let millis = u64::try_from(hook.settings.retry_for.as_millis()).unwrap_or(u64::MAX);
    WebhookBounds {
        events: hook.settings.queue_events,
        bytes: hook.settings.queue_bytes,
        ends_after: millis.saturating_add(SPARE).min(1 << 50),
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
    let mut sent = None;
    loop {
        let taken = match queue.take(lane, sent, lease, most).await {
            Ok(taken) => taken,
            Err(StoreError::Again(Cause::OtherStore)) if sent.is_some() => {
                // Another Redis may have it still. It is sent again: its receiver knows it by its id.
                sent = None;
                continue;
            }
            Err(error) => {
                tracing::debug!(?error, "Redis did not give events of a webhook");
                sleep(look).await;
                continue;
            }
        };
        sent = None;
        hook.stats.waiting[1].store(taken.waiting, Ordering::Relaxed);
        hook.kept(lane).forget(taken.store, taken.done);
        // Where nothing waits in any lane, whoever adds something sends it, or is gone.
        let is_over = taken.waiting == 0;
        if taken.events.is_empty() {
            tokio::select! {
                () = added.notified() => {}
                () = departed.next() => {}
                () = sleep(look), if !is_over => {}
            }
            continue;
        }
        let events = taken.events.iter().map(|(place, json)| Event {
            unix_ms: i64::try_from(place.unix_ms).unwrap_or(i64::MAX),
            json: json.clone().into(),
        });
        let events: Vec<Event> = events.collect();
        let batch = hook.batch(&events);
        if send_while_held(&hook, &queue, lane, lease, &batch).await {
            sent = taken.events.last().map(|(place, _)| (taken.store, *place));
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
