//! What is between nodes, and between them and their store: a channel for datagrams and a way for beats, both of which
//! lose, double, delay and cut.

use std::collections::BTreeMap;

use roomcast_core::store::{Beat, Beaten, NodeId, StoreError, StoreId, Ticket};

use crate::random::Random;

/// How the channel is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Channel {
    /// Milliseconds that a datagram takes at most.
    pub(crate) delay: u64,
    /// Of a thousand datagrams, how many don't arrive, and how many come twice.
    pub(crate) loses: u64,
    pub(crate) doubles: u64,
}

/// Something on its way.
pub(crate) enum Flight {
    Datagram {
        to: NodeId,
        bytes: Vec<u8>,
    },
    /// The channel has taken a node's datagram.
    Taken {
        from: NodeId,
        to: NodeId,
    },
    Beat {
        from: NodeId,
        ticket: Ticket,
        beat: Box<Beat>,
    },
    Beaten {
        to: NodeId,
        ticket: Ticket,
        answer: Box<Result<Beaten, StoreError>>,
    },
    /// A node hears which store there is.
    Store {
        to: NodeId,
        store: StoreId,
    },
}

impl Flight {
    /// The node that it reaches.
    pub(crate) fn reaches(&self) -> Option<NodeId> {
        match self {
            Flight::Datagram { to, .. } | Flight::Beaten { to, .. } | Flight::Store { to, .. } => {
                Some(*to)
            }
            Flight::Taken { from, .. } => Some(*from),
            Flight::Beat { .. } => None,
        }
    }
}

pub(crate) struct Links {
    pub(crate) channel: Channel,
    pub(crate) random: Random,
    ahead: BTreeMap<(u64, u64), Flight>,
    order: u64,
    /// Ways from a node to a node on which nothing arrives before this time.
    cut: BTreeMap<(NodeId, NodeId), u64>,
}

impl Links {
    pub(crate) fn new(channel: Channel, random: Random) -> Links {
        Links {
            channel,
            random,
            ahead: BTreeMap::new(),
            order: 0,
            cut: BTreeMap::new(),
        }
    }

    /// From one node to another nothing arrives until then.
    pub(crate) fn cut(&mut self, from: NodeId, to: NodeId, until: u64) {
        self.cut.insert((from, to), until);
    }

    /// Whether nothing arrives from one node at another.
    pub(crate) fn is_cut(&self, now: u64, from: NodeId, to: NodeId) -> bool {
        self.cut.get(&(from, to)).is_some_and(|until| *until > now)
    }

    /// All ways are whole again.
    pub(crate) fn heal(&mut self) {
        self.channel = Channel {
            delay: self.channel.delay.min(1),
            ..Channel::default()
        };
        self.cut.clear();
    }

    pub(crate) fn at(&mut self, time: u64, flight: Flight) {
        self.order += 1;
        self.ahead.insert((time, self.order), flight);
    }

    /// A datagram goes out.
    pub(crate) fn send(&mut self, now: u64, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        let Channel {
            delay,
            loses,
            doubles,
        } = self.channel;
        let taken = now + self.random.below(delay.min(3) + 1);
        self.at(taken, Flight::Taken { from, to });
        if self.is_cut(now, from, to) || self.random.chance(loses) {
            return;
        }
        if self.random.chance(doubles) {
            let again = now + self.random.below(4 * delay + 1);
            let bytes = bytes.clone();
            self.at(again, Flight::Datagram { to, bytes });
        }
        let due = now + self.random.below(delay + 1);
        self.at(due, Flight::Datagram { to, bytes });
    }

    /// What arrives now.
    pub(crate) fn next(&mut self, now: u64) -> Option<Flight> {
        let first = self.ahead.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When something arrives.
    pub(crate) fn due(&self) -> Option<u64> {
        self.ahead.keys().next().map(|(at, _)| *at)
    }
}
