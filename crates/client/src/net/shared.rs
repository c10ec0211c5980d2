//! The session, and who waits for what it tells.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::queue::{Events, Feed, RoomEvent, queue};
use crate::error::{Error, code};
use crate::message::Position;
use crate::session::{Event, HistoryPage, MembersPage, Receipt, Session, Status, Ticket};

type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// Who waits for the answer that a ticket names.
pub(super) enum Waiter {
    Sent(Answer<Receipt>),
    History(Answer<HistoryPage>),
    Members(Answer<MembersPage>),
}

/// A room's subscribers and joins.
#[derive(Default)]
pub(super) struct Hub {
    /// Handles that want to be in the room.
    pub(super) joins: usize,
    /// Counts the stays: a join of one before is no join any more.
    pub(super) stay: u64,
    pub(super) joining: Vec<Answer<bool>>,
    /// Who waits until the room is left.
    leaving: Vec<oneshot::Sender<()>>,
    feeds: Vec<Feed>,
}

impl Hub {
    fn tell(&mut self, event: &RoomEvent) {
        self.feeds.retain(Feed::is_read);
        for feed in &self.feeds {
            feed.push(event.clone());
        }
    }

    /// The room is wanted again, or left: nobody waits for that any more.
    pub(super) fn stop_leaving(&mut self) {
        for waiter in self.leaving.drain(..) {
            let _ = waiter.send(());
        }
    }

    /// All joins are over.
    pub(super) fn end(&mut self, error: &Error) {
        self.joins = 0;
        self.stay += 1;
        for waiter in self.joining.drain(..) {
            let _ = waiter.send(Err(error.clone()));
        }
    }
}

pub(super) struct State {
    pub(super) session: Session,
    pub(super) waiters: HashMap<Ticket, Waiter>,
    pub(super) hubs: HashMap<Arc<str>, Hub>,
    direct: Hub,
    /// The token ends soon.
    pub(super) token_wanted: bool,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// There may be something for the driver to do.
    pub(super) bell: Notify,
    pub(super) status: watch::Sender<Status>,
    started: Instant,
    queue_bytes: usize,
}

impl Shared {
    pub(super) fn new(session: Session, queue_bytes: usize) -> Shared {
        Shared {
            status: watch::Sender::new(session.status().clone()),
            state: Mutex::new(State {
                session,
                waiters: HashMap::new(),
                hubs: HashMap::new(),
                direct: Hub::default(),
                token_wanted: false,
            }),
            bell: Notify::new(),
            started: Instant::now(),
            queue_bytes,
        }
    }

