//! A room, as its user sees it.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use roomcast_protocol::HistoryRequest;
use roomcast_protocol::client::{Member, PlayerState};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::Handle;
use super::queue::Events;
use super::shared::{State, Waiter};
use crate::error::{Error, code};
use crate::message::{Action, Message, Payload, Position, Publish};
use crate::session::{
    HistoryPage, JoinOptions, MembersPage, Receipt, SendOptions, Session, Ticket,
};

/// A room of a [`Client`](super::Client). Clones, and handles of the same name, are the same room.
#[derive(Clone)]
pub struct Room {
    handle: Arc<Handle>,
    name: Arc<str>,
}

/// What is known of a room's members, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MembersSnapshot {
    /// Those that are known, by their number: all, where `total` is no greater.
    pub listed: BTreeMap<u32, Member>,
    /// How many there are.
    pub total: u64,
    /// One's own number.
    pub player_num: u32,
}

impl Room {
    pub(super) fn new(handle: Arc<Handle>, name: &str) -> Room {
        Room {
            handle,
            name: name.into(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happens in the room from now on: a stream made before [`join`](Room::join) misses nothing.
    pub fn events(&self) -> Events {
        self.handle.shared.subscribe(Some(&self.name))
    }

    /// Joins the room, now or when there is a connection, and again after each reconnection. True: all events since
    /// [`JoinOptions::since`] follow. Joins are counted: each wants its [`leave`](Room::leave).
    ///
    /// It begins at once; dropped before it is done, it is taken back.
    pub fn join(&self, options: JoinOptions) -> Joining {
        let (answer, receiver) = oneshot::channel();
        let stay = self.handle.shared.with(|state, now| {
            let result = state.session.join(now, &self.name, options);
            let joined = state.session.is_joined(&self.name);
            if let Err(error) = result {
                let _ = answer.send(Err(error));
                return None;
            }
            let hub = state.hubs.entry(self.name.clone()).or_default();
            hub.joins += 1;
            hub.stop_leaving();
            if joined {
                let _ = answer.send(Ok(true));
            } else {
                hub.joining.push(answer);
            }
            Some(hub.stay)
        });
        Joining {
            room: self.clone(),
            stay,
            receiver,
        }
    }

    /// Takes one [`join`](Room::join) back; with the last one the room is left, and what was not sent yet fails.
    ///
    /// It begins at once, awaited or not. Awaited, it is done when the server has answered: others have seen this one
    /// leave. Where there is no connection, a join is left or a new one begins, there is nothing to wait for.
    pub fn leave(&self) -> Leaving {
        let (done, receiver) = oneshot::channel();
        self.handle.shared.with(|state, now| {
            leave(state, now, &self.name, None);
            state.when_left(&self.name, done);
        });
        Leaving { receiver }
    }

    /// Sends a message: at once if it can be, and again after each reconnection until it has its answer. It is sent
    /// whether or not the result is awaited; dropping that withdraws nothing.
    pub fn send(&self, publish: Publish, options: SendOptions) -> Sending {
        Sending::start(&self.handle, |session, now| {
            session.send(now, &self.name, publish, options)
        })
    }

    /// Says something: [`send`](Room::send) of a chat.
    pub fn chat(&self, payload: impl Into<Payload>) -> Sending {
        self.send(Publish::Chat(payload.into()), SendOptions::default())
    }

    /// Sends an event of the application: [`send`](Room::send) of an event.
    pub fn event(&self, name: &str, payload: impl Into<Payload>) -> Sending {
        let publish = Publish::Event {
            name: name.to_owned(),
            payload: payload.into(),
        };
        self.send(publish, SendOptions::default())
    }

    /// Sends an event that is not logged: now, or not at all.
    ///
    /// # Errors
    /// `not_connected`, `not_joined`, `outbox_full`, `invalid_name`, `too_large`.
    pub fn ephemeral(&self, name: &str, payload: impl Into<Payload>) -> Result<(), Error> {
        let payload = payload.into();
        self.handle.shared.with(|state, now| {
            state
                .session
                .ephemeral(now, &self.name, name, &payload, None)
        })
    }

    /// Does something in a game: now, or not at all.
    ///
    /// # Errors
    /// As [`ephemeral`](Room::ephemeral).
    pub fn action(&self, action: &Action) -> Result<(), Error> {
        self.handle
            .shared
            .with(|state, now| state.session.action(now, &self.name, action))
    }

    /// Sets keys of one's own entry, and removes those that are `null`. Only the newest values are told.
    ///
    /// # Errors
    /// `not_joined`, `presence_too_large`.
    pub fn update_presence(&self, keys: Map<String, Value>) -> Result<(), Error> {
        self.handle
            .shared
            .with(|state, now| state.session.presence(now, &self.name, keys))
    }

    /// Changes one's nickname, also for later joins. A refusal, such as that of a room whose nicknames are those of
    /// tokens, is told as [`RoomEvent::Refused`](super::RoomEvent::Refused).
    ///
    /// # Errors
    /// `not_joined`, `invalid_name`.
    pub fn set_nickname(&self, nickname: &str) -> Result<(), Error> {
        let shared = &self.handle.shared;
        shared.with(|state, now| state.session.set_nickname(now, &self.name, nickname))
    }

    /// What is known of the members; `None`: the room is not joined.
    pub fn members(&self) -> Option<MembersSnapshot> {
        self.handle.shared.peek(|session| {
            let members = session.members(&self.name)?;
            Some(MembersSnapshot {
                listed: members.listed.clone(),
                total: members.total,
                player_num: members.player_num,
            })
        })
    }

    /// What the application says of the room: set by its backend. Empty where nothing was set, or the room is not joined.
    /// A change comes as the event `roomcast.properties`.
    pub fn properties(&self) -> Map<String, Value> {
        let properties = |session: &Session| session.properties(&self.name).cloned();
        self.handle.shared.peek(properties).unwrap_or_default()
    }

    /// The state of each player that the server owns, by `player_id`: all that was told, merged.
    pub fn state(&self) -> BTreeMap<String, PlayerState> {
        let state = |session: &Session| session.state(&self.name).cloned();
        self.handle.shared.peek(state).unwrap_or_default()
    }

    /// The last event received, by the client if not yet by its streams: to be stored, and passed as
    /// [`JoinOptions::since`] in another life. One who stores what was handled takes [`Message::position`].
    pub fn position(&self) -> Option<Position> {
        let position = |session: &Session| session.position(&self.name).cloned();
        self.handle.shared.peek(position)
    }

    /// A page of the room's members, those with a number greater than `after`.
    ///
    /// # Errors
    /// `not_joined`, `outbox_full`, `closed`, or what the server says.
    pub async fn members_page(&self, after: u32, limit: u32) -> Result<MembersPage, Error> {
        let (answer, receiver) = oneshot::channel();
        self.handle.shared.with(|state, now| {
            let ticket = state.session.members_page(now, &self.name, after, limit)?;
            state.waiters.insert(ticket, Waiter::Members(answer));
            Ok::<(), Error>(())
        })?;
        receiver.await.unwrap_or_else(|_| Err(closed()))
    }

    /// The room's events, page after page: from the newest backward, or with [`HistoryRequest::after`] forward.
    pub fn history(&self, request: HistoryRequest) -> History {
        History {
            room: self.clone(),
            request: Some(request),
            epoch: None,
            page: VecDeque::new(),
            asked: None,
        }
    }
}

/// Takes one join back, of this stay if one is named.
fn leave(state: &mut State, now: u64, name: &Arc<str>, stay: Option<u64>) {
    let Some(hub) = state.hubs.get_mut(name) else {
        return;
    };
    if hub.joins == 0 || stay.is_some_and(|stay| stay != hub.stay) {
        return;
    }
    hub.joins -= 1;
    if hub.joins == 0 {
        hub.end(&Error::new(code::LEFT, "the room was left"));
        // Not joined any more is what was wanted.
        let _ = state.session.leave(now, name);
    }
}

fn closed() -> Error {
    Error::new(code::CLOSED, "the client was closed")
}

/// A join under way.
#[must_use = "dropped, a join is taken back"]
pub struct Joining {
    room: Room,
    /// There is something to take back.
    stay: Option<u64>,
    receiver: oneshot::Receiver<Result<bool, Error>>,
}

impl Future for Joining {
    type Output = Result<bool, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(Pin::new(&mut self.receiver).poll(context));
        self.stay = None;
        Poll::Ready(result.unwrap_or_else(|_| Err(closed())))
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        if self.stay.is_some() {
            let (stay, name) = (self.stay, &self.room.name);
            self.room
                .handle
                .shared
                .with(|state, now| leave(state, now, name, stay));
        }
    }
}

/// A leave under way. Dropping it takes nothing back.
pub struct Leaving {
    receiver: oneshot::Receiver<()>,
}

impl Future for Leaving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Nobody is left to say so where there was nothing to wait for, or the client is closed.
        Pin::new(&mut self.receiver).poll(context).map(|_| ())
    }
}

