//! Rooms that are at home on another node: operations of this node's connections for them go there.
//!
//! All operations of a node for a room come to one shard of it, so they keep their order on their way through here. What
//! the home says goes straight to the connections' shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use roomcast_protocol::mutated;

use crate::address::NodeNumber;
use crate::context::Context;
use crate::home::Home;
use crate::home::backend::answer;
use crate::home::refusals::refuse_absent;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::HomeRoomId;
use crate::letter::{Letter, Op, OpKind};
use crate::store::{HomeName, Slot, Store};
use crate::time::{Now, micros};

/// Milliseconds after which a relay that nobody used is forgotten. Who is in the room knows its home all the same. And after
/// which nothing is on its way any more to a room that was lost.
const UNUSED: u64 = 60_000;

/// Where the home of a room is.
#[derive(Clone, Copy, Debug)]
struct Relay {
    node: NodeNumber,
    /// Microseconds.
    used_at: u64,
}

/// The rooms of which this shard knows that they are at home on another node, and asks nobody.
#[derive(Debug, Default)]
pub(super) struct Relays {
    nodes: BTreeMap<Arc<str>, Relay>,
    /// Rooms of which a node that claims none any more has said that it is not their home. A record that names it is old.
    given_up: BTreeMap<Arc<str>, NodeNumber>,
    /// Rooms that have left this shard with members, and when, in microseconds: other shards' operations are on their way.
    lost: BTreeMap<Arc<str>, u64>,
    sweep_at: u64,
}

impl Relays {
    fn put(&mut self, now: Now, room: Arc<str>, node: NodeNumber) {
        let used_at = now.micros;
        self.nodes.insert(room, Relay { node, used_at });
    }

    /// A room is not at home here any more, though somebody may be in it.
    pub(super) fn note_lost(&mut self, now: Now, room: &Room) {
        if !room.members.is_empty() {
            self.lost.insert(room.name.clone(), now.micros);
        }
    }

    /// Whether the room is taken to be at home on another node.
    pub(super) fn knows(&self, room: &str) -> bool {
        self.nodes.contains_key(room)
    }

    fn node_of(&mut self, now: Now, room: &str) -> Option<NodeNumber> {
        let relay = self.nodes.get_mut(room)?;
        relay.used_at = now.micros;
        Some(relay.node)
    }

    /// Forgets those that were not used for a while.
    pub(super) fn sweep(&mut self, now: Now) {
        if self.sweep_at > now.micros {
            return;
        }
        self.sweep_at = now.micros.saturating_add(micros(UNUSED));
        let since = now.micros.saturating_sub(micros(UNUSED));
        self.nodes.retain(|_, relay| relay.used_at >= since);
        self.lost.retain(|_, at| *at >= since);
    }
}