    /// Milliseconds of the session's clock.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn instant(&self, at: u64) -> Instant {
        // Far enough off for any timer, and in range of the clock.
        let at = std::time::Duration::from_millis(at.min(self.now().saturating_add(86_400_000)));
        self.started + at
    }

    /// Looks, and changes nothing.
    pub(super) fn peek<T>(&self, look: impl FnOnce(&Session) -> T) -> T {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        look(&state.session)
    }

    /// Does something, passes on what came of it, and wakes the driver.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State, u64) -> T) -> T {
        let result = self.drive(act);
        self.bell.notify_one();
        result
    }

    /// The same, by the driver itself.
    pub(super) fn drive<T>(&self, act: impl FnOnce(&mut State, u64) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let result = act(&mut state, now);
        while let Some(event) = state.session.poll_event() {
            self.pass_on(&mut state, event);
        }
        result
    }

    /// The room's events from now on; without a room direct messages.
    pub(super) fn subscribe(&self, room: Option<&str>) -> Events {
        let (feed, events) = queue(self.queue_bytes);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(state.session.status(), Status::Closed(_)) {
            return events;
        }
        let hub = match room {
            None => &mut state.direct,
            Some(room) => state.hubs.entry(room.into()).or_default(),
        };
        hub.feeds.retain(Feed::is_read);
        hub.feeds.push(feed);
        events
    }

    fn pass_on(&self, state: &mut State, event: Event) {
        match event {
            Event::Status(status) => {
                if let Status::Closed(error) = &status {
                    state.close(error);
                }
                self.status.send_replace(status);
            }
            Event::Joined { room, recovered } => {
                let hub = state.hubs.entry(room).or_default();
                hub.tell(&RoomEvent::Joined { recovered });
                for waiter in hub.joining.drain(..) {
                    let _ = waiter.send(Ok(recovered));
                }
            }
            Event::Left { room, error } => state.left(room, error),
            Event::Message { room, message } => {
                state.tell(Some(&*room), &RoomEvent::Message(message));
            }
            Event::Direct(message) => state.tell(None, &RoomEvent::Message(message)),
            Event::Gap { room, since, now } => {
                state.tell(room.as_deref(), &RoomEvent::Gap { since, now });
            }
            Event::Members { room } => state.tell(Some(&*room), &RoomEvent::Members),
            Event::Sync { room, sync } => state.tell(Some(&*room), &RoomEvent::Sync(sync)),
            Event::Refused {
                room: Some(room),
                request,
                error,
            } => state.tell(Some(&*room), &RoomEvent::Refused { request, error }),
            Event::Settled { ticket, result } => {
                if let Some(Waiter::Sent(waiter)) = state.waiters.remove(&ticket) {
                    let _ = waiter.send(result);
                }
            }
            Event::History { ticket, result } => {
                if let Some(Waiter::History(waiter)) = state.waiters.remove(&ticket) {
                    let _ = waiter.send(result);
                }
            }
            Event::MembersPage { ticket, result } => {
                if let Some(Waiter::Members(waiter)) = state.waiters.remove(&ticket) {
                    let _ = waiter.send(result);
                }
            }
            Event::TokenEnds => state.token_wanted = true,
            Event::Unreadable(_) => state.tell_all_of_a_gap(),
            // Of a token, of whose end the close code tells.
            Event::Refused { room: None, .. } => {}
        }
    }
}

impl State {
    /// `done` is told, or dropped, when no leave of the room is under way.
    pub(super) fn when_left(&mut self, room: &Arc<str>, done: oneshot::Sender<()>) {
        if self.session.is_leaving(room)
            && let Some(hub) = self.hubs.get_mut(room)
        {
            hub.leaving.push(done);
        }
    }

    fn tell(&mut self, room: Option<&str>, event: &RoomEvent) {
        match room {
            None => self.direct.tell(event),
            Some(room) => {
                if let Some(hub) = self.hubs.get_mut(room) {
                    hub.tell(event);
                }
            }
        }
    }

    /// What could not be read was of one of them.
    fn tell_all_of_a_gap(&mut self) {
        let gap = |place: Option<&Position>| RoomEvent::Gap {
            since: place.cloned(),
            now: place.cloned().unwrap_or_default(),
        };
        for (room, hub) in &mut self.hubs {
            hub.tell(&gap(self.session.position(room)));
        }
        self.direct.tell(&gap(self.session.inbox()));
    }

    fn left(&mut self, room: Arc<str>, error: Option<Error>) {
        // An answer to a leave may come when the room is wanted again.
        let is_joined = self.session.members(&room).is_some();
        let Some(hub) = self.hubs.get_mut(&room) else {
            return;
        };
        if !is_joined {
            let over = Error::new(code::LEFT, "the room was left");
            hub.end(error.as_ref().unwrap_or(&over));
        }
        hub.tell(&RoomEvent::Left(error));
        hub.stop_leaving();
        if hub.joins == 0 && hub.feeds.is_empty() {
            self.hubs.remove(&room);
        }
    }

    /// Streams end, and nobody waits any more.
    fn close(&mut self, error: &Error) {
        for (_, mut hub) in self.hubs.drain() {
            hub.end(error);
        }
        self.direct = Hub::default();
    }
}
