//! A shard: the connections that live on it, and the rooms that are at home on it.
//!
//! One turn of whoever runs it: hand in what sockets, other shards and the clock brought
//! ([`Shard::receive`], [`Shard::from_shard`], [`Shard::run_timers`]), let the rooms do their work
//! ([`Shard::run_rooms`]), write to each connection that has something ([`Shard::next_dirty`],
//! [`Shard::gather`], [`Shard::written`]), send the outboxes, and sleep until [`Shard::next_wake`].

mod looking;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use roomcast_protocol::CloseCode;

use crate::address::{NodeNumber, ShardAddress};
use crate::authorize::Decision;
use crate::backend::{Asker, Batch, Busy, Found, Query, Question, Reply, Taken};
use crate::batcher::BatcherLimits;
use crate::context::{Context, ForNode};
use crate::desk::{Desk, QuestionId};
use crate::edge::{AfterClose, Edge, MovingConnection, Received, Written};
use crate::home::{Home, refuse_withheld};
use crate::host::{Encoding, Host};
use crate::id::{ConnId, NameHash};
use crate::identity::Access;
use crate::kinds::Kinds;
use crate::letter::{Letter, Op, ShardMessage, ToEdge};
use crate::node::ClusterViews;
use crate::settings::Settings;
use crate::stats::Stats;
use crate::store::{Sorted, Store, StoreId};
use crate::time::Now;
use crate::wire::{self, Reader, WireError};
use looking::Looks;

/// What a shard is made from.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its number among the node's shards, from 0.
    pub index: u16,
    /// How many shards the node has.
    pub count: u16,
    /// The same for all of them.
    pub settings: Arc<Settings>,
    /// The same for all of them.
    pub kinds: Arc<Kinds>,
    /// The batcher's settings.
    pub batcher: BatcherLimits,
    /// Which shard a name is at home on. Nobody outside may know it. With a store it is the same on all nodes, as each
    /// finds a room's shard on the others; else it is random, and the same for all shards of the node.
    pub hash_key: [u64; 2],
}

/// Who has asked a question, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuestionFrom(ShardAddress, u32);

/// One single-threaded worker of a node, without its sockets, clock and randomness.
pub struct Shard<H, S> {
    ctx: Context<H>,
    edge: Edge<S>,
    home: Home<Sorted<S>>,
    desk: Desk,
    /// What its node is called, where somebody looks at nodes.
    pub(crate) node_name: Box<str>,
    /// Batches for event streams of this node, which another one has got, and who waits for an answer.
    batches: VecDeque<(QuestionFrom, Batch)>,
    /// What it looks for, for whoever runs it.
    looks: Looks,
}

impl<H: Host, S: Store> Shard<H, S> {
    /// A shard without connections.
    pub fn new(config: ShardConfig, host: H, store: S) -> Shard<H, S> {
        let ShardConfig {
            index,
            count,
            settings,
            kinds,
            batcher,
            hash_key,
        } = config;
        let mut edge = Edge::new(&settings);
        edge.batcher.limits = batcher;
        let names = NameHash::new(hash_key);
        let log_memory = settings.log_memory.div_ceil(usize::from(count.max(1)));
        let gather = settings.gather;
        let ctx = Context::new((index, count), settings, kinds, names, host);
        Shard {
            ctx,
            edge,
            home: Home::new(log_memory, gather, Sorted::new(store)),
            desk: Desk::default(),
            node_name: Box::default(),
            batches: VecDeque::new(),
            looks: Looks::default(),
        }
    }

    /// A connection was made.
    pub fn open(&mut self, now: Now, encoding: Encoding, access: Access) -> ConnId {
        self.edge.open(&mut self.ctx, now, encoding, access)
    }

    /// Bytes arrived, whole messages or not: a sign of life.
    pub fn note_received(&mut self, now: Now, conn: ConnId) {
        self.edge.note_received(now, conn);
    }

    /// Takes what a connection sent. Ask [`Shard::may_read`] before each.
    pub fn receive(&mut self, now: Now, conn: ConnId, received: Received<'_>) {
        if S::WAITS {
            // What it says next is for the room's next home, behind the word that it is in that room.
            self.edge.leave_homes(&mut self.ctx, now);
        }
        self.edge.receive(&mut self.ctx, now, conn, received);
    }

    /// Whether the connection's next message has room. If not, don't read from it until
    /// [`Shard::next_readable`] names it.
    pub fn may_read(&self, conn: ConnId) -> bool {
        self.edge.may_read(&self.ctx, conn)
    }

