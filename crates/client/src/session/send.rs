//! What the application asks for.

use std::borrow::Cow;

use roomcast_protocol::{HistoryRequest, Incoming, Limits, MembersRequest, Request, names};
use serde_json::{Map, Value};

use super::connection::Phase;
use super::event::{Event, SendOptions, Ticket};
use super::membership::{invalid, not_joined};
use super::outbox::Entry;
use super::room::Room;
use super::{Key, Session, Timer};
use crate::error::{Error, code};
use crate::message::{Action, Payload, Publish, Recipient};

/// What a message takes of the outbox beside its payload.
const OVERHEAD: usize = 128;

/// A page that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) ticket: u64,
    pub(super) page: Page,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Page {
    History(HistoryRequest),
    Members(MembersRequest),
}

impl Session {
    /// Sends a message to a room that is joined or about to be: [`Event::Settled`] says what became of it.
    ///
    /// # Errors
    /// `not_joined`: [`join`](Session::join) comes first; `outbox_full`; `closed`; a name that can't be one; `too_large`.
    pub fn send(
        &mut self,
        now: u64,
        room: &str,
        publish: Publish,
        options: SendOptions,
    ) -> Result<Ticket, Error> {
        self.tick(now);
        self.check_open()?;
        let known = self.rooms.get_key_value(room);
        let Some((name, _)) = known.filter(|(_, room)| room.joined_by_app) else {
            return Err(not_joined());
        };
        let key = Some(name.clone());
        self.enqueue(key, None, publish, options)
    }

    /// Sends a direct message. They are numbered together, whomever they are for, and wait for each other.
    ///
    /// # Errors
    /// As [`send`](Session::send).
    pub fn direct(
        &mut self,
        now: u64,
        to: Recipient,
        publish: Publish,
        options: SendOptions,
    ) -> Result<Ticket, Error> {
        self.tick(now);
        self.check_open()?;
        let (Recipient::Client(id) | Recipient::User(id)) = &to;
        names::validate_id(id, &Limits::OFF).map_err(|_| invalid("this is nobody's id"))?;
        self.enqueue(None, Some(to), publish, options)
    }

    fn enqueue(
        &mut self,
        key: Key,
        to: Option<Recipient>,
        publish: Publish,
        options: SendOptions,
    ) -> Result<Ticket, Error> {
        if let Publish::Event { name, .. } = &publish {
            check_event(name)?;
        }
        let size = publish.weight();
        let most = self.terms.limits.max_message;
        if most > 0 && size as u64 > most {
            return Err(too_large());
        }
        let weight = size + OVERHEAD;
        self.reserve(weight)?;
        let ticket = self.ticket();
        let expires_at = options
            .ttl_ms
            .map_or(u64::MAX, |ttl| self.now.saturating_add(ttl));
        let entry = Entry {
            ticket,
            seq: 0,
            publish,
            to,
            no_echo: options.no_echo,
            at_least_once: options.at_least_once,
            expires_at,
            weight,
            given_up: None,
            doubtful: false,
        };
        if let Some(stream) = self.stream(&key) {
            stream.push(entry);
        }
        if expires_at < u64::MAX {
            self.timers.insert((expires_at, Timer::Expire(ticket)));
        }
        self.owners.insert(ticket, key.clone());
        self.make_ready(&key);
        Ok(Ticket(ticket))
    }

    /// Gives up a message. Nothing happens to one that is settled. One that was never given to a connection fails with
    /// `aborted`; for another the server is asked, and [`Event::Settled`] tells.
    pub fn abort(&mut self, now: u64, ticket: Ticket) {
        self.tick(now);
        self.give_up(ticket.0, Error::new(code::ABORTED, "it was withdrawn"));
    }

    pub(super) fn expire(&mut self, ticket: u64) {
        self.give_up(
            ticket,
            Error::new(code::EXPIRED, "its time ran out before it was sent"),
        );
    }

