//! A schedule: time passes, clients act, the network and the server fail.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use roomcast_client::session::Status;

use crate::asker::Asker;
use crate::facts::Facts;
use crate::fleet::Fleet;
use crate::intruder::Intruder;
use crate::ledger::Ledger;
use crate::links::{Channel, Links};
use crate::network::Network;
use crate::outsider::Outsider;
use crate::peer::{Around, Peer};
use crate::random::Random;
use crate::server::{Birth, Server, Setup};
use crate::setup::{self, ROOMS, Weather};
use crate::store::Cloud;
use crate::{Counts, Trouble};

/// Steps of a schedule.
const STEPS: usize = 200;
/// Of a thousand attempts to connect, how many fail.
const REFUSES: u64 = 150;

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) setup: Setup,
    pub(crate) weather: Weather,
    pub(crate) net: Network,
    pub(crate) server: Fleet,
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    pub(crate) cloud: Option<Rc<RefCell<Cloud>>>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) askers: Vec<Asker>,
    pub(crate) intruder: Option<Intruder>,
    pub(crate) outsider: Option<Outsider>,
    pub(crate) facts: Facts,
    /// Nothing fails any more.
    pub(crate) healthy: bool,
    counts: Counts,
}

impl World {
    /// A schedule of one node.
    pub(crate) fn new(seed: u64, aloud: bool) -> World {
        World::draw(seed, aloud, false)
    }

    /// A schedule of several nodes.
    pub(crate) fn several(seed: u64, aloud: bool, trouble: Trouble) -> World {
        let mut world = World::draw(seed, aloud, true);
        world.facts.numbers_last = true;
        let often = world.random.pick(&[3, 10, 30]);
        match trouble {
            Trouble::Usual => {}
            Trouble::StoreRestarts => world.weather.store_restarts = often,
            Trouble::LongCuts => {
                world.weather.long_cuts = often;
                // A lease, a third of the grace and the way back have room in it.
                let grace = 12_000 + world.random.below(8_000);
                world.setup.settings.session_grace = grace;
                world.facts.grace = grace;
            }
        }
        world.ledger.borrow_mut().drafts = Some(BTreeMap::new());
        let channel = Channel {
            delay: world.random.pick(&[0, 2, 20, 100]),
            loses: world.random.pick(&[0, 20, 200]),
            doubles: world.random.pick(&[0, 100]),
        };
        let links = Links::new(channel, Random(world.random.next()));
        if let Some(cloud) = &world.cloud {
            cloud.borrow_mut().ledger = Some(world.ledger.clone());
            cloud.borrow_mut().aloud = aloud;
            world.server = Fleet::new(cloud, links, Random(world.random.next()));
            if trouble == Trouble::LongCuts {
                let grace = world.setup.settings.session_grace;
                world.server.sends_away_after(grace / 3);
            }
        }
        for _ in 0..2 + world.random.below(2) {
            world.server.begin(0, &world.setup, &world.ledger);
        }
        world
    }

    fn draw(seed: u64, aloud: bool, several: bool) -> World {
        let mut random = Random(seed);
        let (setup, mut weather) = setup::draw(&mut random);
        if several {
            weather.store.get_or_insert_default();
            weather.restarts = 0;
        }
        let stored = weather.store.is_some();
        let ledger = Ledger::new(&setup.kinds, stored, weather.roomy);
        let ledger = Rc::new(RefCell::new(ledger));
        let cloud = weather.store.map(|temper| {
            let cloud = Cloud::new(temper, Random(random.next()));
            Rc::new(RefCell::new(cloud))
        });
        let birth = Birth::alone(cloud.as_ref());
        let own = Random(random.next());
        let server = Fleet::alone(Server::new(&setup, &ledger, cloud.as_ref(), birth, own));
        let net = Network {
            wires: Vec::new(),
            open: Vec::new(),
            random: Random(random.next()),
            latency: weather.latency,
            windows: weather.windows,
        };
        let peers = (0..weather.peers).map(|_| Peer::new(&mut random));
        let peers = peers.collect();
        let askers = (0..weather.askers).map(|_| Asker::new(Random(random.next())));
        let askers = askers.collect();
        let mut facts = Facts::new(weather.roomy, aloud);
        facts.grace = setup.settings.session_grace;
        if aloud {
            println!("{setup:#?}\n{weather:#?}");
        }
        World {
            now: 0,
            random,
            setup,
            weather,
            net,
            server,
            ledger,
            cloud,
            peers,
            askers,
            intruder: None,
            outsider: None,
            facts,
            healthy: false,
            counts: Counts::default(),
        }
    }

