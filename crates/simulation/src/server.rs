//! A node of several shards, each driven as the server drives it: it takes a turn where there is a reason for one.

use std::cell::RefCell;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

use roomcast_core::driver::{Driver, Pace};
use roomcast_core::node::ClusterView;
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::{NoStore, NodeId, StoreId};
use roomcast_core::{Access, BatcherLimits, ForNode, Kinds, LogicFactory, ShardConfig};
use roomcast_protocol::Format;
use roomcast_websocket::Scratch;

use crate::clock::Clock;
use crate::fragile::Fragile;
use crate::host::SimHost;
use crate::ledger::Ledger;
use crate::machine::{Machine, Mailbox, Order, Poll, Socket, Stored};
use crate::network::Network;
use crate::random::Random;
use crate::store::{Cloud, SimStore};

/// Bytes of frames that were begun, and of answers, that may wait beside what lanes are bounded to.
const BESIDE: usize = 6 * 1024;
/// Bytes of one answer that lists: a page of history has records of 24 KiB, one of members has 32 KiB.
const PAGE: usize = 48 * 1024;

/// Bytes that an inbox without messages takes, at most.
const INBOX: usize = 512;

/// A shard's driver, without or with a store.
enum Shard {
    Alone(Driver<SimHost, NoStore, Socket>),
    Stored(Driver<SimHost, SimStore, Socket>),
}

/// Does the same with either.
macro_rules! with {
    ($shard:expr, $driver:ident => $does:expr) => {
        match $shard {
            Shard::Alone($driver) => $does,
            Shard::Stored($driver) => $does,
        }
    };
}

struct Worker {
    driver: Shard,
    poll: Poll,
    /// The last turn left something to do.
    more: bool,
    /// It is to turn, whether or not there is something to do.
    woken: bool,
    /// Turns that were not told of yet.
    turns: u64,
    /// When its driver wakes by itself, as it has said after its last turn: who asks each time asks for most of a schedule.
    wake: Option<u64>,
}

impl Worker {
    fn note_wake(&mut self) {
        self.wake = with!(&self.driver, it => it.next_wake());
    }
}

pub(crate) struct Server {
    workers: Vec<Worker>,
    mailboxes: Vec<Mailbox>,
    scratch: Scratch,
    settings: Arc<Settings>,
    log_ceiling: usize,
    random: Random,
    stored: Option<Stored>,
    pub(crate) clock: Clock,
    /// Connections that were made to it.
    wires: Vec<usize>,
    /// Letters for other nodes: from which shard, to which one, what.
    pub(crate) post: Vec<(u16, ForNode)>,
    /// Of a thousand times that there is mail, how often it is taken later.
    pub(crate) slow_links: u64,
    /// How often the way to the store had changed when the workers were asked for their wakes.
    ways: u64,
}

/// What a node is made from.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) shards: u16,
    pub(crate) settings: Settings,
    pub(crate) kinds: Vec<Kind>,
    /// Bytes that the logs of a shard may hold; 0 is any.
    pub(crate) log_ceiling: usize,
    pub(crate) slow_links: u64,
    pub(crate) pace: Pace,
    pub(crate) stopwatch_step: u64,
}

/// Which node it is.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    pub(crate) node: NodeId,
    pub(crate) clock: Clock,
    /// The same on all nodes; `None`: its own.
    pub(crate) hash_key: Option<[u64; 2]>,
    /// The cluster as it is known at first.
    pub(crate) view: Arc<ClusterView>,
}

impl Birth {
    /// The only node that there is.
    pub(crate) fn alone(cloud: Option<&Rc<RefCell<Cloud>>>) -> Birth {
        let view = cloud.map(|cloud| cloud.borrow_mut().next_node());
        let view = view.unwrap_or_default();
        Birth {
            node: view.own.map_or(NodeId(0), |own| own.home.node),
            clock: Clock::TRUE,
            hash_key: None,
            view,
        }
    }
}

