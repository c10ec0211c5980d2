//! The cluster machine: several nodes at the model of a store, with a channel between them that loses nothing. What bad
//! channels and stores do to its two halves is in the simulation.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use roomcast_core::cluster::{Cluster, ClusterEvent};
use roomcast_core::node::NodeSettings;
use roomcast_core::post::{MOST_LETTER, PostKey, PostSettings};
use roomcast_core::store::{Answer, Cause, NodeId, Request, StoreError, StoreId};
use roomcast_core::{ForNode, NodeNumber, Now, ShardAddress};
use roomcast_engine::model::Model;

const STORE: StoreId = StoreId(1);
const SHARDS: u16 = 2;
const MS: u64 = 1_000;

struct Node {
    id: NodeId,
    cluster: Cluster,
    events: Vec<ClusterEvent>,
    /// It neither turns nor hears anything.
    stopped: bool,
    /// The store does not answer it.
    cut_off: bool,
}

/// Nodes, their store and one clock.
struct World {
    now: u64,
    model: Model,
    nodes: Vec<Node>,
    window: usize,
}

impl World {
    fn new(nodes: u64, window: usize) -> World {
        let mut world = World {
            now: 10_000_000 * MS,
            model: Model::new(STORE),
            nodes: Vec::new(),
            window,
        };
        (1..=nodes).for_each(|id| world.begin(id));
        world
    }

    fn begin(&mut self, id: u64) {
        let id = NodeId(id);
        let post = PostSettings {
            window: self.window,
            ..PostSettings::default()
        };
        let settings = NodeSettings::new(id, SHARDS);
        let mut cluster = Cluster::new(settings, post, PostKey::new(&[1; 32]));
        cluster.store_is(self.now(), STORE);
        self.nodes.push(Node {
            id,
            cluster,
            events: Vec::new(),
            stopped: false,
            cut_off: false,
        });
    }

    fn now(&self) -> Now {
        Now {
            micros: self.now,
            unix_ms: (self.now / MS) as i64,
        }
    }

    /// Lets so many milliseconds pass, one by one.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += MS;
            self.turn();
        }
    }

    fn turn(&mut self) {
        let now = self.now();
        let mut under_way = Vec::new();
        for node in self.nodes.iter_mut().filter(|it| !it.stopped) {
            for shard in 0..SHARDS {
                node.cluster.turned(shard, Some(STORE));
            }
            while let Some((ticket, beat)) = node.cluster.poll_beat(now) {
                if node.cut_off {
                    let error = Err(StoreError::Again(Cause::Timeout));
                    node.cluster.answered(now, ticket, error);
                    continue;
                }
                let request = Request::Beat(Box::new(beat));
                let answer = self.model.apply(now.unix_ms as u64, &request);
                let Ok(Answer::Beat(beaten)) = answer else {
                    panic!("{answer:?}");
                };
                node.cluster.answered(now, ticket, Ok(beaten));
            }
            while let Some((to, datagram)) = node.cluster.poll_transmit(now) {
                node.cluster.taken(now, to);
                under_way.push((to, datagram));
            }
        }
        for (to, datagram) in under_way {
            let to = self.nodes.iter_mut().find(|it| it.id == to).unwrap();
            if !to.stopped {
                to.cluster.handle(now, &datagram);
            }
        }
        for node in &mut self.nodes {
            let events = std::iter::from_fn(|| node.cluster.poll_event());
            node.events.extend(events);
        }
    }

    /// The number that one node has for another.
    fn number(&self, of: usize, at: usize) -> NodeNumber {
        let view = self.nodes[at].cluster.view();
        view.node(self.nodes[of].id).unwrap().number
    }

    fn send(&mut self, from: usize, to: ShardAddress, bytes: &[u8]) {
        let now = self.now();
        let letters = ForNode {
            to,
            bytes: bytes.into(),
            urgent: true,
        };
        self.nodes[from].cluster.send(now, 0, letters);
    }

    /// What has come since the last call.
    fn letters(&mut self, at: usize) -> Vec<(ShardAddress, u16, Box<[u8]>)> {
        let events = std::mem::take(&mut self.nodes[at].events);
        let letters = events.into_iter().filter_map(|event| match event {
            ClusterEvent::Letter { from, to, bytes } => Some((from, to, bytes)),
            _ => None,
        });
        letters.collect()
    }
}

