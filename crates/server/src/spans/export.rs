//! From rows to a collector: OTLP over HTTP in JSON (opentelemetry-proto 1.x), in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request as HttpRequest, Uri};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};

use super::{Headers, Request, Row, SpanStats, TracingSettings};
use crate::clock::{Clock, own_time};
use crate::files::watch;
use crate::outgoing::Outgoing;

/// Spans of one batch, and the time for which it is waited for more.
const BATCH: usize = 512;
const GATHER: Duration = Duration::from_millis(500);
/// A collector that takes longer is away: its batch is dropped.
const DEADLINE: Duration = Duration::from_secs(5);
const LARGEST_ANSWER: usize = 64 * 1024;
/// Between two lines of the log about a collector that takes nothing.
const QUIET: Duration = Duration::from_secs(60);

/// Kinds of spans of OTLP.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;

/// Sends spans until the server ends.
pub(crate) struct Exporter {
    rows: Receiver<Row>,
    outgoing: Outgoing,
    url: Uri,
    headers: Arc<Headers>,
    resource: Value,
    /// Nanoseconds since the Unix epoch at 0 microseconds of the server's clock.
    epoch: i128,
    stats: Arc<SpanStats>,
}

impl Exporter {
    pub(super) fn new(
        rows: Receiver<Row>,
        settings: &TracingSettings,
        (outgoing, url, headers): (Outgoing, Uri, Arc<Headers>),
        node: &str,
        clock: &Clock,
        stats: Arc<SpanStats>,
    ) -> Exporter {
        // Whoever else has spans of this trace dates them by the clock of a machine.
        let unix = own_time().as_nanos() as i128;
        Exporter {
            rows,
            outgoing,
            url,
            headers,
            resource: json!({ "attributes": [
                text("service.name", &settings.service_name),
                text("service.version", env!("CARGO_PKG_VERSION")),
                text("service.instance.id", node),
            ] }),
            epoch: unix - i128::from(clock.micros()) * 1_000,
            stats,
        }
    }

    /// `hangup`: on SIGHUP headers are read anew.
    pub(crate) async fn run(mut self, hangup: bool) {
        tokio::spawn(watch(Arc::clone(&self.headers), hangup));
        let mut told: Option<Instant> = None;
        while let Some(first) = self.rows.recv().await {
            let mut batch = vec![self.span(&first)];
            let until = Instant::now() + GATHER;
            while batch.len() < BATCH
                && let Ok(Some(row)) = timeout_at(until, self.rows.recv()).await
            {
                batch.push(self.span(&row));
            }
            let count = batch.len() as u64;
            match self.send(batch).await {
                Ok(()) => {
                    self.stats.sent.fetch_add(count, Ordering::Relaxed);
                }
                Err(why) => {
                    self.stats.dropped.fetch_add(count, Ordering::Relaxed);
                    if told.is_none_or(|at| at.elapsed() >= QUIET) {
                        told = Some(Instant::now());
                        // The rest of a URL may have a key in it.
                        let collector = self.url.authority().map_or("", |it| it.as_str());
                        tracing::warn!(collector, "traces are not taken: {why}");
                    }
                }
            }
        }
    }

    async fn send(&self, spans: Vec<Value>) -> Result<(), String> {
        let body = json!({ "resourceSpans": [{
            "resource": self.resource,
            "scopeSpans": [{
                "scope": { "name": "roomcast", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans,
            }],
        }] });
        let mut request = HttpRequest::post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| error.to_string())?;
        request.headers_mut().extend(self.headers.now());
        let (head, _) = self
            .outgoing
            .send(request, LARGEST_ANSWER, DEADLINE)
            .await?;
        match head.status.is_success() {
            true => Ok(()),
            false => Err(format!("the collector answers with {}", head.status)),
        }
    }

    fn span(&self, row: &Row) -> Value {
        match row {
            Row::Request(request) => self.request(request),
            Row::Step { span, shard } => {
                let mut attributes = vec![number("roomcast.shard", u64::from(*shard))];
                if span.receivers > 0 {
                    attributes.push(number("roomcast.receivers", u64::from(span.receivers)));
                }
                json!({
                    "traceId": format!("{:032x}", span.parent.trace),
                    "spanId": format!("{:016x}", span.id),
                    "parentSpanId": format!("{:016x}", span.parent.span),
                    "name": span.step.name(),
                    "kind": INTERNAL,
                    "startTimeUnixNano": self.nanos(span.start),
                    "endTimeUnixNano": self.nanos(span.end),
                    "attributes": attributes,
                })
            }
        }
    }

    fn request(&self, request: &Request) -> Value {
        let (method, base) = (request.method.as_str(), crate::api::BASE);
        let route = format!("{base}{}", request.route);
        let mut span = json!({
            "traceId": format!("{:032x}", request.context.trace),
            "spanId": format!("{:016x}", request.context.span),
            "name": format!("{method} {route}"),
            "kind": SERVER,
            "startTimeUnixNano": self.nanos(request.start),
            "endTimeUnixNano": self.nanos(request.end),
            "attributes": [
                text("http.request.method", method),
                text("http.route", &route),
                number("http.response.status_code", u64::from(request.status)),
                text("roomcast.api_key", &request.key),
            ],
        });
        if request.parent != 0 {
            span["parentSpanId"] = format!("{:016x}", request.parent).into();
        }
        if request.status >= 500 {
            // STATUS_CODE_ERROR
            span["status"] = json!({ "code": 2 });
        }
        span
    }

    /// As the JSON form of OTLP has 64-bit numbers: as texts.
    fn nanos(&self, micros: u64) -> String {
        (self.epoch + i128::from(micros) * 1_000).max(0).to_string()
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}
