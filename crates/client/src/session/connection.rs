//! The connection: opened, greeted, watched, lost, opened again.

use std::borrow::Cow;
use std::collections::VecDeque;

use roomcast_protocol::client::Welcome;
use roomcast_protocol::{
    CloseCode, Hello, Incoming, Payload, Request, RoomPosition, VERSION, comes_back,
};

use super::outbox::Entry;
use super::pace::Pace;
use super::room::{Hold, Op, Room};
use super::{Event, Session, Status, Terms, Timer};
use crate::error::{BELIEVED_MS, Error, code};
use crate::message::Position;

/// Where the server names no interval.
const PING_INTERVAL_MS: u64 = 30_000;
/// A server that names a shorter interval, or a longer one, is not believed.
const PING_INTERVALS_MS: (u64, u64) = (50, BELIEVED_MS);
/// Two tokens are not asked for in less than this, on one connection.
const RENEW_PAUSE_MS: u64 = 1_000;
/// A probe is answered within this time, or the connection is dead.
const PROBE_MS: u64 = 5_000;
/// A connection that lived so long was a good one: the next wait is a short one.
const STABLE_MS: u64 = 5_000;
/// How often in a row a server is obeyed that asks to come back, of connections that lived for less than that.
const OBEYED: u32 = 3;
/// A `hello` may reach the server so long after its connection was given up.
const LATE_HELLO_MS: u64 = 120_000;
/// A new token is asked for so long before the end of the old one, or a fifth of its time where that is less.
const RENEW_MS: u64 = 60_000;

#[derive(Debug)]
pub(super) enum Phase {
    Connecting,
    /// `hello` is on its way.
    Greeting {
        since: u64,
        deadline: u64,
    },
    Open,
    Closing {
        code: u16,
        then: Then,
    },
    Waiting {
        at: u64,
    },
    Closed,
}

/// What comes after a close of our own.
#[derive(Clone, Debug)]
pub(super) enum Then {
    Backoff(Error),
    /// The server asked for it.
    At(u64, Error),
    /// With a shorter `hello`; so often that can't be.
    Now(Error),
    End(Error),
}

/// Pings, and what they prove.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    interval: u64,
    next: u64,
    /// Nothing was heard since a ping; by then the connection is dead.
    dead_at: Option<u64>,
    sent: VecDeque<(u64, u64)>,
    count: u64,
}

impl Heartbeat {
    pub(super) fn due(&self) -> Option<u64> {
        Some(self.dead_at.unwrap_or(u64::MAX).min(self.next))
    }
}

impl Session {
    /// The connection that [`connection`](Session::connection) asked for is open.
    pub fn connected(&mut self, now: u64) {
        self.tick(now);
        if !matches!(self.phase, Phase::Connecting) {
            return;
        }
        self.redirect = None;
        self.welcomed = false;
        self.requests = 0;
        // They are counted anew on each connection.
        self.rooms.values_mut().for_each(|room| room.first_id = 0);
        self.heartbeat = Heartbeat::default();
        self.clock.reset();
        let (since, deadline) = (self.now, self.now.saturating_add(self.config.answer_ms));
        self.phase = Phase::Greeting { since, deadline };
        let hello = self.hello();
        self.control.push_back(hello);
    }

    fn hello(&self) -> Vec<u8> {
        let resumes = !self.resume_token.is_empty();
        // Also those without a position: which numbers have answers is to be known.
        let named = |room: &Room| resumes && room.joined_by_app && room.hold != Hold::No;
        let rooms = self.rooms.iter().filter(|(_, room)| named(room));
        let positions = rooms.map(|(name, room)| RoomPosition {
            room_id: Cow::Borrowed(&**name),
            since: room.log.position().map(Position::as_wire),
            first_seq: Some(room.stream.first_seq()),
        });
        let text = |text: &'_ str| (!text.is_empty()).then(|| Cow::Owned(text.to_owned()));
        let hello = Hello {
            version: VERSION,
            capabilities: Vec::new(),
            token: self.config.token.as_deref().and_then(text),
            resume_token: text(&self.resume_token),
            positions: positions.take(self.most_positions).collect(),
            inbox: self
                .inbox
                .position()
                .filter(|_| resumes)
                .map(Position::as_wire),
            first_direct_seq: resumes.then(|| self.direct.first_seq()),
        };
        self.encode(&Incoming::new(Request::Hello(Box::new(hello))))
    }

