//! The cluster is another one: a room whose home has another lease, or whose slot another store has, is to seek its record.
//! Not all do so at once.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::context::Context;
use crate::home::Home;
use crate::home::gate::{Phase, Tenure};
use crate::home::line::Line;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::HomeRoomId;
use crate::letter::OpKind;
use crate::logs::Logs;
use crate::node::{ClusterView, ClusterViews};
use crate::store::{HomeName, Store, StoreId};

/// What was seen of the cluster at a store.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// This node's lease, the store, and whether it is settled there.
    known: Option<(HomeName, StoreId, bool)>,
    /// Rooms were stopped, as the node had no lease.
    pub(super) stopped: bool,
}

impl Tenure {
    fn is_of(&self, home: HomeName, store: StoreId) -> bool {
        (self.home, self.store) == (home, store)
    }
}

impl<S: Store> Home<S> {
    /// The cluster is another one: rooms that waited for that go on, and those of another lease or store seek their record.
    pub(crate) fn meet<H: Host>(&mut self, ctx: &mut Context<H>) {
        let cluster = ctx.cluster.clone();
        self.note_gone(&cluster, ctx.settings.session_grace);
        let Some(others) = self.others_at(&cluster) else {
            return;
        };
        let place = |room: &Room| {
            let gate = room.gate.as_ref()?;
            cluster.place(gate.slot)
        };
        let ids: Vec<_> = self.rooms.numbers().collect();
        for (at, view) in cluster.stores().iter().enumerate() {
            let is_met = self.to_settle.iter().any(|(store, _)| *store == view.store);
            if others.contains(&at) && !is_met {
                let rooms = ids.iter().copied();
                let is_there = |id: &HomeRoomId| self.rooms.get(*id).and_then(place) == Some(at);
                let rooms = rooms.filter(is_there).collect();
                self.to_settle.push((view.store, rooms));
            }
        }
        for id in ids {
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            let at = place(room).filter(|at| others.contains(at));
            let view = at.and_then(|at| cluster.stores().get(at));
            let Some((own, store)) = view.and_then(|it| Some((it.own?, it.store))) else {
                continue;
            };
            room.forget_joins_of_gone();
            room.meet(ctx, &mut self.logs, (own.home, store));
            if room.gate.as_ref().is_some_and(|gate| gate.holds()) {
                self.letting_out.push(id);
            }
            self.mark_unsealed(id);
        }
    }

    /// The places of stores at which the cluster is another one than was seen, for the rooms there; those whose slots have
    /// moved too. Nobody waits in their lines any more. `None`: there are none.
    fn others_at(&mut self, cluster: &ClusterViews) -> Option<SmallVec<[usize; 4]>> {
        let before = std::mem::replace(&mut self.met, cluster.clone());
        let moved = !cluster.has_slots_of(&before);
        let stores = cluster.stores();
        self.seen.resize_with(stores.len(), Seen::default);
        self.lines.resize_with(stores.len(), Line::default);
        let mut others = SmallVec::new();
        for (at, (view, seen)) in stores.iter().zip(&mut self.seen).enumerate() {
            let Some(own) = view.own else {
                continue;
            };
            let is_same = |it: &Arc<ClusterView>| Arc::ptr_eq(it, view);
            let is_news = !before.stores().get(at).is_some_and(is_same);
            let known = Some((own.home, view.store, view.settled));
            let other = std::mem::replace(&mut seen.known, known) != known;
            if moved || other || seen.stopped && is_news {
                seen.stopped = false;
                others.push(at);
            }
        }
        let is_there = |store| stores.iter().any(|view| view.store == store);
        self.to_settle.retain(|(store, _)| is_there(*store));
        if others.is_empty() {
            return None;
        }
        let rooms = &self.rooms;
        self.letting_out.retain(|id| {
            let gate = rooms.get(*id).and_then(|room| room.gate.as_ref());
            let at = gate.and_then(|gate| cluster.place(gate.slot));
            at.is_some_and(|at| !others.contains(&at))
        });
        for at in &others {
            self.lines.get_mut(*at).into_iter().for_each(Line::clear);
        }
        Some(others)
    }

