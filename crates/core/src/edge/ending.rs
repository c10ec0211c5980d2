//! A session ends: the store says so first, then its rooms are told.

use roomcast_protocol::mutated;

use crate::context::Context;
use crate::edge::Edge;
use crate::edge::copied::Ending;
use crate::edge::saving::NO_LEASE;
use crate::edge::session::Session;
use crate::host::{Encoding, Host};
use crate::id::{ClientId, ConnId};
use crate::store::{End, KeyOf, Request, Store};
use crate::time::Now;

impl<S: Store> Edge<S> {
    /// Ends a session in the store first. What is returned, with its turn, may end at once.
    pub(super) fn end_first<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        (client, conn, encoding): (ClientId, ConnId, Encoding),
        mut session: Session,
    ) -> Option<(u64, Session)> {
        let Some(copied) = self.keeper.copy(client) else {
            return Some((0, session));
        };
        if mutated!("session_ends_before_the_store_says") {
            let turn = copied.turn;
            self.keeper.remove(client);
            return Some((turn, session));
        }
        let is_unknown = copied.saved == 0 && copied.asked.is_none() && copied.known.is_none();
        let turn = copied.turn;
        // As many may wait for a store that is away as may wait for their clients.
        let full = self.keeper.ending() >= ctx.settings.max_parked.max(1);
        // What a connection without a session leaves behind has no record.
        if session.key.is_none() || copied.ending.is_some() {
            return Some((0, session));
        }
        if is_unknown || full {
            self.keeper.remove(client);
            return Some((turn, session));
        }
        self.stop_events(conn, &mut session);
        let ending = Ending {
            conn,
            encoding,
            session,
        };
        self.keeper.end(client, ending);
        self.keeper.look_now(client);
        None
    }

    /// The store has ended a session, or another node has it.
    pub(super) fn end_kept<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        done: bool,
    ) {
        let Some(copied) = self.keeper.remove(client) else {
            return;
        };
        let (is_new_to_rooms, turn) = (copied.is_new_to_rooms, copied.turn);
        if let Some(ending) = copied.ending {
            let Ending {
                conn,
                encoding,
                session,
            } = ending;
            if done {
                for membership in session.memberships.iter().filter(|_| is_new_to_rooms) {
                    if let Some(room) = self.rooms.get(membership.room) {
                        let room = (room.reference(), room.id, membership.player);
                        let who = (client, conn, encoding);
                        self.introduce(ctx, now, who, turn, room);
                    }
                }
                self.tell_end(ctx, now, (client, conn, encoding), turn, session);
            } else {
                self.forget_session(ctx, now, (client, conn), session);
            }
        }
        // Who has shown its token meanwhile has waited for this.
        self.keeper.look_now(client);
    }

    /// Asks the store to end a session.
    pub(super) fn ask_to_end<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, client: ClientId) {
        let Some(copied) = self.keeper.copy(client) else {
            return;
        };
        let cluster = ctx.cluster.of(KeyOf::Session(&client));
        // Who has it by now writes it first, where a store has come back that has it as it was here once.
        let is_contested = copied.is_contested(cluster) && !cluster.settled;
        let Some(own) = cluster.own.filter(|_| !is_contested) else {
            return self.keeper.look_at(client, now.micros + NO_LEASE);
        };
        let end = End {
            client,
            turn: copied.turn,
            node: own.home.node,
            known: copied.known,
            store: Some(cluster.store),
        };
        self.ask_of(client, Request::End(end));
    }
}
