//! The tokio front: a [`Client`] keeps a connection, a [`Room`] is one of its rooms.

mod connect;
mod driver;
mod queue;
mod room;
mod shared;
mod url;

use std::future::Future;
use std::sync::Arc;

use roomcast_protocol::Format;
use tokio::sync::watch;

pub use driver::TokenError;
pub use queue::{Events, RoomEvent};
pub use room::{History, Joining, Leaving, MembersSnapshot, Room, Sending};

use crate::error::Error;
use crate::message::{Publish, Recipient};
use crate::session::{Config, Saved, SendOptions, Session, Status};
use connect::Dial;
use driver::{Driver, TokenSource, randomness};
use shared::Shared;
use url::Url;

/// Bytes that a subscriber may leave unread: 4 MiB.
const QUEUE_BYTES: usize = 4 << 20;

/// One session with a server, over as many connections as it takes. Clones are the same client; it is closed with the
/// last one, its rooms and what waits for their answers included.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

pub(crate) struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.with(|state, now| state.session.close(now));
    }
}

/// How a client connects. Made by [`Client::builder`].
pub struct ClientBuilder {
    url: String,
    config: Config,
    queue_bytes: usize,
    tokens: Option<TokenSource>,
    headers: Vec<(String, String)>,
    compression: bool,
    tls: connect::Tls,
}

impl ClientBuilder {
    /// JSON, unless changed.
    pub fn format(mut self, format: Format) -> ClientBuilder {
        self.config.format = format;
        self
    }

    /// A token that does not end.
    pub fn token(mut self, token: impl Into<String>) -> ClientBuilder {
        self.config.token = Some(token.into());
        self
    }

    /// Where tokens come from: asked before each connection, and when a token is about to end.
    pub fn token_source<F>(
        mut self,
        source: impl Fn() -> F + Send + Sync + 'static,
    ) -> ClientBuilder
    where
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        self.tokens = Some(Box::new(move || Box::pin(source())));
        self
    }

    /// Goes on with a session of before, from [`Client::save`].
    pub fn saved(mut self, saved: Saved) -> ClientBuilder {
        self.config.saved = Some(saved);
        self
    }

    /// The other settings: waits, bounds. Format, token and saved session in it hold too.
    pub fn config(mut self, config: Config) -> ClientBuilder {
        self.config = config;
        self
    }

    /// Bytes of events that each stream keeps unread: 4 MiB.
    pub fn queue_bytes(mut self, bytes: usize) -> ClientBuilder {
        self.queue_bytes = bytes;
        self
    }

    /// One more header of the WebSocket's request, for a proxy before the server. One that can't be a header makes
    /// [`connect`](ClientBuilder::connect) fail.
    pub fn header(mut self, name: &str, value: &str) -> ClientBuilder {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether the server may compress what it sends: not unless this says so.
    pub fn compression(mut self, on: bool) -> ClientBuilder {
        self.compression = on;
        self
    }

    /// Certificates of one's own, in place of the system's.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<tokio_rustls::rustls::ClientConfig>) -> ClientBuilder {
        self.tls = Some(config);
        self
    }

    /// Begins to connect, in a task of the current runtime, and returns at once.
    ///
    /// # Errors
    /// `bad_url`; `invalid_value`: a header that can't be one; `system`: there are no random numbers.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(self) -> Result<Client, Error> {
        let url = Url::parse(&self.url)?;
        if !self.headers.iter().all(is_header) {
            return Err(Error::new("invalid_value", "this can't be a header"));
        }
        let random = randomness()?;
        let format = self.config.format;
        let shared = Arc::new(Shared::new(Session::new(self.config), self.queue_bytes));
        let driver = Driver {
            shared: shared.clone(),
            url,
            dial: Dial {
                format,
                headers: self.headers,
                compression: self.compression,
                tls: self.tls,
            },
            tokens: self.tokens,
            random,
        };
        tokio::spawn(driver.run());
        let handle = Arc::new(Handle { shared });
        Ok(Client { handle })
    }
}

impl Client {
    /// Begins to connect to `ws://…` or `wss://…`, without a token and in JSON, and returns at once.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(url: &str) -> Result<Client, Error> {
        Client::builder(url).connect()
    }

    /// For all that [`Client::connect`] leaves as it is.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder {
            url: url.to_owned(),
            config: Config::default(),
            queue_bytes: QUEUE_BYTES,
            tokens: None,
            headers: Vec::new(),
            compression: false,
            tls: None,
        }
    }

    /// A room, joined or not: no I/O.
    pub fn room(&self, name: &str) -> Room {
        Room::new(self.handle.clone(), name)
    }

    /// Sends a direct message: see [`Room::send`].
    pub fn direct(&self, to: Recipient, publish: Publish, options: SendOptions) -> Sending {
        Sending::start(&self.handle, |session, now| {
            session.direct(now, to, publish, options)
        })
    }

    /// Direct messages, from now on.
    pub fn direct_messages(&self) -> Events {
        self.handle.shared.subscribe(None)
    }

    /// How it stands with the connection, and every change.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.handle.shared.status.subscribe()
    }

    /// Waits until the server has said `welcome`.
    ///
    /// # Errors
    /// The client was closed, and why.
    pub async fn connected(&self) -> Result<(), Error> {
        let mut status = self.status();
        loop {
            match &*status.borrow_and_update() {
                Status::Connected { .. } => return Ok(()),
                Status::Closed(error) => return Err(error.clone()),
                Status::Connecting | Status::Reconnecting { .. } => {}
            }
            // The sender lives as long as this client.
            let _ = status.changed().await;
        }
    }

    /// The session's id; empty before the first `welcome`.
    pub fn client_id(&self) -> String {
        self.handle
            .shared
            .peek(|session| session.client_id().to_owned())
    }

    /// The median of the last round trips, in milliseconds.
    pub fn rtt(&self) -> Option<u64> {
        self.handle.shared.peek(Session::rtt)
    }

    /// The server's clock, in milliseconds since the Unix epoch.
    pub fn server_now(&self) -> Option<i64> {
        let now = self.handle.shared.now();
        self.handle.shared.peek(|session| session.server_now(now))
    }

    /// The network is back, or may be: connects now, or sees whether the connection is alive.
    pub fn wake(&self) {
        self.handle
            .shared
            .with(|state, now| state.session.wake(now));
    }

    /// What it takes to go on with the session in another process. Its token is a secret.
    pub fn save(&self) -> Saved {
        self.handle.shared.peek(Session::save)
    }

    /// Says goodbye, and waits until that is done: the session ends, here and at the server.
    pub async fn close(&self) {
        self.handle
            .shared
            .with(|state, now| state.session.close(now));
        let mut status = self.status();
        let _ = status
            .wait_for(|status| matches!(status, Status::Closed(_)))
            .await;
    }
}

/// RFC 9110 section 5.5, and nothing that would end the line.
fn is_header((name, value): &(String, String)) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let printable = |byte: u8| byte == b'\t' || byte >= b' ' && byte != 0x7f;
    !name.is_empty() && name.bytes().all(token) && value.bytes().all(printable)
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("client_id", &self.client_id())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ClientBuilder {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
