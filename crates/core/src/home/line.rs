//! How many rooms ask the store to claim or renew them at once.

use std::collections::{HashSet, VecDeque};

use crate::id::HomeRoomId;
use crate::store::Ticket;

/// Claims and renewals of a node that may be under way: all its shards have them together.
const UNDER_WAY: usize = 64;

/// Rooms that wait for their turn to ask, and who has it.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Claims and renewals under way.
    under_way: HashSet<Ticket>,
    /// Rooms in which something waits, and all others.
    urgent: VecDeque<HomeRoomId>,
    others: VecDeque<HomeRoomId>,
}

impl Line {
    /// How many more may ask now.
    pub(super) fn free(&self, shards: u16) -> usize {
        let most = (UNDER_WAY / usize::from(shards.max(1))).max(1);
        most.saturating_sub(self.under_way.len())
    }

    /// Nobody waits any more.
    pub(super) fn clear(&mut self) {
        self.urgent.clear();
        self.others.clear();
    }

    /// Who has waited for longest, of those in which something waits first.
    pub(super) fn next(&mut self) -> Option<HomeRoomId> {
        self.urgent.pop_front().or_else(|| self.others.pop_front())
    }

    pub(super) fn begin(&mut self, ticket: Ticket) {
        self.under_way.insert(ticket);
    }

    pub(super) fn end(&mut self, ticket: Ticket) {
        self.under_way.remove(&ticket);
    }

    pub(super) fn wait(&mut self, id: HomeRoomId, is_urgent: bool) {
        match is_urgent {
            true => self.urgent.push_back(id),
            false => self.others.push_back(id),
        }
    }
}
