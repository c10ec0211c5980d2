//! What happens to nodes and to their store, and what must hold at each moment.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::store::{
    Answer, Beat, Beaten, Cause, HomeName, NodeId, Request, StoreError, StoreId, Ticket,
};
use roomcast_engine::model::Model;

use super::NodesCounts;
use super::agent::Node;
use crate::random::Random;

/// Milliseconds.
pub(super) const LEASE: u64 = 3_000;
pub(super) const SHARDS: u16 = 2;
/// Real microseconds of a schedule, and from when on all goes well.
const END: u64 = 90_000_000;
const WELL: u64 = 70_000_000;

/// How fast clocks run, of a thousand.
const SLOWEST: u64 = 820;
const FASTEST: u64 = 1_220;

/// What a store answers, as it goes back to a node.
type Answered = Result<Beaten, StoreError>;

enum Happening {
    /// A beat arrives at the store.
    Beat(NodeId, Ticket, Box<Beat>),
    Answer(NodeId, Ticket, Box<Answered>),
    /// A shard of a node turns.
    Turn(NodeId, u16),
    /// A node learns which store there is.
    Store(NodeId),
    /// Somebody does something.
    Act,
    /// Nothing: the world looks again.
    Look,
}

pub(super) struct World {
    now: u64,
    random: Random,
    ahead: BTreeMap<(u64, u64), Happening>,
    order: u64,
    nodes: BTreeMap<NodeId, Node>,
    store: Model,
    stores: u128,
    /// When each node began its first lease at the store.
    begun: BTreeMap<NodeId, u64>,
    /// By node, and when it sent them: beats after whose answer it may say that it is settled.
    may_settle: BTreeSet<(NodeId, u64)>,
    /// When each beat was sent, by its node's clock.
    sent: BTreeMap<(NodeId, Ticket), u64>,
    /// The store does not answer until then.
    away_until: u64,
    /// Its data some time ago.
    backup: Model,
    /// Real microseconds times this, by a thousand, are the store's.
    rate: u64,
    /// Homes that somebody was told to be dead, at which store.
    dead: BTreeSet<(StoreId, HomeName)>,
    /// Microseconds that a request or an answer takes at most.
    delay: u64,
    lose: u64,
    counts: NodesCounts,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let store = Model::new(StoreId(1));
        let mut world = World {
            now: 1,
            ahead: BTreeMap::new(),
            order: 0,
            nodes: BTreeMap::new(),
            backup: store.clone(),
            store,
            stores: 1,
            begun: BTreeMap::new(),
            may_settle: BTreeSet::new(),
            sent: BTreeMap::new(),
            away_until: 0,
            rate: rate(&mut random),
            dead: BTreeSet::new(),
            delay: random.pick(&[1_000, 100_000, 900_000, 6_000_000]),
            lose: random.pick(&[0, 50, 300]),
            random,
            counts: NodesCounts::default(),
        };
        for _ in 0..2 + world.random.below(3) {
            world.begin();
        }
        world.at(0, Happening::Act);
        world
    }

    pub(super) fn run(mut self) -> NodesCounts {
        while let Some(((at, _), happening)) = self.ahead.pop_first() {
            if at >= END {
                break;
            }
            // What holds, holds until something happens.
            self.now = at;
            self.check();
            if self.now >= WELL {
                (self.delay, self.lose) = (1_000, 0);
            }
            self.happens(happening);
            self.beats();
            self.check();
        }
        self.now = END;
        self.is_well();
        for node in self.nodes.values() {
            let stats = node.agent.stats();
            self.counts.beats += stats.beats;
            self.counts.gone += stats.gone;
            self.counts.stores += stats.stores;
            self.counts.late += stats.late;
            self.counts.errors += stats.errors;
            self.counts.renumbered += node.renumbered();
        }
        self.counts
    }

    fn happens(&mut self, happening: Happening) {
        let stopped = |world: &World, id: &NodeId| {
            let node = world.nodes.get(id);
            node.map(|it| it.stopped_until)
                .filter(|until| world.now < *until)
        };
        match happening {
            Happening::Beat(id, ticket, beat) => self.beat(id, ticket, beat),
            Happening::Answer(id, ticket, answer) => {
                if let Some(until) = stopped(self, &id) {
                    let later = until - self.now;
                    self.at(later, Happening::Answer(id, ticket, answer));
                } else if let Some(node) = self.nodes.get_mut(&id) {
                    let other = *answer == Err(StoreError::Again(Cause::OtherStore));
                    node.agent.answered(node.clock(self.now), ticket, *answer);
                    if other {
                        let later = self.random.below(self.delay);
                        self.at(later, Happening::Store(id));
                    }
                }
            }
            Happening::Turn(id, shard) => self.turn(id, shard),
            Happening::Store(id) => {
                let store = self.store.store();
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.agent.store_is(node.clock(self.now), store);
                }
            }
            Happening::Act if self.now < WELL => {
                self.act();
                let later = self.random.below(1_000_000);
                self.at(later, Happening::Act);
            }
            Happening::Act | Happening::Look => {}
        }
    }

    /// A beat arrives.
    fn beat(&mut self, id: NodeId, ticket: Ticket, beat: Box<Beat>) {
        if self.now < self.away_until {
            let lost = self.random.chance(500);
            let answer = Box::new(Err(StoreError::Again(Cause::Connection)));
            // Or it waits there.
            let later = self.away_until - self.now;
            let again = Happening::Beat(id, ticket, beat);
            let answer = Happening::Answer(id, ticket, answer);
            return if lost {
                self.at(1_000, answer)
            } else {
                self.at(later, again)
            };
        }
        let now_ms = self.store_ms();
        let answer = match self.store.apply(now_ms, &Request::Beat(beat)) {
            Ok(Answer::Beat(beaten)) => Ok(beaten),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        if answer.is_ok() {
            self.note(id, ticket, now_ms);
        }
        for _ in 0..1 + u64::from(self.random.chance(100)) {
            let later = self.random.below(self.delay);
            if !self.random.chance(self.lose) {
                let answer = Box::new(answer.clone());
                self.at(later, Happening::Answer(id, ticket, answer));
            }
        }
    }

    /// A beat was done: may its node settle by the answer?
    fn note(&mut self, id: NodeId, ticket: Ticket, now_ms: u64) {
        let store = self.store.store();
        let begun = *self.begun.entry(id).or_insert(self.now);
        // A lease by the fastest clock.
        let waited = self.now - begun >= LEASE * 1_000 * 1_000 / FASTEST;
        let mut young = (self.store.nodes()).filter(|entry| now_ms < entry.beat + LEASE);
        if waited && young.all(|entry| entry.settled == Some(store)) {
            self.may_settle.insert((id, self.sent[&(id, ticket)]));
        }
    }

    fn turn(&mut self, id: NodeId, shard: u16) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        let hangs = node
            .stopped_until
            .max(if shard == 0 { node.hangs_until } else { 0 });
        if self.now < hangs {
            let later = hangs - self.now;
            return self.at(later, Happening::Turn(id, shard));
        }
        let renews = self.now >= WELL || self.random.chance(300);
        node.turn(shard, renews);
        let later = 1 + self.random.below(200_000);
        self.at(later, Happening::Turn(id, shard));
    }

    fn act(&mut self) {
        let nodes: Vec<_> = self.nodes.keys().copied().collect();
        let one = self.random.pick(&nodes);
        let later = self.now + self.random.below(8_000_000);
        let node = self.nodes.get_mut(&one).unwrap();
        match self.random.below(100) {
            0..4 if nodes.len() < 6 => self.begin(),
            4..8 if nodes.len() > 2 => {
                self.nodes.remove(&one);
            }
            8..16 => node.stopped_until = later,
            16..22 => node.hangs_until = later,
            22..27 => self.away_until = later,
            27..32 => self.another_store(),
            32..40 => self.backup = self.store.clone(),
            40..48 => {
                let known: Vec<_> = node.view.living.iter().map(|it| it.number).collect();
                if !known.is_empty() {
                    node.agent.link_lost(self.random.pick(&known));
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self) {
        let id = NodeId(self.random.next());
        let offset = self.random.below(1 << 40);
        let node = Node::new(id, rate(&mut self.random), offset);
        self.nodes.insert(id, node);
        self.at(1, Happening::Store(id));
        for shard in 0..SHARDS {
            self.at(1, Happening::Turn(id, shard));
        }
    }

    /// The store is gone. Another one has the same data, older data, or none.
    fn another_store(&mut self) {
        self.stores += 1;
        let id = StoreId(self.stores);
        self.store = match self.random.below(3) {
            0 => self.store.clone().restarted(id),
            1 => self.backup.clone().restarted(id),
            _ => Model::new(id),
        };
        self.backup = self.store.clone();
        self.begun.clear();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            // Some find out only from an answer.
            if self.random.chance(700) {
                let later = self.random.below(self.delay);
                self.at(later, Happening::Store(id));
            }
        }
    }

    /// Nodes that may, send a beat; all take their newest view.
    fn beats(&mut self) {
        let mut out = Vec::new();
        for (id, node) in &mut self.nodes {
            if self.now < node.stopped_until {
                continue;
            }
            if let Some((ticket, beat)) = node.beat(self.now) {
                let sent = node.clock(self.now).micros;
                self.sent.insert((*id, ticket), sent);
                out.push((*id, ticket, Box::new(beat)));
            }
            if node.look() {
                if node.view.settled {
                    self.counts.settled += 1;
                    let may = self.may_settle.contains(&(*id, node.view.asked_at));
                    assert!(may, "{id:?} settles before a lease or the others");
                }
                for home in &node.view.dead {
                    self.counts.dead += 1;
                    self.dead.insert((node.view.store, *home));
                }
                // When it ceases to act.
                if let Some(own) = node.view.own {
                    self.order += 1;
                    let key = (node.real(own.until).max(self.now + 1), self.order);
                    self.ahead.insert(key, Happening::Look);
                }
            }
        }
        for (id, ticket, beat) in out {
            for _ in 0..1 + u64::from(self.random.chance(50)) {
                let later = self.random.below(self.delay);
                let lost = self.random.chance(self.lose);
                let answer = Box::new(Err(StoreError::Again(Cause::Timeout)));
                let answer = Happening::Answer(id, ticket, answer);
                let arrives = Happening::Beat(id, ticket, beat.clone());
                self.at(later, if lost { answer } else { arrives });
            }
        }
    }

    /// What must hold at each moment.
    fn check(&mut self) {
        let (now, now_ms, store) = (self.now, self.store_ms(), self.store.store());
        let (mut settled, mut elsewhere) = (false, false);
        for (id, node) in &self.nodes {
            let Some(home) = node.acts(now) else {
                self.counts.silent += 1;
                continue;
            };
            let at = node.view.store;
            let told = self.dead.contains(&(at, home));
            assert!(
                !told,
                "{home:?} acts, and somebody was told that it is dead"
            );
            if at == store {
                // A first beat that comes late may have put an earlier lease there. Others then see the node live.
                let mut entries = self.store.nodes().filter(|entry| entry.home.node == *id);
                let young = entries.any(|entry| now_ms < entry.beat + LEASE);
                assert!(young, "{home:?} acts, and the store has given it up");
                settled |= node.view.settled;
            } else {
                elsewhere = true;
            }
        }
        let both = settled && elsewhere;
        assert!(
            !both,
            "a node may claim unknown rooms, and one still acts by the store before"
        );
    }

    /// When all went well for a while, all nodes know each other and have settled.
    fn is_well(&self) {
        for (id, node) in &self.nodes {
            assert!(node.acts(self.now).is_some(), "{id:?} has no lease");
            assert!(node.view.settled, "{id:?} has not settled");
            let known = node.view.living.iter().map(|it| it.home.node);
            let others = self.nodes.keys().copied().filter(|it| it != id);
            assert!(known.eq(others), "{id:?} does not know who lives");
            for other in &node.view.living {
                let home = self.nodes[&other.home.node].acts(self.now);
                assert_eq!(Some(other.home), home, "{id:?} knows an old lease");
            }
        }
    }

    fn at(&mut self, later: u64, happening: Happening) {
        self.order += 1;
        self.ahead.insert((self.now + later, self.order), happening);
    }

    /// The store's clock.
    fn store_ms(&self) -> u64 {
        1_000_000 + self.now * self.rate / 1_000_000
    }
}

/// A clock. None runs half as fast again as another.
fn rate(random: &mut Random) -> u64 {
    let between = SLOWEST + random.below(FASTEST - SLOWEST);
    random.pick(&[SLOWEST, 1_000, FASTEST, between])
}
