//! Sessions against a model of the server, over a network that delays, stalls and cuts at any message, under a virtual
//! clock.
//!
//! A failure prints its seed; `ROOMCAST_CLIENT_SEED` runs that one alone, `ROOMCAST_CLIENT_RUNS` sets how many.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::peer::{Down, Peer, Wire, peer};
use common::{Random, Server, Trouble, What};
use roomcast_client::session::{Connection, JoinOptions, SendOptions, Status};
use roomcast_client::{Format, Payload, Publish, Recipient, code};

const ROOMS: [&str; 2] = ["chat:1", "chat:2"];
const PEERS: usize = 3;

struct Run {
    now: u64,
    random: Random,
    server: Server,
    peers: Vec<Peer>,
    /// Connections that the server doesn't know to be gone, and when it will.
    zombies: Vec<(u64, u64)>,
    /// Messages that are settled as done or as possibly done, and as not done.
    done: BTreeSet<(&'static str, String)>,
    not_done: BTreeMap<String, String>,
    texts: u64,
    healthy: bool,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Random(seed);
        let mut server = Server::new(random.next());
        server.trouble = Trouble {
            rate_limited: [0, 20, 200][random.below(3) as usize],
            unavailable: [0, 20, 200][random.below(3) as usize],
            refused: [0, 20][random.below(2) as usize],
            overrun: [0, 0, 20][random.below(3) as usize],
            acked: true,
        };
        server.grace = [30_000, 3_000][random.below(2) as usize];
        let formats = [Format::Json, Format::Protobuf];
        let peers = (0..PEERS).map(|at| peer(formats[at % 2])).collect();
        Run {
            now: 0,
            random,
            server,
            peers,
            zombies: Vec::new(),
            done: BTreeSet::new(),
            not_done: BTreeMap::new(),
            texts: 0,
            healthy: false,
        }
    }

    fn run(mut self) -> u64 {
        for _ in 0..1500 {
            self.now += 1 + self.random.below(20);
            for at in 0..PEERS {
                if self.random.chance(150) {
                    self.act(at);
                }
            }
            self.disturb();
            self.turn();
        }
        self.heal();
        self.check_end();
        self.peers.iter().map(|peer| peer.gaps).sum()
    }

    fn turn(&mut self) {
        self.server.now = self.now;
        let gone: Vec<_> = self
            .zombies
            .extract_if(.., |(_, at)| *at <= self.now)
            .collect();
        for (id, _) in gone {
            self.server.lost(id, 1006);
        }
        self.server.expire();
        for at in 0..PEERS {
            self.drive(at);
            self.carry(at);
        }
    }

    /// Something that an application does.
    fn act(&mut self, at: usize) {
        let room = ROOMS[self.random.below(2) as usize];
        let now = self.now;
        let ttl = self.random.chance(200).then(|| self.random.below(2000));
        let options = SendOptions {
            ttl_ms: ttl,
            ..SendOptions::default()
        };
        match self.random.below(20) {
            0 => {
                let peer = &mut self.peers[at];
                if peer.joined.insert(room) {
                    peer.session
                        .join(now, room, JoinOptions::default())
                        .unwrap();
                }
            }
            1 if self.random.chance(300) => {
                let peer = &mut self.peers[at];
                if peer.joined.remove(room) {
                    peer.session.leave(now, room).unwrap();
                    let pending = peer.pending.values_mut();
                    pending
                        .filter(|it| it.room == Some(room))
                        .for_each(|it| it.excused = true);
                    // Another stay begins anew.
                    peer.last.remove(room);
                    peer.received.retain(|(name, _)| name != room);
                }
            }
            2 => {
                let count = self.peers[at].pending.len() as u64;
                let which = self.random.below(count) as usize;
                let peer = &mut self.peers[at];
                if let Some((ticket, pending)) = peer.pending.iter_mut().nth(which) {
                    pending.aborted = true;
                    let ticket = *ticket;
                    peer.session.abort(now, ticket);
                }
            }
            3..6 => {
                let other = self.random.below(PEERS as u64) as usize;
                let to = self.peers[other].session.client_id().to_owned();
                if !to.is_empty() {
                    let text = self.text();
                    let publish = Publish::Chat(Payload::text(&text));
                    let peer = &mut self.peers[at];
                    let to = Recipient::Client(to);
                    let ticket = peer.session.direct(now, to, publish, options).unwrap();
                    peer.expect(ticket, None, text, ttl.is_some());
                }
            }
            6 => self.peers[at].session.wake(now),
            _ => {
                let text = self.text();
                let publish = Publish::Chat(Payload::text(&text));
                let peer = &mut self.peers[at];
                match peer.session.send(now, room, publish, options) {
                    Ok(ticket) => peer.expect(ticket, Some(room), text, ttl.is_some()),
                    Err(error) => {
                        assert_eq!(error.code(), code::NOT_JOINED);
                        assert!(!peer.joined.contains(room));
                    }
                }
            }
        }
    }

