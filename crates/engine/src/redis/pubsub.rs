//! Datagrams from node to node, by Redis's pub/sub: each node listens to a channel of its own at every master, and is
//! reached through any one of them. A datagram may be lost, come twice, or overtake another.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use roomcast_core::store::{Cause, NodeId};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::backoff::Backoff;
use super::client::Client;
use super::config::{Login, Mode, RedisConfig};
use super::connection::Connection;
use super::failure::{Failure, Then, Told};
use super::job::{Job, Reply, What, lock};
use super::master::{Place, Shared, Trouble};
use super::resp::Value;
use super::topology::Topology;
use super::url::Endpoint;

/// What has come for a node. It ends when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    inbox: Arc<Inbox>,
    _manager: Task,
}

impl Subscription {
    /// The next datagram.
    pub async fn next(&mut self) -> Vec<u8> {
        loop {
            if let Some(datagram) = self.inbox.take() {
                return datagram;
            }
            self.inbox.changed.notified().await;
        }
    }

    /// The next datagram, if it has come.
    pub fn try_next(&mut self) -> Option<Vec<u8>> {
        self.inbox.take()
    }

    /// How many datagrams were dropped, as nobody took those before.
    pub fn dropped(&self) -> u64 {
        lock(&self.inbox.state).dropped
    }

    /// At how many masters the channel is listened to now.
    pub fn masters(&self) -> usize {
        *self.inbox.live.borrow()
    }
}

impl Client {
    /// Listens for what other nodes send to this one.
    pub fn subscribe(&self, node: NodeId) -> Subscription {
        let inbox = Arc::new(Inbox::new(self.config().queue_bytes));
        let manager = manage(
            Arc::downgrade(self.topology()),
            self.shared_config(),
            node,
            Arc::clone(&inbox),
        );
        Subscription {
            inbox,
            _manager: Task(tokio::spawn(manager)),
        }
    }

    /// Sends a datagram to a node. `false`: there is no connection, and it is lost.
    ///
    /// Each second it goes through another master: one of them may be out of the other node's reach alone, or may have
    /// stopped and still have its connections.
    pub fn publish(&self, to: NodeId, datagram: Vec<u8>) -> bool {
        let config = self.config();
        let table = self.table();
        let connected = || {
            table
                .masters
                .iter()
                .filter(|entry| entry.shared.store().is_some())
        };
        let count = connected().count() as u64;
        let turn = to.0.wrapping_add(self.seconds());
        let place = turn.checked_rem(count);
        let Some(entry) = place.and_then(|at| connected().nth(at as usize)) else {
            return false;
        };
        let command: &[u8] = match config.mode {
            Mode::Cluster => b"SPUBLISH",
            Mode::Standalone | Mode::Sentinel { .. } => b"PUBLISH",
        };
        let channel = channel(config, &entry.tag, to);
        let job = Job {
            bytes: channel.len() + datagram.len(),
            what: What::Plain(vec![command.to_vec(), channel.into_bytes(), datagram]),
            deadline: Instant::now() + config.response_timeout,
            reply: Reply::to_nobody(),
            repeated: false,
        };
        entry.shared.queue.put(vec![job]);
        true
    }
}

/// The channel of a node at a master.
pub(crate) fn channel(config: &RedisConfig, tag: &str, node: NodeId) -> String {
    format!("{}{{{tag}}}:node:{:016x}", config.prefix, node.0)
}

#[derive(Debug)]
struct Inbox {
    state: Mutex<InboxState>,
    changed: Notify,
    most: usize,
    live: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct InboxState {
    datagrams: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
}

/// What a datagram costs beside its bytes.
const OVERHEAD: usize = 64;

impl Inbox {
    fn new(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            most,
            live: watch::Sender::new(0),
        }
    }

    fn put(&self, datagram: Vec<u8>) {
        let mut state = lock(&self.state);
        let bytes = datagram.len() + OVERHEAD;
        if state.bytes + bytes > self.most {
            state.dropped += 1;
            return;
        }
        state.bytes += bytes;
        state.datagrams.push_back(datagram);
        drop(state);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut state = lock(&self.state);
        let datagram = state.datagrams.pop_front()?;
        state.bytes -= datagram.len() + OVERHEAD;
        Some(datagram)
    }
}

