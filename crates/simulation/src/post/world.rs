//! What happens to nodes and to the channel between them, and what must hold at the end.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::Now;
use roomcast_core::post::PostSettings;
use roomcast_core::store::{HomeName, NodeId};

use super::PostCounts;
use super::node::Node;
use crate::random::Random;

/// Microseconds for which things go wrong, and then until all must have come.
const FAULTS: u64 = 3_000_000;
const QUIET: u64 = 20_000_000;

/// What is to happen.
enum Happening {
    Datagram(NodeId, Vec<u8>),
    /// The channel has taken a datagram of the first to the second.
    Taken(NodeId, NodeId),
    /// A node hears who lives.
    Beat(NodeId),
    /// Somebody does something.
    Act,
}

/// How the channel fails, of a thousand datagrams each.
struct Faults {
    lose: u64,
    double: u64,
    spoil: u64,
    repeat_old: u64,
    delay: u64,
}

pub(super) struct World {
    now: u64,
    random: Random,
    /// By time, and then in their order.
    ahead: BTreeMap<(u64, u64), Happening>,
    order: u64,
    nodes: BTreeMap<NodeId, Node>,
    /// Those whose lease is held, as the store has it.
    leases: Vec<HomeName>,
    next_node: u64,
    /// Nodes that can't hear the channel until then.
    deaf: BTreeMap<NodeId, u64>,
    faults: Faults,
    old: Vec<(NodeId, Vec<u8>)>,
    settings: PostSettings,
    /// Nodes whose process has ended.
    ended: Vec<Node>,
    counts: PostCounts,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let faulty = |random: &mut Random, most| {
            if random.chance(700) {
                random.below(most)
            } else {
                0
            }
        };
        let faults = Faults {
            lose: faulty(&mut random, 300),
            double: faulty(&mut random, 200),
            spoil: faulty(&mut random, 100),
            repeat_old: faulty(&mut random, 100),
            delay: random.pick(&[0, 1_000, 10_000, 400_000]),
        };
        let settings = PostSettings {
            window: random.pick(&[3_000, 20_000, 1 << 20]),
            datagram: random.pick(&[200, 1_500, 1 << 20]),
            ack_bytes: random.pick(&[500, 1 << 18]),
            ..PostSettings::default()
        };
        let mut world = World {
            now: 1,
            random,
            ahead: BTreeMap::new(),
            order: 0,
            nodes: BTreeMap::new(),
            leases: Vec::new(),
            next_node: 1,
            deaf: BTreeMap::new(),
            faults,
            old: Vec::new(),
            settings,
            ended: Vec::new(),
            counts: PostCounts::default(),
        };
        for _ in 0..2 + world.random.below(3) {
            world.begin();
        }
        world.at(0, Happening::Act);
        world
    }

    pub(super) fn run(mut self) -> PostCounts {
        self.until(FAULTS);
        self.faults = Faults {
            lose: 0,
            double: 0,
            spoil: 0,
            repeat_old: 0,
            delay: 1_000,
        };
        self.deaf.clear();
        self.until(FAULTS + QUIET);
        self.all_has_come();
        self.count();
        self.counts
    }

    /// Goes on to this moment.
    fn until(&mut self, end: u64) {
        loop {
            let woken = self.nodes.values().filter_map(|node| node.post.next_wake());
            let planned = self.ahead.keys().next().map(|(at, _)| *at);
            let Some(at) = woken.chain(planned).min().filter(|at| *at < end) else {
                break;
            };
            self.now = self.now.max(at);
            while let Some(entry) = self.ahead.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let happening = entry.remove();
                self.happens(happening);
            }
            self.nodes_act();
        }
        self.now = end;
    }

    fn happens(&mut self, happening: Happening) {
        let now = self.now();
        match happening {
            Happening::Datagram(to, bytes) => {
                let hears = self.deaf.get(&to).is_none_or(|until| *until < self.now);
                if let Some(node) = self.nodes.get_mut(&to).filter(|_| hears) {
                    node.post.handle(now, &bytes);
                }
            }
            Happening::Taken(from, to) => {
                if let Some(node) = self.nodes.get_mut(&from) {
                    node.post.taken(now, to);
                }
            }
            Happening::Beat(node) => self.beat(node),
            Happening::Act if self.now < FAULTS => {
                self.act();
                let later = self.random.below(10_000);
                self.at(later, Happening::Act);
            }
            Happening::Act => {}
        }
    }

    /// The node hears who lives, and its own lease goes on.
    fn beat(&mut self, node: NodeId) {
        let (now, leases) = (self.now(), self.leases.clone());
        let Some(node) = self.nodes.get_mut(&node) else {
            return;
        };
        let own = leases.iter().find(|home| home.node == node.home.node);
        if let Some(own) = own {
            node.home = *own;
            // A node that gets no answer for a while may not act.
            let lease = self.random.pick(&[50_000, 2_000_000]);
            let lease = if self.now < FAULTS { lease } else { 2 * QUIET };
            node.until = Some(self.now + lease);
        } else {
            node.until = None;
        }
        node.living = leases;
        node.meet(now);
        let (node, later) = (node.home.node, 20_000 + self.random.below(200_000));
        self.at(later, Happening::Beat(node));
    }

    fn act(&mut self) {
        let nodes: Vec<_> = self.nodes.keys().copied().collect();
        let (one, other) = (self.random.pick(&nodes), self.random.pick(&nodes));
        match self.random.below(1000) {
            0..4 if nodes.len() < 6 => self.begin(),
            4..8 if nodes.len() > 2 => self.end(one),
            8..16 => self.leases.retain(|home| home.node != one),
            16..20 => {
                let until = self.now + self.random.below(500_000);
                self.deaf.insert(one, until);
            }
            20..60 => self.lease(one),
            _ => {
                let now = self.now();
                for _ in 0..self.random.below(20) {
                    let random = &mut self.random;
                    self.nodes.get_mut(&one).unwrap().send(now, other, random);
                }
            }
        }
    }

    /// A process begins.
    fn begin(&mut self) {
        let node = NodeId(self.random.next());
        self.next_node += 1;
        let home = HomeName { node, lease: 1 };
        self.nodes
            .insert(node, Node::new(home, self.settings.clone()));
        self.leases.push(home);
        self.at(0, Happening::Beat(node));
    }

    /// A process ends: the store has its lease for a while yet.
    fn end(&mut self, node: NodeId) {
        self.ended.extend(self.nodes.remove(&node));
        if self.random.chance(500) {
            self.leases.retain(|home| home.node != node);
        }
    }

    /// Nodes that lost their lease get another, and ended ones lose theirs.
    fn lease(&mut self, node: NodeId) {
        let nodes = &self.nodes;
        self.leases.retain(|home| nodes.contains_key(&home.node));
        if self.leases.iter().all(|home| home.node != node) {
            let mut home = self.nodes[&node].home;
            home.lease += 1;
            self.leases.push(home);
        }
    }

    fn nodes_act(&mut self) {
        let (now, mut out) = (self.now(), Vec::new());
        for node in self.nodes.values_mut() {
            while node.events() {
                node.meet(now);
            }
            while let Some((to, bytes)) = node.post.poll_transmit(now) {
                let may = node.until.is_some_and(|until| self.now < until);
                assert!(may, "speaks without its lease");
                assert!(bytes.len() <= node.settings.datagram, "bound not kept");
                out.push((node.home.node, to, bytes));
            }
        }
        for (from, to, bytes) in out {
            self.transmit(from, to, bytes);
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        let taken = self.random.below(3_000);
        self.at(taken, Happening::Taken(from, to));
        if self.random.chance(self.faults.lose) {
            return;
        }
        if self.random.chance(self.faults.repeat_old) && !self.old.is_empty() {
            let at = self.random.below(self.old.len() as u64) as usize;
            let (to, bytes) = self.old[at].clone();
            self.deliver(to, bytes);
        }
        if self.old.len() < 2_000 {
            self.old.push((to, bytes.clone()));
        }
        if self.random.chance(self.faults.double) {
            self.deliver(to, bytes.clone());
        }
        if self.random.chance(self.faults.spoil) {
            let mut bytes = bytes;
            self.spoil(&mut bytes);
            self.deliver(to, bytes);
        } else {
            self.deliver(to, bytes);
        }
    }

    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        let at = self.random.below(bytes.len() as u64) as usize;
        match self.random.below(3) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << self.random.below(8),
            _ => bytes.push(at as u8),
        }
    }

    fn deliver(&mut self, to: NodeId, bytes: Vec<u8>) {
        let later = 300 + self.random.below(self.faults.delay + 1);
        self.at(later, Happening::Datagram(to, bytes));
    }

    /// Over each link that holds at both ends everything has come, and each stream came over one link.
    fn all_has_come(&self) {
        let mut seen = BTreeSet::new();
        let mut come = BTreeMap::new();
        for node in self.nodes.values().chain(&self.ended) {
            for stream in node.received.values() {
                let link = stream.link.unwrap();
                assert!(seen.insert(link), "{link:?} came over two links");
                come.insert(link, stream.count);
            }
        }
        let lives = |node: &NodeId| self.leases.iter().any(|home| home.node == *node);
        for node in self.nodes.values() {
            let now = self.leases.iter().find(|home| home.node == node.home.node);
            for (number, stream) in &node.sent {
                let Some(link) = stream.link else { continue };
                let came = come.get(&link).copied().unwrap_or(0);
                assert!(came <= stream.count, "{link:?} brought what was not sent");
                let holds = now.is_some() && !node.lost.contains(number);
                if holds && self.nodes.contains_key(&link.2) && lives(&link.2) {
                    assert_eq!(came, stream.count, "{link:?} did not bring everything");
                    assert_eq!(node.post.kept(*number), 0, "{link:?} keeps what was acked");
                }
            }
            let waits = node.waits.iter().filter(|number| {
                let to = node.sent[number].link.unwrap().2;
                self.nodes.contains_key(&to) && lives(&to)
            });
            assert_eq!(waits.count(), 0, "nobody was told that there is room");
        }
    }

    fn count(&mut self) {
        for node in self.nodes.values().chain(&self.ended) {
            let stats = node.post.stats();
            self.counts.delivered += stats.letters_delivered;
            self.counts.sent_again += stats.pieces_again;
            self.counts.links += node.received.len() as u64;
            self.counts.lost += stats.links_lost;
            self.counts.given_up += stats.pieces_lost;
            self.counts.refused += stats.letters_refused;
            self.counts.large += u64::from(stats.pieces_sent > stats.letters);
            self.counts.gaps += stats.gaps;
            self.counts.unproven += stats.unproven;
            self.counts.old += stats.not_ours;
            assert!(stats.pieces_acked <= stats.pieces_sent, "{stats:?}");
            assert_eq!(stats.malformed, 0, "nodes send what they can't read");
        }
    }

    fn at(&mut self, later: u64, happening: Happening) {
        self.order += 1;
        self.ahead.insert((self.now + later, self.order), happening);
    }

    fn now(&self) -> Now {
        Now {
            micros: self.now,
            unix_ms: 0,
        }
    }
}
