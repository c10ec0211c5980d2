//! A node that has lost its way to the store, while its clients still reach it.
//!
//! The others take its clients for gone, and have them leave when the grace is over. So these are asked to come back
//! elsewhere before that. Where the others have lost the store too, nobody is better off elsewhere: all stay where they are.

use crate::node::ClusterView;
use crate::time::Now;

#[derive(Debug, Default)]
pub(super) struct CutOff {
    /// There was a lease.
    has_lived: bool,
    /// Since when there is none, by this node's clock.
    since: Option<u64>,
    /// Clients were asked since then.
    asked: bool,
}

impl CutOff {
    /// Whether clients are to be asked now: there has been no lease for `after` microseconds, and another node has one. Once
    /// until there is a lease again.
    pub(super) fn look(
        &mut self,
        now: Now,
        view: &ClusterView,
        after: u64,
        another_lives: impl FnOnce() -> bool,
    ) -> bool {
        if view.acts(now.micros).is_some() {
            *self = CutOff {
                has_lived: true,
                ..CutOff::default()
            };
            return false;
        }
        if !self.has_lived || self.asked {
            return false;
        }
        let ended = view.own.map_or(now.micros, |own| own.until);
        let since = *self.since.get_or_insert(ended);
        let is_long = now.micros.saturating_sub(since) >= after;
        self.asked = is_long && another_lives();
        self.asked
    }
}
