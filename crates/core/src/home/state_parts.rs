//! A room's state for those who lack it: in parts that a lane can hold, each encoded once for all who are to be given
//! the same in a turn.

use std::sync::Arc;

use roomcast_protocol::{Body, Ids, Outgoing, StateSync, mutated};

use crate::chunk::{Chunk, ChunkBuilder};
use crate::context::Context;
use crate::home::refusals::unread_state;
use crate::home::room::Room;
use crate::home::state_span::{Listed, Span, Which, message, part_bytes, state_weight};
use crate::host::{Encoding, Host};
use crate::id::{ConnRef, EdgeRoomId};
use crate::letter::{NewestState, OpHead, ReadState, ToEdge};
use crate::player::PlayerNum;
use crate::settings::PresenceMode;
use crate::state_position::StatePosition;
use crate::time::Now;

/// What a presence takes beside the member's own words, about.
const PRESENCE: usize = 256;
/// Parts that are kept until the end of a turn, for others who are to be given the same.
const KEPT: usize = 16;

/// Who is to be given the room's state when the turn ends.
#[derive(Debug)]
pub(super) struct Newcomer {
    player: PlayerNum,
    conn: ConnRef,
    edge_room: EdgeRoomId,
    from: StatePosition,
    born: u64,
}

#[derive(Clone, Debug)]
struct Part {
    /// The last player that it goes through; none where it goes through the rest of them.
    to: Option<PlayerNum>,
    chunk: Option<Arc<Chunk>>,
}

/// Parts of a turn, each with the version at which it was made. Empty between turns.
#[derive(Debug, Default)]
pub(super) struct Parts {
    made: Vec<(u64, Span, Part)>,
    newcomers: Vec<Newcomer>,
}

impl Room {
    /// Somebody is told of the room anew: its state follows when the turn ends. What it has until then; none where the
    /// room keeps no state.
    pub(super) fn owe_state(
        &mut self,
        (conn, edge_room, born): (ConnRef, EdgeRoomId, u64),
        player: PlayerNum,
    ) -> Option<StatePosition> {
        if !self.keeps_state() {
            return None;
        }
        let from = StatePosition::nothing(self.syncer.version());
        self.parts.newcomers.push(Newcomer {
            player,
            conn,
            edge_room,
            from,
            born,
        });
        Some(from)
    }

    /// Sends those who came in this turn the room's state, behind what was broadcast, and forgets the turn's parts.
    pub(super) fn send_first_states<H: Host>(&mut self, ctx: &mut Context<H>) {
        if self.parts.newcomers.is_empty() && self.parts.made.is_empty() {
            return;
        }
        let newcomers = std::mem::take(&mut self.parts.newcomers);
        // All are told of the same members.
        let listed = newcomers.iter().map(|it| it.from.begun).min().unwrap_or(0);
        for newcomer in newcomers {
            let Newcomer {
                player,
                conn,
                edge_room,
                from,
                born,
            } = newcomer;
            let seat = self.members.get(&player).and_then(|it| it.seat(conn));
            let encoding = seat.map(|seat| seat.encoding);
            let same = StatePosition::nothing(listed);
            let newest = encoding.map(|encoding| self.state_from(ctx, encoding, born, same));
            let answer = ToEdge::NewestState {
                conn: conn.conn,
                edge_room,
                from,
                newest,
            };
            ctx.send_edge(conn.shard, answer);
        }
        for (_, _, part) in std::mem::take(&mut self.parts.made) {
            if let Some(chunk) = part.chunk {
                ctx.pool.give_back(chunk);
            }
        }
    }