impl<S: Store> Home<S> {
    /// An operation for a room that is not here. It is forwarded or answered; or the room that was claimed for it is
    /// returned with it.
    pub(super) fn seek<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: Op,
    ) -> Option<(HomeRoomId, Op)> {
        let room = &op.head.room;
        let is_own = op.head.conn.shard.is_own();
        // Whom another node takes for a room's home claims it: what was known of another home is of before.
        if !is_own {
            self.relays.nodes.remove(&room.name);
        } else if let Some(node) = self.relays.node_of(now, &room.name) {
            ctx.forward(node, op);
            return None;
        }
        if op.is_for_any_home() && !self.claims() {
            match is_own {
                true => ctx.come_back(op),
                false => ctx.send_back(op, !self.claims()),
            }
            return None;
        }
        if op.is_for_any_home() {
            let id = self.claim(ctx, now, room)?;
            // What is only looked for is not claimed where it is not there: nobody else is troubled.
            let looks = matches!(&op.request, OpKind::Backend(ask) if !ask.opens());
            if is_own && !looks {
                self.ask_first(ctx, now, id);
            }
            return Some((id, op));
        }
        match room.node {
            // That node is not told to ask elsewhere: what it has sent already may claim the room here, and what it sends on
            // another way would overtake that.
            _ if !is_own && self.claims() => ctx.come_back(op),
            _ if !is_own => ctx.send_back(op, true),
            // It was left, or closed, while this was on its way.
            NodeNumber::OWN if !self.relays.lost.contains_key(&room.name) => {
                ctx.accepted(op.head.conn, op.head.window);
                refuse_absent(ctx, now, op);
            }
            // Whoever was in the room is in it at its next home. Or what it follows went to a home that is none.
            NodeNumber::OWN | NodeNumber::NONE => ctx.come_back(op),
            believed => ctx.forward(believed, op),
        }
        None
    }

    /// The store has said whose the room is that was claimed.
    pub(super) fn theirs<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: HomeRoomId,
        home: HomeName,
    ) {
        // One that lives and is not at the room's store is not the room's home for long.
        let key = self.rooms.get(id).and_then(|it| it.gate.as_ref());
        let slot = key.map_or_else(Slot::default, |gate| gate.slot);
        let living = ctx.cluster.at(slot).node(home.node).map(|it| it.number);
        // What went to one that has given the room up would have no answer once it has ended.
        let name = self.rooms.get(id).map(|room| &room.name);
        let given_up = name.and_then(|name| self.relays.given_up.get(name).copied());
        let living = living.filter(|node| given_up != Some(*node));
        let Some(node) = living.filter(|_| !mutated!("takes_from_the_living")) else {
            if let Some(gate) = self.rooms.get_mut(id).and_then(|it| it.gate.as_mut()) {
                // Since when it is named counts: a later look tells whether it lives.
                let known = gate.theirs.filter(|(named, _)| *named == home);
                gate.theirs = known.or(Some((home, now.micros)));
            }
            return self.ask_again(ctx, now, id, None);
        };
        if let Some(gate) = self.rooms.get_mut(id).and_then(|it| it.gate.as_mut()) {
            gate.answered();
        }
        self.answer_wanted(ctx, now, id, Some(home));
        let Some(mut room) = self.remove(id) else {
            return;
        };
        room.forget_joins_of_gone();
        // A node that was asked by others alone has nothing to send there.
        let mut waiting = room.take_waiting();
        if !waiting.is_empty() {
            self.relays.put(now, room.name, node);
        }
        if mutated!("forwards_out_of_order") {
            waiting.make_contiguous().reverse();
        }
        // Whose join was refused meanwhile is in no room: if the link is lost, nobody knows of an answer that it is owed. Who was
        // told of a home, be it this one before it was lost, is in the room, whatever this shard knew: only a home may answer.
        let mut asked = Vec::new();
        for op in waiting {
            let conn = op.head.conn;
            if op.is_for_any_home() {
                asked.push(conn);
            }
            if !conn.shard.is_own() {
                ctx.send_back(op, !self.claims());
            } else if asked.contains(&conn)
                || matches!(op.request, OpKind::Detach)
                || op.head.room.node != NodeNumber::NONE
            {
                ctx.forward(node, op);
            } else if op.head.seq > 0 {
                ctx.come_back(op);
            } else {
                ctx.accepted(conn, op.head.window);
                refuse_absent(ctx, now, op);
            }
        }
    }

    /// A node is a room's home no more, or never was. `ends`: it claims no room any more.
    pub(crate) fn home_gone<H>(
        &mut self,
        ctx: &mut Context<H>,
        node: NodeNumber,
        room: Arc<str>,
        ends: bool,
    ) {
        let relay = self.relays.nodes.get(&room);
        if relay.is_some_and(|relay| relay.node == node) {
            self.relays.nodes.remove(&room);
        }
        if ends {
            ctx.ending.insert(node);
            self.relays.given_up.insert(room, node);
        }
    }

    /// The link to a node is lost.
    pub(crate) fn forget_relays_to(&mut self, node: NodeNumber) {
        let keeps = mutated!("relay_outlives_its_link");
        self.relays.given_up.retain(|_, by| *by != node);
        self.relays
            .nodes
            .retain(|_, relay| relay.node != node || keeps);
    }
}

impl<H: Host> Context<H> {
    /// Sends an operation of a connection of this node to its room's home on another.
    fn forward(&mut self, node: NodeNumber, op: Op) {
        let home = self.home_on(node, op.head.room.hash);
        match home.filter(|_| !op.is_for_another_home(node)) {
            Some(home) => self.post(home, Letter::Op(op)),
            None => self.come_back(op),
        }
    }

    /// An operation of another node, which takes this one for the home of a room that it does not have. It is not
    /// forwarded again: the other node asks anew.
    /// `ends`: this node claims no room any more.
    fn send_back(&mut self, op: Op, ends: bool) {
        let asks = op.head.conn.shard.node();
        self.tell_gateway(asks, &op.head.room.name, op.head.room.hash, ends);
        self.come_back(op);
    }

    /// Tells the shard of a node that forwards operations for a room that they are not to come here any more.
    pub(super) fn tell_gateway(
        &mut self,
        node: NodeNumber,
        room: &Arc<str>,
        hash: u64,
        ends: bool,
    ) {
        if let Some(gateway) = self.home_on(node, hash) {
            let room = room.clone();
            self.post(gateway, Letter::HomeGone { room, ends });
        }
    }

    /// An operation is not done: its client comes back and asks again.
    pub(crate) fn come_back(&mut self, op: Op) {
        let Op { head, request } = op;
        match request {
            // Nobody waits for an answer.
            OpKind::Detach => return,
            OpKind::Backend(_) => return answer(self, &head, None),
            OpKind::Publish(publish) => self.recycle_for(head.conn.shard, publish.bytes),
            _ => {}
        }
        let conn = head.conn.conn;
        self.send_edge(head.conn.shard, crate::letter::ToEdge::ComeBack { conn });
    }
}
