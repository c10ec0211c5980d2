//! Who a connection's client is, and what it may do.

use roomcast_protocol::{Body, ErrorCode, Outgoing, PresenceUpdate};

use crate::context::Context;
use crate::edge::Edge;
use crate::edge::admission::{Admission, token_fault};
use crate::edge::conn::Conn;
use crate::edge::lifecycle::tell_session;
use crate::edge::receive::Envelope;
use crate::edge::rights::Allowed;
use crate::edge::rooms::EdgeRoom;
use crate::fact::{Fact, What};
use crate::host::{Encoding, Host};
use crate::id::ConnId;
use crate::letter::OpKind;
use crate::store::Store;
use crate::time::Now;
use crate::wire::version::Version;

impl<S: Store> Edge<S> {
    /// Whether a client that is outside is let in, by this token or by what its request said. If not, it is told so and
    /// closed.
    pub(super) fn admit<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        token: Option<&str>,
    ) -> Option<Admission> {
        let admission = &self.conn(envelope.id)?.session.admission;
        match admission.enter(&mut ctx.host, now, token)? {
            Ok(admission) => Some(admission),
            Err((code, sentence, close)) => {
                if ctx.settings.facts.refusals {
                    let (unix_ms, what) = (now.unix_ms, What::Refused(code));
                    ctx.host.fact(Fact { unix_ms, what });
                }
                self.fault(ctx, now, envelope.id, envelope.fault(code, sentence));
                self.close_with(ctx, now, envelope.id, close);
                None
            }
        }
    }

    /// Whether the sender of a message that is no `hello` was let in, or is now. If not, it is told so and closed.
    pub(super) fn is_let_in<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
    ) -> bool {
        let Some(conn) = self.conn(envelope.id) else {
            return false;
        };
        if conn.session.admission.is_inside() {
            return true;
        }
        let Some(admission) = self.admit(ctx, now, envelope, None) else {
            return false;
        };
        let Some(conn) = self.conn_mut(envelope.id) else {
            return false;
        };
        conn.session.admission = admission;
        if ctx.settings.facts.sessions {
            tell_session(ctx, now, conn.pooled.client_id, &conn.session, true);
        }
        let (user_id, client_id) = (conn.session.user_id().into(), conn.pooled.client_id);
        let user_id: Box<str> = user_id;
        self.user_session(ctx, now, &user_id, (client_id, false), true);
        self.schedule(ctx, now, envelope.id);
        self.conn(envelope.id).is_some_and(Conn::is_served)
    }

    /// `auth`: a new token for the same user, before the old one ends.
    pub(super) fn renew<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        token: &str,
    ) {
        let id = envelope.id;
        let verified = ctx.host.verify(now.unix_ms, token).map_err(token_fault);
        let Some(conn) = self.conn_mut(id) else {
            return;
        };
        let (encoding, client_id) = (conn.encoding, conn.pooled.client_id);
        let session = &mut conn.session;
        // Whoever has joined rooms as nobody in particular is known there by that name.
        let free = session.user_id().is_empty() && session.memberships.is_empty();
        let identity = match verified {
            Ok(identity) if free || *identity.user_id == *session.user_id() => identity,
            Ok(_) => {
                let sentence = "the token names another user than this session's";
                let fault = envelope.fault(ErrorCode::Unauthorized, sentence);
                return self.fault(ctx, now, id, fault);
            }
            Err((code, sentence)) => {
                return self.fault(ctx, now, id, envelope.fault(code, sentence));
            }
        };
        let is_new = session.user_id().is_empty();
        let is_renamed = session.identity().is_none_or(|it| it.name != identity.name);
        let keyed = session.key.is_some();
        let (user_id, token_expires_at) = (identity.user_id.clone(), identity.expires_at);
        session.admission = Admission::Token(Box::new(identity));
        if is_new {
            self.user_session(ctx, now, &user_id, (client_id, keyed), true);
        }
        if !self.conn(id).is_some_and(Conn::is_served) {
            return;
        }
        if S::WAITS {
            self.hold_until_saved(ctx, now, id);
        }
        self.renew_rights(ctx, now, id);
        if is_renamed {
            self.renew_nickname(ctx, now, id);
        }
        self.schedule(ctx, now, id);
        let message = Outgoing {
            timestamp: now.unix_ms,
            request_id: envelope.request_id,
            body: Body::Auth {
                token_expires_at,
                user_id: &user_id,
            },
            ..Outgoing::default()
        };
        self.answer(ctx, now, id, encoding, &message);
    }

    /// Whether the nicknames in the room that a request is about are those of tokens.
    pub(super) fn binds_nickname<H: Host>(&self, ctx: &Context<H>, allowed: &Allowed) -> bool {
        let room = allowed.room().and_then(|room| self.rooms.get(room));
        room.is_some_and(|room| ctx.kinds.bind_nickname(&room.name))
    }

    /// The session has a token with another name: rooms whose nicknames are those of tokens are told. A token without a
    /// name leaves the one before.
    pub(super) fn renew_nickname<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        if ctx.version() < Version::V2 {
            return;
        }
        let Edge { conns, rooms, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        let name = conn.session.identity().map_or("", |it| &it.name).to_owned();
        let encoding = conn.encoding;
        let mut bound: smallvec::SmallVec<[_; 4]> = smallvec::SmallVec::new();
        for membership in &conn.session.memberships {
            let room = rooms.get(membership.room);
            let binds = |room: &&EdgeRoom| ctx.kinds.bind_nickname(&room.name);
            if let Some(room) = room.filter(binds)
                && membership.stay.is_staying()
                && !name.is_empty()
            {
                bound.push((room.reference(), membership.player));
            }
        }
        for (room, player) in bound {
            let update = PresenceUpdate {
                nickname: Some(name.clone().into()),
                ..PresenceUpdate::default()
            };
            self.send_op(
                ctx,
                now,
                (id, encoding),
                room,
                player,
                OpKind::Presence(update),
            );
        }
    }

    pub(super) fn answer<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        encoding: Encoding,
        message: &Outgoing<'_>,
    ) {
        let answer = ctx.single(encoding, now.micros, message);
        self.push_control(ctx, now, id, answer);
    }
}