#[test]
fn nodes_meet_and_letters_go_from_shard_to_shard_in_their_order() {
    let mut world = World::new(3, 1 << 20);
    world.pass(1_500);
    for node in &world.nodes {
        assert_eq!(node.cluster.view().living.len(), 2);
    }
    let to = ShardAddress::new(world.number(1, 0), 1);
    for number in 0..100u8 {
        world.send(0, to, &[number]);
    }
    world.pass(20);
    let from = ShardAddress::new(world.number(0, 1), 0);
    let expected: Vec<_> = (0..100).map(|it| (from, 1, Box::from([it]))).collect();
    assert_eq!(world.letters(1), expected);
    assert_eq!(world.letters(2), []);
    // A shard that there is not.
    world.send(0, ShardAddress::new(to.node(), SHARDS), &[1]);
    world.pass(20);
    assert_eq!(world.letters(1), []);
    assert_eq!(world.nodes[1].cluster.stats().0.letters_lost, 1);
}

#[test]
fn what_has_no_room_waits_and_keeps_its_order() {
    let mut world = World::new(2, 2_000);
    world.pass(1_500);
    let to = ShardAddress::new(world.number(1, 0), 0);
    for number in 0..100u8 {
        world.send(0, to, &[number; 300]);
    }
    assert!(world.nodes[0].cluster.stats().0.waiting_bytes > 90 * 300);
    world.pass(2_000);
    let come = world.letters(1);
    assert_eq!(come.len(), 100);
    assert!(come.iter().zip(0..).all(|(it, number)| it.2[0] == number));
    assert_eq!(world.nodes[0].cluster.stats().0.waiting_bytes, 0);
}

#[test]
fn a_letter_that_is_too_large_is_not_passed_over_where_it_waits() {
    let mut world = World::new(2, 2_000);
    world.pass(1_500);
    let to = ShardAddress::new(world.number(1, 0), 0);
    for number in 0..100u8 {
        world.send(0, to, &[number; 300]);
    }
    world.send(0, to, &vec![100; MOST_LETTER + 1]);
    world.send(0, to, &[101; 300]);
    world.pass(2_000);
    let come = world.letters(1);
    assert!(come.iter().all(|it| it.2[0] < 100), "what follows came");
    assert_eq!(world.nodes[0].cluster.stats().0.given_up, 1);
    assert_eq!(world.nodes[0].cluster.stats().0.waiting_bytes, 0);
}

/// What happened at a node that another one was lost to: the views, by who is in them, and the words about numbers.
fn told(world: &mut World, at: usize) -> Vec<String> {
    let events = std::mem::take(&mut world.nodes[at].events);
    let told = events.into_iter().map(|event| match event {
        ClusterEvent::View(view) => {
            let living: Vec<_> = view.nodes().living.iter().map(|it| it.number).collect();
            format!("view {living:?}")
        }
        ClusterEvent::Forget(number) => format!("forget {number:?}"),
        ClusterEvent::Lost(number) => format!("lost {number:?}"),
        ClusterEvent::Letter { .. } => "letter".to_owned(),
        ClusterEvent::SendAway => "send away".to_owned(),
    });
    let mut told: Vec<_> = told.collect();
    told.dedup();
    told
}

