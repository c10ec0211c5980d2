//! What becomes of a session when its connection goes: it waits, or it ends.

use roomcast_protocol::{CloseCode, ErrorCode, MessageType, mutated};

use crate::context::{Context, Fault};
use crate::edge::Edge;
use crate::edge::conn::Phase;
use crate::edge::membership::Events;
use crate::edge::session::{Full, Parked, Session};
use crate::edge::write::drop_state;
use crate::fact::{Fact, SessionFact, What};
use crate::host::{Encoding, Host};
use crate::id::{ClientId, ConnId, ConnRef, EdgeRoomId};
use crate::lane::{Lane, Piece};
use crate::letter::{Leave, Letter, Op, OpHead, OpKind, RoomRef, UserSession};
use crate::player::PlayerNum;
use crate::settings::Settings;
use crate::store::Store;
use crate::time::{Now, micros};

const TOO_MANY_SESSIONS: &str = "this user has as many sessions as `limits.sessions_per_user` allows; connect again when one of them has ended";
/// A client that was refused so is asked to wait so many milliseconds at least, and at most twice that.
const REFUSED_RETRY_MS: u64 = 2_000;

/// What becomes of a session without its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterClose {
    /// It waits so many milliseconds for the client to come back. One that can't be resumed ends.
    Park(u64),
    End,
}

impl AfterClose {
    pub(crate) fn park(grace: u64) -> AfterClose {
        if grace == 0 {
            AfterClose::End
        } else {
            AfterClose::Park(grace)
        }
    }

    /// After a close frame of the server's.
    pub(crate) fn of(code: CloseCode, settings: &Settings) -> AfterClose {
        if code.comes_back() {
            AfterClose::park(settings.session_grace)
        } else {
            AfterClose::End
        }
    }

    /// After a close frame with any code, for instance that of a breach of RFC 6455.
    pub(crate) fn of_code(code: u16, settings: &Settings) -> AfterClose {
        CloseCode::from_code(code).map_or(AfterClose::park(settings.session_grace), |code| {
            AfterClose::of(code, settings)
        })
    }
}

