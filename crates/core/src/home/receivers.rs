//! Who gets what a room makes: shards, and how many on each in which encoding.

use crate::address::ShardAddress;
use crate::home::output::EdgeReceivers;
use crate::home::room::Room;
use crate::host::Encoding;
use crate::id::EdgeRoomId;

impl Room {
    pub(super) fn add_receiver(
        &mut self,
        shard: ShardAddress,
        edge_room: EdgeRoomId,
        encoding: Encoding,
    ) {
        self.receivers[encoding.index()] += 1;
        let at = self
            .edges
            .iter()
            .position(|edge| edge.shard == shard)
            .unwrap_or_else(|| {
                let receivers = [0; Encoding::COUNT];
                self.edges.push(EdgeReceivers {
                    shard,
                    edge_room,
                    receivers,
                });
                self.edges.len() - 1
            });
        let edge = &mut self.edges[at];
        // The shard may have dropped the room and met it again.
        edge.edge_room = edge_room;
        edge.receivers[encoding.index()] += 1;
    }

    pub(super) fn remove_receiver(&mut self, shard: ShardAddress, encoding: Encoding) {
        let index = encoding.index();
        self.receivers[index] = self.receivers[index].saturating_sub(1);
        self.edges.retain(|edge| {
            if edge.shard == shard {
                edge.receivers[index] = edge.receivers[index].saturating_sub(1);
            }
            edge.receivers.iter().any(|receivers| *receivers > 0)
        });
    }

    pub(super) fn edge_room(&self, shard: ShardAddress) -> EdgeRoomId {
        let edge = self.edges.iter().find(|edge| edge.shard == shard);
        edge.map_or(EdgeRoomId::NONE, |edge| edge.edge_room)
    }
}
