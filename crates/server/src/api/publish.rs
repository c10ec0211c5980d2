//! Publishing: the body is a message as a client sends it, read by the same code.

use roomcast_core::ClientId;
use roomcast_core::backend::{Ask, Publication, Published, Question, Recipient, Reply};
use roomcast_protocol::{ErrorCode, Format, IncomingPayload, MessageType, Request, decode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Api;
use super::call::{Call, LONGEST_KEY, Sent, hear};
use super::problem::{Answer, Problem, ok, ok_text};

/// Messages in one request.
pub(super) const MOST_MESSAGES: usize = 1_000;

pub(super) async fn to_room(call: Call) -> Result<Answer, Problem> {
    let room = call.room()?;
    let once = call.once.as_deref();
    let (named, publication) = read(&call.api, &call.holder.name, &call.body, once)?;
    let publication = Publication {
        trace: call.trace,
        ..publication
    };
    if named.is_some_and(|named| named != room) {
        let detail = "`room_id` is not the room of the path; leave it out";
        return Err(Problem::of(ErrorCode::InvalidValue, detail));
    }
    let published = published(call.ask(room, Ask::Publish(publication)).await?)?;
    let mut out = Vec::new();
    Shown::of(room, &published).write(&mut out)?;
    Ok(ok_text(out))
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

/// What a message of a batch has beside what clients send.
#[derive(Deserialize)]
struct Extra {
    idempotency_key: Option<String>,
}

pub(super) async fn to_many(call: Call) -> Result<Answer, Problem> {
    let batch: Batch<'_> = serde_json::from_slice(&call.body).map_err(|error| {
        let detail = format!("the body is not `{{\"messages\": [...]}}`: {error}");
        Problem::of(ErrorCode::InvalidJson, detail)
    })?;
    let count = batch.messages.len();
    if count > MOST_MESSAGES {
        let detail =
            format!("a request takes {MOST_MESSAGES} messages at most, and this one has {count}");
        return Err(Problem::of(ErrorCode::TooMany, detail));
    }
    // The request counted as one.
    let more = u32::try_from(count).unwrap_or(u32::MAX).saturating_sub(1);
    call.holder.owe(more);
    // All are on their way before the first answer is waited for.
    let sent: Vec<_> = batch
        .messages
        .iter()
        .map(|message| send_one(&call, message.get()))
        .collect();
    let mut out = br#"{"results":["#.to_vec();
    for (nth, sent) in sent.into_iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        let (room, published) = match sent {
            Ok((room, sent)) => (room, hear(sent).await.and_then(published)),
            Err(problem) => (String::new(), Err(problem)),
        };
        match &published {
            Ok(published) => Shown::of(&room, published),
            Err(problem) => Shown::failed(&room, problem),
        }
        .write(&mut out)?;
    }
    out.extend(b"]}");
    Ok(ok_text(out))
}

/// Sends one message of a batch on its way.
fn send_one(call: &Call, message: &str) -> Result<(String, Sent), Problem> {
    // Most have none, and need not be read twice for it. A name may be written with escapes.
    let may_have_one = message.contains("idempotency_key") || message.contains('\\');
    let key = if may_have_one {
        serde_json::from_str(message)
            .map(|extra: Extra| extra.idempotency_key)
            .map_err(|error| Problem::of(ErrorCode::InvalidJson, error.to_string()))?
    } else {
        None
    };
    let (room, publication) = read(
        &call.api,
        &call.holder.name,
        message.as_bytes(),
        key.as_deref(),
    )?;
    let Some(room) = room else {
        let detail = "the message has no `room_id`";
        return Err(Problem::of(ErrorCode::MissingField, detail));
    };
    let publication = Publication {
        trace: call.trace,
        ..publication
    };
    let sent = call.send(&room, Ask::Publish(publication));
    Ok((room, sent))
}

pub(super) async fn to_user(call: Call) -> Result<Answer, Problem> {
    let user = call.user()?;
    direct(&call, user, Recipient::User(user.into())).await
}

pub(super) async fn to_client(call: Call) -> Result<Answer, Problem> {
    let client = call.user()?;
    let Some(to) = ClientId::parse(client) else {
        let detail = "no session has this id";
        return Err(Problem::of(ErrorCode::RecipientNotFound, detail));
    };
    direct(&call, client, Recipient::Client(to)).await
}

