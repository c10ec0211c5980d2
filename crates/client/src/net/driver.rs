//! The task that has the connection: what the session's state machine asks for, done.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::ChaCha12Rng;
use rand::{RngExt as _, SeedableRng as _};
use roomcast_protocol::Format;
use roomcast_websocket::{
    CloseFrame, Deflate, Event, Opcode, Receiver, ReceiverConfig, Role, Scratch, frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::connect::{Dial, Failure, Opened, connect};
use super::shared::Shared;
use super::url::Url;
use crate::error::{Error, code};
use crate::session::Connection;

/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a close frame may take to be written.
const GOODBYE: Duration = Duration::from_secs(1);
/// Bytes given to a connection and not yet to the socket.
const MAX_OUT: usize = 16 * 1024;
/// The largest message of a server that is read.
const MAX_MESSAGE: usize = 16 << 20;

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// There will be none: the client is closed.
    Unauthorized(String),
    /// Not now: it is asked for again at the next connection.
    Unavailable(String),
}

type TokenFuture = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;
pub(super) type TokenSource = Box<dyn Fn() -> TokenFuture + Send + Sync>;

pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) url: Url,
    pub(super) dial: Dial,
    pub(super) tokens: Option<TokenSource>,
    pub(super) random: ChaCha12Rng,
}

/// A close frame's code and reason, or 1006.
type Lost = (u16, String);

pub(super) fn randomness() -> Result<ChaCha12Rng, Error> {
    ChaCha12Rng::try_from_rng(&mut rand::rngs::SysRng)
        .map_err(|error| Error::new(code::SYSTEM, error.to_string()))
}

