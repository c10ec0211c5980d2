//! A node ends politely: it claims no room any more, and then gives up those that it has.
//!
//! Each room is written to its end first, and its record names no home then. Gateways and edges are told, so whoever is in
//! the room goes on at its next home, which need not wait for this node's lease to end.

use crate::context::Context;
use crate::home::Home;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::HomeRoomId;
use crate::store::Store;
use crate::time::Now;

/// Microseconds from when some rooms are given up until others are. All at once, their members would go on at their next
/// homes at once, and each would wait for all.
const PAUSE: u64 = 10_000;
/// Rooms that are given up together, at least.
const AT_ONCE: usize = 16;
/// How often some are given up, at most: a shard takes a second for all that it has.
const TIMES: usize = 100;

/// Rooms that are yet to be given up.
#[derive(Debug, Default)]
pub(super) struct GivingUp {
    rooms: Vec<HomeRoomId>,
    at_once: usize,
    /// Microseconds at which the next ones are.
    at: u64,
}

impl<S: Store> Home<S> {
    /// From here on no room is claimed: who asks for one comes back, to another node.
    pub(crate) fn claim_nothing(&mut self) {
        self.drains = true;
    }

    /// Whether the node is about to end.
    pub(crate) fn is_draining(&self) -> bool {
        self.drains
    }

    /// All rooms are given up, with those who are in them: some at once, the others in the next turns.
    pub(crate) fn give_up_rooms(&mut self) {
        self.drains = true;
        let rooms: Vec<_> = self.rooms.numbers().collect();
        let at_once = rooms.len().div_ceil(TIMES).max(AT_ONCE);
        self.giving_up = GivingUp {
            rooms,
            at_once,
            at: 0,
        };
        self.give_up_some();
    }

    fn give_up_some(&mut self) {
        let rooms = &mut self.giving_up.rooms;
        let some = rooms.split_off(rooms.len().saturating_sub(self.giving_up.at_once));
        for id in some {
            if let Some(gate) = self.rooms.get_mut(id).and_then(|it| it.gate.as_mut()) {
                gate.gives_up = true;
            }
            self.mark_unsealed(id);
        }
    }

    /// A turn begins: the next rooms are given up, if it is time.
    pub(super) fn give_up_more(&mut self, now: Now) {
        let GivingUp { rooms, at, .. } = &mut self.giving_up;
        if !rooms.is_empty() && *at <= now.micros {
            *at = now.micros.saturating_add(PAUSE);
            self.give_up_some();
        }
    }

    /// When the next rooms are given up.
    pub(super) fn gives_up_at(&self) -> Option<u64> {
        let GivingUp { rooms, at, .. } = &self.giving_up;
        (!rooms.is_empty()).then_some(*at)
    }

    /// Whether no room is here any more, and no claim is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.len() == 0 && self.strays.is_empty()
    }

    /// Whether a room that is not here may be claimed.
    pub(super) fn claims(&self) -> bool {
        !self.drains
    }

    /// A room that was never opened is forgotten; what waited for it is asked for elsewhere.
    pub(super) fn abandon<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: HomeRoomId) {
        self.answer_wanted(ctx, now, id, None);
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let waiting = room.take_waiting();
        self.close(now, id);
        for op in waiting {
            self.enqueue(ctx, now, op);
        }
    }

    /// The store has taken the room back, or has none to take.
    pub(super) fn released<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: HomeRoomId) {
        if let Some(room) = self.rooms.get_mut(id) {
            room.tell_gone(ctx);
        }
        self.drop_room(ctx, now, id);
    }
}

impl Room {
    /// Whether it goes although somebody is in it: all that it has said is out.
    pub(super) fn is_given_up(&self) -> bool {
        let gate = self.gate.as_ref();
        gate.is_some_and(|gate| gate.gives_up && gate.may_end())
    }
}
