//! The client as a state machine: no socket, no clock, no randomness, no threads. Bytes and times go in; bytes, events
//! and times come out. The tokio front drives one, and so may a game loop, another runtime or a simulation.
//!
//! # Driving it
//!
//! Times are milliseconds of any clock that does not go back. After every call that is given one:
//!
//! 1. [`Session::connection`] says what is to be done with the connection. It is a level, not an edge: ask again any time.
//!    One connection at a time: before another is opened, the one before is dropped, and what still comes from it
//!    is not passed on.
//! 2. [`Session::poll_transmit`] gives the next message while the connection is [`Connection::Up`]: one text frame where the
//!    [format](Config::format) is JSON, one binary frame where it is Protobuf. Call it only for what can be written now,
//!    and keep no more than a few of them: what was given out counts as sent, but never as arrived.
//! 3. [`Session::poll_event`] gives what happened. Drain it.
//! 4. [`Session::poll_timeout`] says when to call [`Session::timeout`]. Calling it earlier or later does no harm.
//!
//! What the driver reports:
//!
//! | what | when |
//! |---|---|
//! | [`connected`](Session::connected) | the WebSocket is open; `hello` is the first message that [`poll_transmit`](Session::poll_transmit) gives |
//! | [`receive`](Session::receive) | a whole message came |
//! | [`heard`](Session::heard) | any other bytes came, such as a pong frame |
//! | [`disconnected`](Session::disconnected) | the connection is gone, or could not be opened: the close frame's code and reason, 1006 and any text without one, and a random number |
//! | [`wake`](Session::wake) | the network or the screen is back: don't wait, and see whether the connection is alive |
//! | [`end`](Session::end) | it can't be: stop for good |
//!
//! ```
//! use roomcast_client::session::{Config, Event, JoinOptions, Connection, SendOptions, Session};
//! use roomcast_client::{Payload, Publish};
//!
//! let mut session = Session::new(Config::default());
//! session.join(0, "chat:42", JoinOptions::default())?;
//! assert_eq!(session.connection(), Connection::Connect);
//! session.connected(5);
//! let hello = session.poll_transmit().unwrap();
//! assert_eq!(hello, br#"{"type":"hello","payload":{"version":1}}"#);
//! let welcome = br#"{"type":"welcome","payload":{"client_id":"c1","resume_token":"r1","resumed":false,"seq_acked":true}}"#;
//! session.receive(25, welcome);
//! let join = session.poll_transmit().unwrap();
//! assert_eq!(join, br#"{"type":"join_room","room_id":"chat:42","request_id":1,"payload":{"first_seq":1}}"#);
//! session.receive(45, br#"{"type":"joined","room_id":"chat:42","payload":{"epoch":"e","offset":7}}"#);
//! let hello = Publish::Chat(Payload::text("hello"));
//! let ticket = session.send(50, "chat:42", hello, SendOptions::default())?;
//! let sent: Vec<_> = std::iter::from_fn(|| session.poll_transmit()).collect();
//! let chat = br#"{"type":"chat","room_id":"chat:42","seq":1,"payload":"hello","payload_kind":"text"}"#;
//! assert_eq!(sent, [&br#"{"type":"ping","payload":1}"#[..], chat]);
//! // A cut: the same message, with the same number, is sent again once the room is joined again.
//! session.disconnected(60, 1006, "", 0x1234_5678_9abc_def0);
//! assert_eq!(session.connection(), Connection::Down);
//! session.timeout(session.poll_timeout().unwrap());
//! assert_eq!(session.connection(), Connection::Connect);
//! assert_eq!(session.unanswered(Some("chat:42")), 1);
//! # let _ = ticket;
//! # Ok::<(), roomcast_client::Error>(())
//! ```
//!
//! # What holds
//!
//! - **Messages** ([`send`](Session::send), [`direct`](Session::direct)) get their number when they are first given to
//!   a connection, keep it over reconnections, and are sent again, in order, after each `joined` (direct ones: after
//!   `welcome`) until they have an answer: one [`Event::Settled`] each. `unavailable`, `rate_limited`,
//!   `too_many_unanswered` and `seq_gap` are waited out. What [expired](SendOptions::ttl_ms) or was
//!   [aborted](Session::abort) before it was given to a connection is forgotten; after that its number is skipped, and
//!   the answer tells whether it had been done.
//!   No more are sent than the server takes in a second, as far as it says so.
//! - **Another `client_id`** (a token too old, a server that lost its key): what was never given to a connection is
//!   sent with numbers from 1; what was, and has no answer, fails with `unconfirmed`, as no receiver could tell a
//!   repeat; unless it is sent [`at_least_once`](SendOptions::at_least_once).
//! - **Events** come once and in order. The last one's place is [`Session::position`]; it is asked for what came after
//!   it at each reconnection. Repeats are dropped by offset, across epochs by their sender's number (the last 64 of
//!   each of the last 512 to 1,024 senders of a room). Where events may be missing, [`Event::Gap`] comes first.
//! - **Actions** and **ephemeral** events are sent now or not at all; **presence** keeps its newest value and is told
//!   again after a reconnection; **history** and **members** are asked again.
//! - **Rooms** that are joined are joined again after each reconnection. A `joined` that comes unasked counts.
//! - **A server is not trusted to be sane**: what can't be read is skipped ([`Event::Unreadable`]); no time that it names is
//!   believed for more than ten minutes; a page that does not come in a minute fails with `unanswered`; of a room at most
//!   16,384 members and as many players' states are kept.
//! - **Bounds**: messages and requests that wait are bounded by [`Config::outbox_bytes`], actions and ephemeral events
//!   that were not yet given out by as much again. [`Session::poll_event`] has to be drained.
//! - After 4501 (taken over), and all other codes after which a client doesn't come back, it is
//!   [`Status::Closed`]: each message that waits is settled, and nothing happens any more. It does come back where a `hello`
//!   of its own, on a connection that it had given up, may have come late and be what took the session over.