    pub(crate) fn run(mut self) -> (Counts, u64) {
        for _ in 0..STEPS {
            let who = self.random.below(self.peers.len() as u64) as usize;
            for _ in 0..=self.random.below(3) {
                self.act(who);
            }
            self.let_ask();
            self.disturb();
            let passes = match self.random.below(100) {
                0..70 => self.random.below(8),
                // What a cut does takes seconds.
                85..95 if self.weather.long_cuts > 0 => self.random.below(1_500),
                70..95 => self.random.below(60),
                95..99 => self.random.below(1_500),
                _ => self.setup.settings.session_grace + self.random.below(3_000),
            };
            self.pass(passes);
        }
        self.heal();
        self.check_askers();
        self.check_end();
        self.note();
        self.go();
        (self.counts, self.facts.trace)
    }

    /// Something that networks and servers do.
    fn disturb(&mut self) {
        let who = self.random.below(self.peers.len() as u64) as usize;
        let wire = self.peers[who].wire();
        match (self.random.below(1_000), wire) {
            (0..25, Some(wire)) => {
                self.facts.cuts += 1;
                self.say(format_args!("{who} is cut"));
                self.net.cut(wire, self.now);
            }
            (25..45, Some(wire)) => {
                let until = self.now + self.random.below(6_000);
                self.net.wires[wire].down.stalled_until = until;
            }
            (45..55, Some(wire)) => {
                let until = self.now + self.random.below(3_000);
                self.net.wires[wire].up.stalled_until = until;
            }
            (55..60, _) => self.server.announce(500),
            (60..75, _) => self.intrude(who),
            (75..85, _) => self.knock(who),
            (85..95, _) => self.rob(),
            _ => {}
        }
        if self.random.chance(self.weather.restarts) {
            self.restart();
        }
        if !self.server.is_alone() {
            self.disturb_nodes();
        }
        if let Some(cloud) = &self.cloud {
            let mut cloud = cloud.borrow_mut();
            match self.random.below(1_000) {
                // A client gives an answer up that takes longer than a few seconds.
                0..15 => cloud.pause(self.now, self.random.below(1_000)),
                // Where there are several nodes, none takes a room from one that lives.
                15..25 if self.server.is_alone() => {
                    cloud.take_away(self.now, self.random.pick(&ROOMS))
                }
                _ => {}
            }
        }
    }

    /// The server is killed and started again, with the secret of before or another one.
    fn restart(&mut self) {
        self.say(format_args!("the server starts again"));
        self.note();
        self.facts.restarts += 1;
        self.facts.restarted_at = Some(self.now);
        self.facts.amnesia = true;
        if self.random.chance(400) {
            self.setup.settings.session_key = setup::key(&mut self.random);
        }
        let random = Random(self.random.next());
        let cloud = self.cloud.as_ref();
        let birth = Birth::alone(cloud);
        let server = Server::new(&self.setup, &self.ledger, cloud, birth, random);
        self.server.replace(server).kill(self.now, &mut self.net);
        (self.intruder, self.outsider) = (None, None);
    }

