//! What arrives: frames looked at where they lie, and checked.

use std::io;

use super::super::conn::Phase;
use super::super::frames::{self, Frame};
use super::super::message::{self, Notice};
use super::super::plan::Pace;
use super::super::sample;
use super::super::stamp::Stamp;
use super::Swarm;

/// One delivery in so many is decoded whole.
const SAMPLE: u64 = 4_001;

impl Swarm {
    pub(super) fn read(&mut self, number: u32) -> io::Result<()> {
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
    pub(super) fn answer(&mut self) {
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
    pub(in crate::bench::client) fn unseen(&self) -> u64 {
        let shape = self.plan.shape;
        let missing = self.shown.iter().enumerate().map(|(index, &shown)| {
            let (number, place) = (index as u32 / shape.senders, index as u32 % shape.senders);
            let sender = number / shape.members * shape.senders + place;
            u64::from(self.sent[sender as usize].saturating_sub(shown))
        });
        missing.sum()
    }
}
