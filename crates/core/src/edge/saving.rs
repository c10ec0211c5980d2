//! Sessions are saved before their clients are told of what has changed, and end in the store before their rooms are told.
//!
//! Until a session is saved, nothing is written to its connection: that is as if its socket took nothing, so the lanes'
//! bounds hold. One request about a session is under way; what changes meanwhile goes with the next.

use roomcast_protocol::{CloseCode, mutated};

use crate::context::Context;
use crate::edge::conn::{Conn, Phase};
use crate::edge::copied::{Copied, FIRST_TURN};
use crate::edge::keeper::{About, Hold};
use crate::edge::session::Session;
use crate::edge::{AfterClose, Edge, mark_dirty};
use crate::host::Host;
use crate::id::{ClientId, ConnId, EdgeRoomId};
use crate::node::ClusterViews;
use crate::store::{
    Answer, Cause, KeyOf, Request, Save, SessionRecord, Store, StoreError, StoreId, Take, Ticket,
};
use crate::time::{Now, micros};
use crate::wire::session::{PackedMembership, PackedSession};

/// Milliseconds after which the record of a session with a connection ends if its node is gone, and microseconds after
/// which it is saved anew.
pub(super) const RECORD_ENDS: u64 = 24 * 3_600_000;
const RECORD_RENEWS: u64 = 8 * 3_600_000_000;
/// Milliseconds that the record of a session without a connection outlives its grace: its node ends it.
const SPARE: u64 = 10_000;
/// Microseconds until a node looks again that has no lease: it asks for nothing.
pub(super) const NO_LEASE: u64 = 50_000;

