//! The node agent: keeps the node's lease at the store, and learns who lives.
//!
//! It *beats* once an interval, when every shard has turned since the last beat: a node whose shard hangs loses its
//! lease. A beat that was answered lets the node act for two thirds of a lease, counted from before it was sent. The
//! store gives a lease up after a whole one by its clock. So no node acts for a lease that is given up, while no clock
//! of the cluster runs half as fast again as another.
//!
//! *Each lease has one first beat*, at one store. If that is not answered the next try is another lease, with a higher
//! number. So a first beat that arrives late can't bring a lease back which others have seen end; and at another store
//! nobody has seen this one end, in data that is older.
//!
//! It does no I/O and reads no clock.

mod alike;
mod learn;
mod rank;
mod settings;
mod view;
mod views;

pub use alike::{different_settings, hidden, key_number, settings_text};
pub use rank::{OTHERS_CLAIM_AFTER, first, rank, rank_key};
pub use settings::NodeSettings;
pub use view::{ClusterView, LivingNode, Own};
pub use views::{ClusterViews, Slots};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use roomcast_protocol::mutated;

use crate::address::NodeNumber;
use crate::store::{Beat, Beaten, HomeName, Slot, StoreError, StoreId, Ticket};
use crate::time::{Now, micros};
use learn::Known;

/// What an agent has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// Beats that were sent.
    pub beats: u64,
    /// Beats that were answered in their time.
    pub answered: u64,
    /// Answers that came too late, twice, or from another store.
    pub late: u64,
    /// Errors instead of answers.
    pub errors: u64,
    /// Leases that the store had given up.
    pub gone: u64,
    /// Stores that were met.
    pub stores: u64,
}

/// Where entries are: another store has others, and so has the same one in another place.
type Place = (StoreId, Slot);

/// What agents of one node count together: no lease is taken for that of another one.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    leases: AtomicU64,
    tickets: AtomicU64,
}

impl NodeStats {
    /// Adds what another agent has counted.
    pub(crate) fn add(&mut self, other: &NodeStats) {
        self.beats += other.beats;
        self.answered += other.answered;
        self.late += other.late;
        self.errors += other.errors;
        self.gone += other.gone;
        self.stores += other.stores;
    }
}

/// Whether a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// Its last beat says so, and is sent until it is answered.
    Says,
    /// All is said.
    Over,
}

/// A beat that may be answered yet.
#[derive(Clone, Copy, Debug)]
struct Sent {
    ticket: Ticket,
    at: u64,
    home: HomeName,
    begins: bool,
    place: Place,
    ends: bool,
}

/// The agent of this node.
#[derive(Debug)]
pub struct NodeAgent {
    settings: NodeSettings,
    /// The number of the last lease that was begun, answered or not.
    lease: u64,
    /// The store that there is, as far as is known, and where it has the entries of nodes.
    place: Option<Place>,
    /// The same of the lease, and when it was met there first.
    met: Option<(Place, u64)>,
    /// This node may have rooms of that store though it has had no lease there.
    came_later: bool,
    own: Option<Own>,
    /// By shard: whether it has turned since the last beat.
    turned: Vec<bool>,
    /// By shard: the store at which it has written all rooms that it had.
    renewed: Vec<Option<StoreId>>,
    beat_at: u64,
    sent: Vec<Sent>,
    counters: Arc<Counters>,
    known: Known,
    ending: Ending,
    /// Rooms could be claimed once: whoever has another key has come later.
    was_settled: bool,
    view: Arc<ClusterView>,
    /// The view is another one than was polled.
    changed: bool,
    stats: NodeStats,
}

impl NodeAgent {
    /// Beats that are remembered without an answer.
    const SENT: usize = 8;

    /// An agent that has no lease yet.
    pub fn new(settings: NodeSettings) -> NodeAgent {
        let shards = usize::from(settings.shards);
        NodeAgent {
            lease: 0,
            place: None,
            met: None,
            came_later: false,
            own: None,
            turned: vec![false; shards],
            renewed: vec![None; shards],
            beat_at: 0,
            sent: Vec::new(),
            counters: Arc::default(),
            known: Known::default(),
            ending: Ending::No,
            was_settled: false,
            view: Arc::new(ClusterView {
                rank_key: settings.rank_key,
                version: settings.version,
                ..ClusterView::default()
            }),
            changed: true,
            stats: NodeStats::default(),
            settings,
        }
    }

    /// Which store answers from now on.
    pub fn store_is(&mut self, now: Now, store: StoreId) {
        self.place_is(now, store, Slot::default());
    }

    /// The same, and where it keeps the entries of nodes. In another place nobody has an entry yet: as at another store,
    /// but that all rooms are written there.
    pub fn place_is(&mut self, now: Now, store: StoreId, anchor: Slot) {
        let place = Some((store, anchor));
        if self.place != place {
            self.place = place;
            self.beat_at = now.micros;
        }
    }

