//! One request to the API, as the handler of its route gets it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use roomcast_core::TraceContext;
use roomcast_core::backend::{Ask, Question, Reply};
use roomcast_protocol::{ErrorCode, names};
use tokio::sync::oneshot;

use super::Api;
use super::keys::Holder;
use super::problem::Problem;

/// Bytes of an `Idempotency-Key`.
pub(super) const LONGEST_KEY: usize = 255;

pub(super) struct Call {
    pub(super) api: Arc<Api>,
    pub(super) holder: Arc<Holder>,
    /// What stands in the place of the path's braces.
    pub(super) arguments: Vec<String>,
    pub(super) query: BTreeMap<String, String>,
    /// The header `Idempotency-Key`.
    pub(super) once: Option<String>,
    /// The header `Last-Event-ID`.
    pub(super) last_event: Option<String>,
    pub(super) body: Bytes,
    /// It is traced, with this as the parent of what is done for it.
    pub(super) trace: Option<TraceContext>,
}

impl Call {
    /// The user that the path names.
    pub(super) fn user(&self) -> Result<&str, Problem> {
        let user = self.arguments.first().map_or("", String::as_str);
        self.api.check_id(user)?;
        Ok(user)
    }

    /// A number of the query.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Problem> {
        let text = self.query.get(name);
        let number = text.map(|text| text.parse::<N>());
        number.transpose().map_err(|_| {
            let detail = format!("`{name}` is not a whole number, or too large");
            Problem::of(ErrorCode::InvalidValue, detail)
        })
    }

    /// A text of the query.
    pub(super) fn text(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Asks the home of a room, and waits for its answer.
    pub(super) async fn ask(&self, room: &str, ask: Ask) -> Result<Reply, Problem> {
        hear(self.send(room, ask)).await
    }

    /// Asks something that is not about one room, but `about` this.
    pub(super) async fn put(&self, about: &str, question: Question) -> Result<Reply, Problem> {
        hear(Sent(self.api.shards.ask(
            about,
            self.holder.asker,
            question,
        )))
        .await
    }

    /// Sends a question on its way. Those about one room keep their order.
    pub(super) fn send(&self, room: &str, ask: Ask) -> Sent {
        let question = Question::Room(room.into(), ask);
        Sent(self.api.shards.ask(room, self.holder.asker, question))
    }

    /// The room that the path names.
    pub(super) fn room(&self) -> Result<&str, Problem> {
        let room = self.arguments.first().map_or("", String::as_str);
        self.api.check_room(room)?;
        Ok(room)
    }
}

impl Api {
    pub(super) fn check_id(&self, id: &str) -> Result<(), Problem> {
        names::validate_id(id, &self.limits).map_err(|code| {
            let detail = "the id is empty, longer than `message.max_id`, or has characters that none may have";
            Problem::of(code, detail)
        })
    }

    pub(super) fn check_room(&self, room: &str) -> Result<(), Problem> {
        names::validate_room(room, &self.limits).map_err(|code| {
            let detail = "the room's name is empty, longer than `message.max_name`, or has characters that none may have";
            Problem::of(code, detail)
        })
    }
}

/// A question that is on its way. Nothing: there was no room for it.
pub(super) struct Sent(Option<oneshot::Receiver<Reply>>);

/// Waits for the answer.
pub(super) async fn hear(sent: Sent) -> Result<Reply, Problem> {
    let Some(reply) = sent.0 else {
        let detail = "too many requests wait for this server; ask again later";
        return Err(Problem::unavailable(detail));
    };
    match reply.await {
        Ok(Reply::Failed(failure)) => Err(failure.into()),
        Ok(reply) => Ok(reply),
        // Its shard has ended.
        Err(_) => Err(Problem::unavailable("this server is shutting down")),
    }
}

/// Text of a query: `a=1&b=2`.
pub(super) fn query_of(text: &str) -> Result<BTreeMap<String, String>, Problem> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        Some((decoded(name)?, decoded(&value)?))
    });
    let pairs: Option<_> = pairs.collect();
    pairs.ok_or_else(|| {
        let detail = "the query is not percent-encoded UTF-8";
        Problem::of(ErrorCode::InvalidValue, detail)
    })
}

/// Without its percent-encoding (RFC 3986 section 2.1); `None`: it is not UTF-8, or a `%` stands alone.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || (bytes.next()? as char).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).ok()
}
