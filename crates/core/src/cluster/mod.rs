//! A node's place among the others: its agents, one at each store, and its links, as one machine.
//!
//! What happens on each side follows on the other: who lives decides which links there are, and a lost link gives a
//! node another number. The machine brings both together and says what the shards are told, in the order that they
//! need. Hand what it says ([`Cluster::poll_event`]) to each shard in that order, and to all shards before the next.
//!
//! It does no I/O and reads no clock. After each call take the events, the beats ([`Cluster::poll_beat`]) and the
//! datagrams ([`Cluster::poll_transmit`]) until there are none.

mod agents;
mod cut_off;
mod waiting;

use std::collections::VecDeque;

use roomcast_protocol::mutated;

use crate::address::{NodeNumber, ShardAddress};
use crate::context::ForNode;
use crate::node::{ClusterView, ClusterViews, NodeSettings, NodeStats};
use crate::post::{Letter, NotSent, Post, PostEvent, PostKey, PostSettings, PostStats};
use crate::store::{Beat, Beaten, NodeId, Slot, StoreError, StoreId, Ticket};
use crate::time::{Now, micros};
use agents::Agents;
pub use agents::StoreAt;
use cut_off::CutOff;
use waiting::Waiting;

/// What the shards are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// All of them: the cluster as it is from now on ([`Shard::set_cluster`](crate::Shard::set_cluster)).
    View(ClusterViews),
    /// All of them: nothing goes to this node any more, and nothing comes from it. Whatever has a way to it forgets
    /// that.
    Forget(NodeNumber),
    /// All of them, once all have been told to forget: what was under way there is lost.
    Lost(NodeNumber),
    /// One of them: a letter ([`Shard::from_node`](crate::Shard::from_node)).
    Letter {
        /// Who sent it.
        from: ShardAddress,
        /// The shard of this node.
        to: u16,
        /// What it says.
        bytes: Box<[u8]>,
    },
    /// All of them: this node is cut off, and their clients are better off at another one
    /// ([`Shard::send_away`](crate::Shard::send_away)).
    SendAway,
}

/// What the machine has counted since it began, beside its agent and its post.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterStats {
    /// Letters that were dropped, as the link for them is gone.
    pub letters_lost: u64,
    /// Links that were given up, as too much waited for them or could not be read.
    pub given_up: u64,
    /// Gauge: bytes of letters that have no room in their links yet.
    pub waiting_bytes: usize,
}

/// The agents of a node and its links.
#[derive(Debug)]
pub struct Cluster {
    shards: u16,
    agents: Agents,
    post: Post,
    waiting: Waiting,
    cut_off: CutOff,
    events: VecDeque<ClusterEvent>,
    stats: ClusterStats,
}

impl Cluster {
    /// A node that has no lease yet.
    pub fn new(node: NodeSettings, post: PostSettings, key: PostKey) -> Cluster {
        let shards = node.shards;
        let agents = Agents::new(node);
        let views = agents.views().clone();
        Cluster {
            shards,
            agents,
            post: Post::new(post, key),
            events: VecDeque::from([ClusterEvent::View(views)]),
            waiting: Waiting::default(),
            cut_off: CutOff::default(),
            stats: ClusterStats::default(),
        }
    }

    /// Which store answers from now on, for all keys.
    pub fn store_is(&mut self, now: Now, store: StoreId) {
        let whole = StoreAt {
            store: Some(store),
            anchor: Slot::default(),
            ranges: vec![(Slot(0), Slot(Slot::COUNT - 1))],
        };
        self.stores_are(now, &[whole]);
    }

    /// Which stores share the keys from now on; none: as before. This node has a lease at each.
    ///
    /// One that has slots of another one which is not there any more has taken its place: what only that one had is
    /// written there. Who keeps none of its slots is left.
    pub fn stores_are(&mut self, now: Now, stores: &[StoreAt]) {
        self.agents.stores_are(now, stores);
        self.follow(now);
    }

    /// A shard has turned. `settled_at`: stores at which it has written all rooms that it had, or given them up.
    pub fn turned(&mut self, shard: u16, settled_at: impl IntoIterator<Item = StoreId>) {
        self.agents.turned(shard, settled_at);
    }

    /// Shards that have not turned since the last beat: they are woken when the next one is due.
    pub fn waits_for(&self) -> impl Iterator<Item = u16> {
        self.agents.waits_for()
    }

    /// When the next beat is due, in microseconds; `None`: there is no store.
    pub fn beat_at(&self) -> Option<u64> {
        self.agents.next_wake()
    }

    /// The beat that is to be sent now, if one is.
    pub fn poll_beat(&mut self, now: Now) -> Option<(Ticket, Beat)> {
        self.agents.poll_beat(now)
    }

    /// A beat was answered; in any order, late, again, or not at all.
    pub fn answered(&mut self, now: Now, ticket: Ticket, answer: Result<Beaten, StoreError>) {
        self.agents.answered(now, ticket, answer);
        self.follow(now);
    }

    /// Looks whether this node is cut off from the store while its clients still reach it: for `after_ms` milliseconds it has
    /// had no lease anywhere, and by `another_lives` another node has one. Then it says [`ClusterEvent::SendAway`], once
    /// until it has a lease again. Call this now and then.
    pub fn look_if_cut_off(
        &mut self,
        now: Now,
        after_ms: u64,
        another_lives: impl FnOnce() -> bool,
    ) {
        let view = self.agents.views().nodes();
        if (self.cut_off).look(now, view, micros(after_ms), another_lives) {
            self.events.push_back(ClusterEvent::SendAway);
        }
    }

