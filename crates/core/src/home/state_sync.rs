//! The state lane of a room: `sync`, presence counts, and the newest of all for who missed some.
//!
//! Everything that is only worth its newest value carries a *version* of the room. A receiver is
//! behind by the versions that it has not been sent, and is brought up by one message that merges
//! what changed since. (An event of the log is never merged.)

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roomcast_protocol::{Body, Ids, Outgoing, PlayerState, Players, StateSync};

use crate::chunk::{Chunk, ChunkBuilder};
use crate::context::Context;
use crate::home::output::Via;
use crate::home::refusals::unread_state;
use crate::home::room::Room;
use crate::host::{Encoding, Host};
use crate::letter::{NewestState, OpHead, ReadState, ToEdge};
use crate::member::Member;
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
    version: u64,
    frame_num: i64,
    /// Microseconds before which no `sync` is sent.
    next_at: u64,
    due: bool,
    count_wanted: bool,
    count_version: u64,
}

impl StateSyncer {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
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

    /// When what has changed may be sent; `u64::MAX` where nothing has.
    pub(super) fn due_at(&self) -> u64 {
        if self.due { self.next_at } else { u64::MAX }
    }

    fn remember(&mut self, version: u64) {
        for player in self.left.drain(..) {
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
        if self.waits_for_link(ctx) {
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
        let players = Listed {
            members: &self.members,
            which: Which::Among(&changed),
        };
        let body = self.sync(&players, &self.syncer.left, false);
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
        changed.clear();
        self.syncer.changed = changed;
        self.syncer.remember(version);
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

    /// All of the room's state, for who has just joined.
    pub(super) fn whole_state<H: Host>(
        &self,
        ctx: &mut Context<H>,
        encoding: Encoding,
        born: u64,
    ) -> Option<Arc<Chunk>> {
        if !self.keeps_state() {
            return None;
        }
        let players = Listed {
            members: &self.members,
            which: Which::Since(None),
        };
        let nobody: [&str; 0] = [];
        let message = message(
            &self.name,
            self.timestamp,
            self.sync(&players, &nobody, true),
        );
        let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, born);
        ctx.append(
            encoding,
            &self.entry.kind.compression,
            &message,
            &mut builder,
        );
        Some(builder.finish(&mut ctx.pool))
    }

    /// What changed since a version, merged into one newest state for one receiver. Whoever asks waits for the answer:
    /// there always is one.
    pub(super) fn read_state<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        read: ReadState,
    ) -> ToEdge {
        if self.player_of(op).is_none() {
            return unread_state(op, read);
        }
        let since = read.since;
        // What changed in this turn goes out first, to those who are up to date.
        self.flush_state(ctx, now);
        self.seal(ctx);
        ctx.stats.catch_ups += 1;
        self.timestamp = self.timestamp.max(now.unix_ms);
        let compression = &self.entry.kind.compression;
        let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, op.born);
        if self.keeps_state() {
            // Who has none may still have that of an earlier life of the room.
            let full = since == 0 || since < self.syncer.floor;
            let which = Which::Since(Some(since).filter(|_| !full));
            let players = Listed {
                members: &self.members,
                which,
            };
            let gone = self
                .syncer
                .gone
                .iter()
                .filter(|(version, _)| *version > since);
            let left: Vec<&str> = if full {
                Vec::new()
            } else {
                gone.map(|(_, player)| &**player).collect()
            };
            if full || !left.is_empty() || players.any() {
                let message = message(&self.name, self.timestamp, self.sync(&players, &left, full));
                ctx.append(op.encoding, compression, &message, &mut builder);
            }
        }
        match self.presence() {
            PresenceMode::Full => {
                for (num, member) in &self.members {
                    if member.presence_version > since {
                        let body = Body::Presence(member.listed(*num));
                        let from_client_id = member
                            .seats
                            .first()
                            .map_or("", |seat| seat.client_id.as_str());
                        let message = Outgoing {
                            from_client_id,
                            ..message(&self.name, self.timestamp, body)
                        };
                        ctx.append(op.encoding, compression, &message, &mut builder);
                    }
                }
            }
            PresenceMode::Count if self.syncer.count_version > since => {
                let total = self.members.len() as u64;
                let message = message(&self.name, self.timestamp, Body::PresenceCount { total });
                ctx.append(op.encoding, compression, &message, &mut builder);
            }
            PresenceMode::Count | PresenceMode::None => {}
        }
        let state = builder.finish(&mut ctx.pool);
        let state = if state.bytes().is_empty() {
            ctx.pool.give_back(state);
            None
        } else {
            Some(state)
        };
        let version = self.syncer.version;
        ToEdge::NewestState {
            conn: op.conn.conn,
            edge_room: read.edge_room,
            newest: Some(NewestState { version, state }),
        }
    }

    fn sync<'a>(&self, players: &'a Listed<'a>, left: &'a dyn Ids, full: bool) -> Body<'a> {
        // Numbered from 1: in Protobuf 0 is no number at all.
        let (frame_num, timestamp) = (self.syncer.frame_num + 1, self.timestamp);
        let offset = self.offset;
        Body::Sync(StateSync {
            frame_num,
            players,
            timestamp,
            full,
            left,
            offset,
        })
    }
}

fn message<'a>(room_id: &'a str, timestamp: i64, body: Body<'a>) -> Outgoing<'a> {
    Outgoing {
        room_id,
        timestamp,
        body,
        ..Outgoing::default()
    }
}

/// Players of a room that an encoder goes through in its table.
struct Listed<'a> {
    members: &'a BTreeMap<PlayerNum, Member>,
    which: Which<'a>,
}

enum Which<'a> {
    Among(&'a [PlayerNum]),
    /// Those whose state changed after a version; without one, all.
    Since(Option<u64>),
}

impl Listed<'_> {
    fn any(&self) -> bool {
        let mut any = false;
        self.for_each(&mut |_| any = true);
        any
    }
}

impl Players for Listed<'_> {
    fn for_each(&self, each: &mut dyn FnMut(&PlayerState<'_>)) {
        let mut show = |num: PlayerNum, member: &Member| {
            each(&PlayerState {
                player_id: member.player_id(),
                position: member.body.position,
                velocity: member.body.velocity,
                health: member.body.health,
                score: member.body.score,
                player_num: i32::try_from(num).unwrap_or(i32::MAX),
            });
        };
        match self.which {
            Which::Among(nums) => {
                for num in nums {
                    if let Some(member) = self.members.get(num) {
                        show(*num, member);
                    }
                }
            }
            Which::Since(since) => {
                for (num, member) in self.members {
                    if since.is_none_or(|since| member.body_version > since) {
                        show(*num, member);
                    }
                }
            }
        }
    }
}
