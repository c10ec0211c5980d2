//! The state of rooms on its way to a connection: at most one part of each room's waits, and the next one is asked for
//! when the socket has taken all.

use crate::context::Context;
use crate::edge::membership::{Events, State};
use crate::edge::{Edge, over_state};
use crate::host::Host;
use crate::id::{ConnId, ConnRef, EdgeRoomId};
use crate::lane::Lane;
use crate::letter::{NewestState, Op, OpHead, OpKind, ReadState};
use crate::state_position::StatePosition;
use crate::store::Store;
use crate::time::Now;

/// Rooms that are asked for state at once: what they answer has to fit a lane.
const ASKED: usize = 8;

impl<S: Store> Edge<S> {
    /// What was asked for has come: the room's newest state or a part of it, or nothing where the connection is not in
    /// the room.
    pub(super) fn take_state<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (id, room): (ConnId, EdgeRoomId),
        from: StatePosition,
        newest: Option<NewestState>,
    ) {
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        let full = conn.blocked || over_state(conn.lanes.state_bytes(), &ctx.settings);
        let idle = conn.lanes.is_empty() && !conn.blocked;
        let membership = conn.membership(room);
        // Else it was asked for before the member was told of the room anew.
        let Some(membership) = membership.filter(|it| it.has == from) else {
            return;
        };
        membership.state = State::Stale;
        // Still too slow: what comes later is newer.
        let Some(NewestState { to, state }) = newest.filter(|_| !full) else {
            return;
        };
        // Who is behind gets no other state, and this again when it has caught up.
        membership.retell |= membership.events != Events::Live;
        if !membership.retell && !to.is_within() {
            membership.state = State::Fresh;
        }
        membership.has = to;
        match state {
            Some(state) => {
                self.push_whole(ctx, now, id, Lane::State, state, room, from.base());
            }
            // No write asks for the next part.
            None if idle && to.is_within() => self.ask_next(ctx, now, id),
            None => {}
        }
    }

    /// Asks the homes of rooms whose state was withheld for what is newest.
    pub(super) fn ask_newest<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Edge { conns, rooms, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        let encoding = conn.encoding;
        let memberships = &mut conn.session.memberships;
        // Begins somewhere else each time, so that each room has its turn.
        let begin = (now.micros % memberships.len().max(1) as u64) as usize;
        let (last, first) = memberships.split_at_mut(begin);
        for membership in first
            .iter_mut()
            .chain(last)
            .filter(|it| it.state == State::Stale)
            .take(ASKED)
        {
            let Some(room) = rooms.get(membership.room) else {
                continue;
            };
            membership.state = State::Asked;
            membership.has.end_round();
            if membership.events == Events::Live && std::mem::take(&mut membership.retell) {
                membership.has = StatePosition::at(membership.has.since.min(membership.seen));
            }
            let head = OpHead {
                room: room.reference(),
                conn: ConnRef {
                    shard: ctx.own,
                    conn: id,
                },
                encoding,
                player: membership.player,
                born: now.micros,
                window: 0,
                seq: 0,
                request_id: 0,
            };
            let request = OpKind::ReadState(ReadState {
                from: membership.has,
                edge_room: room.id,
            });
            ctx.send_home(Op { head, request });
        }
    }
}
