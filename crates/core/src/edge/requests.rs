//! What clients ask of rooms and of each other, on its way there.

use std::borrow::Cow;

use roomcast_protocol::{
    ErrorCode, Format, GameAction, IncomingPayload, JoinRoom, MessageType, PayloadKind,
    PresenceUpdate,
};

use crate::context::Context;
use crate::edge::conn::{Conn, Membership};
use crate::edge::receive::Envelope;
use crate::edge::{Edge, may_read};
use crate::host::Host;
use crate::id::{ClientId, ConnRef, NameHash};
use crate::link::{DirectMessage, Join, Letter, Op, OpKind, Publish, RoomId, ShardMessage};
use crate::time::Now;

/// Bytes of a publish window that an operation takes beside what its sender put into it.
const OP_OVERHEAD: usize = 128;

impl Edge {
    pub(super) fn join<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: Envelope<'_>,
        join: JoinRoom<'_>,
    ) {
        let id = envelope.id;
        let Some(name) = envelope.room_id.as_deref() else {
            let fault = envelope.fault(
                ErrorCode::MissingField,
                "`join_room` names a room in `room_id`",
            );
            return self.fault(ctx, now, id, fault);
        };
        let hash = ctx.names.hash(name);
        let known = self.rooms.find(name, hash);
        let most = ctx.settings.max_rooms as usize;
        let Some(conn) = self.conns.get_mut(id.slot() as usize) else {
            return;
        };
        let at = known.and_then(|room| conn.memberships.iter().position(|it| it.room == room));
        let (room, player) = match at {
            Some(at) => {
                // Joined last is what a message without a room means.
                let mut membership = conn.memberships.remove(at);
                membership.wanted = true;
                membership.unanswered += 1;
                conn.memberships.push(membership);
                (membership.room, membership.player)
            }
            None if most > 0 && conn.memberships.len() >= most => {
                let fault = envelope.fault(
                    ErrorCode::TooManyRooms,
                    "leave a room first; `welcome` tells the limit",
                );
                return self.fault(ctx, now, id, fault);
            }
            None => {
                let room = self.rooms.enter(name, hash);
                conn.memberships.push(Membership {
                    room,
                    player: 0,
                    wanted: true,
                    unanswered: 1,
                    stale: false,
                    asked: false,
                    version: 0,
                });
                conn.pooled.in_use = true;
                (room, Op::NEWCOMER)
            }
        };
        let Some(room) = self.rooms.get(room) else {
            return;
        };
        let request = OpKind::Join(Box::new(Join {
            client_id: conn.pooled.client_id,
            nickname: join.nickname.as_deref().unwrap_or("").into(),
            presence: into_owned(join.presence),
            edge_room: room.id,
        }));
        let (encoding, window) = (conn.encoding, take_window(conn, ctx, &request));
        let conn = ConnRef {
            shard: ctx.index,
            conn: id,
        };
        let (room, born, seq) = (room.reference(), now.micros, envelope.seq);
        ctx.send_home(Op {
            room,
            conn,
            encoding,
            player,
            born,
            window,
            seq,
            request,
        });
    }

    pub(super) fn leave<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: Envelope<'_>,
    ) {
        self.forward(ctx, now, &envelope, |membership, edge_room| {
            membership.wanted = false;
            membership.unanswered += 1;
            OpKind::Leave {
                gone: false,
                edge_room,
            }
        });
    }

    pub(super) fn publish<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: Envelope<'_>,
        to: Option<Cow<'_, str>>,
        message: Message<'_>,
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
        if let Some(to) = to {
            return self.direct(ctx, now, &envelope, &to, publish);
        }
        let mut publish = Some(publish);
        self.forward(ctx, now, &envelope, |_, _| {
            // Called at most once.
            publish.take().map_or(
                OpKind::Members {
                    after: u32::MAX,
                    limit: 1,
                },
                OpKind::Publish,
            )
        });
        if let Some(publish) = publish {
            ctx.recycle(publish.bytes);
        }
    }

    /// Sends a request to the room that a message names, or to the one joined last.
    pub(super) fn forward<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        request: impl FnOnce(&mut Membership, RoomId) -> OpKind,
    ) {
        let id = envelope.id;
        let Edge { conns, rooms, .. } = self;
        let Some(conn) = conns.get_mut(id.slot() as usize) else {
            return;
        };
        let named = |membership: &Membership| match (&envelope.room_id, rooms.get(membership.room))
        {
            (Some(name), Some(room)) => *room.name == **name,
            (None, _) => true,
            (Some(_), None) => false,
        };
        let membership = conn
            .memberships
            .iter_mut()
            .rev()
            .find(|membership| membership.wanted && named(membership));
        let Some(membership) = membership else {
            let message = match &envelope.room_id {
                Some(_) => "you are not in this room; send `join_room` first",
                None => "you are in no room; send `join_room` first, or name one in `room_id`",
            };
            self.fault(ctx, now, id, envelope.fault(ErrorCode::NotInRoom, message));
            return;
        };
        let Some(room) = rooms.get(membership.room) else {
            return;
        };
        let player = membership.player;
        let request = request(membership, room.id);
        let (room, encoding, born) = (room.reference(), conn.encoding, now.micros);
        let window = take_window(conn, ctx, &request);
        let conn = ConnRef {
            shard: ctx.index,
            conn: id,
        };
        let seq = envelope.seq;
        ctx.send_home(Op {
            room,
            conn,
            encoding,
            player,
            born,
            window,
            seq,
            request,
        });
    }

    /// A message to one client, wherever it is.
    fn direct<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        envelope: &Envelope<'_>,
        to: &str,
        publish: Publish,
    ) {
        let id = envelope.id;
        let Some(target) = ClientId::parse(to) else {
            ctx.recycle(publish.bytes);
            return self.fault(
                ctx,
                now,
                id,
                envelope.fault(ErrorCode::RecipientNotFound, NO_RECIPIENT),
            );
        };
        let conn = self.conns.get_mut(id.slot() as usize);
        let Some(conn) = conn else { return };
        let request = OpKind::Publish(publish);
        let window = take_window(conn, ctx, &request);
        let OpKind::Publish(publish) = request else {
            return;
        };
        let message = DirectMessage {
            to: target,
            from: ConnRef {
                shard: ctx.index,
                conn: id,
            },
            from_encoding: conn.encoding,
            from_client: conn.pooled.client_id,
            born: now.micros,
            window,
            publish,
        };
        let home = NameHash::home(ctx.names.hash(to), ctx.count);
        if home == ctx.index {
            self.take_direct(ctx, now, message);
        } else if let Some(outbox) = ctx.outboxes.get_mut(usize::from(home)) {
            outbox.push(ShardMessage(Letter::Direct(Box::new(message))));
        }
    }
}

/// Takes what an operation may hold in its room's queue from the connection's window.
fn take_window<H>(conn: &mut Conn, ctx: &mut Context<H>, request: &OpKind) -> u32 {
    let keys = |update: &PresenceUpdate<'_>| -> usize {
        let sizes = update.keys.iter();
        sizes
            .map(|(key, value)| 64 + key.len() + value.as_ref().map_or(0, |v| v.len()))
            .sum()
    };
    let size = match request {
        OpKind::Publish(publish) => publish.bytes.len(),
        OpKind::Presence(update) => keys(update),
        OpKind::Join(join) => join.nickname.len() + keys(&join.presence),
        _ => 0,
    };
    let window = u32::try_from(size + OP_OVERHEAD).unwrap_or(u32::MAX);
    conn.window = conn.window.saturating_add(window);
    conn.operations += 1;
    ctx.stats.reads_paused += u64::from(!may_read(conn, &ctx.settings));
    window
}

pub(super) const NO_RECIPIENT: &str = "nobody with this id is connected";

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
    }
}
