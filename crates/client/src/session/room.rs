//! Rooms: joined, left, and what is known of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use roomcast_protocol::client::{Joined, Member, PlayerState, StateSync};
use roomcast_protocol::{
    Incoming, JoinRoom, Limits, MAX_EPOCH, MAX_NUMBER, PresenceUpdate, Request, mutated, names,
};
use serde_json::{Map, Value};

use super::connection::Phase;
use super::event::SavedRoom;
use super::log::Log;
use super::outbox::Stream;
use super::send::Asked;
use super::{Event, JoinOptions, Session, Timer};
use crate::error::{Error, code};
use crate::message::Position;

/// Answers may come so long after the room was left.
const LAST_ANSWERS_MS: u64 = 1_000;

/// Members, and players' states, that are kept of a room.
pub(super) const MOST_LISTED: usize = 16_384;
/// Messages that wait to be sent before those about rooms that nobody wants.
const MOST_CONTROL: usize = 256;

/// What is asked of the server about a room and not answered: one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    None,
    /// A `joined` will come: as an answer, or unasked after a resume.
    Join,
    Leave,
}

/// Whether the server's session has the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    No,
    /// A join or leave was lost on its way, or its answer was.
    Maybe,
    Yes,
}

#[derive(Debug)]
pub(super) struct Room {
    pub(super) stream: Stream,
    pub(super) log: Log,
    /// The log that messages were sent to.
    pub(super) epoch: String,
    /// The application wants to be in it.
    pub(super) joined_by_app: bool,
    /// `joined` has come on this connection.
    pub(super) member: bool,
    pub(super) hold: Hold,
    pub(super) op: Op,
    pub(super) op_deadline: u64,
    /// The number of that request.
    pub(super) op_id: u32,
    /// Refused for now: not tried before.
    retry_at: u64,
    /// The application is to be told that it is left.
    pub(super) leaving: bool,
    /// `joined` has not come since the application joined it.
    new_stay: bool,
    /// It was joined anew while the server may still have the stay before, whose end comes first.
    leave_first: bool,
    pub(super) nickname: Option<String>,
    token: Option<String>,
    /// One's own keys as they are to be; `null` is removed.
    pub(super) presence: BTreeMap<String, Value>,
    /// Those that are to be sent.
    pub(super) unsent: BTreeSet<String>,
    /// Those of the update sent last.
    pub(super) sent: BTreeSet<String>,
    pub(super) asked: VecDeque<Asked>,
    pub(super) asking: bool,
    /// The number of the request for that page, and until when it is waited for.
    pub(super) page_id: u32,
    pub(super) page_due: u64,
    pub(super) listed: BTreeMap<u32, Member>,
    pub(super) total: u64,
    /// What the server owns, merged from each `sync`.
    pub(super) state: BTreeMap<String, PlayerState>,
    pub(super) player_num: u32,
    player_id: String,
    mode: String,
    pub(super) presence_mode: String,
    /// The room's clock when `listed` was made: what an older event says of members is in it.
    pub(super) listed_at: i64,
}

/// What is known of a room.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    /// Those that are known, by their number: all, where `total` is no greater.
    pub listed: &'a BTreeMap<u32, Member>,
    /// How many there are.
    pub total: u64,
    /// One's own number.
    pub player_num: u32,
    /// One's own id in the room.
    pub player_id: &'a str,
    /// `state` or `relay`.
    pub mode: &'a str,
    /// `full`, `count` or `none`: what is told about members.
    pub presence: &'a str,
}

impl Room {
    fn new(next_seq: u64) -> Room {
        Room {
            stream: Stream::new(next_seq),
            log: Log::default(),
            epoch: String::new(),
            joined_by_app: false,
            member: false,
            hold: Hold::No,
            op: Op::None,
            op_deadline: 0,
            op_id: 0,
            retry_at: 0,
            leaving: false,
            new_stay: false,
            leave_first: false,
            nickname: None,
            token: None,
            presence: BTreeMap::new(),
            unsent: BTreeSet::new(),
            sent: BTreeSet::new(),
            asked: VecDeque::new(),
            asking: false,
            page_id: 0,
            page_due: 0,
            listed: BTreeMap::new(),
            total: 0,
            state: BTreeMap::new(),
            player_num: 0,
            player_id: String::new(),
            mode: String::new(),
            presence_mode: String::new(),
            listed_at: 0,
        }
    }

