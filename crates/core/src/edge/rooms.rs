//! The rooms that connections of this shard are in, wherever those are at home.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::address::NodeNumber;
use crate::id::{ConnId, EdgeRoomId, HomeRoomId};
use crate::letter::RoomRef;
use crate::log::Since;
use crate::table::{Row, Table};

/// A room with connections here.
#[derive(Debug)]
pub(super) struct EdgeRoom {
    pub(super) name: Arc<str>,
    hash: u64,
    /// This shard's number for it.
    pub(super) id: EdgeRoomId,
    /// Its home's number, once told.
    pub(super) home: HomeRoomId,
    /// The node that its home is on, once told: what others say of it is of before, and not believed.
    pub(super) node: NodeNumber,
    /// That home is gone, and who is in the room has not heard so yet.
    pub(super) is_lost: bool,
    /// The node that was its home and has given it up as it ends: nothing asked of the room since then goes there.
    pub(super) given_up_by: NodeNumber,
    /// The last event that who is up to date was given, where there is a store.
    pub(super) newest: Option<Since>,
    /// The connections that receive its events.
    pub(super) receivers: Vec<ConnId>,
    /// Connections that are in it, come or go.
    pub(super) uses: u32,
}

impl Row for EdgeRoom {
    type Number = EdgeRoomId;

    fn number(&self) -> EdgeRoomId {
        self.id
    }
}

impl EdgeRoom {
    pub(super) fn reference(&self) -> RoomRef {
        RoomRef {
            name: Arc::clone(&self.name),
            hash: self.hash,
            id: self.home,
            node: self.node,
        }
    }

    /// Its home is gone: from here on nothing of it is believed.
    pub(super) fn lose_home(&mut self) {
        (self.node, self.home) = (NodeNumber::NONE, HomeRoomId::NONE);
        self.is_lost = true;
    }

    /// Those who are up to date have the events up to this one.
    pub(super) fn note_offset(&mut self, offset: u64) {
        if let Some(newest) = &mut self.newest {
            newest.offset = newest.offset.max(offset);
        }
    }

    pub(super) fn remove_receiver(&mut self, conn: ConnId) {
        if let Some(at) = self.receivers.iter().position(|other| *other == conn) {
            self.receivers.swap_remove(at);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct EdgeRooms {
    rooms: Table<EdgeRoom>,
    by_name: HashTable<EdgeRoomId>,
}

impl EdgeRooms {
    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn get(&self, id: EdgeRoomId) -> Option<&EdgeRoom> {
        self.rooms.get(id)
    }

    pub(super) fn get_mut(&mut self, id: EdgeRoomId) -> Option<&mut EdgeRoom> {
        self.rooms.get_mut(id)
    }

    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut EdgeRoom> {
        self.rooms.rows_mut()
    }

    pub(super) fn find(&self, name: &str, hash: u64) -> Option<EdgeRoomId> {
        let is_it = |id: &EdgeRoomId| self.get(*id).is_some_and(|room| &*room.name == name);
        self.by_name.find(hash, is_it).copied()
    }

    /// The room of this name, made if it is new here, with one more use.
    pub(super) fn enter(&mut self, name: &str, hash: u64) -> EdgeRoomId {
        let id = self
            .find(name, hash)
            .unwrap_or_else(|| self.insert(name, hash));
        if let Some(room) = self.get_mut(id) {
            room.uses += 1;
        }
        id
    }

    /// One use less; with the last one the room is forgotten.
    pub(super) fn exit(&mut self, id: EdgeRoomId) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        room.uses -= 1;
        if room.uses > 0 {
            return;
        }
        let hash = room.hash;
        if let Ok(entry) = self.by_name.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.rooms.remove(id);
    }

    fn insert(&mut self, name: &str, hash: u64) -> EdgeRoomId {
        let id = self.rooms.insert(|id| EdgeRoom {
            name: name.into(),
            hash,
            id,
            home: HomeRoomId::NONE,
            node: NodeNumber::NONE,
            is_lost: false,
            given_up_by: NodeNumber::NONE,
            newest: None,
            receivers: Vec::new(),
            uses: 0,
        });
        let rooms = &self.rooms;
        let hash_of = |id: &EdgeRoomId| rooms.get(*id).map_or(0, |room| room.hash);
        self.by_name.insert_unique(hash, id, hash_of);
        id
    }
}
