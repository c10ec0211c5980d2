//! What rooms' homes send to the connections of this shard.

use crate::address::NodeNumber;
use crate::context::Context;
use crate::edge::conn::{Conn, Phase};
use crate::edge::membership::{Behind, Events, State};
use crate::edge::{Edge, mark_dirty, may_read, over_lane, over_state};
use crate::host::{Encoding, Host};
use crate::id::{ConnId, ConnRef, EdgeRoomId};
use crate::lane::{Lane, Piece};
use crate::letter::{Delivery, Encoded, Exclusion, Joined, Slice, ToEdge};
use crate::state_position::StatePosition;
use crate::store::Store;
use crate::time::Now;
use roomcast_protocol::mutated;

impl<S: Store> Edge<S> {
    /// Takes what the home of a room says, which is on node `from`.
    pub(crate) fn apply<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        from: NodeNumber,
        message: ToEdge,
    ) {
        if S::WAITS && self.is_late(from, &message) {
            return;
        }
        match message {
            // The desk's.
            ToEdge::Backend { .. } => {}
            ToEdge::Fact(fact) => ctx.host.fact(*fact),
            ToEdge::Deliver(delivery) => self.deliver(ctx, now, delivery),
            ToEdge::HomeGone { room } => self.home_gone(ctx, from, &room),
            ToEdge::Renamed { edge_room, epoch } => self.log_renamed(edge_room, epoch),
            ToEdge::Joined(joined) => {
                let (conn, unasked) = (joined.conn, joined.unasked);
                if S::WAITS {
                    self.note_home(ctx, now, from, &joined);
                }
                self.joined(ctx, now, *joined);
                if unasked {
                    self.ask_when_idle(ctx, now, conn);
                }
            }
            ToEdge::JoinedAgain {
                conn,
                edge_room,
                answer,
            } => {
                self.push_whole(ctx, now, conn, Lane::Event, answer, EdgeRoomId::NONE, 0);
                if self.rooms.get(edge_room).is_some() {
                    self.answered(conn, edge_room, true);
                }
            }
            ToEdge::LogSlice {
                conn,
                edge_room,
                slice,
            } => self.take_log_slice(ctx, now, conn, edge_room, slice),
            ToEdge::JoinRefused {
                conn,
                edge_room,
                error,
                code,
            } => {
                self.push_control(ctx, now, conn, error);
                if self.rooms.get(edge_room).is_some() {
                    self.answered(conn, edge_room, true);
                }
                self.offence(ctx, now, conn, code);
            }
            ToEdge::Left {
                conn,
                edge_room,
                asked,
                farewell,
            } => self.left(ctx, now, (conn, edge_room), asked, farewell),
            ToEdge::Answer {
                conn,
                answer,
                offence,
                ordered,
            } => {
                let lane = if ordered { Lane::Event } else { Lane::Control };
                self.push_whole(ctx, now, conn, lane, answer, EdgeRoomId::NONE, 0);
                if let Some(code) = offence {
                    self.offence(ctx, now, conn, code);
                }
            }
            ToEdge::Accepted {
                conn,
                window,
                operations,
            } => {
                self.accepted(ctx, conn, window, operations);
            }
            ToEdge::ComeBack { conn } => {
                self.ask_to_come_back(ctx, now, conn);
            }
            ToEdge::NewestState {
                conn,
                edge_room,
                from,
                newest,
            } => self.take_state(ctx, now, (conn, edge_room), from, newest),
        }
    }

    /// Whether a letter is from a home that the room had before. Answers are not: each was asked for where the room was
    /// then at home, and comes before that one's end is known here.
    fn is_late(&self, from: NodeNumber, message: &ToEdge) -> bool {
        let edge_room = match message {
            ToEdge::Deliver(delivery) => delivery.edge_room,
            ToEdge::Joined(joined) if joined.unasked => joined.edge_room,
            ToEdge::Left {
                edge_room,
                asked: false,
                ..
            }
            | ToEdge::LogSlice { edge_room, .. }
            | ToEdge::NewestState { edge_room, .. }
            | ToEdge::Renamed { edge_room, .. } => *edge_room,
            _ => return false,
        };
        let room = self.rooms.get(edge_room);
        room.is_some_and(|room| room.node != from)
    }

    /// Queues a room's turn for each of its receivers: by reference, each one's in its encoding.
    // Among the code for the other letters its loop costs each delivery up to 14 instructions more.
    #[inline(never)]
    fn deliver<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, delivery: Delivery) {
        let Delivery {
            edge_room,
            events,
            state,
            base,
            last,
            version,
            exclusions,
            bytes: _,
            traced,
        } = delivery;
        let Edge {
            conns,
            rooms,
            table,
            arena,
            batcher,
            ..
        } = self;
        let Some(room) = rooms.get_mut(edge_room) else {
            events
                .into_iter()
                .chain(state)
                .flatten()
                .for_each(|chunk| ctx.pool.give_back(chunk));
            return;
        };
        if S::WAITS {
            room.note_offset(last);
        }
        // One reference each is ours until all receivers have theirs.
        let mut enter = |encoded: Encoded| {
            let mut entered = [const { None }; Encoding::COUNT];
            for (entered, chunk) in entered.iter_mut().zip(encoded) {
                if let Some(chunk) = chunk {
                    let (length, held) = (chunk.bytes().len() as u32, chunk.held() as u32);
                    let messages = u64::from(chunk.messages());
                    *entered = Some((table.insert(chunk), length, held, messages));
                }
            }
            entered
        };
        let (events, state) = (enter(events), enter(state));
        for exclusion in &exclusions {
            if exclusion.conn.shard == ctx.own
                && let Some(conn) = conns.get_mut(exclusion.conn.conn)
            {
                conn.excluded = true;
            }
        }
        if let Some(traced) = traced {
            let chunks = events.iter().chain(&state).flatten();
            let chunks = chunks.map(|(chunk, ..)| *chunk);
            let receivers = room.receivers.len();
            table.trace(
                chunks,
                super::traced::delivered(ctx, now, receivers, *traced),
            );
        }
        let own_ref = |conn| ConnRef {
            shard: ctx.own,
            conn,
        };
        let (mut overflow, mut deliveries) = (false, 0);
        for id in &room.receivers {
            let Some(conn) = conns.get_mut(*id) else {
                continue;
            };
            if conn.phase == Phase::Closing {
                continue;
            }
            let encoding = conn.encoding.index();
            let before = conn.lanes.bytes();
            if let Some((chunk, length, held, messages)) = events[encoding] {
                let whole = Piece::new((chunk, length, held), Lane::Event, edge_room, base);
                let mut push = |piece| {
                    table.retain(chunk);
                    conn.lanes.push(arena, piece);
                };
                deliveries += messages;
                if conn.excluded {
                    let own = exclusions
                        .iter()
                        .filter(|it| it.conn == own_ref(conn.id) && !it.state_lane);
                    deliveries = deliveries.saturating_sub(own.clone().count() as u64);
                    split(whole, own, push);
                } else {
                    push(whole);
                }
                overflow |= conn.blocked && over_lane(conn, &ctx.settings);
            }
            if let Some((chunk, length, held, messages)) = state[encoding] {
                let (blocked, conn_state) = (conn.blocked, conn.lanes.state_bytes());
                let Some(membership) = conn.session.membership(edge_room) else {
                    continue;
                };
                let stale = membership.state != State::Fresh && version.is_some();
                if blocked || stale || over_state(conn_state, &ctx.settings) {
                    if version.is_some() {
                        // What was asked for has it.
                        ctx.stats.state_replaced += u64::from(membership.state != State::Asked);
                        membership.miss_state();
                    } else {
                        ctx.stats.ephemeral_dropped += 1;
                    }
                } else {
                    let base = membership.has.base();
                    if let Some(version) = version {
                        membership.has = StatePosition::at(version);
                    }
                    let base = version.map_or(Piece::EPHEMERAL, |_| base);
                    let whole = Piece::new((chunk, length, held), Lane::State, edge_room, base);
                    let mut push = |piece| {
                        table.retain(chunk);
                        conn.lanes.push(arena, piece);
                    };
                    deliveries += messages;
                    if conn.excluded {
                        let own = exclusions
                            .iter()
                            .filter(|it| it.conn == own_ref(conn.id) && it.state_lane);
                        deliveries = deliveries.saturating_sub(own.clone().count() as u64);
                        split(whole, own, push);
                    } else {
                        push(whole);
                    }
                }
            }
            if conn.lanes.bytes() > before {
                mark_dirty(conn, batcher, now, before);
            }
        }
        ctx.stats.deliveries += deliveries;
        let full: Vec<ConnId> = if overflow {
            let over = |id: &ConnId| {
                conns
                    .get(*id)
                    .filter(|conn| conn.blocked && over_lane(conn, &ctx.settings))
            };
            room.receivers
                .iter()
                .filter_map(over)
                .map(|conn| conn.id)
                .collect()
        } else {
            Vec::new()
        };
        for exclusion in &exclusions {
            if let Some(conn) = conns.get_mut(exclusion.conn.conn) {
                conn.excluded = false;
            }
        }
        for (chunk, ..) in events.into_iter().chain(state).flatten() {
            table.release(chunk, &mut ctx.pool);
        }
        ctx.spare_exclusions.give_back(exclusions);
        for conn in full {
            self.slow_reader(ctx, now, conn);
        }
    }

    fn joined<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, joined: Joined) {
        let Joined {
            conn: id,
            edge_room,
            room: home,
            player,
            epoch: _,
            version,
            answer,
            slice,
            unasked,
            state,
        } = joined;
        let Some(room) = self.rooms.get_mut(edge_room) else {
            return;
        };
        room.home = home;
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let Some(membership) = conn.membership(edge_room) else {
            return;
        };
        let is_news = std::mem::replace(&mut membership.player, player) != player;
        if !unasked {
            membership.stay.answered();
        }
        membership.has = state.unwrap_or(StatePosition::at(version));
        (membership.seen, membership.retell) = (version, false);
        membership.floor = slice.after;
        membership.state = match state {
            Some(_) => State::Asked,
            None if slice.caught_up => State::Fresh,
            // State that changes before it is a receiver is asked for when it is one.
            None => State::Stale,
        };
        // What waits of its state is of before.
        let of_room = |piece: &Piece| piece.room == edge_room && piece.lane() == Lane::State;
        conn.lanes.drop_where(&mut self.arena, of_room, |piece| {
            self.table.release(piece.chunk, &mut ctx.pool);
        });
        if S::WAITS && is_news {
            self.hold_until_saved(ctx, now, id);
        }
        self.push_whole(ctx, now, id, Lane::Event, answer, EdgeRoomId::NONE, 0);
        self.take_slice(ctx, now, id, edge_room, slice);
    }

    /// What comes next in the log has come for a connection that is behind.
    fn take_log_slice<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        edge_room: EdgeRoomId,
        slice: Option<Slice>,
    ) {
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        let membership = conn.membership(edge_room);
        let Some(membership) = membership else {
            return self.ask_when_idle(ctx, now, id);
        };
        if let Events::Behind(behind) = membership.events {
            // Who is not in the room has nothing to ask for.
            let waits = |_: &Slice| Behind {
                asked: false,
                ..behind
            };
            let next = slice.as_ref().map(waits);
            membership.events = next.map_or(Events::None, Events::Behind);
            // It may have lost more since, or be on its way out.
            let fits = |slice: &Slice| slice.after == behind.after && behind.asked;
            let is_in = membership.behind().is_some();
            if let Some(slice) = slice.filter(|slice| is_in && fits(slice)) {
                self.take_slice(ctx, now, id, edge_room, slice);
            }
        }
        self.ask_when_idle(ctx, now, id);
    }

    /// What the connection waited for has come. Where nothing of it was to be written, no write asks for the next.
    pub(super) fn ask_when_idle<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let idle = |conn: &Conn| conn.lanes.is_empty() && !conn.blocked;
        if self.conn(id).is_some_and(idle) {
            self.ask_next(ctx, now, id);
        }
    }

    /// Queues a part of a room's log. With the last one the member receives what the room makes.
    fn take_slice<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        edge_room: EdgeRoomId,
        slice: Slice,
    ) {
        let Edge { conns, rooms, .. } = self;
        let (Some(conn), Some(room)) = (conns.get_mut(id), rooms.get_mut(edge_room)) else {
            return;
        };
        let Some(membership) = conn.session.membership(edge_room) else {
            return;
        };
        let caught_up = slice.caught_up || mutated!("live_overtakes_recovery");
        let slow_since = match membership.events {
            Events::Behind(behind) => behind.slow_since,
            Events::None | Events::Live => None,
        };
        if !caught_up {
            membership.events = Events::Behind(Behind {
                after: slice.to,
                asked: false,
                slow_since,
            });
        } else if std::mem::replace(&mut membership.events, Events::Live) != Events::Live {
            room.receivers.push(id);
        }
        if S::WAITS && caught_up {
            room.note_offset(slice.to);
        }
        if let Some(events) = slice.events {
            let (room, after) = (edge_room, slice.after);
            self.push_whole(ctx, now, id, Lane::Event, events, room, after);
        }
    }

    /// The connection gets no more of the room: its state, which events overtake, goes with it.
    pub(super) fn out<H: Host>(&mut self, ctx: &mut Context<H>, id: ConnId, room: EdgeRoomId) {
        let Edge {
            conns,
            rooms,
            arena,
            table,
            ..
        } = self;
        let conn = conns.get_mut(id);
        let Some(conn) = conn else { return };
        let Some(membership) = conn.membership(room) else {
            return;
        };
        membership.player = 0;
        if !membership.stop_events() {
            return;
        }
        if let Some(edge_room) = rooms.get_mut(room) {
            edge_room.remove_receiver(id);
        }
        let of_room = |piece: &Piece| piece.room == room && piece.lane() == Lane::State;
        conn.lanes.drop_where(arena, of_room, |piece| {
            table.release(piece.chunk, &mut ctx.pool)
        });
    }

    /// A fault for the simulation: a room is gone, and what the connection has asked of its log stays asked.
    pub(super) fn wait_for_ever(&mut self, id: ConnId, room: EdgeRoomId) {
        let membership = self.conn_mut(id).and_then(|conn| conn.membership(room));
        if let Some(membership) = membership
            && let Events::Behind(behind) = &mut membership.events
        {
            behind.asked = true;
            membership.room = EdgeRoomId::NONE;
            self.rooms.exit(room);
        }
    }

    /// The home has answered a `join_room` or `leave_room`, if it was `asked`. Who is not in the
    /// room and has nothing more to hear from it is done with it.
    pub(super) fn answered(&mut self, id: ConnId, room: EdgeRoomId, asked: bool) {
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        let Some(at) = conn
            .session
            .memberships
            .iter()
            .position(|it| it.room == room)
        else {
            return;
        };
        let Some(membership) = conn.session.memberships.get_mut(at) else {
            return;
        };
        if asked {
            membership.stay.answered();
        }
        if membership.is_over() {
            conn.asks_of_left |= conn.operations > 0;
            conn.session.memberships.remove(at);
            self.rooms.exit(room);
        }
    }

    fn accepted<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        id: ConnId,
        window: u32,
        operations: u32,
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let was_full = !may_read(conn, &ctx.settings);
        conn.window = conn.window.saturating_sub(window);
        conn.operations = conn.operations.saturating_sub(operations);
        conn.asks_of_left &= conn.operations > 0;
        if was_full && may_read(conn, &ctx.settings) {
            self.readable.push(id);
        }
    }
}

