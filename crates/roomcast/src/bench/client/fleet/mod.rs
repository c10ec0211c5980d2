//! Clients as the Rust SDK's are: its session machine for each, over an event loop.
//!
//! It decodes every message, keeps positions and answers, and comes back by itself. That costs a client some
//! microseconds a message, so that the [swarm](super::swarm) is what loads a server with deliveries.

mod io;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use roomcast_client::session::{
    Config, Connection, Event, JoinOptions, SendOptions, Session, Status, Ticket,
};
use roomcast_client::{Content, Message, Payload, Publish};
use roomcast_websocket::CloseFrame;
use roomcast_websocket::frame::write_close;
use roomcast_websocket::handshake::{ClientRequest, accept_key};
use rustix::event::{Timespec, epoll};

use super::Faults;
use super::conn::Conn;
use super::message::{MASK, fill};
use super::plan::Wire;
use super::route::Route;
use super::stamp::Stamp;
use crate::bench::error::{Error, Result};

/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// Ready sockets taken at once.
const EVENTS: usize = 1024;
/// Rooms of a speaker: a `hello` that resumes has positions of so many at most.
const ROOMS_OF_A_SPEAKER: u32 = 64;
/// Members of a room that come and go.
pub(crate) const MEMBERS: u32 = 8;

/// How long clients wait before they come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Not at all.
    None,
    /// As the SDK does, unless it is told otherwise.
    Sdk,
}

/// Sessions with two rooms each, eight sessions a room, and for each room a speaker who stays.
pub(crate) struct Fleet {
    route: Route,
    request: Vec<u8>,
    accept: String,
    config: Config,
    wire: Wire,
    payload: usize,
    /// The run's part of the rooms' names.
    run: String,
    sessions: u32,
    /// The sessions, and after them the speakers.
    clients: Vec<Client>,
    /// Members of each room, its speaker included.
    members: Vec<u64>,
    /// Messages said, by room.
    said: Vec<u32>,
    start: Instant,
    epoll: OwnedFd,
    buffer: Vec<u8>,
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    random: u64,
    /// Whether connections may break without a fault.
    may_break: bool,
    /// When messages that have no ack were due, since `start`, by client.
    due: HashMap<(u32, Ticket), Duration>,
    /// Messages that were said and have no ack.
    pub(crate) unanswered: u32,
    /// Deliveries of these that have not come.
    pub(crate) lacking: u64,
    /// Clients that are in all their rooms.
    pub(crate) present: u32,
    /// Connections begun.
    pub(crate) attempts: u64,
    /// Connections that were not opened, or broke.
    pub(crate) failures: u64,
    /// The last of their reasons.
    pub(crate) reason: String,
    /// Why connections of clients that were in all their rooms have ended.
    pub(crate) ends: BTreeMap<String, u64>,
    /// When clients were in all their rooms again, since `start`.
    pub(crate) back: Vec<Duration>,
    /// When messages were acked, since `start`.
    pub(crate) acked: Vec<Duration>,
    /// How long after they were due.
    pub(crate) waited: Vec<Duration>,
    pub(crate) faults: Faults,
    /// Sessions that were not resumed.
    pub(crate) forgotten: u64,
    /// Rooms whose log did not reach back.
    pub(crate) gaps: u64,
}

struct Client {
    session: Session,
    conn: Option<Conn>,
    rooms: Vec<u32>,
    /// The number of the next message, by its place in `rooms`.
    expected: Vec<u32>,
    /// Rooms joined on this connection.
    joined: usize,
    /// It was there before.
    returns: bool,
    /// It has a timer for this time.
    timer: u64,
}

