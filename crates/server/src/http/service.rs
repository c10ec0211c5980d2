//! From a request to its answer. Those of the API and of `/send` are waited for: every other one is in memory.

use std::borrow::Cow;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, ORIGIN, TRANSFER_ENCODING,
};
use http::{Method, Request, StatusCode, request};
use http_body_util::Either;
use roomcast_core::{Access, Identity};
use roomcast_protocol::Format;

use super::Site;
use super::bearer;
use super::client_address::{Peer, Way};
use super::event_stream::{self, Opening, Posted};
use super::host;
use super::origin::Seen;
use super::paths::Own;
use super::response::{Answer, last_text, method_not_allowed, options, text, with_header};
use super::stats::RefusedBy;
use super::upgrade::{Handshake, Refused};
use crate::api::{self, Api};
use crate::config::{Anonymous, HostPort, Listener, Metrics, Origin, Role};
use crate::limits::{self, ConnectionPermit, Refusal};
use crate::streams::Reading;

/// A declared body beyond this is refused as such, whatever else is wrong with its request.
const LARGE_BODY: u64 = 64 * 1024;
/// A connection of the API or of `/send` that is older is closed with its next answer, before it is cut: `connection::LIFETIME`.
const API_LIFETIME: Duration = Duration::from_secs(20);
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// What can be done with a page.
const PAGE_METHODS: &str = "GET, HEAD, OPTIONS";
/// What can be done with `/ws`.
const WS_METHODS: &str = "GET, OPTIONS";

/// Answers the requests of one connection.
#[derive(Debug)]
pub(super) struct Service {
    site: Arc<Site>,
    listener: Listener,
    /// How the connection came here.
    way: Way,
    state: RefCell<State>,
}

/// What changes while a connection speaks HTTP.
#[derive(Debug)]
pub(super) struct State {
    /// The connection's share of the limits until it is upgraded, or the limit that leaves no room for it.
    admitted: Result<ConnectionPermit, Refusal>,
    /// Set when the last answer was a 101.
    pub(super) accepted: Option<Accepted>,
    /// Requests answered.
    pub(super) requests: u64,
    /// When it began to speak HTTP.
    began: Instant,
}

/// What the 101 agreed to.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) format: Format,
    pub(super) deflate: bool,
    pub(super) access: Access,
    pub(super) permit: ConnectionPermit,
    /// It is an event stream and no WebSocket.
    pub(super) opening: Option<Opening>,
}

impl Service {
    pub(super) fn new(
        site: Arc<Site>,
        listener: Listener,
        way: Way,
        admitted: Result<ConnectionPermit, Refusal>,
    ) -> Service {
        let state = State {
            admitted,
            accepted: None,
            requests: 0,
            began: Instant::now(),
        };
        Service {
            site,
            listener,
            way,
            state: RefCell::new(state),
        }
    }

    pub(super) fn into_state(self) -> State {
        self.state.into_inner()
    }

    fn answer(&self, request: &request::Parts) -> Answer {
        self.note_request();
        let body = declared_body(request);
        if body > LARGE_BODY && body != u64::MAX {
            return self.refuse(body_refused());
        }
        let host = host::of(request);
        let path = request.uri.path();
        if let Some(refused) = self.misdirected(path, host.as_ref()) {
            return self.refuse(refused);
        }
        let own = Own::at(path);
        // These addresses are not for clients.
        let is_for_backends = own.is_some_and(Own::is_probe) || self.has_admin_page(own);
        if self.listener.role == Role::Api && !is_for_backends {
            return self.not_found(path);
        }
        let answered = match own {
            Some(Own::WebSocket) => self.upgrade(request, host.as_ref(), body),
            Some(Own::EventStream) if self.site.sse => self.event_stream(
                path,
                event_stream::STREAM_METHODS,
                request,
                host.as_ref(),
                body,
            ),
            Some(Own::Send) if self.site.sse => self.event_stream(
                path,
                event_stream::SEND_METHODS,
                request,
                host.as_ref(),
                body,
            ),
            own => return self.page(path, own, request, body),
        };
        answered.unwrap_or_else(|refused| self.refuse(refused))
    }