impl<S: Store> Edge<S> {
    /// Takes the session from a connection that is going: it is parked, or ends.
    pub(super) fn release_session<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        after: AfterClose,
    ) {
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        let (encoding, origin) = (conn.encoding, conn.origin);
        let opened = conn.pooled.created;
        let (client_id, hash) = (conn.pooled.client_id, conn.pooled.hash);
        let mut session = std::mem::take(&mut conn.session);
        let grace = match after {
            AfterClose::Park(grace) if session.key.is_some() && !mutated!("drop_is_a_leave") => {
                grace
            }
            _ => return self.end_session(ctx, now, (client_id, id, encoding), session),
        };
        // Where there is no place, this session ends, and nobody else's.
        if let Err(full) = self.parking.place_for(origin, &ctx.settings) {
            match full {
                Full::All => ctx.stats.sessions_not_parked[0] += 1,
                Full::Origin => ctx.stats.sessions_not_parked[1] += 1,
            }
            return self.end_session(ctx, now, (client_id, id, encoding), session);
        }
        self.let_rooms_wait(ctx, now, (id, encoding), &mut session);
        let longer = u64::from(mutated!("session_outlives_its_grace"));
        let until = now.micros.saturating_add(micros(grace << longer));
        self.parking.put(Parked {
            client_id,
            hash,
            conn: id,
            encoding,
            origin,
            session,
            opened,
            until,
        });
        if S::WAITS {
            self.keep_parked(now, client_id, grace);
        }
    }

    /// Tells the rooms of a session that its connection is gone.
    fn let_rooms_wait<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (id, encoding): (ConnId, Encoding),
        session: &mut Session,
    ) {
        self.end_leaves(session);
        let memberships = std::mem::take(&mut session.memberships);
        for mut membership in memberships {
            let Some(room) = self.rooms.get_mut(membership.room) else {
                continue;
            };
            if membership.stop_events() {
                room.remove_receiver(id);
            }
            if !membership.stay.is_staying() {
                session.memberships.push(membership);
                continue;
            }
            let room = room.reference();
            membership.rest();
            let player = membership.player;
            session.memberships.push(membership);
            self.send_op(ctx, now, (id, encoding), room, player, OpKind::Detach);
        }
    }

    /// A session is over: its rooms hear that it has left, once its record is gone.
    pub(super) fn end_session<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        who: (ClientId, ConnId, Encoding),
        session: Session,
    ) {
        if !S::WAITS {
            return self.tell_end(ctx, now, who, 0, session);
        }
        if let Some((turn, session)) = self.end_first(ctx, who, session) {
            self.tell_end(ctx, now, who, turn, session);
        }
    }

    /// The rooms of a session hear that it has left.
    pub(super) fn tell_end<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (client, id, encoding): (ClientId, ConnId, Encoding),
        turn: u64,
        session: Session,
    ) {
        if ctx.settings.facts.sessions {
            tell_session(ctx, now, client, &session, false);
        }
        let keyed = session.key.is_some();
        self.user_session(ctx, now, session.user_id(), (client, keyed), false);
        for membership in session.memberships {
            let Some(room) = self.rooms.get_mut(membership.room) else {
                continue;
            };
            if membership.events == Events::Live {
                room.remove_receiver(id);
            }
            let (reference, edge_room) = (room.reference(), room.id);
            // One that leaves already is told so twice; the second finds nobody.
            let leave = OpKind::Leave(Leave {
                gone: true,
                edge_room,
                client_id: client,
                turn,
            });
            self.send_op(
                ctx,
                now,
                (id, encoding),
                reference,
                membership.player,
                leave,
            );
            self.rooms.exit(membership.room);
        }
    }

    pub(super) fn end_parked<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, parked: Parked) {
        let Parked {
            client_id,
            conn,
            encoding,
            session,
            ..
        } = parked;
        self.end_session(ctx, now, (client_id, conn, encoding), session);
    }

    /// Ends the sessions to which nobody came back in time.
    pub(super) fn end_due<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        while let Some(parked) = self.parking.take_due(now.micros) {
            ctx.stats.sessions_expired += 1;
            self.end_parked(ctx, now, parked);
        }
    }

    /// Sends an operation that no message has asked for.
    pub(super) fn send_op<H: Host>(
        &self,
        ctx: &mut Context<H>,
        now: Now,
        (id, encoding): (ConnId, Encoding),
        room: RoomRef,
        player: PlayerNum,
        request: OpKind,
    ) {
        let conn = ConnRef {
            shard: ctx.own,
            conn: id,
        };
        let head = OpHead {
            room,
            conn,
            encoding,
            player,
            born: now.micros,
            window: 0,
            seq: 0,
            request_id: 0,
        };
        ctx.send_home(Op { head, request });
    }

    /// Tells a user's home, and the store, that the user has a session more, or one less. `keyed`: it has a token.
    pub(super) fn user_session<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        user_id: &str,
        (session, keyed): (ClientId, bool),
        present: bool,
    ) {
        if user_id.is_empty() {
            return;
        }
        if S::WAITS && keyed {
            match present {
                true => self.join_user(ctx, session, user_id),
                false => self.leave_user(ctx, session, user_id),
            }
        }
        self.tell_user_home(ctx, now, user_id, session, present);
    }

    /// Tells the home of a user on this node.
    pub(super) fn tell_user_home<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        user_id: &str,
        session: ClientId,
        present: bool,
    ) {
        if user_id.is_empty() {
            return;
        }
        let user = UserSession {
            user_id: user_id.into(),
            session,
            present,
        };
        let home = ctx.home_of(ctx.names.hash(user_id));
        if home == ctx.own {
            self.note_user(ctx, now, &user);
        } else {
            ctx.post(home, Letter::User(Box::new(user)));
        }
    }

    /// A user who is at home here has a session more, or one less.
    pub(crate) fn note_user<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        user: &UserSession,
    ) {
        let hash = ctx.names.hash(&user.user_id);
        if !user.present {
            return self.users.remove(&user.user_id, hash, user.session);
        }
        let most = ctx.settings.max_user_sessions;
        if self.users.add(&user.user_id, hash, user.session, most) {
            return;
        }
        ctx.stats.sessions_refused += 1;
        let home = ctx.home_of(ctx.names.hash(user.session.as_str()));
        if home == ctx.own {
            self.refuse_session(ctx, now, user.session);
        } else {
            ctx.post(home, Letter::SessionRefused(user.session));
        }
    }

    /// A session ends, because its user has as many as a user may have.
    pub(crate) fn refuse_session<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        client: ClientId,
    ) {
        let hash = ctx.names.hash(client.as_str());
        if let Some(parked) = self.parking.take(hash, client) {
            return self.end_parked(ctx, now, parked);
        }
        let Some(id) = self.live(hash, client) else {
            return;
        };
        let fault = Fault {
            request: Some(MessageType::Hello),
            ..Fault::new(ErrorCode::TooManySessions, TOO_MANY_SESSIONS)
        };
        // Of the session that it does not get it is told nothing, but why.
        self.untell(ctx, id);
        self.fault(ctx, now, id, fault);
        let code = CloseCode::Overloaded;
        // Another one has to end first.
        let wait = REFUSED_RETRY_MS + ctx.host.random() % REFUSED_RETRY_MS;
        let reason = code.reason(wait);
        self.close(ctx, now, id, code.code(), &reason, AfterClose::End);
    }

    /// Drops the events of rooms that wait for a reader who is too slow: their logs have them.
    pub(super) fn drop_events<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Edge {
            conns,
            arena,
            table,
            rooms,
            ..
        } = self;
        let conn = conns
            .get_mut(id)
            .filter(|conn| conn.id == id && conn.phase != Phase::Closing);
        let Some(conn) = conn else { return };
        // State waits behind events, and would overtake those that are dropped. A full socket has dropped it before; who is
        // told nothing until its session is saved may have it still.
        drop_state(ctx, conn, arena, table);
        let (lanes, session) = (&mut conn.lanes, &mut conn.session);
        let mut behind = false;
        let of_a_log =
            |piece: &Piece| piece.lane() == Lane::Event && piece.room != EdgeRoomId::NONE;
        lanes.drop_where(arena, of_a_log, |piece| {
            table.release(piece.chunk, &mut ctx.pool);
            let Some(membership) = session.membership(piece.room) else {
                return;
            };
            if mutated!("dropped_lane_is_not_fed") {
                return;
            }
            let after = piece.base().max(membership.floor);
            match &mut membership.events {
                Events::None => {}
                Events::Live => {
                    behind = true;
                    membership.fall_behind(now, after);
                    if let Some(room) = rooms.get_mut(piece.room) {
                        room.remove_receiver(id);
                    }
                }
                Events::Behind(behind) => behind.after = behind.after.min(after),
            }
        });
        if behind {
            ctx.stats.readers_behind += 1;
            self.schedule(ctx, now, id);
        }
    }

    /// Sessions without a connection, and users at home here.
    pub(crate) fn sessions(&self) -> (usize, usize) {
        (self.parking.len(), self.users.len())
    }
}

/// An application's backend is told that a session began, or ended. What a connection leaves behind whose client was not let
/// in is none.
pub(super) fn tell_session<H: Host>(
    ctx: &mut Context<H>,
    now: Now,
    client: ClientId,
    session: &Session,
    began: bool,
) {
    if !session.admission.is_inside() {
        return;
    }
    let fact = SessionFact {
        client,
        user_id: session.user_id().into(),
        name: session.identity().map_or("", |it| &*it.name).into(),
    };
    let what = match began {
        true => What::SessionBegan(fact),
        false => What::SessionEnded(fact),
    };
    let unix_ms = now.unix_ms;
    ctx.host.fact(Fact { unix_ms, what });
}
