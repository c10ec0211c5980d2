//! One master: the task that keeps a connection to it, and answers all that is asked of it.

use std::sync::Arc;

use roomcast_core::store::{Cause, StoreError, StoreId};
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::config::RedisConfig;
use super::connection::Connection;
use super::failure::{Failure, Told};
use super::identity::Info;
use super::job::{Queue, lock};
use super::pipe::{End, Pipe};
use super::resp::Value;
use super::sentinel::Sentinels;
use super::url::Endpoint;

/// What others know of a master.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    /// Where it is, and which store, while there is a connection.
    pub(crate) place: watch::Sender<Option<Place>>,
    /// Why there is none: the last failure.
    pub(crate) failure: std::sync::Mutex<Option<Failure>>,
    /// Where the master is by what a Sentinel has said last. A connection that goes elsewhere is given up.
    pub(crate) named: watch::Sender<Option<Endpoint>>,
    /// Counts what changes at any master.
    seen: Arc<watch::Sender<u64>>,
}

/// Where a connection goes, and who answers there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) endpoint: Endpoint,
    pub(crate) store: StoreId,
}

impl Shared {
    pub(crate) fn new(config: &RedisConfig, seen: &Arc<watch::Sender<u64>>) -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::new(config.queue_bytes),
            place: watch::Sender::new(None),
            failure: std::sync::Mutex::default(),
            named: watch::Sender::new(None),
            seen: Arc::clone(seen),
        })
    }

    pub(crate) fn set_place(&self, place: Option<Place>) {
        self.place.send_replace(place);
        self.seen.send_modify(|count| *count += 1);
    }

    pub(crate) fn store(&self) -> Option<StoreId> {
        self.place.borrow().as_ref().map(|place| place.store)
    }
}

/// How a master is found.
#[derive(Debug)]
pub(crate) enum Source {
    Fixed(Endpoint),
    Sentinel(Sentinels),
}

/// What tells the topology that something may have changed there.
pub(crate) type Trouble = Arc<Notify>;

/// Keeps a connection to a master until its queue is closed.
pub(crate) async fn keep(
    shared: Arc<Shared>,
    config: Arc<RedisConfig>,
    mut source: Source,
    trouble: Trouble,
) {
    let mut backoff = Backoff::new();
    let mut told = Told::default();
    loop {
        let connected = tokio::select! {
            connected = connect(&mut source, &config, &shared) => connected,
            () = shared.queue.closed() => return,
        };
        let failure = match connected {
            Ok((connection, place)) => {
                info!(redis = %place.endpoint, store = %format_args!("{:032x}", place.store.0), "connected to Redis");
                told.clear();
                *lock(&shared.failure) = None;
                shared.set_place(Some(place.clone()));
                let mut pipe = Pipe::new(connection, &config, &shared, place, &trouble);
                let end = pipe.serve().await;
                if pipe.has_answered() {
                    backoff.reset();
                }
                drop(pipe);
                shared.set_place(None);
                match end {
                    End::Closed => return,
                    End::Lost(failure) => failure,
                }
            }
            Err(failure) => failure,
        };
        // Whoever waits behind what was lost asks again as well: so the order stays with whoever asks.
        shared.queue.fail(&failure.error);
        if told.is_new(&failure) {
            warn!("Redis: {failure}");
        }
        *lock(&shared.failure) = Some(failure);
        trouble.notify_one();
        tokio::select! {
            () = sleep(backoff.next()) => {}
            () = shared.queue.closed() => return,
        }
    }
}

async fn connect(
    source: &mut Source,
    config: &RedisConfig,
    shared: &Shared,
) -> Result<(Connection, Place), Failure> {
    let endpoint = match source {
        Source::Fixed(endpoint) => endpoint.clone(),
        Source::Sentinel(sentinels) => {
            let found = sentinels.find_master(config).await?;
            shared.named.send_replace(Some(found.clone()));
            found
        }
    };
    let mut connection =
        Connection::open(&endpoint, config, &config.login, config.database).await?;
    let store = identify(&mut connection).await.map_err(|failure| Failure {
        said: format!("{endpoint}: {failure}").into(),
        ..failure
    })?;
    Ok((connection, Place { endpoint, store }))
}

/// Asks a new connection which Redis it is, and whether it takes writes.
async fn identify(connection: &mut Connection) -> Result<StoreId, Failure> {
    let value = connection.call(&["INFO"]).await?;
    store_in(&value)
}

/// The same, of an answer to INFO.
pub(crate) fn store_in(value: &Value) -> Result<StoreId, Failure> {
    let text = match value {
        Value::Error(text) => return Err(Failure::said(text).0),
        value => value
            .as_bytes()
            .map(String::from_utf8_lossy)
            .unwrap_or_default(),
    };
    let info = Info::read(&text);
    if info.role.is_some() && !info.is_master() {
        return Err(Failure::again(
            Cause::Busy,
            "it is a replica, and takes no writes",
        ));
    }
    if info.loading {
        return Err(Failure::again(Cause::Busy, "it is loading its data"));
    }
    info.store().ok_or_else(|| Failure {
        error: StoreError::Never(Cause::Protocol),
        said: "INFO shows no run_id or no master_replid: a proxy hides which Redis answers, and a failover would not be \
               noticed; connect to Redis itself"
            .into(),
    })
}
