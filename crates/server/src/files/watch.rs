//! Looks at files now and then, and takes what is in them anew when one has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// A timer takes no shorter one.
const SHORTEST: Duration = Duration::from_millis(1);

/// What is made from files, and made anew when they change.
pub(crate) trait FromFiles: Send + Sync + 'static {
    /// What the log calls it, in the plural.
    const WHAT: &'static str;

    /// The files. None: there is nothing to look at.
    fn files(&self) -> Vec<PathBuf>;

    /// How often they are looked at.
    fn interval(&self) -> Duration;

    /// Reads them again, and takes what is in them in the place of what was.
    ///
    /// # Errors
    /// A sentence. What was stays.
    fn reload(&self) -> Result<(), String>;
}

/// Runs for as long as its runtime, which has to be entered. Files are read on a thread of their own: one in a network may
/// take its time. `hangup`: on SIGHUP they are read at once, changed or not.
pub(crate) fn watch<T: FromFiles>(target: Arc<T>, hangup: bool) -> impl Future<Output = ()> + Send {
    // Taken from here on, also where there is nothing to read: a reload ends no process.
    let hangups = Hangups::new(hangup);
    async move {
        if !target.files().is_empty() {
            look_again(target, hangups).await;
        }
    }
}

async fn look_again<T: FromFiles>(target: Arc<T>, mut hangups: Hangups) {
    let mut ticks = interval(target.interval().max(SHORTEST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::default();
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            () = hangups.next() => true,
        };
        let target = Arc::clone(&target);
        match spawn_blocking(move || seen.look(&*target, asked)).await {
            Ok(next) => seen = next,
            // It can only have panicked, and then has said so.
            Err(_) => return,
        }
    }
}

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

/// What the files were when they were read last.
#[derive(Default)]
struct Seen {
    /// Nothing before the first look: the files may have changed since they were read at start.
    stamps: Option<Vec<Option<Stamp>>>,
}

impl Seen {
    /// Reads the files if one is another than before, or if that was `asked` for.
    fn look<T: FromFiles>(self, target: &T, asked: bool) -> Seen {
        let files = target.files();
        let stamps = || -> Vec<Option<Stamp>> { files.iter().map(|it| Stamp::of(it)).collect() };
        let before = stamps();
        if !asked && self.stamps.as_ref() == Some(&before) {
            return self;
        }
        let what = T::WHAT;
        match target.reload() {
            Ok(()) if self.stamps.is_none() => {}
            Ok(()) => tracing::info!("{what} were read anew"),
            Err(error) => tracing::warn!("{what} stay as they are: {error}"),
        }
        // What changed while it was read is read again at the next look.
        let still = stamps() == before;
        Seen {
            stamps: Some(if still { before } else { Vec::new() }),
        }
    }
}

/// SIGHUP, where the process takes it for this.
struct Hangups {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    fn new(wanted: bool) -> Hangups {
        #[cfg(not(unix))]
        let _ = wanted;
        Hangups {
            #[cfg(unix)]
            signal: wanted
                .then(|| tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()))
                .and_then(|signal| {
                    let failed = |error| tracing::warn!("SIGHUP cannot be taken: {error}");
                    signal.map_err(failed).ok()
                }),
        }
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