impl Server {
    pub(crate) fn new(
        setup: &Setup,
        ledger: &Rc<RefCell<Ledger>>,
        cloud: Option<&Rc<RefCell<Cloud>>>,
        birth: Birth,
        mut random: Random,
    ) -> Server {
        let Birth {
            node,
            clock,
            hash_key,
            view,
        } = birth;
        let settings = Arc::new(Settings {
            log_memory: setup.log_ceiling * usize::from(setup.shards),
            ..setup.settings.clone()
        });
        let mut kinds = Kinds::new(false);
        for kind in &setup.kinds {
            let fragile: LogicFactory = Arc::new(|_| Box::new(Fragile));
            let logic = (kind.name == "fragile").then_some(fragile);
            kinds.insert(kind.clone(), logic);
        }
        let kinds = Arc::new(kinds);
        let own_key = [random.next(), random.next()];
        let hash_key = hash_key.unwrap_or(own_key);
        let workers = (0..setup.shards).map(|index| {
            let config = ShardConfig {
                index,
                count: setup.shards,
                settings: settings.clone(),
                kinds: kinds.clone(),
                batcher: BatcherLimits::default(),
                hash_key,
            };
            let host = SimHost {
                ledger: ledger.clone(),
                node,
                clock,
                random: Random(random.next()),
                stopwatch: 0,
                stopwatch_step: setup.stopwatch_step,
            };
            let driver = match cloud {
                None => Shard::Alone(Driver::new(config, setup.pace, host, NoStore)),
                Some(cloud) => {
                    let store = SimStore::new(cloud, node, clock);
                    let mut driver = Driver::new(config, setup.pace, host, store);
                    driver.shard_mut().set_cluster(view.clone());
                    Shard::Stored(driver)
                }
            };
            let mut worker = Worker {
                driver,
                poll: Poll::default(),
                more: false,
                woken: false,
                turns: 0,
                wake: None,
            };
            worker.note_wake();
            worker
        });
        Server {
            workers: workers.collect(),
            mailboxes: (0..setup.shards)
                .map(|_| Mailbox::new(setup.shards))
                .collect(),
            scratch: Scratch::new(),
            settings,
            log_ceiling: setup.log_ceiling,
            random,
            stored: cloud.map(|cloud| (cloud.clone(), ledger.clone())),
            clock,
            wires: Vec::new(),
            post: Vec::new(),
            slow_links: setup.slow_links,
            ways: 0,
        }
    }

    /// A connection was made, whose request says this of its client.
    pub(crate) fn accept_as(&mut self, wire: usize, format: Format, access: Access) {
        let shard = self.random.below(self.mailboxes.len() as u64) as usize;
        self.wires.push(wire);
        self.mailboxes[shard].newcomers.push((wire, format, access));
    }

    /// Whether a node that has come to rest may have something to do before its time: by what clients have sent, or what
    /// has become of the way to the store.
    pub(crate) fn stirs(&self, now: u64, net: &Network) -> bool {
        let ways = self.stored.as_ref().map_or(0, |it| it.0.borrow().ways());
        ways != self.ways || self.workers.iter().any(|it| it.poll.stirs(now, net))
    }

    /// Turns until nothing is left to do at this moment. Whether there was anything.
    pub(crate) fn run(&mut self, now: u64, net: &mut Network) -> bool {
        let ways = self.stored.as_ref().map_or(0, |it| it.0.borrow().ways());
        if std::mem::replace(&mut self.ways, ways) != ways {
            self.workers.iter_mut().for_each(Worker::note_wake);
        }
        for turns in 0.. {
            assert!(turns < 10_000, "the server does not come to rest");
            let mut busy = false;
            for shard in 0..self.workers.len() {
                busy |= self.turn(shard, now, net);
            }
            if !busy {
                self.check_rest(now, net);
                return turns > 0;
            }
        }
        true
    }

    /// Where all shards sleep, nothing is left unread that may be read.
    fn check_rest(&mut self, now: u64, net: &Network) {
        for Worker { driver, poll, .. } in &mut self.workers {
            for (conn, wire, _) in poll.polled() {
                if !net.wires[wire].up.is_readable(now) {
                    continue;
                }
                let open = with!(driver, it => {
                    it.open_socket(conn).is_some() && it.shard().may_read(conn)
                });
                assert!(
                    !open,
                    "a shard sleeps, and what a client has sent waits: {conn:?} on wire {wire} at {now}"
                );
            }
        }
    }