impl<S: Store> Edge<S> {
    /// A session with a token is on this connection from now on. `begins`: with which turn; it was here before, or was
    /// taken, where there is none.
    pub(super) fn keep<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        begins: Option<u64>,
    ) {
        let Some(conn) = self.conn(id).filter(|it| it.session.key.is_some()) else {
            return;
        };
        let client = conn.pooled.client_id;
        match self.keeper.copy_mut(client).filter(|_| begins.is_none()) {
            Some(copied) => {
                copied.away = (0, 0);
                copied.is_new_to_rooms = false;
                self.hold_until_saved(ctx, now, id);
            }
            None => {
                // Its client may be told its name and its token once it can be found by them, from any node.
                self.keeper
                    .put(client, Copied::new(begins.unwrap_or(FIRST_TURN)));
                self.hold_until_saved(ctx, now, id);
            }
        }
    }

    /// What is kept of a session has changed.
    pub(super) fn session_changed(&mut self, id: ConnId) {
        if let Some(client) = self.conn(id).map(|conn| conn.pooled.client_id) {
            self.keeper.note_change(client);
        }
    }

    /// What is kept of a session has changed, and its client must not be told before it is saved.
    pub(super) fn hold_until_saved<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let change = self.keeper.note_change(conn.pooled.client_id);
        if change == 0 || conn.phase != Phase::Open {
            return;
        }
        if let Some(hold) = self.keeper.hold(id) {
            hold.change = change;
            return;
        }
        let hold = Hold {
            change,
            first: change,
            until: patience_end(ctx, now),
            was_blocked: conn.blocked,
        };
        self.keeper.begin_hold(id, hold);
        (conn.blocked, conn.progress_at) = (true, now.micros);
    }

    /// A session has lost its connection, and is kept so many milliseconds.
    pub(super) fn keep_parked(&mut self, now: Now, client: ClientId, grace: u64) {
        if let Some(copied) = self.keeper.copy_mut(client) {
            copied.away = (now.unix_ms, grace);
            self.keeper.note_change(client);
        }
    }

    /// A connection is told what it was not told until now, or is closed.
    pub(super) fn end_hold(&mut self, id: ConnId) {
        if let Some(hold) = self.keeper.end_hold(id)
            && let Some(conn) = self.conns.get_mut(id)
        {
            conn.blocked = hold.was_blocked;
        }
    }

    /// A connection is not told what waits for its session to be saved: it is about to be closed.
    pub(super) fn untell<H: Host>(&mut self, ctx: &mut Context<H>, id: ConnId) {
        if !self.keeper.is_held(id) {
            return;
        }
        let Edge {
            conns,
            arena,
            table,
            ..
        } = self;
        if let Some(conn) = conns.get_mut(id) {
            conn.lanes.drop_all_unsent(arena, table, &mut ctx.pool);
        }
        self.end_hold(id);
    }

    /// Asks the store to save what has changed.
    pub(crate) fn flush_sessions<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        self.tell_late_news(ctx, now);
        for client in self.keeper.take_changed() {
            self.save(ctx, now, client);
            self.ask_to_take(ctx, now, client);
        }
        while let Some(client) = self.keeper.next_elsewhere() {
            self.save(ctx, now, client);
            let hash = ctx.names.hash(client.as_str());
            let user_id = match self.live(hash, client) {
                Some(id) => self.conn(id).map(|conn| conn.session.user_id()),
                None => self
                    .parking
                    .get(hash, client)
                    .map(|it| it.session.user_id()),
            };
            if let Some(user_id) = user_id.filter(|it| !it.is_empty()) {
                let user_id = Box::<str>::from(user_id);
                self.join_user(ctx, client, &user_id);
            }
        }
    }

    /// There are these stores from here on.
    pub(crate) fn meet(&mut self, cluster: &ClusterViews) {
        self.keeper.meet(cluster);
        self.keeper.news.met = true;
    }

    /// Whether all sessions that are to be written at a store are there.
    pub(crate) fn has_written_all(&self, store: StoreId) -> bool {
        self.keeper.has_written_all(store)
    }

    fn save<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, client: ClientId) {
        let Some(copied) = self.keeper.copy(client) else {
            return;
        };
        // What is saved with the turn of before a takeover is refused.
        if copied.asked.is_some() || self.keeper.is_being_taken(client) {
            return;
        }
        if copied.ending.is_some() {
            return self.ask_to_end(ctx, now, client);
        }
        let cluster = ctx.cluster.of(KeyOf::Session(&client));
        let store = cluster.store;
        if copied.saved == copied.changes && !copied.is_elsewhere(store) {
            return;
        }
        let Some(own) = cluster.acts(now.micros) else {
            return self.keeper.look_at(client, now.micros + NO_LEASE);
        };
        let (changes, (away_since, grace)) = (copied.changes, copied.away);
        let (turn, node) = (copied.turn, own.node);
        let known = copied.known;
        // Nobody else has it later where no store was asked to keep it, or where all have written what they have.
        let certain = copied.since.filter(|_| !cluster.settled).unwrap_or(store);
        let Some(value) = self.pack(ctx, client, away_since, certain) else {
            self.keeper.remove(client);
            return;
        };
        let record = SessionRecord { turn, node, value };
        let ends_after = match away_since {
            0 => RECORD_ENDS,
            _ => grace + SPARE,
        };
        let save = Save {
            client,
            record,
            known,
            ends_after,
        };
        if let Some(copied) = self.keeper.copy_mut(client) {
            (copied.saving, copied.since) = (changes, Some(certain));
        }
        self.ask_of(client, Request::Save(save));
    }

    /// Asks the store whose a session is by now, unless what it is asked already will tell.
    pub(super) fn look_at_owner<H: Host>(&mut self, ctx: &mut Context<H>, client: ClientId) {
        let copied = self.keeper.copy(client);
        if copied.is_none_or(|it| it.asked.is_some() || it.ending.is_some()) {
            return;
        }
        // One that this node has not met may have nothing of it yet, or an older record.
        let store = ctx.cluster.of(KeyOf::Session(&client)).store;
        let look = Take::look(client, store, ctx.host.random());
        self.ask_of(client, Request::Take(look));
    }

    pub(super) fn ask_of(&mut self, client: ClientId, request: Request) {
        let asked = self.keeper.ask(client, request);
        if let Some(copied) = self.keeper.copy_mut(client) {
            copied.asked = Some(asked);
        }
    }

    /// What another node has to know of a session that is here.
    fn pack<H: Host>(
        &mut self,
        ctx: &Context<H>,
        client: ClientId,
        away_since: i64,
        certain: StoreId,
    ) -> Option<Box<[u8]>> {
        let hash = ctx.names.hash(client.as_str());
        let session = match self.live(hash, client) {
            Some(id) => &self.conns.get(id)?.session,
            None => &self.parking.get(hash, client)?.session,
        };
        // Who leaves may be in it until that is answered.
        let kept = session.memberships.iter();
        let kept = kept.filter(|it| it.player != 0 || !it.stay.is_staying());
        let kept = kept.filter(|_| !mutated!("record_lacks_rooms"));
        let rooms = kept.filter_map(|it| {
            Some(PackedMembership {
                room: (&*self.rooms.get(it.room)?.name).into(),
                player: it.player,
                leaves: !it.stay.is_staying(),
                of_room: it.rights.of_room(),
                floor: it.floor,
            })
        });
        let sent = session.direct_messages.as_ref();
        let packed = PackedSession {
            key: session.key?,
            first: session.first,
            identity: session.identity().map(|it| Box::new(it.clone())),
            parked_since: away_since,
            memberships: rooms.collect(),
            sent: sent.map(|it| it.sent.save()).unwrap_or_default(),
            store: certain,
        };
        let mut value = Vec::with_capacity(64);
        packed.write(ctx.version(), &mut value);
        Some(value.into())
    }

    /// What this turn asks of the store.
    pub(crate) fn take_requests(&mut self) -> Vec<(Ticket, Request)> {
        self.keeper.take_requests()
    }

    /// Whether all sessions are saved as they are.
    pub(crate) fn is_quiet(&self) -> bool {
        self.keeper.is_quiet()
    }

    /// Whether a turn has to follow.
    pub(crate) fn has_requests(&self) -> bool {
        self.keeper.has_work()
    }

    /// The store has answered.
    pub(crate) fn hear<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        ticket: Ticket,
        result: Result<Answer, StoreError>,
    ) {
        let Some(about) = self.keeper.answered(ticket) else {
            return;
        };
        let client = match about {
            About::Session(client) => client,
            About::User(client) => return self.heard_of_user(ctx, now, client, ticket, result),
            About::Inbox(client) => return self.inbox_read(ctx, now, client, ticket, result),
            About::Outbox(to) => return self.posted(ctx, now, to, ticket, result),
            About::Search(number) => return self.found(ctx, now, number, ticket, result),
            About::Orphans(number) => {
                return self.heard_of_orphans(ctx, now, number, ticket, result);
            }
        };
        let is_it = |copied: &Copied| copied.asked.as_ref().is_some_and(|it| it.is(ticket));
        if self.keeper.copy(client).is_some_and(is_it) {
            self.saved(ctx, now, client, result);
        } else {
            self.taken(ctx, now, client, ticket, result);
        }
    }

    /// The store has saved or ended a session, or has not.
    fn saved<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
        result: Result<Answer, StoreError>,
    ) {
        let random = ctx.host.random();
        let Some(copied) = self.keeper.copy_mut(client) else {
            return;
        };
        if let Ok(Answer::Session(taken)) = result {
            copied.asked = None;
            return self.lose_to(ctx, now, client, &taken);
        }
        // There is another store than the one that was asked for. What there is to ask of that one is found out anew.
        if result == Err(StoreError::Again(Cause::OtherStore)) {
            copied.asked = None;
            return self.keeper.look_at(client, now.micros + NO_LEASE);
        }
        let Ok(Answer::Turn(done)) = result else {
            let Some(mut asked) = copied.asked.take() else {
                return;
            };
            self.keeper.pause(client, &mut asked, now.micros, random);
            if let Some(copied) = self.keeper.copy_mut(client) {
                copied.asked = Some(asked);
            }
            return;
        };
        let store = copied.asked.take().map(|asked| asked.store());
        if copied.ending.is_some() {
            return self.end_kept(ctx, now, client, done);
        }
        if !done {
            // Another node has it, or has ended it. Which one decides what the client is told.
            return self.look_at_owner(ctx, client);
        }
        copied.saved = copied.saving;
        copied.renew_at = now.micros.saturating_add(RECORD_RENEWS);
        let (saved, changes) = (copied.saved, copied.changes);
        if let Some(store) = store {
            self.keeper.confirm(client, store);
        }
        let cluster = ctx.cluster.of(KeyOf::Session(&client));
        if saved < changes || store != Some(cluster.store) || self.keeper.taking(client).is_some() {
            self.keeper.look_now(client);
        }
        self.ask_of_user(ctx, client);
        self.tell_saved(ctx, now, client);
        self.read_what_it_lacks(ctx, client);
    }

    /// A session is saved, and in its user's set: its client may be told.
    pub(super) fn tell_saved<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, client: ClientId) {
        let hash = ctx.names.hash(client.as_str());
        let saved = self.keeper.copy(client).map_or(0, |it| it.saved);
        if let Some(id) = self.live(hash, client)
            && !self.is_joining_user(client)
        {
            self.tell(ctx, now, id, saved);
        }
    }

    /// A session is saved up to a change: its client may be told of it.
    fn tell<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId, saved: u64) {
        let Some(hold) = self.keeper.hold(id) else {
            return;
        };
        if saved < hold.change {
            // The store goes on: what came later has its own time.
            if saved >= hold.first {
                hold.first = hold.change;
                hold.until = patience_end(ctx, now);
                let until = hold.until;
                self.keeper.wait(id, until);
            }
            return;
        }
        self.end_hold(id);
        let Edge { conns, batcher, .. } = self;
        let Some(conn) = conns.get_mut(id).filter(|conn| !conn.blocked) else {
            return;
        };
        conn.progress_at = now.micros;
        if conn.lanes.is_empty() {
            self.ask_next(ctx, now, id);
            self.ask_mail(ctx, id);
        } else {
            mark_dirty(conn, batcher, now, 0);
        }
    }

    pub(super) fn stop_events(&mut self, id: ConnId, session: &mut Session) {
        for membership in &mut session.memberships {
            if membership.stop_events()
                && let Some(room) = self.rooms.get_mut(membership.room)
            {
                room.remove_receiver(id);
            }
        }
    }

    /// Does what is due: requests are repeated, and clients are sent away that have waited for too long.
    pub(super) fn run_store_timers<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        self.withdraw_mail(ctx, now);
        while let Some(about) = self.keeper.next_look(now.micros) {
            let client = match about {
                About::Session(client) => client,
                About::User(client) => {
                    self.look_at_user(ctx, now, client);
                    continue;
                }
                About::Inbox(client) => {
                    self.look_at_inbox(now, client);
                    continue;
                }
                About::Outbox(to) => {
                    self.look_at_outbox(ctx, now, to);
                    continue;
                }
                About::Search(number) => {
                    self.look_at_search(ctx, now, number);
                    continue;
                }
                About::Orphans(number) => {
                    self.look_at_orphans(now, number);
                    continue;
                }
            };
            let asked = match self.keeper.is_being_taken(client) {
                true => None,
                false => self.keeper.copy_mut(client).and_then(|it| it.asked.take()),
            };
            if let Some(mut asked) = asked {
                self.keeper.repeat(client, &mut asked, now.micros);
                if let Some(copied) = self.keeper.copy_mut(client) {
                    copied.asked = Some(asked);
                }
            }
            let asked = self.keeper.taking(client).and_then(|it| it.asked.take());
            if let Some(mut asked) = asked {
                self.keeper.repeat(client, &mut asked, now.micros);
                if let Some(taking) = self.keeper.taking(client) {
                    taking.asked = Some(asked);
                }
            }
            self.keeper.look_now(client);
        }
        self.look_into_inboxes(ctx, now);
        while let Some(id) = self.keeper.next_impatient(now.micros) {
            let waits = self
                .keeper
                .hold(id)
                .is_some_and(|it| it.until <= now.micros);
            let asks = |conn: &Conn| conn.phase == Phase::Asking;
            if waits || self.conn(id).is_some_and(asks) {
                ctx.stats.impatient += 1;
                self.close_with(ctx, now, id, CloseCode::Reconnect);
            }
        }
    }

    /// A connection was looked at: its session's record must not end.
    pub(super) fn renew_record<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let client = self.conn(id).map(|conn| conn.pooled.client_id);
        if let Some(client) = client
            && let Some(copied) = self.keeper.copy_mut(client)
            && copied.renew_at <= now.micros
        {
            copied.renew_at = u64::MAX;
            self.keeper.note_change(client);
            let user_id = self.conn(id).map(|conn| conn.session.user_id());
            if let Some(user_id) = user_id.filter(|it| !it.is_empty()) {
                let user_id = Box::<str>::from(user_id);
                self.join_user(ctx, client, &user_id);
            }
        }
    }

    /// Whether a connection is in a room, as far as its client was told.
    pub(super) fn is_told_in(&mut self, id: ConnId, room: EdgeRoomId) -> bool {
        let conn = self.conn_mut(id);
        let membership = conn.and_then(|conn| conn.membership(room));
        membership.is_some_and(|it| it.player != 0)
    }

    /// Closes a connection whose client has not been told all: it is not told the rest.
    pub(super) fn close_held<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        code: CloseCode,
    ) -> bool {
        let is_held = self.keeper.is_held(id);
        if is_held {
            let after = AfterClose::of(code, &ctx.settings);
            let reason = code.reason(1 + ctx.host.random() % 1_000);
            self.close(ctx, now, id, code.code(), &reason, after);
        }
        is_held
    }
}

/// Microseconds that a client may wait for the store.
pub(super) fn patience_of<H>(ctx: &Context<H>) -> u64 {
    match ctx.settings.patience {
        0 => u64::MAX,
        patience => micros(patience),
    }
}

/// Microseconds until which a client that begins to wait now may wait for the store.
pub(super) fn patience_end<H>(ctx: &Context<H>, now: Now) -> u64 {
    now.micros.saturating_add(patience_of(ctx))
}
