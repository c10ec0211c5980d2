//! The way of one node to Redis: all of its shards, and its node agent, share it.

use std::sync::Arc;
use std::time::Instant;

use roomcast_core::store::{Cause, Slot, StoreError, StoreId};
use tokio::sync::watch;

use super::command::Command;
use super::config::RedisConfig;
use super::failure::Failure;
use super::job::{Job, Reply, What, lock};
use super::resp::Value;
use super::slot::slot_of;
use super::topology::{Entry, Ranges, Table, Topology};

/// Connections to all masters. Clones share them. They end with the last clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Arc<RedisConfig>,
    topology: Arc<Topology>,
    began: Instant,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.topology.close();
    }
}

/// A master, as it is now.
#[derive(Clone, Debug)]
pub struct Master {
    /// Which store it is; `None`: there is no connection to it.
    pub store: Option<StoreId>,
    /// Why there is none.
    pub failure: Option<Failure>,
    /// Brings names to this master: between braces in a key or channel.
    pub tag: Arc<str>,
    /// The slot of the tag.
    pub anchor: Slot,
    /// First and last slots of what it has.
    pub ranges: Vec<(Slot, Slot)>,
}

impl Client {
    /// Begins to connect. Within a tokio runtime, on which the connections live.
    pub fn start(config: RedisConfig) -> Self {
        let config = Arc::new(config);
        let topology = Topology::start(&config);
        Self {
            inner: Arc::new(Inner {
                config,
                topology,
                began: Instant::now(),
            }),
        }
    }

    /// All masters, by their lowest slot. At first, and while the nodes of a Cluster can't be reached, there may be none.
    pub fn masters(&self) -> Vec<Master> {
        let slots = |ranges: &Ranges| {
            let ranges = ranges.iter();
            ranges
                .map(|(first, last)| (Slot(*first), Slot(*last)))
                .collect()
        };
        let master = |entry: &Entry| Master {
            store: entry.shared.store(),
            failure: lock(&entry.shared.failure).clone(),
            tag: Arc::clone(&entry.tag),
            anchor: Slot(entry.anchor),
            ranges: slots(&entry.ranges),
        };
        self.table().masters.iter().map(master).collect()
    }

    /// Changes whenever [`Client::masters`] or the store of one of them does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.topology.seen.subscribe()
    }

    /// The store that has a key; `None`: there is no connection to it.
    pub fn store_of(&self, key: &[u8]) -> Option<StoreId> {
        self.table().master_of(slot_of(key))?.shared.store()
    }

    /// Runs a command, and says at which store.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn run(&self, command: Command) -> Result<(StoreId, Value), StoreError> {
        let (reply, answer) = Reply::to_task();
        let bytes = command.bytes() + 1;
        let deadline = Instant::now() + self.config().response_timeout;
        let table = self.table();
        let entry = command
            .keys
            .first()
            .and_then(|key| table.master_of(slot_of(key)));
        let entry = entry.ok_or(StoreError::Again(Cause::Busy))?;
        let job = Job {
            what: What::Run(command),
            deadline,
            reply,
            repeated: false,
            bytes,
        };
        entry.shared.queue.put(vec![job]);
        drop(table);
        answer
            .await
            .unwrap_or(Err(StoreError::Again(Cause::Connection)))
    }

    /// Reads the password again, and logs in with it on the connections that there are: it has changed.
    pub fn log_in_again(&self) {
        for entry in &self.table().masters {
            entry.shared.queue.log_in();
        }
    }

    /// How long it has been there, in whole seconds.
    pub(crate) fn seconds(&self) -> u64 {
        self.inner.began.elapsed().as_secs()
    }

    pub(crate) fn topology(&self) -> &Arc<Topology> {
        &self.inner.topology
    }

    pub(crate) fn shared_config(&self) -> Arc<RedisConfig> {
        Arc::clone(&self.inner.config)
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.inner.config
    }

    pub(crate) fn table(&self) -> Arc<Table> {
        self.inner.topology.table()
    }
}
