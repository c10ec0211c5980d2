//! The nodes: one that is alone, or several with one store and links between them.
//!
//! Each of several has its own clock and its own place in the cluster, which is the machine that the server ships.

mod cut_off;

use std::cell::RefCell;
use std::rc::Rc;

use roomcast_core::Access;
use roomcast_core::cluster::{Cluster, ClusterEvent};
use roomcast_core::node::NodeSettings;
use roomcast_core::post::{PostKey, PostSettings};
use roomcast_core::store::{Beat, Cause, NodeId, StoreError, Ticket};
use roomcast_protocol::Format;

use crate::clock::Clock;
use crate::ledger::Ledger;
use crate::links::{Flight, Links};
use crate::machine::Order;
use crate::network::Network;
use crate::random::Random;
use crate::server::{Birth, Server, Setup};
use crate::store::Cloud;

/// A node.
struct Node {
    id: NodeId,
    server: Server,
    /// Where there are several.
    cluster: Option<Cluster>,
    /// It stands still before this time.
    stopped_until: u64,
    /// It ends politely, and until when it takes the step that it is at.
    drain: Option<(Drain, u64)>,
    /// Something was done with it since it came to rest. A node that rests is not asked what it has to do: most are at
    /// rest at most moments, and asking them all took half the time of a schedule.
    touched: bool,
    /// It has asked its clients to come back elsewhere, and a balancer that looks sends it none.
    is_red: bool,
    /// At rest: when there is something to do by itself.
    rests_until: u64,
}

/// What several nodes share.
struct Shared {
    cloud: Rc<RefCell<Cloud>>,
    links: Links,
    hash_key: [u64; 2],
    /// Whether the first by rank claims a room, or whoever needs it.
    rank_key: Option<u64>,
    post: PostSettings,
    born: u64,
    /// Milliseconds without a lease after which a node's clients are better off at another one, where nodes look for that.
    cut_off_after: Option<u64>,
    /// How often a node has asked its clients to come back elsewhere.
    sent_away: u64,
}

pub(crate) struct Fleet {
    /// Nodes that have ended politely.
    pub(crate) drained: u64,
    nodes: Vec<Node>,
    shared: Option<Shared>,
    random: Random,
}

impl Fleet {
    /// One node.
    pub(crate) fn alone(server: Server) -> Fleet {
        let node = Node {
            id: NodeId(0),
            server,
            cluster: None,
            stopped_until: 0,
            drain: None,
            touched: true,
            is_red: false,
            rests_until: 0,
        };
        Fleet {
            drained: 0,
            nodes: vec![node],
            shared: None,
            random: Random(0),
        }
    }

    /// None yet of several.
    pub(crate) fn new(cloud: &Rc<RefCell<Cloud>>, links: Links, mut random: Random) -> Fleet {
        let post = PostSettings {
            window: random.pick(&[20_000, 1 << 20]),
            datagram: random.pick(&[1_500, 1 << 20]),
            ..PostSettings::default()
        };
        let hash_key = [random.next(), random.next()];
        let rank_key = (!hash_key[0].is_multiple_of(3)).then_some(hash_key[1]);
        Fleet {
            drained: 0,
            nodes: Vec::new(),
            shared: Some(Shared {
                cloud: cloud.clone(),
                links,
                hash_key,
                rank_key,
                post,
                born: 0,
                cut_off_after: None,
                sent_away: 0,
            }),
            random,
        }
    }

