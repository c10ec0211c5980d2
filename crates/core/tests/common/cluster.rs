//! Several nodes at one model of a store, joined by queues: what is on its way waits until a test lets it go on.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test uses its part of the harness"
)]

#[path = "at_once.rs"]
mod at_once;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use roomcast_core::log::Epoch;
use roomcast_core::node::{ClusterView, LivingNode, Own};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::{Answer, Claim, Claimed, HomeName, NodeId, Request, StoreId};
use roomcast_core::wire::VERSION;
use roomcast_core::{ForNode, LogicFactory, NodeNumber, ShardAddress};
use roomcast_engine::model::Model;
use serde_json::Value;

use crate::common::{Client, Node, node_with_key, relay, text};
pub use at_once::{Alone, AtOnce, Late};

pub const STORE: StoreId = StoreId(7);

/// Letters of one shard for another one: the two, and the bytes.
pub type OnTheWay = (u16, u16, Vec<u8>);

/// A connection of a node.
pub type At = (usize, Client);

pub struct Cluster {
    pub model: Rc<RefCell<Model>>,
    /// So many requests to the store get no answer.
    pub unanswered: Rc<Cell<usize>>,
    /// Who reads an inbox gets no answer.
    pub unread: Rc<Cell<bool>>,
    /// What is done at once and answered later.
    pub late: Rc<Cell<Late>>,
    alone: Alone,
    caught_up: Rc<Cell<u64>>,
    /// `None`: it is dead.
    pub nodes: Vec<Option<Node<AtOnce>>>,
    shards: Vec<u16>,
    /// What is on its way from a node to another.
    queues: BTreeMap<(usize, usize), VecDeque<OnTheWay>>,
    /// Ways on which nothing goes on.
    held: BTreeSet<(usize, usize)>,
    /// As which number the first node knows the second.
    numbers: BTreeMap<(usize, usize), u32>,
    /// Nodes that the store has given up.
    dead: Vec<HomeName>,
    /// Those of them that run, and have lost their leases.
    cut_off: BTreeSet<usize>,
    /// The number of the lease that each has.
    leases: Vec<u64>,
    pub store: StoreId,
    pub settled: bool,
    /// `None`: whoever needs a room claims it.
    pub rank_key: Option<u64>,
    /// The oldest version among the nodes.
    pub version: u32,
}

impl Cluster {
    /// Nodes with so many shards each.
    pub fn new(shards: &[u16], settings: &Settings, kinds: &[Kind]) -> Cluster {
        let kinds: Vec<_> = kinds.iter().map(|kind| (kind.clone(), None)).collect();
        Cluster::with_logic(shards, settings, &kinds)
    }

    /// Nodes whose rooms pass on what is said, without limits and pings.
    pub fn relays(shards: &[u16]) -> Cluster {
        let settings = Settings {
            messages_per_second: 0,
            max_offences: 0,
            ping_interval: 0,
            pong_timeout: 0,
            ..Settings::default()
        };
        Cluster::new(shards, &settings, &[relay("default")])
    }

    /// Nodes with so many shards each, and kinds that may have logic of their own.
    pub fn with_logic(
        shards: &[u16],
        settings: &Settings,
        kinds: &[(Kind, Option<LogicFactory>)],
    ) -> Cluster {
        let model = Rc::new(RefCell::new(Model::new(STORE)));
        let (unanswered, unread) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let late = Rc::<Cell<Late>>::default();
        let alone = Alone::default();
        let caught_up = Rc::<Cell<u64>>::default();
        let node = |(number, count): (usize, &u16)| {
            let kinds = kinds.to_vec();
            let store = || AtOnce {
                model: model.clone(),
                unanswered: unanswered.clone(),
                unread: unread.clone(),
                answers: VecDeque::new(),
                node: number,
                alone: alone.clone(),
                late: late.clone(),
                late_answers: Vec::new(),
                caught_up: caught_up.clone(),
                caught: 0,
            };
            let (seed, key) = (number as u64 + 1, Some([11, 12]));
            Some(node_with_key(
                seed,
                key,
                *count,
                settings.clone(),
                kinds,
                store,
            ))
        };
        let nodes = shards.iter().enumerate().map(node).collect();
        let mut cluster = Cluster {
            model,
            unanswered,
            unread,
            late,
            alone,
            caught_up,
            nodes,
            shards: shards.into(),
            queues: BTreeMap::new(),
            held: BTreeSet::new(),
            numbers: BTreeMap::new(),
            dead: Vec::new(),
            cut_off: BTreeSet::new(),
            leases: vec![1; shards.len()],
            store: STORE,
            settled: true,
            rank_key: None,
            version: VERSION,
        };
        for one in 0..shards.len() {
            for other in 0..shards.len() {
                // Differently on each.
                let number = 1 + (other + 2 * one) as u32;
                cluster.numbers.insert((one, other), number);
            }
        }
        cluster.tell_all();
        cluster
    }