    /// A turn of a shard, if there is a reason for one: else it sleeps.
    fn turn(&mut self, index: usize, now: u64, net: &mut Network) -> bool {
        let at = self.clock.at(now);
        let has_mail = self.has_mail(index, now);
        let Worker {
            driver,
            poll,
            more,
            woken,
            turns,
            wake,
        } = &mut self.workers[index];
        let ready = with!(driver, it => poll.tell(it, now, net));
        let late = wake.is_some_and(|wake| wake <= at.micros);
        let woken = std::mem::take(woken);
        if !(*more || has_mail || ready || late || woken) {
            return false;
        }
        let mut machine = Machine {
            index,
            ms: now,
            now: at,
            has_mail,
            net,
            poll,
            mailboxes: &mut self.mailboxes,
            scratch: &mut self.scratch,
            random: &mut self.random,
            max_message: self.settings.max_message,
            store: self.stored.clone(),
            post: &mut self.post,
        };
        *more = with!(driver, it => it.turn(at, &mut machine));
        *turns += 1;
        self.workers[index].note_wake();
        self.look(index, now, net);
        true
    }

    /// Whether the shard looks into its mailbox now, where there is something.
    fn has_mail(&mut self, index: usize, now: u64) -> bool {
        let mailbox = &mut self.mailboxes[index];
        if mailbox.slow_until > now || mailbox.is_empty() {
            return false;
        }
        let slow = self.random.chance(self.slow_links);
        if slow {
            mailbox.slow_until = now + 1 + self.random.below(30);
        }
        !slow
    }

    /// Looks at the connections of a shard: what waits for one stays within its bound.
    fn look(&mut self, index: usize, now: u64, net: &mut Network) {
        let Worker { driver, poll, .. } = &mut self.workers[index];
        for (conn, wire, full) in poll.polled() {
            if with!(driver, it => it.open_socket(conn).is_none()) {
                let wire = &mut net.wires[wire];
                wire.released_at = wire.released_at.min(now);
            }
            if !full {
                continue;
            }
            let mut slices = [IoSlice::new(&[]); 512];
            let count = with!(driver, it => it.shard_mut().gather(conn, &mut slices));
            // What was begun is finished: a page of history may be larger than these small lanes.
            let begun = slices[0].len();
            assert!(
                begun <= PAGE,
                "{begun} bytes of one chunk wait for a connection"
            );
            let waiting: usize = slices[..count].iter().skip(1).map(|it| it.len()).sum();
            // A slice may be a frame of state that was begun, and those are bounded like events.
            let most = 2 * self.settings.event_lane + self.settings.control_lane + BESIDE;
            assert!(
                waiting <= most,
                "{waiting} bytes wait for a connection, and {most} may"
            );
        }
    }

    /// Asks everybody to come back.
    pub(crate) fn announce(&mut self, spread_ms: u64) {
        for mailbox in &mut self.mailboxes {
            mailbox.announce = Some(spread_ms);
        }
    }

    /// All shards are told the same.
    pub(crate) fn order_all(&mut self, order: &Order) {
        for shard in 0..self.mailboxes.len() {
            self.order(shard, order.clone());
        }
    }

    /// A shard is told something.
    pub(crate) fn order(&mut self, shard: usize, order: Order) {
        self.mailboxes[shard].orders.push(order);
    }

    /// A shard turns.
    pub(crate) fn wake(&mut self, shard: u16) {
        self.workers[usize::from(shard)].woken = true;
    }

    /// Tells which shards have turned since this was asked last, and at which stores each has written its rooms.
    pub(crate) fn tell_turned(&mut self, mut tell: impl FnMut(u16, Vec<StoreId>)) {
        for (shard, it) in (0..).zip(&mut self.workers) {
            if std::mem::take(&mut it.turns) > 0 {
                tell(
                    shard,
                    with!(&mut it.driver, it => it.shard_mut().settled_at()),
                );
            }
        }
    }

