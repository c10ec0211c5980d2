//! A session that is on another node now, or has ended elsewhere, is forgotten here.

use roomcast_protocol::{CloseCode, mutated};

use crate::context::Context;
use crate::edge::Edge;
use crate::edge::session::Session;
use crate::host::{Encoding, Host};
use crate::id::{ClientId, ConnId};
use crate::letter::{OpKind, SessionTaken};
use crate::store::{Store, Taken};
use crate::time::Now;
use crate::token::SessionKey;
use crate::wire::session::PackedSession;

impl<S: Store> Edge<S> {
    /// A record was not written: this is what the store has.
    pub(super) fn lose_to<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        taken: &Taken,
    ) {
        let Taken::Other(record) = taken else {
            return self.lose(ctx, now, client, CloseCode::Reconnect);
        };
        let own = ctx.cluster.nodes().own.map(|own| own.home.node);
        let turn = self.keeper.copy(client).map(|it| it.turn);
        if own == Some(record.node) && turn == Some(record.turn) {
            // It was written by another request.
            return self.keeper.look_now(client);
        }
        // Who has shown an older token has not heard of the newest: the client may be here.
        let saved = PackedSession::read(&record.value).ok();
        let key = self.live_key(ctx, client);
        let is_newer = saved.zip(key).is_some_and(|(saved, key)| {
            saved.key.incarnation == key.incarnation && saved.key.generation > key.generation
        });
        self.lose(ctx, now, client, taken_code(is_newer));
    }

    /// Another node has taken a session.
    pub(crate) fn session_taken<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        taken: SessionTaken,
    ) {
        let copied = self.keeper.copy(taken.client);
        if copied.is_some_and(|it| it.turn < taken.turn) {
            // The newest is the one that was made for the connection here. The store may not have it yet.
            let key = self.live_key(ctx, taken.client);
            let by_newest = key.is_some_and(|key| taken.shown >= key.generation.get());
            let by_newest = by_newest || mutated!("late_hello_is_the_newest");
            self.lose(ctx, now, taken.client, taken_code(by_newest));
        }
    }

    /// The key of a session that has a connection here.
    fn live_key<H: Host>(&self, ctx: &Context<H>, client: ClientId) -> Option<SessionKey> {
        let live = self.live(ctx.names.hash(client.as_str()), client);
        live.and_then(|id| self.conn(id)?.session.key)
    }

    /// Another node has the session, or it has ended elsewhere: it is forgotten here. Its rooms hear that it has no
    /// connection here any more: they are the other's to leave.
    pub(super) fn lose<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        code: CloseCode,
    ) {
        let Some(copied) = self.keeper.remove(client) else {
            return;
        };
        self.keeper.of_users.remove(&client);
        // One that was never saved was begun by two nodes at once: its client may come back to the other one.
        let code = match copied.known {
            Some(_) => code,
            None => CloseCode::Reconnect,
        };
        let hash = ctx.names.hash(client.as_str());
        ctx.stats.taken_over += 1;
        if let Some(ending) = copied.ending {
            self.forget_session(ctx, now, (client, ending.conn), ending.session);
        } else if let Some(parked) = self.parking.take(hash, client) {
            self.forget_session(ctx, now, (client, parked.conn), parked.session);
        } else if let Some(id) = self.live(hash, client)
            && let Some(conn) = self.conn_mut(id)
        {
            let session = std::mem::take(&mut conn.session);
            self.forget_session(ctx, now, (client, id), session);
            self.close_with(ctx, now, id, code);
        }
    }

    /// A session that is another's now: nothing of it is left here.
    pub(super) fn forget_session<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (client, id): (ClientId, ConnId),
        mut session: Session,
    ) {
        // Its user has it still, elsewhere.
        self.tell_user_home(ctx, now, session.user_id(), client, false);
        self.keeper.mail.sender_moved(client);
        self.stop_events(id, &mut session);
        let encoding = self.conn(id).map_or(Encoding::ALL[0], |it| it.encoding);
        for membership in session.memberships {
            // A room that whoever has the session now does not know of is not left for ever.
            if let Some(room) = self.rooms.get(membership.room) {
                let room = room.reference();
                let player = membership.player;
                self.send_op(ctx, now, (id, encoding), room, player, OpKind::Detach);
            }
            self.rooms.exit(membership.room);
        }
    }
}

/// What a connection is closed with whose session was taken. Its client comes back unless who has taken it has shown the
/// newest token: what was shown else may be a `hello` of an older connection that has come late.
pub(super) fn taken_code(by_newest: bool) -> CloseCode {
    if by_newest {
        CloseCode::TakenOver
    } else {
        CloseCode::Reconnect
    }
}