    fn home(&self, node: usize) -> HomeName {
        HomeName {
            node: NodeId(node as u64 + 1),
            lease: self.leases[node],
        }
    }

    pub fn node(&mut self, node: usize) -> &mut Node<AtOnce> {
        self.nodes[node].as_mut().expect("it lives")
    }

    pub fn living(&self) -> Vec<usize> {
        let living = self.nodes.iter().enumerate();
        living
            .filter_map(|(number, node)| node.as_ref().map(|_| number))
            .collect()
    }

    /// Tells all who lives.
    pub fn tell_all(&mut self) {
        for one in self.living() {
            self.tell(one);
        }
    }

    /// Tells one node who lives.
    pub fn tell(&mut self, one: usize) {
        let view = self.view(one);
        for shard in self.node(one).shards.iter_mut() {
            shard.set_cluster(view.clone());
        }
    }

    /// Tells one node that a node of this version lives, which it knows nothing else of.
    pub fn tell_version(&mut self, one: usize, oldest: u32) {
        let view = Arc::new(ClusterView {
            version: oldest,
            ..(*self.view(one)).clone()
        });
        for shard in self.node(one).shards.iter_mut() {
            shard.set_cluster(view.clone());
        }
    }

    /// Tells one node that another one is not there.
    pub fn tell_without(&mut self, one: usize, other: usize) {
        let mut view = (*self.view(one)).clone();
        view.living.retain(|it| it.home != self.home(other));
        let view = Arc::new(view);
        for shard in self.node(one).shards.iter_mut() {
            shard.set_cluster(view.clone());
        }
    }

    fn view(&self, one: usize) -> Arc<ClusterView> {
        let now = self.nodes[one].as_ref().map(|it| it.now.micros);
        let alone = self.alone.borrow().as_ref().map(|it| it.0);
        let is_alone = alone == Some(one);
        let others = self.living().into_iter().filter(|other| *other != one);
        let (others, parted): (Vec<_>, Vec<_>) =
            others.partition(|other| !is_alone && alone != Some(*other));
        let others = others.into_iter();
        let parted = parted.into_iter().map(|other| self.home(other));
        // A node that is cut off hears of nothing.
        let is_cut_off = self.cut_off.contains(&one);
        let others = others.filter(|other| is_cut_off || !self.cut_off.contains(other));
        let living = others.map(|other| LivingNode {
            number: NodeNumber::met(self.numbers[&(one, other)]),
            home: self.home(other),
            shards: self.shards[other],
            version: self.version,
            settings: "".into(),
            address: "".into(),
        });
        Arc::new(ClusterView {
            own: Some(Own {
                home: self.home(one),
                links: 0,
                until: if is_cut_off { 0 } else { u64::MAX },
            }),
            store: if is_alone { STORE } else { self.store },
            settled: is_alone || self.settled,
            living: living.collect(),
            dead: self.dead.iter().copied().chain(parted).collect(),
            asked_at: now.unwrap_or(0),
            rank_key: self.rank_key,
            version: self.version,
            ..ClusterView::default()
        })
    }

    /// From here on nothing goes on from a node to another.
    pub fn hold(&mut self, from: usize, to: usize) {
        self.held.insert((from, to));
    }

    pub fn let_go(&mut self, from: usize, to: usize) {
        self.held.remove(&(from, to));
        self.settle();
    }

    /// All goes on again.
    pub fn let_all_go(&mut self) {
        self.held.clear();
    }

    /// A few turns of all nodes, 10 ms later.
    pub fn step(&mut self, turns: u64) {
        for node in self.living() {
            let now = &mut self.node(node).now;
            now.micros += 10_000;
            now.unix_ms += 10;
        }
        for _ in 0..turns {
            for node in self.living() {
                self.node(node).turn();
                self.collect(node);
            }
            self.carry();
        }
    }

    /// Turns and carries until nothing is left to do at this moment.
    pub fn settle(&mut self) {
        loop {
            for node in self.living() {
                self.node(node).settle();
                self.collect(node);
            }
            if !self.carry() {
                return;
            }
        }
    }

