//! The polite end: not ready, then no newcomers, then everybody is asked to come back, flushed and closed.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::task::Poll;
use std::time::{Duration, Instant};

use roomcast_protocol::CloseCode;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::error::ServerError;
use crate::running::{Event, RunningServer};
use crate::shard::Order;

/// How long what is between the shards may take to reach the connections.
const SETTLE: Duration = Duration::from_secs(1);
/// How long receivers of webhooks, or Redis, may take for what happened last.
const FLUSH: Duration = Duration::from_secs(5);
/// How often it is looked whether Redis is away.
const LOOK: Duration = Duration::from_millis(100);
/// Kept free at the deadline's end for closing what is left.
const RESERVE: Duration = Duration::from_millis(250);

impl RunningServer {
    /// Ends in good order, within `shutdown.deadline`: `/readyz` turns red while newcomers are still served for
    /// `shutdown.delay`; then there are none, every client is sent a `reconnect` with a delay of its own, what waits
    /// for it is written, and its connection is closed with code 4000.
    ///
    /// # Errors
    /// A shard had failed.
    pub fn shutdown(mut self) -> Result<(), ServerError> {
        let deadline = Instant::now() + self.settings.deadline.saturating_sub(RESERVE);
        if let Some(http) = &self.http {
            http.not_ready();
        }
        std::thread::sleep(self.settings.delay.min(left(deadline)));
        if let Some(http) = &self.http {
            http.refuse_newcomers();
        }
        let connections = self.connections();
        tracing::info!(connections, "asking every client to come back");
        let spread_ms = self.settings.spread(connections).as_millis() as u64;
        let (flushed, flushes) = mpsc::channel();
        self.order(|| Order::AskToReconnect {
            spread_ms,
            flushed: flushed.clone(),
        });
        drop(flushed);
        // Closing writes what waits as well, but takes no more from other shards.
        let patience = Instant::now() + SETTLE.min(left(deadline));
        for _ in 0..self.shards() {
            if flushes.recv_timeout(left(patience)).is_err() {
                break;
            }
        }
        if self.engine.is_some() || self.snapshots.is_some() {
            self.hand_over(deadline);
        } else {
            self.order(|| Order::Close(CloseCode::Reconnect));
        }
        let mut result = Ok(());
        let mut running = self.shards();
        while running > 0 {
            match self.patiently(deadline, |most| self.events.recv_timeout(most)) {
                Some(Event::Signal(_) | Event::Asked(_)) => {}
                Some(Event::ShardEnded) => running -= 1,
                Some(Event::ShardFailed) => {
                    running -= 1;
                    result = Err(ServerError::ShardFailed);
                }
                None if self.is_cut_off() => {
                    tracing::warn!(
                        "Redis does not answer: no room is handed over. Other servers take them when redis.lease is over"
                    );
                    break;
                }
                None => {
                    let connections = self.connections();
                    tracing::warn!(
                        connections,
                        "the deadline is over: what is open is cut (shutdown.deadline)"
                    );
                    break;
                }
            }
        }
        // Before the lease ends: what happened last is to be with its receivers, or with Redis.
        if let Some(webhooks) = &self.webhooks {
            webhooks.flush(FLUSH.min(left(deadline)));
        }
        if let Some(engine) = self.engine.as_ref().filter(|_| !self.is_cut_off()) {
            engine.flush(SETTLE.min(left(deadline)));
            // A shard that is cut may act for its rooms yet.
            if running == 0 {
                engine.end(SETTLE.min(left(deadline)));
            }
        }
        if let Some(mut snapshots) = self.snapshots.take() {
            // What a shard that is cut does from here on is in no file.
            snapshots.finish();
        }
        // Dropping it stops what still runs.
        drop(self);
        result
    }

    /// Closes all connections, and then gives all rooms to other servers, or to the next process of this one. In this order: so that each room's record says
    /// that its members of this server have no connection.
    fn hand_over(&self, deadline: Instant) {
        let (emptied, has_emptied) = mpsc::channel();
        self.order(|| Order::Empty {
            code: CloseCode::Reconnect,
            emptied: emptied.clone(),
        });
        drop(emptied);
        let patience = Instant::now() + left(deadline) / 2;
        for _ in 0..self.shards() {
            let emptied = self.patiently(patience, |most| has_emptied.recv_timeout(most));
            if emptied.is_none() {
                break;
            }
        }
        if self.engine.is_some() {
            tracing::info!("handing rooms over to other servers");
        }
        self.order(|| Order::GiveUp);
    }

