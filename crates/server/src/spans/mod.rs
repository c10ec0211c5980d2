//! Traces (OpenTelemetry): spans from the API's request to the last write, sent to a collector.
//!
//! The core's steps are known when they are over, so no span is ever open: each is a row in a bounded queue, which a task
//! sends in batches as OTLP over HTTP in JSON. Without `tracing.endpoint` there is none of this.

mod export;
mod headers;
mod settings;
mod traceparent;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method};
use rand::TryRng as _;
use rand::rngs::SysRng;
use roomcast_core::{Span, TraceContext};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::clock::Clock;
use crate::outgoing::Outgoing;
pub(crate) use export::Exporter;
use headers::Headers;
pub(crate) use headers::check_headers;
pub use settings::TracingSettings;
pub(crate) use settings::{check_endpoint, check_name};
use traceparent::Parent;

/// Spans that wait to be sent. Further ones are dropped, and counted.
const QUEUE: usize = 8_192;

/// What is counted of traces.
#[derive(Debug, Default)]
pub(crate) struct SpanStats {
    /// Spans that the collector has taken, and those that it has not, or for which there was no room.
    pub(crate) sent: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// Where spans are put. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tracer {
    to: Sender<Row>,
    clock: Clock,
    sample: f64,
    stats: Arc<SpanStats>,
}

/// A span as it is sent.
#[derive(Debug)]
enum Row {
    /// A step of a shard.
    Step { span: Span, shard: u16 },
    /// A request.
    Request(Box<Request>),
}

/// A request to the API that is traced.
#[derive(Debug)]
pub(crate) struct Request {
    /// The trace, and this span.
    context: TraceContext,
    /// The span of whoever asks; 0: it begins here.
    parent: u64,
    method: Method,
    route: &'static str,
    /// The key that was used.
    key: String,
    start: u64,
    end: u64,
    status: u16,
}

/// The tracer, and what sends its spans. Nothing: nothing is traced.
///
/// # Errors
/// A sentence about a setting, or about certificates.
pub(crate) fn start(
    settings: &TracingSettings,
    reload_interval: Duration,
    clock: &Clock,
    node: &str,
    stats: &Arc<SpanStats>,
) -> Result<Option<(Tracer, Exporter)>, String> {
    if !settings.is_on() {
        return Ok(None);
    }
    let url = settings.url();
    let url = url.map_err(|why| format!("tracing.endpoint {why}"))?;
    let headers = Headers::load(&settings.headers_path, reload_interval)?;
    let way = (Outgoing::new("")?, url, Arc::new(headers));
    let (tracer, rows) = Tracer::new(settings, clock.clone(), Arc::clone(stats));
    let exporter = Exporter::new(rows, settings, way, node, clock, Arc::clone(stats));
    Ok(Some((tracer, exporter)))
}

impl Tracer {
    /// The tracer, and what its spans are taken from.
    fn new(
        settings: &TracingSettings,
        clock: Clock,
        stats: Arc<SpanStats>,
    ) -> (Tracer, Receiver<Row>) {
        let (to, rows) = mpsc::channel(QUEUE);
        let tracer = Tracer {
            to,
            clock,
            sample: settings.sample,
            stats,
        };
        (tracer, rows)
    }

    /// A step of a shard is over.
    pub(crate) fn step(&self, span: Span, shard: u16) {
        self.put(Row::Step { span, shard });
    }

    /// A request begins. Nothing: it is not traced.
    ///
    /// Whoever asks decides, where it says so (`traceparent`, W3C Trace Context); else the dice do.
    pub(crate) fn begin(
        &self,
        headers: &HeaderMap,
        (method, route): (&Method, &'static str),
        key: &str,
    ) -> Option<Request> {
        let parent = traceparent::read(headers);
        let trace = match parent {
            Some(Parent { sampled: false, .. }) => return None,
            Some(parent) => parent.context.trace,
            None if !self.draws()? => return None,
            None => u128::from(random()?) << 64 | u128::from(random()?),
        };
        Some(Request {
            context: TraceContext {
                trace,
                span: random()?,
            },
            parent: parent.map_or(0, |parent| parent.context.span),
            method: method.clone(),
            route,
            key: key.to_owned(),
            start: self.clock.micros(),
            end: 0,
            status: 0,
        })
    }

    /// Whether a request that comes without a `traceparent` is traced.
    fn draws(&self) -> Option<bool> {
        // 53 bits, as many as such a number has.
        let number = |bits: u64| (bits >> 11) as f64 / (1_u64 << 53) as f64;
        Some(self.sample > 0.0 && number(random()?) < self.sample)
    }

    /// A request is answered.
    pub(crate) fn end(&self, mut request: Request, status: u16) {
        (request.end, request.status) = (self.clock.micros(), status);
        self.put(Row::Request(Box::new(request)));
    }

    fn put(&self, row: Row) {
        if self.to.try_send(row).is_err() {
            self.stats.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Request {
    pub(crate) fn context(&self) -> TraceContext {
        self.context
    }

    /// The header that names this span.
    pub(crate) fn traceparent(&self) -> String {
        traceparent::write(self.context)
    }
}

/// Not 0. Nothing: the system has no random numbers.
fn random() -> Option<u64> {
    SysRng.try_next_u64().ok().map(|number| number.max(1))
}