    /// A node begins.
    pub(crate) fn begin(&mut self, now: u64, setup: &Setup, ledger: &Rc<RefCell<Ledger>>) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        shared.born += 1;
        // In any order.
        let id = NodeId(self.random.next() << 8 | shared.born);
        let clock = Clock::draw(&mut self.random);
        let birth = Birth {
            node: id,
            clock,
            hash_key: Some(shared.hash_key),
            view: Default::default(),
        };
        let random = Random(self.random.next());
        let server = Server::new(setup, ledger, Some(&shared.cloud), birth, random);
        let settings = NodeSettings {
            rank_key: shared.rank_key,
            ..NodeSettings::new(id, setup.shards)
        };
        let key = PostKey::new(&[7; 32]);
        let mut cluster = Cluster::new(settings, shared.post.clone(), key);
        cluster.store_is(clock.at(now), shared.cloud.borrow().store());
        self.nodes.push(Node {
            id,
            server,
            cluster: Some(cluster),
            stopped_until: 0,
            drain: None,
            touched: true,
            is_red: false,
            rests_until: 0,
        });
    }

    /// The only node is another one from now on. The one before.
    pub(crate) fn replace(&mut self, server: Server) -> Server {
        let node = &mut self.nodes[0];
        node.touched = true;
        std::mem::replace(&mut node.server, server)
    }

    /// A node is killed.
    pub(crate) fn kill(&mut self, which: usize, now: u64, net: &mut Network) {
        self.nodes.remove(which).server.kill(now, net);
    }

    /// A node ends politely. False if it does already.
    pub(crate) fn drain(&mut self, which: usize, now: u64) -> bool {
        let node = &mut self.nodes[which];
        let begins = node.drain.is_none();
        if begins {
            node.touched = true;
            node.server.announce(500);
            node.server.order_all(&Order::ClaimNothing);
            node.drain = Some((Drain::Asked, now + 700));
        }
        begins
    }

    /// Nodes that take connections.
    pub(crate) fn serving(&self) -> usize {
        self.nodes.iter().filter(|it| it.drain.is_none()).count()
    }

    /// A node stands still.
    pub(crate) fn stop(&mut self, which: usize, now: u64, until: u64) {
        let node = &mut self.nodes[which];
        node.touched = true;
        node.server.stop(now);
        node.stopped_until = until;
    }

    /// Between a node and the store, or another node, there is no way until then.
    pub(crate) fn cut(&mut self, which: usize, other: Option<usize>, both: bool, until: u64) {
        let one = self.nodes[which].id;
        let other = other.map(|other| self.nodes[other].id);
        let Some(shared) = &mut self.shared else {
            return;
        };
        match other {
            Some(other) => {
                shared.links.cut(one, other, until);
                if both {
                    shared.links.cut(other, one, until);
                }
            }
            None => shared.cloud.borrow_mut().cut_off(one, until),
        }
    }

    /// All goes well from now on.
    pub(crate) fn heal(&mut self) {
        for node in &mut self.nodes {
            node.touched = true;
            node.server.slow_links = 0;
            node.stopped_until = 0;
        }
        if let Some(shared) = &mut self.shared {
            shared.links.heal();
        }
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.shared.is_none()
    }

    pub(crate) fn node_id(&self, which: usize) -> NodeId {
        self.nodes[which].id
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A connection was made.
    pub(crate) fn accept(&mut self, wire: usize, format: Format) {
        self.accept_as(wire, format, Access::ANONYMOUS);
    }

    /// A connection was made, whose request says this of its client: to any node.
    pub(crate) fn accept_as(&mut self, wire: usize, format: Format, access: Access) {
        let mut serving: Vec<_> = self.nodes.iter_mut().collect();
        serving.retain(|node| node.drain.is_none());
        // A balancer may be late, and where all are red it chooses any.
        let green = serving.iter().filter(|node| !node.is_red).count();
        if green > 0 && green < serving.len() && self.random.chance(900) {
            serving.retain(|node| !node.is_red);
        }
        let which = match serving.len() {
            1 => 0,
            nodes => self.random.below(nodes as u64) as usize,
        };
        serving[which].touched = true;
        serving[which].server.accept_as(wire, format, access);
    }

    /// Turns until nothing is left to do at this moment. Whether there was anything.
    pub(crate) fn run(&mut self, now: u64, net: &mut Network) -> bool {
        let mut any = false;
        for rounds in 0.. {
            assert!(rounds < 10_000, "the nodes do not come to rest");
            let mut busy = self.arrive(now);
            self.look_who_is_cut_off(now);
            for node in self.nodes.iter_mut().filter(|it| it.stopped_until <= now) {
                if !node.rests(now, net) {
                    busy |= node.run(now, net, &mut self.shared);
                }
            }
            while let Some(which) = self.nodes.iter().position(Node::has_drained) {
                self.drained += 1;
                self.kill(which, now, net);
            }
            any |= busy;
            if !busy || self.shared.is_none() {
                break;
            }
        }
        any
    }

    /// What is on its way arrives.
    fn arrive(&mut self, now: u64) -> bool {
        let mut any = false;
        while let Some(flight) = self.shared.as_mut().and_then(|it| it.links.next(now)) {
            any = true;
            let to = flight.reaches();
            let node = self.nodes.iter_mut().find(|it| Some(it.id) == to);
            let Some(shared) = &mut self.shared else {
                continue;
            };
            if let Some(node) = &node
                && node.stopped_until > now
            {
                // It waits in a socket, or there is no room for it.
                let lost =
                    matches!(flight, Flight::Datagram { .. }) && shared.links.random.chance(500);
                if !lost {
                    shared.links.at(node.stopped_until, flight);
                }
                continue;
            }
            match (flight, node) {
                (Flight::Beat { from, ticket, beat }, _) => shared.beat(now, from, ticket, beat),
                (flight, Some(node)) => node.take(now, flight, shared),
                (_, None) => {}
            }
        }
        any
    }

    /// Milliseconds at which there is something to do.
    pub(crate) fn due(&self, now: u64) -> Option<u64> {
        let nodes = self.nodes.iter().filter_map(|node| node.due(now));
        let links = self.shared.as_ref().and_then(|it| it.links.due());
        nodes.chain(links).filter(|due| *due > now).min()
    }

    /// Asks everybody to come back.
    pub(crate) fn announce(&mut self, spread_ms: u64) {
        let which = self.random.below(self.nodes.len() as u64) as usize;
        self.nodes[which].touched = true;
        self.nodes[which].server.announce(spread_ms);
    }

    /// Connections, sessions without one, and users.
    pub(crate) fn counts(&mut self) -> (usize, usize, usize) {
        let counts = self.nodes.iter_mut().map(|it| it.server.counts());
        counts.fold((0, 0, 0), |sum, it| {
            (sum.0 + it.0, sum.1 + it.1, sum.2 + it.2)
        })
    }

    /// Rooms at home, and those that connections are in, by node.
    pub(crate) fn rooms(&mut self) -> (usize, usize) {
        let rooms = self.nodes.iter_mut().map(|it| it.server.rooms());
        rooms.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    }

    /// Pieces in lanes, chunks held for them, bytes in logs.
    pub(crate) fn held(&mut self) -> (usize, usize, usize) {
        let held = self.nodes.iter_mut().map(|it| it.server.held());
        held.fold((0, 0, 0), |sum, it| {
            (sum.0 + it.0, sum.1 + it.1, sum.2 + it.2)
        })
    }

    /// Every queue that can be seen from here is within its bound.
    pub(crate) fn check_bounds(&mut self) {
        for node in &mut self.nodes {
            node.server.check_bounds();
        }
    }

    /// Links that were lost, as living nodes have counted them.
    pub(crate) fn links_lost(&mut self) -> u64 {
        let clusters = self.nodes.iter_mut().filter_map(|it| it.cluster.as_mut());
        clusters.map(|it| it.stats().2.links_lost).sum()
    }

    /// A sum over all shards.
    pub(crate) fn count(&mut self, of: impl Fn(&roomcast_core::Stats) -> u64 + Copy) -> u64 {
        self.nodes.iter_mut().map(|it| it.server.count(of)).sum()
    }
}

