//! What the connection is given, when it has room for it.

use std::borrow::Cow;
use std::sync::Arc;

use roomcast_protocol::client::encode_request;
use roomcast_protocol::{Incoming, PresenceUpdate, Request, Skip};
use serde_json::Value;

use super::connection::Phase;
use super::event::Receipt;
use super::outbox::Next;
use super::room::Op;
use super::send::{Page, too_large};
use super::{Key, Session, Timer};
use crate::message::Recipient;

/// Messages under way in a room where the server names no limit.
const WINDOW: usize = 64;

/// A page comes within this time, or its call fails. What else comes shows that the connection lives, but a slow network may
/// hold up the question alone.
const PAGE_MS: u64 = 60_000;

impl Session {
    /// The next message for the connection. A driver calls it for as much as it can write.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        if !matches!(self.phase, Phase::Greeting { .. } | Phase::Open) {
            return None;
        }
        if let Some(message) = self.control.pop_front() {
            self.pace.sent(self.now);
            return Some(message);
        }
        if let Some(message) = self.volatile.pop_front() {
            self.volatile_bytes -= message.len();
            self.pace.sent(self.now);
            return Some(message);
        }
        if !matches!(self.phase, Phase::Open) || self.ready.is_empty() || !self.may_send() {
            return None;
        }
        // One message of each in turn.
        while let Some(key) = self.ready.pop_front() {
            match self.next_of(&key) {
                Some(message) => {
                    self.ready.push_back(key);
                    self.pace.sent(self.now);
                    return Some(message);
                }
                None => {
                    if let Some(stream) = self.stream(&key) {
                        stream.queued = false;
                    }
                }
            }
        }
        None
    }

    /// Whether the server takes one more message now. If not, [`Session::poll_timeout`] or an answer tells when.
    fn may_send(&mut self) -> bool {
        if let Some(at) = self.pace.wait(self.now) {
            self.timers.insert((at, Timer::Pace));
            return false;
        }
        let window = self.pace.window();
        if window == usize::MAX {
            return true;
        }
        // Where the client is no member any more, what has no answer gets none.
        let rooms = self.rooms.values().filter(|room| room.member);
        let rooms = rooms.map(|room| room.stream.under_way());
        self.direct.under_way() + rooms.sum::<usize>() < window
    }

    fn next_of(&mut self, key: &Key) -> Option<Vec<u8>> {
        if let Some(name) = key {
            let room = self.rooms.get(name)?;
            if !room.member || room.op == Op::Leave {
                return None;
            }
            if room.stream.paused_until > self.now {
                return None;
            }
            if let Some(message) = self.presence_of(name) {
                return Some(message);
            }
            if let Some(message) = self.page_of(name) {
                return Some(message);
            }
        } else if self.direct.paused_until > self.now {
            return None;
        }
        self.message_of(key)
    }

    fn presence_of(&mut self, name: &Arc<str>) -> Option<Vec<u8>> {
        let room = self.rooms.get_mut(name)?;
        if room.unsent.is_empty() {
            return None;
        }
        room.sent = std::mem::take(&mut room.unsent);
        let room = self.rooms.get(name)?;
        let told = room.sent.iter().filter(|key| !key.is_empty());
        let keys = told.map(|key| {
            let value = room.presence.get(key).filter(|value| !value.is_null());
            let value = value.map(|value: &Value| Cow::Owned(value.to_string()));
            (Cow::Borrowed(key.as_str()), value)
        });
        let update = PresenceUpdate {
            keys: keys.collect(),
            nickname: room
                .nickname
                .as_deref()
                .filter(|_| room.sent.contains(""))
                .map(Cow::Borrowed),
        };
        Some(self.encode(&Incoming::new(Request::Presence(update)).in_room(name)))
    }

    fn page_of(&mut self, name: &Arc<str>) -> Option<Vec<u8>> {
        let room = self.rooms.get_mut(name)?;
        if room.asking {
            return None;
        }
        let page = room.asked.front()?.page;
        let due = self.now.saturating_add(PAGE_MS);
        let request_id = self.new_request();
        let room = self.rooms.get_mut(name)?;
        room.asking = true;
        room.page_id = request_id;
        room.page_due = due;
        self.timers.insert((due, Timer::Room(name.clone())));
        let request = match page {
            Page::History(request) => Request::History(request),
            Page::Members(request) => Request::Members(request),
        };
        Some(self.encode(&Incoming {
            request_id,
            ..Incoming::new(request).in_room(name)
        }))
    }

    fn message_of(&mut self, key: &Key) -> Option<Vec<u8>> {
        let acked = self.terms.seq_acked;
        let window = match self.terms.limits.max_unanswered {
            0 => WINDOW,
            most => most as usize,
        };
        loop {
            match self.stream(key)?.next(window) {
                Next::Nothing => return None,
                // A server that acks nothing knows no gap.
                Next::Skip(_) if !acked => {}
                Next::Skip(seq) => return Some(self.skip_message(key, seq)),
                Next::Message => {
                    let message = self.head_message(key)?;
                    if self.is_too_large(&message) {
                        let refused = self.stream(key)?.refuse_head(too_large());
                        if let Some(entry) = refused {
                            self.settle(entry, Err(too_large()));
                        }
                        continue;
                    }
                    if acked {
                        self.stream(key)?.sent();
                    } else if let Some(entry) = self.stream(key)?.forget_head() {
                        self.settle(entry, Ok(Receipt::default()));
                    }
                    return Some(message);
                }
            }
        }
    }

    fn head_message(&self, key: &Key) -> Option<Vec<u8>> {
        let stream = match key {
            None => &self.direct,
            Some(name) => &self.rooms.get(name)?.stream,
        };
        let (entry, seq) = stream.head()?;
        let mut message = Incoming {
            seq: self.terms.seq_acked.then_some(seq),
            no_echo: entry.no_echo,
            room_id: key.as_deref().map(Cow::Borrowed),
            ..Incoming::new(entry.publish.as_wire())
        };
        match &entry.to {
            Some(Recipient::Client(id)) => message.to_client_id = Some(Cow::Borrowed(id)),
            Some(Recipient::User(id)) => message.to_user_id = Some(Cow::Borrowed(id)),
            None => {}
        }
        Some(self.encode(&message))
    }

    fn skip_message(&self, key: &Key, seq: u64) -> Vec<u8> {
        let skip = Incoming::new(Request::Skip(Skip { seq }));
        self.encode(&Incoming {
            room_id: key.as_deref().map(Cow::Borrowed),
            ..skip
        })
    }

    pub(super) fn encode(&self, message: &Incoming<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode_request(self.config.format, message, &mut out);
        out
    }
}