    /// What this agent counts by.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Counts leases and beats together with the agents of this node at other stores.
    pub(crate) fn counts_with(&mut self, counters: &Arc<Counters>) {
        self.counters = Arc::clone(counters);
    }

    /// The store has come to those that there were: this node may have rooms that are to be written there, and so may
    /// these.
    pub(crate) fn comes_later(&mut self, living: &[LivingNode]) {
        self.came_later = true;
        self.known.expect(living);
    }

    /// Whether an answer to this beat is waited for.
    pub(crate) fn has_sent(&self, ticket: Ticket) -> bool {
        self.sent.iter().any(|sent| sent.ticket == ticket)
    }

    /// A shard has turned.
    pub fn turned(&mut self, shard: u16) {
        if let Some(turned) = self.turned.get_mut(usize::from(shard)) {
            *turned = true;
        }
    }

    /// Shards that have not turned since the last beat: they are woken when the next one is due.
    pub fn waits_for(&self) -> impl Iterator<Item = u16> {
        let shards = self.turned.iter().zip(0..);
        shards
            .filter(|(turned, _)| !**turned)
            .map(|(_, shard)| shard)
    }

    /// A shard has written all rooms that it had at this store, or given them up.
    pub fn renewed(&mut self, shard: u16, store: StoreId) {
        let here = self.met.is_some_and(|((met, _), _)| met == store);
        if let Some(renewed) = self.renewed.get_mut(usize::from(shard)).filter(|_| here) {
            *renewed = Some(store);
        }
    }

    /// The node has nothing any more. It acts no longer, and its last beat says so: others need not wait for the end of its
    /// lease.
    pub fn end(&mut self, now: Now) {
        if self.ending == Ending::No {
            self.ending = match self.own {
                Some(_) => Ending::Says,
                None => Ending::Over,
            };
            self.beat_at = now.micros;
            self.act_no_more();
        }
    }

    /// Whether the store knows that the node has ended, or there is nothing to tell it.
    pub fn has_ended(&self) -> bool {
        self.ending == Ending::Over
    }

    /// The link to a node is lost: it has another number from now on, if it lives.
    pub fn link_lost(&mut self, number: NodeNumber) {
        if self.known.renumber(number) {
            let mut view = ClusterView::clone(&self.view);
            view.living = self.known.living();
            self.publish(view);
        }
    }

    /// The beat that is to be sent now, if one is.
    pub fn poll_beat(&mut self, now: Now) -> Option<(Ticket, Beat)> {
        let place = self.place?;
        let store = place.0;
        let all = self.turned.iter().all(|turned| *turned) || mutated!("hanging_shard_beats");
        let ends = self.ending != Ending::No;
        if now.micros < self.beat_at || !(all || ends) || self.has_ended() {
            return None;
        }
        self.turned.fill(false);
        let held = self
            .own
            .filter(|_| self.met.is_some_and(|(it, _)| it == place));
        if ends && held.is_none() {
            // At another store nobody knows of it.
            self.ending = Ending::Over;
            return None;
        }
        if held.is_none() && !(self.lease > 0 && mutated!("lease_begins_twice")) {
            self.lease = 1 + self.counters.leases.fetch_add(1, Ordering::Relaxed);
        }
        let home = held.map_or(self.name(), |own| own.home);
        // An answer to a first beat counts only until the next one.
        let wait = if held.is_some() {
            self.settings.interval
        } else {
            self.settings.lease
        };
        self.beat_at = now.micros.saturating_add(micros(wait));
        // Who has never had a lease has no rooms.
        let new = self.met.is_none() && !self.came_later;
        let settled = new || self.renewed.iter().all(|it| *it == Some(store));
        let settled = settled || mutated!("says_settled_too_early");
        self.stats.beats += 1;
        let ticket = Ticket(1 + self.counters.tickets.fetch_add(1, Ordering::Relaxed));
        if self.sent.len() == NodeAgent::SENT {
            self.sent.remove(0);
        }
        self.sent.push(Sent {
            ticket,
            at: now.micros,
            home,
            begins: held.is_none(),
            place,
            ends,
        });
        let beat = Beat {
            store,
            home,
            begins: held.is_none(),
            lease_ms: self.settings.lease,
            keep_ms: self.settings.keep,
            settled: settled.then_some(store),
            shards: if ends { 0 } else { self.settings.shards },
            version: self.settings.version,
            key: self.settings.key,
            settings: self.settings.settings.clone(),
            address: self.settings.address.clone(),
        };
        Some((ticket, beat))
    }

