//! From lanes to sockets: what is to be written, and what became of it.

use std::io::IoSlice;

use crate::context::Context;
use crate::edge::conn::{Conn, Phase};
use crate::edge::{Edge, over_lane};
use crate::host::Host;
use crate::id::{ConnId, ConnRef};
use crate::lane::Piece;
use crate::letter::{Op, OpHead, OpKind, ReadLog};
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

impl Edge {
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
    pub(crate) fn gather<'a>(&'a mut self, id: ConnId, slices: &mut [IoSlice<'a>]) -> usize {
        let Edge {
            conns,
            arena,
            table,
            ..
        } = self;
        let Some(conn) = conns.get_mut(id) else {
            return 0;
        };
        conn.lanes.batch(arena);
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
        if bytes > 0 || !conn.blocked {
            conn.progress_at = now.micros;
        }
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
        if memberships.any(|membership| membership.stale || !membership.receiving) {
            self.ask_next(ctx, now, id);
        }
        Written::Done
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
        let Conn { lanes, session, .. } = conn;
        lanes.drop_state(arena, |piece| {
            table.release(piece.chunk, &mut ctx.pool);
            let membership = session.membership(piece.room);
            match membership.filter(|_| piece.base() != Piece::EPHEMERAL) {
                Some(membership) => {
                    membership.stale = true;
                    membership.version = membership.version.min(piece.base());
                    ctx.stats.state_replaced += 1;
                }
                None => ctx.stats.ephemeral_dropped += 1,
            }
        });
    }

    /// A connection has nothing to write: what it lacks of its rooms can come.
    pub(super) fn ask_next<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Some(conn) = self.conn(id).filter(|conn| conn.phase == Phase::Open) else {
            return;
        };
        let memberships = &conn.session.memberships;
        if memberships.iter().any(|membership| membership.stale) {
            self.ask_newest(ctx, now, id);
        }
        let Some(conn) = self.conn(id).filter(|conn| !conn.fed) else {
            return;
        };
        // One room at a time: what waits for one connection stays within a slice.
        let behind = conn.session.memberships.iter().find(|it| it.is_behind());
        let Some((membership, encoding)) = behind.copied().zip(Some(conn.encoding)) else {
            return;
        };
        let Some(room) = self.rooms.get(membership.room) else {
            return;
        };
        let (reference, edge_room) = (room.reference(), room.id);
        let read = OpKind::ReadLog(ReadLog {
            after: membership.fed,
            edge_room,
        });
        self.send_op(ctx, now, (id, encoding), reference, membership.player, read);
        if let Some(conn) = self.conn_mut(id) {
            conn.fed = true;
        }
    }

    /// Asks the homes of rooms whose state was withheld for what is newest.
    fn ask_newest<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Edge { conns, rooms, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        let encoding = conn.encoding;
        for membership in conn
            .session
            .memberships
            .iter_mut()
            .filter(|it| it.stale && !it.asked)
        {
            let Some(room) = rooms.get(membership.room) else {
                continue;
            };
            membership.asked = true;
            if membership.receiving && std::mem::take(&mut membership.retell) {
                membership.version = membership.version.min(membership.seen);
            }
            let head = OpHead {
                room: room.reference(),
                conn: ConnRef {
                    shard: ctx.index,
                    conn: id,
                },
                encoding,
                player: membership.player,
                born: now.micros,
                window: 0,
                seq: 0,
                request_id: 0,
            };
            let request = OpKind::ReadState {
                since: membership.version,
            };
            ctx.send_home(Op { head, request });
        }
    }
}

fn may_read_answers<H>(conn: &Conn, ctx: &Context<H>) -> bool {
    super::may_read(conn, &ctx.settings)
}
