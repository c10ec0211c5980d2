//! What the server sends, written.

use crate::write::{Json, Protobuf, Writer};
use crate::{
    Body, ErrorBody, Format, GameAction, History, Joined, Member, MessageType, Outgoing, Payload,
    PlayerState, Position, StateSync, Velocity, Welcome,
};

/// Appends one message to a client.
///
/// Allocates nothing when `out` has the space, but for actions that change their format. Fields are in the order of
/// their numbers, in JSON too, so that the same message is always the same bytes.
pub fn encode(format: Format, message: &Outgoing<'_>, out: &mut Vec<u8>) {
    match format {
        Format::Json => Json::object(out, |writer| envelope(writer, format, message)),
        Format::Protobuf => envelope(&mut Protobuf::new(out), format, message),
    }
}

fn envelope<W: Writer>(writer: &mut W, format: Format, message: &Outgoing<'_>) {
    write_type(writer, message.body.message_type());
    writer.opt_str(2, "from_client_id", message.from.client_id);
    writer.opt_str(3, "to_client_id", message.to_client_id);
    writer.opt_str(4, "room_id", message.room_id);
    payload(writer, format, &message.body);
    let timestamp = match message.body {
        Body::Pong { server_time, .. } => server_time,
        _ => message.timestamp,
    };
    writer.i64(6, "timestamp", timestamp);
    writer.opt_u64(7, "seq", message.seq);
    writer.opt_u64(8, "offset", message.offset);
    writer.opt_str(9, "epoch", message.epoch);
    match message.body {
        Body::Chat(payload) | Body::Pong { payload, .. } => write_kind(writer, format, payload),
        Body::Event { name, payload } => {
            write_kind(writer, format, payload);
            writer.str(11, "name", name);
        }
        _ => {}
    }
    writer.opt_bool(12, "ephemeral", message.ephemeral);
    writer.opt_str(14, "to_user_id", message.to_user_id);
    writer.opt_u64(15, "request_id", u64::from(message.request_id));
    writer.opt_str(16, "from_user_id", message.from.user_id);
    writer.opt_u64(17, "from_player_num", u64::from(message.from.player_num));
    writer.opt_str(18, "from_service", message.from.service);
}

pub(crate) fn write_type<W: Writer>(writer: &mut W, message_type: MessageType) {
    writer.tag(1, "type", message_type.number(), message_type.as_str());
}

pub(crate) fn write_payload<W: Writer>(writer: &mut W, payload: Payload<'_>) {
    if !payload.is_none() {
        writer.payload(5, "payload", payload);
    }
}

/// In JSON a payload is `json` unless it says otherwise; in Protobuf it always says.
pub(crate) fn write_kind<W: Writer>(writer: &mut W, format: Format, payload: Payload<'_>) {
    let unsaid = format == Format::Json && payload.kind == crate::PayloadKind::Json;
    if !payload.is_none() && !unsaid {
        writer.tag(
            10,
            "payload_kind",
            payload.kind.number(),
            payload.kind.as_str(),
        );
    }
}

/// As it came where the format is the same.
pub(crate) fn write_action<W: Writer>(writer: &mut W, format: Format, action: &GameAction<'_>) {
    if action.format() == format {
        writer.ready(5, "payload", action.raw());
    } else {
        writer.body(5, "payload", |writer| action.write(writer));
    }
}

fn payload<W: Writer>(writer: &mut W, format: Format, body: &Body<'_>) {
    let payload = match *body {
        Body::Chat(payload) | Body::Event { payload, .. } | Body::Pong { payload, .. } => {
            return write_payload(writer, payload);
        }
        Body::GameAction(action) => return write_action(writer, format, action),
        ref ours => ours,
    };
    writer.body(5, "payload", |writer| match payload {
        Body::Welcome(body) => welcome(writer, body),
        Body::Joined(body) => joined(writer, body),
        Body::PlayerJoined(body) => member(writer, body),
        Body::PlayerLeft {
            player_id,
            player_num,
        } => {
            writer.str(1, "player_id", player_id);
            writer.u64(2, "player_num", u64::from(*player_num));
        }
        Body::Presence(body) => presence(writer, body),
        Body::PresenceCount { total } => writer.u64(4, "total", *total),
        Body::Sync(body) => sync(writer, body),
        Body::Ack(acks) => writer.list("acks", |writer| {
            for (seq, offset) in *acks {
                writer.item(1, |writer| {
                    writer.u64(1, "seq", *seq);
                    writer.u64(2, "offset", *offset);
                });
            }
        }),
        Body::Error(body) => error(writer, body),
        Body::Members {
            members: list,
            total,
            next,
        } => {
            members(writer, 1, list);
            writer.u64(2, "total", *total);
            writer.u64(3, "next", u64::from(*next));
        }
        Body::History(body) => history(writer, format, body),
        Body::Auth {
            token_expires_at,
            user_id,
        } => {
            writer.i64(2, "token_expires_at", *token_expires_at);
            writer.opt_str(3, "user_id", user_id);
        }
        Body::Reconnect {
            delay_ms,
            url,
            reason,
        } => {
            writer.u64(1, "delay_ms", *delay_ms);
            writer.opt_str(2, "url", url);
            writer.opt_str(3, "reason", reason);
        }
        Body::Chat(_) | Body::Event { .. } | Body::Pong { .. } | Body::GameAction(_) => {}
    });
}