/// A message under way: its answer, if it is awaited. Dropping it withdraws nothing.
pub struct Sending {
    handle: Arc<Handle>,
    ticket: Option<Ticket>,
    receiver: oneshot::Receiver<Result<Receipt, Error>>,
}

impl Sending {
    pub(super) fn start(
        handle: &Arc<Handle>,
        send: impl FnOnce(&mut Session, u64) -> Result<Ticket, Error>,
    ) -> Sending {
        let (answer, receiver) = oneshot::channel();
        let ticket = handle
            .shared
            .with(|state, now| match send(&mut state.session, now) {
                Ok(ticket) => {
                    state.waiters.insert(ticket, Waiter::Sent(answer));
                    Some(ticket)
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                    None
                }
            });
        Sending {
            handle: handle.clone(),
            ticket,
            receiver,
        }
    }

    /// Withdraws it. The answer says whether it was done all the same.
    pub fn abort(&self) {
        if let Some(ticket) = self.ticket {
            self.handle
                .shared
                .with(|state, now| state.session.abort(now, ticket));
        }
    }
}

impl Future for Sending {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(Pin::new(&mut self.receiver).poll(context));
        Poll::Ready(result.unwrap_or_else(|_| Err(closed())))
    }
}

/// A room's events of before, one after the other: a stream, which ends after an error.
pub struct History {
    room: Room,
    /// The next page; `None`: there are no more.
    request: Option<HistoryRequest>,
    epoch: Option<String>,
    page: VecDeque<Message>,
    asked: Option<oneshot::Receiver<Result<HistoryPage, Error>>>,
}