    /// Whether it is of the admin page, and that is here: where the API is.
    fn has_admin_page(&self, own: Option<Own>) -> bool {
        own == Some(Own::Admin) && self.listener.api && self.site.api.is_some()
    }

    /// `/sse`, and what of `/send` is answered at once.
    fn event_stream(
        &self,
        path: &str,
        methods: &'static str,
        request: &request::Parts,
        host: Option<&HostPort>,
        body: u64,
    ) -> Result<Answer, Refused> {
        let site = &self.site;
        let peer = site.trusted.peer(self.way, &request.headers);
        self.check_origin(origin_of(request), host, peer)?;
        let for_page = |answer| event_stream::for_page(site, &request.headers, answer);
        match request.method {
            Method::GET if methods == event_stream::STREAM_METHODS => {}
            Method::OPTIONS => {
                return Ok(event_stream::preflight(site, &request.headers, methods));
            }
            _ => {
                let answer = for_page(method_not_allowed(path, methods));
                return Err(Refused::new(RefusedBy::Handshake, answer));
            }
        }
        if body > 0 {
            return Err(body_refused());
        }
        self.open(request, host).map_err(|refused| Refused {
            answer: Box::new(for_page(*refused.answer)),
            ..refused
        })
    }

    /// Begins an event stream.
    fn open(&self, request: &request::Parts, host: Option<&HostPort>) -> Result<Answer, Refused> {
        let (access, permit) = self.let_in(request, host)?;
        let opening = Opening::new(&self.site, &request.headers);
        let opening = opening.map_err(|_| {
            let sentence = "This server has no random numbers.";
            self.site.busy(RefusedBy::ShardsBusy, sentence)
        })?;
        self.state.borrow_mut().accepted = Some(Accepted {
            format: Format::Json,
            deflate: false,
            access,
            permit,
            opening: Some(opening),
        });
        Ok(event_stream::not_sent())
    }

    /// A `POST /send` that a body is read for, or what is wrong with it.
    fn posted(&self, request: &request::Parts) -> Option<Result<(Posted, Reading), Answer>> {
        let is_post = request.method == Method::POST;
        if !is_post
            || Own::at(request.uri.path()) != Some(Own::Send)
            || !self.site.sse
            || self.listener.role == Role::Api
        {
            return None;
        }
        self.note_request();
        let host = host::of(request);
        let peer = self.site.trusted.peer(self.way, &request.headers);
        let origin = self.check_origin(origin_of(request), host.as_ref(), peer);
        let misdirected = self.misdirected(request.uri.path(), host.as_ref());
        if let Some(refused) = misdirected.or(origin.err()) {
            self.site.streams.count_refused();
            return Some(Err(self.refuse(refused)));
        }
        let for_page = |answer| event_stream::for_page(&self.site, &request.headers, answer);
        let posted = match Posted::read(request) {
            Ok(posted) => posted,
            Err(sentence) => {
                self.site.streams.count_refused();
                return Some(Err(for_page(event_stream::invalid(sentence))));
            }
        };
        // Who has a stream is let in already: a full server takes what is posted for it.
        let reading = posted.begin(&self.site, limits::origin(peer.counted_under()));
        let reading = reading.map_err(|answer| for_page(*answer));
        Some(reading.map(|reading| (posted, reading)))
    }

    /// On loopback, a request for a name that may be a page's of the web. Probes ask for what is no secret, by any name
    /// or none.
    fn misdirected(&self, path: &str, host: Option<&HostPort>) -> Option<Refused> {
        let known = |host: &HostPort| self.site.hosts.know(host);
        let is_probe = Own::at(path).is_some_and(Own::is_probe);
        if !self.listener.loopback || is_probe || host.is_some_and(known) {
            return None;
        }
        let answer = match host {
            Some(HostPort { name, .. }) => {
                self.site.notices.host(name);
                let sentence = format!(
                    "This server does not answer to this name: add \"{name}\" to `server.hosts` to let it."
                );
                text(StatusCode::MISDIRECTED_REQUEST, sentence)
            }
            None => {
                let sentence = "The header `Host` is missing, there twice, or no host.";
                text(StatusCode::BAD_REQUEST, sentence)
            }
        };
        Some(Refused::new(RefusedBy::Host, answer))
    }

