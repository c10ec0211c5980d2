//! One question: what is sent, and what comes of the answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use roomcast_core::authorize::{Decision, Inquiry, Wish};
use roomcast_protocol::Limits;
use roomcast_protocol::names::validate_nickname;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::settings::AuthorizeSettings;
use super::stats::{Outcome, TableStats};
use crate::clock::{Clock, own_time};
use crate::outgoing::Outgoing;
use crate::webhooks::{Secrets, USER_AGENT, random};

/// An answer has a few hundred bytes.
const LARGEST_ANSWER: usize = 16 * 1024;
/// Bytes of a reason that a client is told.
const LONGEST_REASON: usize = 256;

/// One table, with its questions under way.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) settings: AuthorizeSettings,
    pub(super) stats: Arc<TableStats>,
    secrets: Arc<Secrets>,
    outgoing: Outgoing,
    clock: Clock,
    limits: Limits,
    free: Arc<Semaphore>,
}

#[derive(Serialize)]
struct Question<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    asks: &'a str,
    timestamp: i64,
    room_id: &'a str,
    kind: &'a str,
    client_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    nickname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a RawValue>,
}

/// The type of a message.
#[derive(Deserialize)]
struct OfType<'a> {
    #[serde(rename = "type")]
    name: &'a str,
}

/// What a backend may answer. What else is in it is for others.
#[derive(Deserialize)]
struct Answer {
    allow: bool,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    nickname: Option<String>,
    #[serde(default)]
    cache_ms: u64,
}

impl Table {
    pub(super) fn new(
        settings: AuthorizeSettings,
        secrets: Arc<Secrets>,
        outgoing: Outgoing,
        clock: Clock,
        limits: &Limits,
    ) -> Table {
        Table {
            stats: Arc::new(TableStats::new(&settings.name)),
            free: Arc::new(Semaphore::new(settings.most as usize)),
            settings,
            secrets,
            outgoing,
            clock,
            limits: limits.clone(),
        }
    }

    /// Room for one more question; none where too many are under way.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok();
        if permit.is_none() {
            self.stats.count(Outcome::Busy);
        }
        permit
    }

    /// Asks, once.
    pub(super) async fn ask(&self, kind: &str, inquiry: &Inquiry) -> Decision {
        let begin = Instant::now();
        match self.answer(kind, inquiry).await {
            Ok(decision) => {
                self.stats.took(begin.elapsed());
                self.stats.count(match decision {
                    Decision::Allow { .. } => Outcome::Allowed,
                    Decision::Refuse { .. } => Outcome::Refused,
                    Decision::Silent => Outcome::Silent,
                });
                decision
            }
            Err(sentence) => {
                self.stats.count(Outcome::Silent);
                if self.stats.is_to_be_told() {
                    let table = &self.settings.name;
                    tracing::warn!(table, "a backend was asked and gave no answer: {sentence}");
                }
                Decision::Silent
            }
        }
    }

    async fn answer(&self, kind: &str, inquiry: &Inquiry) -> Result<Decision, String> {
        let id = format!("ask_{:016x}{:016x}", random(), random());
        let now = self.clock.now().unix_ms;
        let body = question(&id, now, kind, inquiry).ok_or("the question can't be written")?;
        // The backend compares it with its own clock, and not with Redis's.
        let seconds = own_time().as_secs();
        let request = Request::post(&self.settings.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .header("webhook-id", &id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", self.secrets.sign(&id, seconds, &body))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let timeout = self.settings.timeout;
        let (head, body) = self.outgoing.send(request, LARGEST_ANSWER, timeout).await?;
        if !head.status.is_success() {
            return Err(format!("it answers {}", head.status));
        }
        self.read(&body)
    }

    fn read(&self, body: &[u8]) -> Result<Decision, String> {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|error| format!("its answer: {error}"))?;
        let most = u64::try_from(self.settings.max_cache.as_millis()).unwrap_or(u64::MAX);
        let cache = answer.cache_ms.min(most);
        if !answer.allow {
            let mut reason = answer.reason;
            let end = (0..=LONGEST_REASON.min(reason.len()))
                .rev()
                .find(|at| reason.is_char_boundary(*at));
            reason.truncate(end.unwrap_or(0));
            let reason = reason.into();
            return Ok(Decision::Refuse { reason, cache });
        }
        let nickname = answer.nickname.filter(|it| !it.is_empty());
        if let Some(nickname) = &nickname
            && validate_nickname(nickname, &self.limits).is_err()
        {
            return Err("its answer has a `nickname` that no member may have".to_owned());
        }
        let nickname = nickname.map(Into::into);
        Ok(Decision::Allow { nickname, cache })
    }
}

fn question(id: &str, timestamp: i64, kind: &str, inquiry: &Inquiry) -> Option<Bytes> {
    let message: Option<&RawValue> = match &inquiry.what {
        Wish::Join => None,
        Wish::Send(json) => Some(serde_json::from_slice(json).ok()?),
    };
    let asks = match message {
        None => "join",
        Some(message) => serde_json::from_str::<OfType<'_>>(message.get()).ok()?.name,
    };
    let question = Question {
        id,
        asks,
        timestamp,
        room_id: &inquiry.room,
        kind,
        client_id: inquiry.client.as_str(),
        user_id: &inquiry.user_id,
        nickname: &inquiry.nickname,
        message,
    };
    serde_json::to_vec(&question).ok().map(Bytes::from)
}