impl Driver {
    /// Until the session is closed.
    pub(super) async fn run(mut self) {
        loop {
            let (connection, due) = self
                .shared
                .peek(|session| (session.connection(), session.poll_timeout()));
            match (connection, due) {
                (Connection::Connect, _) => {
                    let lost = match self.open().await {
                        Some(Ok(opened)) => self.pump(opened).await,
                        Some(Err(Failure::Again(reason))) => (1006, reason),
                        Some(Err(Failure::Final(error))) => {
                            self.shared
                                .drive(|state, now| state.session.end(now, error));
                            continue;
                        }
                        None => continue,
                    };
                    self.lost(&lost);
                }
                (Connection::Up | Connection::Close(_), _) => self.lost(&(1006, String::new())),
                (Connection::Down, Some(due)) => {
                    let due = self.shared.instant(due);
                    tokio::select! {
                        () = self.shared.bell.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                    self.shared.drive(|state, now| state.session.timeout(now));
                }
                (Connection::Down, None) => return,
            }
        }
    }

    fn lost(&mut self, (code, reason): &Lost) {
        let random = self.random.random::<u64>();
        self.shared
            .drive(|state, now| state.session.disconnected(now, *code, reason, random));
    }

    /// Opens a connection; `None`: none is wanted any more.
    async fn open(&mut self) -> Option<Result<Opened, Failure>> {
        let shared = self.shared.clone();
        let nonce = self.random.random();
        let opening = async {
            self.fetch_token().await?;
            let url = self.place();
            let elsewhere = url != self.url;
            connect(&self.dial, &url, nonce)
                .await
                .map_err(|failure| match failure {
                    // What a place that the server named says is not the last word: one's own is next.
                    Failure::Final(error) if elsewhere => Failure::Again(error.to_string()),
                    failure => failure,
                })
        };
        let opening = tokio::time::timeout(CONNECT, opening);
        tokio::pin!(opening);
        loop {
            tokio::select! {
                opened = &mut opening => {
                    let late = || Failure::Again("the connection was not opened in time".into());
                    return Some(opened.unwrap_or_else(|_| Err(late())));
                }
                () = shared.bell.notified() => {
                    if shared.peek(|session| session.connection()) != Connection::Connect {
                        return None;
                    }
                }
            }
        }
    }

    async fn fetch_token(&self) -> Result<(), Failure> {
        let Some(tokens) = &self.tokens else {
            return Ok(());
        };
        match tokens().await {
            Ok(token) => {
                self.shared
                    .drive(|state, now| state.session.set_token(now, Some(token)));
                Ok(())
            }
            Err(TokenError::Unauthorized(why)) => {
                Err(Failure::Final(Error::new(code::UNAUTHORIZED, why)))
            }
            Err(TokenError::Unavailable(why)) => Err(Failure::Again(format!("no token: {why}"))),
        }
    }

    /// Where the server asked to come back, if a token is as safe there.
    fn place(&self) -> Url {
        let redirect = self.shared.peek(|session| {
            let url = session.redirect()?;
            Url::parse(url).ok()
        });
        redirect
            .filter(|url| url.tls || !self.url.tls)
            .unwrap_or_else(|| self.url.clone())
    }

    /// Moves bytes until the connection is gone.
    async fn pump(&mut self, opened: Opened) -> Lost {
        let Opened {
            io,
            deflate,
            mut rest,
        } = opened;
        let (mut read, mut write) = tokio::io::split(io);
        let mut wire = Wire::new(self.dial.format, deflate);
        self.shared.drive(|state, now| state.session.connected(now));
        if let Some(lost) = self.take(&mut wire, &mut rest) {
            return lost;
        }
        let mut buffer = vec![0; 16 * 1024];
        let mut fetching: Option<TokenFuture> = None;
        loop {
            if let Connection::Close(code) = self.fill(&mut wire, &mut fetching) {
                let close = CloseFrame { code, reason: "" };
                frame::write_close(&mut wire.out, Some(close), Some(self.random.random()));
                let goodbye = async {
                    write.write_all(&wire.out[wire.at..]).await?;
                    write.flush().await
                };
                let _ = tokio::time::timeout(GOODBYE, goodbye).await;
                return (1006, String::new());
            }
            let due = self.shared.peek(|session| session.poll_timeout());
            let due = self.shared.instant(due.unwrap_or(u64::MAX));
            let pending = wire.at < wire.out.len();
            tokio::select! {
                count = read.read(&mut buffer) => {
                    let count = match count {
                        Ok(0) => return (1006, "the connection was closed".into()),
                        Ok(count) => count,
                        Err(error) => return (1006, error.to_string()),
                    };
                    if let Some(lost) = self.take(&mut wire, &mut buffer[..count]) {
                        return lost;
                    }
                }
                written = push(&mut write, &wire.out[wire.at..]), if pending || wire.unflushed => {
                    match written {
                        Ok(0) if pending => return (1006, "the connection takes no bytes".into()),
                        Ok(count) => {
                            wire.at += count;
                            wire.unflushed = pending;
                        }
                        Err(error) => return (1006, error.to_string()),
                    }
                }
                token = fetched(&mut fetching) => {
                    fetching = None;
                    self.shared.drive(|state, now| match token {
                        Ok(token) => state.session.set_token(now, Some(token)),
                        Err(TokenError::Unauthorized(why)) => {
                            state.session.end(now, Error::new(code::UNAUTHORIZED, why));
                        }
                        // Closed with 4007 when it ends, and asked for again then.
                        Err(TokenError::Unavailable(_)) => {}
                    });
                }
                () = self.shared.bell.notified() => {}
                () = tokio::time::sleep_until(due) => {
                    self.shared.drive(|state, now| state.session.timeout(now));
                }
            }
        }
    }

    /// Takes from the session what the connection has room for.
    fn fill(&mut self, wire: &mut Wire, fetching: &mut Option<TokenFuture>) -> Connection {
        if wire.at == wire.out.len() {
            wire.out.clear();
            wire.at = 0;
        }
        let random = &mut self.random;
        let (connection, needs_token) = self.shared.drive(|state, _| {
            while wire.out.len() - wire.at < MAX_OUT
                && let Some(message) = state.session.poll_transmit()
            {
                let mask = Some(random.random());
                frame::write_frame(&mut wire.out, wire.opcode, true, false, &message, mask);
            }
            (
                state.session.connection(),
                std::mem::take(&mut state.token_wanted),
            )
        });
        if needs_token && let Some(tokens) = &self.tokens {
            *fetching = Some(tokens());
        }
        connection
    }

    /// Gives the session what came.
    fn take(&mut self, wire: &mut Wire, mut input: &mut [u8]) -> Option<Lost> {
        let random = &mut self.random;
        self.shared.drive(|state, now| {
            loop {
                let event = match wire.receiver.receive(&mut input, &mut wire.scratch) {
                    Ok(Some(event)) => event,
                    Ok(None) => return None,
                    Err(error) => return Some((1006, error.to_string())),
                };
                match (event, wire.opcode) {
                    (Event::Text(text), Opcode::Text) => {
                        state.session.receive(now, text.as_bytes());
                    }
                    (Event::Binary(bytes), Opcode::Binary) => state.session.receive(now, bytes),
                    (Event::Ping(payload), _) => {
                        state.session.heard(now);
                        // One whose pongs are not taken gets no more of them.
                        if wire.out.len() - wire.at < 2 * MAX_OUT {
                            let mask = Some(random.random());
                            let pong = Opcode::Pong;
                            frame::write_frame(&mut wire.out, pong, true, false, payload, mask);
                        }
                    }
                    (Event::Pong(_) | Event::EmptyFragment, _) => state.session.heard(now),
                    (Event::Close(close), _) => {
                        return Some(match close {
                            Some(close) => (close.code, close.reason.to_owned()),
                            None => (1006, "closed without a code".into()),
                        });
                    }
                    (Event::TooLarge { .. }, _) => {
                        return Some((1006, "the server sent too large a message".into()));
                    }
                    (Event::Text(_) | Event::Binary(_), _) => {
                        state.session.receive_other_format(now);
                    }
                }
            }
        })
    }
}

/// One connection's bytes.
struct Wire {
    receiver: Receiver,
    scratch: Scratch,
    opcode: Opcode,
    out: Vec<u8>,
    /// So much of `out` is written.
    at: usize,
    unflushed: bool,
}

impl Wire {
    fn new(format: Format, deflate: Option<Deflate>) -> Wire {
        let config = ReceiverConfig {
            max_message: MAX_MESSAGE,
            max_skip: MAX_MESSAGE,
            deflate,
        };
        Wire {
            receiver: Receiver::new(Role::Client, &config),
            scratch: Scratch::new(),
            opcode: match format {
                Format::Json => Opcode::Text,
                Format::Protobuf => Opcode::Binary,
            },
            out: Vec::new(),
            at: 0,
            unflushed: false,
        }
    }
}

/// Writes some of it, or flushes where nothing is left. Cancelled, it has written nothing.
async fn push(write: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<usize> {
    match bytes {
        [] => write.flush().await.map(|()| 0),
        bytes => write.write(bytes).await,
    }
}

/// Never, where no token is being fetched.
async fn fetched(fetching: &mut Option<TokenFuture>) -> Result<String, TokenError> {
    match fetching {
        Some(token) => token.await,
        None => std::future::pending().await,
    }
}
