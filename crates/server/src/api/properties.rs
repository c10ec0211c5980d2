//! What the application says of a room.

use std::borrow::Cow;

use http::StatusCode;
use roomcast_core::backend::{Ask, Reply};
use roomcast_protocol::{ErrorCode, Format, PresenceUpdate, Request, decode};
use serde::Serialize;
use serde_json::value::RawValue;

use super::call::Call;
use super::problem::{Answer, Problem, ok_text};
use super::reading::unanswered;

pub(super) async fn get(call: Call) -> Result<Answer, Problem> {
    answer(&call, Ask::Properties).await
}

pub(super) async fn change(call: Call) -> Result<Answer, Problem> {
    let update = read(&call)?;
    answer(&call, Ask::SetProperties(update)).await
}

/// A change has the form of a member's presence, and is read as one.
fn read(call: &Call) -> Result<PresenceUpdate<'static>, Problem> {
    let wrong = |detail: String| Problem::of(ErrorCode::InvalidJson, detail);
    let whole: &RawValue = serde_json::from_slice(&call.body)
        .map_err(|error| wrong(format!("the body is not JSON: {error}")))?;
    if !whole.get().starts_with('{') {
        return Err(wrong("the body is not an object".to_owned()));
    }
    let message = format!(
        r#"{{"type":"presence","payload":{{"presence":{}}}}}"#,
        whole.get()
    );
    let message = decode(Format::Json, message.as_bytes(), &call.api.limits).map_err(|bad| {
        match bad.code {
            ErrorCode::PresenceTooLarge => too_large(),
            code => Problem::of(code, bad.message),
        }
    })?;
    let Request::Presence(update) = message.request else {
        return Err(unanswered());
    };
    let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    let keys = update.keys.into_iter();
    Ok(PresenceUpdate {
        keys: keys
            .map(|(key, value)| (owned(key), value.map(owned)))
            .collect(),
        nickname: None,
    })
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::TooLarge.as_str(),
        "these are more properties than `message.max_presence` and `message.max_presence_keys` allow",
    )
}

#[derive(Serialize)]
struct Shown<'a> {
    room_id: &'a str,
    properties: &'a RawValue,
}

async fn answer(call: &Call, ask: Ask) -> Result<Answer, Problem> {
    let room_id = call.room()?;
    let Reply::Properties(text) = call.ask(room_id, ask).await? else {
        return Err(unanswered());
    };
    let properties = raw(&text).ok_or_else(unanswered)?;
    let shown = Shown {
        room_id,
        properties,
    };
    Ok(ok_text(
        serde_json::to_string(&shown).map_err(|_| unanswered())?,
    ))
}

/// A room's properties as they are: some of their numbers are no value of ours.
pub(super) fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(if text.is_empty() { "{}" } else { text }).ok()
}