    fn collect(&mut self, node: usize) {
        for (from_shard, letters) in std::mem::take(&mut self.node(node).post) {
            let ForNode { to, bytes, .. } = letters;
            let number = |other: &usize| NodeNumber::met(self.numbers[&(node, *other)]);
            // What is for a number of before goes nowhere.
            let others = self.living().into_iter();
            let other = others
                .filter(|it| *it != node)
                .find(|it| number(it) == to.node());
            if let Some(other) = other {
                let queue = self.queues.entry((node, other)).or_default();
                queue.push_back((from_shard, to.shard(), bytes));
            }
        }
    }

    /// Brings what is on its way. Whether there was something.
    pub fn carry(&mut self) -> bool {
        let mut any = false;
        let mut ways: Vec<_> = self.queues.keys().copied().collect();
        ways.retain(|way| !self.held.contains(way));
        for (from, to) in ways {
            let queue = self.queues.remove(&(from, to)).unwrap_or_default();
            if self.nodes[to].is_none() {
                continue;
            }
            let number = NodeNumber::met(self.numbers[&(to, from)]);
            for (from_shard, to_shard, bytes) in queue {
                any = true;
                let node = self.node(to);
                let now = node.now;
                let from = ShardAddress::new(number, from_shard);
                let shard = &mut node.shards[usize::from(to_shard)];
                assert_eq!(shard.from_node(now, from, &bytes), Ok(0));
            }
        }
        any
    }

    /// What is late so far is answered. What is asked from here on is late as before.
    pub fn answer_late(&mut self) {
        self.caught_up.set(self.caught_up.get() + 1);
        self.settle();
    }

