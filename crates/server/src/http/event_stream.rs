//! `GET /sse` and `POST /send`: the protocol over an event stream, and over requests in the other direction.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONNECTION,
    HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER, VARY,
};
use http::{Response, StatusCode, request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use roomcast_core::Origin;
use roomcast_core::backend::Taken;
use serde_json::json;
use tokio::time::timeout;

use super::Site;
use super::response::{Answer, last_text, text, with_header};
use crate::streams::{Claim, Reading, Ticket};

/// What can be done with `/sse`, and with `/send`.
pub(super) const STREAM_METHODS: &str = "GET, OPTIONS";
pub(super) const SEND_METHODS: &str = "POST, OPTIONS";
/// Names the stream that something is posted for.
const STREAM: &str = "roomcast-stream";
/// The batch's number.
const BATCH: &str = "roomcast-batch";
/// The client closes the connection, with this code.
const CLOSE: &str = "roomcast-close";
/// The status of an answer that is not sent: the event stream's head is, in its place.
pub(super) const NOT_SENT: u16 = 299;
/// Time in which a body has to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The least that a body may have, in bytes, whatever a message may have.
const BODY: usize = 64 * 1024;
/// Some proxies and some virus scanners keep the first bytes of an answer until they have so many.
const PADDING: usize = 2 * 1024;

/// A stream that is about to begin.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) ticket: Ticket,
    /// The answer's head, and the first event.
    pub(super) head: Vec<u8>,
}

impl Opening {
    pub(super) fn new(site: &Site, request: &HeaderMap) -> std::io::Result<Opening> {
        let ticket = site.streams.begin()?;
        let mut head = String::from(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store, no-transform\r\n\
             x-accel-buffering: no\r\nx-content-type-options: nosniff\r\nconnection: close\r\n",
        );
        for (name, value) in shared(site, request) {
            // What a client has sent as its `Origin` may be no UTF-8, and then no page's.
            if let Ok(value) = value.to_str() {
                // Writing to a `String` cannot fail.
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        let first = json!({ "id": ticket.id(), "max_body": max_body(site) });
        let _ = write!(
            head,
            "\r\n:{:PADDING$}\n\nevent: stream\ndata: {first}\n\n",
            ""
        );
        Ok(Opening {
            ticket,
            head: head.into_bytes(),
        })
    }
}

/// An answer that ends what hyper does on a connection, and is not sent.
pub(super) fn not_sent() -> Answer {
    const LAST: HeaderValue = HeaderValue::from_static("close");
    let mut answer = Response::new(Default::default());
    if let Ok(status) = StatusCode::from_u16(NOT_SENT) {
        *answer.status_mut() = status;
    }
    with_header(answer, CONNECTION, LAST)
}

/// Bytes that the body of a `POST /send` may have: those of the largest message, where another node could hand it over.
fn max_body(site: &Site) -> usize {
    site.streams.max_body(site.max_message.max(BODY))
}

/// Lets a page of another origin read the answer, where that one may connect.
pub(super) fn for_page(site: &Site, request: &HeaderMap, mut answer: Answer) -> Answer {
    for (name, value) in shared(site, request) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Cookies, which a browser sends with each WebSocket too, are of no use to this server: a balancer may have set them. Not
/// where any page may connect.
fn shared(site: &Site, request: &HeaderMap) -> Vec<(http::HeaderName, HeaderValue)> {
    let Some(origin) = request.get(ORIGIN) else {
        return vec![(VARY, HeaderValue::from_static("origin"))];
    };
    let mut headers = vec![
        (VARY, HeaderValue::from_static("origin")),
        (ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
        (
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from(RETRY_AFTER),
        ),
    ];
    if !site.origins.any() {
        let allowed = HeaderValue::from_static("true");
        headers.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed));
    }
    headers
}

/// What a browser asks before it lets a page post.
pub(super) fn preflight(site: &Site, request: &HeaderMap, methods: &'static str) -> Answer {
    const HEADERS: HeaderValue = HeaderValue::from_static(
        "authorization, content-type, roomcast-stream, roomcast-batch, roomcast-close",
    );
    /// Seconds.
    const AGE: HeaderValue = HeaderValue::from_static("7200");
    let mut answer = for_page(site, request, super::response::options(methods));
    let headers = answer.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(methods),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, AGE);
    answer
}

/// What the headers of a `POST /send` say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posted {
    stream: Claim,
    number: u64,
    /// 0: it goes on.
    close: u16,
}