    pub(super) fn saved(saved: SavedRoom) -> Room {
        Room {
            log: Log::at(saved.position),
            joined_by_app: saved.joined,
            hold: if saved.joined { Hold::Yes } else { Hold::No },
            nickname: saved.nickname,
            ..Room::new(saved.next_seq)
        }
    }

    pub(super) fn save(&self, name: &str) -> SavedRoom {
        SavedRoom {
            room: name.to_owned(),
            joined: self.joined_by_app,
            nickname: self.nickname.clone(),
            position: self.log.position().cloned(),
            next_seq: self.stream.next_seq(),
        }
    }

    pub(super) fn members(&self) -> Members<'_> {
        Members {
            listed: &self.listed,
            total: self.total,
            player_num: self.player_num,
            player_id: &self.player_id,
            mode: &self.mode,
            presence: &self.presence_mode,
        }
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_over(&self) -> bool {
        !self.joined_by_app
            && self.hold == Hold::No
            && self.op == Op::None
            && !self.stream.is_used()
    }

    /// The connection is gone. Whether the application is to be told that the room is left.
    pub(super) fn link_lost(&mut self) -> bool {
        match self.op {
            Op::Join if self.hold == Hold::No => self.hold = Hold::Maybe,
            Op::Leave => self.hold = Hold::Maybe,
            _ => {}
        }
        self.op = Op::None;
        self.retry_at = 0;
        self.member = false;
        self.asking = false;
        self.stream.queued = false;
        self.stream.new_link();
        !self.joined_by_app && std::mem::take(&mut self.leaving)
    }

    /// Nothing of a stay remains, but for messages that are under way.
    fn clear(&mut self) {
        self.log = Log::default();
        self.nickname = None;
        self.token = None;
        self.presence.clear();
        self.unsent.clear();
        self.sent.clear();
        self.listed.clear();
        self.total = 0;
        self.state.clear();
    }

    pub(super) fn merge_state(&mut self, sync: &StateSync) {
        if sync.full {
            self.state.clear();
        }
        for left in &sync.left {
            self.state.remove(left);
        }
        for player in &sync.players {
            if self.state.len() < MOST_LISTED || self.state.contains_key(&player.player_id) {
                self.state.insert(player.player_id.clone(), player.clone());
            }
        }
    }

    /// Own keys that are not in the list as they are to be are told.
    fn compare_presence(&mut self) {
        let Some(own) = self.listed.get(&self.player_num) else {
            // A long list: it is not known what arrived.
            self.unsent = self.presence.keys().cloned().collect();
            return;
        };
        let known: Map<String, Value> = serde_json::from_str(&own.presence).unwrap_or_default();
        let differs =
            |(key, value): &(&String, &Value)| known.get(*key).unwrap_or(&Value::Null) != *value;
        let unsent = self.presence.iter().filter(differs);
        self.unsent = unsent.map(|(key, _)| key.clone()).collect();
    }
}

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
        let known = known.or_insert_with(|| Room::new(1));
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

    pub(super) fn joined(&mut self, name: &Arc<str>, timestamp: i64, joined: Joined) {
        let Some(room) = self.rooms.get_mut(name) else {
            return;
        };
        room.hold = Hold::Yes;
        if room.op == Op::Leave {
            return;
        }
        room.op = Op::None;
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
            let reached = (joined.recovered && !other) || joined_at.offset == since.offset;
            !(same && reached)
        });
        if gap || since.is_none() {
            room.log.set(Some(joined_at.clone()));
        }
        room.listed_at = timestamp;
        room.total = joined.total;
        (room.player_num, room.player_id) = (joined.player_num, joined.player_id);
        (room.mode, room.presence_mode) = (joined.mode, joined.presence);
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
        let Some(room) = self.rooms.get_mut(name).filter(|room| room.op == Op::Join) else {
            return;
        };
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
