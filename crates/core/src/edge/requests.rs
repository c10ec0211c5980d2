//! What clients ask of rooms and of each other, on its way there.

use std::borrow::Cow;

use roomcast_protocol::{
    ErrorCode, Format, GameAction, IncomingPayload, JoinRoom, MessageType, PayloadKind,
    PresenceUpdate,
};

use crate::address::NodeNumber;
use crate::context::Context;
use crate::edge::conn::Conn;
use crate::edge::hello::since;
use crate::edge::membership::{Membership, Stay};
use crate::edge::receive::Envelope;
use crate::edge::rights::Allowed;
use crate::edge::{Edge, may_read};
use crate::host::Host;
use crate::id::{ConnRef, EdgeRoomId};
use crate::letter::{Join, Leave, Op, OpHead, OpKind, Place, Publish};
use crate::store::Store;
use crate::time::Now;

/// Bytes of a publish window that an operation takes beside what its sender put into it.
const OP_OVERHEAD: usize = 128;

impl<S: Store> Edge<S> {
    pub(super) fn join<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: Envelope<'_>,
        join: JoinRoom<'_>,
        allowed: &Allowed,
    ) {
        let id = envelope.id;
        let Some(name) = envelope.room_id.as_deref() else {
            return;
        };
        let hash = ctx.names.hash(name);
        let known = self.rooms.find(name, hash);
        let most = ctx.settings.max_rooms as usize;
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let at = known.and_then(|room| {
            conn.session
                .memberships
                .iter()
                .position(|it| it.room == room)
        });
        let (room, player) = match at {
            Some(at) => {
                // Joined last is what a message without a room means.
                let mut membership = conn.session.memberships.remove(at);
                membership.stay.join();
                membership.rights = allowed.rights();
                conn.session.memberships.push(membership);
                (membership.room, membership.player)
            }
            None if most > 0 && conn.session.memberships.len() >= most => {
                let fault = envelope.fault(
                    ErrorCode::TooManyRooms,
                    "this session is in as many rooms as `max_rooms` of `welcome` allows; leave one first",
                );
                return self.fault(ctx, now, id, fault);
            }
            None => {
                let room = self.rooms.enter(name, hash);
                let membership = Membership::new(room, allowed.rights());
                conn.session.memberships.push(membership);
                (room, OpHead::NEWCOMER)
            }
        };
        let Some(room) = self.rooms.get(room) else {
            return;
        };
        let identity = conn.session.identity();
        let of_token = identity.map_or("", |identity| &identity.name);
        let wanted = join
            .nickname
            .as_deref()
            .filter(|_| !ctx.kinds.bind_nickname(&room.name));
        let request = OpKind::Join(Box::new(Join {
            client_id: conn.pooled.client_id,
            nickname: wanted.unwrap_or(of_token).into(),
            presence: into_owned(join.presence),
            edge_room: room.id,
            user_id: conn.session.user_id().into(),
            turn: self.keeper.turn(conn.pooled.client_id),
            place: Place {
                since: allowed.since(join.since.as_ref().and_then(since)),
                first_seq: join.first_seq.unwrap_or(0),
            },
        }));
        let (encoding, window) = (conn.encoding, take_window(conn, ctx, request.held()));
        let conn = ConnRef {
            shard: ctx.own,
            conn: id,
        };
        let (room, born, seq) = (room.reference(), now.micros, envelope.seq);
        let request_id = envelope.request_id;
        let head = OpHead {
            room,
            conn,
            encoding,
            player,
            born,
            window,
            seq,
            request_id,
        };
        ctx.send_home(Op { head, request });
        if S::WAITS && at.is_some() {
            // It may have other rights there than before.
            self.session_changed(id);
        }
        if allowed.rights().ends_at() > 0 {
            self.schedule(ctx, now, id);
        }
    }

    pub(super) fn leave<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: Envelope<'_>,
        allowed: &Allowed,
    ) {
        let Some(client_id) = self.conn(envelope.id).map(|it| it.pooled.client_id) else {
            return;
        };
        let turn = self.keeper.turn(client_id);
        self.forward(ctx, now, &envelope, allowed, |membership, edge_room| {
            membership.stay.leave();
            OpKind::Leave(Leave {
                gone: false,
                edge_room,
                client_id,
                turn,
            })
        });
    }

    pub(super) fn publish<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: Envelope<'_>,
        to: (Option<&str>, Option<&str>),
        message: Message<'_>,
        allowed: &Allowed,
    ) {
        let mut bytes = ctx.buffer();
        bytes.extend_from_slice(message.name.as_bytes());
        bytes.extend_from_slice(message.payload);
        let publish = Publish {
            message_type: message.message_type,
            format: message.format,
            payload_kind: message.payload_kind,
            bytes,
            name_length: message.name.len() as u32,
            seq: envelope.seq,
            ephemeral: message.ephemeral,
            no_echo: message.no_echo,
        };
        if to.0.or(to.1).is_some() {
            return self.direct(ctx, now, &envelope, to, publish);
        }
        self.forward(ctx, now, &envelope, allowed, |_, _| {
            OpKind::Publish(publish)
        });
    }

    /// Sends a request to the room that it is about.
    pub(super) fn forward<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        allowed: &Allowed,
        request: impl FnOnce(&mut Membership, EdgeRoomId) -> OpKind,
    ) {
        let id = envelope.id;
        let Edge { conns, rooms, .. } = self;
        let Some(conn) = conns.get_mut(id) else {
            return;
        };
        let Some(slot) = allowed.room() else {
            return;
        };
        let (Some(membership), Some(room)) = (conn.session.membership(slot), rooms.get(slot))
        else {
            return;
        };
        let player = membership.player;
        let request = request(membership, room.id);
        let mut room = room.reference();
        if membership.stay != Stay::In {
            // What it follows may have gone elsewhere.
            room.node = NodeNumber::NONE;
        }
        let (encoding, born) = (conn.encoding, now.micros);
        let window = take_window(conn, ctx, request.held());
        let conn = ConnRef {
            shard: ctx.own,
            conn: id,
        };
        let (seq, request_id) = (envelope.seq, envelope.request_id);
        let head = OpHead {
            room,
            conn,
            encoding,
            player,
            born,
            window,
            seq,
            request_id,
        };
        ctx.send_home(Op { head, request });
    }
}

