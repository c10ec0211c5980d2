//! Seats that nobody has come back for in time: before one ends, the store is asked who has its session.
//!
//! A home's time is its own. It begins when the room comes here, or when the node of the connection is lost. The session's
//! begins when its connection is lost, which may be later: where its node has yet to hear that the room has moved. A node
//! that lives ends what its sessions have, and says so with a `Leave`: it is waited for, but for no longer than a grace, as the
//! record may be an older one that a store came back with.

use roomcast_protocol::mutated;

use crate::context::Context;
use crate::home::Home;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::{ClientId, EdgeRoomId, HomeRoomId};
use crate::letter::Leave;
use crate::logs::Logs;
use crate::node::ClusterViews;
use crate::player::PlayerNum;
use crate::store::{Answer, KeyOf, NodeId, Request, Store, StoreError, Take, Taken, Ticket};
use crate::time::{Now, micros};
use crate::wire::session::{PackedMembership, PackedSession};

/// Sessions that a shard asks about at once.
const MOST_AT_ONCE: usize = 256;
/// Milliseconds until a seat is looked at again: whose session is on a node that lives, and where nobody could be asked.
const AGAIN: u64 = 2_000;
/// The same where too many are asked about.
const SOON: u64 = 50;

/// What the store says of the session of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// It knows that it is in the room, and this node has it.
    IsOn(NodeId),
    /// Nobody brings it back to the room.
    IsOver,
    Unknown,
}

impl<S: Store> Home<S> {
    /// Asks about the seats of a room whose time is over.
    pub(super) fn ask_about_overdue<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: HomeRoomId,
    ) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        ctx.hold();
        room.end_detached(ctx, &mut self.logs, now);
        room.speak(ctx, &self.logs, now);
        let Some(gate) = room.gate.as_mut() else {
            return;
        };
        let mut over = Vec::new();
        if mutated!("orphans_never_end") {
            gate.orphans.wait();
        }
        gate.orphans.begin_overdue(now, &mut over);
        over.sort_unstable();
        for (_, client) in over {
            let cluster = ctx.cluster.of(KeyOf::Session(&client));
            let store = cluster.store;
            if cluster.acts(now.micros).is_none() {
                gate.orphans
                    .put_off(client, now.micros.saturating_add(micros(AGAIN)));
                continue;
            }
            if self.overdue.len() >= MOST_AT_ONCE {
                gate.orphans
                    .put_off(client, now.micros.saturating_add(micros(SOON)));
                continue;
            }
            let look = Take::look(client, store, ctx.host.random());
            let ticket = Ticket(self.next_ticket);
            self.next_ticket += 1;
            gate.orphans.note_asked(client, ticket);
            self.overdue.insert(ticket, (id, client));
            ctx.stats.store_requests[0] += 1;
            self.store.submit(now, ticket, Request::Take(look));
        }
    }

    /// The store has said who has the session of a seat.
    pub(super) fn heard_of_overdue<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (ticket, id, client): (Ticket, HomeRoomId, ClientId),
        result: Result<Answer, StoreError>,
    ) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let again = now.micros.saturating_add(micros(AGAIN));
        let session = room.session_of(ctx, client, result);
        let Some(gate) = &mut room.gate else {
            return;
        };
        let Some((player, since)) = gate.orphans.asked_about(client, ticket) else {
            return;
        };
        let grace = micros(ctx.settings.session_grace);
        let until = match session {
            Session::Unknown => again,
            Session::IsOn(node) if lives(ctx, node) => again.min(since.saturating_add(grace)),
            // Until it died its client may have been connected there.
            Session::IsOn(node) => {
                let gone = self.gone.get(&node);
                gone.map_or(0, |at| at.saturating_add(grace))
            }
            Session::IsOver => 0,
        };
        if until > now.micros && !mutated!("orphans_end_at_once") {
            gate.orphans.put_off(client, until);
        } else {
            ctx.hold();
            room.end_absent(ctx, &mut self.logs, now, (player, client));
            room.speak(ctx, &self.logs, now);
        }
        self.mark_unsealed(id);
    }

    /// Notes which nodes do not live any more.
    pub(super) fn note_gone(&mut self, cluster: &ClusterViews, grace: u64) {
        let view = cluster.nodes();
        let since = view.asked_at.saturating_sub(micros(grace));
        let lives = |node: NodeId| view.node(node).is_some();
        self.gone.retain(|node, at| *at >= since && !lives(*node));
        let before = self.met.nodes().living.iter().map(|it| it.home.node);
        let gone = before.filter(|node| !lives(*node));
        self.gone.extend(gone.map(|node| (node, view.asked_at)));
    }
}

/// Whether a node lives, or is this one.
fn lives<H>(ctx: &Context<H>, node: NodeId) -> bool {
    let nodes = ctx.cluster.nodes();
    let is_own = nodes.own.is_some_and(|own| own.home.node == node);
    is_own || nodes.node(node).is_some()
}

impl Room {
    fn session_of<H: Host>(
        &self,
        ctx: &Context<H>,
        client: ClientId,
        result: Result<Answer, StoreError>,
    ) -> Session {
        let Ok(Answer::Session(taken)) = result else {
            return Session::Unknown;
        };
        // While sessions are written at another store than before, it may be yet to come.
        if !ctx.cluster.of(KeyOf::Session(&client)).is_newest(&taken) {
            return Session::Unknown;
        }
        let (Taken::Taken(record) | Taken::Other(record)) = taken else {
            return Session::IsOver;
        };
        let saved = PackedSession::read(&record.value).ok();
        let is_in = |it: &PackedMembership| *it.room == *self.name && !it.leaves;
        match saved.is_some_and(|it| it.memberships.iter().any(is_in)) {
            true => Session::IsOn(record.node),
            false => Session::IsOver,
        }
    }

    /// Seats that their node has not ended in time.
    fn end_detached<H: Host>(&mut self, ctx: &mut Context<H>, logs: &mut Logs, now: Now) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        let mut over = Vec::new();
        if mutated!("orphans_never_end") {
            gate.detached.wait();
        }
        gate.detached.take_overdue(now, &mut over);
        over.sort_unstable();
        for seat in over {
            self.end_absent(ctx, logs, now, seat);
        }
    }

    /// A seat ends, as those do that leave.
    fn end_absent<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        (player, client): (PlayerNum, ClientId),
    ) {
        let head = self.own_head(now);
        let leave = Leave {
            gone: true,
            edge_room: EdgeRoomId::NONE,
            client_id: client,
            turn: 0,
        };
        self.depart(ctx, logs, now, head, leave, (player, client));
    }
}
