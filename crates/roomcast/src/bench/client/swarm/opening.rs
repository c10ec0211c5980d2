//! Connections made, and brought into their rooms.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::super::conn::{Conn, Phase};
use super::Swarm;
use crate::bench::error::{Error, Result};
use crate::bench::proc;

/// Connections that are begun before those under way are looked at: servers close one that is silent for too long.
const BURST: u32 = 64;

/// How connections are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// How many are on their way at once.
    pub(crate) window: u32,
    /// After this there are no more, and those on their way are given up.
    pub(crate) within: Duration,
    /// The same as soon as one fails, as one that was open is closed, or as the machine has fewer free bytes of memory.
    pub(crate) while_free: Option<u64>,
}

impl Opening {
    /// All of them, whatever becomes of single ones.
    pub(crate) fn all(window: u32, within: Duration) -> Opening {
        Opening {
            window,
            within,
            while_free: None,
        }
    }
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
    /// Why it was stopped, if it was.
    pub(crate) stopped: Option<String>,
}

impl Swarm {
    /// Opens all connections and joins their rooms.
    pub(crate) fn open(&mut self, how: Opening) -> Result<Opened> {
        let begin = Instant::now();
        let mut opened = Opened::default();
        let all = self.plan.shape.connections;
        let closed = self.faults.closed;
        loop {
            let failed: u32 = self.failures.values().sum();
            let done = self.joined + failed;
            if opened.upgraded_after.is_zero() && self.upgraded + failed >= all {
                opened.upgraded_after = begin.elapsed();
            }
            if done >= all {
                break;
            }
            if begin.elapsed() > how.within {
                let late = all - done;
                let reason = "not in its rooms in time".to_owned();
                *self.failures.entry(reason).or_default() += late;
                self.give_up();
                break;
            }
            if let Some(free) = how.while_free {
                let closed = self.faults.closed - closed;
                opened.stopped = match proc::memory_available() {
                    _ if failed > 0 => Some(format!("{failed} connections failed")),
                    _ if closed > 0 => Some(format!("{closed} open connections were closed")),
                    Some(now) if now < free => Some(format!("{} MiB were free", now >> 20)),
                    _ => None,
                };
                if opened.stopped.is_some() {
                    self.give_up();
                    break;
                }
            }
            let more = |swarm: &Swarm| {
                let begun = swarm.conns.len() as u32;
                begun < all && begun - done < how.window
            };
            for _ in 0..BURST {
                if more(self) {
                    self.connect()?;
                }
            }
            let wait = match more(self) {
                true => Duration::ZERO,
                false => Duration::from_millis(100),
            };
            self.turn(wait)?;
        }
        opened.joined_after = begin.elapsed();
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

    /// Senders whose rooms have all their members.
    pub(in crate::bench::client) fn whole(&self) -> Vec<u32> {
        let shape = self.plan.shape;
        let is_in = |conn: u32| {
            let conn = self.conns.get(conn as usize);
            conn.is_some_and(|conn| matches!(conn.phase, Phase::Ready | Phase::Stalled))
        };
        let rooms = (0..shape.rooms).filter(|room| {
            let first = room * shape.members;
            (first..first + shape.members).all(|member| is_in(shape.conn_of(member)))
        });
        let senders = rooms.flat_map(|room| room * shape.senders..(room + 1) * shape.senders);
        senders.collect()
    }

    /// Connections in all their rooms.
    pub(crate) fn present(&self) -> usize {
        let is_in = |conn: &&Conn| matches!(conn.phase, Phase::Ready | Phase::Stalled);
        self.conns.iter().filter(is_in).count()
    }

    /// Closes what is not in its rooms yet.
    fn give_up(&mut self) {
        let under_way = |conn: &&mut Conn| !matches!(conn.phase, Phase::Ready | Phase::Stalled);
        let conns = self.conns.iter_mut().filter(under_way);
        conns.for_each(Conn::reset);
    }

    fn connect(&mut self) -> Result<()> {
        let number = self.conns.len() as u32;
        let to = self.route.of(number, self.plan.shape);
        let small = self.plan.is_stalled(number);
        let from = self.route.source(number, to);
        let conn = match Conn::connect(from, to, small) {
            // Somebody has the port at all addresses.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let any = from.map(|mut from| {
                    from.set_port(0);
                    from
                });
                Conn::connect(any, to, small)
            }
            made => made,
        };
        let conn =
            conn.map_err(|error| Error::new(format!("connection {number} to {to}: {error}")))?;
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
}
