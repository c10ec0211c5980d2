//! What logic sees of its room, and what it can do there.

use serde::Serialize;

use crate::logic::outcome::{cut, to_json};
use crate::member::Member;
use crate::numbered::Numbered;
use crate::player::{Player, PlayerBody, PlayerNum};
use crate::settings::Kind;
use crate::time::{Now, micros};

/// Something that logic wants done after its call.
#[derive(Debug)]
pub(crate) enum Effect {
    Broadcast {
        name: Box<str>,
        json: Box<str>,
    },
    Send {
        to: PlayerNum,
        name: Box<str>,
        json: Box<str>,
    },
    Kick {
        player: PlayerNum,
        reason: Box<str>,
    },
}

/// The parts of a room that logic reaches.
pub(crate) struct RoomParts<'a> {
    pub(crate) now: Now,
    /// Milliseconds that the room's clock is ahead of the node's.
    pub(crate) clock: i64,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a Kind,
    pub(crate) members: &'a mut Numbered<Member>,
    /// Players whose state changed since the last `sync`.
    pub(crate) changed: &'a mut Vec<PlayerNum>,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) wake_at: &'a mut u64,
    pub(crate) random: &'a mut dyn FnMut() -> u64,
}

/// A room, as its logic sees it.
pub struct RoomContext<'a> {
    pub(crate) parts: RoomParts<'a>,
}

impl RoomContext<'_> {
    /// Milliseconds of the room's clock, which never falls. Where logic was [saved](crate::RoomLogic::save) it goes on at
    /// the next home.
    pub fn now_ms(&self) -> u64 {
        (self.parts.now.micros / 1_000).saturating_add_signed(self.parts.clock)
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> i64 {
        self.parts.now.unix_ms
    }

    /// A random number.
    pub fn random(&mut self) -> u64 {
        (self.parts.random)()
    }

    /// The room's name.
    pub fn name(&self) -> &str {
        self.parts.name
    }

    /// The settings of the room's kind.
    pub fn kind(&self) -> &Kind {
        self.parts.kind
    }

    /// How many players there are.
    pub fn player_count(&self) -> usize {
        self.parts.members.len()
    }

    /// The players, in the order in which they joined.
    pub fn players(&self) -> impl Iterator<Item = Player<'_>> {
        self.parts
            .members
            .iter()
            .map(|(num, member)| member.player(*num))
    }

    /// One of them.
    pub fn player(&self, num: PlayerNum) -> Option<Player<'_>> {
        self.parts
            .members
            .get(&num)
            .map(|member| member.player(num))
    }

    /// The state of a player, as `sync` shows it.
    pub fn state(&self, num: PlayerNum) -> Option<&PlayerBody> {
        self.parts.members.get(&num).map(|member| &member.body)
    }

    /// The state of a player, to change it; in a `state` room the next `sync` shows it to all.
    pub fn state_mut(&mut self, num: PlayerNum) -> Option<&mut PlayerBody> {
        let member = self.parts.members.get_mut(&num)?;
        member.mark_changed(num, self.parts.changed);
        Some(&mut member.body)
    }

    /// Sends an `event` to everybody in the room: ordered and numbered like all events. Its payload is `payload` in
    /// JSON.
    ///
    /// Names that begin with `roomcast.` are the server's. Where members may send events too, this one belongs to
    /// [`RoomLogic::own_events`](crate::RoomLogic::own_events).
    ///
    /// # Panics
    /// If `payload` is nothing that JSON can say, as a map whose keys are no strings.
    pub fn broadcast<T: Serialize + ?Sized>(&mut self, name: &str, payload: &T) {
        self.parts.effects.push(Effect::Broadcast {
            name: name.into(),
            json: to_json(payload).into(),
        });
    }

    /// Sends an `event` to one player: in order, but not part of the room's log.
    ///
    /// # Panics
    /// As [`RoomContext::broadcast`].
    pub fn send<T: Serialize + ?Sized>(&mut self, to: PlayerNum, name: &str, payload: &T) {
        self.parts.effects.push(Effect::Send {
            to,
            name: name.into(),
            json: to_json(payload).into(),
        });
    }

    /// Puts a player out of the room, behind all that was sent before: all of its sessions there get the error `removed`
    /// with this reason, of which at most 512 bytes are sent. [`RoomLogic::leave`](crate::RoomLogic::leave) is called. It
    /// may join again, unless [`RoomLogic::admit`](crate::RoomLogic::admit) says no.
    pub fn kick(&mut self, player: PlayerNum, reason: &str) {
        self.parts.effects.push(Effect::Kick {
            player,
            reason: cut(reason).into(),
        });
    }

    /// Asks for a call of [`wake`](crate::RoomLogic::wake) after `ms` milliseconds. One time waits at
    /// once: the earliest that was asked for.
    pub fn wake_in(&mut self, ms: u64) {
        let at = self.parts.now.micros.saturating_add(micros(ms));
        *self.parts.wake_at = at.min(*self.parts.wake_at);
    }
}
