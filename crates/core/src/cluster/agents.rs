//! The agents of a node: one for each store, as each store is one of its own. What they know makes one view.

mod numbers;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::address::NodeNumber;
use crate::node::{
    ClusterView, ClusterViews, Counters, NodeAgent, NodeSettings, NodeStats, Own, Slots,
};
use crate::store::{Beat, Beaten, Slot, StoreError, StoreId, Ticket};
use crate::time::Now;
use numbers::Numbers;

/// One of the stores that share the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAt {
    /// Which store it is; `None`: it can't be reached, so it is not known.
    pub store: Option<StoreId>,
    /// Where the entries of the nodes are kept there.
    pub anchor: Slot,
    /// First and last slots of what it has.
    pub ranges: Vec<(Slot, Slot)>,
}

#[derive(Debug)]
pub(super) struct Agents {
    settings: NodeSettings,
    /// Of all agents together.
    counters: Arc<Counters>,
    /// By their places in `slots`.
    seats: Vec<Seat>,
    slots: Arc<Slots>,
    /// Agents that there were.
    count: u32,
    numbers: Numbers,
    /// Rises when this node has no lease anywhere any more, and with it all links are lost.
    links: u64,
    has_lease: bool,
    /// No lease is begun any more.
    ends: bool,
    views: ClusterViews,
    /// The slots are elsewhere than the newest view says.
    moved: bool,
    /// What agents have counted that are gone, and all of them.
    gone: NodeStats,
    stats: NodeStats,
}

/// An agent and its store.
#[derive(Debug)]
struct Seat {
    id: u32,
    agent: NodeAgent,
    ranges: Vec<(Slot, Slot)>,
    store: Option<StoreId>,
    /// As the agent says it: with its own numbers.
    view: Arc<ClusterView>,
    /// As the shards are told it.
    told: Arc<ClusterView>,
}

impl Agents {
    pub(super) fn new(settings: NodeSettings) -> Agents {
        let whole = vec![(Slot(0), Slot(Slot::COUNT - 1))];
        let agent = NodeAgent::new(settings.clone());
        let counters = agent.counters();
        let seat = Seat::new(0, agent, whole);
        Agents {
            counters,
            views: Arc::clone(&seat.told).into(),
            seats: vec![seat],
            settings,
            slots: Arc::default(),
            count: 1,
            numbers: Numbers::default(),
            links: 0,
            has_lease: false,
            ends: false,
            moved: true,
            gone: NodeStats::default(),
            stats: NodeStats::default(),
        }
    }

    /// Which stores there are from now on.
    pub(super) fn stores_are(&mut self, now: Now, stores: &[StoreAt]) {
        // As long as none is known, it is as before.
        if stores.is_empty() {
            return;
        }
        let mut before: Vec<_> = std::mem::take(&mut self.seats);
        let mut places: Vec<Option<Seat>> = Vec::new();
        for at in stores {
            let is_it = |seat: &Seat| seat.store.is_some() && seat.store == at.store;
            let found = before.iter().position(is_it);
            places.push(found.map(|found| before.remove(found)));
        }
        // Another store has the slots of one that is gone: it is met by who knows the one before.
        for (at, place) in stores.iter().zip(&mut places) {
            if place.is_none() {
                let shared = |seat: &Seat| shared(&seat.ranges, &at.ranges);
                let most = (0..before.len()).max_by_key(|nth| before.get(*nth).map(shared));
                let most = most.filter(|nth| before.get(*nth).is_some_and(|it| shared(it) > 0));
                *place = most.map(|nth| before.remove(nth));
            }
        }
        let known = self.views.nodes().living.clone();
        for (at, place) in stores.iter().zip(places) {
            let mut seat = place.unwrap_or_else(|| {
                let mut agent = NodeAgent::new(self.settings.clone());
                agent.counts_with(&self.counters);
                if self.links > 0 {
                    agent.comes_later(&known);
                }
                if self.ends {
                    agent.end(now);
                }
                self.count += 1;
                Seat::new(self.count, agent, Vec::new())
            });
            if seat.ranges != at.ranges {
                seat.ranges.clone_from(&at.ranges);
                self.moved = true;
            }
            if let Some(store) = at.store {
                seat.store = Some(store);
                seat.agent.place_is(now, store, at.anchor);
            }
            self.seats.push(seat);
        }
        for seat in before {
            self.gone.add(seat.agent.stats());
        }
        let seats = self.seats.iter().enumerate();
        let ranges = seats.flat_map(|(at, seat)| {
            let ranges = seat.ranges.iter();
            ranges.map(move |(first, last)| (*first, *last, at))
        });
        let slots = Slots::new(ranges);
        if *self.slots != slots || self.views.stores().len() != self.seats.len() {
            self.slots = Arc::new(slots);
            self.moved = true;
        }
    }

    /// A shard has turned, and has written all its rooms at these stores.
    pub(super) fn turned(&mut self, shard: u16, settled_at: impl IntoIterator<Item = StoreId>) {
        for seat in &mut self.seats {
            seat.agent.turned(shard);
        }
        for store in settled_at {
            for seat in &mut self.seats {
                seat.agent.renewed(shard, store);
            }
        }
    }

