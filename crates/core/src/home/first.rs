//! Which node claims a room that nobody has: the first by rank, so that homes are even over the nodes.
//!
//! A node that needs such a room asks the first one to claim it, and sends its operations there once that has told whose
//! the room is. If no answer comes in [`OTHERS_CLAIM_AFTER`] it claims the room itself. This is a matter of where rooms
//! are, and of nothing else: who is a room's home is what the store says.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::address::NodeNumber;
use crate::context::Context;
use crate::home::Home;
use crate::home::gate::Phase;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::HomeRoomId;
use crate::letter::{Letter, RoomRef};
use crate::node::OTHERS_CLAIM_AFTER;
use crate::store::{HomeName, KeyOf, Store};
use crate::time::{Now, micros};

/// Milliseconds for which an empty room stays that another node has asked for: what that is to bring is on its way.
const STAYS: u64 = 1_000;

/// Who has asked this node to claim a room.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Those that have no answer yet.
    by: SmallVec<[NodeNumber; 2]>,
    /// Microseconds until which the room stays though it is empty; `u64::MAX`: it doesn't.
    until: u64,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted {
            by: SmallVec::new(),
            until: u64::MAX,
        }
    }
}

impl Wanted {
    pub(super) fn is_wanted(&self) -> bool {
        self.until != u64::MAX
    }

    /// When to [look](Wanted::look); `u64::MAX`: never.
    pub(super) fn until(&self) -> u64 {
        self.until
    }

    /// Ends what has lasted long enough.
    pub(super) fn look(&mut self, now: Now) {
        if self.until <= now.micros {
            self.until = u64::MAX;
        }
    }
}

impl<S: Store> Home<S> {
    /// A room is to be claimed that operations of this node wait for: if another node is the first by rank, that one is
    /// asked, and this one waits.
    pub(super) fn ask_first<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: HomeRoomId) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let cluster = ctx.cluster.of(KeyOf::Room(&room.name));
        if cluster.acts(now.micros).is_none() {
            return;
        }
        // One that ends would only say that it can't.
        let first = cluster.first_elsewhere(&room.name, |node| !ctx.ending.contains(&node));
        let Some(home) = first.and_then(|first| ctx.home_on(first.number, room.hash)) else {
            return;
        };
        ctx.post(home, Letter::Wanted(room.name.clone()));
        if let Some(gate) = &mut room.gate {
            let until = now.micros.saturating_add(micros(OTHERS_CLAIM_AFTER));
            gate.wait_until(until);
        }
    }

    /// Another node needs a room, and takes this one for the first by rank.
    pub(crate) fn wanted<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        by: NodeNumber,
        name: Arc<str>,
    ) {
        let room = room_ref(ctx, &name);
        // Two shards with one room would both be its home.
        if ctx.home_of(room.hash) != ctx.own {
            return;
        }
        let cluster = ctx.cluster.of(KeyOf::Room(&name));
        let id = match self.find(&room) {
            Some(id) => Some(id),
            // Where it was may not be where it is: whoever has asked asks the store.
            None if self.relays.knows(&name) => None,
            None if !self.claims() || !cluster.settled => None,
            None if cluster.acts(now.micros).is_none() => None,
            None => self.claim(ctx, now, &room),
        };
        let gate = id.and_then(|id| self.rooms.get_mut(id)?.gate.as_mut());
        let gate = gate.filter(|gate| !gate.gives_up && gate.phase != Phase::Releasing);
        let (Some(gate), Some(id)) = (gate, id) else {
            return tell_whose(ctx, by, &room, None);
        };
        if gate.phase == Phase::Opening {
            if !gate.wanted.by.contains(&by) {
                gate.wanted.by.push(by);
            }
            gate.stop_waiting_for_first();
        } else {
            let tenure = gate.tenure.as_ref().filter(|_| !gate.is_astray);
            tell_whose(ctx, by, &room, tenure.map(|tenure| tenure.home));
        }
        gate.wanted.until = now.micros.saturating_add(micros(STAYS));
        self.mark_unsealed(id);
    }

    /// The claim that others have asked for was answered, or is not to be.
    pub(super) fn answer_wanted<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: HomeRoomId,
        home: Option<HomeName>,
    ) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let Some(gate) = room.gate.as_mut().filter(|it| !it.wanted.by.is_empty()) else {
            return;
        };
        let by = std::mem::take(&mut gate.wanted.by);
        let own = ctx.cluster.at(gate.slot).own;
        let is_here = home.is_some() && home == own.map(|own| own.home);
        gate.wanted.until = match is_here {
            true => now.micros.saturating_add(micros(STAYS)),
            false => u64::MAX,
        };
        let room = room_ref(ctx, &room.name);
        for node in by {
            tell_whose(ctx, node, &room, home);
        }
    }

    /// The first by rank has said whose a room is.
    pub(crate) fn whose<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        name: &Arc<str>,
        home: Option<HomeName>,
    ) {
        let Some(id) = self.find(&room_ref(ctx, name)) else {
            return;
        };
        let gate = self.rooms.get_mut(id).and_then(|it| it.gate.as_mut());
        // If the store is asked meanwhile, its answer is what counts.
        let Some(gate) = gate.filter(|gate| gate.phase == Phase::Opening && gate.waits()) else {
            return;
        };
        let cluster = ctx.cluster.at(gate.slot);
        let lives = |home: &HomeName| cluster.node(home.node).is_some();
        match home.filter(lives) {
            Some(home) => self.theirs(ctx, now, id, home),
            None => {
                gate.stop_waiting_for_first();
                self.mark_unsealed(id);
            }
        }
    }
}

impl Room {
    /// Another node takes this one for the room's home: this one claims it without waiting for the first by rank.
    pub(super) fn claim_at_once(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.stop_waiting_for_first();
        }
    }
}

fn room_ref<H>(ctx: &Context<H>, name: &Arc<str>) -> RoomRef {
    RoomRef {
        hash: ctx.names.hash(name),
        name: name.clone(),
        id: HomeRoomId::NONE,
        node: NodeNumber::OWN,
    }
}

fn tell_whose<H: Host>(
    ctx: &mut Context<H>,
    node: NodeNumber,
    room: &RoomRef,
    home: Option<HomeName>,
) {
    if let Some(gateway) = ctx.home_on(node, room.hash) {
        let whose = (room.name.clone(), home);
        ctx.post(gateway, Letter::Whose(Box::new(whose)));
    }
}
