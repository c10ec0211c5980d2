//! What each request needs, and whether its sender may ask for it: the table in docs/authentication.md. This is the one
//! place where it is asked, before anything is done.

use std::sync::Arc;

use roomcast_protocol::{CloseCode, ErrorCode, MessageType, Request, mutated};

use crate::context::{Context, Fault};
use crate::edge::Edge;
use crate::edge::admission::token_fault;
use crate::edge::membership::Membership;
use crate::edge::receive::Envelope;
use crate::edge::session::Session;
use crate::host::{Encoding, Host};
use crate::id::{ClientId, ConnId, EdgeRoomId};
use crate::identity::Rights;
use crate::letter::{Leave, OpKind};
use crate::log::Since;
use crate::store::Store;
use crate::time::Now;

/// What a request needs of its sender, beside being let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs<'a> {
    Nothing,
    /// These rights in the room that is to be joined, for which it may have a token of its own.
    ToJoin(Rights, Option<&'a str>),
    /// To be in the room that it is about, and these rights there.
    InRoom(Rights),
    /// The right to send direct messages.
    Direct,
}

impl<'a> Needs<'a> {
    /// Whether the message is for somebody alone, and whether it names a room.
    pub(super) fn of(request: &'a Request<'_>, to_somebody: bool, has_room: bool) -> Needs<'a> {
        match request {
            Request::Hello(_) | Request::Ping(_) | Request::Auth { .. } => Needs::Nothing,
            Request::JoinRoom(join) => {
                let presence = if join.presence.keys.is_empty() {
                    Rights::NONE
                } else {
                    Rights::PRESENCE
                };
                Needs::ToJoin(Rights::JOIN.union(presence), join.token.as_deref())
            }
            Request::Chat(_) | Request::Event { .. } if to_somebody => Needs::Direct,
            Request::Chat(_) | Request::Event { .. } | Request::GameAction(_) => {
                Needs::InRoom(Rights::PUBLISH)
            }
            Request::Presence(_) => Needs::InRoom(Rights::PRESENCE),
            Request::History(_) => Needs::InRoom(Rights::HISTORY),
            Request::Members(_) => Needs::InRoom(Rights::JOIN),
            // Whoever is in a room may leave it.
            Request::LeaveRoom => Needs::InRoom(Rights::NONE),
            // A number that is given up says nothing to anybody.
            Request::Skip(_) if !has_room => Needs::Nothing,
            Request::Skip(_) => Needs::InRoom(Rights::JOIN),
        }
    }
}

/// That a request may be done. Only [`Edge::allow`] makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// The room that the request is about, and in which its sender is.
    room: Option<EdgeRoomId>,
    /// What its sender may do in the room that it joins.
    rights: RoomRights,
}

impl Allowed {
    /// To say of a number that it was refused.
    fn in_room(room: EdgeRoomId) -> Allowed {
        Allowed {
            room: Some(room),
            rights: RoomRights::default(),
        }
    }

    pub(super) fn room(&self) -> Option<EdgeRoomId> {
        self.room
    }

    pub(super) fn rights(&self) -> RoomRights {
        self.rights
    }

    /// The place from which somebody who joins may be given the log.
    pub(super) fn since(&self, since: Option<Since>) -> Option<Since> {
        since.filter(|_| self.rights.allow(Rights::HISTORY))
    }
}

/// What may be done in a room: what the session's token says, and a token for this room alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoomRights {
    of_session: Rights,
    of_room: Rights,
    /// When the room's token ends, in 48 bits, as each membership has one of these: see [`RoomRights::ends_at`].
    ends_at: [u16; 3],
}

impl RoomRights {
    pub(super) fn allow(self, rights: Rights) -> bool {
        self.of_session.union(self.of_room).allow(rights) || mutated!("rights_are_not_asked")
    }

    /// A token that ends later is taken to end here: in the year 10889.
    const LAST_END: i64 = (1 << 48) - 1;

