//! The post: a link to each other living node, over a channel that may lose, double, reorder, delay and cut what it
//! carries.
//!
//! A link brings letters in their order and once, from a shard to a shard. One datagram at a time is under way to a
//! node; what all shards send meanwhile goes with the next. On a link that was idle a letter goes at once. The more the
//! node sends, the longer its links gather ([`PostSettings::gather`]). Letters are kept until they are acked, and sent
//! again.
//!
//! A link is *lost* when one of the two nodes loses its lease or gives the link up. What was sent over it and has not
//! come is gone, on both sides. The node's number ([`NodeNumber`]) is gone with it: if the node lives it is given
//! another one ([`Post::meet`]), so that what was meant for the lost link can't go over the next.
//!
//! It does no I/O and reads no clock. After each call take the events ([`Post::poll_event`]) and the datagrams
//! ([`Post::poll_transmit`]) until there are none.

mod datagram;
mod inbox;
mod link;
mod mac;
mod outbox;
mod round_trip;
mod settings;

pub use datagram::{MOST_DATAGRAM, VERSIONS};
pub use mac::{PROOF, PeerKey, PostKey};
pub use settings::PostSettings;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use roomcast_protocol::mutated;

use crate::address::{NodeNumber, ShardAddress};
use crate::node::ClusterView;
use crate::store::{HomeName, NodeId};
use crate::time::Now;
use crate::traffic::Traffic;
use datagram::End;
use link::{Heard, Link};
use outbox::Outbox;

/// Bytes of a letter at most.
pub const MOST_LETTER: usize = 64 << 20;

/// A message from a shard to a shard of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter<B = Box<[u8]>> {
    /// The shard of the other node, by its number there.
    pub to_shard: u16,
    /// The shard of this node.
    pub from_shard: u16,
    /// What it says.
    pub bytes: B,
}

/// What the post tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostEvent {
    /// A letter has come, to this shard.
    Letter {
        /// Who sent it.
        from: ShardAddress,
        /// The shard of this node that it is for. The other node may know another number of shards than there is.
        to_shard: u16,
        /// What it says.
        bytes: Box<[u8]>,
    },
    /// The link is lost, told once. Nothing more comes from this number, and nothing goes to it.
    Lost(NodeNumber),
    /// There is room again for letters to this node, after one was refused.
    Room(NodeNumber),
}

/// Why a letter was not taken; it is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The window is full: [`PostEvent::Room`] says when it is not.
    Full(Letter),
    /// There is no link of this number any more.
    Gone(Letter),
    /// It has more than [`MOST_LETTER`] bytes.
    TooLarge(Letter),
}

/// What the post has counted since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostStats {
    /// Datagrams that went out, and their bytes.
    pub datagrams_out: [u64; 2],
    /// Datagrams that came in, and their bytes.
    pub datagrams_in: [u64; 2],
    /// Letters that were taken.
    pub letters: u64,
    /// Letters that were refused because a window was full.
    pub letters_refused: u64,
    /// Letters that have come.
    pub letters_delivered: u64,
    /// Pieces of letters sent for the first time.
    pub pieces_sent: u64,
    /// Pieces sent again.
    pub pieces_again: u64,
    /// Pieces that the other node has acked.
    pub pieces_acked: u64,
    /// Pieces that had come before.
    pub pieces_repeated: u64,
    /// Pieces given up with lost links.
    pub pieces_lost: u64,
    /// Datagrams with pieces that came before one that was missing.
    pub gaps: u64,
    /// Links lost.
    pub links_lost: u64,
    /// Datagrams ignored: of a version that is not understood.
    pub unknown_version: u64,
    /// The same: without a good MAC.
    pub unproven: u64,
    /// The same: their MAC was good, and nothing else.
    pub malformed: u64,
    /// The same: from a node that is not known to live, or for another node.
    pub strangers: u64,
    /// The same: for another link than the one that is.
    pub not_ours: u64,
}

/// The links of a node.
#[derive(Debug)]
pub struct Post {
    settings: PostSettings,
    key: PostKey,
    own: Option<HomeName>,
    /// Microseconds from which on nothing may be said.
    until: u64,
    /// Ends that were made.
    count: u64,
    links: BTreeMap<NodeId, Link>,
    numbers: BTreeMap<NodeNumber, NodeId>,
    events: VecDeque<PostEvent>,
    /// The node that was written to last: the search for the next begins behind it.
    written: NodeId,
    traffic: Traffic,
    stats: PostStats,
}