fn welcome<W: Writer>(writer: &mut W, body: &Welcome<'_>) {
    writer.str(1, "client_id", body.client_id);
    writer.opt_str(2, "resume_token", body.resume_token);
    writer.bool(3, "resumed", body.resumed);
    writer.u64(4, "ping_interval_ms", body.ping_interval_ms);
    writer.message(5, "limits", |writer| {
        let limits = &body.limits;
        writer.u64(1, "max_message", limits.max_message);
        writer.u64(2, "max_rooms", u64::from(limits.max_rooms));
        writer.u64(
            3,
            "messages_per_second",
            u64::from(limits.messages_per_second),
        );
        writer.u64(4, "burst", u64::from(limits.burst));
        writer.u64(5, "max_presence", limits.max_presence);
        writer.u64(6, "max_name", u64::from(limits.max_name));
        writer.u64(7, "max_unanswered", u64::from(limits.max_unanswered));
    });
    writer.i64(6, "server_time", body.server_time);
    writer.u64(7, "version", u64::from(body.version));
    writer.bool(8, "seq_acked", body.seq_acked);
    writer.u64(9, "grace_ms", body.grace_ms);
    if let Some(inbox) = body.inbox {
        writer.message(10, "inbox", |writer| {
            writer.str(1, "epoch", &inbox.epoch);
            writer.u64(2, "offset", inbox.offset);
        });
    }
    writer.bool(11, "inbox_recovered", body.inbox_recovered);
    writer.opt_str(12, "user_id", body.user_id);
    writer.i64(13, "token_expires_at", body.token_expires_at);
    writer.bool(14, "direct_repeats_possible", body.direct_repeats_possible);
}

fn joined<W: Writer>(writer: &mut W, body: &Joined<'_>) {
    members(writer, 1, body.members);
    writer.u64(2, "total", body.total);
    writer.u64(3, "player_num", u64::from(body.player_num));
    writer.str(4, "epoch", body.epoch);
    writer.u64(5, "offset", body.offset);
    writer.bool(6, "recovered", body.recovered);
    writer.bool(7, "repeats_possible", body.repeats_possible);
    writer.str(8, "player_id", body.player_id);
    writer.str(9, "mode", body.mode);
    writer.str(10, "presence", body.presence);
    if !body.properties.is_empty() {
        writer.json_map(11, "properties", body.properties);
    }
}

fn members<W: Writer>(writer: &mut W, number: u32, members: &[Member<'_>]) {
    writer.list("members", |writer| {
        for body in members {
            writer.item(number, |writer| member(writer, body));
        }
    });
}

fn member<W: Writer>(writer: &mut W, member: &Member<'_>) {
    writer.str(1, "player_id", member.player_id);
    writer.u64(2, "player_num", u64::from(member.player_num));
    writer.opt_str(3, "nickname", member.nickname);
    if !member.presence.is_empty() {
        writer.json_map(4, "presence", member.presence);
    }
    writer.bool(5, "connected", member.connected);
}

/// The whole entry: a client replaces what it has by it, so that an empty presence is written too.
fn presence<W: Writer>(writer: &mut W, member: &Member<'_>) {
    writer.json_map(1, "presence", member.presence);
    writer.str(2, "player_id", member.player_id);
    writer.u64(3, "player_num", u64::from(member.player_num));
    writer.opt_str(5, "nickname", member.nickname);
    writer.bool(6, "connected", member.connected);
}

fn sync<W: Writer>(writer: &mut W, body: &StateSync<'_>) {
    writer.i64(1, "frame_num", body.frame_num);
    writer.list("players", |writer| {
        body.players
            .for_each(&mut |state| writer.item(2, |writer| player_state(writer, state)));
    });
    writer.i64(3, "timestamp", body.timestamp);
    writer.bool(4, "full", body.full);
    writer.list("left", |writer| {
        body.left.for_each(&mut |id| writer.str_item(5, id));
    });
    writer.u64(6, "offset", body.offset);
}

/// The events are whole messages, so that a client reads them as it reads those that are delivered.
fn history<W: Writer>(writer: &mut W, format: Format, body: &History<'_>) {
    writer.list("events", |writer| {
        body.events
            .for_each(&mut |event| writer.item(1, |writer| envelope(writer, format, event)));
    });
    writer.u64(2, "next", body.next);
    writer.str(3, "epoch", body.epoch);
}

fn player_state<W: Writer>(writer: &mut W, state: &PlayerState<'_>) {
    writer.str(1, "player_id", state.player_id);
    let Position { x, y, z } = state.position;
    writer.message(2, "position", |writer| axes(writer, x, y, z));
    let Velocity { x, y, z } = state.velocity;
    writer.message(3, "velocity", |writer| axes(writer, x, y, z));
    writer.i64(4, "health", i64::from(state.health));
    writer.i64(5, "score", i64::from(state.score));
    writer.i64(6, "player_num", i64::from(state.player_num));
}

fn axes<W: Writer>(writer: &mut W, x: f64, y: f64, z: f64) {
    writer.f64(1, "x", x);
    writer.f64(2, "y", y);
    writer.f64(3, "z", z);
}

fn error<W: Writer>(writer: &mut W, body: &ErrorBody<'_>) {
    writer.str(1, "code", body.code.as_str());
    writer.str(2, "message", body.message);
    writer.opt_u64(3, "seq", body.seq);
    writer.opt_u64(4, "retry_after_ms", body.retry_after_ms);
    writer.opt_str(5, "request", body.request.map_or("", MessageType::as_str));
}
