//! The load generator: an event loop that holds all connections of a run, sends at its pace and checks what arrives.
//!
//! One read per ready socket into one shared buffer, frames looked at where they lie: it has to receive some ten million
//! deliveries a second on one core, or it and not the server would be measured.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use roomcast_websocket::handshake::{ClientRequest, accept_key};
use rustix::event::{Timespec, epoll};

use super::check::{Checker, Faults};
use super::conn::{Conn, Phase};
use super::frames::{self, Frame};
use super::inflate::Memo;
use super::message::{self, Notice, Writer};
use super::plan::{Pace, Plan, Say};
use super::route::Route;
use super::sample;
use super::stamp::{Stamp, StampFinder};
use super::state::Positions;
use crate::bench::error::{Error, Result};

/// Bytes read at once: in a core's second-level cache, and many frames at once.
const BUFFER: usize = 256 * 1024;

/// Ready sockets taken at once.
const EVENTS: usize = 1024;

/// One delivery in so many is decoded whole.
const SAMPLE: u64 = 4_001;

/// Latencies up to two minutes, in microseconds.
pub(crate) fn latencies() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 120_000_000, 3).map_err(|error| Error::new(error.to_string()))
}

/// Traffic so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Stamped messages received.
    pub(crate) deliveries: u64,
    /// Bytes received, WebSocket headers included.
    pub(crate) bytes: u64,
    /// `sync` messages received.
    pub(crate) syncs: u64,
    /// Stamped messages sent.
    pub(crate) sent: u64,
}

/// How the opening of the connections went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened {
    /// From the first `connect` until all WebSockets were open.
    pub(crate) upgraded_after: Duration,
    /// From the first `connect` until all were in their rooms.
    pub(crate) joined_after: Duration,
    /// Connections in their rooms.
    pub(crate) joined: u32,
    /// Connections that were refused or broke, by reason.
    pub(crate) failures: BTreeMap<String, u32>,
}

/// The connections of a run and everything about them.
pub(crate) struct Swarm {
    pub(super) plan: Plan,
    pub(super) conns: Vec<Conn>,
    pub(super) start: Instant,
    /// Messages sent, by sender.
    pub(super) sent: Vec<u32>,
    pub(super) checker: Checker,
    pub(super) counts: Counts,
    pub(super) faults: Faults,
    /// Microseconds from when a message was due until it arrived.
    pub(super) latency: Histogram<u64>,
    /// Messages due from the first until before the second, in microseconds since `start`, are in `latency`.
    pub(super) window: (u32, u32),
    /// Windows of before, and the latencies of what was due in them.
    pub(super) earlier: Vec<((u32, u32), Histogram<u64>)>,
    /// In a closed loop: whether what has arrived is followed by the next message.
    pub(super) sending: bool,
    /// In a closed loop, by sender: deliveries until as many have come as a message makes. Waiting for the sender's own
    /// would let it run ahead of members on a slower shard.
    pub(super) under_way: Vec<u32>,
    /// Senders that have a message less under way.
    through: Vec<u32>,
    /// When a `move` was due, where `sync`s are what is waited for.
    pub(super) schedule: Option<super::pace::Schedule>,
    /// Whether a sample of the deliveries is decoded: a bare loop's are no messages of a server.
    pub(crate) decode_sample: bool,
    /// The first `error` from the server.
    pub(super) first_error: Option<String>,
    epoll: OwnedFd,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    writer: Writer,
    finder: StampFinder,
    positions: Positions,
    /// By membership and place: the number after the newest move that a `sync` showed.
    shown: Vec<u32>,
    inflated: Memo,
    route: Route,
    request: Vec<u8>,
    accept: String,
    upgraded: u32,
    joined: u32,
    failures: BTreeMap<String, u32>,
}