/// How far a node is that ends politely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Its clients are asked to come back elsewhere.
    Asked,
    /// Its connections are being closed.
    Empties,
    /// Its rooms go to other nodes.
    GivesUp,
    /// Its last beat says that it has ended.
    Says,
    /// The process ends.
    Over,
}

/// Milliseconds after which a node that ends goes on though something is left.
const DRAIN: u64 = 3_000;

impl Node {
    /// Whether there is nothing to do at this moment.
    fn rests(&self, now: u64, net: &Network) -> bool {
        let is_left_alone = !self.touched && self.drain.is_none() && now < self.rests_until;
        is_left_alone && !self.server.stirs(now, net)
    }

    /// A round of all that it has to do. Whether there was anything.
    fn run(&mut self, now: u64, net: &mut Network, shared: &mut Option<Shared>) -> bool {
        // Neither has anything left after that, unless the shards are told something.
        self.touched = false;
        let mut busy = self.server.run(now, net);
        if let Some(shared) = shared {
            busy |= self.follow(now, shared);
            busy |= self.go_on_draining(now);
        }
        if !self.touched {
            self.rests_until = self.wakes_at(now).unwrap_or(u64::MAX);
        }
        busy
    }

    fn has_drained(&self) -> bool {
        self.drain.is_some_and(|(drain, _)| drain == Drain::Over)
    }

    /// It takes its next step, once nothing is left of the one before, or that takes too long.
    fn go_on_draining(&mut self, now: u64) -> bool {
        let Some((drain, until)) = self.drain else {
            return false;
        };
        let late = until <= now;
        let at = self.server.clock.at(now);
        let Some(cluster) = &mut self.cluster else {
            return false;
        };
        let next = match drain {
            Drain::Asked if late => {
                self.server.order_all(&Order::Empty);
                Drain::Empties
            }
            Drain::Empties if late || self.server.counts().0 == 0 => {
                self.server.order_all(&Order::GiveUp);
                Drain::GivesUp
            }
            Drain::GivesUp if self.server.is_quiet() && cluster.is_flushed() => {
                cluster.end(at);
                Drain::Says
            }
            // A shard that is cut may act for its rooms yet, so nothing is said.
            Drain::GivesUp if late => Drain::Over,
            Drain::Says if late || cluster.has_ended() => Drain::Over,
            _ => return false,
        };
        self.drain = Some((next, now + DRAIN));
        true
    }

