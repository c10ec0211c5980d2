//! From lanes to sockets: what is to be written, and what became of it.

use std::io::IoSlice;

use crate::chunk::ChunkTable;
use crate::context::Context;
use crate::edge::conn::{Conn, Phase};
use crate::edge::membership::{Behind, Events, Membership, State};
use crate::edge::{Edge, over_lane};
use crate::host::Host;
use crate::id::ConnId;
use crate::lane::{LaneArena, Piece};
use crate::letter::{OpKind, ReadLog};
use crate::store::Store;
use crate::time::{Now, micros};

/// What to do after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing waits any more.
    Done,
    /// More waits, and the socket may take it.
    More,
    /// The socket is full: gather again when it is writable.
    Blocked,
}

impl<S: Store> Edge<S> {
    pub(crate) fn next_dirty(&mut self, now: Now) -> Option<ConnId> {
        loop {
            let id = self.batcher.next(now.micros)?;
            let Some(conn) = self.conn_mut(id) else {
                continue;
            };
            if std::mem::take(&mut conn.queued) && !conn.blocked {
                return Some(id);
            }
        }
    }

    /// Fills `slices` with what is to be sent next; returns how many it filled.
    // As a call it costs each write 25 instructions more.
    #[inline(always)]
    pub(crate) fn gather<'a>(&'a mut self, id: ConnId, slices: &mut [IoSlice<'a>]) -> usize {
        let Edge {
            conns,
            arena,
            table,
            keeper,
            ..
        } = self;
        let Some(conn) = conns.get_mut(id) else {
            return 0;
        };
        conn.lanes.batch(arena);
        if S::WAITS && keeper.is_held(id) {
            return 0;
        }
        let (arena, table) = (&*arena, &*table);
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(conn.lanes.pieces(arena)) {
            let bytes = table.get(piece.chunk).bytes();
            *slice = IoSlice::new(
                bytes
                    .get(piece.start as usize..piece.end as usize)
                    .unwrap_or_default(),
            );
            filled += 1;
        }
        filled
    }

    /// The socket took `bytes` of what was gathered, and nothing more for now if `blocked`.
    pub(crate) fn written<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        bytes: usize,
        blocked: bool,
    ) -> Written {
        if S::WAITS
            && let Some(hold) = self.keeper.hold(id)
        {
            // Its socket takes bytes, and may have none yet.
            hold.was_blocked = false;
            return Written::Blocked;
        }
        let Edge {
            conns,
            arena,
            table,
            readable,
            ..
        } = self;
        let Some(conn) = conns.get_mut(id) else {
            return Written::Done;
        };
        let could_read = may_read_answers(conn, ctx);
        conn.lanes.advance(arena, bytes, |piece| {
            ctx.stats
                .latency
                .record(now.micros.saturating_sub(table.get(piece.chunk).born()));
            table.release(piece.chunk, &mut ctx.pool);
        });
        if !could_read && may_read_answers(conn, ctx) {
            readable.push(id);
        }
        let ends_traces = table.has_written();
        if bytes > 0 || !conn.blocked {
            conn.progress_at = now.micros;
        }
        if ends_traces {
            self.end_traces(ctx, now);
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return Written::Done;
        };
        if blocked {
            self.blocked(ctx, now, id);
            if self
                .conn(id)
                .is_some_and(|conn| over_lane(conn, &ctx.settings))
            {
                self.slow_reader(ctx, now, id);
            }
            return Written::Blocked;
        }
        conn.blocked = false;
        if !conn.lanes.is_empty() {
            return Written::More;
        }
        // Looked at for each write: most have nothing to ask for.
        let mut memberships = conn.session.memberships.iter();
        if memberships.any(|it| it.state == State::Stale || !matches!(it.events, Events::Live)) {
            self.ask_next(ctx, now, id);
        }
        if S::WAITS {
            self.ask_mail(ctx, id);
        }
        Written::Done
    }

    /// The socket took bytes of something that isn't whole there.
    pub(crate) fn note_progress(&mut self, now: Now, id: ConnId) {
        if let Some(conn) = self.conn_mut(id) {
            conn.progress_at = now.micros;
        }
    }

    /// State that waits for a full socket is dropped: the newest is asked for when it drains.
    fn blocked<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Edge {
            conns,
            arena,
            table,
            wheel,
            ..
        } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        if !conn.blocked && conn.phase != Phase::Closing && ctx.settings.write_timeout > 0 {
            // The wheel's next look may be too late for the write deadline.
            wheel.set(
                id.slot(),
                now.micros
                    .saturating_add(micros(ctx.settings.write_timeout)),
            );
        }
        conn.blocked = true;
        drop_state(ctx, conn, arena, table);
    }

    /// A connection has nothing to write: what it lacks of its rooms can come.
    pub(super) fn ask_next<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Some(conn) = self.conn(id).filter(|conn| conn.phase == Phase::Open) else {
            return;
        };
        let memberships = &conn.session.memberships;
        if memberships.iter().any(|it| it.state == State::Stale) {
            self.ask_newest(ctx, now, id);
        }
        self.ask_log(ctx, now, id);
    }

    /// Asks for what comes next in the log of a room in which the connection is behind. One room at a time: what waits
    /// for one connection stays within a slice.
    fn ask_log<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Edge { conns, rooms, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        let encoding = conn.encoding;
        let asked = |it: &Membership| it.behind().is_some_and(|behind| behind.asked);
        let memberships = &mut conn.session.memberships;
        if memberships.iter().any(asked) {
            return;
        }
        for membership in memberships {
            let Some(behind) = membership.behind() else {
                continue;
            };
            let Some(room) = rooms.get(membership.room) else {
                continue;
            };
            membership.events = Events::Behind(Behind {
                asked: true,
                ..behind
            });
            let (reference, edge_room) = (room.reference(), room.id);
            let read = OpKind::ReadLog(ReadLog {
                after: behind.after,
                edge_room,
            });
            let player = membership.player;
            return self.send_op(ctx, now, (id, encoding), reference, player, read);
        }
    }
}

/// Drops the state that waits for a connection: the newest is asked for when it takes something again.
pub(super) fn drop_state<H: Host>(
    ctx: &mut Context<H>,
    conn: &mut Conn,
    arena: &mut LaneArena,
    table: &mut ChunkTable,
) {
    let Conn { lanes, session, .. } = conn;
    lanes.drop_state(arena, |piece| {
        table.release(piece.chunk, &mut ctx.pool);
        let membership = session.membership(piece.room);
        match membership.filter(|_| piece.base() != Piece::EPHEMERAL) {
            Some(membership) => {
                membership.miss_state();
                membership.has.miss(piece.base());
                ctx.stats.state_replaced += 1;
            }
            None => ctx.stats.ephemeral_dropped += 1,
        }
    });
}

fn may_read_answers<H>(conn: &Conn, ctx: &Context<H>) -> bool {
    super::may_read(conn, &ctx.settings)
}
