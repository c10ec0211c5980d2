//! What the server says.

use std::sync::Arc;

use roomcast_protocol::client::{ErrorBody, Member, ServerBody, ServerMessage, decode_server};
use roomcast_protocol::{ErrorCode, MembersRequest, MessageType, mutated};

use super::connection::Phase;
use super::event::{Event, HistoryPage, MembersPage, Receipt, Ticket};
use super::log::Place;
use super::room::{Op, Room};
use super::send::{Asked, Page};
use super::{Key, Session};
use crate::error::{Error, code};
use crate::message::{Content, Message, Position};

/// The event that says that a room has become too big to tell of each member; no client can send it without its id.
const PRESENCE_EVENT: &str = "roomcast.presence";
/// The event that says what a room's properties are from then on; nor this one.
const PROPERTIES_EVENT: &str = "roomcast.properties";

impl Session {
    /// A whole message came. One that can't be read is told by [`Event::Unreadable`], one of an unknown type ignored.
    pub fn receive(&mut self, now: u64, message: &[u8]) {
        match decode_server(self.config.format, message) {
            Ok(message) => self.receive_message(now, message),
            Err(bad) if bad.code == ErrorCode::UnknownType => self.heard(now),
            Err(bad) => {
                self.heard(now);
                let error = Error::new(bad.code.as_str(), bad.message);
                // A page that can't be read is the answer to who asked for it, and it would not be better another time.
                let page = matches!(
                    bad.request,
                    Some(MessageType::History | MessageType::Members)
                );
                let room = bad.room_id.filter(|_| page);
                let room = room.and_then(|it| self.rooms.get_key_value(&*it));
                if let Some((name, _)) = room {
                    let name = name.clone();
                    self.page_failed(&name, error.clone());
                }
                self.events.push_back(Event::Unreadable(error));
            }
        }
    }

    /// A message came in a frame of the other format's type. It is skipped, as all that can't be read.
    pub fn receive_other_format(&mut self, now: u64) {
        self.heard(now);
        let why = "the frame is not of the connection's format";
        let error = Error::new(ErrorCode::WrongFormat.as_str(), why);
        self.events.push_back(Event::Unreadable(error));
    }

    /// The same, for one that was decoded.
    pub fn receive_message(&mut self, now: u64, message: ServerMessage<'_>) {
        self.heard(now);
        match self.phase {
            Phase::Open => self.take(message),
            Phase::Greeting { .. } => match &message.body {
                ServerBody::Welcome(welcome) => self.welcome(welcome),
                ServerBody::Error(error) => self.hello_refused(Error::of_server(error)),
                _ => {}
            },
            _ => {}
        }
    }

    fn take(&mut self, message: ServerMessage<'_>) {
        let request_id = message.request_id;
        let room = self.rooms.get_key_value(&*message.room_id);
        let name = room.map(|(name, _)| name.clone());
        match message.body {
            ServerBody::Welcome(_) => {}
            ServerBody::Joined(joined) => {
                if let Some(name) = name {
                    self.joined(&name, message.timestamp, message.request_id, joined);
                } else {
                    self.joined_unasked(&message.room_id);
                }
            }
            ServerBody::Ack(acks) => {
                let key = match (&*message.room_id, name) {
                    ("", _) => None,
                    (_, Some(name)) => Some(name),
                    _ => return,
                };
                for (seq, offset) in acks {
                    self.acked(&key, seq, offset);
                }
                self.make_ready(&key);
            }
            ServerBody::Error(error) if request_id > 0 && self.is_numbered(&error) => {
                self.request_refused(request_id, &error);
            }
            ServerBody::Error(error) => self.refused(name, &message.room_id, error),
            ServerBody::Pong(payload) => self.pong(&payload.data, message.timestamp),
            ServerBody::Reconnect { delay_ms, url, .. } => self.come_back(delay_ms, &url),
            ServerBody::Auth {
                token_expires_at, ..
            } => self.token_lasts(token_expires_at, message.timestamp),
            ServerBody::Presence(_) | ServerBody::PresenceCount { .. } => {
                self.presence_told(name, message.body);
            }
            ServerBody::Sync(sync) => {
                let Some(name) = name else { return };
                if let Some(room) = self.rooms.get_mut(&name).filter(|room| room.member) {
                    room.merge_state(&sync);
                    self.events.push_back(Event::Sync { room: name, sync });
                }
            }
            ServerBody::Members {
                members,
                total,
                next,
            } => self.page_came(name, request_id, |asked| {
                let page = MembersPage {
                    members,
                    total,
                    next,
                };
                let Page::Members(MembersRequest { after, .. }) = asked.page else {
                    return None;
                };
                Some(Event::MembersPage {
                    ticket: Ticket(asked.ticket),
                    result: goes_on(next == 0 || next > after).map(|()| page),
                })
            }),
            ServerBody::History {
                ref events,
                next,
                ref epoch,
            } => self.page_came(name, request_id, |asked| {
                let page = HistoryPage {
                    events: events.iter().filter_map(Message::of_wire).collect(),
                    next,
                    epoch: epoch.clone(),
                };
                let Page::History(request) = asked.page else {
                    return None;
                };
                let rises = request.after.map(|after| next > after);
                let on = rises.unwrap_or(request.before == 0 || next < request.before);
                Some(Event::History {
                    ticket: Ticket(asked.ticket),
                    result: goes_on(next == 0 || on).map(|()| page),
                })
            }),
            ServerBody::Chat(_)
            | ServerBody::Event { .. }
            | ServerBody::GameAction(_)
            | ServerBody::PlayerJoined(_)
            | ServerBody::PlayerLeft { .. } => match (name, Message::of_wire(&message)) {
                (Some(name), Some(event)) => self.room_event(name, message.request_id, event),
                (None, Some(event)) if message.room_id.is_empty() => self.direct_event(event),
                _ => {}
            },
        }
    }