/// A task that ends when it is dropped.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens at every master that there is.
async fn manage(
    topology: Weak<Topology>,
    config: Arc<RedisConfig>,
    node: NodeId,
    inbox: Arc<Inbox>,
) {
    let Some(mut changes) = topology
        .upgrade()
        .map(|topology| topology.changes.subscribe())
    else {
        return;
    };
    let mut tasks: Vec<(Arc<Shared>, Arc<str>, Task)> = Vec::new();
    loop {
        changes.mark_unchanged();
        let Some(topology) = topology.upgrade() else {
            return;
        };
        let table = topology.table();
        tasks.retain(|(shared, tag, _)| {
            table
                .masters
                .iter()
                .any(|entry| Arc::ptr_eq(&entry.shared, shared) && entry.tag == *tag)
        });
        for entry in &table.masters {
            let same = |(shared, _, _): &(Arc<Shared>, _, _)| Arc::ptr_eq(shared, &entry.shared);
            if tasks.iter().any(same) {
                continue;
            }
            let listener = Listener {
                shared: Arc::clone(&entry.shared),
                config: Arc::clone(&config),
                channel: channel(&config, &entry.tag, node),
                inbox: Arc::clone(&inbox),
                trouble: Arc::clone(&topology.trouble),
            };
            let task = Task(tokio::spawn(listener.keep()));
            tasks.push((Arc::clone(&entry.shared), Arc::clone(&entry.tag), task));
        }
        drop((table, topology));
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps listening at one master.
struct Listener {
    shared: Arc<Shared>,
    config: Arc<RedisConfig>,
    channel: String,
    inbox: Arc<Inbox>,
    trouble: Trouble,
}

impl Listener {
    async fn keep(self) {
        let mut places = self.shared.place.subscribe();
        let mut backoff = Backoff::new();
        let mut told = Told::default();
        loop {
            let place = match places
                .wait_for(Option::is_some)
                .await
                .map(|place| place.clone())
            {
                Ok(Some(place)) => place,
                _ => return,
            };
            let lost = tokio::select! {
                failure = self.listen(&place, &mut backoff) => Some(failure),
                // Its master is elsewhere, or another one.
                moved = places.wait_for(|now| now.as_ref().is_some_and(|now| *now != place)) => match moved {
                    Ok(_) => None,
                    Err(_) => return,
                },
            };
            match lost {
                None => told.clear(),
                Some(failure) => {
                    if told.is_new(&failure) {
                        warn!("Redis, channel of this node: {failure}");
                    }
                    sleep(backoff.next()).await;
                }
            }
        }
    }

    /// Until the connection is lost.
    async fn listen(&self, place: &Place, backoff: &mut Backoff) -> Failure {
        let subscribe = match self.config.mode {
            Mode::Cluster => "SSUBSCRIBE",
            Mode::Standalone | Mode::Sentinel { .. } => "SUBSCRIBE",
        };
        let login = (&self.config.login, self.config.database);
        let listening = Listening::begin(
            &place.endpoint,
            &self.config,
            login,
            subscribe,
            &self.channel,
        )
        .await;
        let mut listening = match listening {
            Ok(listening) => listening,
            Err(failure) => {
                // The slot of the channel may have moved.
                self.trouble.notify_one();
                return failure;
            }
        };
        backoff.reset();
        let _live = Live::count(&self.inbox.live);
        loop {
            match listening.next().await {
                Ok(datagram) => self.inbox.put(datagram),
                Err(failure) => {
                    self.trouble.notify_one();
                    return failure;
                }
            }
        }
    }
}

/// Counts a subscription while it is there.
struct Live<'a>(&'a watch::Sender<usize>);

impl<'a> Live<'a> {
    fn count(live: &'a watch::Sender<usize>) -> Self {
        live.send_modify(|count| *count += 1);
        Self(live)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A connection that has subscribed to one channel.
pub(crate) struct Listening {
    connection: Connection,
    silence: std::time::Duration,
}

impl Listening {
    /// Connects, subscribes, and waits until that is confirmed.
    pub(crate) async fn begin(
        endpoint: &Endpoint,
        config: &RedisConfig,
        (login, database): (&Login, u32),
        subscribe: &str,
        channel: &str,
    ) -> Result<Self, Failure> {
        let mut connection = Connection::open(endpoint, config, login, database).await?;
        connection.call(&[subscribe, channel]).await?;
        Ok(Self {
            connection,
            silence: config.response_timeout / 2,
        })
    }

    /// The next message. Where none comes for long, a PING shows whether the connection still is one.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>, Failure> {
        let mut pinged = false;
        loop {
            let value = match timeout(self.silence, self.connection.read()).await {
                Ok(value) => value?,
                Err(_) if pinged => {
                    return Err(Failure::timeout("the subscription does not answer"));
                }
                Err(_) => {
                    pinged = true;
                    match timeout(self.silence, self.connection.send(&["PING"])).await {
                        Ok(sent) => sent?,
                        Err(_) => return Err(Failure::timeout("the subscription takes nothing")),
                    }
                    continue;
                }
            };
            pinged = false;
            let mut parts = match value {
                Value::Array(parts) => parts,
                Value::Error(text) => {
                    let (failure, then) = Failure::said(&text);
                    return Err(match then {
                        Then::Nothing => failure,
                        _ => Failure {
                            said: format!("the subscription ends: {failure}").into(),
                            ..failure
                        },
                    });
                }
                _ => continue,
            };
            match parts.first().and_then(Value::as_str) {
                Some("message" | "smessage") => {
                    if let Some(Value::Bytes(message)) = parts.pop() {
                        return Ok(message);
                    }
                }
                // A Cluster ends a subscription whose slot has moved.
                Some("unsubscribe" | "sunsubscribe") => {
                    return Err(Failure::again(
                        Cause::Busy,
                        "Redis has ended the subscription",
                    ));
                }
                _ => {}
            }
        }
    }
}