    /// The connection is gone, or could not be opened. `code` and `reason` are those of the server's close frame; 1006
    /// and any text where there was none. A reason may end in `; retry_after_ms=…`, which is obeyed. `random` is any
    /// number, each as likely as the others: it spreads reconnections.
    pub fn disconnected(&mut self, now: u64, code: u16, reason: &str, random: u64) {
        self.tick(now);
        let comes_back = comes_back(code) || self.took_over_itself(code);
        let then = match &self.phase {
            Phase::Waiting { .. } | Phase::Closed => return,
            // A code after which nobody comes back outweighs our own reason.
            Phase::Closing { then, .. } if comes_back => then.clone(),
            _ if !comes_back => Then::End(closed_by(code, reason)),
            _ => match self.come_back.take() {
                Some((at, url)) => {
                    self.redirect = (!url.is_empty()).then_some(url);
                    Then::At(at, closed_by(code, reason))
                }
                None => Then::Backoff(closed_by(code, reason)),
            },
        };
        let greeted = matches!(self.phase, Phase::Greeting { .. } | Phase::Closing { .. });
        if greeted && !self.welcomed && !self.resume_token.is_empty() {
            let (count, until) = self.late_hellos;
            let before = if self.now < until { count } else { 0 };
            self.late_hellos = (before.saturating_add(1), self.now + LATE_HELLO_MS);
        }
        let lived = match self.phase {
            Phase::Open | Phase::Closing { .. } => self.now - self.welcomed_at.min(self.now),
            _ => 0,
        };
        if !matches!(self.phase, Phase::Open) && !matches!(then, Then::At(..)) {
            self.redirect = None;
        }
        self.link_lost();
        match then {
            Then::End(error) => self.end_with(error),
            Then::Now(error) => self.wait(self.now, error),
            Then::At(at, error) => {
                // A server that says so again and again is not obeyed at once. While nodes are restarted one after the
                // other, each of them says so to whom it has.
                if lived >= STABLE_MS {
                    (self.attempts, self.obeyed) = (0, 0);
                }
                let obeys = self.attempts == 0 && self.obeyed < OBEYED;
                let delay = if obeys { 0 } else { self.backoff(0, random) };
                match obeys {
                    true => self.obeyed += 1,
                    false => self.attempts = self.attempts.saturating_add(1),
                }
                self.wait(at.max(self.now.saturating_add(delay)), error);
            }
            Then::Backoff(error) => {
                if self.welcomed_at > 0 && lived >= STABLE_MS {
                    (self.attempts, self.obeyed) = (0, 0);
                }
                let delay = self.backoff(retry_after(reason), random);
                self.attempts = self.attempts.saturating_add(1);
                self.wait(self.now.saturating_add(delay), error);
            }
        }
    }

    /// A `hello` of a connection before this one may have come late, and taken the session over from the newer one: no
    /// other client has it. Each of them does so once.
    fn took_over_itself(&mut self, code: u16) -> bool {
        let (count, until) = &mut self.late_hellos;
        let late = code == CloseCode::TakenOver.code() && *count > 0 && self.now < *until;
        *count -= u32::from(late);
        late
    }

    /// Full jitter: any time from the shortest wait to one that doubles with each failure. The first time that is four
    /// times the shortest, so that 10,000 clients cut off at one moment ask for fewer resumes a second than a core makes.
    fn backoff(&self, retry_after: u64, random: u64) -> u64 {
        let (min, max) = (self.config.backoff_min_ms, self.config.backoff_max_ms);
        let most = min
            .saturating_mul(4u64 << self.attempts.min(20))
            .clamp(min, max.max(min));
        let jitter = (u128::from(random) * u128::from(most - min + 1)) >> 64;
        let jitter = u64::try_from(jitter).unwrap_or(0);
        min.max(retry_after).saturating_add(jitter)
    }

    fn wait(&mut self, at: u64, reason: Error) {
        self.phase = Phase::Waiting { at };
        self.set_status(Status::Reconnecting { reason, at });
        if at <= self.now {
            self.phase = Phase::Connecting;
        }
    }

