//! What a home does when nodes go: its own, or one that its members' connections are on.

use roomcast_protocol::mutated;

use crate::address::{NodeNumber, ShardAddress};
use crate::context::Context;
use crate::home::Home;
use crate::home::publish::NOBODY;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::ConnRef;
use crate::letter::ToEdge;
use crate::store::Store;
use crate::time::{Now, micros};

impl<S: Store> Home<S> {
    /// The link to a node is lost: what was asked from there is not done, and those whose connections were there are not
    /// connected any more.
    pub(crate) fn node_lost<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, node: NodeNumber) {
        if mutated!("seats_outlive_their_node") {
            return;
        }
        let ids: Vec<_> = self.rooms.numbers().collect();
        for id in ids {
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            let waiting = room.waiting();
            room.filter_waiting(|_, op| (op.head.conn.shard.node() != node).then_some(op));
            let has_seats = room.has_seats_on(node);
            if has_seats {
                ctx.hold();
                room.lose_seats(ctx, now, node);
                room.speak(ctx, &self.logs, now);
            }
            if has_seats || room.waiting() != waiting {
                self.mark_unsealed(id);
            }
        }
    }
}

impl Room {
    /// The room is not at home here any more, though somebody is in it: what waits to be told is dropped, then gateways and
    /// edges are told, in this order. Edges with parked sessions too, which have no receivers. And those to which something
    /// is not said any more: who has left last there has no seat, and the next home has to hear it.
    pub(super) fn tell_gone<H: Host>(&mut self, ctx: &mut Context<H>) {
        let mut shards = self.unsay(ctx);
        let ends = self.gate.as_ref().is_some_and(|gate| gate.gives_up);
        let seats = self.members.iter().flat_map(|(_, it)| &it.seats);
        shards.extend(seats.map(|seat| seat.conn.shard));
        shards.sort_unstable();
        shards.dedup();
        shards.retain(|shard| *shard != NOBODY.shard);
        for nodes in shards.chunk_by(|one, other| one.node() == other.node()) {
            if let Some(shard) = nodes.first().filter(|it| !it.is_own()) {
                ctx.tell_gateway(shard.node(), &self.name, self.hash, ends);
            }
        }
        for shard in shards {
            let room = self.name.clone();
            ctx.send_edge(shard, ToEdge::HomeGone { room });
        }
    }

    /// What waits to be told was not done. Who was to be told alone comes back. Returns the shards to which it is not said.
    fn unsay<H: Host>(&mut self, ctx: &mut Context<H>) -> Vec<ShardAddress> {
        let waiting = self.gate.as_mut().map(|gate| gate.drop_all(ctx));
        let mut conns = waiting.unwrap_or_default();
        let key = |it: &ConnRef| (it.shard, it.conn.to_u64());
        conns.sort_unstable_by_key(key);
        conns.dedup();
        for ConnRef { shard, conn } in &conns {
            ctx.send_edge(*shard, ToEdge::ComeBack { conn: *conn });
        }
        conns.into_iter().map(|it| it.shard).collect()
    }

    fn has_seats_on(&self, node: NodeNumber) -> bool {
        let mut seats = self.members.iter().flat_map(|(_, it)| &it.seats);
        seats.any(|seat| seat.conn.shard.node() == node)
    }

    /// Seats of connections of a lost node: their sessions come back within the grace, wherever they are, or have left.
    fn lose_seats<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, node: NodeNumber) {
        // What was made before goes to those who were there.
        self.seal(ctx);
        let until = now
            .micros
            .saturating_add(micros(ctx.settings.session_grace));
        let mut disconnected = Vec::new();
        let players: Vec<_> = self.members.iter().map(|(player, _)| *player).collect();
        for player in players {
            let Some(member) = self.members.get_mut(&player) else {
                continue;
            };
            let was_connected = member.connected();
            for seat in &mut member.seats {
                if seat.conn.shard.node() == node {
                    (seat.conn, seat.connected) = (NOBODY, false);
                    if let Some(gate) = &mut self.gate {
                        gate.put_orphan(seat.client_id, player, until);
                    }
                }
            }
            if was_connected && !member.connected() {
                disconnected.push(player);
            }
        }
        let all = &mut self.receivers;
        self.edges.retain(|edge| {
            let is_lost = edge.shard.node() == node;
            if is_lost {
                for (all, lost) in all.iter_mut().zip(edge.receivers) {
                    *all = all.saturating_sub(lost);
                }
            }
            !is_lost
        });
        for player in disconnected {
            self.tell_connection(ctx, now, now.micros, player);
        }
    }
}