    fn text(&mut self) -> String {
        self.texts += 1;
        format!("text {}", self.texts)
    }

    /// Something that networks and servers do.
    fn disturb(&mut self) {
        let at = self.random.below(PEERS as u64) as usize;
        if self.random.chance(15) {
            self.cut(at);
        }
        if self.random.chance(5)
            && let Some(wire) = &mut self.peers[at].wire
        {
            wire.stalled_until = self.now + self.random.below(20_000);
        }
        if self.random.chance(2) {
            self.server.trim(ROOMS[self.random.below(2) as usize]);
        }
        if self.random.chance(1) {
            self.server.announce(self.random.below(500));
            self.collect();
        }
        if self.random.chance(2) {
            let new_key = self.random.chance(500);
            self.server.restart(new_key);
            self.zombies.clear();
        }
    }

    /// Some of what is under way arrives; each side notices the end in its own time.
    fn cut(&mut self, at: usize) {
        let Some(mut wire) = self.peers[at].wire.take() else {
            return;
        };
        let arrives = self.random.below(wire.up.len() as u64 + 1);
        for (_, message) in wire.up.drain(..arrives as usize) {
            self.server.take(wire.id, &message);
        }
        self.collect();
        let arrives = self.random.below(wire.down.len() as u64 + 1);
        let peer = &mut self.peers[at];
        for (_, down) in wire.down.drain(..arrives as usize) {
            if let Down::Message(message) = down {
                peer.session.receive(self.now, &message);
                peer.check(&self.server, self.now, &mut self.done, &mut self.not_done);
            }
        }
        match self.random.below(3) {
            0 => self.server.lost(wire.id, 1006),
            _ => {
                let later = self.now + self.random.below(60_000);
                self.zombies.push((wire.id, later));
            }
        }
        let random = self.random.next();
        self.peers[at]
            .session
            .disconnected(self.now, 1006, "", random);
    }

    /// What the server wrote goes on its way.
    fn collect(&mut self) {
        for peer in &mut self.peers {
            let Some(wire) = &mut peer.wire else { continue };
            let mut due = wire.down.back().map_or(0, |(due, _)| *due).max(self.now);
            match self.server.conns.get_mut(&wire.id) {
                Some(conn) => {
                    for message in conn.out.drain(..) {
                        due += self.random.below(30);
                        wire.down.push_back((due, Down::Message(message)));
                    }
                    if let Some(code) = conn.closed {
                        self.server.conns.remove(&wire.id);
                        wire.down.push_back((due, Down::Close(code)));
                    }
                }
                None if wire.down.iter().any(|(_, it)| matches!(it, Down::Close(_))) => {}
                None => wire.down.push_back((due + 50, Down::Close(1006))),
            }
        }
    }

    fn carry(&mut self, at: usize) {
        let now = self.now;
        let Some(wire) = &mut self.peers[at].wire else {
            return;
        };
        if wire.stalled_until > now {
            return;
        }
        let id = wire.id;
        let due = |(due, _): &(u64, _)| *due <= now;
        let count = wire.up.iter().take_while(|it| due(&(it.0, ()))).count();
        let arrived: Vec<_> = wire.up.drain(..count).collect();
        for (_, message) in arrived {
            self.server.take(id, &message);
        }
        self.collect();
        loop {
            let Some(wire) = &mut self.peers[at].wire else {
                return;
            };
            if wire.down.front().is_none_or(|(due, _)| *due > now) {
                return;
            }
            let down = wire.down.pop_front();
            match down {
                Some((_, Down::Message(message))) => {
                    self.peers[at].session.receive(now, &message);
                    self.drive(at);
                }
                Some((_, Down::Close(code))) => {
                    self.peers[at].wire = None;
                    let random = self.random.next();
                    self.peers[at].session.disconnected(now, code, "", random);
                    self.drive(at);
                }
                None => return,
            }
        }
    }

