//! The rooms that connections of this shard are in, wherever those are at home.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::letter::{RoomId, RoomRef};

/// A room with connections here.
#[derive(Debug)]
pub(super) struct EdgeRoom {
    pub(super) name: Arc<str>,
    hash: u64,
    /// This shard's number for it.
    pub(super) id: RoomId,
    /// Its home's number, once told.
    pub(super) home: RoomId,
    /// Slots of the connections that receive its events.
    pub(super) receivers: Vec<u32>,
    /// Connections that are in it, come or go.
    uses: u32,
}

impl EdgeRoom {
    pub(super) fn reference(&self) -> RoomRef {
        RoomRef {
            name: Arc::clone(&self.name),
            hash: self.hash,
            id: self.home,
        }
    }

    pub(super) fn remove_receiver(&mut self, slot: u32) {
        if let Some(at) = self.receivers.iter().position(|other| *other == slot) {
            self.receivers.swap_remove(at);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct EdgeRooms {
    rooms: slab::Slab<EdgeRoom>,
    by_name: HashTable<u32>,
    /// Counts rooms, so that a message for one that is gone finds no other in its place.
    made: u32,
}

impl EdgeRooms {
    pub(super) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&EdgeRoom> {
        self.rooms.get(slot as usize)
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut EdgeRoom> {
        self.rooms.get_mut(slot as usize)
    }

    /// The room that a message from its home is for.
    pub(super) fn current(&mut self, id: RoomId) -> Option<&mut EdgeRoom> {
        self.rooms
            .get_mut(id.slot as usize)
            .filter(|room| room.id == id)
    }

    pub(super) fn find(&self, name: &str, hash: u64) -> Option<u32> {
        let is_it = |slot: &u32| self.get(*slot).is_some_and(|room| &*room.name == name);
        self.by_name.find(hash, is_it).copied()
    }

    /// The room of this name, made if it is new here, with one more use.
    pub(super) fn enter(&mut self, name: &str, hash: u64) -> u32 {
        let slot = self
            .find(name, hash)
            .unwrap_or_else(|| self.insert(name, hash));
        if let Some(room) = self.get_mut(slot) {
            room.uses += 1;
        }
        slot
    }

    /// One use less; with the last one the room is forgotten.
    pub(super) fn exit(&mut self, slot: u32) {
        let Some(room) = self.rooms.get_mut(slot as usize) else {
            return;
        };
        room.uses -= 1;
        if room.uses > 0 {
            return;
        }
        let hash = room.hash;
        if let Ok(entry) = self.by_name.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        self.rooms.remove(slot as usize);
    }

    fn insert(&mut self, name: &str, hash: u64) -> u32 {
        let slot = self.rooms.vacant_key() as u32;
        self.made = self.made.wrapping_add(1);
        self.rooms.insert(EdgeRoom {
            name: name.into(),
            hash,
            id: RoomId {
                slot,
                generation: self.made,
            },
            home: RoomId::UNKNOWN,
            receivers: Vec::new(),
            uses: 0,
        });
        let rooms = &self.rooms;
        let hash_of = |slot: &u32| rooms.get(*slot as usize).map_or(0, |room| room.hash);
        self.by_name.insert_unique(hash, slot, hash_of);
        slot
    }
}