/// Takes what an operation may hold in its room's queue from the connection's window.
pub(super) fn take_window<H>(conn: &mut Conn, ctx: &mut Context<H>, size: usize) -> u32 {
    let window = u32::try_from(size + OP_OVERHEAD).unwrap_or(u32::MAX);
    conn.window = conn.window.saturating_add(window);
    conn.operations += 1;
    ctx.stats.reads_paused += u64::from(!may_read(conn, &ctx.settings));
    window
}

pub(super) const NO_RECIPIENT: &str =
    "no session has this id, or no user with this id has a session";

/// A chat, event or action, as it is read.
pub(super) struct Message<'a> {
    message_type: MessageType,
    format: Format,
    name: &'a str,
    payload_kind: PayloadKind,
    payload: &'a [u8],
    ephemeral: bool,
    no_echo: Option<bool>,
}

impl<'a> Message<'a> {
    pub(super) fn new(
        message_type: MessageType,
        name: &'a str,
        payload: &'a IncomingPayload<'_>,
        (ephemeral, no_echo): (bool, Option<bool>),
    ) -> Message<'a> {
        let (payload_kind, payload) = (payload.kind, &*payload.data);
        Message {
            message_type,
            format: Format::Json,
            name,
            payload_kind,
            payload,
            ephemeral,
            no_echo,
        }
    }

    pub(super) fn action(
        action: &GameAction<'a>,
        (ephemeral, no_echo): (bool, Option<bool>),
    ) -> Message<'a> {
        Message {
            message_type: MessageType::GameAction,
            format: action.format(),
            name: "",
            payload_kind: PayloadKind::Bytes,
            payload: action.raw(),
            ephemeral,
            no_echo,
        }
    }
}

pub(super) fn into_owned(update: PresenceUpdate<'_>) -> PresenceUpdate<'static> {
    let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    let keys = update
        .keys
        .into_iter()
        .map(|(key, value)| (own(key), value.map(own)));
    PresenceUpdate {
        keys: keys.collect(),
        nickname: update.nickname.map(own),
    }
}