    /// Lets time pass, and does what is to be done at each moment.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        loop {
            self.settle();
            match self.due() {
                Some(due) if due <= until => self.now = due,
                _ => break,
            }
        }
        self.now = until;
        self.settle();
        self.server.check_bounds();
    }

    /// When there is something to do next.
    fn due(&mut self) -> Option<u64> {
        let now = self.now;
        let rest = [self.server.due(now), self.net.due(now)];
        let peers = self.peers.iter().filter_map(|peer| peer.due(now));
        let askers = self.askers.iter().filter_map(|it| it.due(now));
        peers
            .chain(askers)
            .chain(rest.into_iter().flatten())
            .filter(|due| *due > now)
            .min()
    }

    /// Until nothing is left to do at this moment.
    fn settle(&mut self) {
        for rounds in 0.. {
            assert!(rounds < 10_000, "the world does not come to rest");
            let mut busy = self.server.run(self.now, &mut self.net);
            for who in 0..self.peers.len() {
                if self.peers[who].rests(self.now, &self.net) {
                    self.is_careless();
                    continue;
                }
                let did = self.with(who, Peer::drive);
                busy |= did;
                let careless = self.is_careless();
                if std::mem::take(&mut self.peers[who].view.wants_token) && !careless {
                    self.with(who, Peer::renew_token);
                } else if !did {
                    self.peers[who].rest(self.now);
                }
                if let Some(why) = self.peers[who].view.closed.take() {
                    let asked = why.starts_with("closed: ");
                    assert!(asked, "a client was closed: {why}");
                    let peer = &mut self.peers[who];
                    if let Some(token) = peer.view.tokens.last() {
                        let name = peer.session.client_id().to_owned();
                        self.facts.gone.push((name, token.clone()));
                    }
                    peer.begin_anew();
                    busy = true;
                }
            }
            busy |= self.drive_intruder();
            busy |= self.drive_askers();
            busy |= self.drive_outsider();
            if !busy {
                return;
            }
        }
    }

    /// Whether a client whose token ends does not fetch another one now: drawn whether or not it ends.
    fn is_careless(&mut self) -> bool {
        !self.healthy && self.random.chance(300)
    }

    /// A client, and the world around it.
    pub(crate) fn with<T>(
        &mut self,
        who: usize,
        act: impl FnOnce(&mut Peer, &mut Around<'_>) -> T,
    ) -> T {
        let truth = self.ledger.borrow();
        let mut around = Around {
            now: self.now,
            net: &mut self.net,
            server: &mut self.server,
            truth: &truth,
            facts: &mut self.facts,
            random: &mut self.random,
            grace: self.setup.settings.session_grace,
            refuses: if self.healthy { 0 } else { REFUSES },
        };
        let peer = &mut self.peers[who];
        peer.touch();
        act(peer, &mut around)
    }

    /// The network is good again, nobody acts, and there is time: everything comes to its end.
    fn heal(&mut self) {
        self.say(format_args!("all is well"));
        self.healthy = true;
        self.wake_askers();
        if let Some(cloud) = &self.cloud {
            cloud.borrow_mut().heal();
        }
        self.server.heal();
        self.net.windows = (64_000, 64_000);
        self.net.latency = self.net.latency.min(5);
        for wire in &mut self.net.wires {
            for pipe in [&mut wire.up, &mut wire.down] {
                pipe.window = pipe.window.max(64_000);
                pipe.stalled_until = 0;
            }
        }
        // Longer than anybody who is gone without a word is missed, and remembered.
        let settings = &self.setup.settings;
        self.pass(settings.pong_timeout + settings.session_grace + 12_000);
        if self.cloud.is_some() {
            // A home hears that it is none any more when it writes.
            for who in 0..self.peers.len() {
                self.with(who, Peer::show_all);
            }
            self.pass(2_000);
        }
        let mut waits = 0;
        while let Some(why) = self.unsettled() {
            waits += 1;
            assert!(waits < 200, "{why}");
            self.pass(500);
        }
    }

    fn unsettled(&self) -> Option<String> {
        let mut peers = self.peers.iter().enumerate();
        peers.find_map(|(who, peer)| {
            let session = &peer.session;
            let status = session.status();
            let connected = matches!(status, Status::Connected { .. });
            let joined = peer.view.joined.iter().all(|room| session.is_joined(room));
            let waiting: Vec<_> = peer.view.pending.values().map(|it| it.number).collect();
            let done = waiting.is_empty() && session.outbox_bytes() == 0;
            (!connected || !joined || !done).then(|| {
                let joined = &peer.view.joined;
                format!("{who} is not at rest: {status:?}, {joined:?}, {waiting:?}, {session:?}")
            })
        })
    }

    /// Adds up what the present server and the clients have seen.
    fn note(&mut self) {
        let server = &mut self.server;
        self.counts.taken_over += server.count(|it| it.taken_over);
        self.counts.behind += server.count(|it| it.readers_behind);
        self.counts.overrun += server.count(|it| it.log_overruns);
        self.counts.repeats += server.count(|it| it.repeats);
        let facts = &self.facts;
        self.counts = Counts {
            acked: facts.acked,
            delivered: facts.delivered,
            direct: facts.mail,
            pages: facts.pages,
            cuts: facts.cuts,
            reloads: facts.reloads,
            restarts: facts.restarts,
            resumed: facts.resumed,
            recovered: facts.recovered,
            gaps: facts.gaps,
            stale_tokens: facts.intruders,
            answers: facts.answers,
            failures: facts.failures,
            kills: facts.kills,
            stops: facts.stops,
            partitions: facts.partitions,
            links_lost: self.server.links_lost(),
            drained: self.server.drained,
            store_restarts: facts.store_restarts,
            sent_away: self.server.sent_away(),
            outsiders: facts.outsiders,
            ..self.counts
        };
    }

    pub(crate) fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.facts.trace_on {
            println!("{:7} {what}", self.now);
        }
    }
}
