//! A node at several stores that share the keys: it has a lease at each, and one link to each other node.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use roomcast_core::cluster::{Cluster, ClusterEvent, StoreAt};
use roomcast_core::node::NodeSettings;
use roomcast_core::post::{PostKey, PostSettings};
use roomcast_core::store::{Answer, Cause, NodeId, Request, Slot, StoreError, StoreId};
use roomcast_core::{NodeNumber, Now};
use roomcast_engine::model::Model;

const MS: u64 = 1_000;

/// Nodes at several stores, all of which turn all the time.
struct World {
    now: u64,
    /// By their ids.
    models: Vec<(StoreId, Model)>,
    /// As the nodes are told.
    stores: Vec<StoreAt>,
    nodes: Vec<Node>,
    /// A node that can't reach a store.
    cut: BTreeSet<(usize, StoreId)>,
    /// Stores at which rooms are to be written yet.
    unwritten: BTreeSet<StoreId>,
}

struct Node {
    id: NodeId,
    cluster: Cluster,
    lost: Vec<NodeNumber>,
    beats: usize,
}

fn at(store: u128, first: u16, last: u16) -> StoreAt {
    StoreAt {
        store: Some(StoreId(store)),
        anchor: Slot(first),
        ranges: vec![(Slot(first), Slot(last))],
    }
}

/// Three that share the keys.
fn three() -> Vec<StoreAt> {
    vec![at(1, 0, 5_000), at(2, 5_001, 10_000), at(3, 10_001, 16_383)]
}

impl World {
    fn new(nodes: u64, stores: Vec<StoreAt>) -> World {
        let mut world = World {
            now: 10_000_000 * MS,
            models: Vec::new(),
            stores,
            nodes: Vec::new(),
            cut: BTreeSet::new(),
            unwritten: BTreeSet::new(),
        };
        for id in 1..=nodes {
            let id = NodeId(id);
            let key = PostKey::new(&[1; 32]);
            let cluster = Cluster::new(NodeSettings::new(id, 1), PostSettings::default(), key);
            let (lost, beats) = (Vec::new(), 0);
            world.nodes.push(Node {
                id,
                cluster,
                lost,
                beats,
            });
        }
        world
    }

    fn now(&self) -> Now {
        Now {
            micros: self.now,
            unix_ms: (self.now / MS) as i64,
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += MS;
            self.turn();
        }
    }

    fn turn(&mut self) {
        let now = self.now();
        let mut under_way = Vec::new();
        for (which, node) in self.nodes.iter_mut().enumerate() {
            node.cluster.stores_are(now, &self.stores);
            let met = node.cluster.views().stores().iter().map(|it| it.store);
            let written: Vec<_> = met.filter(|it| !self.unwritten.contains(it)).collect();
            node.cluster.turned(0, written);
            while let Some((ticket, beat)) = node.cluster.poll_beat(now) {
                node.beats += 1;
                let store = beat.store;
                if !self.models.iter().any(|(id, _)| *id == store) {
                    self.models.push((store, Model::new(store)));
                }
                let model = self.models.iter_mut().find(|(id, _)| *id == store);
                let request = Request::Beat(Box::new(beat));
                let beaten = match self.cut.contains(&(which, store)) {
                    true => Err(StoreError::Again(Cause::Connection)),
                    false => match model.unwrap().1.apply(now.unix_ms as u64, &request) {
                        Ok(Answer::Beat(beaten)) => Ok(beaten),
                        other => panic!("{other:?}"),
                    },
                };
                node.cluster.answered(now, ticket, beaten);
            }
            while let Some((to, datagram)) = node.cluster.poll_transmit(now) {
                node.cluster.taken(now, to);
                under_way.push((to, datagram));
            }
        }
        for (to, datagram) in under_way {
            let to = self.nodes.iter_mut().find(|it| it.id == to).unwrap();
            to.cluster.handle(now, &datagram);
        }
        for node in &mut self.nodes {
            while let Some(event) = node.cluster.poll_event() {
                if let ClusterEvent::Lost(number) = event {
                    node.lost.push(number);
                }
            }
        }
    }

    /// By store: whether a node may act there, whether it has settled, and how many others live there.
    fn seen(&self, node: usize) -> Vec<(bool, bool, usize)> {
        let views = self.nodes[node].cluster.views();
        let stores = views.stores().iter();
        stores
            .map(|it| (it.acts(self.now).is_some(), it.settled, it.living.len()))
            .collect()
    }
}

