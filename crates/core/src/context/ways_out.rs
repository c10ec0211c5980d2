//! The ways out of a half of a shard: to homes of rooms, and to edges with connections.

use super::Context;
use roomcast_protocol::mutated;

use crate::address::ShardAddress;
use crate::id::{ConnRef, NameHash};
use crate::letter::{Delivery, Letter, Op, ShardMessage, ToEdge};

impl<H> Context<H> {
    /// The shard of this node on which a name with this hash is at home.
    pub(crate) fn home_of(&self, hash: u64) -> ShardAddress {
        ShardAddress::own(NameHash::home(hash, self.count))
    }

    /// What is to be sent to another shard of this node.
    pub(crate) fn outbox(&mut self, shard: u16) -> Option<&mut Vec<ShardMessage>> {
        self.outboxes.get_mut(usize::from(shard))
    }

    /// Sends a letter to another shard.
    pub(crate) fn post(&mut self, to: ShardAddress, letter: Letter) {
        if !to.is_own() {
            return self.post_to_node(to, letter);
        }
        if let Some(outbox) = self.outbox(to.shard()) {
            outbox.push(ShardMessage(letter));
        }
    }

    /// Sends an operation to the home of its room, or to the shard of this node that knows on which node that is.
    pub(crate) fn send_home(&mut self, op: Op) {
        if self.is_too_new(&op) {
            return self.withhold(Letter::Op(op));
        }
        let home = self.home_of(op.head.room.hash);
        if home == self.own {
            self.local_ops.push(op);
        } else {
            self.post(home, Letter::Op(op));
        }
    }

    /// Sends a delivery or an answer to the shard of a connection.
    pub(crate) fn send_edge(&mut self, shard: ShardAddress, message: ToEdge) {
        if self.holding.on {
            self.holding.said.push((shard, message));
            return;
        }
        if shard == self.own {
            self.local_edge.push(message);
            return;
        }
        if let ToEdge::Deliver(Delivery { bytes, .. }) = &message {
            self.note_in_transit(shard, *bytes);
        }
        self.post(shard, Letter::Edge(message));
    }

    /// Gives a connection the window back that a publish took.
    pub(crate) fn accepted(&mut self, conn: ConnRef, window: u32) {
        let last = if self.holding.on {
            let last = self.holding.said.last_mut();
            last.filter(|(to, _)| *to == conn.shard).map(|(_, it)| it)
        } else {
            let own = conn.shard == self.own;
            self.local_edge.last_mut().filter(|_| own)
        };
        if let Some(ToEdge::Accepted {
            conn: last,
            window: sum,
            operations,
        }) = last
            && *last == conn.conn
        {
            *sum += window;
            *operations += 1;
            return;
        }
        let (shard, conn, operations) = (conn.shard, conn.conn, 1);
        self.send_edge(
            shard,
            ToEdge::Accepted {
                conn,
                window,
                operations,
            },
        );
    }

    /// Whether a delivery to a shard has room on the way there.
    pub(crate) fn link_has_room(&self, shard: ShardAddress) -> bool {
        let in_transit = match shard.is_own() {
            true => self.in_transit.get(usize::from(shard.shard())),
            false => self.in_transit_to_nodes.get(&shard),
        };
        in_transit.copied().unwrap_or(0) < self.settings.link_window.max(1)
    }

    /// Bytes of deliveries on their way to other shards.
    pub(crate) fn link_bytes(&self) -> usize {
        let to_nodes = self.in_transit_to_nodes.values();
        self.in_transit.iter().chain(to_nodes).sum()
    }

    pub(crate) fn link_credit(&mut self, shard: ShardAddress, bytes: usize) {
        if shard.is_own() {
            if let Some(in_transit) = self.in_transit.get_mut(usize::from(shard.shard())) {
                *in_transit = in_transit.saturating_sub(bytes);
            }
        } else if let Some(in_transit) = self.in_transit_to_nodes.get_mut(&shard)
            && !mutated!("credit_of_a_node_is_lost")
        {
            *in_transit = in_transit.saturating_sub(bytes);
            if *in_transit == 0 {
                self.in_transit_to_nodes.remove(&shard);
            }
        }
    }

    fn note_in_transit(&mut self, shard: ShardAddress, bytes: usize) {
        if shard.is_own() {
            if let Some(in_transit) = self.in_transit.get_mut(usize::from(shard.shard())) {
                *in_transit += bytes;
            }
        } else if self.lives(shard.node()) {
            *self.in_transit_to_nodes.entry(shard).or_default() += bytes;
        }
    }
}