impl Post {
    /// A post without links.
    pub fn new(settings: PostSettings, key: PostKey) -> Post {
        Post {
            settings,
            key,
            own: None,
            until: 0,
            count: 0,
            links: BTreeMap::new(),
            numbers: BTreeMap::new(),
            events: VecDeque::new(),
            written: NodeId(0),
            traffic: Traffic::default(),
            stats: PostStats::default(),
        }
    }

    /// Says which nodes live, and until when this one may act.
    ///
    /// Links to others are lost, and all of them where this node has lost its lease. A node whose link was lost gets the
    /// next one once it has a higher number: so call this again after each [`PostEvent::Lost`], when the node agent has
    /// been told ([`link_lost`](crate::node::NodeAgent::link_lost)).
    pub fn meet(&mut self, now: Now, view: &ClusterView) {
        let own = view.own.map(|own| HomeName {
            node: own.home.node,
            lease: own.links,
        });
        self.until = view.own.map_or(0, |own| own.until);
        let another = self.own != own;
        self.own = own;
        let nodes: Vec<_> = self.links.keys().copied().collect();
        for node in nodes {
            let peer = view.node(node).filter(|_| own.is_some());
            let link = self.links.get(&node);
            let renumbered =
                peer.is_some_and(|peer| link.is_some_and(|it| it.is_before(peer.number)));
            if another || renumbered || peer.is_none() {
                self.lose(node);
            }
            if peer.is_none() {
                self.links.remove(&node);
            }
        }
        let Some(own) = own else { return };
        for peer in &view.living {
            let node = peer.home.node;
            let link = match self.links.entry(node) {
                Entry::Occupied(link) => link.into_mut(),
                Entry::Vacant(none) => {
                    let own = End::next(own, &mut self.count);
                    none.insert(Link::new(own, node, &self.settings))
                }
            };
            link.meet(peer.number, peer.version, now.micros);
            if let Some(number) = link.number {
                self.numbers.insert(number, node);
            }
        }
    }

    /// Takes a letter to a node.
    ///
    /// # Errors
    /// It is given back, and nothing is kept of it.
    pub fn send(&mut self, to: NodeNumber, letter: Letter) -> Result<(), NotSent> {
        self.keep(to, letter)?.hurry();
        Ok(())
    }

    /// Takes a letter for which nobody waits: it goes with the next datagram to the node, as an ack does, and alone once
    /// [`PostSettings::ack_delay`] is over.
    ///
    /// # Errors
    /// Those of [`Post::send`].
    pub fn send_later(&mut self, now: Now, to: NodeNumber, letter: Letter) -> Result<(), NotSent> {
        let until = now.micros + self.settings.ack_delay;
        self.keep(to, letter)?.may_wait(until);
        Ok(())
    }

    fn keep(&mut self, to: NodeNumber, letter: Letter) -> Result<&mut Outbox, NotSent> {
        if letter.bytes.len() > MOST_LETTER {
            return Err(NotSent::TooLarge(letter));
        }
        let node = self.numbers.get(&to);
        let Some(link) = node.and_then(|node| self.links.get_mut(node)) else {
            return Err(NotSent::Gone(letter));
        };
        match link.outbox.push(letter, &self.settings) {
            Ok(()) => self.stats.letters += 1,
            Err(letter) => {
                self.stats.letters_refused += 1;
                return Err(NotSent::Full(letter));
            }
        }
        Ok(&mut link.outbox)
    }

    /// Gives a link up: it is lost, for the other node too. `false`: there is none of this number.
    pub fn give_up(&mut self, number: NodeNumber) -> bool {
        let node = self.numbers.get(&number).copied();
        node.map(|node| self.lose(node)).is_some()
    }

