//! What rooms' homes send to the connections of this shard.

use roomcast_protocol::{Body, ErrorCode, MessageType, Outgoing, Payload};

use crate::context::{Context, Fault};
use crate::edge::conn::{Conn, Phase};
use crate::edge::requests::NO_RECIPIENT;
use crate::edge::{Edge, mark_dirty, may_read, over_lane, over_state};
use crate::host::{Encoding, Host};
use crate::id::{ConnId, ConnRef};
use crate::lane::{Lane, Piece};
use crate::link::{Delivery, DirectMessage, Encoded, Joined, ToEdge};
use crate::time::Now;

/// A turn's direct messages to one connection may take so many times its lane before senders are asked to wait: what
/// a turn makes is held against a reader only when its socket doesn't take it.
const DIRECT_LANES: usize = 4;
const RECIPIENT_BUSY: &str = "the recipient gets too much at once; send it again";
/// Lists kept for the next deliveries; those of other shards come in addition.
const SPARE_EXCLUSIONS: usize = 256;

impl Edge {
    pub(crate) fn apply<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, message: ToEdge) {
        match message {
            ToEdge::Deliver(delivery) => self.deliver(ctx, now, delivery),
            ToEdge::Joined(joined) => self.joined(ctx, now, *joined),
            ToEdge::JoinRefused {
                conn,
                edge_room,
                error,
                code,
            } => {
                self.push_control(ctx, now, conn, error);
                if self.rooms.current(edge_room).is_some() {
                    self.answered(conn, edge_room.slot, true);
                }
                self.offence(ctx, now, conn, code);
            }
            ToEdge::Left {
                conn,
                edge_room,
                asked,
                farewell,
            } => {
                if let Some(farewell) = farewell {
                    self.push_whole(ctx, now, conn, Lane::Event, farewell, Piece::NO_ROOM, 0);
                }
                if self.rooms.current(edge_room).is_some() {
                    self.out(ctx, conn, edge_room.slot);
                    self.answered(conn, edge_room.slot, asked);
                }
            }
            ToEdge::Answer {
                conn,
                answer,
                offence,
                ordered,
            } => {
                let lane = if ordered { Lane::Event } else { Lane::Control };
                self.push_whole(ctx, now, conn, lane, answer, Piece::NO_ROOM, 0);
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
            ToEdge::CaughtUp {
                conn,
                edge_room,
                version,
                state,
            } => {
                if self.rooms.current(edge_room).is_none() {
                    return;
                }
                let Some(known) = self.conn_mut(conn) else {
                    return;
                };
                let blocked = known.blocked;
                let Some(membership) = known.membership(edge_room.slot) else {
                    return;
                };
                membership.asked = false;
                // Still too slow: what comes later is newer.
                if blocked {
                    return;
                }
                membership.stale = false;
                let base = std::mem::replace(&mut membership.version, version);
                if let Some(state) = state {
                    self.push_whole(ctx, now, conn, Lane::State, state, edge_room.slot, base);
                }
            }
        }
    }

    /// Queues a room's turn for each of its receivers: by reference, each one's in its encoding.
    fn deliver<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, delivery: Delivery) {
        let Delivery {
            edge_room,
            events,
            state,
            version,
            mut exclusions,
            bytes: _,
        } = delivery;
        let Edge {
            conns,
            rooms,
            table,
            arena,
            batcher,
            ..
        } = self;
        let Some(room) = rooms.current(edge_room) else {
            events
                .into_iter()
                .chain(state)
                .flatten()
                .for_each(|chunk| ctx.pool.give_back(chunk));
            return;
        };
        // One reference each is ours until all receivers have theirs.
        let mut enter = |encoded: Encoded| {
            encoded.map(|chunk| {
                let chunk = chunk?;
                let (length, held) = (chunk.bytes().len() as u32, chunk.held() as u32);
                Some((table.insert(chunk), length, held))
            })
        };
        let (events, state) = (enter(events), enter(state));
        for exclusion in &exclusions {
            if exclusion.conn.shard == ctx.index
                && let Some(conn) = conns.get_mut(exclusion.conn.conn.slot() as usize)
            {
                conn.excluded = conn.id == exclusion.conn.conn;
            }
        }
        let own_ref = |conn| ConnRef {
            shard: ctx.index,
            conn,
        };
        let mut overflow = false;
        for slot in &room.receivers {
            let Some(conn) = conns.get_mut(*slot as usize) else {
                continue;
            };
            if conn.phase == Phase::Closing {
                continue;
            }
            let encoding = conn.encoding.index();
            let before = conn.lanes.bytes();
            if let Some((chunk, length, held)) = events[encoding] {
                let whole = Piece {
                    chunk,
                    start: 0,
                    end: length,
                    charge: held,
                    lane: Lane::Event,
                    room: Piece::NO_ROOM,
                    base: 0,
                };
                let mut push = |piece| {
                    table.retain(chunk);
                    conn.lanes.push(arena, piece);
                    ctx.stats.deliveries += 1;
                };
                if conn.excluded {
                    let own = exclusions
                        .iter()
                        .filter(|it| it.conn == own_ref(conn.id) && !it.state_lane);
                    split(whole, own.map(|it| (it.start, it.end)), push);
                } else {
                    push(whole);
                }
                overflow |= conn.blocked && over_lane(conn, &ctx.settings);
            }
            if let Some((chunk, length, held)) = state[encoding] {
                let (blocked, conn_state) = (conn.blocked, conn.lanes.state_bytes());
                let membership = conn
                    .memberships
                    .iter_mut()
                    .find(|it| it.room == edge_room.slot);
                let Some(membership) = membership else {
                    continue;
                };
                if blocked || membership.stale || over_state(conn_state, &ctx.settings) {
                    if version.is_some() {
                        membership.stale = true;
                        ctx.stats.state_replaced += 1;
                    } else {
                        ctx.stats.ephemeral_dropped += 1;
                    }
                } else {
                    let base = membership.version;
                    membership.version = version.unwrap_or(base);
                    let whole = Piece {
                        chunk,
                        start: 0,
                        end: length,
                        charge: held,
                        lane: Lane::State,
                        room: edge_room.slot,
                        base: if version.is_some() {
                            base
                        } else {
                            Piece::EPHEMERAL
                        },
                    };
                    let mut push = |piece| {
                        table.retain(chunk);
                        conn.lanes.push(arena, piece);
                        ctx.stats.deliveries += 1;
                    };
                    if conn.excluded {
                        let own = exclusions
                            .iter()
                            .filter(|it| it.conn == own_ref(conn.id) && it.state_lane);
                        split(whole, own.map(|it| (it.start, it.end)), push);
                    } else {
                        push(whole);
                    }
                }
            }
            if conn.lanes.bytes() > before {
                mark_dirty(conn, batcher, now, before);
            }
        }
        let full: Vec<ConnId> = if overflow {
            let over = |slot: &u32| {
                conns
                    .get(*slot as usize)
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
            if let Some(conn) = conns.get_mut(exclusion.conn.conn.slot() as usize) {
                conn.excluded = false;
            }
        }
        for (chunk, ..) in events.into_iter().chain(state).flatten() {
            table.release(chunk, &mut ctx.pool);
        }
        if exclusions.capacity() > 0 && ctx.spare_exclusions.len() < SPARE_EXCLUSIONS {
            exclusions.clear();
            ctx.spare_exclusions.push(exclusions);
        }
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
            version,
            answer,
            state,
        } = joined;
        let Some(room) = self.rooms.current(edge_room) else {
            return;
        };
        room.home = home;
        let Some(conn) = self
            .conns
            .get_mut(id.slot() as usize)
            .filter(|conn| conn.id == id)
        else {
            return;
        };
        let Some(membership) = conn.membership(edge_room.slot) else {
            return;
        };
        let is_new = membership.player != player;
        membership.player = player;
        membership.unanswered = membership.unanswered.saturating_sub(1);
        if is_new {
            membership.version = version;
            membership.stale = false;
            membership.asked = false;
            room.receivers.push(id.slot());
        }
        self.push_whole(ctx, now, id, Lane::Event, answer, Piece::NO_ROOM, 0);
        if let Some(state) = state {
            // Dropped unsent, all of it is missed.
            self.push_whole(ctx, now, id, Lane::State, state, edge_room.slot, 0);
        }
    }

    /// The connection gets no more of the room: its state, which events overtake, goes with it.
    fn out<H: Host>(&mut self, ctx: &mut Context<H>, id: ConnId, slot: u32) {
        let Edge {
            conns,
            rooms,
            arena,
            table,
            ..
        } = self;
        let conn = conns
            .get_mut(id.slot() as usize)
            .filter(|conn| conn.id == id);
        let Some(conn) = conn else { return };
        let Some(membership) = conn.membership(slot) else {
            return;
        };
        if std::mem::take(&mut membership.player) == 0 {
            return;
        }
        if let Some(room) = rooms.get_mut(slot) {
            room.remove_receiver(id.slot());
        }
        let of_room = |piece: &Piece| piece.room == slot;
        conn.lanes.drop_state(arena, of_room, |piece| {
            table.release(piece.chunk, &mut ctx.pool)
        });
    }

    /// The home has answered a `join_room` or `leave_room`, if it was `asked`. Who is not in the
    /// room and has nothing more to hear from it is done with it.
    fn answered(&mut self, id: ConnId, slot: u32, asked: bool) {
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        let Some(at) = conn.memberships.iter().position(|it| it.room == slot) else {
            return;
        };
        let Some(membership) = conn.memberships.get_mut(at) else {
            return;
        };
        membership.unanswered = membership.unanswered.saturating_sub(u32::from(asked));
        if membership.player == 0 && membership.unanswered == 0 {
            conn.memberships.remove(at);
            conn.pooled.in_use = !conn.memberships.is_empty();
            self.rooms.exit(slot);
        }
    }

    fn accepted<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        id: ConnId,
        window: u32,
        operations: u32,
    ) {
        let Some(conn) = self
            .conns
            .get_mut(id.slot() as usize)
            .filter(|conn| conn.id == id)
        else {
            return;
        };
        let was_full = !may_read(conn, &ctx.settings);
        conn.window = conn.window.saturating_sub(window);
        conn.operations = conn.operations.saturating_sub(operations);
        if was_full && may_read(conn, &ctx.settings) {
            self.readable.push(id);
        }
    }

    /// A direct message for a client whose id is at home here.
    pub(crate) fn take_direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        message: DirectMessage,
    ) {
        let DirectMessage {
            to,
            from,
            from_encoding,
            from_client,
            born,
            window,
            publish,
        } = message;
        ctx.accepted(from, window);
        let conns = &self.conns;
        let is_it = |slot: u32| {
            conns
                .get(slot as usize)
                .is_some_and(|conn| conn.pooled.client_id == to && conn.phase != Phase::Closing)
        };
        let slot = self.pool.get(ctx.names.hash(to.as_str()), is_it);
        let most = ctx.settings.event_lane.saturating_mul(DIRECT_LANES);
        let target = match slot.and_then(|slot| conns.get(slot as usize)) {
            None => Err(Fault::new(ErrorCode::RecipientNotFound, NO_RECIPIENT)),
            Some(conn) if most > 0 && conn.lanes.event_bytes() > most => Err(Fault {
                retry_after_ms: 100,
                ..Fault::new(ErrorCode::Unavailable, RECIPIENT_BUSY)
            }),
            Some(conn) => Ok((conn.id, conn.encoding)),
        };
        let (id, encoding) = match target {
            Ok(target) => target,
            Err(fault) => {
                let fault = Fault {
                    seq: publish.seq,
                    request: Some(publish.message_type),
                    ..fault
                };
                ctx.refuse(from, from_encoding, born, now.unix_ms, fault);
                return ctx.recycle(publish.bytes);
            }
        };
        self.put_direct(
            ctx,
            now,
            (id, encoding),
            from_client.as_str(),
            to.as_str(),
            born,
            &publish,
        );
        ctx.recycle(publish.bytes);
    }

    #[expect(clippy::too_many_arguments, reason = "a message's parts")]
    fn put_direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (id, encoding): (ConnId, Encoding),
        from: &str,
        to: &str,
        born: u64,
        publish: &crate::link::Publish,
    ) {
        let payload = Payload {
            kind: publish.payload_kind,
            data: publish.payload(),
        };
        let body = match publish.message_type {
            MessageType::Chat => Body::Chat(payload),
            _ => Body::Event {
                name: publish.name(),
                payload,
            },
        };
        let message = Outgoing {
            from_client_id: from,
            to_client_id: to,
            timestamp: now.unix_ms,
            seq: publish.seq,
            ephemeral: publish.ephemeral,
            body,
            ..Outgoing::default()
        };
        // What is ephemeral is the first to be dropped.
        let full =
            |conn: &Conn| conn.blocked || over_state(conn.lanes.state_bytes(), &ctx.settings);
        if publish.ephemeral && self.conn(id).is_some_and(full) {
            ctx.stats.ephemeral_dropped += 1;
            return;
        }
        let frame = ctx.single(encoding, born, &message);
        let lane = if publish.ephemeral {
            Lane::State
        } else {
            Lane::Event
        };
        self.push_whole(ctx, now, id, lane, frame, Piece::NO_ROOM, 0);
    }
}

/// Cuts the ranges out of a piece. The first part is charged with all that the chunk holds: even
/// a small part keeps the whole.
fn split(whole: Piece, without: impl Iterator<Item = (u32, u32)>, mut push: impl FnMut(Piece)) {
    let mut at = whole.start;
    let mut charge = whole.charge;
    for (start, end) in without {
        if start > at {
            push(Piece {
                start: at,
                end: start,
                charge: std::mem::take(&mut charge),
                ..whole
            });
        }
        at = end;
    }
    if at < whole.end {
        push(Piece {
            start: at,
            charge,
            ..whole
        });
    }
}
