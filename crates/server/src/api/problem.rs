//! Errors of the API as problem details (RFC 9457), with the stable codes of the protocol.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::{Either, Full};
use roomcast_core::backend::Failure;
use roomcast_protocol::ErrorCode;
use serde_json::{Value, json};

/// What is answered is in memory, but for the tail of a room.
pub(crate) type Answer = Response<Body>;

/// Of an answer.
type Body = Either<Full<Bytes>, Channel<Bytes>>;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Stable: programs may rely on it.
    pub(super) code: &'static str,
    pub(super) detail: String,
    /// Milliseconds after which it may work; 0 where waiting does not help.
    pub(super) retry_after_ms: u64,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem {
            status,
            code,
            detail: detail.into(),
            retry_after_ms: 0,
        }
    }

    pub(super) fn of(code: ErrorCode, detail: impl Into<String>) -> Problem {
        Problem::new(status_of(code), code.as_str(), detail)
    }

    pub(super) fn unavailable(detail: &str) -> Problem {
        Problem {
            retry_after_ms: 1_000,
            ..Problem::of(ErrorCode::Unavailable, detail)
        }
    }

    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("urn:roomcast:error:{}", self.code),
            "title": self.code.replace('_', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        if self.retry_after_ms > 0 {
            body["retry_after_ms"] = self.retry_after_ms.into();
        }
        body
    }

    pub(super) fn answer(&self) -> Answer {
        let mut answer = with_body(self.status, &self.body(), PROBLEM);
        if self.retry_after_ms > 0 {
            let seconds = self.retry_after_ms.div_ceil(1_000);
            let headers = answer.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        Problem {
            retry_after_ms: failure.retry_after_ms,
            ..Problem::of(failure.code, failure.sentence)
        }
    }
}

/// 200 with this.
pub(super) fn ok(body: &Value) -> Answer {
    with_body(StatusCode::OK, body, JSON)
}

/// 200 with this JSON.
pub(super) fn ok_text(json: impl Into<Bytes>) -> Answer {
    with_text(StatusCode::OK, json, JSON)
}

fn with_body(status: StatusCode, body: &Value, content_type: HeaderValue) -> Answer {
    with_text(status, body.to_string(), content_type)
}

fn with_text(status: StatusCode, body: impl Into<Bytes>, content_type: HeaderValue) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    answer
}

/// The status of an answer that has a code of the protocol.
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden | ErrorCode::ReservedEvent => StatusCode::FORBIDDEN,
        ErrorCode::UnknownKind | ErrorCode::RecipientNotFound | ErrorCode::NotInRoom => {
            StatusCode::NOT_FOUND
        }
        ErrorCode::RoomFull | ErrorCode::Unexpected | ErrorCode::ActionRefused => {
            StatusCode::CONFLICT
        }
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::NotSupported => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Unavailable | ErrorCode::TooManyUnanswered | ErrorCode::RoomFailed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::BAD_REQUEST,
    }
}
