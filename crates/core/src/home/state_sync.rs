//! The state lane of a room: `sync` and presence counts, to those who are up to date.
//!
//! Everything that is only worth its newest value carries a *version* of the room. A receiver is
//! behind by the versions that it has not been sent, and is brought up by parts that merge what
//! changed since. (An event of the log is never merged.)

use std::collections::VecDeque;

use roomcast_protocol::Body;

use crate::context::Context;
use crate::home::output::Via;
use crate::home::room::Room;
use crate::home::state_span::{Listed, Which, message, part_bytes, state_weight};
use crate::host::Host;
use crate::player::PlayerNum;
use crate::settings::PresenceMode;
use crate::time::{Now, micros};

/// Players who left that a room remembers, to tell those who are behind.
const REMEMBERED: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct StateSyncer {
    /// Players whose state changed since the last `sync`.
    pub(crate) changed: Vec<PlayerNum>,
    /// Players who left since the last `sync`.
    left: Vec<Box<str>>,
    /// Who left, with the version that told it.
    gone: VecDeque<(u64, Box<str>)>,
    /// Who is behind this version gets all, as it can't be told who left.
    floor: u64,
    /// Versions after the first, which is 1: at 0 a reader has nothing.
    later_versions: u64,
    frame_num: i64,
    /// Microseconds before which no `sync` is sent.
    next_at: u64,
    due: bool,
    count_wanted: bool,
    count_version: u64,
}

impl StateSyncer {
    pub(super) fn version(&self) -> u64 {
        self.later_versions + 1
    }

    pub(super) fn next_version(&mut self) -> u64 {
        self.later_versions += 1;
        self.version()
    }

    pub(super) fn count_changed(&mut self) {
        self.count_wanted = true;
        self.due = true;
    }

    /// Whoever is listed again has not left: the entry in the next `sync` replaces the old one.
    fn player_joined(&mut self, player_id: &str) {
        self.left.retain(|left| **left != *player_id);
        self.gone.retain(|(_, gone)| **gone != *player_id);
    }

    pub(super) fn player_left(&mut self, player_id: &str) {
        self.left.push(player_id.into());
        self.due = true;
    }

    /// What has changed can't be sent now: it will be newer at the next tick.
    pub(super) fn put_off(&mut self, until: u64) {
        self.next_at = self.next_at.max(until);
    }

    /// Behind this version it is not known who left.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The version that first showed how many members there are.
    pub(super) fn count_version(&self) -> u64 {
        self.count_version
    }

    /// Another home may have numbered frames before. Its last number is not known, only that it was home for longer, in
    /// milliseconds, than it made frames; and a store makes fences that rise with its clock, or by far more than that.
    pub(super) fn begin_after_another_home(&mut self, fence: u64) {
        self.frame_num = i64::try_from(fence).unwrap_or_default();
    }

    /// Numbered from 1: in Protobuf 0 is no number at all.
    pub(super) fn next_frame(&self) -> i64 {
        self.frame_num + 1
    }

    /// Who left after a version.
    pub(super) fn gone_since(&self, version: u64) -> impl Iterator<Item = &str> {
        let gone = self.gone.iter().filter(move |(at, _)| *at > version);
        gone.map(|(_, player)| &**player)
    }

    /// When what has changed may be sent; `u64::MAX` where nothing has.
    pub(super) fn due_at(&self) -> u64 {
        if self.due { self.next_at } else { u64::MAX }
    }

    fn remember(&mut self, version: u64, left: Vec<Box<str>>) {
        for player in left {
            self.gone.push_back((version, player));
        }
        while self.gone.len() > REMEMBERED {
            if let Some((version, _)) = self.gone.pop_front() {
                self.floor = version;
            }
        }
    }
}