    /// Nothing that was given to the connection is known to have arrived.
    fn link_lost(&mut self) {
        self.control.clear();
        self.volatile.clear();
        self.volatile_bytes = 0;
        self.ready.clear();
        self.come_back = None;
        self.token_due = None;
        self.timers
            .retain(|(_, timer)| matches!(timer, Timer::Expire(_)));
        self.direct.queued = false;
        self.direct.new_link();
        let mut lost = Vec::new();
        let mut left = Vec::new();
        for (name, room) in &mut self.rooms {
            if room.link_lost() {
                left.push(name.clone());
            }
            if !room.joined_by_app {
                lost.append(&mut room.stream.take_numbered());
            }
        }
        self.settle_all(lost, unconfirmed);
        for room in left {
            self.events.push_back(Event::Left { room, error: None });
        }
        self.rooms.retain(|_, room| !room.is_over());
    }

    /// Stops for good: no connection can be had, or none is wanted. An open one is closed.
    pub fn end(&mut self, now: u64, error: Error) {
        self.tick(now);
        match self.phase {
            Phase::Closed => {}
            Phase::Greeting { .. } | Phase::Open | Phase::Closing { .. } => {
                self.close_link(CloseCode::Normal.code(), Then::End(error));
            }
            Phase::Connecting | Phase::Waiting { .. } => {
                self.link_lost();
                self.end_with(error);
            }
        }
    }

    /// Says goodbye: the session ends, here and at the server.
    pub fn close(&mut self, now: u64) {
        self.end(now, Error::new(code::CLOSED, "the client was closed"));
    }

    fn end_with(&mut self, error: Error) {
        self.phase = Phase::Closed;
        self.timers.clear();
        let mut waiting = self.direct.take_all();
        let rooms = std::mem::take(&mut self.rooms);
        for (name, mut room) in rooms {
            waiting.append(&mut room.stream.take_all());
            self.fail_requests(&mut room, &error);
            if room.joined_by_app || room.leaving {
                let error = Some(error.clone());
                self.events.push_back(Event::Left { room: name, error });
            }
        }
        self.settle_all(waiting, |entry| match entry.seq {
            0 => error.clone(),
            _ => unconfirmed(entry),
        });
        self.set_status(Status::Closed(error));
    }

    pub(super) fn close_link(&mut self, code: u16, then: Then) {
        match &self.phase {
            // The end is the end.
            Phase::Closing {
                then: Then::End(_), ..
            } => {}
            _ => self.phase = Phase::Closing { code, then },
        }
    }

    /// Don't wait: connect now, or see whether the connection is alive.
    pub fn wake(&mut self, now: u64) {
        self.tick(now);
        match self.phase {
            Phase::Waiting { .. } => self.phase = Phase::Connecting,
            Phase::Open => {
                self.ping();
                let deadline = self.now.saturating_add(PROBE_MS.min(self.config.answer_ms));
                let dead_at = &mut self.heartbeat.dead_at;
                *dead_at = Some(dead_at.unwrap_or(u64::MAX).min(deadline));
            }
            _ => {}
        }
    }

    /// Bytes came that are no message: the connection is alive.
    pub fn heard(&mut self, now: u64) {
        self.tick(now);
        self.heartbeat.dead_at = None;
    }

    /// A token for the next `hello`; sent at once where there is a connection. A driver whose tokens end gives a fresh
    /// one before each connection.
    pub fn set_token(&mut self, now: u64, token: Option<String>) {
        self.tick(now);
        self.config.token = token;
        if let (Phase::Open, Some(token)) = (&self.phase, &self.config.token) {
            let token = Cow::Borrowed(token.as_str());
            let auth = self.encode(&Incoming::new(Request::Auth { token }));
            self.control.push_back(auth);
        }
    }

    pub(super) fn link_timeout(&mut self) {
        match self.phase {
            Phase::Waiting { at } if at <= self.now => self.phase = Phase::Connecting,
            Phase::Greeting { deadline, .. } if deadline <= self.now => {
                self.give_link_up("the server does not answer `hello`");
            }
            Phase::Open => self.watch(),
            _ => {}
        }
    }