impl History {
    /// The next event; `None`: there are no more. Cancelled, it loses nothing.
    ///
    /// # Errors
    /// `not_joined`, `outbox_full`, `closed`, or what the server says; `gap`: the log is another one than that of the
    /// pages before. It is the end.
    pub async fn next(&mut self) -> Result<Option<Message>, Error> {
        std::future::poll_fn(|context| self.poll(context))
            .await
            .transpose()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            if let Some(message) = self.page.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            let Some(request) = self.request else {
                return Poll::Ready(None);
            };
            let result = match &mut self.asked {
                None => self.ask(request).map(|asked| self.asked = Some(asked)),
                Some(asked) => {
                    let page = std::task::ready!(Pin::new(asked).poll(context));
                    self.asked = None;
                    let page = page.unwrap_or_else(|_| Err(closed()));
                    page.and_then(|page| self.turn(request, page))
                }
            };
            if let Err(error) = result {
                self.request = None;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn turn(&mut self, request: HistoryRequest, page: HistoryPage) -> Result<(), Error> {
        // Offsets of another log say nothing of this one.
        if *self.epoch.get_or_insert_with(|| page.epoch.clone()) != page.epoch {
            return Err(Error::new(code::GAP, "the room has another log now"));
        }
        let next = match request.after {
            Some(_) => HistoryRequest {
                after: Some(page.next),
                ..request
            },
            None => HistoryRequest {
                before: page.next,
                ..request
            },
        };
        self.request = (page.next > 0).then_some(next);
        self.page = page.events.into();
        Ok(())
    }

    fn ask(
        &self,
        request: HistoryRequest,
    ) -> Result<oneshot::Receiver<Result<HistoryPage, Error>>, Error> {
        let (answer, receiver) = oneshot::channel();
        self.room.handle.shared.with(|state, now| {
            let ticket = state.session.history(now, &self.room.name, request)?;
            state.waiters.insert(ticket, Waiter::History(answer));
            Ok(receiver)
        })
    }
}

impl Stream for History {
    type Item = Result<Message, Error>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        self.get_mut().poll(context)
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Room").field(&self.name).finish()
    }
}
