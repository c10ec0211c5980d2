//! Copies of what this process has put into a lane of Redis, until it is sent: Redis may come back without it.

use std::collections::VecDeque;

use roomcast_core::store::StoreId;
use roomcast_engine::redis::Place;

use super::event::Event;

/// What waits in a lane, of what this process has put there.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The Redis whose places these are, and which has all of them.
    store: Option<StoreId>,
    events: VecDeque<(Place, Event)>,
}

impl Kept {
    /// The Redis that has all of them; `None`: none is known to.
    pub(super) fn store(&self) -> Option<StoreId> {
        self.store
    }

    /// It is at this place, behind all others.
    pub(super) fn add(&mut self, place: Place, event: Event) {
        self.events.push_back((place, event));
    }

    /// At this Redis all before this place is sent. Another one's places say nothing about these.
    pub(super) fn forget(&mut self, store: StoreId, done: Place) {
        if self.store != Some(store) {
            return;
        }
        while self.events.front().is_some_and(|(place, _)| *place < done) {
            self.events.pop_front();
        }
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }

    /// All of them, to be looked for at another Redis. Until they are put back, none is forgotten.
    pub(super) fn take(&mut self) -> VecDeque<(Place, Event)> {
        self.store = None;
        std::mem::take(&mut self.events)
    }

    /// They are back. With a Redis: it has all of them, at these places.
    pub(super) fn put(&mut self, store: Option<StoreId>, events: VecDeque<(Place, Event)>) {
        (self.store, self.events) = (store, events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn only_what_the_same_redis_has_sent_is_forgotten() {
        let (one, other) = (StoreId(1), StoreId(2));
        let event = || Event {
            unix_ms: 0,
            json: Bytes::from_static(b"{}"),
        };
        let mut kept = Kept::default();
        kept.put(Some(one), VecDeque::new());
        for at in [10, 20, 30] {
            kept.add(Place::at(at), event());
        }
        kept.forget(one, Place::at(20));
        kept.forget(other, Place::at(99));
        assert_eq!(kept.events.len(), 2, "that of before 20 is sent");
        let events = kept.take();
        kept.forget(one, Place::at(99));
        kept.put(Some(other), events);
        kept.forget(one, Place::at(99));
        assert_eq!((kept.store(), kept.events.len()), (Some(other), 2));
        kept.forget(other, Place::at(99));
        assert!(kept.events.is_empty());
    }
}
