//! What holds at the end: all have the same, and when all are gone nothing is left, and nothing before its time.

use std::collections::BTreeSet;

use crate::setup::ROOMS;
use crate::world::World;

/// Milliseconds by which the coarse clock of connections may be late.
const LATE: u64 = 1_100;

/// How a client goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Its connection breaks.
    Cut,
    /// Its page is closed.
    GoingAway,
    /// It says goodbye.
    Closed,
}

impl World {
    /// All clients have the same, and it is what is true.
    pub(crate) fn check_end(&mut self) {
        let users: BTreeSet<_> = self.peers.iter().filter_map(|peer| peer.user).collect();
        let mut counts = (self.peers.len(), 0, users.len());
        let mut is = self.server.counts();
        if !self.server.is_alone() {
            // Each node knows those whose sessions it has.
            (counts.2, is.2) = (0, 0);
        }
        assert_eq!(is, counts, "connections, sessions, users");
        let truth = self.ledger.borrow();
        for room in ROOMS {
            self.check_room(room);
            for peer in &self.peers {
                if peer.view.joined.contains(room) {
                    peer.view.check_end(room, &truth);
                }
            }
        }
        let clients: Vec<_> = self.peers.iter().map(|it| it.session.client_id()).collect();
        self.facts.check_end(&truth, &clients);
        let joined = self.peers.iter().flat_map(|peer| &peer.view.joined);
        let joined: BTreeSet<_> = joined.collect();
        drop(truth);
        let (rooms, _) = self.server.rooms();
        assert_eq!(
            rooms,
            joined.len(),
            "rooms outlive their members: {joined:?}"
        );
    }

    /// Members agree who is there, and on the state that the server owns.
    fn check_room(&self, room: &str) {
        let here = self.peers.iter().filter(|it| it.view.joined.contains(room));
        let here: Vec<_> = here.map(|peer| &peer.session).collect();
        let members = here.iter().map(|session| session.members(room).unwrap());
        let members: Vec<_> = members.collect();
        let there: BTreeSet<_> = members.iter().map(|it| it.player_id).collect();
        let states = here.iter().map(|session| session.state(room));
        let states: Vec<_> = states.collect();
        for (member, state) in members.iter().zip(&states) {
            assert_eq!(*state, states[0], "the state of {room}");
            assert_eq!(member.total, there.len() as u64, "members of {room}");
            if member.presence != "full" {
                continue;
            }
            let listed = member.listed.values();
            let listed: BTreeSet<_> = listed.map(|it| &*it.player_id).collect();
            assert_eq!(
                listed, there,
                "members of {room}, as {} sees them",
                member.player_id
            );
            assert_eq!(member.listed, members[0].listed, "members of {room}");
            let away = member.listed.values().find(|it| !it.connected);
            assert!(away.is_none(), "{room}: {away:?} has a connection");
        }
    }

    /// Everybody goes, each in its way. Sessions and rooms end when they have to, and not before.
    pub(crate) fn go(&mut self) {
        self.say(format_args!("all go"));
        let exits = [Exit::Cut, Exit::GoingAway, Exit::Closed];
        let exits: Vec<_> = self
            .peers
            .iter()
            .map(|_| self.random.pick(&exits))
            .collect();
        for (who, exit) in exits.iter().enumerate() {
            match (exit, self.peers[who].wire()) {
                (Exit::Cut, Some(wire)) => self.net.cut_now(wire, self.now),
                (Exit::GoingAway, _) => self.with(who, |it, around| it.hang_up(Some(1001), around)),
                (Exit::Closed, _) => self.with(who, |it, around| it.hang_up(Some(1000), around)),
                _ => {}
            }
        }
        let away = |exit: Exit| exits.iter().filter(|it| **it == exit).count();
        let mut rooms = [Exit::Cut, Exit::GoingAway].map(|exit| {
            let here = self.peers.iter().zip(&exits).filter(|it| *it.1 == exit);
            here.flat_map(|(peer, _)| peer.view.joined.clone())
                .collect::<BTreeSet<_>>()
        });
        // Nobody comes back.
        self.peers.clear();
        let settings = self.setup.settings.clone();
        if !self.server.is_alone() {
            return self.check_gone(3 * settings.session_grace);
        }
        let after = self.now;
        self.pass(500);
        let parked = away(Exit::Cut) + away(Exit::GoingAway);
        assert_eq!(self.server.counts().1, parked, "sessions that wait");
        let [cut, going] = &mut rooms;
        going.extend(cut.iter());
        assert_eq!(
            self.server.rooms().0,
            going.len(),
            "rooms of sessions that wait"
        );
        self.pass(settings.goodbye_grace + LATE - 500);
        let parked = away(Exit::Cut);
        assert_eq!(self.server.counts().1, parked, "sessions after a goodbye");
        assert_eq!(
            self.server.rooms().0,
            rooms[0].len(),
            "rooms after a goodbye"
        );
        self.pass(after + settings.session_grace - 100 - self.now);
        assert_eq!(self.server.counts().1, parked, "sessions before their end");
        self.check_gone(100 + LATE);
    }

    /// Nothing is left after so many milliseconds.
    fn check_gone(&mut self, after: u64) {
        self.pass(after);
        assert_eq!(
            self.server.counts(),
            (0, 0, 0),
            "connections, sessions, users"
        );
        assert_eq!(self.server.rooms(), (0, 0), "rooms");
        let (pieces, chunks, _) = self.server.held();
        assert_eq!((pieces, chunks), (0, 0), "pieces, chunks");
        // Where a log has all it lasts for minutes, and most are gone long before.
        let until = self.now + self.setup.kinds[0].retention.age + LATE;
        while self.now < until && self.server.held().2 > 0 {
            self.pass((until - self.now).min(1_000));
        }
        assert_eq!(self.server.held().2, 0, "bytes of logs");
    }
}
