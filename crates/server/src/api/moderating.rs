//! Sending away.

use roomcast_core::backend::{LONGEST_REASON, Query, Question, Reply};
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
        reason: reason.into(),
    };
    match call.api.put(user, Question::All(query)).await? {
        Reply::Disconnected(sessions) => Ok(ok(&json!({ "sessions": sessions }))),
        _ => Err(unanswered()),
    }
}