    /// Takes in a datagram. What is none, or none for this node, is counted and ignored.
    pub fn handle(&mut self, now: Now, bytes: &[u8]) {
        self.stats.datagrams_in[0] += 1;
        self.stats.datagrams_in[1] += bytes.len() as u64;
        let Some((header, pieces)) = self.read(bytes) else {
            return;
        };
        let node = header.from.home.node;
        let to_us = self.own.is_some_and(|own| own.node == header.to.home.node);
        let Some(link) = self.links.get_mut(&node).filter(|_| to_us) else {
            self.stats.strangers += 1;
            return;
        };
        let number = link.number;
        match (link.hear(&header, now.micros), number) {
            (Heard::Ours, Some(number)) => {
                let (stats, events) = (&mut self.stats, &mut self.events);
                let deliver = |letter: Letter| {
                    events.push_back(PostEvent::Letter {
                        from: ShardAddress::new(number, letter.from_shard),
                        to_shard: letter.to_shard,
                        bytes: letter.bytes,
                    });
                };
                let settings = &self.settings;
                if !link.receive(&header, &pieces, now.micros, settings, stats, deliver) {
                    stats.malformed += 1;
                    self.lose(node);
                } else if link.outbox.has_room_again(settings) {
                    self.events.push_back(PostEvent::Room(number));
                }
            }
            (Heard::Lost, _) => self.lose(node),
            // An announcement is how a link begins.
            _ => self.stats.not_ours += u64::from(!header.opening),
        }
    }

    /// The next datagram to send, and to which node. Until [`Post::taken`] is called for it there is no other one for
    /// that node.
    pub fn poll_transmit(&mut self, now: Now) -> Option<(NodeId, Vec<u8>)> {
        if now.micros >= self.until && !mutated!("post_outlives_the_lease") {
            // Nothing wakes for what is due until the lease goes on.
            self.until = 0;
            return None;
        }
        let due =
            |(_, link): &(&NodeId, &mut Link)| link.due_at().is_some_and(|at| at <= now.micros);
        let behind = (Bound::Excluded(self.written), Bound::Unbounded);
        let next = self.links.range_mut(behind).find(due);
        let (node, link) = match next {
            Some(next) => next,
            None => self.links.range_mut(..=self.written).find(due)?,
        };
        self.written = *node;
        let stats = &mut self.stats;
        let counts = (&mut self.traffic, &mut *stats);
        let bytes = link.datagram(now.micros, &self.key, &self.settings, counts);
        stats.datagrams_out[0] += 1;
        stats.datagrams_out[1] += bytes.len() as u64;
        Some((*node, bytes))
    }

    /// The channel has taken the datagram to this node, or has lost it.
    pub fn taken(&mut self, now: Now, node: NodeId) {
        if let Some(link) = self.links.get_mut(&node) {
            link.taken(now.micros);
        }
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<PostEvent> {
        self.events.pop_front()
    }

    /// Microseconds at which [`Post::poll_transmit`] has something, if nothing happens before.
    pub fn next_wake(&self) -> Option<u64> {
        let due = self.links.values().filter_map(Link::due_at);
        due.min().filter(|at| *at < self.until)
    }

    /// Bytes of letters that no node has acked yet.
    pub fn unacked(&self) -> usize {
        self.links.values().map(|link| link.outbox.bytes()).sum()
    }

    /// Bytes of letters that are kept for a node.
    pub fn kept(&self, number: NodeNumber) -> usize {
        let link = self
            .numbers
            .get(&number)
            .and_then(|node| self.links.get(node));
        link.map_or(0, |link| link.outbox.bytes())
    }

    /// What was counted.
    pub fn stats(&self) -> &PostStats {
        &self.stats
    }

    fn read<'a>(
        &mut self,
        bytes: &'a [u8],
    ) -> Option<(datagram::Header, Vec<datagram::Piece<&'a [u8]>>)> {
        // First: another version may have its MAC elsewhere.
        if bytes
            .first()
            .is_none_or(|version| !VERSIONS.contains(version))
        {
            self.stats.unknown_version += 1;
            return None;
        }
        let sealed = (bytes.len() <= MOST_DATAGRAM)
            .then(|| self.key.open(bytes))
            .flatten();
        let Some(sealed) = sealed else {
            self.stats.unproven += 1;
            return None;
        };
        let read = datagram::read(sealed);
        self.stats.malformed += u64::from(read.is_none());
        read
    }

    /// Gives a link up and tells it, if it is not lost already.
    fn lose(&mut self, node: NodeId) {
        let Some(link) = self.links.get_mut(&node) else {
            return;
        };
        let Some(number) = link.number else { return };
        self.stats.links_lost += 1;
        self.stats.pieces_lost += link.outbox.pieces() as u64;
        self.numbers.remove(&number);
        self.events.push_back(PostEvent::Lost(number));
        if let Some(own) = self.own {
            link.lose(End::next(own, &mut self.count), &self.settings);
        }
    }
}