    /// A beat was answered; in any order, late, again, or not at all.
    pub fn answered(&mut self, now: Now, ticket: Ticket, answer: Result<Beaten, StoreError>) {
        let Some(at) = self.sent.iter().position(|sent| sent.ticket == ticket) else {
            self.stats.late += 1;
            return;
        };
        let sent = self.sent.remove(at);
        let Ok(beaten) = answer else {
            self.stats.errors += 1;
            let again = now
                .micros
                .saturating_add(micros(self.settings.interval / 4));
            self.beat_at = self.beat_at.min(again);
            return;
        };
        let own = self.own.map(|own| own.home);
        let current = if sent.begins { Some(self.name()) } else { own };
        let meant = self.place == Some(sent.place) && current == Some(sent.home);
        if !meant && !mutated!("any_answer_counts") {
            self.stats.late += 1;
            return;
        }
        self.stats.answered += 1;
        if self.ending != Ending::No {
            if sent.ends {
                self.ending = Ending::Over;
            }
            return;
        }
        if beaten.gone && !mutated!("gone_is_not_heard") {
            self.gone(now, &sent);
            return;
        }
        self.lease_goes_on(now, &sent);
        self.learn(now, &sent, &beaten);
    }

    /// Microseconds at which [`NodeAgent::poll_beat`] has a beat, once all shards have turned.
    pub fn next_wake(&self) -> Option<u64> {
        self.place.map(|_| self.beat_at)
    }

    /// The newest view, if it is another one than was polled before.
    pub fn poll_view(&mut self) -> Option<Arc<ClusterView>> {
        let changed = std::mem::take(&mut self.changed);
        changed.then(|| self.view.clone())
    }

    /// What was counted.
    pub fn stats(&self) -> &NodeStats {
        &self.stats
    }

    fn name(&self) -> HomeName {
        HomeName {
            node: self.settings.node,
            lease: self.lease,
        }
    }

    /// Others may have taken what this node had.
    fn gone(&mut self, now: Now, sent: &Sent) {
        self.stats.gone += 1;
        self.own = None;
        self.known.forget();
        // A store does not refuse a first beat; one that does is not asked all the time.
        let wait = if sent.begins {
            self.settings.interval / 4
        } else {
            0
        };
        self.beat_at = now.micros.saturating_add(micros(wait));
        self.act_no_more();
    }

    /// Nobody is known to live, this node neither.
    fn act_no_more(&mut self) {
        let view = ClusterView {
            own: None,
            settled: false,
            living: Vec::new(),
            dead: Vec::new(),
            strangers: Vec::new(),
            ..ClusterView::clone(&self.view)
        };
        self.publish(view);
    }

    fn lease_goes_on(&mut self, now: Now, sent: &Sent) {
        let from = if mutated!("lease_counts_from_its_answer") {
            now.micros
        } else {
            sent.at
        };
        let until = from.saturating_add(self.settings.acts_for());
        let before = self.own;
        let until = before.map_or(until, |own| own.until.max(until));
        self.own = Some(Own {
            home: sent.home,
            links: before.map_or(sent.home.lease, |own| own.links),
            until,
        });
        if sent.begins {
            self.beat_at = now.micros.saturating_add(micros(self.settings.interval));
            if self.met.is_none_or(|(place, _)| place != sent.place) {
                let store = sent.place.0;
                if self.met.is_none_or(|((met, _), _)| met != store) {
                    self.stats.stores += 1;
                    // Who has never had a lease has no rooms.
                    let new = self.met.is_none() && !self.came_later;
                    self.renewed.fill(new.then_some(store));
                }
                self.met = Some((sent.place, now.micros));
                self.known.meet();
            }
        }
    }

    /// Takes in who lives, where nothing newer is known.
    fn learn(&mut self, now: Now, sent: &Sent, beaten: &Beaten) {
        let Some(((store, _), met_at)) = self.met else {
            return;
        };
        let mut view = ClusterView::clone(&self.view);
        view.own = self.own;
        view.store = store;
        if sent.at >= self.known.asked_at() || sent.begins {
            let over = met_at.saturating_add(micros(self.settings.lease));
            let lease = self.settings.lease;
            let others_may_come = now.micros < over;
            let own = (self.settings.node, self.settings.key);
            (self.known).learn(sent.at, own, lease, beaten, others_may_come);
            // Asked after a lease: who has come in that time is among the answer.
            let waited = sent.at >= over || mutated!("settles_without_a_lease");
            let all = self.known.all_settled(store) || mutated!("settles_without_the_others");
            view.settled = waited && all;
            view.living = self.known.living();
            view.dead = self.known.dead();
            view.strangers = self.known.strangers();
            view.asked_at = sent.at;
            let versions = view.living.iter().map(|node| node.version);
            view.version = versions.fold(self.settings.version, u32::min);
        }
        // With whoever was here before it would share rooms, and not a word: it is home of nothing.
        let refused = !self.was_settled && !view.strangers.is_empty();
        if refused {
            (view.own, view.settled) = (None, false);
        }
        self.was_settled |= view.settled;
        self.publish(view);
    }

    fn publish(&mut self, view: ClusterView) {
        self.view = Arc::new(view);
        self.changed = true;
    }
}
