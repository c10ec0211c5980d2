//! What a client sends, read.

use std::borrow::Cow;

use crate::envelope::{Envelope, Side, read_epoch};
use crate::error::{BadMessage, ErrorCode, Fault};
use crate::limits::{Limits, over};
use crate::presence::{self, PresenceUpdate};
use crate::read::{Source, Value};
use crate::{
    Format, GameAction, Hello, HistoryRequest, Incoming, IncomingPayload, JoinRoom, LogPosition,
    MembersRequest, MessageType, PayloadKind, Request, RoomPosition, Skip, names,
};

/// Reads one message from a client: a text frame's UTF-8, or a binary frame.
///
/// Nothing is allocated for a `game_action`, `chat`, `event` or `ping` whose strings have no escapes. Fields that are
/// unknown, and those that only the server sets, are ignored, whatever they hold.
///
/// # Errors
/// What is wrong with it, for the `error` that answers it.
pub fn decode<'a>(
    format: Format,
    message: &'a [u8],
    limits: &Limits,
) -> Result<Incoming<'a>, BadMessage> {
    let mut envelope = Envelope::default();
    let read = envelope
        .read(format, message, limits, Side::Client)
        .and_then(|message_type| request(message_type, format, &mut envelope, limits));
    match read {
        Ok(request) => Ok(Incoming {
            room_id: if envelope.is_direct() {
                None
            } else {
                envelope.room_id
            },
            to_client_id: envelope.to_client_id,
            to_user_id: envelope.to_user_id,
            seq: envelope.seq,
            request_id: envelope.request_id,
            ephemeral: envelope.ephemeral,
            no_echo: envelope.no_echo,
            request,
        }),
        Err(fault) => Err(envelope.bad(fault)),
    }
}

fn request<'a>(
    message_type: MessageType,
    format: Format,
    envelope: &mut Envelope<'a>,
    limits: &Limits,
) -> Result<Request<'a>, Fault> {
    check_names(envelope, limits)?;
    check_recipient(message_type, envelope)?;
    Ok(match message_type {
        MessageType::Hello => Request::Hello(Box::new(hello(envelope.message()?, limits)?)),
        MessageType::JoinRoom => {
            let join = join_room(envelope, limits)?;
            if envelope.room_id.is_none() {
                return Err(Fault::missing("room_id"));
            }
            Request::JoinRoom(join)
        }
        MessageType::LeaveRoom => {
            leave_room(envelope, limits)?;
            Request::LeaveRoom
        }
        MessageType::GameAction => Request::GameAction(game_action(format, envelope, limits)?),
        MessageType::Chat => Request::Chat(chat(format, envelope, limits)?),
        MessageType::Event => {
            let name = envelope.name.take().ok_or_else(|| Fault::missing("name"))?;
            check(
                names::validate_event(&name, limits),
                "name",
                "message.max_event_name",
            )?;
            if name.starts_with(names::OWN_EVENTS) {
                return Err(Fault::new(
                    ErrorCode::InvalidName,
                    "only the server sends events whose `name` begins with `roomcast.`",
                ));
            }
            Request::Event {
                name,
                payload: envelope.payload(PayloadKind::Bytes, limits)?,
            }
        }
        MessageType::Presence => Request::Presence(presence_update(envelope.message()?, limits)?),
        MessageType::Skip => Request::Skip(skip(envelope.message()?)?),
        MessageType::Ping => Request::Ping(envelope.payload(PayloadKind::Bytes, limits)?),
        MessageType::Members => Request::Members(members(envelope.message()?)?),
        MessageType::History => Request::History(history(envelope.message()?)?),
        MessageType::Auth => Request::Auth {
            token: auth(envelope.message()?, limits)?,
        },
        _ => {
            return Err(Fault::new(
                ErrorCode::UnknownType,
                "`type` is not a type that clients send",
            ));
        }
    })
}

fn check_names(envelope: &Envelope<'_>, limits: &Limits) -> Result<(), Fault> {
    if let Some(room) = &envelope.room_id {
        check_room(room, limits)?;
    }
    if let Some(id) = &envelope.to_client_id {
        check(
            names::validate_id(id, limits),
            "to_client_id",
            "message.max_id",
        )?;
    }
    if let Some(id) = &envelope.to_user_id {
        check(
            names::validate_id(id, limits),
            "to_user_id",
            "message.max_id",
        )?;
    }
    Ok(())
}

/// What is for one must not be told to others: a recipient counts, or the message is refused.
fn check_recipient(message_type: MessageType, envelope: &Envelope<'_>) -> Result<(), Fault> {
    let recipients = (&envelope.to_client_id, &envelope.to_user_id);
    let sentence = match (message_type, recipients) {
        (_, (None, None)) => return Ok(()),
        (MessageType::Chat | MessageType::Event, (Some(_), Some(_))) => {
            "`to_client_id` and `to_user_id` exclude each other"
        }
        (MessageType::GameAction | MessageType::Presence, _) => {
            "only a `chat` or an `event` can have `to_client_id` or `to_user_id`"
        }
        _ => return Ok(()),
    };
    Err(Fault::new(ErrorCode::InvalidValue, sentence))
}