impl Room {
    /// After anything that may have changed state.
    pub(super) fn note_changes(&mut self) {
        if self.keeps_state() {
            self.syncer.due |= !self.syncer.changed.is_empty();
            return;
        }
        for player in self.syncer.changed.drain(..) {
            if let Some(member) = self.members.get_mut(&player) {
                member.changed = false;
            }
        }
    }

    /// A new player's state is a change.
    pub(super) fn note_newcomer(&mut self, player: PlayerNum) {
        if let Some(member) = self.members.get_mut(&player) {
            member.mark_changed(player, &mut self.syncer.changed);
            self.syncer.player_joined(member.player_id());
        }
    }

    /// Sends what has changed, if its time has come: the first change at once, then once a tick.
    pub(super) fn flush_state<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        self.note_changes();
        if self.syncer.due_at() > now.micros {
            return;
        }
        let tick = micros(self.entry.kind.tick.max(1));
        if self.waits_for_link(ctx) || self.is_shut(ctx, now) {
            return self.syncer.put_off(now.micros.saturating_add(tick));
        }
        self.syncer.due = false;
        self.syncer.next_at = now.micros.saturating_add(tick);
        self.timestamp = self.timestamp.max(now.unix_ms);
        if !self.syncer.changed.is_empty() || !self.syncer.left.is_empty() {
            self.broadcast_sync(ctx, now);
        }
        if std::mem::take(&mut self.syncer.count_wanted) && self.presence() == PresenceMode::Count {
            self.broadcast_count(ctx, now);
        }
    }

    /// Tells what changed, in messages that each reader can take.
    fn broadcast_sync<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        let version = self.syncer.next_version();
        self.syncer.frame_num += 1;
        let mut changed = std::mem::take(&mut self.syncer.changed);
        changed.retain(|player| match self.members.get_mut(player) {
            Some(member) => {
                member.changed = false;
                member.body_version = version;
                true
            }
            None => false,
        });
        changed.sort_unstable();
        let left = std::mem::take(&mut self.syncer.left);
        let most = part_bytes(&ctx.settings);
        let (mut players, mut gone) = (&changed[..], &left[..]);
        while !players.is_empty() || !gone.is_empty() {
            let (now_gone, later) = split(gone, most, |id| id.len() + 4);
            // Who left comes before who is there, who may be the same again.
            let most = if later.is_empty() { most } else { 0 };
            let weight = |num: &PlayerNum| self.members.get(num).map_or(0, state_weight);
            let (now_told, rest) = split(players, most, weight);
            (players, gone) = (rest, later);
            let listed = Listed {
                members: &self.members,
                which: Which::Among(now_told),
            };
            let body = self.sync(&listed, &now_gone, false);
            let message = message(&self.name, self.timestamp, body);
            let (receivers, compression) = (&self.receivers, &self.entry.kind.compression);
            self.output.broadcast(
                ctx,
                Via::State,
                receivers,
                compression,
                now.micros,
                &message,
                None,
            );
        }
        self.output.set_version(version);
        changed.clear();
        self.syncer.changed = changed;
        self.syncer.remember(version, left);
    }

    fn broadcast_count<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        let version = self.syncer.next_version();
        self.syncer.count_version = version;
        let body = Body::PresenceCount {
            total: self.members.len() as u64,
        };
        let message = message(&self.name, self.timestamp, body);
        let (receivers, compression) = (&self.receivers, &self.entry.kind.compression);
        self.output.broadcast(
            ctx,
            Via::State,
            receivers,
            compression,
            now.micros,
            &message,
            None,
        );
        self.output.set_version(version);
    }
}

/// As many of the first as take so many bytes, one at least if there may be any; and the rest.
fn split<T>(all: &[T], most: usize, weight: impl Fn(&T) -> usize) -> (&[T], &[T]) {
    let mut bytes = 0;
    let over = |it| {
        bytes += weight(it);
        bytes > most
    };
    let first = all.iter().position(over).unwrap_or(all.len());
    all.split_at(first.max(usize::from(most > 0)).min(all.len()))
}