mod clock;
mod connection;
mod event;
mod log;
mod membership;
mod outbox;
mod pace;
mod receive;
mod room;
mod seen;
mod send;
mod transmit;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use roomcast_protocol::client::{Member, PlayerState};

pub use event::{
    Config, Connection, Event, HistoryPage, JoinOptions, MembersPage, Receipt, Saved, SavedRoom,
    SendOptions, Status, Terms, Ticket,
};
pub use room::Members;

use crate::error::Error;
use crate::message::Position;
use clock::Clock;
use connection::{Heartbeat, Phase};
use log::Log;
use outbox::{Entry, Stream};
use pace::Pace;
use room::Room;

/// Whose messages: a room's, or without one the direct ones.
type Key = Option<Arc<str>>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A message expires.
    Expire(u64),
    /// What was refused for now is sent again.
    Resume(Key),
    /// A room's join or leave has no answer, or is tried again.
    Room(Arc<str>),
    /// The server takes a message again.
    Pace,
}

/// See the [module](self).
pub struct Session {
    config: Config,
    /// The newest time that was given.
    now: u64,
    phase: Phase,
    status: Status,
    /// Connections that failed in a row.
    attempts: u32,
    /// Times in a row that the server was obeyed, which asked to come back.
    obeyed: u32,
    /// When `welcome` came on this connection.
    welcomed_at: u64,
    /// Whether `welcome` came on this connection.
    welcomed: bool,
    /// Connections that were given up while their `hello` had no answer, and until when one of these may still come.
    late_hellos: (u32, u64),
    /// The server asked to come back then, at another place perhaps.
    come_back: Option<(u64, String)>,
    redirect: Option<String>,
    /// Rooms in `hello`: fewer, if the server said that there are too many.
    most_positions: usize,
    client_id: String,
    resume_token: String,
    terms: Terms,
    /// When a new token is asked for.
    token_due: Option<u64>,
    /// When one was asked for last.
    token_asked_at: u64,
    heartbeat: Heartbeat,
    pace: Pace,
    clock: Clock,
    /// The number of the last request on this connection.
    requests: u32,
    /// Ordered, so that the same calls have the same effects.
    rooms: BTreeMap<Arc<str>, Room>,
    direct: Stream,
    inbox: Log,
    /// Bytes of messages and requests that wait.
    outbox: usize,
    owners: HashMap<u64, Key>,
    last_ticket: u64,
    timers: BTreeSet<(u64, Timer)>,
    /// For this connection, before anything else.
    control: VecDeque<Vec<u8>>,
    /// Actions and ephemeral events for this connection.
    volatile: VecDeque<Vec<u8>>,
    volatile_bytes: usize,
    /// Those that may have something to send, each once.
    ready: VecDeque<Key>,
    events: VecDeque<Event>,
}