    fn note_request(&self) {
        self.site.stats.count_request();
        self.state.borrow_mut().requests += 1;
    }

    /// The API, where it is on this address and the request is one of its.
    fn api(&self, request: &request::Parts) -> Option<Result<Arc<Api>, Answer>> {
        let api = self.site.api.as_ref().filter(|_| self.listener.api)?;
        if Own::at(request.uri.path()) != Some(Own::Api) {
            return None;
        }
        self.note_request();
        // Clients keep no backend out, which may be about to send some of them away.
        if let Err(refusal) = self.state.borrow().admitted
            && !api.knows(&request.headers)
        {
            return Some(Err(self.refuse(self.site.full(refusal))));
        }
        let host = host::of(request);
        if let Some(refused) = self.misdirected(request.uri.path(), host.as_ref()) {
            return Some(Err(self.refuse(refused)));
        }
        Some(Ok(Arc::clone(api)))
    }

    /// Whether the connection is to be closed with the next answer.
    fn ends(&self) -> bool {
        let state = self.state.borrow();
        // There are few places for those who are let in beyond a limit.
        self.site.not_ready().is_some()
            || state.admitted.is_err()
            || state.began.elapsed() > API_LIFETIME
    }

    fn refuse(&self, refused: Refused) -> Answer {
        self.site.stats.count_refused(refused.cause);
        *refused.answer
    }