async fn direct(call: &Call, about: &str, to: Recipient) -> Result<Answer, Problem> {
    let once = call.once.as_deref();
    let (room, publication) = read(&call.api, &call.holder.name, &call.body, once)?;
    if room.is_some() || publication.ephemeral {
        let detail = "a direct message has no `room_id`, and is not `ephemeral`";
        return Err(Problem::of(ErrorCode::InvalidValue, detail));
    }
    match call.put(about, Question::Direct(to, publication)).await? {
        Reply::Sent { stored, failed } => Ok(ok(&json!({ "sent": stored, "failed": failed }))),
        _ => Err(Problem::unavailable("this was not answered")),
    }
}

/// A message: its room, if it names one, and what is asked.
fn read(
    api: &Api,
    holder: &str,
    body: &[u8],
    once: Option<&str>,
) -> Result<(Option<String>, Publication), Problem> {
    let most = api.max_message;
    if most != 0 && body.len() > most {
        let detail = format!("a message takes {most} bytes at most (`limits.max_message`)");
        return Err(Problem::of(ErrorCode::TooLarge, detail));
    }
    let message = decode(Format::Json, body, &api.limits)
        .map_err(|bad| Problem::of(bad.code, bad.message))?;
    let invalid = |detail: &str| Problem::of(ErrorCode::InvalidValue, detail);
    if message.seq.is_some() || message.no_echo.is_some() {
        return Err(invalid(
            "`seq` and `no_echo` are of clients; use an `Idempotency-Key` to publish once",
        ));
    }
    if message.to_client_id.is_some() || message.to_user_id.is_some() {
        return Err(invalid(
            "a message to a room has no `to_client_id` and no `to_user_id`",
        ));
    }
    if message.ephemeral && once.is_some() {
        return Err(invalid(
            "an `ephemeral` message is not kept, so it takes no idempotency key",
        ));
    }
    let (message_type, name, payload) = match message.request {
        Request::Chat(payload) => (MessageType::Chat, String::new(), payload),
        Request::Event { name, payload } => (MessageType::Event, name.into_owned(), payload),
        _ => {
            let detail = "`type` is neither `chat` nor `event`";
            return Err(Problem::of(ErrorCode::UnknownType, detail));
        }
    };
    let IncomingPayload { kind, data, .. } = payload;
    let publication = Publication {
        message_type,
        payload_kind: kind,
        name: name.into(),
        payload: data.into_owned().into(),
        ephemeral: message.ephemeral,
        once: once.map(|key| key_of(holder, key)).transpose()?,
        service: holder.into(),
        trace: None,
    };
    Ok((message.room_id.map(|room| room.into_owned()), publication))
}

fn key_of(holder: &str, key: &str) -> Result<ClientId, Problem> {
    if key.is_empty() || key.len() > LONGEST_KEY {
        let detail = format!("an idempotency key has 1 to {LONGEST_KEY} bytes");
        return Err(Problem::of(ErrorCode::InvalidValue, detail));
    }
    Ok(ClientId::of_key(holder, key))
}

fn published(reply: Reply) -> Result<Published, Problem> {
    match reply {
        Reply::Published(published) => Ok(published),
        Reply::Failed(failure) => Err(failure.into()),
        _ => Err(Problem::unavailable("this was not answered")),
    }
}

/// What became of a message, in the order of its members' names.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<bool>,
    #[serde(skip_serializing_if = "str::is_empty")]
    room_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
}

impl<'a> Shown<'a> {
    fn of(room: &'a str, published: &'a Published) -> Shown<'a> {
        let is_logged = published.offset > 0;
        Shown {
            epoch: is_logged.then(|| published.epoch.as_str()),
            error: None,
            offset: is_logged.then_some(published.offset),
            repeated: Some(published.repeated),
            room_id: room,
            timestamp: (published.timestamp > 0).then_some(published.timestamp),
        }
    }

    fn failed(room: &'a str, problem: &Problem) -> Shown<'a> {
        Shown {
            epoch: None,
            error: Some(problem.body()),
            offset: None,
            repeated: None,
            room_id: room,
            timestamp: None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), Problem> {
        let unwritten = |_| Problem::unavailable("the answer can't be written");
        serde_json::to_writer(out, self).map_err(unwritten)
    }
}