    /// The node has nothing any more: see [`NodeAgent::end`](crate::node::NodeAgent::end). Nothing may be done with its
    /// rooms after that.
    pub fn end(&mut self, now: Now) {
        self.agents.end(now);
        self.follow(now);
    }

    /// Whether each store knows that the node has ended, or there is nothing to tell it.
    pub fn has_ended(&self) -> bool {
        self.agents.have_ended()
    }

    /// A shard sends letters to a shard of another node. They arrive in the order in which each shard sends them.
    pub fn send(&mut self, now: Now, from: u16, letters: ForNode) {
        let ForNode { to, bytes, urgent } = letters;
        let letter = Letter {
            to_shard: to.shard(),
            from_shard: from,
            bytes: bytes.into(),
        };
        if self.waiting.is_for(to.node()) {
            self.wait(to.node(), letter);
        } else {
            let sent = match urgent {
                true => self.post.send(to.node(), letter),
                false => self.post.send_later(now, to.node(), letter),
            };
            if let Some(letter) = self.not_sent(to.node(), sent) {
                self.wait(to.node(), letter);
            }
        }
        self.follow(now);
    }

    /// What another node sent can't be read, so what follows it is of no use either.
    pub fn give_up(&mut self, now: Now, node: NodeNumber) {
        self.abandon(node);
        self.follow(now);
    }

    /// Takes in a datagram.
    pub fn handle(&mut self, now: Now, datagram: &[u8]) {
        self.post.handle(now, datagram);
        self.follow(now);
    }

    /// The next datagram to send, and to which node. Until [`Cluster::taken`] is called for it there is no other one
    /// for that node.
    pub fn poll_transmit(&mut self, now: Now) -> Option<(NodeId, Vec<u8>)> {
        self.post.poll_transmit(now)
    }

    /// The channel has taken the datagram to this node, or has lost it.
    pub fn taken(&mut self, now: Now, node: NodeId) {
        self.post.taken(now, node);
    }

    /// What the shards are to be told next.
    pub fn poll_event(&mut self) -> Option<ClusterEvent> {
        self.events.pop_front()
    }

    /// When the next datagram is due, in microseconds, if nothing happens before.
    pub fn transmit_at(&self) -> Option<u64> {
        self.post.next_wake()
    }

    /// Microseconds at which there is something to send, if nothing happens before. A beat waits for all shards, too.
    pub fn next_wake(&self) -> Option<u64> {
        let wakes = [self.beat_at(), self.transmit_at()];
        wakes.into_iter().flatten().min()
    }

    /// Whether all that was sent has come.
    pub fn is_flushed(&self) -> bool {
        self.waiting.bytes() == 0 && self.post.unacked() == 0
    }

    /// The cluster as it is known, at each store.
    pub fn views(&self) -> &ClusterViews {
        self.agents.views()
    }

    /// Who lives, at any store.
    pub fn view(&self) -> &ClusterView {
        self.agents.views().nodes()
    }

    /// What was counted.
    pub fn stats(&mut self) -> (&ClusterStats, &NodeStats, &PostStats) {
        self.stats.waiting_bytes = self.waiting.bytes();
        (&self.stats, self.agents.stats(), self.post.stats())
    }

    /// Brings agent and post together until neither has news.
    fn follow(&mut self, now: Now) {
        loop {
            self.take_view(now);
            match self.post.poll_event() {
                None => return,
                Some(PostEvent::Letter {
                    from,
                    to_shard,
                    bytes,
                }) => self.deliver(from, to_shard, bytes),
                Some(PostEvent::Room(node)) => self.fill(node),
                Some(PostEvent::Lost(node)) => self.lost(now, node),
            }
        }
    }

    fn take_view(&mut self, now: Now) {
        if let Some(views) = self.agents.poll_views() {
            self.post.meet(now, views.nodes());
            self.events.push_back(ClusterEvent::View(views));
        }
    }

    fn deliver(&mut self, from: ShardAddress, to: u16, bytes: Box<[u8]>) {
        // The other node takes this one for another: their entries differ.
        if to >= self.shards {
            self.stats.letters_lost += 1;
            return;
        }
        self.events
            .push_back(ClusterEvent::Letter { from, to, bytes });
    }

    /// The view goes first: whoever looks for a way to the node again must not find the number that is gone.
    fn lost(&mut self, now: Now, node: NodeNumber) {
        self.stats.letters_lost += self.waiting.drop_all(node);
        self.agents.link_lost(node);
        self.take_view(now);
        self.events.push_back(ClusterEvent::Forget(node));
        if !mutated!("lost_link_is_not_told") {
            self.events.push_back(ClusterEvent::Lost(node));
        }
    }

    /// Gives the letter back where the link has no room for it.
    fn not_sent(&mut self, node: NodeNumber, sent: Result<(), NotSent>) -> Option<Letter> {
        match sent {
            Ok(()) => {}
            Err(NotSent::Full(letter)) => return Some(letter),
            Err(NotSent::Gone(_)) => self.stats.letters_lost += 1,
            // Without it the rest would come as if nothing were missing.
            Err(NotSent::TooLarge(_)) => self.abandon(node),
        }
        None
    }

    fn wait(&mut self, node: NodeNumber, letter: Letter) {
        if !self.waiting.push(node, letter) {
            self.abandon(node);
        }
    }

    fn abandon(&mut self, node: NodeNumber) {
        self.stats.given_up += u64::from(self.post.give_up(node));
    }

    fn fill(&mut self, node: NodeNumber) {
        while let Some(letter) = self.waiting.pop(node) {
            let sent = self.post.send(node, letter);
            if let Some(letter) = self.not_sent(node, sent) {
                return self.waiting.put_back(node, letter);
            }
        }
    }
}
