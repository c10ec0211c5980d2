//! Leaves, and those that have no answer when their connection is lost: with a store the room's home may be gone with what
//! it was told, and nobody would know that the session has left. So it keeps its place, as one that leaves, until that is
//! answered, and leaves again where it comes back before.

use std::sync::Arc;

use roomcast_protocol::mutated;

use crate::chunk::Chunk;
use crate::context::Context;
use crate::edge::Edge;
use crate::edge::membership::Membership;
use crate::edge::session::Session;
use crate::host::Host;
use crate::id::{ClientId, ConnId, EdgeRoomId};
use crate::lane::Lane;
use crate::letter::{Leave, OpKind};
use crate::store::Store;
use crate::time::Now;

impl<S: Store> Edge<S> {
    /// A room's home says that a connection is out of it.
    pub(super) fn left<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (conn, edge_room): (ConnId, EdgeRoomId),
        asked: bool,
        farewell: Option<Arc<Chunk>>,
    ) {
        if S::WAITS && self.is_told_in(conn, edge_room) {
            self.hold_until_saved(ctx, now, conn);
        }
        let membership = self.conn_mut(conn).and_then(|it| it.membership(edge_room));
        let is_gone = membership.is_none();
        let is_unheard = asked && membership.is_some_and(Membership::take_unheard);
        if S::WAITS && asked && is_gone {
            self.left_at_last(conn, edge_room);
        }
        match farewell {
            Some(farewell) if is_unheard => ctx.pool.give_back(farewell),
            Some(farewell) => {
                self.push_whole(ctx, now, conn, Lane::Event, farewell, EdgeRoomId::NONE, 0);
            }
            None => {}
        }
        if mutated!("failed_room_stops_recovery") && !asked {
            self.wait_for_ever(conn, edge_room);
        }
        if self.rooms.get(edge_room).is_some() {
            self.out(ctx, conn, edge_room);
            self.answered(conn, edge_room, asked);
            self.ask_when_idle(ctx, now, conn);
        }
    }

    /// The answer has come, though the connection is gone.
    fn left_at_last(&mut self, conn: ConnId, room: EdgeRoomId) {
        let Some(parked) = self.parking.leaving(conn) else {
            return;
        };
        let (client, memberships) = (parked.client_id, &mut parked.session.memberships);
        let leaves = |it: &Membership| it.room == room && !it.stay.is_staying();
        let mut all = memberships.iter_mut().enumerate();
        let Some((at, membership)) = all.find(|(_, it)| leaves(it)) else {
            return;
        };
        membership.player = 0;
        membership.stay.answered();
        if membership.is_over() {
            memberships.remove(at);
            self.rooms.exit(room);
            self.keeper.note_change(client);
        }
    }

    /// A session loses its connection. Where no home is ever lost, rooms that were left, but for the answer, are done with.
    pub(super) fn end_leaves(&mut self, session: &mut Session) {
        if S::WAITS {
            return;
        }
        let rooms = &mut self.rooms;
        session.memberships.retain(|membership| {
            let staying = membership.stay.is_staying();
            if !staying {
                rooms.exit(membership.room);
            }
            staying
        });
    }
}

impl Membership {
    /// What the home of a room that the session has left is asked when it has come back: its client waits for the answer no
    /// longer.
    pub(super) fn leave_again(&mut self, client_id: ClientId, turn: u64) -> OpKind {
        self.rest();
        self.stay.leave();
        self.unheard = true;
        OpKind::Leave(Leave {
            gone: false,
            edge_room: self.room,
            client_id,
            turn,
        })
    }

    fn take_unheard(&mut self) -> bool {
        std::mem::take(&mut self.unheard)
    }
}
