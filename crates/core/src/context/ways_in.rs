//! The way in from other nodes.

use super::Context;
use crate::address::NodeNumber;
use crate::time::Now;
use crate::wire::letter::Receiving;

impl<H> Context<H> {
    /// What letters from a node are read with.
    pub(crate) fn receiving(&mut self, now: Now, from: NodeNumber) -> Receiving<'_> {
        Receiving {
            from,
            own: self.own,
            now: now.micros,
            names: &self.names,
            pool: &mut self.pool,
            buffers: &mut self.spare_payloads,
        }
    }
}