    /// Lets time pass on all nodes.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            for node in self.living() {
                let now = &mut self.node(node).now;
                now.micros += 10_000;
                now.unix_ms += 10;
            }
            self.settle();
        }
    }

    /// The link between two nodes is lost: what is on its way is gone, both are told, and both get other numbers.
    pub fn lose_link(&mut self, one: usize, other: usize) {
        self.lose_end(one, other);
        self.lose_end(other, one);
        self.tell_all();
    }

    /// The same at one end alone, which is told so: what is on its way to it is gone.
    pub fn lose_end(&mut self, at: usize, of: usize) {
        self.queues.remove(&(of, at));
        let number = NodeNumber::met(self.numbers[&(at, of)]);
        *self.numbers.entry((at, of)).or_default() += 100;
        if let Some(node) = &mut self.nodes[at] {
            let now = node.now;
            for shard in node.shards.iter_mut() {
                shard.forget_node(number);
            }
            for shard in node.shards.iter_mut() {
                shard.node_lost(now, number);
            }
        }
    }

    /// A node is killed, and the store gives it up.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node] = None;
        self.dead.push(self.home(node));
        for other in self.living() {
            self.lose_link(other, node);
        }
        self.tell_all();
        self.settle();
    }

    /// A node reaches neither the store nor the others any more, which take it for dead. Its clients reach it.
    pub fn cut_off(&mut self, node: usize) {
        self.cut_off.insert(node);
        self.dead.push(self.home(node));
        let others = self.living().into_iter().filter(|it| *it != node);
        for other in others.collect::<Vec<_>>() {
            self.hold(node, other);
            self.hold(other, node);
            self.lose_end(other, node);
        }
        self.tell_all();
        self.settle();
    }

    /// It reaches all again, and has another lease.
    pub fn come_to_itself(&mut self, node: usize) {
        self.cut_off.remove(&node);
        self.leases[node] += 1;
        let others = self.living().into_iter().filter(|it| *it != node);
        for other in others.collect::<Vec<_>>() {
            self.held.remove(&(node, other));
            self.held.remove(&(other, node));
            self.queues.remove(&(node, other));
            self.lose_end(node, other);
        }
        self.tell_all();
        self.settle();
    }

    /// The network parts. One node goes on with the store that there was. The others have a copy of that, as another store,
    /// and a lease has passed since. Each side takes the other one for dead.
    pub fn part(&mut self, alone: usize, store: StoreId) {
        let copy = self.model.borrow().clone().restarted(store);
        let before = self.model.replace(copy);
        *self.alone.borrow_mut() = Some((alone, before));
        self.store = store;
        for other in self.living().into_iter().filter(|it| *it != alone) {
            self.hold(alone, other);
            self.hold(other, alone);
            self.lose_end(alone, other);
            self.lose_end(other, alone);
        }
        self.meet();
    }

    /// The network is whole again. The node that was alone meets the store of the others.
    pub fn join_again(&mut self) {
        let alone = self.alone.borrow_mut().take();
        let (node, _) = alone.expect("one is alone");
        self.come_to_itself(node);
        self.meet();
    }

    /// All write at another store what they have.
    fn meet(&mut self) {
        for settled in [false, true] {
            self.settled = settled;
            self.tell_all();
            self.pass(500);
        }
    }

    /// A client of a node, which has said `hello`. And its resume token.
    pub fn connect(&mut self, node: usize) -> (At, String) {
        let client = self.node(node).connect();
        let at = (node, client);
        self.say(at, r#"{"type":"hello"}"#);
        let welcome = self.messages(at).remove(0);
        (at, text(&welcome["payload"]["resume_token"]))
    }

    /// A client shows its resume token, and that it has had nothing of a room.
    pub fn come_back(&mut self, node: usize, token: &str, room: &str) -> At {
        let client = self.node(node).connect();
        let positions = format!(r#"[{{"room_id":"{room}","first_seq":1}}]"#);
        let hello = format!(r#"{{"resume_token":"{token}","positions":{positions}}}"#);
        self.say(
            (node, client),
            &format!(r#"{{"type":"hello","payload":{hello}}}"#),
        );
        self.pass(100);
        (node, client)
    }

    /// A client that is in a room. What anybody got of it is dropped.
    pub fn member(&mut self, node: usize, room: &str) -> At {
        let (at, _) = self.connect(node);
        self.say(at, &format!(r#"{{"type":"join_room","room_id":"{room}"}}"#));
        self.drop_all();
        at
    }

    /// Drops what all clients got.
    pub fn drop_all(&mut self) {
        for node in self.living() {
            for client in 0..self.node(node).sockets.len() {
                self.node(node).drain(client);
            }
        }
    }

    pub fn say(&mut self, (node, client): At, json: &str) {
        self.node(node).send(client, json);
        self.settle();
    }

    pub fn messages(&mut self, (node, client): At) -> Vec<Value> {
        self.settle();
        self.node(node).messages(client)
    }

    pub fn types(&mut self, at: At) -> Vec<String> {
        let messages = self.messages(at);
        messages.iter().map(|it| text(&it["type"])).collect()
    }

    /// How many players a member is told of.
    pub fn total(&mut self, at: At, room: &str) -> u64 {
        self.say(at, &format!(r#"{{"type":"members","room_id":"{room}"}}"#));
        let got = self.messages(at);
        let members = got.iter().find(|it| it["type"] == "members");
        members
            .and_then(|it| it["payload"]["total"].as_u64())
            .unwrap_or(0)
    }

    /// Another node takes a room from its home, which lives and does not know.
    pub fn steal(&mut self, room: &str, from: usize, to: usize) {
        let claim = Request::Claim(Claim {
            room: room.into(),
            home: self.home(to),
            store: STORE,
            dead: Some(self.home(from)),
            settled: true,
            epoch: Epoch::from_random(1),
            timestamp: 0,
            has: None,
            ends_after: 0,
            only_existing: false,
        });
        let now = self.node(to).now.unix_ms as u64;
        let claimed = self.model.borrow_mut().apply(now, &claim);
        assert!(matches!(claimed, Ok(Answer::Claim(Claimed::Loaded(_)))));
    }

    /// Takes what is on its way from a node to another.
    pub fn take_on_the_way(&mut self, from: usize, to: usize) -> Vec<OnTheWay> {
        let queue = self.queues.remove(&(from, to)).unwrap_or_default();
        queue.into()
    }

    /// Brings letters to a node, as if `from` had sent them.
    pub fn bring(&mut self, from: usize, to: usize, letters: &[OnTheWay]) {
        let queue = self.queues.entry((from, to)).or_default();
        queue.extend(letters.iter().cloned());
        self.let_go(from, to);
    }

    /// The same, and nothing goes on yet.
    pub fn put_on_the_way(&mut self, from: usize, to: usize, letters: Vec<OnTheWay>) {
        self.queues.entry((from, to)).or_default().extend(letters);
    }

    pub fn is_open(&mut self, (node, client): At) -> bool {
        self.node(node).sockets[client].open
    }

    /// The node that the store has as a room's home.
    pub fn home_of(&mut self, room: &str) -> Option<usize> {
        let now = self.living().first().copied();
        let now = now.map_or(0, |node| self.node(node).now.unix_ms as u64);
        let record = self.model.borrow().room(now, room)?;
        record.header.home.map(|it| it.node.0 as usize - 1)
    }
}
