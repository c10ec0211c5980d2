//! What the server sends, read.

use super::{
    ErrorBody, Joined, Member, PlayerState, ServerBody, ServerMessage, StateSync, Welcome,
};
use crate::decode::log_position;
use crate::envelope::{Envelope, Side, read_epoch};
use crate::error::{ErrorCode, Fault};
use crate::limits::Limits;
use crate::presence;
use crate::read::{Source, Value};
use crate::{
    Format, GameAction, LogPosition, MessageType, PayloadKind, PresenceUpdate, Velocity,
    WelcomeLimits,
};

pub(super) fn body<'a>(
    message_type: MessageType,
    format: Format,
    envelope: &mut Envelope<'a>,
) -> Result<ServerBody<'a>, Fault> {
    let limits = &Limits::OFF;
    Ok(match message_type {
        MessageType::Chat => ServerBody::Chat(envelope.payload(PayloadKind::Text, limits)?),
        MessageType::Pong => ServerBody::Pong(envelope.payload(PayloadKind::Bytes, limits)?),
        MessageType::Event => ServerBody::Event {
            name: envelope.name.take().ok_or_else(|| Fault::missing("name"))?,
            payload: envelope.payload(PayloadKind::Bytes, limits)?,
        },
        MessageType::GameAction => ServerBody::GameAction(match envelope.payload {
            Some(Value::Json(text)) => GameAction::read(format, text.as_bytes(), limits)?,
            Some(Value::Bytes(bytes)) => GameAction::read(format, bytes, limits)?,
            _ => return Err(Fault::missing("payload")),
        }),
        MessageType::Welcome => ServerBody::Welcome(welcome(envelope.message()?)?),
        MessageType::Joined => ServerBody::Joined(joined(envelope.message()?)?),
        MessageType::PlayerJoined => ServerBody::PlayerJoined(member(envelope.message()?)?),
        MessageType::PlayerLeft => player_left(envelope.message()?)?,
        MessageType::Presence => presence(envelope.message()?)?,
        MessageType::Sync => ServerBody::Sync(sync(envelope.message()?)?),
        MessageType::Ack => ServerBody::Ack(acks(envelope.message()?)?),
        MessageType::Error => ServerBody::Error(error(envelope.message()?)?),
        MessageType::Members => members(envelope.message()?)?,
        MessageType::History => history(format, envelope.message()?)?,
        MessageType::Auth => auth(envelope.message()?)?,
        MessageType::Reconnect => reconnect(envelope.message()?)?,
        _ => {
            return Err(Fault::new(
                ErrorCode::UnknownType,
                "`type` is none that a server sends",
            ));
        }
    })
}

fn welcome(source: Source<'_>) -> Result<Welcome, Fault> {
    let names = [
        "client_id",
        "resume_token",
        "resumed",
        "ping_interval_ms",
        "limits",
        "server_time",
        "version",
        "seq_acked",
        "grace_ms",
        "inbox",
        "inbox_recovered",
        "user_id",
        "token_expires_at",
        "direct_repeats_possible",
    ];
    let mut welcome = Welcome::default();
    source.fields(&names, |number, value| {
        match number {
            1 => welcome.client_id = string(value)?,
            2 => welcome.resume_token = string(value)?,
            3 => welcome.resumed = value.bool()?,
            4 => welcome.ping_interval_ms = value.u64()?,
            5 => welcome.limits = limits(value.message()?)?,
            6 => welcome.server_time = value.i64()?,
            7 => welcome.version = value.u32()?,
            8 => welcome.seq_acked = value.bool()?,
            9 => welcome.grace_ms = value.u64()?,
            10 => welcome.inbox = log_position(value)?.map(LogPosition::into_owned),
            11 => welcome.inbox_recovered = value.bool()?,
            12 => welcome.user_id = string(value)?,
            13 => welcome.token_expires_at = value.i64()?,
            _ => welcome.direct_repeats_possible = value.bool()?,
        }
        Ok(())
    })?;
    Ok(welcome)
}

fn limits(source: Source<'_>) -> Result<WelcomeLimits, Fault> {
    let names = [
        "max_message",
        "max_rooms",
        "messages_per_second",
        "burst",
        "max_presence",
        "max_name",
        "max_unanswered",
    ];
    let mut limits = WelcomeLimits::default();
    source.fields(&names, |number, value| {
        match number {
            1 => limits.max_message = value.u64()?,
            2 => limits.max_rooms = value.u32()?,
            3 => limits.messages_per_second = value.u32()?,
            4 => limits.burst = value.u32()?,
            5 => limits.max_presence = value.u64()?,
            6 => limits.max_name = value.u32()?,
            _ => limits.max_unanswered = value.u32()?,
        }
        Ok(())
    })?;
    Ok(limits)
}

