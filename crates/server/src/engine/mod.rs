//! The engine `redis`: the way of this server to Redis, its place among the others, and whether it is ready.

mod alarm;
mod alike;
mod departures;
mod desk;
mod node;
mod peers;
mod status;
mod told;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rand::TryRng as _;
use roomcast_core::cluster::Cluster;
use roomcast_core::node::{NodeSettings, key_number, rank_key};
use roomcast_core::post::{PeerKey, PostKey, PostSettings};
use roomcast_core::store::NodeId;
use roomcast_engine::redis::{
    self, Client, Level, RedisConfig, RedisStore, ScriptCommands, WebhookQueue,
};
use tokio::runtime::{self, Runtime};

use crate::clock::Clock;
use crate::config::{ClusterSettings, RedisSettings};
use crate::mailbox::{Mailbox, Mailboxes};

use alarm::Alarm;
use alike::Alike;
pub(crate) use departures::Departed;
use departures::Departures;
pub(crate) use desk::{Desk, FromShard};
use peers::Peers;
pub(crate) use status::{NodeReport, Status};
use told::Told;

/// The engine of one server. When it is dropped, its connections end.
#[derive(Debug)]
pub(crate) struct Engine {
    client: Client,
    commands: ScriptCommands,
    prefix: String,
    status: Arc<Status>,
    desk: Desk,
    departed: Departed,
    node: NodeId,
    runtime: Option<Runtime>,
}

impl Engine {
    /// Begins to connect, and to live among the others. `session_key` is what all of them have, and they should have the
    /// same `alike` ([`settings_text`](roomcast_core::node::settings_text)). If others have Redis, clients are sent to them
    /// after so many milliseconds without a lease (`cut_off_after`).
    ///
    /// # Errors
    /// The system gives no threads, or no random numbers, or `cluster.listen` can't be listened on.
    pub(crate) fn start(
        settings: &RedisSettings,
        (cluster, cut_off_after): (&ClusterSettings, u64),
        config: RedisConfig,
        (session_key, alike): (&[u8; 32], String),
        clock: Clock,
        mailboxes: &Arc<Mailboxes>,
    ) -> io::Result<Engine> {
        let random = || rand::rngs::SysRng.try_next_u64().map_err(io::Error::other);
        let listener = cluster.listens().map(TcpListener::bind).transpose();
        let listener = listener.map_err(|error| {
            let message = format!("cluster.listen = {:?}: {error}", cluster.listen);
            io::Error::new(error.kind(), message)
        })?;
        let address = match &listener {
            Some(listener) => cluster.address(listener.local_addr()?),
            None => String::new(),
        };
        let own = NodeSettings {
            address: address.into(),
            lease: settings.lease,
            interval: (settings.lease / 3).max(1),
            rank_key: Some(rank_key(session_key)),
            key: key_number(session_key),
            settings: alike.as_str().into(),
            ..NodeSettings::new(NodeId(random()?), mailboxes.count())
        };
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("roomcast-redis")
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let prefix = config.prefix.clone();
        let commands = ScriptCommands::new(&prefix);
        let client = Client::start(config.clone());
        let status = Arc::new(Status::new(clock.clone(), settings));
        let (desk, from_shards) = Desk::new();
        let (departures, departed) = Departures::new();
        let id = own.node;
        let peers = Peers::start(id, PeerKey::new(session_key), listener)?;
        let node = node::Node {
            cluster: Cluster::new(own, PostSettings::default(), PostKey::new(session_key)),
            subscription: client.subscribe(id),
            peers,
            client: client.clone(),
            commands: commands.clone(),
            clock,
            mailboxes: Arc::clone(mailboxes),
            from_shards,
            status: Arc::clone(&status),
            stores: Vec::new(),
            asked: vec![false; usize::from(mailboxes.count())],
            told_something: vec![false; usize::from(mailboxes.count())],
            told: Told::new(id),
            departures,
            alike: Alike::new(alike),
            alarm: Alarm::new()?,
            cut_off_after,
            flushed: Vec::new(),
            ends: Vec::new(),
        };
        runtime.spawn(node.run());
        runtime.spawn(look(client.clone(), config));
        drop(guard);
        Ok(Engine {
            client,
            commands,
            prefix,
            status,
            desk,
            departed,
            node: id,
            runtime: Some(runtime),
        })
    }

    /// The store of the shard that has this mailbox.
    pub(crate) fn store(&self, mailbox: &Arc<Mailbox>) -> RedisStore<ScriptCommands> {
        let mailbox = Arc::clone(mailbox);
        RedisStore::new(&self.client, self.commands.clone(), move || mailbox.ring())
    }

    /// What keeps the events of the webhook with this name.
    pub(crate) fn webhook_queue(&self, name: &str) -> WebhookQueue {
        let node = format!("{:016x}", self.node());
        WebhookQueue::new(&self.client, &self.prefix, name, &node)
    }

    /// Tells when a server is gone from a Redis.
    pub(crate) fn departed(&self) -> Departed {
        self.departed.clone()
    }

    /// What shards tell the node.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Waits until the other nodes have what was sent to them, but no longer than this.
    pub(crate) fn flush(&self, most: Duration) {
        let (flushed, has_flushed) = mpsc::channel();
        self.desk.tell(FromShard::Flush(flushed));
        // Without an answer there is nothing more to be done.
        let _ = has_flushed.recv_timeout(most);
    }

    /// The server has no rooms any more: its lease ends, so that others need not wait for that. Waits until Redis knows, but
    /// no longer than this.
    pub(crate) fn end(&self, most: Duration) {
        let (ended, has_ended) = mpsc::channel();
        self.desk.tell(FromShard::End(ended));
        // Without an answer there is nothing more to be done.
        let _ = has_ended.recv_timeout(most);
    }

    /// The number of this node among the others.
    pub(crate) fn node(&self) -> u64 {
        self.node.0
    }

    /// How the node is.
    pub(crate) fn status(&self) -> &Arc<Status> {
        &self.status
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A program that embeds the server may drop it within a runtime of its own, where nothing may wait.
            runtime.shutdown_background();
        }
    }
}

/// Says once what is wrong with the Redis that is reached: its version, rights, what it evicts. All masters are waited for.
async fn look(client: Client, config: RedisConfig) {
    let mut changes = client.changes();
    let reached = |client: &Client| {
        let masters = client.masters();
        !masters.is_empty() && masters.iter().all(|it| it.store.is_some())
    };
    while !reached(&client) {
        if changes.changed().await.is_err() {
            return;
        }
    }
    for finding in redis::check(&config).await.findings {
        match finding.level {
            Level::Info => tracing::debug!("Redis: {finding}"),
            Level::Warning => tracing::warn!("Redis: {finding}"),
            Level::Error => tracing::error!("Redis: {finding}"),
        }
    }
}
