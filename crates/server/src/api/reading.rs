//! What is there: rooms, members, logs, sessions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use roomcast_core::backend::{Ask, Query, Question, Reply, RoomsQuery};
use roomcast_protocol::{ErrorCode, HistoryRequest};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::call::Call;
use super::problem::{Answer, Problem, ok, ok_text};
use super::properties::raw;

/// Rooms in a page.
const ROOMS: u32 = 100;
const MOST_ROOMS: u32 = 1_000;

pub(super) async fn rooms(call: Call) -> Result<Answer, Problem> {
    let limit = call.number("limit")?.unwrap_or(ROOMS);
    if !(1..=MOST_ROOMS).contains(&limit) {
        let detail = format!("`limit` is not from 1 to {MOST_ROOMS}");
        return Err(Problem::of(ErrorCode::InvalidValue, detail));
    }
    let query = RoomsQuery {
        kind: call.text("kind").into(),
        prefix: call.text("prefix").into(),
        after: call.text("after").into(),
        limit,
    };
    let asked = Question::All(Query::Rooms(query));
    let Reply::Rooms { rooms, next } = call.put("", asked).await? else {
        return Err(unanswered());
    };
    let lines = rooms.iter().map(|line| Line {
        room_id: &line.room,
        members: line.members,
        properties: raw(&line.properties).filter(|_| !line.properties.is_empty()),
    });
    let page = Page {
        rooms: lines.collect(),
        next: next.as_deref(),
    };
    Ok(ok_text(
        serde_json::to_string(&page).map_err(|_| unanswered())?,
    ))
}

#[derive(Serialize)]
struct Page<'a> {
    rooms: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a> {
    room_id: &'a str,
    members: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<&'a RawValue>,
}

pub(super) async fn members(call: Call) -> Result<Answer, Problem> {
    let ask = Ask::Members {
        after: call.number("after")?.unwrap_or(0),
        limit: call.number("limit")?.unwrap_or(0),
    };
    page(&call, ask).await
}

pub(super) async fn history(call: Call) -> Result<Answer, Problem> {
    let request = HistoryRequest {
        before: call.number("before")?.unwrap_or(0),
        after: call.number("after")?,
        limit: call.number("limit")?.unwrap_or(0),
    };
    if request.after.is_some() && request.before > 0 {
        let detail = "`before` and `after` exclude each other";
        return Err(Problem::of(ErrorCode::InvalidValue, detail));
    }
    let most = roomcast_protocol::MAX_NUMBER;
    if request.before > most || request.after.is_some_and(|after| after > most) {
        let detail = format!("an offset is at most {most}");
        return Err(Problem::of(ErrorCode::InvalidValue, detail));
    }
    page(&call, Ask::History(request)).await
}

/// The payload of a message, as a client would get it.
async fn page(call: &Call, ask: Ask) -> Result<Answer, Problem> {
    let room = call.room()?;
    let Reply::Message(message) = call.ask(room, ask).await? else {
        return Err(unanswered());
    };
    let Some(page) = shown(&message, room) else {
        return Err(unanswered());
    };
    Ok(ok_text(page))
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    payload: BTreeMap<Cow<'a, str>, Cow<'a, RawValue>>,
}

/// What clients have written in it passes as it is: some of their numbers and texts are good JSON, and no value of ours.
fn shown(message: &[u8], room: &str) -> Option<String> {
    let Told { payload: mut page } = serde_json::from_slice(message).ok()?;
    // Clients are told 0 where nothing follows.
    if page.get("next").is_some_and(|next| next.get() == "0") {
        page.remove("next");
    }
    let room = serde_json::value::to_raw_value(room).ok()?;
    page.insert("room_id".into(), Cow::Owned(room));
    serde_json::to_string(&page).ok()
}

pub(super) async fn sessions(call: Call) -> Result<Answer, Problem> {
    let user = call.user()?;
    let asked = Question::All(Query::Sessions {
        user: user.into(),
        clients: Vec::new(),
    });
    let Reply::Sessions(sessions) = call.put(user, asked).await? else {
        return Err(unanswered());
    };
    let lines = sessions.iter().map(|line| {
        json!({
            "client_id": line.client.as_str(),
            "connected": line.connected,
            "rooms": line.rooms,
        })
    });
    Ok(ok(&json!({ "sessions": lines.collect::<Vec<_>>() })))
}

pub(super) async fn bans(call: Call) -> Result<Answer, Problem> {
    let room = call.room()?;
    let Reply::Rules { bans, locked_until } = call.ask(room, Ask::Rules).await? else {
        return Err(unanswered());
    };
    let lines = bans.iter();
    let lines = lines.map(|(user, until)| json!({ "user": user, "until": until }));
    let mut shown = json!({ "room_id": room, "bans": lines.collect::<Vec<_>>() });
    if locked_until > 0 {
        shown["locked_until"] = locked_until.into();
    }
    Ok(ok(&shown))
}

pub(super) fn unanswered() -> Problem {
    Problem::unavailable("this was not answered")
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_clients_wrote_passes_untouched() {
        for raw in [
            "1e400",
            r#""\\ud800""#.replace("\\\\", "\\").as_str(),
            "123456789012345678901234567890",
            r#"{"a":1,"a":2}"#,
            &format!("{}{}", "[".repeat(500), "]".repeat(500)),
        ] {
            let message = format!(
                r#"{{"type":"history","payload":{{"events":[{{"payload":{raw}}}],"next":0}},"timestamp":1}}"#
            );
            let page = shown(message.as_bytes(), "chat:1").unwrap();
            let expected = format!(r#"{{"events":[{{"payload":{raw}}}],"room_id":"chat:1"}}"#);
            assert_eq!(page, expected);
        }
        let more = br#"{"payload":{"members":[],"next":7}}"#;
        let expected = r#"{"members":[],"next":7,"room_id":"a\"b"}"#;
        assert_eq!(shown(more, "a\"b").unwrap(), expected);
        assert_eq!(shown(b"{}", "a"), None);
    }
}
