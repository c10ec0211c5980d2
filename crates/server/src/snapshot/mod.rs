//! With `memory.snapshot_path`: rooms and sessions outlive the process, in a file.
//!
//! The shards have a store then, in the memory of this process. So a room, a session or an inbox that was in the file goes
//! on as one that Redis has kept does. A thread of its own writes what the store has, slice by slice.

mod lock;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::TryRng as _;
use roomcast_core::node::{ClusterView, Own};
use roomcast_core::store::{HomeName, NodeId, StoreId};
use roomcast_engine::kept::{self, Head, KeptStore, ShardStore};

use crate::clock::Clock;
use crate::config::Config;
use crate::error::ServerError;
use lock::Lock;

/// How often what has ended is dropped.
const SWEEP: Duration = Duration::from_secs(5);

/// The store of a node alone, and its file.
#[derive(Debug)]
pub(crate) struct Snapshots {
    file: Arc<SnapshotFile>,
    session_key: Option<[u8; 32]>,
    node: NodeId,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What was written, for `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct SnapshotStats {
    /// Files that were written.
    pub(crate) written: AtomicU64,
    /// Times that it did not succeed.
    pub(crate) failed: AtomicU64,
    /// Bytes of the last one.
    pub(crate) bytes: AtomicU64,
    /// When the last one was begun, milliseconds since the Unix epoch; 0: none was written yet.
    pub(crate) begun_at: AtomicI64,
    /// Bytes that the store holds.
    held: AtomicU64,
}

impl SnapshotStats {
    /// Bytes that the store held a few seconds ago.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct SnapshotFile {
    path: PathBuf,
    store: Arc<KeptStore>,
    clock: Clock,
    session_key: Option<[u8; 32]>,
    stats: Arc<SnapshotStats>,
    /// While one is written, no other one is.
    writing: Mutex<()>,
    /// No other server writes it.
    _lock: Lock,
}

impl Snapshots {
    /// Reads the file, if the settings name one.
    ///
    /// # Errors
    /// It can't be used, or another server uses it.
    pub(crate) fn open(config: &Config, clock: &Clock) -> Result<Option<Snapshots>, ServerError> {
        let settings = &config.memory;
        if !settings.keeps() {
            return Ok(None);
        }
        let path = PathBuf::from(&settings.snapshot_path);
        let wrong = |why: String| ServerError::Snapshot(format!("memory.snapshot_path = {why}"));
        let lock = Lock::take(&path).map_err(wrong)?;
        let (node, low, high) = (random()?, random()?, random()?);
        let store = StoreId(u128::from(high) << 64 | u128::from(low));
        let most = bound(config);
        let store = KeptStore::new(store, most);
        let head = kept::read(&path, &store).map_err(|error| wrong(error.to_string()))?;
        match &head {
            Some(head) => {
                let (rooms, sessions) = store.len();
                let now_ms = u64::try_from(clock.now().unix_ms).unwrap_or(0);
                let age_ms = now_ms.saturating_sub(head.made_at);
                tracing::info!(rooms, sessions, age_ms, "read {}", path.display());
            }
            None => tracing::info!("{} is not there yet: beginning without", path.display()),
        }
        // A secret in the settings counts. A key of one's own is that of the sessions in the file.
        let session_key = match config.session_secret.expose() {
            "" => {
                let known = head.and_then(|head| head.session_key);
                Some(known.map_or_else(random_key, Ok)?)
            }
            _ => None,
        };
        let file = Arc::new(SnapshotFile {
            path,
            store: Arc::new(store),
            clock: clock.clone(),
            session_key,
            stats: Arc::default(),
            writing: Mutex::new(()),
            _lock: lock,
        });
        // What can't be written is known now, and not when the server ends.
        file.write().map_err(wrong)?;
        let (stop, stopped) = mpsc::channel();
        let (writer, interval) = (Arc::clone(&file), settings.snapshot_interval);
        let thread = std::thread::Builder::new()
            .name("roomcast-snapshot".to_owned())
            .spawn(move || writer.run(interval, &stopped))?;
        Ok(Some(Snapshots {
            file,
            session_key,
            node: NodeId(node),
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    /// The key of resume tokens, where the settings have no secret.
    pub(crate) fn session_key(&self) -> Option<[u8; 32]> {
        self.session_key
    }

    /// The store of a shard.
    pub(crate) fn store(&self) -> ShardStore {
        self.file.store.shard()
    }

    /// The cluster of a node alone: it may act for ever, and there is nobody else.
    pub(crate) fn view(&self) -> ClusterView {
        ClusterView {
            own: Some(Own {
                home: HomeName {
                    node: self.node,
                    lease: 1,
                },
                links: 0,
                until: u64::MAX,
            }),
            store: self.file.store.store(),
            settled: true,
            asked_at: self.file.clock.micros(),
            ..ClusterView::default()
        }
    }

    pub(crate) fn stats(&self) -> &Arc<SnapshotStats> {
        &self.file.stats
    }

    /// Writes it for the last time. The shards have ended, or are cut.
    pub(crate) fn finish(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It writes no more when it has ended.
            let _ = thread.join();
        }
        match self.file.write() {
            Ok(()) => tracing::info!("wrote {}", self.file.path.display()),
            Err(error) => tracing::error!("memory.snapshot_path = {error}"),
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        // A server that is dropped ends at once, as one that is killed.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl SnapshotFile {
    /// Writes it at each interval, until it is told to stop.
    fn run(&self, interval: Duration, stopped: &mpsc::Receiver<()>) {
        let mut next = Instant::now() + interval;
        loop {
            let wait = match interval.is_zero() {
                true => SWEEP,
                false => next.saturating_duration_since(Instant::now()).min(SWEEP),
            };
            match stopped.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            self.store.sweep(self.now_ms());
            let held = self.store.held() as u64;
            self.stats.held.store(held, Ordering::Relaxed);
            if !interval.is_zero() && Instant::now() >= next {
                if let Err(error) = self.write() {
                    tracing::error!("memory.snapshot_path = {error}");
                }
                next = Instant::now() + interval;
            }
        }
    }

    fn write(&self) -> Result<(), String> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let begun_at = self.now_ms();
        let head = Head {
            made_at: begun_at,
            session_key: self.session_key,
        };
        match kept::write(&self.path, &self.store, &head, || self.now_ms()) {
            Ok(written) => {
                self.stats.written.fetch_add(1, Ordering::Relaxed);
                self.stats.bytes.store(written.bytes, Ordering::Relaxed);
                self.stats
                    .begun_at
                    .store(begun_at as i64, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.stats.failed.fetch_add(1, Ordering::Relaxed);
                Err(error.to_string())
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now().unix_ms).unwrap_or(0)
    }
}

/// Bytes that the store may hold: logs of open rooms, as many of rooms that nobody is in, and inboxes.
fn bound(config: &Config) -> usize {
    let core = &config.core;
    match (core.log_memory, core.inbox_memory) {
        (0, _) | (_, 0) => 0,
        (logs, inboxes) => logs.saturating_mul(2).saturating_add(inboxes),
    }
}

fn random() -> Result<u64, ServerError> {
    let random = rand::rngs::SysRng.try_next_u64();
    Ok(random.map_err(std::io::Error::other)?)
}

fn random_key() -> Result<[u8; 32], ServerError> {
    let mut key = [0; 32];
    rand::rngs::SysRng
        .try_fill_bytes(&mut key)
        .map_err(std::io::Error::other)?;
    Ok(key)
}