    fn page(&self, path: &str, own: Option<Own>, request: &request::Parts, body: u64) -> Answer {
        let page = match own {
            Some(Own::Health) => Some(text(StatusCode::OK, "ok")),
            Some(Own::Ready) => Some(match self.site.not_ready() {
                None => text(StatusCode::OK, "ready"),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why),
            }),
            Some(Own::Metrics) => match self.refuse_metrics(request) {
                None => Some(self.metrics()),
                Some(sentence) => return text(StatusCode::NOT_FOUND, sentence),
            },
            // The server as a whole.
            _ if path == "*" => Some(options(PAGE_METHODS)),
            _ => None,
        };
        let page = match page {
            Some(page) => page,
            None => match self.state.borrow().admitted {
                Err(refusal) => return self.refuse(self.site.full(refusal)),
                Ok(_) => {
                    let pages = &self.site.pages;
                    let on = match own {
                        Some(Own::Admin) => self.has_admin_page(own),
                        _ => self.listener.pages,
                    };
                    match pages.get(path, on, &request.headers) {
                        Some(page) => page,
                        None => return self.not_found(path),
                    }
                }
            },
        };
        match request.method {
            Method::GET | Method::HEAD if body > 0 => self.refuse(body_refused()),
            Method::GET | Method::HEAD => page,
            Method::OPTIONS => options(PAGE_METHODS),
            _ => method_not_allowed(path, PAGE_METHODS),
        }
    }

    /// Why this client gets no metrics.
    fn refuse_metrics(&self, request: &request::Parts) -> Option<&'static str> {
        let is_local = || {
            self.site
                .trusted
                .peer(self.way, &request.headers)
                .is_local()
        };
        match self.listener.metrics {
            Metrics::Everybody => None,
            Metrics::Local if is_local() => None,
            Metrics::Local => Some(
                "Metrics are for programs on this machine, and this request came by a proxy: set `server.metrics = \
                 true`, or give them an address of their own with `admin.listen`.",
            ),
            Metrics::Nobody => Some(
                "Metrics are off on this address: set `server.metrics = true`, or give them an address of their own \
                 with `admin.listen`.",
            ),
        }
    }

    fn metrics(&self) -> Answer {
        const EXPOSITION: HeaderValue =
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        let mut answer = text(StatusCode::OK, String::new());
        *answer.body_mut() = (self.site.metrics)().into();
        with_header(answer, CONTENT_TYPE, EXPOSITION)
    }

    fn not_found(&self, path: &str) -> Answer {
        let sentence = if path == "/" {
            "This is a Roomcast server: WebSocket clients connect to /ws. Its demo page is off on this address; \
             `server.pages = true` turns it on."
        } else {
            "There is nothing at this path: WebSocket clients connect to /ws."
        };
        text(StatusCode::NOT_FOUND, sentence)
    }

    fn upgrade(
        &self,
        request: &request::Parts,
        host: Option<&HostPort>,
        body: u64,
    ) -> Result<Answer, Refused> {
        match request.method {
            Method::GET => {}
            Method::OPTIONS => return Ok(options(WS_METHODS)),
            _ => {
                let answer = method_not_allowed("/ws", WS_METHODS);
                return Err(Refused::new(RefusedBy::Handshake, answer));
            }
        }
        if body > 0 {
            return Err(body_refused());
        }
        let site = &self.site;
        let handshake = Handshake::check(request, site.compression)?;
        let (access, permit) = self.let_in(request, host)?;
        let (format, deflate) = (handshake.format, handshake.deflate());
        self.state.borrow_mut().accepted = Some(Accepted {
            format,
            deflate,
            access,
            permit,
            opening: None,
        });
        Ok(handshake.answer())
    }

    /// Whether a client may have a connection: by its page's origin, the limits, the shards, and its token.
    fn let_in(
        &self,
        request: &request::Parts,
        host: Option<&HostPort>,
    ) -> Result<(Access, ConnectionPermit), Refused> {
        let site = &self.site;
        let peer = site.trusted.peer(self.way, &request.headers);
        self.check_origin(origin_of(request), host, peer)?;
        if let (Way::Direct(direct), Peer::Proxied { believed, .. }) = (self.way, peer)
            && !believed
            && direct.is_loopback()
        {
            site.notices.unbelieved_proxy(direct);
        }
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let permit = state
            .admitted
            .as_mut()
            .map_err(|refusal| site.full(*refusal))?;
        if let Some(address) = peer.counted_under() {
            permit
                .count_address(address)
                .map_err(|refusal| site.full(refusal))?;
        }
        if !site.takes_newcomers() {
            return Err(site.busy(RefusedBy::ShuttingDown, "This server is shutting down."));
        }
        if !site.shards.has_room() {
            return Err(site.busy(RefusedBy::ShardsBusy, "Too many newcomers at once."));
        }
        let access = self.access(request, peer)?;
        // From here on the connection is the shard's: what is left of HTTP has no claim to the permit.
        let gone = Err(Refusal::Connections);
        let permit = std::mem::replace(&mut state.admitted, gone);
        let permit = permit.map_err(|refusal| site.full(refusal))?;
        Ok((access, permit))
    }

    /// Whom the request's token names, and whether the client could do without.
    fn access(&self, request: &request::Parts, peer: Peer) -> Result<Access, Refused> {
        let anonymous = match self.listener.anonymous {
            Anonymous::Nobody => false,
            Anonymous::Local => self.listener.loopback && peer.is_local(),
            Anonymous::Everybody => true,
        };
        let identity = self.identity(request).map_err(|fault| {
            self.site.notices.token(fault.sentence);
            Refused::new(RefusedBy::Token, fault.answer())
        })?;
        if !anonymous && self.site.authority.is_none() {
            self.site.notices.needs_keys();
        }
        Ok(Access {
            identity: identity.map(Box::new),
            anonymous,
            origin: limits::origin(peer.counted_under()),
        })
    }

    fn identity(&self, request: &request::Parts) -> Result<Option<Identity>, bearer::Fault> {
        let Some(token) = bearer::token(&request.headers)? else {
            return Ok(None);
        };
        let Some(authority) = &self.site.authority else {
            return Err(bearer::Fault::NOT_SUPPORTED);
        };
        Ok(Some(
            authority.verify(self.site.clock.now().unix_ms, token)?,
        ))
    }

    fn check_origin(
        &self,
        sent: Option<Cow<'_, str>>,
        host: Option<&HostPort>,
        peer: Peer,
    ) -> Result<(), Refused> {
        let Some(sent) = sent else {
            return Ok(());
        };
        if self.site.origins.any() {
            return Ok(());
        }
        let origin = sent.parse::<Origin>();
        let allowed = origin.as_ref().is_ok_and(|origin| {
            self.site.origins.allow(Seen {
                origin,
                host,
                local: self.listener.loopback && peer.is_local(),
            })
        });
        if allowed {
            return Ok(());
        }
        self.site.notices.origin(&sent, origin.as_ref());
        let sentence = match origin {
            Ok(origin) => format!(
                "Pages of this origin may not connect here: add \"{origin}\" to `server.origins` to let them."
            ),
            Err(why) => format!(
                "Pages of this origin may not connect here: it {why}, so only \"*\" in `server.origins` lets them."
            ),
        };
        Err(Refused::new(
            RefusedBy::Origin,
            text(StatusCode::FORBIDDEN, sentence),
        ))
    }
}

