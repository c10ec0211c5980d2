//! The ways out of a half of a shard: to homes of rooms, and to edges with connections.

use super::Context;
use crate::id::{ConnRef, NameHash};
use crate::letter::{Delivery, Letter, Op, ShardMessage, ToEdge};

impl<H> Context<H> {
    /// Sends an operation to the home of its room.
    pub(crate) fn send_home(&mut self, op: Op) {
        let home = NameHash::home(op.head.room.hash, self.count);
        if home == self.index {
            self.local_ops.push(op);
        } else if let Some(outbox) = self.outboxes.get_mut(usize::from(home)) {
            outbox.push(ShardMessage(Letter::Op(op)));
        }
    }

    /// Sends a delivery or an answer to the shard of a connection.
    pub(crate) fn send_edge(&mut self, shard: u16, message: ToEdge) {
        if shard == self.index {
            self.local_edge.push(message);
            return;
        }
        if let ToEdge::Deliver(Delivery { bytes, .. }) = &message
            && let Some(in_transit) = self.in_transit.get_mut(usize::from(shard))
        {
            *in_transit += bytes;
        }
        if let Some(outbox) = self.outboxes.get_mut(usize::from(shard)) {
            outbox.push(ShardMessage(Letter::Edge(message)));
        }
    }

    /// Gives a connection the window back that a publish took.
    pub(crate) fn accepted(&mut self, conn: ConnRef, window: u32) {
        if let Some(ToEdge::Accepted {
            conn: last,
            window: sum,
            operations,
        }) = self.local_edge.last_mut()
            && conn.shard == self.index
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
    pub(crate) fn link_has_room(&self, shard: u16) -> bool {
        let in_transit = self
            .in_transit
            .get(usize::from(shard))
            .copied()
            .unwrap_or(0);
        in_transit < self.settings.link_window.max(1)
    }

    /// Bytes of deliveries on their way to other shards.
    pub(crate) fn link_bytes(&self) -> usize {
        self.in_transit.iter().sum()
    }

    pub(crate) fn link_credit(&mut self, shard: u16, bytes: usize) {
        if let Some(in_transit) = self.in_transit.get_mut(usize::from(shard)) {
            *in_transit = in_transit.saturating_sub(bytes);
        }
    }
}