impl Posted {
    /// # Errors
    /// Which header is wrong.
    pub(super) fn read(request: &request::Parts) -> Result<Posted, &'static str> {
        let header = |name| {
            let mut values = request.headers.get_all(name).iter();
            let only = values.next().filter(|_| values.next().is_none())?;
            only.to_str().ok().map(str::trim)
        };
        let stream = header(STREAM).and_then(Claim::parse);
        let stream = stream
            .ok_or("`Roomcast-Stream` has to be the `id` that the stream's first event has told")?;
        let number = header(BATCH).and_then(|number| number.parse().ok());
        let number = number
            .filter(|number| (1..=u64::MAX >> 11).contains(number))
            .ok_or("`Roomcast-Batch` has to be a number: 1, 2, 3 and so on for the stream")?;
        let close = match request.headers.contains_key(CLOSE) {
            false => 0,
            true => header(CLOSE)
                .and_then(|code| code.parse().ok())
                .filter(|code| matches!(code, 1000 | 1001 | 3000..=4999))
                .ok_or("`Roomcast-Close` has to be 1000, 1001, or a number from 3000 to 4999")?,
        };
        Ok(Posted {
            stream,
            number,
            close,
        })
    }

    /// Whether a body may be read for it, from a client of this address.
    pub(super) fn begin(self, site: &Site, address: Origin) -> Result<Reading, Box<Answer>> {
        let reading = site.streams.read_for(&self.stream, address);
        reading.map_err(|taken| Box::new(answer(taken)))
    }

    /// Reads the messages, and waits until they are taken.
    pub(super) async fn take<B>(self, site: &Site, reading: Reading, body: B) -> Answer
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = match read_body(body, max_body(site)).await {
            Ok(body) => body,
            Err(refused) => {
                site.streams.count_refused();
                return *refused;
            }
        };
        answer(reading.post(self.number, self.close, &body).await)
    }
}

async fn read_body<B>(body: B, most: usize) -> Result<Bytes, Box<Answer>>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let refuse = |status, sentence: String| Err(Box::new(last_text(status, sentence)));
    match timeout(BODY_TIMEOUT, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => {
            let body = body.to_bytes();
            match std::str::from_utf8(&body) {
                Ok(_) => Ok(body),
                Err(_) => refuse(
                    StatusCode::BAD_REQUEST,
                    "invalid_batch: The body is not UTF-8.".to_owned(),
                ),
            }
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => refuse(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "too_large: A body has at most {most} bytes, as the stream's first event says."
            ),
        ),
        Ok(Err(_)) => refuse(
            StatusCode::BAD_REQUEST,
            "invalid_batch: The body could not be read.".to_owned(),
        ),
        Err(_) => refuse(
            StatusCode::REQUEST_TIMEOUT,
            "timeout: The body did not arrive in time.".to_owned(),
        ),
    }
}

/// What is wrong with a request's headers.
pub(super) fn invalid(sentence: &str) -> Answer {
    text(
        StatusCode::BAD_REQUEST,
        format!("invalid_batch: The header {sentence}."),
    )
}

/// What became of a batch. Each sentence begins with a stable code.
fn answer(taken: Taken) -> Answer {
    const SECOND: HeaderValue = HeaderValue::from_static("1");
    match taken {
        Taken::Done => {
            let mut answer = text(StatusCode::NO_CONTENT, "");
            *answer.body_mut() = Default::default();
            answer.headers_mut().remove(http::header::CONTENT_TYPE);
            answer
        }
        Taken::Gone => text(
            StatusCode::GONE,
            "stream_gone: There is no such event stream, or it has ended: open another one.",
        ),
        Taken::OutOfOrder(next) => text(
            StatusCode::CONFLICT,
            format!("out_of_order: The next batch of this stream is {next}."),
        ),
        Taken::Busy => with_header(
            text(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable: What was posted before has not been taken yet: post this batch again.",
            ),
            RETRY_AFTER,
            SECOND,
        ),
    }
}