    fn give_up(&mut self, ticket: u64, error: Error) {
        let Some(key) = self.owners.get(&ticket).cloned() else {
            return;
        };
        let Some(stream) = self.stream(&key) else {
            return;
        };
        match stream.give_up(ticket, error.clone()) {
            Some(entry) => self.settle(entry, Err(error)),
            None => self.make_ready(&key),
        }
    }

    /// Sends an action: now, or not at all. It has no answer unless it is refused, and is never sent again.
    ///
    /// # Errors
    /// `not_connected`, `not_joined`, `outbox_full`, `invalid_name`, `too_large`.
    pub fn action(&mut self, now: u64, room: &str, action: &Action) -> Result<(), Error> {
        self.tick(now);
        self.check_joined(room)?;
        check_event(&action.name)?;
        let json = action.to_json();
        let Some(action) = Action::as_wire(&json) else {
            return Err(Error::new("invalid_value", "a parameter is there twice"));
        };
        let message = Incoming::new(Request::GameAction(action)).in_room(room);
        self.push_volatile(&message)
    }

    /// Sends an event that is not logged: now, or not at all.
    ///
    /// # Errors
    /// As [`action`](Session::action).
    pub fn ephemeral(
        &mut self,
        now: u64,
        room: &str,
        name: &str,
        payload: &Payload,
        no_echo: Option<bool>,
    ) -> Result<(), Error> {
        self.tick(now);
        self.check_joined(room)?;
        check_event(name)?;
        let request = Request::Event {
            name: Cow::Borrowed(name),
            payload: payload.as_wire(),
        };
        let message = Incoming {
            ephemeral: true,
            no_echo,
            ..Incoming::new(request).in_room(room)
        };
        self.push_volatile(&message)
    }

    fn push_volatile(&mut self, message: &Incoming<'_>) -> Result<(), Error> {
        let message = self.encode(message);
        if self.is_too_large(&message) {
            return Err(too_large());
        }
        if self.volatile_bytes + message.len() > self.config.outbox_bytes {
            return Err(outbox_full());
        }
        self.volatile_bytes += message.len();
        self.volatile.push_back(message);
        Ok(())
    }

    /// Changes one's nickname in a room, also for later joins. After a reconnection it is told again where it did not
    /// arrive.
    ///
    /// # Errors
    /// `not_joined`; `invalid_name`.
    pub fn set_nickname(&mut self, now: u64, room: &str, nickname: &str) -> Result<(), Error> {
        self.tick(now);
        self.check_open()?;
        names::validate_nickname(nickname, &Limits::OFF)
            .map_err(|_| invalid("this is no nickname"))?;
        let known = self.rooms.get_key_value(room);
        let known = known.filter(|(_, room)| room.joined_by_app);
        let Some(name) = known.map(|(name, _)| name.clone()) else {
            return Err(not_joined());
        };
        if let Some(room) = self.rooms.get_mut(&name) {
            (room.nickname, room.renamed) = (Some(nickname.to_owned()), true);
            room.unsent.insert(String::new());
        }
        self.make_ready(&Some(name));
        Ok(())
    }

    /// Sets keys of one's own entry in a room, and removes those that are `null`; the others stay. Of several updates
    /// that wait, and after a reconnection, the newest value of each key is told.
    ///
    /// # Errors
    /// `not_joined`; `presence_too_large`: nothing is changed.
    pub fn presence(
        &mut self,
        now: u64,
        room: &str,
        keys: Map<String, Value>,
    ) -> Result<(), Error> {
        self.tick(now);
        self.check_open()?;
        let most = self.terms.limits.max_presence;
        let known = self.rooms.get_key_value(room);
        let Some((name, known)) = known.filter(|(_, room)| room.joined_by_app) else {
            return Err(not_joined());
        };
        let name = name.clone();
        let mut presence = known.presence.clone();
        presence.extend(keys.clone());
        let kept = presence.iter().filter(|(_, value)| !value.is_null());
        let kept: Map<String, Value> = kept.map(|(k, v)| (k.clone(), v.clone())).collect();
        if most > 0 && Value::Object(kept).to_string().len() as u64 > most {
            return Err(Error::new(
                "presence_too_large",
                "the presence would have too many bytes",
            ));
        }
        if let Some(room) = self.rooms.get_mut(&name) {
            room.presence = presence;
            room.unsent.extend(keys.into_iter().map(|(key, _)| key));
        }
        self.make_ready(&Some(name));
        Ok(())
    }