fn check_room(name: &str, limits: &Limits) -> Result<(), Fault> {
    check(
        names::validate_room(name, limits),
        "room_id",
        "message.max_name",
    )
}

pub(crate) fn check(
    result: Result<(), ErrorCode>,
    field: &'static str,
    key: &'static str,
) -> Result<(), Fault> {
    result.map_err(|code| {
        Fault::new(
            code,
            format!(
                "`{field}` is empty, has white space, control characters or text direction overrides, or is longer than `{key}`"
            ),
        )
    })
}

fn check_size(text: Option<Cow<'_, str>>, max: usize) -> Result<Option<Cow<'_, str>>, Fault> {
    match text {
        Some(text) if over(text.len(), max) => Err(Fault::field(
            ErrorCode::TooLarge,
            "is longer than `message.max_token` allows",
        )),
        text => Ok(text),
    }
}

fn hello<'a>(source: Source<'a>, limits: &Limits) -> Result<Hello<'a>, Fault> {
    let names = [
        "version",
        "capabilities",
        "token",
        "resume_token",
        "positions",
        "inbox",
        "first_direct_seq",
    ];
    let mut hello = Hello::default();
    source.fields(&names, |number, value| {
        if value.replaces() {
            match number {
                2 => hello.capabilities.clear(),
                5 => hello.positions.clear(),
                _ => {}
            }
        }
        match number {
            1 => hello.version = value.u32()?,
            2 => value.each(|capability| {
                let capability = capability.str()?;
                check(
                    names::validate_event(&capability, limits),
                    "capabilities",
                    "message.max_event_name",
                )?;
                push(
                    &mut hello.capabilities,
                    capability,
                    limits.max_capabilities,
                    "message.max_capabilities",
                )
            })?,
            3 => hello.token = check_size(value.opt_str()?, limits.max_token)?,
            4 => hello.resume_token = check_size(value.opt_str()?, limits.max_token)?,
            5 => value.each(|position| {
                let position = room_position(position.message()?, limits)?;
                push(
                    &mut hello.positions,
                    position,
                    limits.max_positions,
                    "message.max_positions",
                )
            })?,
            6 => hello.inbox = log_position(value)?,
            _ => hello.first_direct_seq = value.opt_place()?,
        }
        Ok(())
    })?;
    Ok(hello)
}

/// Adds to a list that has a limit.
fn push<T>(list: &mut Vec<T>, item: T, max: usize, key: &'static str) -> Result<(), Fault> {
    if over(list.len() + 1, max) {
        return Err(Fault::new(
            ErrorCode::TooMany,
            format!("the list has more entries than `{key}` allows"),
        ));
    }
    list.push(item);
    Ok(())
}

fn room_position<'a>(source: Source<'a>, limits: &Limits) -> Result<RoomPosition<'a>, Fault> {
    let (mut room_id, mut since, mut first_seq) = (None, None, None);
    source.fields(&["room_id", "since", "first_seq"], |number, value| {
        match number {
            1 => room_id = value.opt_str()?,
            2 => since = log_position(value)?,
            _ => first_seq = value.opt_place()?,
        }
        Ok(())
    })?;
    let room_id = room_id.ok_or_else(|| Fault::missing("room_id"))?;
    check_room(&room_id, limits)?;
    Ok(RoomPosition {
        room_id,
        since,
        first_seq,
    })
}

pub(crate) fn log_position(value: Value<'_>) -> Result<Option<LogPosition<'_>>, Fault> {
    if value.is_null() {
        return Ok(None);
    }
    let mut position = LogPosition {
        epoch: Cow::Borrowed(""),
        offset: 0,
    };
    value
        .message()?
        .fields(&["epoch", "offset"], |number, value| {
            match number {
                1 => position.epoch = read_epoch(value)?,
                _ => position.offset = value.place()?,
            }
            Ok(())
        })?;
    Ok(Some(position))
}

fn join_room<'a>(envelope: &mut Envelope<'a>, limits: &Limits) -> Result<JoinRoom<'a>, Fault> {
    // What it says about the user is not believed, so it is not read.
    let names = [
        "room_id",
        "",
        "nickname",
        "since",
        "first_seq",
        "presence",
        "token",
    ];
    let mut join = JoinRoom::default();
    let mut room_id = None;
    envelope.message()?.fields(&names, |number, value| {
        match number {
            1 => room_id = value.name()?,
            3 => join.nickname = value.opt_str()?,
            4 => join.since = log_position(value)?,
            5 => join.first_seq = value.opt_place()?,
            6 => presence::read(value, &mut join.presence, limits)?,
            7 => join.token = check_size(value.opt_str()?, limits.max_token)?,
            _ => {}
        }
        Ok(())
    })?;
    take_room(envelope, room_id, limits)?;
    check_nickname(join.nickname.as_deref(), limits)?;
    Ok(join)
}