fn joined(source: Source<'_>) -> Result<Joined, Fault> {
    let names = [
        "members",
        "total",
        "player_num",
        "epoch",
        "offset",
        "recovered",
        "repeats_possible",
        "player_id",
        "mode",
        "presence",
        "properties",
    ];
    let mut joined = Joined::default();
    let mut properties = PresenceUpdate::default();
    source.fields(&names, |number, value| {
        match number {
            1 => push_members(value, &mut joined.members)?,
            2 => joined.total = value.u64()?,
            3 => joined.player_num = value.u32()?,
            4 => joined.epoch = read_epoch(value)?.into_owned(),
            5 => joined.offset = value.place()?,
            6 => joined.recovered = value.bool()?,
            7 => joined.repeats_possible = value.bool()?,
            8 => joined.player_id = string(value)?,
            9 => joined.mode = string(value)?,
            10 => joined.presence = string(value)?,
            _ => presence::read(value, &mut properties, &Limits::OFF)?,
        }
        Ok(())
    })?;
    joined.properties = object(&properties)?;
    Ok(joined)
}

fn member(source: Source<'_>) -> Result<Member, Fault> {
    let names = [
        "player_id",
        "player_num",
        "nickname",
        "presence",
        "connected",
    ];
    let mut member = Member::default();
    let mut keys = PresenceUpdate::default();
    source.fields(&names, |number, value| {
        match number {
            1 => member.player_id = string(value)?,
            2 => member.player_num = value.u32()?,
            3 => member.nickname = string(value)?,
            4 => presence::read(value, &mut keys, &Limits::OFF)?,
            _ => member.connected = value.bool()?,
        }
        Ok(())
    })?;
    member.presence = object(&keys)?;
    Ok(member)
}