    fn watch(&mut self) {
        if self.heartbeat.dead_at.is_some_and(|at| at <= self.now) {
            return self.give_link_up("nothing was heard for two pings");
        }
        if self.heartbeat.next <= self.now {
            self.ping();
            self.heartbeat.next = self.now.saturating_add(self.heartbeat.interval);
            let dead_at = self.heartbeat.next;
            self.heartbeat.dead_at.get_or_insert(dead_at);
        }
        if self.token_due.is_some_and(|at| at <= self.now) {
            self.token_due = None;
            self.token_asked_at = self.now;
            self.events.push_back(Event::TokenEnds);
        }
        if let Some((at, _)) = &self.come_back
            && *at <= self.now
            && let Some((at, url)) = self.come_back.take()
        {
            self.redirect = (!url.is_empty()).then_some(url);
            let reason = Error::new(CloseCode::Reconnect.as_str(), "the server asked for it");
            // Not 1000, which would end the session.
            self.close_link(CloseCode::Reconnect.code(), Then::At(at, reason));
        }
    }

    fn give_link_up(&mut self, why: &'static str) {
        let code = CloseCode::HeartbeatTimeout;
        self.close_link(code.code(), Then::Backoff(Error::new(code.as_str(), why)));
    }

    fn ping(&mut self) {
        let beat = &mut self.heartbeat;
        beat.count += 1;
        if beat.sent.len() == 4 {
            beat.sent.pop_front();
        }
        beat.sent.push_back((beat.count, self.now));
        let text = beat.count.to_string();
        let ping = self.encode(&Incoming::new(Request::Ping(Payload::json(&text).into())));
        self.control.push_back(ping);
    }

    pub(super) fn pong(&mut self, payload: &[u8], server: i64) {
        let number = std::str::from_utf8(payload)
            .ok()
            .and_then(|text| text.parse().ok());
        let Some(at) = self
            .heartbeat
            .sent
            .iter()
            .position(|(count, _)| Some(*count) == number)
        else {
            return;
        };
        let (_, sent) = self.heartbeat.sent[at];
        self.heartbeat.sent.drain(..=at);
        self.clock.sample(sent, self.now, server);
    }

    pub(super) fn come_back(&mut self, delay_ms: u64, url: &str) {
        let at = self.now.saturating_add(delay_ms.min(BELIEVED_MS));
        self.come_back = Some((at, url.to_owned()));
    }

    pub(super) fn welcome(&mut self, welcome: &Welcome) {
        let Phase::Greeting { since, .. } = self.phase else {
            return;
        };
        self.phase = Phase::Open;
        self.welcomed = true;
        self.welcomed_at = self.now.max(1);
        self.clock.sample(since, self.now, welcome.server_time);
        self.terms = Terms {
            user_id: welcome.user_id.clone(),
            ping_interval_ms: welcome.ping_interval_ms,
            grace_ms: welcome.grace_ms,
            seq_acked: welcome.seq_acked,
            limits: welcome.limits,
            token_expires_at: welcome.token_expires_at,
        };
        self.heartbeat.interval = match welcome.ping_interval_ms {
            0 => PING_INTERVAL_MS,
            interval => interval.clamp(PING_INTERVALS_MS.0, PING_INTERVALS_MS.1),
        };
        self.heartbeat.next = self.now.saturating_add(self.heartbeat.interval);
        self.token_lasts(welcome.token_expires_at, welcome.server_time);
        self.pace = Pace::new(self.now, &welcome.limits);
        // `hello`.
        self.pace.sent(self.now);
        let known = !self.client_id.is_empty();
        let same = self.client_id == welcome.client_id;
        self.client_id.clone_from(&welcome.client_id);
        self.resume_token.clone_from(&welcome.resume_token);
        self.set_status(Status::Connected {
            resumed: welcome.resumed,
        });
        if known && !same {
            self.begin_again();
        }
        if !welcome.resumed || welcome.direct_repeats_possible {
            self.direct.doubt();
        }
        self.open_inbox(welcome);
        self.make_ready(&None);
        self.enter_rooms(welcome.resumed);
        // One early, for a better clock than that of a connection being opened.
        self.ping();
    }

    /// The server takes this client for another one.
    fn begin_again(&mut self) {
        let mut doubtful = self.direct.begin_again();
        for room in self.rooms.values_mut() {
            doubtful.append(&mut room.stream.begin_again());
        }
        self.settle_all(doubtful, unconfirmed);
        self.rooms.retain(|_, room| !room.is_over());
    }

