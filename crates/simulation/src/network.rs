//! Connections as streams of bytes: late, in pieces of any size, stalled, and cut anywhere.

use std::collections::VecDeque;

use roomcast_core::driver;

use crate::random::Random;

/// Milliseconds that nothing lasts as long as.
pub(crate) const NEVER: u64 = u64::MAX;

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Bytes on their way, and when they are there.
    segments: VecDeque<(u64, Vec<u8>)>,
    held: usize,
    /// Bytes that may be on their way: then the writer's socket is full.
    pub(crate) window: usize,
    pub(crate) stalled_until: u64,
    /// When the writer's end comes after the bytes; [`NEVER`]: not yet.
    ends_at: u64,
    /// The network is gone: nothing that is written now will be there.
    broken: bool,
    /// Bytes that were read.
    taken: u64,
    /// What had come when the reader was told last.
    reported: u64,
}

/// What there is to read.
pub(crate) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    End,
}

impl Pipe {
    fn new(window: usize) -> Pipe {
        Pipe {
            segments: VecDeque::new(),
            held: 0,
            window,
            stalled_until: 0,
            ends_at: NEVER,
            broken: false,
            taken: 0,
            reported: 0,
        }
    }

    /// Takes as many bytes as there is room for.
    pub(crate) fn write(
        &mut self,
        now: u64,
        bytes: &[u8],
        random: &mut Random,
        latency: u64,
    ) -> usize {
        let taken = bytes.len().min(self.window.saturating_sub(self.held));
        self.held += taken;
        if self.broken {
            return taken;
        }
        let mut left = &bytes[..taken];
        while !left.is_empty() {
            // Mostly as it was written, and sometimes cut to pieces.
            let most = left.len() as u64;
            let length = if random.chance(250) {
                1 + random.below(most)
            } else {
                most
            };
            let (piece, rest) = left.split_at(length as usize);
            let last = self.segments.back().map_or(0, |(due, _)| *due);
            let due = last.max(now + random.below(latency + 1));
            match self.segments.back_mut() {
                Some((at, before)) if *at == due && random.chance(500) => {
                    before.extend_from_slice(piece);
                }
                _ => self.segments.push_back((due, piece.to_vec())),
            }
            left = rest;
        }
        taken
    }

    pub(crate) fn has_room(&self) -> bool {
        self.held < self.window
    }

    pub(crate) fn read(&mut self, now: u64) -> Read {
        if self.stalled_until > now {
            return Read::Nothing;
        }
        match self.segments.front() {
            Some((due, _)) if *due <= now => {}
            None if self.ends_at <= now => return Read::End,
            _ => return Read::Nothing,
        }
        let (_, bytes) = self.segments.pop_front().unwrap();
        self.held -= bytes.len();
        Read::Bytes(bytes)
    }

    /// Fills `input` with what is there, as a socket does: fewer bytes than it has room for, and there are no more.
    pub(crate) fn fill(&mut self, now: u64, input: &mut [u8]) -> driver::Read {
        if self.stalled_until > now {
            // A poll had told of it, and no read took it: it is news when the stall ends.
            self.forget_news();
            return driver::Read::Nothing;
        }
        let mut filled = 0;
        while filled < input.len()
            && let Some((due, bytes)) = self.segments.front_mut()
            && *due <= now
        {
            let part = bytes.len().min(input.len() - filled);
            input[filled..filled + part].copy_from_slice(&bytes[..part]);
            filled += part;
            bytes.drain(..part);
            if bytes.is_empty() {
                self.segments.pop_front();
            }
        }
        self.held -= filled;
        self.taken += filled as u64;
        match filled {
            0 if self.has_ended(now) => driver::Read::End,
            0 => driver::Read::Nothing,
            filled => driver::Read::Bytes(filled),
        }
    }

    /// Whether the writer's end is there, behind bytes or not.
    pub(crate) fn has_ended(&self, now: u64) -> bool {
        let there = self.segments.back().is_none_or(|(due, _)| *due <= now);
        there && self.ends_at <= now && self.stalled_until <= now
    }

    pub(crate) fn is_readable(&self, now: u64) -> bool {
        let there = self.segments.front().is_some_and(|(due, _)| *due <= now);
        (there || self.has_ended(now)) && self.stalled_until <= now
    }

    /// Whether there is something to read, or [`Pipe::has_news`] has something to say.
    pub(crate) fn stirs(&self, now: u64) -> bool {
        if self.stalled_until > now {
            return false;
        }
        self.is_readable(now) || self.taken != self.reported
    }

    /// Whether anything has come, or the end, since this was asked last.
    pub(crate) fn has_news(&mut self, now: u64) -> bool {
        if self.stalled_until > now {
            return false;
        }
        let there = self.segments.iter().take_while(|(due, _)| *due <= now);
        let there: usize = there.map(|(_, bytes)| bytes.len()).sum();
        let end = u64::from(self.has_ended(now)) << 62;
        let come = end + self.taken + there as u64;
        come != std::mem::replace(&mut self.reported, come)
    }