    /// Whether nothing can be handed over, as Redis does not answer.
    fn is_cut_off(&self) -> bool {
        let engine = self.engine.as_ref();
        engine.is_some_and(|engine| engine.status().is_cut_off())
    }

    /// Receives something until then; without Redis no longer than what is on its way between shards may take.
    fn patiently<T>(
        &self,
        until: Instant,
        receive: impl Fn(Duration) -> Result<T, RecvTimeoutError>,
    ) -> Option<T> {
        let begin = Instant::now();
        loop {
            let until = match self.is_cut_off() {
                true => until.min(begin + SETTLE),
                false => until,
            };
            match receive(left(until).min(LOOK)) {
                Ok(received) => return Some(received),
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(_) => return None,
            }
        }
    }

    /// Serves until a signal comes, somebody asks for the end over the API, or a shard fails.
    pub(crate) fn until_signal(self) -> Result<(), ServerError> {
        match self.events.recv() {
            Ok(Event::Signal(name)) => {
                tracing::info!("{name}: shutting down; a second signal ends the server at once");
                self.shutdown()
            }
            Ok(Event::Asked(key)) => {
                tracing::info!(key, "asked by the API to end: shutting down");
                self.shutdown()
            }
            // Nobody orders a shard to end but `shutdown`.
            Ok(Event::ShardEnded | Event::ShardFailed) | Err(_) => Err(ServerError::ShardFailed),
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Listens for SIGTERM and SIGINT until it is dropped. The first is an event, the second ends the process.
#[derive(Debug)]
pub(crate) struct Signals {
    _stop: oneshot::Sender<()>,
}

impl Signals {
    /// # Errors
    /// The handlers could not be installed.
    pub(crate) fn install(events: Sender<Event>) -> io::Result<Signals> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let mut sources = Sources::new()?;
        drop(guard);
        let (stop, mut stopped) = oneshot::channel::<()>();
        let listen = async move {
            let mut first = true;
            while let Some((name, number)) = sources.next(&mut stopped).await {
                if !std::mem::replace(&mut first, false) {
                    tracing::warn!("{name} again: ending at once");
                    std::process::exit(128 + number);
                }
                // The server may have ended by itself.
                let _ = events.send(Event::Signal(name));
            }
        };
        std::thread::Builder::new()
            .name("roomcast-signals".to_owned())
            .spawn(move || runtime.block_on(listen))?;
        Ok(Signals { _stop: stop })
    }
}

/// A signal's name and number.
type Signal = (&'static str, i32);

#[cfg(unix)]
struct Sources([(tokio::signal::unix::Signal, Signal); 2]);

#[cfg(unix)]
impl Sources {
    fn new() -> io::Result<Sources> {
        use tokio::signal::unix::{SignalKind, signal};
        let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
        Ok(Sources([
            (signal(terminate)?, ("SIGTERM", terminate.as_raw_value())),
            (signal(interrupt)?, ("SIGINT", interrupt.as_raw_value())),
        ]))
    }
}

#[cfg(windows)]
struct Sources([(tokio::signal::windows::CtrlC, Signal); 1]);

#[cfg(windows)]
impl Sources {
    fn new() -> io::Result<Sources> {
        Ok(Sources([(
            tokio::signal::windows::ctrl_c()?,
            ("Ctrl-C", 2),
        )]))
    }
}

impl Sources {
    /// The next signal, or nothing when the listening was stopped.
    async fn next(&mut self, stopped: &mut oneshot::Receiver<()>) -> Option<Signal> {
        poll_fn(|context| {
            for (source, signal) in &mut self.0 {
                if source.poll_recv(context).is_ready() {
                    return Poll::Ready(Some(*signal));
                }
            }
            Pin::new(&mut *stopped).poll(context).map(|_| None)
        })
        .await
    }
}