impl Session {
    /// A session that wants a connection.
    pub fn new(mut config: Config) -> Session {
        let saved = config.saved.take().unwrap_or_default();
        let mut session = Session {
            now: 0,
            phase: Phase::Connecting,
            status: Status::Connecting,
            attempts: 0,
            obeyed: 0,
            welcomed_at: 0,
            welcomed: false,
            late_hellos: (0, 0),
            come_back: None,
            redirect: None,
            most_positions: usize::MAX,
            client_id: saved.client_id,
            resume_token: saved.resume_token,
            terms: Terms::default(),
            token_due: None,
            token_asked_at: 0,
            heartbeat: Heartbeat::default(),
            pace: Pace::default(),
            clock: Clock::default(),
            requests: 0,
            rooms: BTreeMap::new(),
            direct: Stream::new(saved.next_direct_seq),
            inbox: Log::at(saved.inbox),
            outbox: 0,
            owners: HashMap::new(),
            last_ticket: 0,
            timers: BTreeSet::new(),
            control: VecDeque::new(),
            volatile: VecDeque::new(),
            volatile_bytes: 0,
            ready: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        for room in saved.rooms {
            session
                .rooms
                .insert(room.room.as_str().into(), Room::saved(room));
        }
        session
    }

    /// What is to be done with the connection.
    pub fn connection(&self) -> Connection {
        match &self.phase {
            Phase::Connecting => Connection::Connect,
            Phase::Greeting { .. } | Phase::Open => Connection::Up,
            Phase::Closing { code, .. } => Connection::Close(*code),
            Phase::Waiting { .. } | Phase::Closed => Connection::Down,
        }
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How it stands with the connection.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The session's id; empty before the first `welcome`.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// What the last `welcome` said.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Where to open the next connection, if the server named another place. A driver takes it only where it is as safe
    /// as its own: a token goes there.
    pub fn redirect(&self) -> Option<&str> {
        self.redirect.as_deref()
    }

    /// The median of the last round trips, in milliseconds.
    pub fn rtt(&self) -> Option<u64> {
        self.clock.rtt()
    }

    /// The server's clock at `now`, in milliseconds since the Unix epoch.
    pub fn server_now(&self, now: u64) -> Option<i64> {
        self.clock.server_now(now)
    }

    /// Whether a room is joined on this connection.
    pub fn is_joined(&self, room: &str) -> bool {
        self.rooms.get(room).is_some_and(|room| room.member)
    }

    /// Whether a [`leave`](Session::leave) waits for its answer.
    pub fn is_leaving(&self, room: &str) -> bool {
        self.rooms.get(room).is_some_and(|room| room.leaving)
    }

    /// The last event received in a room that is joined or was before the connection was lost: to be stored, and passed
    /// as [`JoinOptions::since`] in another life.
    pub fn position(&self, room: &str) -> Option<&Position> {
        self.rooms.get(room)?.log.position()
    }

    /// The last direct message received.
    pub fn inbox(&self) -> Option<&Position> {
        self.inbox.position()
    }

    /// What is known of a room that is joined.
    pub fn members(&self, room: &str) -> Option<Members<'_>> {
        let room = self.rooms.get(room)?;
        room.joined_by_app.then(|| room.members())
    }

    /// What the application says of a room that is joined: set by its backend, and told with `joined` and by the event
    /// `roomcast.properties`.
    pub fn properties(&self, room: &str) -> Option<&serde_json::Map<String, serde_json::Value>> {
        let room = self.rooms.get(room)?;
        room.joined_by_app.then_some(&room.properties)
    }

    /// A member by its number.
    pub fn member(&self, room: &str, player_num: u32) -> Option<&Member> {
        self.rooms.get(room)?.listed.get(&player_num)
    }

    /// The state that the server owns, by `player_id`: all that was told, merged.
    pub fn state(&self, room: &str) -> Option<&BTreeMap<String, PlayerState>> {
        Some(&self.rooms.get(room)?.state)
    }

    /// Messages that have no answer: of a room, or the direct ones.
    pub fn unanswered(&self, room: Option<&str>) -> usize {
        match room {
            None => self.direct.len(),
            Some(room) => self.rooms.get(room).map_or(0, |it| it.stream.len()),
        }
    }

    /// Bytes of messages and requests that wait.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox
    }