    pub(super) fn new(of_session: Rights, of_room: Rights, ends_at: i64) -> RoomRights {
        // A token that ended before the epoch has ended all the same.
        let ends_at = match ends_at {
            0 => 0,
            ends_at => ends_at.clamp(1, RoomRights::LAST_END),
        };
        RoomRights {
            of_session,
            of_room,
            ends_at: [
                ends_at as u16,
                (ends_at >> 16) as u16,
                (ends_at >> 32) as u16,
            ],
        }
    }

    /// What the room's token allows, and when that ends; nothing where there is none.
    pub(super) fn of_room(self) -> Option<(Rights, i64)> {
        (self.of_room != Rights::NONE).then(|| (self.of_room, self.ends_at()))
    }

    /// When the room's token ends, in milliseconds since the Unix epoch; 0: never, or there is none.
    pub(super) fn ends_at(self) -> i64 {
        let [low, middle, high] = self.ends_at.map(i64::from);
        low | middle << 16 | high << 32
    }

    pub(super) fn is_over(self, unix_ms: i64) -> bool {
        self.ends_at() > 0 && unix_ms >= self.ends_at()
    }

    /// The session has another token, or time has passed.
    fn renew(&mut self, of_session: Rights, unix_ms: i64) {
        self.of_session = of_session;
        if self.is_over(unix_ms) {
            *self = RoomRights::new(of_session, Rights::NONE, 0);
        }
    }
}

impl Membership {
    /// The place from which somebody who comes back may be given the log. Without the right `history` that is nothing from
    /// before its own stay.
    pub(super) fn since(&self, since: Option<Since>) -> Option<Since> {
        let of_its_stay = |since: &Since| self.player != 0 && since.offset >= self.floor;
        since.filter(|since| self.rights.allow(Rights::HISTORY) || of_its_stay(since))
    }
}

