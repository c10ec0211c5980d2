//! The API for an application's backend, over HTTP.
//!
//! One table ([`routes`]) says what can be asked. HTTP stays on its runtime: a question goes to a shard through its
//! mailbox, and from there to the room's home, on whichever node that is.

mod call;
mod keys;
mod moderating;
mod openapi;
mod operating;
mod problem;
mod properties;
mod publish;
mod reading;
mod rights;
mod routes;
mod settings;
mod stats;
mod tail;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, StatusCode, request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use roomcast_protocol::{ErrorCode, Limits};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Config;
use crate::mailbox::Mailboxes;
use crate::spans::{Request as Traced, Tracer};
use call::{Call, query_of};
use keys::Holder;
use openapi::openapi_text;
use problem::{Problem, ok_text};
pub(crate) use routes::BASE;
use routes::Route;

pub(crate) use keys::Keys;
pub use openapi::openapi;
pub(crate) use operating::Operator;
pub(crate) use problem::Answer;
pub use rights::Right;
pub use settings::{ApiKey, ApiSettings};
pub(crate) use stats::{ApiStats, OUTCOMES, route_names};

/// Time in which a request's body has to arrive.
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The API of a server that has a key for it.
pub(crate) struct Api {
    keys: Arc<Keys>,
    shards: Arc<Mailboxes>,
    limits: Limits,
    max_message: usize,
    max_body: usize,
    clock: Clock,
    stats: Arc<ApiStats>,
    operator: Operator,
    tails: tail::Tails,
    tracer: Option<Tracer>,
}

impl Api {
    /// Nothing where no key is set.
    pub(crate) fn new(
        config: &Config,
        keys: Arc<Keys>,
        shards: Arc<Mailboxes>,
        clock: Clock,
        stats: Arc<ApiStats>,
        operator: Operator,
        tracer: Option<Tracer>,
    ) -> Option<Arc<Api>> {
        if keys.is_empty() {
            return None;
        }
        let may_listen = |key: &&ApiKey| key.rights.contains(&Right::Tail);
        let listeners = config.api_keys.iter().filter(may_listen).count();
        Some(Arc::new(Api {
            keys,
            shards,
            limits: config.core.message.clone(),
            max_message: config.core.max_message,
            max_body: config.api.max_body,
            clock,
            stats,
            operator,
            tails: tail::Tails::new(listeners),
            tracer,
        }))
    }

    pub(crate) fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Whether a request shows a key that somebody has.
    pub(crate) fn knows(&self, headers: &HeaderMap) -> bool {
        self.holder(headers).is_ok()
    }

