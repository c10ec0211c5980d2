//! A node of several shards, each driven as the server drives it: it takes a turn where there is a reason for one.

use std::cell::RefCell;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

use roomcast_core::driver::{Driver, Pace};
use roomcast_core::settings::{Kind, Settings};
use roomcast_core::store::NoStore;
use roomcast_core::{Access, BatcherLimits, Kinds, LogicFactory, Now, ShardConfig};
use roomcast_protocol::Format;
use roomcast_websocket::Scratch;

use crate::fragile::Fragile;
use crate::host::SimHost;
use crate::ledger::Ledger;
use crate::machine::{Machine, Mailbox, Poll, Socket, Stored};
use crate::network::Network;
use crate::random::Random;
use crate::store::{Cloud, SimStore};

/// Milliseconds since the Unix epoch at which the virtual clock begins.
pub(crate) const START: i64 = 1_700_000_000_000;
/// Bytes of frames that were begun, and of answers, that may wait beside what lanes are bounded to.
const BESIDE: usize = 6 * 1024;
/// Bytes of one answer that lists: a page of history has records of 24 KiB, one of members has 32 KiB.
const PAGE: usize = 48 * 1024;

/// Bytes that an inbox without messages takes, at most.
const INBOX: usize = 512;

/// The time that the core is given at a millisecond of the virtual clock.
pub(crate) fn time(now: u64) -> Now {
    Now {
        micros: 1_000_000 + now * 1_000,
        unix_ms: START + now as i64,
    }
}

/// The millisecond of the virtual clock at which it is that late for the core.
fn moment(micros: u64) -> u64 {
    micros.saturating_sub(1_000_000).div_ceil(1_000)
}

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
}

pub(crate) struct Server {
    workers: Vec<Worker>,
    mailboxes: Vec<Mailbox>,
    scratch: Scratch,
    settings: Arc<Settings>,
    log_ceiling: usize,
    random: Random,
    stored: Option<Stored>,
    /// Of a thousand times that there is mail, how often it is taken later.
    pub(crate) slow_links: u64,
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

impl Server {
    pub(crate) fn new(
        setup: &Setup,
        ledger: &Rc<RefCell<Ledger>>,
        cloud: Option<&Rc<RefCell<Cloud>>>,
        mut random: Random,
    ) -> Server {
        let cluster = cloud.map(|cloud| cloud.borrow_mut().next_node());
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
        let hash_key = [random.next(), random.next()];
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
                random: Random(random.next()),
                stopwatch: 0,
                stopwatch_step: setup.stopwatch_step,
            };
            let driver = match cloud.zip(cluster.clone()) {
                None => Shard::Alone(Driver::new(config, setup.pace, host, NoStore)),
                Some((cloud, cluster)) => {
                    let store = SimStore::new(cloud);
                    let mut driver = Driver::new(config, setup.pace, host, store);
                    driver.shard_mut().set_cluster(cluster);
                    Shard::Stored(driver)
                }
            };
            Worker {
                driver,
                poll: Poll::default(),
                more: false,
            }
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
            slow_links: setup.slow_links,
        }
    }

    /// A connection was made.
    pub(crate) fn accept(&mut self, wire: usize, format: Format) {
        self.accept_as(wire, format, Access::ANONYMOUS);
    }

    /// A connection was made, whose request says this of its client.
    pub(crate) fn accept_as(&mut self, wire: usize, format: Format, access: Access) {
        let shard = self.random.below(self.mailboxes.len() as u64) as usize;
        self.mailboxes[shard].newcomers.push((wire, format, access));
    }

    /// Turns until nothing is left to do at this moment. Whether there was anything.
    pub(crate) fn run(&mut self, now: u64, net: &mut Network) -> bool {
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
                let open = with!(driver, it => {
                    it.open_socket(conn).is_some() && it.shard().may_read(conn)
                });
                assert!(
                    !open || !net.wires[wire].up.is_readable(now),
                    "a shard sleeps, and what a client has sent waits: {conn:?} on wire {wire} at {now}"
                );
            }
        }
    }

    /// A turn of a shard, if there is a reason for one: else it sleeps.
    fn turn(&mut self, index: usize, now: u64, net: &mut Network) -> bool {
        let at = time(now);
        let has_mail = self.has_mail(index, now);
        let Worker { driver, poll, more } = &mut self.workers[index];
        let ready = with!(driver, it => poll.tell(it, now, net));
        let late = with!(driver, it => it.next_wake()).is_some_and(|wake| wake <= at.micros);
        if !(*more || has_mail || ready || late) {
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
        };
        *more = with!(driver, it => it.turn(at, &mut machine));
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

    /// The process is killed.
    pub(crate) fn kill(mut self, now: u64, net: &mut Network) {
        for worker in &mut self.workers {
            if let Shard::Stored(driver) = &mut worker.driver {
                driver.shard_mut().store().kill();
            }
        }
        for wire in 0..net.wires.len() {
            if net.wires[wire].server_open {
                net.cut_now(wire, now);
                net.server_ends(wire, now);
            }
        }
    }

    /// Milliseconds at which there is something to do.
    pub(crate) fn due(&self, now: u64) -> Option<u64> {
        let wakes = self.workers.iter();
        let wakes = wakes.filter_map(|it| with!(&it.driver, driver => driver.next_wake()));
        let slow = self.mailboxes.iter().map(|mailbox| mailbox.slow_until);
        wakes.map(moment).chain(slow).filter(|due| *due > now).min()
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
