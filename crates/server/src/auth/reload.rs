//! Looks at the files of keys now and then, and takes their keys when one has changed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::Authority;

/// A timer takes no shorter one.
const SHORTEST: Duration = Duration::from_millis(1);

/// What tells one version of a file from another. A file that was put in another's place has another number, also when
/// time and size are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    number: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let number = 0;
        Some(Stamp {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            number,
        })
    }
}

/// Runs for as long as its runtime. Files are read on a thread of their own: one in a network may take its time.
pub(crate) async fn watch(authority: Arc<Authority>) {
    if authority.files().next().is_none() {
        return;
    }
    let mut ticks = interval(authority.settings.reload_interval.max(SHORTEST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    loop {
        ticks.tick().await;
        let authority = Arc::clone(&authority);
        match spawn_blocking(move || seen.look(&authority)).await {
            Ok(next) => seen = next,
            // It can only have panicked, and then has said so.
            Err(_) => return,
        }
    }
}

/// What the files were when their keys were tried last.
#[derive(Default)]
struct Seen {
    /// Nothing before the first look: the files may have changed since the keys were loaded.
    stamps: Option<Vec<Option<Stamp>>>,
}

impl Seen {
    /// Takes the keys if a file is another than before.
    fn look(self, authority: &Authority) -> Seen {
        let stamps = || -> Vec<Option<Stamp>> { authority.files().map(Stamp::of).collect() };
        let before = stamps();
        if self.stamps.as_ref() == Some(&before) {
            return self;
        }
        match authority.reload() {
            Ok(_) if self.stamps.is_none() => {}
            Ok(keys) => tracing::info!(keys, "the keys for tokens were read anew"),
            Err(error) => tracing::warn!("the keys for tokens stay as they are: {error}"),
        }
        // What changed while it was read is read again at the next look.
        let still = stamps() == before;
        Seen {
            stamps: Some(if still { before } else { Vec::new() }),
        }
    }
}
