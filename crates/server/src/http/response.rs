//! Answers that a person with curl understands: a status, a sentence, and what to do about it.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::Full;

/// Everything that is answered is in memory already.
pub(super) type Answer = Response<Full<Bytes>>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// A line of text.
pub(super) fn text(status: StatusCode, sentence: impl Into<String>) -> Answer {
    let mut line = sentence.into();
    line.push('\n');
    let mut answer = Response::new(Full::new(Bytes::from(line)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, TEXT);
    answer.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    answer
}

/// The same, after which the connection is closed.
pub(super) fn last_text(status: StatusCode, sentence: impl Into<String>) -> Answer {
    with_header(text(status, sentence), CONNECTION, CLOSE)
}

/// 503 with `Retry-After` in seconds, after which the connection is closed.
pub(super) fn unavailable(sentence: impl Into<String>, retry_after: u64) -> Answer {
    let answer = last_text(StatusCode::SERVICE_UNAVAILABLE, sentence);
    with_header(answer, RETRY_AFTER, HeaderValue::from(retry_after))
}

/// 405 with `Allow`.
pub(super) fn method_not_allowed(path: &str, allow: &'static str) -> Answer {
    let sentence = format!("{path} takes {allow} only.");
    let answer = text(StatusCode::METHOD_NOT_ALLOWED, sentence);
    with_header(answer, ALLOW, HeaderValue::from_static(allow))
}

/// 204 with `Allow`: what can be done there.
pub(super) fn options(allow: &'static str) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    with_header(answer, ALLOW, HeaderValue::from_static(allow))
}

pub(super) fn with_header<B>(
    mut answer: Response<B>,
    name: HeaderName,
    value: HeaderValue,
) -> Response<B> {
    answer.headers_mut().insert(name, value);
    answer
}

/// A whole answer as bytes, for where no HTTP machinery runs. The connection is to be closed after it.
pub(super) fn raw(status: StatusCode, sentence: &str, retry_after: Option<u64>) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let retry = retry_after.map_or(String::new(), |seconds| {
        format!("retry-after: {seconds}\r\n")
    });
    format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nconnection: close\r\n{retry}content-length: {}\r\n\r\n{sentence}\n",
        status.as_u16(),
        sentence.len() + 1,
    )
    .into_bytes()
}