    fn drive(&mut self, at: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        if peer.session.poll_timeout().is_some_and(|at| at <= now) {
            peer.session.timeout(now);
        }
        match peer.session.connection() {
            Connection::Connect if !self.healthy && self.random.chance(200) => {
                let random = self.random.next();
                peer.session.disconnected(now, 1006, "refused", random);
            }
            Connection::Connect => {
                peer.session.connected(now);
                peer.wire = Some(Wire {
                    id: self.server.open(peer.format),
                    up: VecDeque::new(),
                    down: VecDeque::new(),
                    stalled_until: 0,
                });
            }
            Connection::Close(code) => {
                if let Some(wire) = peer.wire.take() {
                    self.server.lost(wire.id, code);
                }
                peer.session.disconnected(now, 1006, "", self.random.next());
            }
            Connection::Up | Connection::Down => {}
        }
        // Not all that may be sent is sent at once.
        let most = self.random.below(8);
        for _ in 0..most {
            let Some(wire) = &mut peer.wire else { break };
            let Some(message) = peer.session.poll_transmit() else {
                break;
            };
            let last = wire.up.back().map_or(0, |(due, _)| *due).max(now);
            wire.up.push_back((last + self.random.below(30), message));
        }
        peer.check(&self.server, now, &mut self.done, &mut self.not_done);
    }

    /// The network is good again, and there is time.
    fn heal(&mut self) {
        self.healthy = true;
        self.server.trouble = Trouble::default();
        for peer in &mut self.peers {
            if let Some(wire) = &mut peer.wire {
                wire.stalled_until = 0;
            }
        }
        for _ in 0..6000 {
            self.now += 20;
            self.turn();
        }
    }

    fn check_end(&mut self) {
        for (at, peer) in self.peers.iter_mut().enumerate() {
            let status = peer.session.status();
            assert!(matches!(status, Status::Connected { .. }), "{status:?}");
            let waiting: Vec<_> = peer.pending.values().map(|it| &it.text).collect();
            assert!(waiting.is_empty(), "peer {at} still waits for {waiting:?}");
            assert_eq!(peer.session.outbox_bytes(), 0);
            for room in &peer.joined {
                let known = &self.server.rooms[*room];
                let newest = known.log.last().map_or(0, |it| it.offset);
                let position = peer.session.position(room).unwrap();
                assert_eq!(
                    (&position.epoch, position.offset),
                    (&known.epoch, newest),
                    "{room}"
                );
                let members = peer.session.members(room).unwrap();
                let listed = members.listed.iter();
                let listed: Vec<_> = listed
                    .map(|(num, it)| (*num, it.player_id.clone()))
                    .collect();
                let there: Vec<_> = known.members.clone().into_iter().collect();
                assert_eq!(listed, there, "members of {room} as peer {at} sees them");
                assert_eq!(members.total, there.len() as u64);
            }
            for room in ROOMS.iter().filter(|room| !peer.joined.contains(*room)) {
                let id = peer.session.client_id();
                let there = self.server.rooms.get(*room);
                assert!(there.is_none_or(|it| it.members.values().all(|it| it != id)));
            }
        }
        for (room, epoch, log) in self.logs() {
            let mut texts = BTreeSet::new();
            for logged in log {
                if let What::Said(text) = &logged.what {
                    assert!(texts.insert(text), "{text} is twice in {room} {epoch}");
                    let told = self.not_done.get(text);
                    assert!(
                        told.is_none(),
                        "{text} is in {room} {epoch}, {logged:?}: {told:?}"
                    );
                }
            }
        }
        for (room, text) in &self.done {
            let in_log = |log: &[common::Logged]| {
                log.iter()
                    .any(|it| matches!(&it.what, What::Said(said) if said == text))
            };
            let there = self
                .logs()
                .iter()
                .any(|(name, _, log)| name == room && in_log(log));
            assert!(there, "{text} was acked in {room} and is in no log");
        }
        for (_, _, text) in &self.server.mailed {
            let told = self.not_done.get(text);
            assert!(told.is_none(), "{text} is in an inbox: {told:?}");
        }
    }

    fn logs(&self) -> Vec<(&str, &str, &[common::Logged])> {
        let past = self.server.past.iter();
        let past = past.map(|(room, epoch, log)| (room.as_str(), epoch.as_str(), &log[..]));
        let rooms = self.server.rooms.iter();
        let rooms = rooms.map(|(name, room)| (name.as_str(), room.epoch.as_str(), &room.log[..]));
        past.chain(rooms).collect()
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn nothing_acked_is_lost_nothing_comes_twice_and_gaps_are_told() {
    let runs = number("ROOMCAST_CLIENT_RUNS").unwrap_or(200);
    let seeds = match number("ROOMCAST_CLIENT_SEED") {
        Some(seed) => vec![seed],
        None => (0..runs).collect(),
    };
    let mut gaps = 0;
    for seed in seeds {
        let result = std::panic::catch_unwind(|| Run::new(seed).run());
        match result {
            Ok(seen) => gaps += seen,
            Err(panic) => {
                eprintln!("the schedule with ROOMCAST_CLIENT_SEED={seed} failed");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if runs > 50 {
        assert!(gaps > 0, "no schedule was hard enough");
    }
}