fn check_nickname(nickname: Option<&str>, limits: &Limits) -> Result<(), Fault> {
    if nickname.is_none_or(|nickname| names::validate_nickname(nickname, limits).is_ok()) {
        return Ok(());
    }
    Err(Fault::new(
        ErrorCode::InvalidName,
        "`nickname` has no visible character, control characters, text direction overrides or white space around it, or is longer than `message.max_nickname`",
    ))
}

fn leave_room(envelope: &mut Envelope<'_>, limits: &Limits) -> Result<(), Fault> {
    let mut room_id = None;
    envelope.message()?.fields(&["room_id"], |_, value| {
        room_id = value.name()?;
        Ok(())
    })?;
    take_room(envelope, room_id, limits)
}

/// The envelope's room wins over the payload's.
fn take_room<'a>(
    envelope: &mut Envelope<'a>,
    room_id: Option<Cow<'a, str>>,
    limits: &Limits,
) -> Result<(), Fault> {
    if envelope.room_id.is_none()
        && let Some(room) = room_id
    {
        let checked = check_room(&room, limits);
        envelope.room_id = Some(room);
        checked?;
    }
    Ok(())
}

fn game_action<'a>(
    format: Format,
    envelope: &Envelope<'a>,
    limits: &Limits,
) -> Result<GameAction<'a>, Fault> {
    match envelope.payload {
        Some(Value::Json(text)) => GameAction::read(format, text.as_bytes(), limits),
        Some(Value::Bytes(bytes)) => GameAction::read(format, bytes, limits),
        Some(_) => Err(Fault::new(
            ErrorCode::WrongType,
            "`payload` has the wrong wire type",
        )),
        None => Err(Fault::missing("payload")),
    }
}

fn chat<'a>(
    format: Format,
    envelope: &Envelope<'a>,
    limits: &Limits,
) -> Result<IncomingPayload<'a>, Fault> {
    // Protobuf leaves out an empty text.
    let empty = format == Format::Protobuf && envelope.kind != Some(PayloadKind::Json);
    match envelope.payload(PayloadKind::Text, limits)? {
        payload if payload.is_none() && empty => Ok(IncomingPayload {
            kind: PayloadKind::Text,
            data: Cow::Borrowed(&[]),
        }),
        payload if payload.is_none() || envelope.payload.is_none() && !empty => {
            Err(Fault::missing("payload"))
        }
        payload => Ok(payload),
    }
}

fn presence_update<'a>(source: Source<'a>, limits: &Limits) -> Result<PresenceUpdate<'a>, Fault> {
    // Protobuf leaves out an empty map. In JSON, keys beside `presence` would otherwise be ignored in silence.
    let mut missing = matches!(source, Source::Json(..));
    let mut update = PresenceUpdate::default();
    source.fields(&["presence", "", "", "", "nickname"], |number, value| {
        match number {
            1 => {
                missing = false;
                presence::read(value, &mut update, limits)?;
            }
            5 => {
                missing &= value.is_null();
                update.nickname = value.opt_str()?;
            }
            _ => {}
        }
        Ok(())
    })?;
    if missing {
        return Err(Fault::missing("presence"));
    }
    check_nickname(update.nickname.as_deref(), limits)?;
    Ok(update)
}

fn skip(source: Source<'_>) -> Result<Skip, Fault> {
    let mut seq = None;
    source.fields(&["seq"], |_, value| {
        seq = value.opt_place()?;
        Ok(())
    })?;
    seq.map(|seq| Skip { seq })
        .ok_or_else(|| Fault::missing("seq"))
}

fn members(source: Source<'_>) -> Result<MembersRequest, Fault> {
    let mut request = MembersRequest::default();
    source.fields(&["after", "limit"], |number, value| {
        match number {
            1 => request.after = value.u32()?,
            _ => request.limit = value.u32()?,
        }
        Ok(())
    })?;
    Ok(request)
}

fn history(source: Source<'_>) -> Result<HistoryRequest, Fault> {
    let mut request = HistoryRequest::default();
    source.fields(&["before", "limit", "after"], |number, value| {
        match number {
            1 => request.before = value.place()?,
            2 => request.limit = value.u32()?,
            _ if value.is_null() => request.after = None,
            _ => request.after = Some(value.place()?),
        }
        Ok(())
    })?;
    if request.before != 0 && request.after.is_some() {
        return Err(Fault::new(
            ErrorCode::InvalidValue,
            "`before` and `after` can't be used together",
        ));
    }
    Ok(request)
}

fn auth<'a>(source: Source<'a>, limits: &Limits) -> Result<Cow<'a, str>, Fault> {
    let mut token = None;
    source.fields(&["token"], |_, value| {
        token = check_size(value.opt_str()?, limits.max_token)?;
        Ok(())
    })?;
    token.ok_or_else(|| Fault::missing("token"))
}