    fn room_event(&mut self, name: Arc<str>, request_id: u32, message: Message) {
        let Some(room) = self.rooms.get_mut(&name) else {
            return;
        };
        // What happened before the list was made is in it. Its numbers may be those of an earlier life of the room.
        let news = message.timestamp >= room.listed_at;
        let own = matches!(message.content, Content::PlayerLeft { player_num, .. }
            if player_num == room.player_num || room.player_num == 0)
            && (news || message.position.is_none());
        if own && room.is_of_before(request_id) {
            return;
        }
        if own && room.op == Op::Leave {
            return self.left(&name);
        }
        if !room.member || !room.joined_by_app {
            return;
        }
        if let Some(place) = &message.position {
            match room.log.advance(&place.epoch, place.offset) {
                Place::Repeat => return,
                Place::Next => {}
                Place::Jump(since) => {
                    room.epoch.clone_from(&place.epoch);
                    room.stream.doubt();
                    let now = Position {
                        epoch: place.epoch.clone(),
                        offset: place.offset.saturating_sub(1),
                    };
                    self.events.push_back(Event::Gap {
                        room: Some(name.clone()),
                        since: Some(since),
                        now,
                    });
                }
            }
            let numbered = message.seq > 0 && self.terms.seq_acked;
            if numbered && !room.log.is_new(&message.from, message.seq) {
                return;
            }
        }
        if let Content::Event { name, payload } = &message.content
            && name == PROPERTIES_EVENT
            && message.from.is_empty()
            && message.service.is_empty()
            // What is older is in `joined` already.
            && message.timestamp >= room.listed_at
            && let Ok(properties) = payload.parse()
        {
            room.properties = properties;
        }
        let counted = matches!(&message.content, Content::Event { name, payload }
        if name == PRESENCE_EVENT && message.from.is_empty() && message.service.is_empty() && {
            #[derive(serde::Deserialize)]
            struct PresenceReduced { presence: String, total: u64 }
            payload.parse::<PresenceReduced>().is_ok_and(|reduced| {
                if news {
                    room.presence_mode = reduced.presence;
                }
                // Of the same moment: a count of its own follows it.
                if message.timestamp > room.listed_at {
                    room.total = reduced.total;
                }
                true
            })
        });
        if counted {
            return self.members_changed(&name);
        }
        let changed = match &message.content {
            Content::PlayerJoined(member) if news => {
                let known = room.listed.contains_key(&member.player_num);
                if !known {
                    if room.listed.len() < super::room::MOST_LISTED {
                        room.listed.insert(member.player_num, member.clone());
                    }
                    room.total = room.total.saturating_add(1);
                }
                !known
            }
            Content::PlayerLeft { player_num, .. }
                if news && !mutated!("client_keeps_who_left") =>
            {
                let known = room.listed.remove(player_num).is_some();
                room.total = room.total.saturating_sub(u64::from(known));
                known
            }
            _ => false,
        };
        self.events.push_back(Event::Message {
            room: name.clone(),
            message,
        });
        if changed {
            self.members_changed(&name);
        }
        if own {
            let error = Error::new(
                "not_in_room",
                "the server has put this client out of the room",
            );
            self.lose_room(&name, error);
        }
    }