    fn open_inbox(&mut self, welcome: &Welcome) {
        let now = match &welcome.inbox {
            Some(inbox) => Position {
                epoch: inbox.epoch.clone().into_owned(),
                offset: inbox.offset,
            },
            None => Position::default(),
        };
        let since = self.inbox.position().cloned();
        let missed = if welcome.resumed {
            welcome.inbox.is_some() && !welcome.inbox_recovered
        } else {
            // The inbox has gone with the session, and what it may have had. Who never had one misses nothing.
            since.is_some()
        };
        // Where nothing is missed, the inbox may go on under another name.
        let other = since.as_ref().is_none_or(|it| it.epoch != now.epoch);
        if welcome.inbox.is_some() && (missed || other) {
            self.inbox.set(Some(now.clone()));
        } else if missed {
            self.inbox.set(None);
        }
        if missed {
            self.events.push_back(Event::Gap {
                room: None,
                since,
                now,
            });
        }
    }

    fn enter_rooms(&mut self, resumed: bool) {
        let names: Vec<_> = self.rooms.keys().cloned().collect();
        // A room that the server was to have, and tells nothing of, is asked for.
        let deadline = self.now.saturating_add(self.config.answer_ms.min(PROBE_MS));
        for name in names {
            let Some(room) = self.rooms.get_mut(&name) else {
                continue;
            };
            if !resumed {
                room.hold = Hold::No;
            }
            if room.joined_by_app && room.hold == Hold::Yes {
                room.op = Op::Join;
                room.op_id = 0;
                room.op_deadline = deadline;
                self.timers.insert((deadline, Timer::Room(name)));
            } else {
                self.step(&name);
            }
        }
    }

    pub(super) fn token_lasts(&mut self, expires_at: i64, server_time: i64) {
        self.terms.token_expires_at = expires_at;
        let left = u64::try_from(expires_at.saturating_sub(server_time)).unwrap_or(0);
        let early = RENEW_MS.min(left / 5);
        let due = self.now.saturating_add(left - early);
        // Tokens that end at once are not asked for at once.
        let due = due.max(self.token_asked_at.saturating_add(RENEW_PAUSE_MS));
        self.token_due = (expires_at > 0).then_some(due);
    }

    /// `hello` was refused.
    pub(super) fn hello_refused(&mut self, error: Error) {
        let then = match error.code() {
            "too_many" | "too_large" if self.most_positions > 0 => {
                self.most_positions = match self.most_positions {
                    usize::MAX => 64,
                    most => most / 2,
                };
                Then::Now(error)
            }
            // The close that follows says the rest.
            "unauthorized" => return,
            code if roomcast_protocol::ErrorCode::from_name(code)
                .is_none_or(|it| it.retryable()) =>
            {
                Then::Backoff(error)
            }
            _ => Then::End(error),
        };
        // 1000 and 1001 would end the session.
        self.close_link(CloseCode::Reconnect.code(), then);
    }
}

/// It was given to a connection, and nobody will say what became of it.
pub(super) fn unconfirmed(_: &Entry) -> Error {
    Error::new(
        code::UNCONFIRMED,
        "it was sent and has no answer: it may have been done",
    )
}

fn closed_by(code: u16, reason: &str) -> Error {
    let known = CloseCode::from_code(code);
    let name = match known {
        Some(CloseCode::TakenOver) => code::TAKEN_OVER.into(),
        Some(CloseCode::Unauthorized) => code::UNAUTHORIZED.into(),
        Some(known) => Cow::Borrowed(known.as_str()),
        None if code == 1006 => Cow::Borrowed(code::CONNECTION_LOST),
        None => Cow::Owned(format!("close_{code}")),
    };
    let message = match reason {
        "" => format!("the connection was closed with {code}"),
        reason => format!("the connection was closed with {code}: {reason}"),
    };
    Error::new(name, message).after(retry_after(reason))
}

/// What a close frame's reason says of the time to wait.
fn retry_after(reason: &str) -> u64 {
    let (_, rest) = reason.split_once("retry_after_ms=").unwrap_or_default();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    let digits = digits.filter(|digits| !digits.is_empty());
    digits.map_or(0, |digits| {
        digits.parse().unwrap_or(BELIEVED_MS).min(BELIEVED_MS)
    })
}