fn player_left(source: Source<'_>) -> Result<ServerBody<'static>, Fault> {
    let (mut player_id, mut player_num) = (String::new(), 0);
    source.fields(&["player_id", "player_num"], |number, value| {
        match number {
            1 => player_id = string(value)?,
            _ => player_num = value.u32()?,
        }
        Ok(())
    })?;
    Ok(ServerBody::PlayerLeft {
        player_id,
        player_num,
    })
}

/// A player's entry, or a count: the one without a player.
fn presence(source: Source<'_>) -> Result<ServerBody<'static>, Fault> {
    let names = [
        "presence",
        "player_id",
        "player_num",
        "total",
        "nickname",
        "connected",
    ];
    let mut member = Member::default();
    let mut keys = PresenceUpdate::default();
    let mut total = 0;
    source.fields(&names, |number, value| {
        match number {
            1 => presence::read(value, &mut keys, &Limits::OFF)?,
            2 => member.player_id = string(value)?,
            3 => member.player_num = value.u32()?,
            4 => total = value.u64()?,
            5 => member.nickname = string(value)?,
            _ => member.connected = value.bool()?,
        }
        Ok(())
    })?;
    if member.player_id.is_empty() {
        return Ok(ServerBody::PresenceCount { total });
    }
    member.presence = object(&keys)?;
    Ok(ServerBody::Presence(member))
}

fn sync(source: Source<'_>) -> Result<StateSync, Fault> {
    let names = [
        "frame_num",
        "players",
        "timestamp",
        "full",
        "left",
        "offset",
    ];
    let mut sync = StateSync::default();
    source.fields(&names, |number, value| {
        match number {
            1 => sync.frame_num = value.i64()?,
            2 => value.each(|state| {
                sync.players.push(player_state(state.message()?)?);
                Ok(())
            })?,
            3 => sync.timestamp = value.i64()?,
            4 => sync.full = value.bool()?,
            5 => value.each(|id| {
                sync.left.push(string(id)?);
                Ok(())
            })?,
            _ => sync.offset = value.place()?,
        }
        Ok(())
    })?;
    Ok(sync)
}

fn player_state(source: Source<'_>) -> Result<PlayerState, Fault> {
    let names = [
        "player_id",
        "position",
        "velocity",
        "health",
        "score",
        "player_num",
    ];
    let mut state = PlayerState::default();
    source.fields(&names, |number, value| {
        match number {
            1 => state.player_id = string(value)?,
            2 => state.position = crate::action::read_position(value, state.position)?,
            3 => {
                let crate::Position { x, y, z } =
                    crate::action::read_position(value, crate::Position::default())?;
                state.velocity = Velocity { x, y, z };
            }
            4 => state.health = value.i32()?,
            5 => state.score = value.i32()?,
            _ => state.player_num = value.i32()?,
        }
        Ok(())
    })?;
    Ok(state)
}

fn acks(source: Source<'_>) -> Result<Vec<(u64, u64)>, Fault> {
    let mut acks = Vec::new();
    source.fields(&["acks"], |_, value| {
        value.each(|ack| {
            let (mut seq, mut offset) = (0, 0);
            ack.message()?.fields(&["seq", "offset"], |number, value| {
                match number {
                    1 => seq = value.place()?,
                    _ => offset = value.place()?,
                }
                Ok(())
            })?;
            acks.push((seq, offset));
            Ok(())
        })
    })?;
    Ok(acks)
}

fn error(source: Source<'_>) -> Result<ErrorBody, Fault> {
    let names = ["code", "message", "seq", "retry_after_ms", "request"];
    let mut error = ErrorBody::default();
    source.fields(&names, |number, value| {
        match number {
            1 => error.code = string(value)?,
            2 => error.message = string(value)?,
            3 => error.seq = value.place()?,
            4 => error.retry_after_ms = value.u64()?,
            _ => error.request = string(value)?,
        }
        Ok(())
    })?;
    Ok(error)
}

fn members(source: Source<'_>) -> Result<ServerBody<'static>, Fault> {
    let (mut members, mut total, mut next) = (Vec::new(), 0, 0);
    source.fields(&["members", "total", "next"], |number, value| {
        match number {
            1 => push_members(value, &mut members)?,
            2 => total = value.u64()?,
            _ => next = value.u32()?,
        }
        Ok(())
    })?;
    Ok(ServerBody::Members {
        members,
        total,
        next,
    })
}

fn history(format: Format, source: Source<'_>) -> Result<ServerBody<'_>, Fault> {
    let (mut events, mut next, mut epoch) = (Vec::new(), 0, String::new());
    source.fields(&["events", "next", "epoch"], |number, value| {
        match number {
            1 => value.each(|message| {
                events.push(event(format, message)?);
                Ok(())
            })?,
            2 => next = value.place()?,
            _ => epoch = read_epoch(value)?.into_owned(),
        }
        Ok(())
    })?;
    Ok(ServerBody::History {
        events,
        next,
        epoch,
    })
}

/// A whole message inside another.
fn event(format: Format, value: Value<'_>) -> Result<ServerMessage<'_>, Fault> {
    let bytes = match value {
        Value::Json(text) => text.as_bytes(),
        Value::Bytes(bytes) => bytes,
        _ => return Err(Fault::field(ErrorCode::WrongType, "must be messages")),
    };
    let mut envelope = Envelope::default();
    let message_type = envelope.read(format, bytes, &Limits::OFF, Side::Server)?;
    // Pages inside pages would take stack for as long as somebody nests them.
    if message_type == MessageType::History {
        return Err(Fault::field(ErrorCode::InvalidValue, "has a `history`"));
    }
    let body = body(message_type, format, &mut envelope)?;
    Ok(ServerMessage::new(envelope, body))
}

fn auth(source: Source<'_>) -> Result<ServerBody<'static>, Fault> {
    let (mut token_expires_at, mut user_id) = (0, String::new());
    // A token is what a client sends.
    source.fields(&["", "token_expires_at", "user_id"], |number, value| {
        match number {
            2 => token_expires_at = value.i64()?,
            3 => user_id = string(value)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(ServerBody::Auth {
        token_expires_at,
        user_id,
    })
}

fn reconnect(source: Source<'_>) -> Result<ServerBody<'static>, Fault> {
    let (mut delay_ms, mut url, mut reason) = (0, String::new(), String::new());
    source.fields(&["delay_ms", "url", "reason"], |number, value| {
        match number {
            1 => delay_ms = value.u64()?,
            2 => url = string(value)?,
            _ => reason = string(value)?,
        }
        Ok(())
    })?;
    Ok(ServerBody::Reconnect {
        delay_ms,
        url,
        reason,
    })
}

fn push_members(value: Value<'_>, members: &mut Vec<Member>) -> Result<(), Fault> {
    value.each(|one| {
        members.push(member(one.message()?)?);
        Ok(())
    })
}

fn string(value: Value<'_>) -> Result<String, Fault> {
    value.str().map(|text| text.into_owned())
}

/// Presence as one text, the same from both formats.
fn object(keys: &PresenceUpdate<'_>) -> Result<String, Fault> {
    presence::merge("", keys, &Limits::OFF)
        .map_err(|code| Fault::new(code, "the presence is not JSON"))
}