    fn direct_event(&mut self, message: Message) {
        if let Some(place) = &message.position {
            match self.inbox.advance(&place.epoch, place.offset) {
                Place::Repeat => return,
                Place::Next => {}
                Place::Jump(since) => self.events.push_back(Event::Gap {
                    room: None,
                    since: Some(since),
                    now: Position {
                        epoch: place.epoch.clone(),
                        offset: place.offset.saturating_sub(1),
                    },
                }),
            }
            let numbered = message.seq > 0 && self.terms.seq_acked;
            if numbered && !self.inbox.is_new(&message.from, message.seq) {
                return;
            }
        }
        self.events.push_back(Event::Direct(message));
    }

    fn presence_told(&mut self, name: Option<Arc<str>>, body: ServerBody<'_>) {
        let Some(name) = name else { return };
        let Some(room) = self.rooms.get_mut(&name).filter(|room| room.member) else {
            return;
        };
        match body {
            ServerBody::Presence(member) => {
                // State may overtake the event that tells of who came, and of who left.
                let Some(known) = room.listed.get_mut(&member.player_num) else {
                    return;
                };
                let nickname = match member.nickname.is_empty() {
                    true => std::mem::take(&mut known.nickname),
                    false => member.nickname,
                };
                *known = Member { nickname, ..member };
            }
            ServerBody::PresenceCount { total } => room.total = total,
            _ => return,
        }
        self.members_changed(&name);
    }

    /// The first page that was asked for has come.
    fn page_came(
        &mut self,
        name: Option<Arc<str>>,
        request_id: u32,
        page: impl FnOnce(Asked) -> Option<Event>,
    ) {
        let Some(name) = name else { return };
        let Some(room) = self.rooms.get_mut(&name).filter(|room| room.asking) else {
            return;
        };
        // One that was given up may come late.
        if request_id > 0 && request_id != room.page_id {
            return;
        }
        if let Some(event) = room.asked.front().and_then(|asked| page(*asked)) {
            room.asking = false;
            room.asked.pop_front();
            self.free_page();
            self.events.push_back(event);
            self.make_ready(&Some(name));
        }
    }

    fn acked(&mut self, key: &Key, seq: u64, offset: u64) {
        let Some(entry) = self.stream(key).and_then(|stream| stream.answered(seq)) else {
            return;
        };
        if mutated!("client_position_follows_acks")
            && let Some(room) = key.as_ref().and_then(|name| self.rooms.get_mut(name))
        {
            let epoch = room.epoch.clone();
            room.log.advance(&epoch, offset);
        }
        let result = match (offset, &entry.given_up) {
            (0, Some(error)) if !entry.doubtful => Err(error.clone()),
            (0, _) => Err(forgotten()),
            (offset, _) => Ok(Receipt { seq, offset }),
        };
        self.settle(entry, result);
    }

    /// Whether it answers a request that was given a number.
    fn is_numbered(&self, body: &ErrorBody) -> bool {
        matches!(
            body.request.as_str(),
            "join_room" | "leave_room" | "history" | "members"
        )
    }

    /// The error names its request by its number, also where it can't repeat the room.
    fn request_refused(&mut self, request_id: u32, body: &ErrorBody) {
        let error = Error::of_server(body);
        if body.code == ErrorCode::RateLimited.as_str() {
            self.pace.refused(self.now, body.retry_after_ms);
        }
        let asks = |room: &Room| match (room.op != Op::None && room.op_id == request_id, room.op) {
            (true, op) => Some(op),
            _ if room.asking && room.page_id == request_id => Some(Op::None),
            _ => None,
        };
        let mut rooms = self.rooms.iter();
        let found = rooms.find_map(|(name, room)| Some((name.clone(), asks(room)?)));
        match found {
            Some((name, Op::Join)) => self.join_refused(&name, error),
            Some((name, Op::Leave)) => self.leave_refused(&name, &error),
            Some((name, Op::None)) => self.page_refused(&name, error),
            // An answer to what nobody waits for any more.
            None => {}
        }
    }

