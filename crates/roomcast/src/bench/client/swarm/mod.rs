//! The load generator: an event loop that holds all connections of a run, sends at its pace and checks what arrives.
//!
//! One read per ready socket into one shared buffer, frames looked at where they lie: it has to receive some ten million
//! deliveries a second on one core, or it and not the server would be measured.

mod opening;
mod receive;

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
use super::inflate::Memo;
use super::message::Writer;
use super::plan::{Pace, Plan, Say};
use super::route::Route;
use super::stamp::{Stamp, StampFinder};
use super::state::Positions;
use crate::bench::error::{Error, Result};

pub(crate) use opening::{Opened, Opening};

/// Bytes read at once: in a core's second-level cache, and many frames at once.
const BUFFER: usize = 256 * 1024;

/// Ready sockets taken at once.
const EVENTS: usize = 1024;

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
        let Some(conn) = self.conns.get_mut(number as usize) else {
            return;
        };
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
}