    /// A connection that may be read from again. May name one that was never stopped.
    pub fn next_readable(&mut self) -> Option<ConnId> {
        self.edge.next_readable()
    }

    /// Closes a connection: a close frame is queued, and [`Shard::next_closing`] will name it.
    pub fn close(&mut self, now: Now, conn: ConnId, code: u16, reason: &str) {
        let after = AfterClose::of_code(code, &self.ctx.settings);
        self.edge
            .close(&mut self.ctx, now, conn, code, reason, after);
    }

    /// The same with a code of the server's: its reason says when to come back, where one may.
    pub fn close_with(&mut self, now: Now, conn: ConnId, code: CloseCode) {
        self.edge.close_with(&mut self.ctx, now, conn, code);
    }

    /// The client has sent a close frame with this code (1005: with none): it is answered, as by [`Shard::close`].
    pub fn closed_by_peer(&mut self, now: Now, conn: ConnId, code: u16) {
        self.edge.closed_by_peer(&mut self.ctx, now, conn, code);
    }

    /// A connection that has asked for a session that lives on another shard: its name here is free again. Take its
    /// socket there, with what came behind its last message, and go on with what [`Shard::arrive`] names it.
    ///
    /// Ask after each [`Shard::receive`] for which [`Shard::may_read`] is false then.
    pub fn next_moving(&mut self) -> Option<(ConnId, u16, MovingConnection)> {
        self.edge.next_moving(&mut self.ctx)
    }

    /// A connection has come from another shard.
    pub fn arrive(&mut self, now: Now, encoding: Encoding, moving: MovingConnection) -> ConnId {
        self.edge.arrive(&mut self.ctx, now, encoding, moving)
    }

    /// A connection whose socket is to be closed once what waits for it is written, or when it had its time to take
    /// that: how long is the embedder's to decide. May be named again.
    pub fn next_closing(&mut self) -> Option<ConnId> {
        self.edge.next_closing()
    }

    /// The connection's socket is gone; its slot is free.
    pub fn closed(&mut self, now: Now, conn: ConnId) {
        self.edge.closed(&mut self.ctx, now, conn);
    }

    /// Serves the rooms that have something to do, and hands out what they made. `true`: there is
    /// more, take another turn without sleeping.
    pub fn run_rooms(&mut self, now: Now) -> bool {
        let mut budget = i64::try_from(self.ctx.settings.turn_bytes.max(1)).unwrap_or(i64::MAX);
        if S::WAITS {
            while let Some((ticket, result)) = self.home.store().poll_session(now) {
                self.edge.hear(&mut self.ctx, now, ticket, result);
            }
        }
        let mut more = self.edge.send_copies(&mut self.ctx, now);
        self.home.begin_turn(now);
        if S::WAITS {
            self.edge.leave_homes(&mut self.ctx, now);
        }
        loop {
            let mut ops = std::mem::take(&mut self.ctx.local_ops);
            for op in ops.drain(..) {
                self.home.enqueue(&mut self.ctx, now, op);
            }
            self.ctx.local_ops = ops;
            more |= self.home.serve(&mut self.ctx, now, &mut budget);
            self.home.seal(&mut self.ctx, now);
            if S::WAITS && self.ctx.has_withheld() {
                refuse_withheld(&mut self.ctx, now);
            }
            let mut messages = std::mem::take(&mut self.ctx.local_edge);
            for message in messages.drain(..) {
                match message.question() {
                    Some(question) => self.desk.hear(now, question, message),
                    None => self
                        .edge
                        .apply(&mut self.ctx, now, NodeNumber::OWN, message),
                }
            }
            self.ctx.local_edge = messages;
            if S::WAITS {
                self.edge.leave_homes(&mut self.ctx, now);
            }
            if self.ctx.local_ops.is_empty() || budget <= 0 {
                break;
            }
        }
        self.edge.flush_acks(&mut self.ctx, now);
        if S::WAITS {
            self.edge.flush_sessions(&mut self.ctx, now);
            for (ticket, request) in self.edge.take_requests() {
                self.home.store().submit(now, ticket, request);
            }
        }
        self.home.flush_store();
        self.edge.note_waiting();
        more |= !self.ctx.local_ops.is_empty();
        self.ctx.stats.turns_cut += u64::from(more);
        more | self.look(now)
    }