impl Swarm {
    /// A swarm that will connect there.
    pub(crate) fn new(route: Route, plan: Plan) -> Result<Swarm> {
        let nonce = *b"roomcast-bench!!";
        let request = ClientRequest {
            host: &route.host,
            target: &route.path,
            nonce,
            protocols: &[plan.wire.format().subprotocol()],
            deflate: plan.deflate.then(Default::default),
            headers: &[],
        };
        let shape = plan.shape;
        let shown = if plan.say == Say::Move {
            shape.memberships() * shape.senders
        } else {
            0
        };
        Ok(Swarm {
            conns: Vec::with_capacity(shape.connections as usize),
            start: Instant::now(),
            sent: vec![0; shape.all_senders() as usize],
            checker: Checker::new(shape),
            counts: Counts::default(),
            faults: Faults::default(),
            latency: latencies()?,
            window: (u32::MAX, u32::MAX),
            earlier: Vec::new(),
            sending: false,
            under_way: Vec::new(),
            through: Vec::new(),
            schedule: None,
            decode_sample: true,
            first_error: None,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            buffer: vec![0; BUFFER],
            scratch: Vec::new(),
            writer: Writer::new(&plan),
            finder: StampFinder::new(),
            positions: Positions::new(),
            shown: vec![0; shown as usize],
            inflated: Memo::new(),
            request: request.encode(),
            route,
            accept: accept_key(b"cm9vbWNhc3QtYmVuY2ghIQ=="),
            upgraded: 0,
            joined: 0,
            failures: BTreeMap::new(),
            plan,
        })
    }

    /// Opens all connections and joins their rooms, at most `window` being on their way at once.
    pub(crate) fn open(&mut self, window: u32, within: Duration) -> Result<Opened> {
        let begin = Instant::now();
        let mut opened = Opened::default();
        let all = self.plan.shape.connections;
        loop {
            let failed: u32 = self.failures.values().sum();
            let done = self.joined + failed;
            if opened.upgraded_after.is_zero() && self.upgraded + failed >= all {
                opened.upgraded_after = begin.elapsed();
            }
            if done >= all {
                opened.joined_after = begin.elapsed();
                break;
            }
            if begin.elapsed() > within {
                let late = all - done;
                *self
                    .failures
                    .entry("not in its rooms in time".to_owned())
                    .or_default() += late;
                opened.joined_after = begin.elapsed();
                break;
            }
            while (self.conns.len() as u32) < all && self.conns.len() as u32 - done < window {
                self.connect()?;
            }
            self.turn(Duration::from_millis(100))?;
        }
        opened.joined = self.joined;
        opened.failures = self.failures.clone();
        Ok(opened)
    }

    /// Opens the next connection, and waits until it is in its rooms.
    pub(crate) fn open_next(&mut self, within: Duration) -> Result<()> {
        let (begin, joined) = (Instant::now(), self.joined);
        self.connect()?;
        while self.joined == joined {
            if begin.elapsed() > within || !self.failures.is_empty() {
                return Err(Error::new("a connection did not get into its rooms"));
            }
            self.turn(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// How the next messages are sent.
    pub(crate) fn pace(&mut self, pace: Pace, measure: Duration) {
        (self.plan.pace, self.plan.measure) = (pace, measure);
    }

    /// Only answers pings for a while.
    pub(crate) fn wait(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.turn(left)?;
        }
        Ok(())
    }

    /// Ends all connections.
    pub(crate) fn close(&mut self) {
        self.conns.iter_mut().for_each(Conn::reset);
    }

    /// The first `error` that the server sent, as it came.
    pub(crate) fn first_error(&self) -> Option<&str> {
        self.first_error.as_deref()
    }

    /// What went wrong so far.
    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }

    /// Microseconds since the swarm was made.
    pub(super) fn now(&self) -> u32 {
        self.start.elapsed().as_micros() as u32
    }

    /// Waits at most so long, and serves what is ready.
    pub(super) fn turn(&mut self, wait: Duration) -> Result<()> {
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
            let flags = event.flags;
            let result = self.serve(number, flags);
            if let Err(error) = result {
                self.lost(number, &error);
            }
        }
        if !self.through.is_empty() && self.sending {
            self.answer();
        }
        Ok(())
    }