    /// Something arrives.
    fn take(&mut self, now: u64, flight: Flight, shared: &mut Shared) {
        self.touched = true;
        let at = self.server.clock.at(now);
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        match flight {
            Flight::Datagram { bytes, .. } => cluster.handle(at, &bytes),
            Flight::Taken { to, .. } => cluster.taken(at, to),
            Flight::Beaten { ticket, answer, .. } => {
                let other = *answer == Err(StoreError::Again(Cause::OtherStore));
                cluster.answered(at, ticket, *answer);
                if other {
                    // It looks which one it is.
                    let store = shared.cloud.borrow().store();
                    let later = now + shared.links.random.below(500);
                    let to = self.id;
                    shared.links.at(later, Flight::Store { to, store });
                }
            }
            Flight::Store { store, .. } => cluster.store_is(at, store),
            Flight::Beat { .. } => {}
        }
    }

    /// Tells the cluster what the shards have done, and the shards what the cluster says.
    fn follow(&mut self, now: u64, shared: &mut Shared) -> bool {
        let at = self.server.clock.at(now);
        let Some(cluster) = &mut self.cluster else {
            return false;
        };
        let mut any = false;
        for (from, letters) in self.server.post.drain(..) {
            any = true;
            cluster.send(at, from, letters);
        }
        self.server
            .tell_turned(|shard, settled_at| cluster.turned(shard, settled_at));
        while let Some(event) = cluster.poll_event() {
            (any, self.touched) = (true, true);
            match event {
                ClusterEvent::View(view) => self.server.order_all(&Order::View(view)),
                ClusterEvent::Forget(node) => self.server.order_all(&Order::Forget(node)),
                ClusterEvent::Lost(node) => self.server.order_all(&Order::Lost(node)),
                ClusterEvent::SendAway => {
                    shared.sent_away += 1;
                    self.is_red = true;
                    self.server.order_all(&Order::SendAway);
                }
                ClusterEvent::Letter { from, to, bytes } => {
                    self.server
                        .order(usize::from(to), Order::Letter(from, bytes));
                }
            }
        }
        if cluster.beat_at().is_some_and(|beat| beat <= at.micros) {
            let waits: Vec<_> = cluster.waits_for().collect();
            for shard in waits {
                (any, self.touched) = (true, true);
                self.server.wake(shard);
            }
        }
        while let Some((ticket, beat)) = cluster.poll_beat(at) {
            any = true;
            let from = self.id;
            let beat = Box::new(beat);
            shared.send_beat(now, Flight::Beat { from, ticket, beat });
        }
        while let Some((to, bytes)) = cluster.poll_transmit(at) {
            any = true;
            shared.links.send(now, self.id, to, bytes);
        }
        any
    }

    fn due(&self, now: u64) -> Option<u64> {
        if self.stopped_until > now {
            return Some(self.stopped_until);
        }
        match self.touched {
            true => self.wakes_at(now),
            false => Some(self.rests_until).filter(|due| *due < u64::MAX),
        }
    }

    fn wakes_at(&self, now: u64) -> Option<u64> {
        let wake = self.cluster.as_ref().and_then(|it| it.next_wake());
        let wake = wake.map(|at| self.server.clock.moment(at));
        let drain = self.drain.map(|(_, until)| until);
        let wakes = wake.into_iter().chain(self.server.due(now)).chain(drain);
        wakes.filter(|due| *due > now).min()
    }
}

impl Shared {
    fn send_beat(&mut self, now: u64, beat: Flight) {
        let delay = self.cloud.borrow().temper.delay;
        let due = now + self.links.random.below(delay + 1);
        self.links.at(due, beat);
    }

    fn beat(&mut self, now: u64, from: NodeId, ticket: Ticket, beat: Box<Beat>) {
        let mut cloud = self.cloud.borrow_mut();
        let temper = cloud.temper;
        let answer = if cloud.is_cut_off(from, Clock::TRUE.at(now))
            || self.links.random.chance(temper.loses)
        {
            Err(StoreError::Again(Cause::Connection))
        } else {
            let answer = cloud.beat(now, beat);
            match self.links.random.chance(temper.loses_answer) {
                true => Err(StoreError::Again(Cause::Timeout)),
                false => answer,
            }
        };
        let due = now + self.links.random.below(temper.delay + 1);
        let (to, answer) = (from, Box::new(answer));
        self.links.at(due, Flight::Beaten { to, ticket, answer });
    }
}