impl Fleet {
    /// Clients of a server or of several, none of which is there yet. The names of their rooms begin with `run`.
    pub(crate) fn new(
        route: Route,
        run: String,
        sessions: u32,
        wire: Wire,
        waits: Waits,
    ) -> Result<Fleet> {
        let request = ClientRequest {
            host: &route.host,
            target: &route.path,
            nonce: *b"roomcast-bench!!",
            protocols: &[wire.format().subprotocol()],
            deflate: None,
            headers: &[],
        };
        let mut config = Config {
            format: wire.format(),
            ..Config::default()
        };
        if waits == Waits::None {
            (config.backoff_min_ms, config.backoff_max_ms) = (0, 0);
        }
        Ok(Fleet {
            request: request.encode(),
            route,
            accept: accept_key(b"cm9vbWNhc3QtYmVuY2ghIQ=="),
            config,
            wire,
            payload: 128,
            run,
            sessions,
            clients: Vec::new(),
            members: vec![0; Self::rooms(sessions) as usize],
            said: vec![0; Self::rooms(sessions) as usize],
            start: Instant::now(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            buffer: vec![0; BUFFER],
            timers: BinaryHeap::new(),
            random: 0,
            may_break: false,
            due: HashMap::new(),
            unanswered: 0,
            lacking: 0,
            present: 0,
            attempts: 0,
            failures: 0,
            reason: String::new(),
            ends: BTreeMap::new(),
            back: Vec::new(),
            acked: Vec::new(),
            waited: Vec::new(),
            faults: Faults::default(),
            forgotten: 0,
            gaps: 0,
        })
    }

    /// Rooms of so many sessions.
    pub(crate) fn rooms(sessions: u32) -> u32 {
        2 * Self::halves(sessions)
    }

    /// Connections of so many sessions, speakers included.
    pub(crate) fn connections(sessions: u32) -> u32 {
        sessions + Self::rooms(sessions).div_ceil(ROOMS_OF_A_SPEAKER)
    }

    fn halves(sessions: u32) -> u32 {
        sessions.div_ceil(MEMBERS)
    }

    /// Each session is in one room with its neighbours, and in one with others from everywhere.
    fn rooms_of(&self, number: u32) -> Vec<u32> {
        let half = Self::halves(self.sessions);
        match number.checked_sub(self.sessions) {
            None => vec![number / MEMBERS, half + number % half],
            Some(speaker) => {
                let first = speaker * ROOMS_OF_A_SPEAKER;
                (first..(first + ROOMS_OF_A_SPEAKER).min(2 * half)).collect()
            }
        }
    }

    /// Brings all clients into their rooms, at most `window` being on their way at once.
    pub(crate) fn open(&mut self, window: u32, within: Duration) -> Result<()> {
        let all = Self::connections(self.sessions);
        let deadline = Instant::now() + within;
        while self.present < all {
            if Instant::now() > deadline {
                return Err(Error::new(format!(
                    "only {} of {all} clients got into their rooms; the last failure: {}",
                    self.present, self.reason
                )));
            }
            while self.clients.len() < all.min(self.present + window) as usize {
                self.add()?;
            }
            self.turn(Duration::from_millis(50))?;
        }
        Ok(())
    }

    fn add(&mut self) -> Result<()> {
        let number = self.clients.len() as u32;
        let mut session = Session::new(self.config.clone());
        let rooms = self.rooms_of(number);
        for room in &rooms {
            self.members[*room as usize] += 1;
            session
                .join(self.now(), &self.name(*room), JoinOptions::default())
                .map_err(|error| Error::new(error.to_string()))?;
        }
        self.clients.push(Client {
            session,
            conn: None,
            expected: vec![0; rooms.len()],
            rooms,
            joined: 0,
            returns: false,
            timer: u64::MAX,
        });
        self.step(number)
    }

    fn name(&self, room: u32) -> String {
        format!("{}-{room}", self.run)
    }

    /// Breaks the connections of all sessions at once. The clients are not told before [`Fleet::come_back`].
    pub(crate) fn drop_all(&mut self) {
        for client in &mut self.clients[..self.sessions as usize] {
            if let Some(mut conn) = client.conn.take() {
                conn.reset();
            }
            client.joined = 0;
            client.returns = true;
        }
        self.present -= self.sessions;
    }

    /// From now on connections may be lost: whose client comes back is counted.
    pub(crate) fn expect_returns(&mut self) {
        self.may_break = true;
        self.clients.iter_mut().for_each(|it| it.returns = true);
        self.back.clear();
    }

    /// Tells the clients that their connections are gone: from here on they do what the SDK does.
    pub(crate) fn come_back(&mut self) -> Result<()> {
        for number in 0..self.sessions {
            self.disconnected(number, 1006, "");
            self.step(number)?;
            // The server's answers are taken meanwhile, as those of independent clients would be.
            if number % 64 == 0 {
                self.turn(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    /// Says something in a room.
    pub(crate) fn say(&mut self, room: u32) -> Result<()> {
        self.say_due(room, self.elapsed())
    }

    /// Says something in each room, evenly over a time. Neighbours in it have different speakers.
    pub(crate) fn say_over(&mut self, time: Duration) -> Result<()> {
        self.acked.clear();
        self.waited.clear();
        let (begin, rooms) = (self.elapsed(), Self::rooms(self.sessions));
        let of_speakers = |first| (first..rooms).step_by(ROOMS_OF_A_SPEAKER as usize);
        for (number, room) in (0..ROOMS_OF_A_SPEAKER).flat_map(of_speakers).enumerate() {
            let due = begin + time * number as u32 / rooms;
            // Answers are taken meanwhile, also by who is late.
            if number % 64 == 0 {
                self.turn(Duration::ZERO)?;
            }
            while let Some(left) = due.checked_sub(self.elapsed()).filter(|it| !it.is_zero()) {
                self.turn(left)?;
            }
            self.say_due(room, due)?;
        }
        Ok(())
    }

    fn say_due(&mut self, room: u32, due: Duration) -> Result<()> {
        let stamp = Stamp {
            sender: room,
            counter: self.said[room as usize],
            due: 0,
        };
        let mut text = Vec::new();
        fill(stamp, self.payload, &mut text);
        let publish = Publish::Event {
            name: "bench".to_owned(),
            payload: Payload::text(&String::from_utf8_lossy(&text)),
        };
        let (now, name) = (self.now(), self.name(room));
        let speaker = self.sessions + room / ROOMS_OF_A_SPEAKER;
        let session = &mut self.clients[speaker as usize].session;
        let ticket = session
            .send(now, &name, publish, SendOptions::default())
            .map_err(|error| Error::new(error.to_string()))?;
        self.due.insert((speaker, ticket), due);
        self.said[room as usize] += 1;
        self.unanswered += 1;
        self.lacking += self.members[room as usize];
        self.step(speaker)
    }

    /// Since the fleet was made.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Ends all connections.
    pub(crate) fn close(&mut self) {
        let conns = self.clients.iter_mut().filter_map(|it| it.conn.as_mut());
        conns.for_each(Conn::reset);
    }

    /// Waits at most so long, and serves what is ready.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<()> {
        let now = self.now();
        let due = self.timers.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        let wait = wait.min(Duration::from_millis(due.saturating_sub(now)));
        let timeout = Timespec {
            tv_sec: wait.as_secs() as i64,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut space = [const { MaybeUninit::uninit() }; EVENTS];
        let events: &[epoll::Event] = match epoll::wait(&self.epoll, &mut space, Some(&timeout)) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => &[],
            Err(error) => return Err(error.into()),
        };
        for event in events {
            let number = event.data.u64() as u32;
            if let Err(error) = self.serve(number, event.flags) {
                self.lost(number, 1006, &error.to_string());
            }
            self.step(number)?;
        }
        self.time()
    }

    fn time(&mut self) -> Result<()> {
        let now = self.now();
        while let Some(Reverse((at, number))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            let client = &mut self.clients[number as usize];
            // Others are of times that were given up for an earlier one.
            if client.timer == at {
                client.timer = u64::MAX;
                client.session.timeout(now);
                self.step(number)?;
            }
        }
        Ok(())
    }

    /// Does what a session asks for, and takes what it tells.
    fn step(&mut self, number: u32) -> Result<()> {
        loop {
            let client = &mut self.clients[number as usize];
            match (client.session.connection(), client.conn.is_some()) {
                (Connection::Connect, false) => {
                    self.connect(number)?;
                    break;
                }
                (Connection::Up, true) => {
                    self.transmit(number);
                    break;
                }
                (Connection::Close(code), true) => {
                    let mut close = Vec::new();
                    let frame = CloseFrame { code, reason: "" };
                    write_close(&mut close, Some(frame), Some(MASK));
                    self.write(number, &close);
                    let reason = format!("given up by the client with {code}");
                    self.lost(number, 1006, &reason);
                }
                _ => break,
            }
        }
        self.listen(number);
        let client = &mut self.clients[number as usize];
        if let Some(at) = client.session.poll_timeout()
            && at < client.timer
        {
            client.timer = at;
            self.timers.push(Reverse((at, number)));
        }
        Ok(())
    }

    /// Takes what a session tells.
    fn listen(&mut self, number: u32) {
        while let Some(event) = self.clients[number as usize].session.poll_event() {
            let client = &mut self.clients[number as usize];
            match event {
                Event::Message { room, message } => self.heard(number, &room, &message),
                Event::Gap { .. } => self.gaps += 1,
                // One more comes unasked to who reads too slowly; a gap is told then too.
                Event::Joined { .. } if client.joined < client.rooms.len() => {
                    client.joined += 1;
                    if client.joined == client.rooms.len() {
                        self.present += 1;
                        if client.returns {
                            self.back.push(self.start.elapsed());
                        }
                    }
                }
                Event::Status(Status::Connected { resumed }) => {
                    self.forgotten += u64::from(client.returns && !resumed);
                }
                Event::Settled { ticket, result } => {
                    let now = self.start.elapsed();
                    self.unanswered -= 1;
                    self.acked.push(now);
                    let due = self.due.remove(&(number, ticket));
                    self.waited
                        .push(now.saturating_sub(due.unwrap_or_default()));
                    self.faults.errors += u64::from(result.is_err());
                }
                Event::Left { .. } | Event::Refused { .. } => self.faults.errors += 1,
                Event::Unreadable(_) => self.faults.undecodable += 1,
                _ => {}
            }
        }
    }

    /// Each message of a room is the one after the one before.
    fn heard(&mut self, number: u32, room: &str, message: &Message) {
        let Content::Event { payload, .. } = &message.content else {
            return;
        };
        let Some(stamp) = Stamp::parse(payload.data()) else {
            return;
        };
        let client = &mut self.clients[number as usize];
        let place = client.rooms.iter().position(|it| *it == stamp.sender);
        let named = room
            .rsplit_once('-')
            .and_then(|(_, room)| room.parse().ok());
        let Some(place) = place.filter(|_| named == Some(stamp.sender)) else {
            self.faults.misdelivered += 1;
            return;
        };
        let expected = &mut client.expected[place];
        if stamp.counter < *expected {
            self.faults.twice += 1;
            return;
        }
        self.faults.lost += u64::from(stamp.counter - *expected);
        self.lacking -= u64::from(stamp.counter + 1 - *expected);
        *expected = stamp.counter + 1;
    }
}