    /// Shards that have not turned since the last beat to one of the stores.
    pub(super) fn waits_for(&self) -> impl Iterator<Item = u16> {
        let waits = |shard: &u16| {
            let mut agents = self.seats.iter().map(|it| &it.agent);
            agents.any(|agent| agent.waits_for().any(|it| it == *shard))
        };
        (0..self.settings.shards).filter(waits)
    }

    pub(super) fn next_wake(&self) -> Option<u64> {
        self.seats
            .iter()
            .filter_map(|it| it.agent.next_wake())
            .min()
    }

    pub(super) fn poll_beat(&mut self, now: Now) -> Option<(Ticket, Beat)> {
        (self.seats.iter_mut()).find_map(|seat| seat.agent.poll_beat(now))
    }

    pub(super) fn answered(
        &mut self,
        now: Now,
        ticket: Ticket,
        answer: Result<Beaten, StoreError>,
    ) {
        let asked = self.seats.iter().position(|it| it.agent.has_sent(ticket));
        if let Some(seat) = self.seats.get_mut(asked.unwrap_or(0)) {
            seat.agent.answered(now, ticket, answer);
        }
    }

    /// The node has nothing any more, at any store: see [`NodeAgent::end`].
    pub(super) fn end(&mut self, now: Now) {
        self.ends = true;
        for seat in &mut self.seats {
            seat.agent.end(now);
        }
    }

    /// Whether each store knows that the node has ended, or there is nothing to tell it.
    pub(super) fn have_ended(&self) -> bool {
        self.seats.iter().all(|seat| seat.agent.has_ended())
    }

    /// The link to a node is lost: it has another number from now on, if it lives.
    pub(super) fn link_lost(&mut self, number: NodeNumber) {
        for (id, number) in self.numbers.locals(number) {
            if let Some(seat) = self.seats.iter_mut().find(|it| it.id == id) {
                seat.agent.link_lost(number);
            }
        }
    }

    pub(super) fn views(&self) -> &ClusterViews {
        &self.views
    }

    pub(super) fn stats(&mut self) -> &NodeStats {
        self.stats = self.gone.clone();
        for seat in &self.seats {
            self.stats.add(seat.agent.stats());
        }
        &self.stats
    }

    /// The newest views, if they are others than were polled before.
    pub(super) fn poll_views(&mut self) -> Option<ClusterViews> {
        let mut news = std::mem::take(&mut self.moved);
        let mut changed = Vec::new();
        for seat in &mut self.seats {
            let view = seat.agent.poll_view();
            changed.push(view.is_some());
            if let Some(view) = view {
                seat.view = view;
                news = true;
            }
        }
        if !news {
            return None;
        }
        let seats = self.seats.iter().map(|seat| (seat.id, &*seat.view));
        let renumbered = self.numbers.take(seats);
        let has_lease = self.seats.iter().any(|it| it.view.own.is_some());
        self.links += u64::from(has_lease && !self.has_lease);
        self.has_lease = has_lease;
        for (seat, changed) in self.seats.iter_mut().zip(changed) {
            if changed || renumbered {
                let mut view = ClusterView::clone(&seat.view);
                for node in &mut view.living {
                    node.number = self.numbers.of(node.home.node);
                }
                view.own = view.own.map(|own| Own {
                    links: self.links,
                    ..own
                });
                // What has not changed is the same still.
                if *seat.told != view {
                    seat.told = Arc::new(view);
                }
            }
        }
        let stores = self.seats.iter().map(|seat| Arc::clone(&seat.told));
        self.views = ClusterViews::new(self.merged(), stores, Arc::clone(&self.slots));
        Some(self.views.clone())
    }

    /// Who lives at any store.
    fn merged(&self) -> Arc<ClusterView> {
        if let [only] = &*self.seats {
            return Arc::clone(&only.told);
        }
        let told = || self.seats.iter().map(|seat| &seat.told);
        let owns = told().filter_map(|view| view.own);
        let mut living: Vec<_> = told()
            .flat_map(|view| view.living.iter().cloned())
            .collect();
        living.sort_by_key(|node| node.home.node);
        living.dedup_by_key(|node| node.home.node);
        let strangers: BTreeSet<_> = told().flat_map(|view| view.strangers.iter()).collect();
        Arc::new(ClusterView {
            strangers: strangers.into_iter().copied().collect(),
            own: owns.max_by_key(|own| own.until),
            store: StoreId::default(),
            settled: told().all(|view| view.settled),
            living,
            dead: Vec::new(),
            asked_at: told().map(|view| view.asked_at).max().unwrap_or(0),
            version: told()
                .map(|view| view.version)
                .min()
                .unwrap_or(self.settings.version),
            rank_key: self.settings.rank_key,
        })
    }
}

impl Seat {
    fn new(id: u32, mut agent: NodeAgent, ranges: Vec<(Slot, Slot)>) -> Seat {
        let view = agent.poll_view().unwrap_or_default();
        Seat {
            id,
            agent,
            ranges,
            store: None,
            told: Arc::clone(&view),
            view,
        }
    }
}

/// How many slots are in both.
fn shared(ranges: &[(Slot, Slot)], others: &[(Slot, Slot)]) -> u32 {
    let both = |one: &(Slot, Slot), other: &(Slot, Slot)| {
        let (first, last) = (one.0.max(other.0), one.1.min(other.1));
        u32::from(last.0 + 1).saturating_sub(u32::from(first.0))
    };
    let each = |one| others.iter().map(move |other| both(one, other));
    ranges.iter().flat_map(each).sum()
}
