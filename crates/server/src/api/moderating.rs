//! Sending away, keeping out, and forgetting.

use roomcast_core::backend::{Ask, LONGEST_REASON, Query, Question, Reply};
use roomcast_protocol::ErrorCode;
use serde::Deserialize;
use serde_json::json;

use super::call::Call;
use super::problem::{Answer, Problem, ok};
use super::reading::unanswered;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Disconnect {
    reason: String,
}

pub(super) async fn disconnect(call: Call) -> Result<Answer, Problem> {
    let user = call.user()?;
    let Disconnect { reason } = match call.body.is_empty() {
        true => Disconnect::default(),
        false => serde_json::from_slice(&call.body).map_err(|error| {
            let detail = format!("the body is not `{{\"reason\": \"...\"}}`: {error}");
            Problem::of(ErrorCode::InvalidJson, detail)
        })?,
    };
    if reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
        let detail =
            format!("a reason has at most {LONGEST_REASON} bytes and no control characters");
        return Err(Problem::of(ErrorCode::InvalidValue, detail));
    }
    let query = Query::Disconnect {
        user: user.into(),
        clients: Vec::new(),
        reason: reason.into(),
    };
    match call.put(user, Question::All(query)).await? {
        Reply::Disconnected(sessions) => Ok(ok(&json!({ "sessions": sessions }))),
        _ => Err(unanswered()),
    }
}

/// Longest ban and lock: 30 days.
const LONGEST: u64 = 30 * 24 * 3_600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kick {
    user: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    user: String,
    seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    seconds: u64,
}

pub(super) async fn kick(call: Call) -> Result<Answer, Problem> {
    let Kick { user } = body(&call)?;
    call.api.check_id(&user)?;
    let ask = Ask::Kick { user: user.into() };
    done(&call, ask, 0).await
}

pub(super) async fn ban(call: Call) -> Result<Answer, Problem> {
    let Ban { user, seconds } = body(&call)?;
    call.api.check_id(&user)?;
    let until = until(&call, seconds)?;
    let user = user.into();
    done(&call, Ask::Ban { user, until }, until).await
}

pub(super) async fn lift_ban(call: Call) -> Result<Answer, Problem> {
    let user = call.arguments.get(1).map_or("", String::as_str);
    call.api.check_id(user)?;
    let (user, until) = (user.into(), 0);
    done(&call, Ask::Ban { user, until }, 0).await
}

pub(super) async fn lock(call: Call) -> Result<Answer, Problem> {
    let Lock { seconds } = body(&call)?;
    let until = until(&call, seconds)?;
    done(&call, Ask::Lock { until }, until).await
}

pub(super) async fn unlock(call: Call) -> Result<Answer, Problem> {
    done(&call, Ask::Lock { until: 0 }, 0).await
}

pub(super) async fn clear(call: Call) -> Result<Answer, Problem> {
    done(&call, Ask::Clear, 0).await
}

fn body<'a, T: Deserialize<'a>>(call: &'a Call) -> Result<T, Problem> {
    serde_json::from_slice(&call.body).map_err(|error| {
        let detail = format!("the body is not what this path takes: {error}");
        Problem::of(ErrorCode::InvalidJson, detail)
    })
}

/// Milliseconds since the Unix epoch, so many seconds from now, by the clock by which the room's home looks whether it is over.
fn until(call: &Call, seconds: u64) -> Result<i64, Problem> {
    if !(1..=LONGEST).contains(&seconds) {
        let detail = format!("`seconds` is not from 1 to {LONGEST}");
        return Err(Problem::of(ErrorCode::InvalidValue, detail));
    }
    let now = call.api.clock.now().unix_ms;
    Ok(now.saturating_add_unsigned(seconds * 1_000))
}

async fn done(call: &Call, ask: Ask, until: i64) -> Result<Answer, Problem> {
    let room = call.room()?;
    let Reply::Done(sessions) = call.ask(room, ask).await? else {
        return Err(unanswered());
    };
    let mut shown = json!({ "room_id": room, "sessions": sessions });
    if until > 0 {
        shown["until"] = until.into();
    }
    Ok(ok(&shown))
}