/// The page that sent a request, where a browser says one.
fn origin_of(request: &request::Parts) -> Option<Cow<'_, str>> {
    let origin = request.headers.get(ORIGIN)?;
    Some(String::from_utf8_lossy(origin.as_bytes()))
}

fn body_refused() -> Refused {
    let sentence = "This server takes no request bodies.";
    let answer = last_text(StatusCode::PAYLOAD_TOO_LARGE, sentence);
    Refused::new(RefusedBy::Request, answer)
}

/// The length of the body that a request announces; `u64::MAX` when it doesn't say.
fn declared_body(request: &request::Parts) -> u64 {
    if request.headers.contains_key(TRANSFER_ENCODING) {
        return u64::MAX;
    }
    let length = request
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

impl hyper::service::Service<Request<hyper::body::Incoming>> for Service {
    type Response = api::Answer;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let (parts, body) = request.into_parts();
        if let Some(posted) = self.posted(&parts) {
            let site = Arc::clone(&self.site);
            let ends = self.ends();
            return match posted {
                // Its body is not read.
                Err(answer) => {
                    let answer = with_header(answer, CONNECTION, CLOSE);
                    Answering::Ready(ready(Ok(answer.map(Either::Left))))
                }
                Ok((posted, reading)) => Answering::Waits(Box::pin(async move {
                    let answer = posted.take(&site, reading, body).await;
                    let answer = event_stream::for_page(&site, &parts.headers, answer);
                    let answer = match ends {
                        true => with_header(answer, CONNECTION, CLOSE),
                        false => answer,
                    };
                    answer.map(Either::Left)
                })),
            };
        }
        match self.api(&parts) {
            None => Answering::Ready(ready(Ok(self.answer(&parts).map(Either::Left)))),
            Some(Err(answer)) => Answering::Ready(ready(Ok(answer.map(Either::Left)))),
            Some(Ok(api)) => {
                let ends = self.ends();
                Answering::Waits(Box::pin(async move {
                    let answer = api.answer(parts, body).await;
                    match ends {
                        true => with_header(answer, CONNECTION, CLOSE),
                        false => answer,
                    }
                }))
            }
        }
    }
}

/// An answer that is there, or that is waited for.
pub(super) enum Answering {
    Ready(Ready<Result<api::Answer, Infallible>>),
    Waits(Pin<Box<dyn Future<Output = api::Answer> + Send>>),
}

impl Future for Answering {
    type Output = Result<api::Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Answering::Ready(answer) => Pin::new(answer).poll(cx),
            Answering::Waits(answer) => answer.as_mut().poll(cx).map(Ok),
        }
    }
}