    /// Whether writing or closing has left something for the rooms: take another turn without sleeping.
    pub fn has_work(&self) -> bool {
        !self.ctx.local_ops.is_empty()
            || !self.ctx.local_edge.is_empty()
            || S::WAITS
                && (self.edge.has_requests()
                    || self.edge.has_lost_homes()
                    || self.ctx.has_withheld())
    }

    /// A connection that has something to write now.
    pub fn next_dirty(&mut self, now: Now) -> Option<ConnId> {
        self.edge.next_dirty(now)
    }

    /// Fills `slices` with what the connection is to be sent next; returns how many it filled.
    // `Edge::gather` says why.
    #[inline(always)]
    pub fn gather<'a>(&'a mut self, conn: ConnId, slices: &mut [IoSlice<'a>]) -> usize {
        self.edge.gather(conn, slices)
    }

    /// The socket took `bytes` of what was gathered, and nothing more for now if `blocked`.
    pub fn written(&mut self, now: Now, conn: ConnId, bytes: usize, blocked: bool) -> Written {
        self.edge.written(&mut self.ctx, now, conn, bytes, blocked)
    }

    /// The connection's socket took bytes, though of nothing that was gathered.
    #[cold]
    pub(crate) fn note_progress(&mut self, now: Now, conn: ConnId) {
        self.edge.note_progress(now, conn);
    }

    /// Messages for another shard of this node; take them and hand them to its [`Shard::from_shard`] in order.
    pub fn outbox(&mut self, shard: u16) -> Option<&mut Vec<ShardMessage>> {
        self.ctx.outbox(shard)
    }

    /// Letters for a shard of another node, as bytes: all that a turn has made for it, or a part of that. Take them when
    /// the turn ends, before [`Shard::outbox`], and hand them in their order to that one's [`Shard::from_node`].
    pub fn next_for_node(&mut self, now: Now) -> Option<ForNode> {
        self.ctx.next_for_node(now)
    }

    /// Takes a message from another shard of this node.
    pub fn from_shard(&mut self, now: Now, from: u16, message: ShardMessage) {
        self.take(now, ShardAddress::own(from), message.0);
    }

    /// Takes letters from a shard of another node, as its [`Shard::next_for_node`] gave them. Returns how many of them are
    /// of a newer version, and were skipped. Those of a node that is not among the living ([`Shard::set_cluster`]) are
    /// dropped.
    ///
    /// # Errors
    /// The rest of them can't be read. The link is of no more use: what follows would come without them.
    pub fn from_node(
        &mut self,
        now: Now,
        from: ShardAddress,
        letters: &[u8],
    ) -> Result<u32, WireError> {
        if !self.ctx.lives(from.node()) {
            return Ok(0);
        }
        let mut bytes = Reader::new(letters);
        let mut unknown = 0;
        while !bytes.is_empty() {
            let mut at = self.ctx.receiving(now, from.node());
            match wire::letter::read(&mut bytes, &mut at)? {
                Some(letter) => self.take(now, from, letter),
                None => unknown += 1,
            }
        }
        Ok(unknown)
    }

    fn take(&mut self, now: Now, from: ShardAddress, letter: Letter) {
        match letter {
            Letter::Op(op) => self.take_op(from, op),
            Letter::Edge(message) => {
                if let ToEdge::Deliver(delivery) = &message {
                    self.ctx.post(from, Letter::Credit(delivery.bytes));
                }
                if let Some(question) = message.question() {
                    return self.desk.hear(now, question, message);
                }
                self.edge.apply(&mut self.ctx, now, from.node(), message);
            }
            Letter::HomeGone { room, ends } => {
                self.home.home_gone(&mut self.ctx, from.node(), room, ends);
            }
            Letter::Wanted(room) => self.home.wanted(&mut self.ctx, now, from.node(), room),
            Letter::Whose(whose) => {
                let (room, home) = *whose;
                self.home.whose(&mut self.ctx, now, &room, home);
            }
            Letter::Direct(message) => self.edge.take_direct(&mut self.ctx, now, *message),
            Letter::Receipt(receipt) if receipt.sender.is_nobodys() => {
                self.desk.take_receipt(&receipt);
            }
            Letter::Query(query) => self.find(now, from, *query),
            Letter::Found(found) => self.desk.found(&mut self.ctx, from, found.0, found.1),
            Letter::Receipt(receipt) => self.edge.take_receipt(&mut self.ctx, now, &receipt),
            Letter::User(user) => self.edge.note_user(&mut self.ctx, now, &user),
            Letter::SessionRefused(client) => self.edge.refuse_session(&mut self.ctx, now, client),
            Letter::News(news) => self.edge.hear_news(&mut self.ctx, now, &news),
            Letter::NewsLost => self.edge.miss_news(now),
            Letter::SessionTaken(taken) => self.edge.session_taken(&mut self.ctx, now, taken),
            Letter::Spare(buffer) => self.ctx.recycle(buffer),
            Letter::Credit(bytes) => self.ctx.link_credit(from, bytes),
        }
    }