    /// Sends `count` messages of a sender in one write.
    pub(super) fn say(&mut self, sender: u32, count: u32, due: u32) {
        let shape = self.plan.shape;
        let (room, place) = (sender / shape.senders, sender % shape.senders);
        let number = shape.conn_of_sender(sender);
        self.scratch.clear();
        for _ in 0..count {
            let counter = self.sent[sender as usize];
            let stamp = Stamp {
                sender,
                counter,
                due,
            };
            self.writer.say(room, place, stamp, &mut self.scratch);
            self.sent[sender as usize] += 1;
            self.counts.sent += 1;
        }
        let frames = std::mem::take(&mut self.scratch);
        self.write(number, &frames);
        self.scratch = frames;
    }

    fn connect(&mut self) -> Result<()> {
        let number = self.conns.len() as u32;
        let to = self.route.of(number, self.plan.shape);
        let from = self.route.source(number, to);
        let conn = Conn::connect(from, to, self.plan.is_stalled(number))
            .map_err(|error| Error::new(format!("connection {number} to {to}: {error}")))?;
        if let Some(stream) = &conn.stream {
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            epoll::add(
                &self.epoll,
                stream,
                epoll::EventData::new_u64(number.into()),
                flags,
            )?;
        }
        self.conns.push(conn);
        Ok(())
    }

    fn serve(&mut self, number: u32, flags: epoll::EventFlags) -> io::Result<()> {
        let conn = &mut self.conns[number as usize];
        if conn.phase == Phase::Connecting {
            if let Some(error) = conn
                .stream
                .as_ref()
                .and_then(|s| s.take_error().transpose())
            {
                return Err(error.unwrap_or_else(|error| error));
            }
            if !flags.contains(epoll::EventFlags::OUT) {
                return Ok(());
            }
            conn.phase = Phase::Upgrading;
            let request = std::mem::take(&mut self.request);
            self.write(number, &request);
            self.request = request;
            return self.interest(number);
        }
        if flags.contains(epoll::EventFlags::OUT) && conn.flush()? {
            self.interest(number)?;
        }
        if self.conns[number as usize].phase == Phase::Stalled {
            let gone = epoll::EventFlags::ERR | epoll::EventFlags::HUP;
            return if flags.intersects(gone) {
                Err(io::ErrorKind::BrokenPipe.into())
            } else {
                Ok(())
            };
        }
        self.read(number)
    }

    /// Asks for what the connection's phase needs.
    fn interest(&mut self, number: u32) -> io::Result<()> {
        let conn = &self.conns[number as usize];
        let Some(stream) = &conn.stream else {
            return Ok(());
        };
        let mut flags = match conn.phase {
            Phase::Stalled | Phase::Closed => epoll::EventFlags::empty(),
            _ => epoll::EventFlags::IN,
        };
        flags.set(
            epoll::EventFlags::OUT,
            !conn.out.is_empty() || conn.phase == Phase::Connecting,
        );
        let data = epoll::EventData::new_u64(number.into());
        Ok(epoll::modify(&self.epoll, stream, data, flags)?)
    }

    fn write(&mut self, number: u32, bytes: &[u8]) {
        let conn = &mut self.conns[number as usize];
        let waits = !conn.out.is_empty();
        let result = match conn.write(bytes) {
            // Once is enough: what is added later goes out with what is waiting.
            Ok(false) if !waits => self.interest(number),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.lost(number, &error);
        }
    }