    /// Whether the store has all that was here, and no order waits.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut shards = self.workers.iter().zip(&self.mailboxes);
        shards.all(|(it, mailbox)| {
            mailbox.is_empty() && with!(&it.driver, driver => driver.shard().is_quiet())
        })
    }

    /// The process stops: what its shards have asked of the store may be done all the same.
    pub(crate) fn stop(&mut self, now: u64) {
        for worker in &mut self.workers {
            if let Shard::Stored(driver) = &mut worker.driver {
                driver.shard_mut().store().send_all(now);
            }
            worker.note_wake();
        }
    }

    /// The process is killed.
    pub(crate) fn kill(mut self, now: u64, net: &mut Network) {
        for worker in &mut self.workers {
            if let Shard::Stored(driver) = &mut worker.driver {
                driver.shard_mut().store().kill();
            }
        }
        for wire in self.wires {
            if net.wires[wire].server_open {
                net.cut_now(wire, now);
                net.server_ends(wire, now);
            }
        }
    }

    /// Milliseconds at which there is something to do.
    pub(crate) fn due(&self, now: u64) -> Option<u64> {
        let wakes = self.workers.iter().filter_map(|it| it.wake);
        let slow = self.mailboxes.iter().map(|mailbox| mailbox.slow_until);
        wakes
            .map(|wake| self.clock.moment(wake))
            .chain(slow)
            .filter(|due| *due > now)
            .min()
    }

    /// Connections, sessions without one, and users.
    pub(crate) fn counts(&mut self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for worker in &mut self.workers {
            let (connections, (parked, users)) = with!(&worker.driver, it => {
                (it.shard().connections(), it.shard().sessions())
            });
            counts = (counts.0 + connections, counts.1 + parked, counts.2 + users);
        }
        counts
    }

    /// Rooms at home here, and those that connections are in.
    pub(crate) fn rooms(&mut self) -> (usize, usize) {
        let workers = self.workers.iter_mut();
        let rooms = workers.map(|it| with!(&it.driver, driver => driver.shard().rooms()));
        rooms.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    }

    /// Pieces in lanes, chunks held for them, bytes in logs.
    pub(crate) fn held(&mut self) -> (usize, usize, usize) {
        let mut held = (0, 0, 0);
        for worker in &mut self.workers {
            let stats = with!(&mut worker.driver, it => it.shard_mut().stats());
            held = (
                held.0 + stats.lane_pieces,
                held.1 + stats.chunks,
                held.2 + stats.log_bytes,
            );
        }
        held
    }

    /// Every queue that can be seen from here is within its bound.
    pub(crate) fn check_bounds(&mut self) {
        for worker in &mut self.workers {
            let link = with!(&worker.driver, it => it.shard().link_bytes());
            // A round of a room's fan-out goes over it.
            let most = self.settings.link_window + 512 * 1024;
            assert!(
                link <= most,
                "{link} bytes are on their way to other shards"
            );
            let inboxes = with!(&mut worker.driver, it => it.shard_mut().stats()).inbox_bytes;
            let sessions = with!(&worker.driver, it => {
                it.shard().connections() + it.shard().sessions().0
            });
            // Of an inbox that was emptied its place is left.
            let most = self.settings.inbox_memory / self.mailboxes.len() + INBOX * (sessions + 1);
            assert!(
                inboxes <= most,
                "inboxes hold {inboxes} bytes, and {most} is the most"
            );
            let stats = with!(&mut worker.driver, it => it.shard_mut().stats());
            let most = self.settings.unconfirmed.1 + 512 * 1024;
            let held = stats.unconfirmed_bytes;
            assert!(held <= most, "{held} bytes wait for the store");
            let logs = stats.log_bytes;
            // What open rooms and their members cost can't go.
            let most = self.log_ceiling + 16 * 1024;
            assert!(
                self.log_ceiling == 0 || logs <= most,
                "logs hold {logs} bytes, and {most} is the most"
            );
        }
    }

    /// A sum over all shards.
    pub(crate) fn count(&mut self, of: impl Fn(&roomcast_core::Stats) -> u64) -> u64 {
        let workers = self.workers.iter_mut();
        workers
            .map(|it| of(with!(&mut it.driver, driver => driver.shard_mut().stats())))
            .sum()
    }
}