    /// What a member lacks of the state, or the next part of it. Whoever asks waits for the answer: there always is one.
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
        // What changed in this turn goes out first, to those who are up to date.
        self.flush_state(ctx, now);
        self.seal(ctx);
        ctx.stats.catch_ups += 1;
        self.timestamp = self.timestamp.max(now.unix_ms);
        ToEdge::NewestState {
            conn: op.conn.conn,
            edge_room: read.edge_room,
            from: read.from,
            newest: Some(self.state_from(ctx, op.encoding, op.born, read.from)),
        }
    }

    /// What comes after a position.
    fn state_from<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        encoding: Encoding,
        born: u64,
        from: StatePosition,
    ) -> NewestState {
        let version = self.syncer.version();
        let within = from.is_within();
        // Who has none may still have that of an earlier life of the room.
        let nothing = from.since == 0 || from.since < self.syncer.floor();
        let full = self.keeps_state() && !within && nothing;
        let since = if full { 0 } else { from.since };
        let span = Span {
            encoding,
            full,
            since,
            listed: if full {
                from.since.max(from.begun)
            } else {
                since
            },
            after: from.cursor,
        };
        let part = self.part(ctx, born, span);
        let begun = if within { from.begun } else { version };
        let to = match part.to {
            None if !within || mutated!("parts_hide_what_changed") => StatePosition::at(version),
            to => StatePosition {
                since,
                begun,
                cursor: to.unwrap_or(StatePosition::END),
            },
        };
        NewestState {
            to,
            state: part.chunk,
        }
    }

    fn part<H: Host>(&mut self, ctx: &mut Context<H>, born: u64, span: Span) -> Part {
        let version = self.syncer.version();
        let mut made = self.parts.made.iter();
        if let Some((.., part)) = made.find(|(at, of, _)| (*at, *of) == (version, span)) {
            return part.clone();
        }
        let part = self.make_part(ctx, born, span);
        // Those who have the same are those who have nothing.
        if span.since == 0 && self.parts.made.len() < KEPT {
            self.parts.made.push((version, span, part.clone()));
        }
        part
    }

    fn make_part<H: Host>(&self, ctx: &mut Context<H>, born: u64, span: Span) -> Part {
        let most = part_bytes(&ctx.settings);
        let compression = &self.entry.kind.compression;
        let (name, timestamp) = (&self.name, self.timestamp);
        let (to, any) = self.extent(&span, most);
        let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, born);
        let first = span.after == 0;
        let gone = self.syncer.gone_since(span.since);
        let left: Vec<&str> = gone.filter(|_| first && !span.full).collect();
        if self.keeps_state() && (span.full || !left.is_empty() || any) {
            let players = Listed {
                members: &self.members,
                which: Which::Within(&span, to),
            };
            let body = self.sync(&players, &left, span.full);
            ctx.append(
                span.encoding,
                compression,
                &message(name, timestamp, body),
                &mut builder,
            );
        }
        match self.presence() {
            PresenceMode::Full => {
                for (num, member) in span.members(&self.members, to) {
                    if member.presence_version > span.listed {
                        let message = Outgoing {
                            from: member.itself(*num),
                            ..message(name, timestamp, Body::Presence(member.listed(*num)))
                        };
                        ctx.append(span.encoding, compression, &message, &mut builder);
                    }
                }
            }
            PresenceMode::Count if first && self.syncer.count_version() > span.listed => {
                let total = self.members.len() as u64;
                let message = message(name, timestamp, Body::PresenceCount { total });
                ctx.append(span.encoding, compression, &message, &mut builder);
            }
            PresenceMode::Count | PresenceMode::None => {}
        }
        let chunk = builder.finish(&mut ctx.pool);
        if chunk.bytes().is_empty() {
            ctx.pool.give_back(chunk);
            return Part { to, chunk: None };
        }
        let chunk = Some(chunk);
        Part { to, chunk }
    }

    /// How far a part goes, and whether it tells any player's state. It tells of one member at least.
    fn extent(&self, span: &Span, most: usize) -> (Option<PlayerNum>, bool) {
        let (keeps_state, mode) = (self.keeps_state(), self.presence());
        let (mut bytes, mut any, mut to) = (0, false, span.after);
        for (num, member) in span.members(&self.members, None) {
            let mut own = 0;
            let state = keeps_state && span.tells(member);
            if state {
                own += state_weight(member);
            }
            if mode == PresenceMode::Full && member.presence_version > span.listed {
                let words = member.player_id().len() + member.nickname.len();
                own += PRESENCE + words + member.presence.len();
            }
            if bytes > 0 && bytes + own > most {
                return (Some(to), any);
            }
            (bytes, any, to) = (bytes + own, any || state, *num);
        }
        (None, any)
    }

    pub(super) fn sync<'a>(
        &self,
        players: &'a Listed<'a>,
        left: &'a dyn Ids,
        full: bool,
    ) -> Body<'a> {
        Body::Sync(StateSync {
            frame_num: self.syncer.next_frame(),
            players,
            timestamp: self.timestamp,
            full,
            left,
            offset: self.offset,
        })
    }
}
