//! How much a node sends, over all its links, and so how long each of them gathers.
//!
//! Each datagram costs its sender, its channel and its receiver about the same, however much is in it. Where there is
//! little to send, that is cheap, and waiting would only take time. Where there is much, few datagrams leave more for the
//! rest of the work.

use super::settings::PostSettings;

/// Microseconds for which letters count: what is older fades.
const LATELY: u64 = 25_000;
/// Parts of a letter that are counted.
const PARTS: u64 = 1_024;

#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Parts of letters that were sent lately.
    lately: u64,
    at: u64,
}

impl Traffic {
    /// So many letters, or pieces of them, go out.
    pub(super) fn add(&mut self, now: u64, letters: u64) {
        let since = now.saturating_sub(self.at);
        let left = u128::from(self.lately) * u128::from(LATELY) / u128::from(LATELY + since);
        self.lately = left as u64 + letters * PARTS;
        self.at = now;
    }

    /// Microseconds from the datagram that goes out now to the next one to the same node.
    pub(super) fn gather(&self, settings: &PostSettings) -> u64 {
        let busy = u128::from(settings.busy.max(1)) * u128::from(LATELY * PARTS) / 1_000_000;
        let lately = u128::from(self.lately).min(busy);
        (u128::from(settings.gather) * lately * lately / (busy * busy).max(1)) as u64
    }
}