/// Cuts ranges out of a piece. The first part is charged with all that the chunk holds: even a small part keeps the
/// whole. Another node may have given ranges that are not in the piece, or not in order: no part is longer for it.
fn split<'a>(
    whole: Piece,
    without: impl Iterator<Item = &'a Exclusion>,
    mut push: impl FnMut(Piece),
) {
    let (mut at, mut base) = (whole.start, whole.base());
    let mut charge = whole.charge;
    for exclusion in without {
        let start = exclusion.start.min(whole.end);
        if start > at {
            push(whole.part((at, start), std::mem::take(&mut charge), base));
        }
        at = at.max(start).max(exclusion.end);
        // What comes behind an event begins after it in the log.
        if whole.lane() == Lane::Event {
            base = exclusion.offset;
        }
    }
    if at < whole.end {
        push(whole.part((at, whole.end), charge, base));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::ShardAddress;

    /// The parts of a chunk of 100 bytes without these ranges, each with the offset before it.
    fn parts(without: &[(u32, u32, u64)]) -> Vec<(u32, u32, u64)> {
        let conn = ConnRef {
            shard: ShardAddress::own(0),
            conn: ConnId::NONE,
        };
        let exclusion = |(start, end, offset): &(u32, u32, u64)| Exclusion {
            conn,
            state_lane: false,
            offset: *offset,
            start: *start,
            end: *end,
        };
        let without: Vec<_> = without.iter().map(exclusion).collect();
        let whole = Piece::new((0, 100, 128), Lane::Event, EdgeRoomId::NONE, 7);
        let mut parts = Vec::new();
        split(whole, without.iter(), |part| {
            parts.push((part.start, part.end, part.base()));
        });
        parts
    }

    #[test]
    fn who_sent_an_event_gets_what_is_around_it() {
        assert_eq!(parts(&[]), [(0, 100, 7)]);
        assert_eq!(parts(&[(0, 10, 8)]), [(10, 100, 8)]);
        assert_eq!(
            parts(&[(10, 20, 8), (60, 100, 11)]),
            [(0, 10, 7), (20, 60, 8)]
        );
    }

    #[test]
    fn ranges_that_are_not_in_the_chunk_cut_nothing_outside_it() {
        assert_eq!(parts(&[(200, 300, 8)]), [(0, 100, 7)]);
        assert_eq!(parts(&[(50, 300, 8)]), [(0, 50, 7)]);
        assert_eq!(
            parts(&[(50, 60, 8), (10, 20, 9)]),
            [(0, 50, 7), (60, 100, 9)]
        );
        assert_eq!(parts(&[(60, 50, 8)]), [(0, 60, 7), (60, 100, 8)]);
    }
}
