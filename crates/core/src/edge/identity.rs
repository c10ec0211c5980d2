//! Who a connection's client is, and what it may do.

use std::borrow::Cow;

use roomcast_protocol::{Body, ErrorCode, Outgoing};

use crate::context::Context;
use crate::edge::Edge;
use crate::edge::admission::{Admission, token_fault};
use crate::edge::receive::Envelope;
use crate::host::{Encoding, Host};
use crate::id::ConnId;
use crate::identity::Rights;
use crate::letter::{Leave, OpKind};
use crate::time::Now;

impl Edge {
    /// Whether a client that is outside is let in, by this token or by what its request said. If not, it is told so and
    /// closed.
    pub(super) fn admit<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        token: Option<&str>,
    ) -> Option<Admission> {
        let Admission::Outside(access) = &self.conn(envelope.id)?.session.admission else {
            return None;
        };
        match Admission::enter(access, &mut ctx.host, now, token) {
            Ok(admission) => Some(admission),
            Err((code, sentence, close)) => {
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
        let (user_id, client_id) = (conn.session.user_id().into(), conn.pooled.client_id);
        let user_id: Box<str> = user_id;
        self.user_session(ctx, &user_id, client_id, true);
        self.schedule(ctx, now, envelope.id);
        true
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
        let (user_id, token_expires_at) = (identity.user_id.clone(), identity.expires_at);
        session.admission = Admission::Token(Box::new(identity));
        if is_new {
            self.user_session(ctx, &user_id, client_id, true);
        }
        self.renew_rights(ctx, now, id);
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

    /// Another token may allow less: rooms in which the client may not be any more are left.
    pub(super) fn renew_rights<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Edge { conns, rooms, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        let encoding = conn.encoding;
        let mut left: smallvec::SmallVec<[_; 4]> = smallvec::SmallVec::new();
        let admission = &conn.session.admission;
        for membership in conn.session.memberships.iter_mut() {
            let Some(room) = rooms.get(membership.room).filter(|_| !membership.own_token) else {
                continue;
            };
            membership.rights = admission.rights(&room.name);
            if !membership.rights.allow(Rights::JOIN) && membership.wanted {
                membership.wanted = false;
                membership.unanswered += 1;
                left.push((room.reference(), membership.player, room.id));
            }
        }
        for (room, player, edge_room) in left {
            let leave = OpKind::Leave(Leave {
                gone: false,
                edge_room,
            });
            self.send_op(ctx, now, (id, encoding), room, player, leave);
        }
    }

    /// What a client may do in a room that it joins, and whether a token for the room says so. Refused: why.
    pub(super) fn rights_to_join<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        room: &str,
        token: Option<&str>,
    ) -> Result<(Rights, bool), (ErrorCode, &'static str)> {
        let Some(conn) = self.conn(id) else {
            return Ok((Rights::NONE, false));
        };
        let mut rights = conn.session.rights(room);
        if let Some(token) = token {
            let identity = ctx.host.verify(now.unix_ms, token).map_err(token_fault)?;
            let user = conn.session.user_id();
            if !user.is_empty() && !identity.user_id.is_empty() && *identity.user_id != *user {
                let sentence = "the room's token names another user than this session's";
                return Err((ErrorCode::Unauthorized, sentence));
            }
            rights = rights.union(identity.rights(room));
        }
        if rights.allow(Rights::JOIN) {
            return Ok((rights, token.is_some()));
        }
        Err((
            ErrorCode::Forbidden,
            "the token does not allow joining this room",
        ))
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

/// What a right that is missing is told as.
pub(super) fn forbidden(rights: Rights) -> Cow<'static, str> {
    Cow::Borrowed(match rights {
        Rights::PUBLISH => "the token does not allow sending to this room",
        Rights::PRESENCE => "the token does not allow setting presence in this room",
        Rights::HISTORY => "the token does not allow reading this room's history",
        _ => "the token does not allow this",
    })
}
