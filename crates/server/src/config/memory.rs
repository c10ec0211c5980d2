//! `[memory]`: what outlives a server without Redis.

use std::time::Duration;

/// `[memory]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// The file that rooms and sessions are written to and read from; empty: they end with the process.
    pub snapshot_path: String,
    /// How often it is written, beside at the end; 0: at the end alone.
    pub snapshot_interval: Duration,
}

impl Default for MemorySettings {
    fn default() -> MemorySettings {
        MemorySettings {
            snapshot_path: String::new(),
            snapshot_interval: Duration::from_secs(60),
        }
    }
}

impl MemorySettings {
    /// Whether there is a file.
    pub fn keeps(&self) -> bool {
        !self.snapshot_path.is_empty()
    }
}