impl<S: Store> Edge<S> {
    /// Whether the sender of a message was let in, and may ask for what it asks for. If not, it is told so, and its number
    /// is used up.
    pub(super) fn allow<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        needs: Needs<'_>,
    ) -> Option<Allowed> {
        if !self.is_let_in(ctx, now, envelope) {
            return None;
        }
        let conn = self.conn_mut(envelope.id)?;
        conn.pooled.last_used = now.micros;
        if conn.session.admission.is_over(now.unix_ms) {
            self.close_with(ctx, now, envelope.id, CloseCode::TokenExpired);
            return None;
        }
        let nothing = Allowed {
            room: None,
            rights: RoomRights::default(),
        };
        match needs {
            Needs::Nothing => Some(nothing),
            Needs::ToJoin(rights, token) => self.allow_join(ctx, now, envelope, rights, token),
            Needs::InRoom(rights) => self.allow_in_room(ctx, now, envelope, rights),
            Needs::Direct => self.allow_direct(ctx, now, envelope).then_some(nothing),
        }
    }

    fn allow_join<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        needed: Rights,
        token: Option<&str>,
    ) -> Option<Allowed> {
        let session = &self.conn(envelope.id)?.session;
        let refused = match &envelope.room_id {
            None => (
                ErrorCode::MissingField,
                "`join_room` names a room in `room_id`",
            ),
            Some(room) => match rights_to_join(ctx, now, session, room, token) {
                Ok(rights) if rights.allow(needed) => {
                    return Some(Allowed { room: None, rights });
                }
                Ok(rights) if !rights.allow(Rights::JOIN) => {
                    (ErrorCode::Forbidden, Rights::JOIN.denied())
                }
                Ok(_) => (ErrorCode::Forbidden, Rights::PRESENCE.denied()),
                Err(refused) => refused,
            },
        };
        let fault = envelope.fault(refused.0, refused.1);
        self.fault(ctx, now, envelope.id, fault);
        None
    }

    fn allow_in_room<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        needed: Rights,
    ) -> Option<Allowed> {
        let mut found = self.membership_of(envelope.id, envelope.room_id.as_deref());
        if found.is_some_and(|it| it.rights.is_over(now.unix_ms)) {
            self.renew_rights(ctx, now, envelope.id);
            found = self.membership_of(envelope.id, envelope.room_id.as_deref());
        }
        if found.is_none() && envelope.request == MessageType::LeaveRoom {
            // It leaves already: this is answered behind what was asked before.
            let leaving = self.leaving(envelope.id, envelope.room_id.as_deref());
            if let Some(room) = leaving {
                return Some(Allowed::in_room(room));
            }
        }
        let Some(membership) = found else {
            let message = match &envelope.room_id {
                Some(_) => "you are not in this room; send `join_room` first",
                None => "you are in no room; send `join_room` first, or name one in `room_id`",
            };
            let fault = envelope.fault(ErrorCode::NotInRoom, message);
            self.fault(ctx, now, envelope.id, fault);
            return None;
        };
        let (room, rights) = (membership.room, membership.rights);
        if rights.allow(needed) {
            return Some(Allowed {
                room: Some(room),
                rights,
            });
        }
        if needed == Rights::PUBLISH && envelope.seq > 0 && !envelope.ephemeral {
            let (allowed, request) = (Allowed::in_room(room), envelope.request);
            self.forward(ctx, now, envelope, &allowed, |_, _| {
                OpKind::Forbidden(request, needed)
            });
            return None;
        }
        let fault = envelope.fault(ErrorCode::Forbidden, needed.denied());
        self.fault(ctx, now, envelope.id, fault);
        None
    }

    fn allow_direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
    ) -> bool {
        let Some(conn) = self.conn_mut(envelope.id) else {
            return false;
        };
        let session = &mut conn.session;
        if session.admission.may_send_direct() || mutated!("rights_are_not_asked") {
            return true;
        }
        if envelope.seq > 0 && !envelope.ephemeral {
            let sent = &mut session.direct_messages().sent;
            // One that was sent before gets its first answer again.
            if let Some(known) = sent.known(envelope.seq) {
                self.answer_direct(ctx, now, envelope, known);
                return false;
            }
            sent.refuse(envelope.seq, ErrorCode::Forbidden);
        }
        let fault = envelope.fault(
            ErrorCode::Forbidden,
            "the token does not allow sending direct messages",
        );
        self.fault(ctx, now, envelope.id, fault);
        false
    }

    /// The membership that a message is about: of the room that it names, or else of the one joined last.
    pub(super) fn membership_of(&self, id: ConnId, room: Option<&str>) -> Option<&Membership> {
        let session = &self.conn(id)?.session;
        let named = |membership: &&Membership| {
            let own = self.rooms.get(membership.room);
            membership.stay.is_staying()
                && room.is_none_or(|name| own.is_some_and(|own| *own.name == *name))
        };
        session.memberships.iter().rev().find(named)
    }

    /// The room of this name that a connection leaves.
    fn leaving(&self, id: ConnId, name: Option<&str>) -> Option<EdgeRoomId> {
        let named = |it: &&Membership| {
            let room = self.rooms.get(it.room);
            room.is_some_and(|room| name == Some(&*room.name))
        };
        let mut memberships = self.conn(id)?.session.memberships.iter();
        memberships.find(named).map(|it| it.room)
    }

    /// A numbered message is refused for good: its number must not hold up those after it.
    pub(super) fn refuse_seq<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        room: EdgeRoomId,
        code: ErrorCode,
    ) {
        let allowed = Allowed::in_room(room);
        self.forward(ctx, now, envelope, &allowed, |_, _| OpKind::Refused(code));
    }

    /// The session has another token, or a room's token has ended: rooms in which the client may not be any more are
    /// left.
    pub(super) fn renew_rights<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: ConnId) {
        let Edge { conns, rooms, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        let (encoding, client_id) = (conn.encoding, conn.pooled.client_id);
        let mut left: smallvec::SmallVec<[_; 4]> = smallvec::SmallVec::new();
        let admission = &conn.session.admission;
        for membership in &mut conn.session.memberships {
            let Some(room) = rooms.get(membership.room) else {
                continue;
            };
            let of_session = admission.rights(&room.name);
            membership.rights.renew(of_session, now.unix_ms);
            if !membership.rights.allow(Rights::JOIN) && membership.stay.is_staying() {
                membership.stay.leave();
                left.push((room.reference(), membership.player, room.id));
            }
        }
        for (room, player, edge_room) in left {
            let leave = OpKind::Leave(Leave {
                gone: false,
                edge_room,
                client_id,
                turn: self.keeper.turn(client_id),
            });
            self.send_op(ctx, now, (id, encoding), room, player, leave);
        }
    }

    /// A session comes back, perhaps with other rights: it is out of rooms in which it may not be any more, before
    /// anything of them is sent. Their names.
    pub(super) fn leave_forbidden<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        session: &mut Session,
        (client, id, encoding): (ClientId, ConnId, Encoding),
    ) -> Vec<Arc<str>> {
        let is_new_to_rooms = S::WAITS
            && self
                .keeper
                .copy(client)
                .is_some_and(|it| it.is_new_to_rooms);
        let mut left = Vec::new();
        let admission = &session.admission;
        let rooms = &mut self.rooms;
        session.memberships.retain(|membership| {
            let Some(room) = rooms.get(membership.room) else {
                return true;
            };
            // It leaves already.
            if !membership.stay.is_staying() {
                return true;
            }
            let of_session = admission.rights(&room.name);
            membership.rights.renew(of_session, now.unix_ms);
            let stays = membership.rights.allow(Rights::JOIN);
            if !stays {
                left.push((room.reference(), membership.player, room.id));
                rooms.exit(membership.room);
            }
            stays
        });
        let mut names = Vec::new();
        for (room, player, edge_room) in left {
            names.push(Arc::clone(&room.name));
            if is_new_to_rooms {
                self.introduce(
                    ctx,
                    now,
                    (client, id, encoding),
                    self.keeper.turn(client),
                    (room.clone(), edge_room, player),
                );
            }
            let leave = OpKind::Leave(Leave {
                gone: true,
                edge_room,
                client_id: client,
                turn: self.keeper.turn(client),
            });
            // The room knows it by the connection that it had.
            self.send_op(ctx, now, (id, encoding), room, player, leave);
        }
        names
    }

    /// Tells a client that has come back that it is not in a room any more.
    pub(super) fn tell_out<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: ConnId,
        room: &str,
    ) {
        let Some(encoding) = self.conn(id).map(|conn| conn.encoding) else {
            return;
        };
        let fault = Fault {
            request: Some(MessageType::JoinRoom),
            room,
            ..Fault::new(
                ErrorCode::NotInRoom,
                "the token does not allow being in this room any more",
            )
        };
        // No offence: it has asked for nothing.
        let error = ctx.error(encoding, now.micros, now.unix_ms, fault);
        self.push_control(ctx, now, id, error);
    }
}

/// What a client may do in a room that it joins, with a token for the room if it has one.
fn rights_to_join<H: Host>(
    ctx: &mut Context<H>,
    now: Now,
    session: &Session,
    room: &str,
    token: Option<&str>,
) -> Result<RoomRights, (ErrorCode, &'static str)> {
    let of_session = session.admission.rights(room);
    let Some(token) = token else {
        return Ok(RoomRights::new(of_session, Rights::NONE, 0));
    };
    let identity = ctx.host.verify(now.unix_ms, token).map_err(token_fault)?;
    let user = session.user_id();
    if !user.is_empty() && !identity.user_id.is_empty() && *identity.user_id != *user {
        let sentence = "the room's token names another user than this session's";
        return Err((ErrorCode::Unauthorized, sentence));
    }
    Ok(RoomRights::new(
        of_session,
        identity.rights(room),
        identity.expires_at,
    ))
}