#[test]
fn a_node_lives_at_each_store_and_has_one_link_to_each_other_node() {
    let mut world = World::new(3, three());
    world.pass(5_000);
    for node in 0..3 {
        assert_eq!(world.seen(node), [(true, true, 2); 3]);
        let nodes = world.nodes[node].cluster.view();
        assert_eq!(nodes.living.len(), 2);
        for view in world.nodes[node].cluster.views().stores() {
            assert_eq!(view.living.len(), 2);
            let numbers = |it: &roomcast_core::node::ClusterView| -> Vec<_> {
                it.living.iter().map(|it| it.number).collect()
            };
            assert_eq!(numbers(view), numbers(nodes), "the same link");
        }
    }
    // About one command a second, node and store.
    let before = world.nodes[0].beats;
    world.pass(10_000);
    assert!((27..=33).contains(&(world.nodes[0].beats - before)));
    // No lease has the number of another.
    let leases: BTreeSet<_> = (0..3)
        .flat_map(|node| {
            let views = world.nodes[node].cluster.views();
            let owns = views.stores().iter().map(|it| it.own.unwrap().home);
            owns.collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(leases.len(), 9);
}

#[test]
fn where_one_store_is_away_only_its_rooms_pause_and_no_link_is_lost() {
    let mut world = World::new(2, three());
    world.pass(5_000);
    for node in 0..2 {
        world.cut.insert((node, StoreId(2)));
    }
    world.pass(10_000);
    for node in 0..2 {
        let seen = world.seen(node);
        assert_eq!((seen[0], seen[2]), ((true, true, 1), (true, true, 1)));
        assert!(!seen[1].0, "it acts for nothing there");
        let (room, slot) = (Slot(7_000), Slot(12));
        let views = world.nodes[node].cluster.views();
        assert!(views.at(room).acts(world.now).is_none());
        assert!(views.at(slot).acts(world.now).is_some());
    }
    world.cut.clear();
    world.pass(5_000);
    for node in 0..2 {
        assert_eq!(world.seen(node), [(true, true, 1); 3]);
        assert_eq!(world.nodes[node].lost, []);
    }
}

#[test]
fn one_that_is_cut_off_from_a_store_is_dead_there_and_its_link_stays() {
    let mut world = World::new(2, three());
    world.pass(5_000);
    let home = world.nodes[1].cluster.views().stores()[0].own.unwrap().home;
    world.cut.insert((1, StoreId(1)));
    world.pass(6_000);
    assert!(!world.seen(1)[0].0);
    let node = &world.nodes[0];
    let view = &node.cluster.views().stores()[0];
    assert!(view.node(NodeId(2)).is_none());
    assert!(view.is_dead(home, 0), "others take its rooms there");
    assert_eq!(node.cluster.view().living.len(), 1);
    world.cut.clear();
    world.pass(5_000);
    for node in 0..2 {
        assert_eq!(world.seen(node), [(true, true, 1); 3]);
        assert_eq!(world.nodes[node].lost, []);
    }
    let again = world.nodes[1].cluster.views().stores()[0].own.unwrap();
    assert!(again.home.lease > home.lease);
}

#[test]
fn another_store_in_the_place_of_one_is_met_by_who_knew_that_one() {
    let mut world = World::new(2, three());
    world.pass(5_000);
    let before = world.nodes[0].cluster.views().clone();
    // It is away, and then another one has its slots.
    world.stores[1].store = None;
    world.pass(100);
    assert_eq!(world.nodes[0].cluster.views().stores().len(), 3);
    world.stores[1].store = Some(StoreId(22));
    world.unwritten.insert(StoreId(22));
    world.pass(4_000);
    let after = world.nodes[0].cluster.views().clone();
    assert_eq!(after.stores()[1].store, StoreId(22));
    let own = |views: &roomcast_core::node::ClusterViews| views.stores()[1].own.unwrap();
    assert!(own(&after).home.lease > own(&before).home.lease);
    assert_eq!(own(&after).links, own(&before).links);
    // A lease has passed, and not all is written there.
    assert_eq!(world.seen(0)[1], (true, false, 1));
    assert_eq!(world.seen(0)[0], (true, true, 1));
    world.unwritten.clear();
    world.pass(3_000);
    assert_eq!(world.seen(0), [(true, true, 1); 3]);
    assert_eq!(world.nodes[0].lost, []);
}

#[test]
fn a_store_that_comes_to_the_others_is_settled_once_all_was_written_there() {
    let mut world = World::new(2, vec![at(1, 0, 8_000), at(2, 8_001, 16_383)]);
    world.pass(5_000);
    world.stores = vec![at(1, 0, 8_000), at(2, 8_001, 12_000), at(3, 12_001, 16_383)];
    world.unwritten.insert(StoreId(3));
    world.pass(5_000);
    for node in 0..2 {
        let expected = [(true, true, 1), (true, true, 1), (true, false, 1)];
        assert_eq!(world.seen(node), expected);
    }
    world.unwritten.clear();
    world.pass(3_000);
    // And one that goes leaves its slots to another.
    world.stores.remove(1);
    world.stores[1].ranges = vec![(Slot(8_001), Slot(16_383))];
    world.pass(3_000);
    for node in 0..2 {
        assert_eq!(world.seen(node), [(true, true, 1); 2]);
        let views = world.nodes[node].cluster.views();
        assert_eq!(views.at(Slot(9_000)).store, StoreId(3));
        assert_eq!(world.nodes[node].lost, []);
    }
}

#[test]
fn entries_in_another_place_of_a_store_cost_a_lease_and_no_link() {
    let mut world = World::new(2, three());
    world.pass(5_000);
    let before = world.nodes[0].cluster.views().stores()[0].own.unwrap();
    // The slot of the entries has moved to the next store.
    world.stores[0] = at(1, 1, 5_000);
    world.stores[1].ranges.push((Slot(0), Slot(0)));
    world.models.retain(|(id, _)| *id != StoreId(1));
    world.pass(1_500);
    let after = world.nodes[0].cluster.views().stores()[0].own.unwrap();
    assert!(after.home.lease > before.home.lease);
    let view = &world.nodes[0].cluster.views().stores()[0];
    assert_eq!((view.living.len(), view.dead.len()), (1, 0));
    world.pass(4_000);
    for node in 0..2 {
        assert_eq!(world.seen(node), [(true, true, 1); 3]);
        assert_eq!(world.nodes[node].lost, []);
    }
}
