//! Joining rooms and leaving them.

use std::borrow::Cow;
use std::sync::Arc;

use roomcast_protocol::client::Joined;
use roomcast_protocol::{
    Incoming, JoinRoom, Limits, MAX_EPOCH, MAX_NUMBER, PresenceUpdate, Request, mutated, names,
};

use super::connection::Phase;
use super::room::{Hold, Op, Room};
use super::{Event, JoinOptions, Session, Timer};
use crate::error::{Error, code};
use crate::message::Position;

/// Answers may come so long after the room was left.
const LAST_ANSWERS_MS: u64 = 1_000;

/// Messages that wait to be sent before those about rooms that nobody wants.
const MOST_CONTROL: usize = 256;

impl Session {
    /// Joins a room, now or when there is a connection, and again after each reconnection, until
    /// [`leave`](Session::leave). Answered by [`Event::Joined`] or [`Event::Left`]. For a room that is joined it only
    /// changes nickname, token and presence, and answers nothing.
    ///
    /// # Errors
    /// A name that can't be one, or the session is closed.
    pub fn join(&mut self, now: u64, room: &str, options: JoinOptions) -> Result<(), Error> {
        self.tick(now);
        self.check_open()?;
        let limits = Limits {
            max_name: self.terms.limits.max_name as usize,
            ..Limits::OFF
        };
        names::validate_room(room, &limits).map_err(|_| invalid("this is no room's name"))?;
        if let Some(nickname) = &options.nickname {
            names::validate_nickname(nickname, &Limits::OFF)
                .map_err(|_| invalid("this is no nickname"))?;
        }
        let placed = |since: &Position| {
            since.epoch.chars().count() <= MAX_EPOCH && since.offset <= MAX_NUMBER
        };
        if !options.since.as_ref().is_none_or(placed) {
            return Err(Error::new("invalid_value", "no server gave this position"));
        }
        let name: Arc<str> = room.into();
        let known = self.rooms.entry(name.clone());
        let next = self.requests.saturating_add(1);
        let known = known.or_insert_with(|| Room {
            first_id: next,
            ..Room::new(1)
        });
        if !known.joined_by_app {
            known.clear();
            known.joined_by_app = true;
            known.new_stay = true;
            known.leave_first = known.hold != Hold::No;
            known.retry_at = 0;
            known.log.set(options.since);
            known.presence = options.presence.into_iter().collect();
            known.presence.retain(|_, value| !value.is_null());
            known.nickname = options.nickname;
            known.token = options.token;
            self.step(&name);
            return Ok(());
        }
        known.nickname = options.nickname.or(known.nickname.take());
        known.token = options.token.or(known.token.take());
        if options.presence.is_empty() {
            return Ok(());
        }
        self.presence(now, room, options.presence)
    }

    /// Leaves a room. What was not yet given to a connection fails with `left`; what was keeps waiting for its answer,
    /// for a second after the room was left. Answered by [`Event::Left`], at once where there is no connection.
    ///
    /// # Errors
    /// The room is not joined.
    pub fn leave(&mut self, now: u64, room: &str) -> Result<(), Error> {
        self.tick(now);
        let Some((name, _)) = self
            .rooms
            .get_key_value(room)
            .filter(|(_, room)| room.joined_by_app)
        else {
            return Err(not_joined());
        };
        let name = name.clone();
        self.drop_room(&name, &Error::new(code::LEFT, "the room was left before"));
        if let Some(room) = self.rooms.get_mut(&name) {
            room.leaving = true;
        }
        self.step(&name);
        let open = matches!(self.phase, Phase::Open);
        match self.rooms.get_mut(&name) {
            Some(room) if !open || room.op == Op::None => self.told_left(&name),
            _ => {}
        }
        Ok(())
    }

    /// The application is not in the room any more.
    fn drop_room(&mut self, name: &Arc<str>, error: &Error) {
        let Some(mut room) = self.rooms.remove(name) else {
            return;
        };
        room.joined_by_app = false;
        room.member = false;
        room.clear();
        let mut unsent = room.stream.take_unsent();
        if !matches!(self.phase, Phase::Open) {
            unsent.append(&mut room.stream.take_numbered());
        }
        self.fail_requests(&mut room, error);
        self.rooms.insert(name.clone(), room);
        self.settle_all(unsent, |entry| match entry.seq {
            0 => error.clone(),
            _ => super::connection::unconfirmed(entry),
        });
    }