    /// The stores at which all rooms are written that there were when they were met.
    pub(crate) fn settled_at(&mut self) -> Vec<StoreId> {
        let rooms = &self.rooms;
        let mut settled = Vec::new();
        for (store, to_settle) in &mut self.to_settle {
            while let Some(id) = to_settle.last() {
                let room = rooms.get(*id);
                if room.is_some_and(|room| !room.is_written_at(*store)) {
                    break;
                }
                to_settle.pop();
            }
            if to_settle.is_empty() {
                settled.push(*store);
            }
        }
        settled
    }

    /// Whether a room has to wait until fewer claims are under way. Those in which something waits go first.
    pub(super) fn has_to_line_up<H: Host>(&mut self, ctx: &Context<H>, id: HomeRoomId) -> bool {
        let Some(room) = self.rooms.get_mut(id) else {
            return false;
        };
        let waits = room.waiting() > 0;
        let Some(gate) = &mut room.gate else {
            return false;
        };
        let place = ctx.cluster.place(gate.slot);
        let line = place.and_then(|at| self.lines.get_mut(at));
        let Some(line) = line.filter(|it| it.free(ctx.count) == 0) else {
            return false;
        };
        gate.in_line = true;
        gate.wait_for_cluster();
        line.wait(id, waits || gate.holds());
        true
    }

    /// Fewer claims are under way: the next ones in the line may ask.
    pub(super) fn move_up<H: Host>(&mut self, ctx: &Context<H>) {
        for at in 0..self.lines.len() {
            let mut free = self.lines.get(at).map_or(0, |line| line.free(ctx.count));
            while free > 0 {
                let Some(id) = self.lines.get_mut(at).and_then(Line::next) else {
                    break;
                };
                let gate = self.rooms.get_mut(id).and_then(|it| it.gate.as_mut());
                // One that had something to do later stands in both lines.
                if let Some(gate) = gate.filter(|gate| gate.in_line) {
                    gate.in_line = false;
                    gate.cluster_changed();
                    free -= 1;
                    self.mark(id);
                }
            }
        }
    }
}

impl Room {
    fn meet<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        (home, store): (HomeName, StoreId),
    ) {
        let log = self.log;
        let Some(gate) = &mut self.gate else {
            return;
        };
        gate.in_line = false;
        let has_another_lease = (gate.tenure.as_ref()).is_some_and(|it| it.home != home);
        if let Some(tenure) = &gate.tenure
            && !tenure.is_of(home, store)
        {
            // Its release may never be done there, and what it had is not there yet.
            if gate.phase == Phase::Releasing && tenure.store != store {
                gate.phase = Phase::Open;
            }
            if gate.phase == Phase::Open {
                gate.give_back(ctx, logs, log);
                gate.is_astray = true;
            }
        }
        gate.cluster_changed();
        if has_another_lease {
            self.send_joins_back(ctx);
        }
    }

    /// Whoever has asked to join while the node had no lease may have been elsewhere since, in the room and out of it: it
    /// comes back, and asks again.
    fn send_joins_back<H: Host>(&mut self, ctx: &mut Context<H>) {
        self.filter_waiting(|_, op| {
            if matches!(op.request, OpKind::Join(_)) && op.head.conn.shard.is_own() {
                ctx.come_back(op);
                return None;
            }
            Some(op)
        });
    }

    /// Loaded for a lease or from a store that are not those of now: it is written, or claimed, again.
    pub(super) fn note_astray<H>(&mut self, ctx: &Context<H>) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        let cluster = ctx.cluster.at(gate.slot);
        if let Some((tenure, own)) = gate.tenure.as_ref().zip(cluster.own) {
            gate.is_astray = !tenure.is_of(own.home, cluster.store);
        }
    }

    fn is_written_at(&self, store: StoreId) -> bool {
        let Some(gate) = &self.gate else {
            return true;
        };
        let tenure = gate.tenure.as_ref();
        match gate.phase {
            Phase::Opening => !gate.claims_at_another(store),
            Phase::Open | Phase::Releasing => {
                !(gate.is_astray && gate.renewal.is_some())
                    && tenure.is_none_or(|tenure| tenure.store == store)
            }
        }
    }
}