    /// What it takes to go on in another process.
    pub fn save(&self) -> Saved {
        let used = |room: &Room| room.joined_by_app || room.stream.is_used();
        let rooms = self.rooms.iter().filter(|(_, room)| used(room));
        Saved {
            client_id: self.client_id.clone(),
            resume_token: self.resume_token.clone(),
            inbox: self.inbox.position().cloned(),
            next_direct_seq: self.direct.next_seq(),
            rooms: rooms.map(|(name, room)| room.save(name)).collect(),
        }
    }

    /// What waits for the time.
    pub fn poll_timeout(&self) -> Option<u64> {
        let timers = self.timers.first().map(|(at, _)| *at);
        let up = matches!(self.phase, Phase::Open);
        let phase = match &self.phase {
            Phase::Waiting { at } => Some(*at),
            Phase::Greeting { deadline, .. } => Some(*deadline),
            Phase::Open => self.heartbeat.due(),
            Phase::Connecting | Phase::Closing { .. } | Phase::Closed => None,
        };
        let back = self.come_back.as_ref().filter(|_| up).map(|(at, _)| *at);
        let token = self.token_due.filter(|_| up);
        [timers, phase, back, token].into_iter().flatten().min()
    }

    /// It is `now`.
    pub fn timeout(&mut self, now: u64) {
        self.tick(now);
        self.link_timeout();
        while let Some((at, _)) = self.timers.first()
            && *at <= self.now
            && let Some((_, timer)) = self.timers.pop_first()
        {
            match timer {
                Timer::Expire(ticket) => self.expire(ticket),
                Timer::Resume(key) => self.make_ready(&key),
                Timer::Room(name) => self.room_timeout(&name),
                // What waits is taken when it is asked for.
                Timer::Pace => {}
            }
        }
    }

    fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    fn stream(&mut self, key: &Key) -> Option<&mut Stream> {
        match key {
            None => Some(&mut self.direct),
            Some(name) => self.rooms.get_mut(name).map(|room| &mut room.stream),
        }
    }

    /// It may have something to send.
    fn make_ready(&mut self, key: &Key) {
        if let Some(stream) = self.stream(key)
            && !std::mem::replace(&mut stream.queued, true)
        {
            self.ready.push_back(key.clone());
        }
    }

    /// Nothing of it is sent until then.
    fn resume_at(&mut self, key: &Key, until: u64) {
        // One timer each, however often a server says so.
        let timer = Timer::Resume(key.clone());
        self.timers.retain(|(_, other)| *other != timer);
        self.timers.insert((until, timer));
    }

    /// A number by which an answer is known.
    fn new_request(&mut self) -> u32 {
        self.requests = self.requests.wrapping_add(1).max(1);
        self.requests
    }

    /// A message's end.
    fn settle(&mut self, entry: Entry, result: Result<Receipt, Error>) {
        self.outbox = self.outbox.saturating_sub(entry.weight);
        if entry.ticket == 0 {
            return;
        }
        self.owners.remove(&entry.ticket);
        if entry.expires_at < u64::MAX {
            self.timers
                .remove(&(entry.expires_at, Timer::Expire(entry.ticket)));
        }
        let ticket = Ticket(entry.ticket);
        self.events.push_back(Event::Settled { ticket, result });
    }

    fn settle_all(&mut self, entries: Vec<Entry>, error: impl Fn(&Entry) -> Error) {
        for entry in entries {
            let error = error(&entry);
            self.settle(entry, Err(error));
        }
    }

    fn set_status(&mut self, status: Status) {
        if self.status != status {
            self.status = status.clone();
            self.events.push_back(Event::Status(status));
        }
    }
}

impl fmt::Debug for Session {
    /// Without the tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("client_id", &self.client_id)
            .field("status", &self.status)
            .field("rooms", &self.rooms.keys())
            .field("outbox", &self.outbox)
            .finish_non_exhaustive()
    }
}