    fn told_left(&mut self, name: &Arc<str>) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        if std::mem::take(&mut room.leaving) {
            let room = name.clone();
            self.events.push_back(Event::Left { room, error: None });
        }
        self.rooms
            .retain(|known, room| known != name || !room.is_over());
    }

    /// The server has put this client out of a room, or did not let it in.
    pub(super) fn lose_room(&mut self, name: &Arc<str>, error: Error) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        (room.op, room.hold) = (Op::None, Hold::No);
        if !room.joined_by_app {
            return self.told_left(name);
        }
        let numbered = room.stream.take_numbered();
        self.settle_all(numbered, super::connection::unconfirmed);
        self.drop_room(name, &error);
        let room = name.clone();
        let error = Some(error);
        self.events.push_back(Event::Left { room, error });
        self.told_left(name);
    }

    /// Asks the server for what the application wants, if nothing else is asked.
    pub(super) fn step(&mut self, name: &Arc<str>) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        if room.op != Op::None || room.retry_at > self.now {
            return;
        }
        let request = match (room.joined_by_app, room.member) {
            (true, false) if room.leave_first && room.hold != Hold::No => Op::Leave,
            (true, false) => Op::Join,
            (false, _) if room.hold != Hold::No => Op::Leave,
            _ => return,
        };
        let id = self.new_request();
        let message = match request {
            Op::Join => self.join_message(name, id),
            _ => self.encode(&Incoming {
                request_id: id,
                ..Incoming::new(Request::LeaveRoom).in_room(name)
            }),
        };
        // The server would read it past, and its answer would name neither the room nor the request.
        if self.is_too_large(&message) {
            return self.lose_room(name, super::send::too_large());
        }
        if let Some(room) = self.rooms.get_mut(name) {
            room.op = request;
            room.op_id = id;
            room.op_deadline = self.now.saturating_add(self.config.answer_ms);
            self.timers
                .insert((room.op_deadline, Timer::Room(name.clone())));
        }
        self.control.push_back(message);
    }

    fn join_message(&self, name: &str, request_id: u32) -> Vec<u8> {
        let Some(room) = self.rooms.get(name) else {
            return Vec::new();
        };
        let keys = room.presence.iter().filter(|(_, value)| !value.is_null());
        let keys = keys.map(|(key, value)| {
            (
                Cow::Borrowed(key.as_str()),
                Some(Cow::Owned(value.to_string())),
            )
        });
        let join = JoinRoom {
            nickname: room.nickname.as_deref().map(Cow::Borrowed),
            since: room.log.position().map(Position::as_wire),
            first_seq: Some(room.stream.first_seq()),
            presence: PresenceUpdate {
                keys: keys.collect(),
                nickname: None,
            },
            token: room.token.as_deref().map(Cow::Borrowed),
        };
        self.encode(&Incoming {
            request_id,
            ..Incoming::new(Request::JoinRoom(join)).in_room(name)
        })
    }

    pub(super) fn room_timeout(&mut self, name: &Arc<str>) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        if room.op != Op::None && room.op_deadline <= now {
            if room.op == Op::Join && room.hold == Hold::No {
                room.hold = Hold::Maybe;
            }
            room.gave_up_leave |= room.op == Op::Leave;
            room.op = Op::None;
        }
        if room.asking && room.page_due <= now {
            let why = "the server does not answer";
            self.page_failed(name, Error::new(code::UNANSWERED, why));
        }
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        // What a gap held off has no answer.
        if !room.joined_by_app && room.hold == Hold::No && room.op == Op::None {
            let numbered = room.stream.take_numbered();
            self.settle_all(numbered, super::connection::unconfirmed);
        }
        self.step(name);
    }

    /// The server has a room that is not known here: of another process's session, perhaps. It is left, and nothing is
    /// kept of it: should that be lost, the next `joined` says so again.
    pub(super) fn joined_unasked(&mut self, name: &str) {
        if self.control.len() < MOST_CONTROL {
            let leave = self.encode(&Incoming::new(Request::LeaveRoom).in_room(name));
            self.control.push_back(leave);
        }
    }

    /// The server has refused that such a room is left: it is kept until it has been.
    pub(super) fn unknown_leave_refused(&mut self, name: &str, error: &Error) {
        let left = self.rooms.values().filter(|room| !room.joined_by_app);
        if name.is_empty() || error.code() == "not_in_room" || left.count() >= MOST_CONTROL {
            return;
        }
        let name: Arc<str> = name.into();
        let room = Room {
            hold: Hold::Yes,
            retry_at: self.now.saturating_add(wait_of(error)),
            ..Room::new(1)
        };
        let timer = (room.retry_at, Timer::Room(name.clone()));
        self.timers.insert(timer);
        self.rooms.insert(name, room);
    }

    pub(super) fn joined(
        &mut self,
        name: &Arc<str>,
        timestamp: i64,
        request_id: u32,
        joined: Joined,
    ) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        // A join that was given up, and left again since.
        if room.is_of_before(request_id) {
            return;
        }
        // What the stay before was told, which an answer to its second leave has overtaken.
        if request_id == 0 && room.op == Op::Join && room.gave_up_leave {
            return;
        }
        room.hold = Hold::Yes;
        // Also who leaves knows its own end by it from that of others.
        (room.player_num, room.listed_at) = (joined.player_num, timestamp);
        if room.op == Op::Leave {
            return;
        }
        room.op = Op::None;
        room.gave_up_leave = false;
        if !room.joined_by_app {
            return self.step(name);
        }
        let first = !std::mem::replace(&mut room.member, true);
        let joined_at = Position {
            epoch: joined.epoch,
            offset: joined.offset,
        };
        let since = room.log.position().cloned();
        let gap = since.as_ref().is_some_and(|since| {
            let same = since.epoch == joined_at.epoch;
            // Nothing is missed: what comes is what follows, whatever place an answer to an older question names. But one
            // from before the room was left and joined again answers where another place was meant.
            let other = room.new_stay && joined_at.offset > since.offset;
            let here = same && joined_at.offset == since.offset;
            !(joined.recovered && !other || here)
        });
        if gap || since.is_none() {
            room.log.set(Some(joined_at.clone()));
        }
        (room.total, room.player_id) = (joined.total, joined.player_id);
        (room.mode, room.presence_mode) = (joined.mode, joined.presence);
        room.properties = serde_json::from_str(&joined.properties).unwrap_or_default();
        let listed = joined.members.into_iter();
        room.listed = listed.map(|member| (member.player_num, member)).collect();
        if first {
            let before = std::mem::replace(&mut room.epoch, joined_at.epoch.clone());
            if before != joined_at.epoch || joined.repeats_possible {
                room.stream.doubt();
            }
            // What has no answer is sent again.
            room.stream.new_link();
            room.compare_presence();
        }
        // But what was sent before the room was left: the server may have forgotten that, and does not say so.
        let former = match std::mem::take(&mut room.new_stay) {
            true => room.stream.take_numbered(),
            false => Vec::new(),
        };
        if gap && !mutated!("client_hides_a_gap") {
            self.events.push_back(Event::Gap {
                room: Some(name.clone()),
                since,
                now: joined_at,
            });
        }
        self.events.push_back(Event::Joined {
            room: name.clone(),
            recovered: joined.recovered && !gap,
        });
        self.members_changed(name);
        self.settle_all(former, super::connection::unconfirmed);
        self.make_ready(&Some(name.clone()));
    }

    /// A join was refused.
    pub(super) fn join_refused(&mut self, name: &Arc<str>, error: Error) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        if room.op != Op::Join {
            // Nobody has asked: the room has another home, which has lost who was in it.
            if error.code() == "not_in_room" {
                self.rejoin(name);
            }
            return;
        }
        room.op = Op::None;
        match error.code() {
            // A resumed session has not this room any more.
            "not_in_room" => room.hold = Hold::No,
            "rate_limited" | "unavailable" | "internal" => {
                room.retry_at = now.saturating_add(wait_of(&error));
                let timer = (room.retry_at, Timer::Room(name.clone()));
                self.timers.insert(timer);
            }
            _ if room.member => {}
            _ => return self.lose_room(name, error),
        }
        self.step(name);
    }

    /// A leave was answered: by one's own `player_left`, or because the room is not joined.
    pub(super) fn left(&mut self, name: &Arc<str>) {
        if let Some(room) = self.rooms.get_mut(name) {
            (room.op, room.hold) = (Op::None, Hold::No);
            room.leave_first = false;
            room.first_id = self.requests.saturating_add(1);
            if room.stream.len() > 0 {
                let until = self.now.saturating_add(LAST_ANSWERS_MS);
                self.timers.insert((until, Timer::Room(name.clone())));
            }
        }
        self.told_left(name);
        self.step(name);
    }

    pub(super) fn leave_refused(&mut self, name: &Arc<str>, error: &Error) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(name).filter(|room| room.op == Op::Leave) else {
            return;
        };
        if error.code() == "not_in_room" {
            return self.left(name);
        }
        room.op = Op::None;
        room.retry_at = now.saturating_add(wait_of(error));
        let timer = (room.retry_at, Timer::Room(name.clone()));
        self.timers.insert(timer);
    }

    pub(super) fn members_changed(&mut self, name: &Arc<str>) {
        let event = Event::Members { room: name.clone() };
        if self.events.back() != Some(&event) {
            self.events.push_back(event);
        }
    }

    pub(super) fn check_open(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Closed => Err(Error::new(code::CLOSED, "the client is closed")),
            _ => Ok(()),
        }
    }
}

/// A second, where the server names no time.
fn wait_of(error: &Error) -> u64 {
    match error.retry_after_ms() {
        0 => 1_000,
        wait => wait,
    }
}

pub(super) fn invalid(message: &'static str) -> Error {
    Error::new("invalid_name", message)
}

pub(super) fn not_joined() -> Error {
    Error::new(code::NOT_JOINED, "the room is not joined")
}