    /// Answers what a backend asks of all shards.
    fn find(&mut self, now: Now, from: ShardAddress, (number, query): (u32, Query)) {
        if self.looks.begin(now, (from, number), &query) {
            return;
        }
        let found = match query {
            Query::Rooms(rooms) => self.home.list(&rooms),
            Query::Whose(user) => Found::Whose(self.edge.whose(&self.ctx, &user)),
            Query::Sessions { user, clients } => {
                Found::Sessions(self.edge.sessions_of(&self.ctx, &user, &clients))
            }
            Query::Disconnect {
                user,
                clients,
                reason,
            } => {
                let of_user = (&*user, &*clients);
                let ended = self.edge.disconnect(&mut self.ctx, now, of_user, &reason);
                Found::Ended(ended)
            }
            // Answered when the store has answered.
            Query::EndOrphans(user) => {
                return self
                    .edge
                    .end_orphans(&mut self.ctx, now, (from, number), user);
            }
            // Whoever runs this shard knows the streams.
            Query::Batch(batch) => {
                return self.batches.push_back((QuestionFrom(from, number), batch));
            }
            // Looked for, or of a newer version.
            Query::Nodes | Query::Top(_) | Query::Connections(_) | Query::Newer => Found::Unknown,
        };
        self.ctx
            .post(from, Letter::Found(Box::new((number, found))));
    }

    fn take_op(&mut self, from: ShardAddress, op: Op) {
        // Another node may be wrong about where a room's home is. Of two shards with one room both would be its home.
        if from.is_own() || self.ctx.home_of(op.head.room.hash) == self.ctx.own {
            self.ctx.local_ops.push(op);
        } else {
            self.ctx.come_back(op);
        }
    }

    /// The link to a node is lost: nothing more goes there, and rooms that are at home there are looked for anew. To be
    /// told to all shards before any of them is told [`Shard::node_lost`].
    pub fn forget_node(&mut self, node: NodeNumber) {
        self.ctx.forget_node(node);
        self.home.forget_relays_to(node);
    }

    /// The link to a node is lost, and all shards have forgotten it. Connections that are in rooms there go on where those
    /// are next, or come back. Members whose connections were there have their grace from now on.
    pub fn node_lost(&mut self, now: Now, node: NodeNumber) {
        self.ctx
            .local_ops
            .retain(|op| op.head.conn.shard.node() != node);
        self.home.node_lost(&mut self.ctx, now, node);
        self.edge.node_lost(&mut self.ctx, now, node);
        self.desk.node_lost(&mut self.ctx, now, node);
    }

    /// A backend asks something, of whichever node that is. [`Shard::next_reply`] has its answer, within ten seconds.
    ///
    /// # Errors
    /// Too many questions have no answer yet.
    pub fn ask(&mut self, now: Now, asker: Asker, question: Question) -> Result<QuestionId, Busy> {
        let asked = (asker, question);
        self.desk.ask(&mut self.ctx, &mut self.edge, now, asked)
    }

    /// The answer to a question: each has one.
    pub fn next_reply(&mut self) -> Option<(QuestionId, Reply)> {
        self.desk.next_reply()
    }

    /// A backend has decided, as it was asked with [`Host::ask`]. Without a decision in time there is none.
    pub fn decide(&mut self, now: Now, number: u32, decision: Decision) {
        self.home.decide(now, number, decision);
    }

    /// A batch for an event stream of this node. Its answer is to be given with [`Shard::batch_taken`].
    pub fn next_batch(&mut self) -> Option<(QuestionFrom, Batch)> {
        self.batches.pop_front()
    }

    /// What became of a batch that [`Shard::next_batch`] has given.
    pub fn batch_taken(&mut self, from: QuestionFrom, taken: Taken) {
        let QuestionFrom(from, number) = from;
        let found = (number, Found::Taken(taken));
        self.ctx.post(from, Letter::Found(Box::new(found)));
    }

