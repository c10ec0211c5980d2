//! The cluster at each of several stores.
//!
//! Each store is one of its own: this node has a lease there or not, others live there or not, and it has settled or not.
//! A room, a session and a user's set belong to the store that has their slot. Links are between nodes, not at stores: a
//! node lives while it lives at any of them.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::view::ClusterView;
use crate::store::{KeyOf, Slot, StoreId};

/// What a node knows of the cluster: at each store, and as a whole. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterViews {
    nodes: Arc<ClusterView>,
    stores: SmallVec<[Arc<ClusterView>; 1]>,
    slots: Arc<Slots>,
}

/// Which of several stores has which slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// First slot, last slot, which store; by the slots, without overlaps.
    ranges: Vec<(Slot, Slot, usize)>,
}

/// Of a slot that no store has: nothing can be asked for.
static NOWHERE: ClusterView = ClusterView {
    own: None,
    store: StoreId(0),
    settled: false,
    living: Vec::new(),
    dead: Vec::new(),
    strangers: Vec::new(),
    asked_at: 0,
    version: 0,
    rank_key: None,
};

impl Slots {
    /// Of ranges (first slot, last slot, which store) without overlaps, in any order.
    pub fn new(ranges: impl IntoIterator<Item = (Slot, Slot, usize)>) -> Slots {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        Slots { ranges }
    }

    /// Which store has a slot.
    pub fn store_of(&self, slot: Slot) -> Option<usize> {
        let after = self.ranges.partition_point(|range| range.0 <= slot);
        let &(_, last, at) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= last).then_some(at)
    }
}

impl ClusterViews {
    /// `nodes`: all that live at any store, whether this one has a lease at any, and no store. `stores`: by their places in
    /// `slots`.
    pub fn new(
        nodes: Arc<ClusterView>,
        stores: impl IntoIterator<Item = Arc<ClusterView>>,
        slots: Arc<Slots>,
    ) -> ClusterViews {
        ClusterViews {
            nodes,
            stores: stores.into_iter().collect(),
            slots,
        }
    }

    /// Who lives, wherever: those to whom there are links.
    pub fn nodes(&self) -> &ClusterView {
        &self.nodes
    }

    /// The cluster at each store.
    pub fn stores(&self) -> &[Arc<ClusterView>] {
        &self.stores
    }

    /// Which of the stores has a slot. With one store, that one has all.
    pub fn place(&self, slot: Slot) -> Option<usize> {
        match self.stores.len() {
            1 => Some(0),
            _ => self.slots.store_of(slot),
        }
    }

    /// The same for the slot of a key.
    pub(crate) fn place_of(&self, key: KeyOf<'_>) -> Option<usize> {
        match self.stores.len() {
            1 => Some(0),
            _ => self.slots.store_of(Slot::of(key)),
        }
    }

    /// The cluster at the store that has a slot.
    pub fn at(&self, slot: Slot) -> &ClusterView {
        let store = self.place(slot).and_then(|at| self.stores.get(at));
        store.map_or(&NOWHERE, |view| view)
    }

    /// The cluster at the store that has a key.
    pub fn of(&self, key: KeyOf<'_>) -> &ClusterView {
        match &*self.stores {
            [only] => only,
            _ => self.at(Slot::of(key)),
        }
    }

    /// Whether each slot is where it was in another view. Stores have the same places then.
    pub(crate) fn has_slots_of(&self, other: &ClusterViews) -> bool {
        let same = Arc::ptr_eq(&self.slots, &other.slots) || self.slots == other.slots;
        same && self.stores.len() == other.stores.len()
    }

    /// Changes what is known of who lives, everywhere.
    pub(crate) fn change(&mut self, change: impl Fn(&mut ClusterView)) {
        let is_whole = |it: &Arc<ClusterView>| Arc::ptr_eq(it, &self.nodes);
        let whole: SmallVec<[bool; 4]> = self.stores.iter().map(is_whole).collect();
        change(Arc::make_mut(&mut self.nodes));
        for (view, is_whole) in self.stores.iter_mut().zip(whole) {
            match is_whole {
                true => *view = Arc::clone(&self.nodes),
                false => change(Arc::make_mut(view)),
            }
        }
    }
}

impl Default for ClusterViews {
    fn default() -> ClusterViews {
        Arc::<ClusterView>::default().into()
    }
}

/// With one store.
impl From<Arc<ClusterView>> for ClusterViews {
    fn from(view: Arc<ClusterView>) -> ClusterViews {
        ClusterViews {
            nodes: Arc::clone(&view),
            stores: smallvec![view],
            slots: Arc::default(),
        }
    }
}

/// With one store.
impl From<ClusterView> for ClusterViews {
    fn from(view: ClusterView) -> ClusterViews {
        Arc::new(view).into()
    }
}
