//! Who runs the servers listens to a room: what it tells its members is kept for a moment, to be asked for.
//!
//! Nothing is sent by itself. Who asks slowly misses what there was no place for, and costs nobody anything. Who does not ask
//! any more is forgotten.

use std::collections::VecDeque;
use std::fmt::Write as _;

use roomcast_protocol::{Format, Outgoing, encode};

use crate::backend::Reply;
use crate::context::Context;
use crate::home::output::Output;
use crate::home::room::Room;
use crate::host::Host;
use crate::time::{Now, micros};

/// Milliseconds after the last question.
const PATIENCE: u64 = 5_000;
/// What is kept of one room.
const MOST_BYTES: usize = 128 * 1024;
const MOST_MESSAGES: usize = 512;

#[derive(Debug)]
pub(crate) struct Tap {
    /// Names it: another home, or a later one here, counts anew.
    id: u64,
    /// Microseconds.
    until: u64,
    /// The number of the first message that is kept.
    first: u64,
    messages: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Tap {
    /// Keeps a message as members get it in JSON.
    pub(super) fn take(&mut self, message: &Outgoing<'_>) {
        let mut json = Vec::new();
        encode(Format::Json, message, &mut json);
        self.bytes += json.len();
        self.messages.push_back(json.into());
        while self.bytes > MOST_BYTES || self.messages.len() > MOST_MESSAGES {
            let Some(dropped) = self.messages.pop_front() else {
                return;
            };
            self.bytes -= dropped.len();
            self.first += 1;
        }
    }

    fn next(&self) -> u64 {
        self.first + self.messages.len() as u64
    }
}

impl Output {
    pub(super) fn is_tapped(&self) -> bool {
        self.tap.is_some()
    }

    /// Microseconds until which somebody listens.
    pub(super) fn tapped_until(&self) -> u64 {
        self.tap.as_ref().map_or(u64::MAX, |tap| tap.until)
    }

    /// Nobody has asked for a while.
    pub(super) fn end_tap(&mut self, now: Now) {
        if self.tapped_until() <= now.micros {
            self.tap = None;
        }
    }

    /// Nobody but the listener hears a message.
    pub(super) fn tell_tap(&mut self, message: &Outgoing<'_>) {
        if let Some(tap) = &mut self.tap {
            tap.take(message);
        }
    }
}

impl Room {
    /// What was said since the answer before, which was `after` of the tap `before`.
    pub(super) fn tail<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        before: u64,
        after: u64,
    ) -> Reply {
        let tap = self.output.tap.get_or_insert_with(|| {
            Box::new(Tap {
                id: ctx.host.random().max(1),
                until: 0,
                first: 0,
                messages: VecDeque::new(),
                bytes: 0,
            })
        });
        tap.until = now.micros.saturating_add(micros(PATIENCE));
        let known = before == tap.id && after <= tap.next();
        let after = if known { after } else { tap.next() };
        let (from, missed) = (after.max(tap.first), tap.first.saturating_sub(after));
        let skipped = usize::try_from(from - tap.first).unwrap_or(usize::MAX);
        let mut json = String::new();
        // Writing into a string does not fail.
        let _ = write!(
            json,
            r#"{{"tap":"{:016x}","next":{},"missed":{missed},"restarted":{},"messages":["#,
            tap.id,
            tap.next(),
            before != 0 && !known,
        );
        let mut json = json.into_bytes();
        for (nth, message) in tap.messages.iter().skip(skipped).enumerate() {
            if nth > 0 {
                json.push(b',');
            }
            json.extend_from_slice(message);
        }
        json.extend_from_slice(b"]}");
        Reply::Message(json.into())
    }
}