    /// Backends' questions that have no answer yet.
    pub fn questions(&self) -> usize {
        self.desk.len()
    }

    /// Does what the clock asks for: heartbeats, the pool's clean-up, rooms' ticks.
    pub fn run_timers(&mut self, now: Now) {
        self.edge.run_timers(&mut self.ctx, now);
        self.home.run_timers(&mut self.ctx, now);
        self.desk.run_timers(&mut self.ctx, now);
        if self.ctx.trim_spares(now) {
            self.edge.trim_waiting();
        }
    }

    /// Microseconds at which the next turn has something to do; 0 where what was written or closed
    /// since [`Shard::run_rooms`] left work for it.
    pub fn next_wake(&self) -> Option<u64> {
        if self.has_work() || !self.looks.is_empty() {
            return Some(0);
        }
        let wakes = [
            self.edge.next_wake(),
            self.home.next_wake(),
            self.desk.next_wake(),
            self.ctx.next_trim(),
        ];
        wakes.into_iter().flatten().min()
    }

    /// Asks everybody to come back, each after a delay of its own within `spread_ms`.
    pub fn announce_reconnect(&mut self, now: Now, spread_ms: u64) {
        self.edge.announce_reconnect(&mut self.ctx, now, spread_ms);
    }

    /// The node is cut off from the others: everybody is asked to come back, at the pace of
    /// [`Settings::come_back_pace`], and closed with 4000.
    pub fn send_away(&mut self, now: Now) {
        self.edge.send_away(&mut self.ctx, now);
    }

    /// Closes everybody with a code.
    pub fn close_all(&mut self, now: Now, code: CloseCode) {
        self.edge.close_all(&mut self.ctx, now, code);
    }

    /// The node is about to end: from here on no room is claimed.
    pub fn claim_nothing(&mut self) {
        self.home.claim_nothing();
    }

    /// Gives all rooms up, with those who are in them: other nodes are told once the store has the last of them. For a
    /// node that has no connections any more.
    pub fn give_up_rooms(&mut self) {
        if S::WAITS {
            self.home.give_up_rooms();
        }
    }

    /// Whether the store has all that was here: nothing is lost if the node ends now.
    pub fn is_quiet(&self) -> bool {
        !S::WAITS || !self.has_work() && self.home.is_empty() && self.edge.is_quiet()
    }

    /// How many connections live here.
    pub fn connections(&self) -> usize {
        self.edge.connections()
    }

    /// How many rooms are at home here, and in how many the connections here are.
    pub fn rooms(&self) -> (usize, usize) {
        (self.home.len(), self.edge.rooms())
    }

    /// Sessions here that have no connection, and users at home here.
    pub fn sessions(&self) -> (usize, usize) {
        self.edge.sessions()
    }

    /// Bytes of deliveries that other shards have not taken over yet.
    pub fn link_bytes(&self) -> usize {
        self.ctx.link_bytes()
    }

    /// What was counted.
    pub fn stats(&mut self) -> &Stats {
        (self.ctx.stats.lane_pieces, self.ctx.stats.chunks) = self.edge.waiting();
        (self.ctx.stats.parked, _) = self.edge.sessions();
        self.ctx.stats.spare_bytes = self.ctx.spare_bytes();
        self.ctx.stats.inbox_bytes = self.ctx.inbox_memory.held();
        (self.ctx.stats.log_bytes, self.ctx.stats.logs_evicted) = self.home.log_usage();
        self.home.count_kinds(&mut self.ctx.stats);
        &self.ctx.stats
    }

    /// The host that was given.
    pub fn host(&mut self) -> &mut H {
        &mut self.ctx.host
    }

    /// The cluster as this node knows it from now on. While the node has no lease, nothing is asked of the store.
    pub fn set_cluster(&mut self, cluster: impl Into<ClusterViews>) {
        self.ctx.cluster = cluster.into();
        self.home.meet(&mut self.ctx);
        if S::WAITS {
            self.edge.meet(&self.ctx.cluster);
        }
    }

    /// The stores at which everything is written that this shard had when it met them: rooms, and sessions.
    pub fn settled_at(&mut self) -> Vec<StoreId> {
        let mut stores = self.home.settled_at();
        stores.retain(|store| self.edge.has_written_all(*store));
        stores
    }

    /// The store that was given.
    pub fn store(&mut self) -> &mut S {
        self.home.store().inner()
    }
}