    /// Asks for a page of a room's events: [`Event::History`]. One page of a room is asked for at a time, the others
    /// wait.
    ///
    /// # Errors
    /// `not_joined`, `outbox_full`, `closed`.
    pub fn history(
        &mut self,
        now: u64,
        room: &str,
        request: HistoryRequest,
    ) -> Result<Ticket, Error> {
        self.ask(now, room, Page::History(request))
    }

    /// Asks for a page of a room's members, those with a number greater than `after`: [`Event::MembersPage`].
    ///
    /// # Errors
    /// As [`history`](Session::history).
    pub fn members_page(
        &mut self,
        now: u64,
        room: &str,
        after: u32,
        limit: u32,
    ) -> Result<Ticket, Error> {
        self.ask(now, room, Page::Members(MembersRequest { after, limit }))
    }

    fn ask(&mut self, now: u64, room: &str, page: Page) -> Result<Ticket, Error> {
        self.tick(now);
        self.check_open()?;
        if !self.rooms.get(room).is_some_and(|room| room.joined_by_app) {
            return Err(not_joined());
        }
        self.reserve(OVERHEAD)?;
        let ticket = self.ticket();
        let name: std::sync::Arc<str> = room.into();
        if let Some(room) = self.rooms.get_mut(&name) {
            room.asked.push_back(Asked { ticket, page });
        }
        self.make_ready(&Some(name));
        Ok(Ticket(ticket))
    }

    /// A page's end.
    pub(super) fn answer_page(&mut self, asked: Asked, error: Error) {
        self.free_page();
        let ticket = Ticket(asked.ticket);
        self.events.push_back(match asked.page {
            Page::History(_) => Event::History {
                ticket,
                result: Err(error),
            },
            Page::Members(_) => Event::MembersPage {
                ticket,
                result: Err(error),
            },
        });
    }

    pub(super) fn free_page(&mut self) {
        self.outbox = self.outbox.saturating_sub(OVERHEAD);
    }

    pub(super) fn fail_requests(&mut self, room: &mut Room, error: &Error) {
        room.asking = false;
        for asked in std::mem::take(&mut room.asked) {
            self.answer_page(asked, error.clone());
        }
    }

    fn ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    fn reserve(&mut self, weight: usize) -> Result<(), Error> {
        let after = self.outbox.saturating_add(weight);
        if after > self.config.outbox_bytes {
            return Err(outbox_full());
        }
        self.outbox = after;
        Ok(())
    }

    fn check_joined(&self, room: &str) -> Result<(), Error> {
        self.check_open()?;
        if !matches!(self.phase, Phase::Open) {
            return Err(Error::new(code::NOT_CONNECTED, "there is no connection"));
        }
        match self.rooms.get(room) {
            Some(room) if room.member => Ok(()),
            _ => Err(not_joined()),
        }
    }

    pub(super) fn is_too_large(&self, message: &[u8]) -> bool {
        let most = self.terms.limits.max_message;
        most > 0 && message.len() as u64 > most
    }
}

fn check_event(name: &str) -> Result<(), Error> {
    names::validate_event(name, &Limits::OFF)
        .map_err(|_| invalid("this can't be the name of an event or action"))
}

pub(super) fn too_large() -> Error {
    Error::new(code::TOO_LARGE, "the server takes no message of this size")
}

fn outbox_full() -> Error {
    Error::new(code::OUTBOX_FULL, "too many bytes wait to be sent")
}
