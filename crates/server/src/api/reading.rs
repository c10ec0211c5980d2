//! What is there: rooms, members, logs, sessions.

use roomcast_core::backend::{Ask, Query, Question, Reply, RoomsQuery};
use roomcast_protocol::{ErrorCode, HistoryRequest};
use serde_json::{Value, json};

use super::call::Call;
use super::problem::{Answer, Problem, ok};

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
    let Reply::Rooms { rooms, more } = call.api.put("", asked).await? else {
        return Err(unanswered());
    };
    let lines = rooms.iter();
    let lines = lines.map(|line| json!({ "room_id": line.room, "members": line.members }));
    let mut page = json!({ "rooms": lines.collect::<Vec<_>>() });
    if let Some(last) = rooms.last().filter(|_| more) {
        page["next"] = (*last.room).into();
    }
    Ok(ok(&page))
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
    let Reply::Message(message) = call.api.ask(room, ask).await? else {
        return Err(unanswered());
    };
    let mut message: Value = serde_json::from_slice(&message).unwrap_or_default();
    let mut page = message["payload"].take();
    if !page.is_object() {
        return Err(unanswered());
    }
    // Clients are told 0 where nothing follows.
    if page["next"] == 0
        && let Some(fields) = page.as_object_mut()
    {
        fields.remove("next");
    }
    page["room_id"] = room.into();
    Ok(ok(&page))
}

pub(super) async fn sessions(call: Call) -> Result<Answer, Problem> {
    let user = call.user()?;
    let asked = Question::All(Query::Sessions(user.into()));
    let Reply::Sessions(sessions) = call.api.put(user, asked).await? else {
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

pub(super) fn unanswered() -> Problem {
    Problem::unavailable("this was not answered")
}