    fn refused(&mut self, name: Option<Arc<str>>, room_id: &str, body: ErrorBody) {
        let error = Error::of_server(&body);
        if body.code == ErrorCode::RateLimited.as_str() {
            self.pace.refused(self.now, body.retry_after_ms);
        }
        match (body.request.as_str(), name) {
            ("join_room", Some(name)) => return self.join_refused(&name, error),
            ("leave_room", Some(name)) => return self.leave_refused(&name, &error),
            ("leave_room", None) => return self.unknown_leave_refused(room_id, &error),
            ("history" | "members", Some(name)) => return self.page_refused(&name, error),
            ("presence", Some(name)) => return self.presence_refused(name, error),
            ("chat" | "event" | "skip" | "game_action", name) if body.seq > 0 => {
                // An error that names a room which is not known here is none of a direct message.
                if name.is_some() || room_id.is_empty() {
                    self.message_refused(&name, &body, error);
                }
                return;
            }
            ("", Some(name)) if ends_membership(&body.code) => {
                return self.lose_room(&name, error);
            }
            ("ping" | "join_room" | "history" | "members" | "skip", _) => return,
            _ => {}
        }
        let room = (!room_id.is_empty()).then(|| room_id.into());
        self.events.push_back(Event::Refused {
            room,
            request: body.request,
            error,
        });
    }

    fn message_refused(&mut self, key: &Key, body: &ErrorBody, error: Error) {
        let open = match key {
            Some(name) => self.rooms.get(name).is_some_and(|room| room.joined_by_app),
            None => true,
        };
        let now = self.now;
        let Some(stream) = self.stream(key) else {
            return;
        };
        let uses_seq = ErrorCode::from_name(&body.code).is_none_or(ErrorCode::uses_seq);
        // Nothing is sent again to a room that was left.
        if uses_seq || !open {
            let not_member = body.code == ErrorCode::NotInRoom.as_str();
            let entry = if uses_seq {
                stream.answered(body.seq)
            } else {
                stream.abandon(body.seq)
            };
            if let Some(entry) = entry {
                let error = if entry.doubtful { forgotten() } else { error };
                self.settle(entry, Err(error));
            }
            self.make_ready(key);
            if let (true, true, Some(name)) = (not_member, open, key) {
                self.rejoin(name);
            }
            return;
        }
        let until = if body.code == ErrorCode::SeqGap.as_str() {
            stream.gap(now, body.seq)
        } else {
            stream.retry(now, body.seq, error.retry_after_ms())
        };
        if until > now {
            self.resume_at(key, until);
        } else {
            self.make_ready(key);
        }
    }

    /// The server says that this client is not in a room in which it should be.
    pub(super) fn rejoin(&mut self, name: &Arc<str>) {
        if let Some(room) = self.rooms.get_mut(name)
            && room.op == Op::None
        {
            room.member = false;
            self.step(name);
        }
    }

    fn page_refused(&mut self, name: &Arc<str>, error: Error) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(name).filter(|room| room.asking) else {
            return;
        };
        if matches!(error.code(), "rate_limited" | "unavailable") {
            room.asking = false;
            let until = room.stream.pause(now, error.retry_after_ms());
            self.resume_at(&Some(name.clone()), until);
            return;
        }
        self.page_failed(name, error);
    }

    /// The page that was asked for will not come.
    pub(super) fn page_failed(&mut self, name: &Arc<str>, error: Error) {
        let Some(room) = self.rooms.get_mut(name).filter(|room| room.asking) else {
            return;
        };
        room.asking = false;
        if let Some(asked) = room.asked.pop_front() {
            self.answer_page(asked, error);
        }
        self.make_ready(&Some(name.clone()));
    }

    fn presence_refused(&mut self, name: Arc<str>, error: Error) {
        let now = self.now;
        let Some(room) = self.rooms.get_mut(&name).filter(|room| room.joined_by_app) else {
            return;
        };
        let sent = std::mem::take(&mut room.sent);
        if matches!(error.code(), "rate_limited" | "unavailable") {
            room.unsent.extend(sent);
            let until = room.stream.pause(now, error.retry_after_ms());
            self.resume_at(&Some(name), until);
            return;
        }
        // They would be refused again, and with them the next join.
        for key in sent {
            room.presence.remove(&key);
            if key.is_empty() {
                (room.nickname, room.renamed) = (None, false);
            }
        }
        self.events.push_back(Event::Refused {
            room: Some(name),
            request: "presence".to_owned(),
            error,
        });
    }
}

/// Pages that lead back to where one was would be asked for without end.
fn goes_on(on: bool) -> Result<(), Error> {
    match on {
        true => Ok(()),
        false => Err(Error::new(
            ErrorCode::InvalidValue.as_str(),
            "the server's pages don't go on",
        )),
    }
}

fn forgotten() -> Error {
    Error::new(
        code::UNCONFIRMED,
        "the server has forgotten what became of it: it may have been done",
    )
}

/// Whether an error that answers nothing says that this client is out of the room.
fn ends_membership(code: &str) -> bool {
    let ends = [ErrorCode::RoomFailed, ErrorCode::Removed, ErrorCode::Banned];
    ends.iter().any(|it| it.as_str() == code)
}