#[test]
fn of_a_node_that_is_gone_all_is_told_in_the_order_that_shards_need() {
    let mut world = World::new(2, 1 << 20);
    world.pass(1_500);
    let gone = world.number(1, 0);
    told(&mut world, 0);
    world.nodes[1].stopped = true;
    world.send(0, ShardAddress::new(gone, 0), &[1]);
    world.pass(5_000);
    let number = format!("{gone:?}");
    let expected = [
        format!("view [{number}]"),
        "view []".to_owned(),
        format!("forget {number}"),
        format!("lost {number}"),
        "view []".to_owned(),
    ];
    assert_eq!(told(&mut world, 0), expected);
    // What is sent there now is dropped. When it goes on, both know each other by other numbers.
    world.send(0, ShardAddress::new(gone, 0), &[2]);
    world.nodes[1].stopped = false;
    world.pass(5_000);
    assert_ne!(world.number(1, 0), gone);
    assert_eq!(world.letters(1), []);
    world.send(0, ShardAddress::new(world.number(1, 0), 0), &[3]);
    world.pass(20);
    let from = ShardAddress::new(world.number(0, 1), 0);
    assert_eq!(world.letters(1), [(from, 0, Box::from([3]))]);
}

#[test]
fn a_link_that_is_given_up_is_lost_on_both_sides_and_another_begins() {
    let mut world = World::new(2, 1 << 20);
    world.pass(1_500);
    let (before, at_other) = (world.number(1, 0), world.number(0, 1));
    told(&mut world, 0);
    told(&mut world, 1);
    let now = world.now();
    world.nodes[0].cluster.give_up(now, before);
    world.nodes[0].cluster.give_up(now, before);
    world.pass(500);
    let after = world.number(1, 0);
    assert_ne!(after, before);
    let expected = [
        format!("view [{after:?}]"),
        format!("forget {before:?}"),
        format!("lost {before:?}"),
    ];
    assert_eq!(told(&mut world, 0)[..3], expected);
    let told = told(&mut world, 1);
    assert!(told.contains(&format!("lost {at_other:?}")), "{told:?}");
    assert_eq!(world.nodes[0].cluster.stats().0.given_up, 1);
    world.send(0, ShardAddress::new(after, 1), &[7]);
    world.pass(200);
    assert_eq!(world.letters(1).len(), 1);
}

/// Lets so many milliseconds pass at a node that looks whether it is cut off. How often it says so.
fn sends_away(world: &mut World, at: usize, ms: u64, another_lives: bool) -> usize {
    told(world, at);
    for _ in 0..ms / 100 {
        world.pass(100);
        let now = world.now();
        let cluster = &mut world.nodes[at].cluster;
        cluster.look_if_cut_off(now, 10_000, || another_lives);
    }
    world.turn();
    let told = std::mem::take(&mut world.nodes[at].events);
    told.iter()
        .filter(|it| **it == ClusterEvent::SendAway)
        .count()
}

#[test]
fn a_node_that_is_cut_off_sends_its_clients_away_once_if_another_one_lives() {
    let mut world = World::new(2, 1 << 20);
    world.nodes[1].cut_off = true;
    assert_eq!(sends_away(&mut world, 1, 30_000, true), 0, "it has none");
    world.nodes[1].cut_off = false;
    assert_eq!(sends_away(&mut world, 1, 30_000, true), 0, "it has a lease");
    world.nodes[1].cut_off = true;
    assert_eq!(sends_away(&mut world, 1, 10_500, true), 0, "not yet");
    assert_eq!(
        sends_away(&mut world, 1, 30_000, false),
        0,
        "all are cut off"
    );
    assert_eq!(sends_away(&mut world, 1, 100, true), 1);
    assert_eq!(
        sends_away(&mut world, 1, 60_000, true),
        0,
        "they were asked"
    );
    // Again, once it was back.
    world.nodes[1].cut_off = false;
    assert_eq!(sends_away(&mut world, 1, 5_000, true), 0);
    world.nodes[1].cut_off = true;
    assert_eq!(sends_away(&mut world, 1, 15_000, true), 1);
}
