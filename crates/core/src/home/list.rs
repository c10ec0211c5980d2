//! Which rooms are at home here.

use std::collections::BinaryHeap;

use crate::backend::{RoomLine, RoomsQuery};
use crate::home::Home;
use crate::home::room::Room;
use crate::kinds::kind_name;
use crate::store::Store;

/// Rooms in one answer.
const MOST: usize = 1_000;

impl<S: Store> Home<S> {
    /// The rooms that have members, in the order of their names: one more than was asked for, where there are more. It looks
    /// at each room.
    pub(crate) fn list(&self, query: &RoomsQuery) -> Vec<RoomLine> {
        let most = (query.limit as usize).min(MOST) + 1;
        let is_asked_for = |room: &&Room| {
            !room.members.is_empty()
                && *room.name > *query.after
                && room.name.starts_with(&*query.prefix)
                && (query.kind.is_empty() || kind_name(&room.name) == &*query.kind)
        };
        let mut first: BinaryHeap<(&str, usize)> = BinaryHeap::new();
        for room in self.rooms.rows().filter(is_asked_for) {
            first.push((&room.name, room.members.len()));
            if first.len() > most {
                first.pop();
            }
        }
        let line = |(room, members): (&str, usize)| RoomLine {
            room: room.into(),
            members: u32::try_from(members).unwrap_or(u32::MAX),
        };
        first.into_sorted_vec().into_iter().map(line).collect()
    }
}
