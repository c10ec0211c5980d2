//! What a client sends, written.

use std::borrow::Cow;

use super::ClientMessage;
use crate::encode::{write_action, write_kind, write_payload, write_type};
use crate::write::{Json, Protobuf, Writer};
use crate::{Format, Hello, JoinRoom, LogPosition, PresenceUpdate, Request};

/// Appends a client's message.
pub fn encode_request(format: Format, message: &ClientMessage<'_>, out: &mut Vec<u8>) {
    match format {
        Format::Json => Json::object(out, |writer| envelope(writer, format, message)),
        Format::Protobuf => envelope(&mut Protobuf::new(out), format, message),
    }
}

fn envelope<W: Writer>(writer: &mut W, format: Format, message: &ClientMessage<'_>) {
    write_type(writer, message.request.message_type());
    writer.opt_str(3, "to_client_id", text(&message.to_client_id));
    writer.opt_str(4, "room_id", text(&message.room_id));
    // In JSON before the payload: a server that can't read on there has read whose answer its error is. Protobuf is read to
    // its end, and written in the order of its numbers.
    if format == Format::Json {
        numbers(writer, message);
    }
    payload(writer, format, &message.request);
    if format == Format::Protobuf {
        writer.opt_u64(7, "seq", message.seq.unwrap_or_default());
    }
    match &message.request {
        Request::Chat(payload) | Request::Ping(payload) => {
            write_kind(writer, format, payload.as_payload());
        }
        Request::Event { name, payload } => {
            write_kind(writer, format, payload.as_payload());
            writer.str(11, "name", name);
        }
        _ => {}
    }
    writer.opt_bool(12, "ephemeral", message.ephemeral);
    if let Some(no_echo) = message.no_echo {
        writer.set_bool(13, "no_echo", no_echo);
    }
    writer.opt_str(14, "to_user_id", text(&message.to_user_id));
    if format == Format::Protobuf {
        writer.opt_u64(15, "request_id", u64::from(message.request_id));
    }
}

fn numbers<W: Writer>(writer: &mut W, message: &ClientMessage<'_>) {
    writer.opt_u64(7, "seq", message.seq.unwrap_or_default());
    writer.opt_u64(15, "request_id", u64::from(message.request_id));
}

fn payload<W: Writer>(writer: &mut W, format: Format, request: &Request<'_>) {
    let ours = match request {
        Request::Chat(payload) | Request::Ping(payload) | Request::Event { payload, .. } => {
            return write_payload(writer, payload.as_payload());
        }
        Request::GameAction(action) => return write_action(writer, format, action),
        Request::LeaveRoom => return,
        ours => ours,
    };
    writer.body(5, "payload", |writer| match ours {
        Request::Hello(request) => hello(writer, request),
        Request::JoinRoom(request) => join_room(writer, request),
        Request::Presence(update) => {
            if update.nickname.is_none() || !update.keys.is_empty() {
                presence(writer, 1, update);
            }
            writer.opt_str(5, "nickname", text(&update.nickname));
        }
        Request::Skip(request) => writer.u64(1, "seq", request.seq),
        Request::Members(request) => {
            writer.opt_u64(1, "after", u64::from(request.after));
            writer.opt_u64(2, "limit", u64::from(request.limit));
        }
        Request::History(request) => {
            writer.opt_u64(1, "before", request.before);
            writer.opt_u64(2, "limit", u64::from(request.limit));
            if let Some(after) = request.after {
                writer.set_u64(3, "after", after);
            }
        }
        Request::Auth { token } => writer.str(1, "token", token),
        Request::Chat(_)
        | Request::Ping(_)
        | Request::Event { .. }
        | Request::GameAction(_)
        | Request::LeaveRoom => {}
    });
}

fn hello<W: Writer>(writer: &mut W, hello: &Hello<'_>) {
    writer.opt_u64(1, "version", u64::from(hello.version));
    if !hello.capabilities.is_empty() {
        writer.list("capabilities", |writer| {
            hello
                .capabilities
                .iter()
                .for_each(|capability| writer.str_item(2, capability));
        });
    }
    writer.opt_str(3, "token", text(&hello.token));
    writer.opt_str(4, "resume_token", text(&hello.resume_token));
    if !hello.positions.is_empty() {
        writer.list("positions", |writer| {
            for position in &hello.positions {
                writer.item(5, |writer| {
                    writer.str(1, "room_id", &position.room_id);
                    log_position(writer, 2, "since", position.since.as_ref());
                    writer.opt_u64(3, "first_seq", position.first_seq.unwrap_or_default());
                });
            }
        });
    }
    log_position(writer, 6, "inbox", hello.inbox.as_ref());
    writer.opt_u64(
        7,
        "first_direct_seq",
        hello.first_direct_seq.unwrap_or_default(),
    );
}

fn join_room<W: Writer>(writer: &mut W, join: &JoinRoom<'_>) {
    writer.opt_str(3, "nickname", text(&join.nickname));
    log_position(writer, 4, "since", join.since.as_ref());
    writer.opt_u64(5, "first_seq", join.first_seq.unwrap_or_default());
    if !join.presence.is_empty() {
        presence(writer, 6, &join.presence);
    }
    writer.opt_str(7, "token", text(&join.token));
}

fn log_position<W: Writer>(
    writer: &mut W,
    number: u32,
    name: &str,
    position: Option<&LogPosition<'_>>,
) {
    if let Some(position) = position {
        writer.message(number, name, |writer| {
            writer.opt_str(1, "epoch", &position.epoch);
            writer.opt_u64(2, "offset", position.offset);
        });
    }
}

fn presence<W: Writer>(writer: &mut W, number: u32, update: &PresenceUpdate<'_>) {
    let entries = update
        .keys
        .iter()
        .map(|(key, value)| (&**key, value.as_deref()));
    writer.json_entries(number, "presence", entries);
}

fn text<'a>(text: &'a Option<Cow<'_, str>>) -> &'a str {
    text.as_deref().unwrap_or_default()
}