    /// What is there and was not read is news again.
    pub(crate) fn forget_news(&mut self) {
        self.reported = self.taken;
    }

    /// When there is something to read.
    pub(crate) fn due(&self) -> Option<u64> {
        let due = match self.segments.front() {
            Some((due, _)) => *due,
            None => self.ends_at,
        };
        (due != NEVER).then(|| due.max(self.stalled_until))
    }

    /// The writer has closed its end.
    pub(crate) fn end(&mut self, now: u64) {
        if !self.broken {
            self.ends_at = self.ends_at.min(now);
        }
    }

    /// Some of what is on its way is still there, up to any byte; then nothing. The reader notices at `told`.
    fn cut(&mut self, random: &mut Random, reported: u64) {
        let flying: usize = self.segments.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut keep = match random.below(3) {
            0 => 0,
            1 => flying,
            _ => random.below(flying as u64 + 1) as usize,
        };
        for (_, bytes) in &mut self.segments {
            bytes.truncate(keep);
            keep -= bytes.len();
        }
        self.segments.retain(|(_, bytes)| !bytes.is_empty());
        self.broken = true;
        self.ends_at = reported;
    }
}

/// A connection. Each end may be gone without the other's knowing.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    pub(crate) client_open: bool,
    pub(crate) server_open: bool,
    pub(crate) cut: bool,
    pub(crate) opened_at: u64,
    /// When the server gave the session away that this connection had; [`NEVER`]: not yet.
    pub(crate) released_at: u64,
    latency: u64,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) wires: Vec<Wire>,
    /// Those that one of the ends may have yet.
    pub(crate) open: Vec<usize>,
    pub(crate) random: Random,
    /// Milliseconds that a byte takes at most.
    pub(crate) latency: u64,
    /// The smallest and the largest socket buffer.
    pub(crate) windows: (u64, u64),
}

impl Network {
    pub(crate) fn open(&mut self, now: u64) -> usize {
        let (least, most) = self.windows;
        let random = &mut self.random;
        let mut window = || (least + random.below(most - least + 1)) as usize;
        self.wires.push(Wire {
            up: Pipe::new(window()),
            down: Pipe::new(window()),
            client_open: true,
            server_open: true,
            cut: false,
            opened_at: now,
            released_at: NEVER,
            latency: self.latency,
        });
        let wire = self.wires.len() - 1;
        self.open.push(wire);
        wire
    }

    /// The network between the two is gone. Each of them notices at its own time, or by its own means.
    pub(crate) fn cut(&mut self, wire: usize, now: u64) {
        let random = &mut self.random;
        let mut reported = || match random.below(3) {
            0 => now,
            1 => now + random.below(3_000),
            _ => NEVER,
        };
        let (server, client) = (reported(), reported());
        let wire = &mut self.wires[wire];
        wire.cut = true;
        wire.up.cut(&mut self.random, server);
        wire.down.cut(&mut self.random, client);
    }

    /// As [`Network::cut`], and the server knows.
    pub(crate) fn cut_now(&mut self, wire: usize, now: u64) {
        let wire = &mut self.wires[wire];
        wire.cut = true;
        wire.up.cut(&mut self.random, now);
        wire.down.cut(&mut self.random, now);
    }

    pub(crate) fn client_writes(&mut self, wire: usize, now: u64, bytes: &[u8]) -> usize {
        let wire = &mut self.wires[wire];
        wire.up.write(now, bytes, &mut self.random, wire.latency)
    }

    pub(crate) fn server_writes(&mut self, wire: usize, now: u64, bytes: &[u8]) -> usize {
        let wire = &mut self.wires[wire];
        wire.down.write(now, bytes, &mut self.random, wire.latency)
    }

    pub(crate) fn client_ends(&mut self, wire: usize, now: u64) {
        let wire = &mut self.wires[wire];
        wire.client_open = false;
        wire.up.end(now);
    }

    pub(crate) fn server_ends(&mut self, wire: usize, now: u64) {
        let wire = &mut self.wires[wire];
        wire.server_open = false;
        wire.released_at = wire.released_at.min(now);
        wire.down.end(now);
    }

    /// When something is there for either end.
    pub(crate) fn due(&mut self, now: u64) -> Option<u64> {
        let wires = &self.wires;
        let is_open = |wire: &usize| wires[*wire].server_open || wires[*wire].client_open;
        self.open.retain(is_open);
        let dues = self.open.iter().flat_map(|wire| {
            let wire = &wires[*wire];
            let up = wire.up.due().filter(|_| wire.server_open);
            let down = wire.down.due().filter(|_| wire.client_open);
            [up, down]
        });
        dues.flatten().filter(|due| *due > now).min()
    }
}
