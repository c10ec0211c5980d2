//! What subscribers have not read yet.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use crate::error::Error;
use crate::message::{Content, Message, Position};
use roomcast_protocol::client::StateSync;

/// What happened in a room, in its order. Of direct messages there are [`Message`](RoomEvent::Message) and
/// [`Gap`](RoomEvent::Gap).
#[derive(Clone, Debug, PartialEq)]
pub enum RoomEvent {
    /// The room is joined, or joined again after a reconnection.
    Joined {
        /// All since the position that was asked for follows.
        recovered: bool,
    },
    /// An event: once, in order.
    Message(Message),
    /// Events may be missing: the log was gone, or this stream was not read and its queue full.
    Gap {
        /// The last event before.
        since: Option<Position>,
        /// What comes next is after this.
        now: Position,
    },
    /// The members have changed.
    Members,
    /// The state that the server owns.
    Sync(StateSync),
    /// Something without an answer of its own was refused: an action, an ephemeral event, presence.
    Refused {
        /// The type of the message.
        request: String,
        /// Why.
        error: Error,
    },
    /// The room is not joined any more; `None`: it was asked for.
    Left(Option<Error>),
}

impl RoomEvent {
    fn weight(&self) -> usize {
        let more = match self {
            RoomEvent::Message(message) => payload_len(&message.content),
            RoomEvent::Sync(sync) => sync.players.len() * 128,
            _ => 0,
        };
        size_of::<RoomEvent>() + more
    }
}

fn payload_len(content: &Content) -> usize {
    match content {
        Content::Chat(payload) | Content::Event { payload, .. } => payload.data().len(),
        Content::Action(action) => action
            .params
            .iter()
            .map(|(key, value)| key.len() + value.len() + 48)
            .sum(),
        Content::PlayerJoined(member) => member.presence.len(),
        Content::PlayerLeft { .. } => 0,
    }
}

#[derive(Default)]
struct Queue {
    items: VecDeque<RoomEvent>,
    bytes: usize,
    most: usize,
    /// The newest event's place.
    newest: Option<Position>,
    /// Since when and until when events were dropped.
    lost: Option<(Option<Position>, Option<Position>)>,
    /// After what was lost: whether the room is joined.
    last: Option<RoomEvent>,
    waker: Option<Waker>,
    ended: bool,
}

impl Queue {
    fn push(&mut self, event: RoomEvent) {
        let place = match &event {
            RoomEvent::Message(message) => message.position.clone(),
            RoomEvent::Gap { now, .. } => Some(now.clone()),
            _ => None,
        };
        let weight = event.weight();
        if self.lost.is_none() && self.bytes + weight > self.most && !self.items.is_empty() {
            self.lost = Some((self.newest.clone(), None));
        }
        self.newest = place.or(self.newest.take());
        match &mut self.lost {
            // Nothing may overtake what was dropped: it goes on when all was read.
            Some((_, until)) => {
                until.clone_from(&self.newest);
                if matches!(event, RoomEvent::Joined { .. } | RoomEvent::Left(_)) {
                    self.last = Some(event);
                }
            }
            None => {
                self.bytes += weight;
                self.items.push_back(event);
            }
        }
        self.wake();
    }

    fn pop(&mut self) -> Option<RoomEvent> {
        if let Some(event) = self.items.pop_front() {
            self.bytes -= event.weight().min(self.bytes);
            return Some(event);
        }
        let (since, now) = self.lost.take()?;
        if let Some(last) = self.last.take() {
            self.bytes += last.weight();
            self.items.push_back(last);
        }
        let now = now.unwrap_or_default();
        Some(RoomEvent::Gap { since, now })
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The events from the moment that it was made. A stream; dropping it ends it. It ends when the client is closed.
///
/// Up to [`ClientBuilder::queue_bytes`](crate::ClientBuilder::queue_bytes) wait to be read; then they are dropped, and
/// a [`RoomEvent::Gap`] says so.
pub struct Events(Arc<Mutex<Queue>>);

/// The other end of [`Events`].
pub(super) struct Feed(Arc<Mutex<Queue>>);

pub(super) fn queue(most: usize) -> (Feed, Events) {
    let queue = Arc::new(Mutex::new(Queue {
        most,
        ..Queue::default()
    }));
    (Feed(queue.clone()), Events(queue))
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    pub(super) fn push(&self, event: RoomEvent) {
        lock(&self.0).push(event);
    }

    /// Whether somebody may still read it.
    pub(super) fn is_read(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut queue = lock(&self.0);
        queue.ended = true;
        queue.wake();
    }
}

impl Events {
    /// The next one; `None`: the client is closed. Cancelled, it takes nothing.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = RoomEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<RoomEvent>> {
        let mut queue = lock(&self.0);
        match queue.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if queue.ended => Poll::Ready(None),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_tells_of_a_gap_and_goes_on() {
        let (feed, events) = queue(2 * size_of::<RoomEvent>());
        for recovered in [true, false, true] {
            feed.push(RoomEvent::Joined { recovered });
        }
        let mut queue = lock(&events.0);
        let read: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let gap = RoomEvent::Gap {
            since: None,
            now: Position::default(),
        };
        let joined = |recovered| RoomEvent::Joined { recovered };
        assert_eq!(read, [joined(true), joined(false), gap, joined(true)]);
    }
}