    fn lost(&mut self, number: u32, error: &io::Error) {
        let conn = &mut self.conns[number as usize];
        match conn.phase {
            Phase::Closed => return,
            Phase::Ready | Phase::Stalled => self.faults.closed += 1,
            phase => {
                // Its place in the sum of the upgraded is taken by its failure.
                if matches!(phase, Phase::Joining(_)) {
                    self.upgraded -= 1;
                }
                *self.failures.entry(error.to_string()).or_default() += 1;
            }
        }
        conn.reset();
    }

    fn read(&mut self, number: u32) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.read_into(number, &mut buffer);
        self.buffer = buffer;
        result
    }

    fn read_into(&mut self, number: u32, buffer: &mut [u8]) -> io::Result<()> {
        let conn = &mut self.conns[number as usize];
        let Some(mut input) = conn.read(buffer)? else {
            return Ok(());
        };
        if conn.phase == Phase::Upgrading {
            let Some(rest) = conn.upgraded(input, &self.accept)? else {
                return Ok(());
            };
            input = rest;
            self.upgrade(number)?;
        }
        self.counts.bytes += input.len() as u64;
        let rest = self.take_frames(number, input)?;
        self.conns[number as usize].partial.extend_from_slice(rest);
        Ok(())
    }

    fn upgrade(&mut self, number: u32) -> io::Result<()> {
        let mut joins = Vec::new();
        if self.plan.greets {
            self.writer.hello(&mut joins);
        }
        let mut rooms = 0;
        for room in self.plan.shape.rooms_of(number) {
            self.writer.join(room, &mut joins);
            rooms += 1;
        }
        self.conns[number as usize].phase = Phase::Joining(rooms);
        self.upgraded += 1;
        self.write(number, &joins);
        Ok(())
    }

    /// Looks at all whole frames in `input` and returns the rest.
    fn take_frames<'a>(&mut self, number: u32, mut input: &'a [u8]) -> io::Result<&'a [u8]> {
        let now = self.now();
        let mut place = self.conns[number as usize].place;
        loop {
            let next = frames::next(input);
            let next = next.map_err(|_| io::Error::other("the server broke RFC 6455"))?;
            let Some((frame, len)) = next else { break };
            input = &input[len..];
            if frame.opcode > 2 {
                self.control(number, &frame)?;
                continue;
            }
            if frame.compressed {
                let stamp = self.inflated.stamp(frame.payload, &self.finder)?;
                match stamp {
                    Some(stamp) => self.delivery(number, now, stamp),
                    None => {
                        let message = self.inflated.message().to_vec();
                        self.message(number, now, &message);
                    }
                }
                continue;
            }
            match self.finder.find(frame.payload, &mut place) {
                Some(stamp) => {
                    if self.decode_sample && self.counts.deliveries.is_multiple_of(SAMPLE) {
                        let fine = sample::decodes(self.plan.wire, frame.payload);
                        self.faults.undecodable += u64::from(!fine);
                    }
                    self.delivery(number, now, stamp);
                }
                None => self.message(number, now, frame.payload),
            }
        }
        self.conns[number as usize].place = place;
        Ok(input)
    }

    #[inline]
    fn delivery(&mut self, number: u32, now: u32, stamp: Stamp) {
        let shape = self.plan.shape;
        self.counts.deliveries += 1;
        let sent = self.sent.get(stamp.sender as usize).copied().unwrap_or(0);
        self.checker
            .delivered(number, stamp, sent, &mut self.faults);
        let own = sent > 0 && shape.conn_of_sender(stamp.sender) == number;
        if self.sending
            && let Some(under_way) = self.under_way.get_mut(stamp.sender as usize)
        {
            *under_way -= 1;
            if *under_way == 0 {
                *under_way = shape.members;
                self.through.push(stamp.sender);
            }
        }
        // In a closed loop the sender's own way there and back says enough, and costs less.
        if own || matches!(self.plan.pace, Pace::Rate(_)) {
            let took = u64::from(now.saturating_sub(stamp.due));
            if stamp.due >= self.window.0 && stamp.due < self.window.1 {
                self.latency.saturating_record(took);
            } else if !self.earlier.is_empty() {
                self.late(stamp.due, took);
            }
        }
    }

    /// What was due in an earlier window counts there, however late it is.
    #[cold]
    fn late(&mut self, due: u32, took: u64) {
        let mut windows = self.earlier.iter_mut();
        if let Some((_, latency)) = windows.find(|((from, until), _)| due >= *from && due < *until)
        {
            latency.saturating_record(took);
        }
    }

    /// In a closed loop, the messages that follow those that have reached everybody.
    fn answer(&mut self) {
        let mut through = std::mem::take(&mut self.through);
        through.sort_unstable();
        for same in through.chunk_by(|a, b| a == b) {
            let now = self.now();
            self.say(same[0], same.len() as u32, now);
        }
        through.clear();
        self.through = through;
    }

    fn control(&mut self, number: u32, frame: &Frame<'_>) -> io::Result<()> {
        match frame.opcode {
            8 => {
                let code = frame
                    .payload
                    .first_chunk()
                    .map_or(1005, |code| u16::from_be_bytes(*code));
                let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default());
                Err(io::Error::other(format!(
                    "the server closed with {code} {reason}"
                )))
            }
            9 => {
                let mut pong = Vec::new();
                message::pong(&mut pong, frame.payload);
                self.write(number, &pong);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A message without a stamp.
    fn message(&mut self, number: u32, now: u32, message: &[u8]) {
        match message::notice(self.plan.wire, message) {
            Notice::Joined => self.room_joined(number),
            Notice::Error => {
                self.faults.errors += 1;
                if self.first_error.is_none() {
                    self.first_error = Some(String::from_utf8_lossy(message).into_owned());
                }
            }
            Notice::Sync => {
                self.counts.syncs += 1;
                self.sync(number, now, message);
            }
            Notice::Other => {}
        }
    }

    fn room_joined(&mut self, number: u32) {
        let stalls = self.plan.is_stalled(number);
        let conn = &mut self.conns[number as usize];
        let Phase::Joining(left) = conn.phase else {
            return;
        };
        if left > 1 {
            conn.phase = Phase::Joining(left - 1);
            return;
        }
        conn.phase = if stalls { Phase::Stalled } else { Phase::Ready };
        self.joined += 1;
        if stalls && let Err(error) = self.interest(number) {
            self.lost(number, &error);
        }
    }

    /// Every move that this `sync` is the first to show to this connection, and how long each took.
    fn sync(&mut self, number: u32, now: u32, sync: &[u8]) {
        let shape = self.plan.shape;
        let Some(schedule) = &self.schedule else {
            return;
        };
        let room = number / shape.members;
        self.positions.read(sync, |place, counter| {
            let sender = room * shape.senders + place;
            let sent = self.sent.get(sender as usize).copied().unwrap_or(0);
            if place >= shape.senders || counter >= sent {
                self.faults.misdelivered += 1;
                return;
            }
            let shown = &mut self.shown[(number * shape.senders + place) as usize];
            // A full state repeats what is known; it never goes back.
            self.faults.disordered += u64::from(counter + 1 < *shown);
            for counter in *shown..=counter {
                let due = schedule.due(sender, counter);
                if due >= self.window.0 && due < self.window.1 {
                    self.latency
                        .saturating_record(u64::from(now.saturating_sub(due)));
                }
                self.counts.deliveries += 1;
            }
            *shown = (*shown).max(counter + 1);
        });
    }

    /// Moves whose effect, or a later one, not everybody has seen.
    pub(super) fn unseen(&self) -> u64 {
        let shape = self.plan.shape;
        let missing = self.shown.iter().enumerate().map(|(index, &shown)| {
            let (number, place) = (index as u32 / shape.senders, index as u32 % shape.senders);
            let sender = number / shape.members * shape.senders + place;
            u64::from(self.sent[sender as usize].saturating_sub(shown))
        });
        missing.sum()
    }
}