    /// Answers a request. Takes at most about twenty seconds.
    pub(crate) async fn answer<B>(self: Arc<Api>, request: request::Parts, body: B) -> Answer
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri.path();
        if path.strip_prefix(BASE) == Some("/openapi.json") && request.method == Method::GET {
            return ok_text(openapi_text());
        }
        let (route, arguments) = match self.route(&request) {
            Ok(found) => found,
            Err(answer) => return *answer,
        };
        let holder = self.holder(&request.headers);
        let mut asked = Bytes::new();
        let traced = self.trace(route, holder.as_deref().ok(), &request.headers);
        let outcome = match &holder {
            Ok(holder) => {
                let call = self.call(route, arguments, Arc::clone(holder), &request, body);
                match call.await {
                    Ok(mut call) => {
                        call.trace = traced.as_ref().map(Traced::context);
                        asked = call.body.clone();
                        (route.handle)(call).await
                    }
                    Err(problem) => Err(problem),
                }
            }
            Err(problem) => Err(problem.clone()),
        };
        let name = holder.as_ref().ok().map(|holder| &*holder.name);
        self.note(route, name, (path, &asked), &outcome);
        let mut answer = outcome.unwrap_or_else(|problem| refusal(&problem));
        if let (Some(tracer), Some(traced)) = (&self.tracer, traced) {
            if let Ok(named) = HeaderValue::try_from(traced.traceparent()) {
                answer.headers_mut().insert("traceparent", named);
            }
            tracer.end(traced, answer.status().as_u16());
        }
        answer
    }

    /// Whether a request is traced. One without a key is not: a stranger could fill the collector.
    fn trace(&self, route: &Route, holder: Option<&Holder>, headers: &HeaderMap) -> Option<Traced> {
        let (tracer, holder) = (self.tracer.as_ref()?, holder?);
        tracer.begin(headers, (&route.method, route.path), &holder.name)
    }

    fn route(
        &self,
        request: &request::Parts,
    ) -> Result<(&'static Route, Vec<String>), Box<Answer>> {
        let path = request.uri.path().strip_prefix(BASE).unwrap_or_default();
        routes::find(&request.method, path).map_err(|methods| {
            if methods.is_empty() {
                let detail = format!(
                    "there is no {}; {BASE}/openapi.json says what there is",
                    request.uri.path()
                );
                let problem = Problem::new(StatusCode::NOT_FOUND, "not_found", detail);
                return Box::new(problem.answer());
            }
            let methods: Vec<_> = methods.iter().map(|it| it.as_str()).collect();
            let allowed = methods.join(", ");
            let status = StatusCode::METHOD_NOT_ALLOWED;
            let detail = format!("this path takes {allowed} only");
            let mut answer = Problem::new(status, "method_not_allowed", detail).answer();
            if let Ok(allowed) = HeaderValue::try_from(allowed) {
                answer.headers_mut().insert(http::header::ALLOW, allowed);
            }
            Box::new(answer)
        })
    }

    fn holder(&self, headers: &HeaderMap) -> Result<Arc<Holder>, Problem> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (first, more) = (shown.next(), shown.next());
        let key = first
            .filter(|_| more.is_none())
            .and_then(|it| it.to_str().ok());
        let key = key.and_then(|it| it.trim().split_once(' '));
        let key = key.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, key)) = key else {
            let detail = "send the API's key as `Authorization: Bearer KEY`";
            return Err(Problem::of(ErrorCode::Unauthorized, detail));
        };
        let holder = self.keys.holder(key.trim());
        holder.ok_or_else(|| Problem::of(ErrorCode::Unauthorized, "nobody has this key"))
    }

    /// What its handler gets of a request: rights, the rate and the form are right.
    async fn call<B>(
        self: &Arc<Api>,
        route: &'static Route,
        arguments: Vec<String>,
        holder: Arc<Holder>,
        request: &request::Parts,
        body: B,
    ) -> Result<Call, Problem>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !holder.may(route.right) {
            let detail = format!(
                "this key may not do that: it lacks the right \"{}\"",
                route.right.name()
            );
            return Err(Problem::of(ErrorCode::Forbidden, detail));
        }
        take_rate(&holder)?;
        if arguments.iter().any(|it| it == "." || it == "..") {
            let detail = "a path can't name `.` or `..`: most programs take such parts out of it";
            return Err(Problem::of(ErrorCode::InvalidName, detail));
        }
        let query = query_of(request.uri.query().unwrap_or_default())?;
        let unknown = query
            .keys()
            .find(|it| route.query.iter().all(|(name, ..)| name != it));
        if let Some(unknown) = unknown {
            let detail = format!("this path takes no `{unknown}` in its query");
            return Err(Problem::of(ErrorCode::InvalidValue, detail));
        }
        let once = header(&request.headers, "idempotency-key")?;
        if once.is_some() && route.body == Some("Batch") {
            let detail = "give each message an `idempotency_key` of its own in place of the header";
            return Err(Problem::of(ErrorCode::InvalidValue, detail));
        }
        let once = once.filter(|_| route.once);
        let last_event = header(&request.headers, "last-event-id")?;
        let body = match route.body {
            Some(_) => self.body(body).await?,
            None => Bytes::new(),
        };
        Ok(Call {
            api: Arc::clone(self),
            holder,
            arguments,
            query,
            once,
            last_event,
            body,
            trace: None,
        })
    }

    async fn body<B>(&self, body: B) -> Result<Bytes, Problem>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let body = Limited::new(body, self.max_body);
        match timeout(BODY_TIMEOUT, body.collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let most = self.max_body;
                let detail = format!("a request has at most {most} bytes (`api.max_body`)");
                Err(Problem::of(ErrorCode::TooLarge, detail))
            }
            Ok(Err(_)) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the body could not be read",
            )),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the body did not arrive in time",
            )),
        }
    }

    /// Counts a request. Who has no key writes nothing into the audit log.
    fn note(
        &self,
        route: &Route,
        holder: Option<&str>,
        (path, body): (&str, &[u8]),
        outcome: &Result<Answer, Problem>,
    ) {
        let (status, code) = match outcome {
            Ok(answer) => (answer.status(), ""),
            Err(problem) => (problem.status, problem.code),
        };
        self.stats.count(route.name, status);
        if let Some(holder) = holder.filter(|_| route.audited) {
            let body = body.get(..MOST_AUDITED).unwrap_or(body);
            tracing::info!(
                target: "roomcast::audit",
                key = holder,
                action = route.name,
                path = path.get(..MOST_AUDITED).unwrap_or(path),
                body = %String::from_utf8_lossy(body),
                status = status.as_u16(),
                code,
                "asked by the API"
            );
        }
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

/// Bytes of a path and of a body in the audit log.
const MOST_AUDITED: usize = 512;

/// Takes a request off what a key may do now.
fn take_rate(holder: &Holder) -> Result<(), Problem> {
    holder.take().map_err(|seconds| Problem {
        retry_after_ms: (seconds * 1_000.0).ceil().max(1.0) as u64,
        ..Problem::of(
            ErrorCode::RateLimited,
            "this key is used more often than its `rate` allows",
        )
    })
}

fn header(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if values.next().is_none() => Ok(Some(text.trim().to_owned())),
        _ => {
            let detail = format!("the header `{name}` is there twice, or is not text");
            Err(Problem::of(ErrorCode::InvalidValue, detail))
        }
    }
}

fn refusal(problem: &Problem) -> Answer {
    let mut answer = problem.answer();
    if problem.status == StatusCode::UNAUTHORIZED {
        const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"roomcast\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, BEARER);
    }
    answer
}
