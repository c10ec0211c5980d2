//! Rooms whose home is gone: it was on a node to which the link is lost.

use crate::address::NodeNumber;
use crate::context::Context;
use crate::edge::Edge;
use crate::edge::conn::{Conn, Phase};
use crate::edge::membership::{Membership, Stay};
use crate::edge::rooms::EdgeRooms;
use crate::host::Host;
use crate::id::{ConnId, HomeRoomId};
use crate::store::Store;
use crate::time::Now;
use roomcast_protocol::CloseCode;

impl<S: Store> Edge<S> {
    /// The link to a node is lost. What was asked of homes there has no answer: whoever is in a room there comes back,
    /// and so does whoever waits for an answer, which may have been asked for there.
    pub(crate) fn node_lost<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, node: NodeNumber) {
        for room in self.rooms.rows_mut().filter(|room| room.node == node) {
            (room.node, room.home) = (NodeNumber::NONE, HomeRoomId::NONE);
        }
        let rooms = &self.rooms;
        let conns = self.conns.rows_mut();
        let lost: Vec<ConnId> = conns
            .filter(|conn| conn.phase == Phase::Open && has_lost(rooms, conn))
            .map(|conn| conn.id)
            .collect();
        for id in lost {
            self.close_with(ctx, now, id, CloseCode::Reconnect);
        }
    }
}

fn has_lost(rooms: &EdgeRooms, conn: &Conn) -> bool {
    let is_lost = |it: &Membership| {
        let room = rooms.get(it.room);
        it.stay != Stay::In || room.is_some_and(|room| room.node == NodeNumber::NONE)
    };
    conn.session.memberships.iter().any(is_lost)
}
