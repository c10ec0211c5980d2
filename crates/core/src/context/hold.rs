//! What a room says while it is served is held back where it has to wait for a store.

use super::Context;
use crate::address::ShardAddress;
use crate::letter::ToEdge;

/// What a room says, and to which shard.
pub(crate) type Said = (ShardAddress, ToEdge);

/// What the room that is being served has said.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// Whether anything is held back at all.
    pub(super) on: bool,
    pub(super) said: Vec<Said>,
}

impl<H> Context<H> {
    /// From here on what is said to edges is held back.
    pub(crate) fn hold(&mut self) {
        self.holding.on = true;
    }

    /// Ends that. What was said goes out as before until [`Context::hold`]; here is what was held back.
    pub(crate) fn let_go(&mut self) -> std::vec::Drain<'_, Said> {
        self.holding.on = false;
        self.holding.said.drain(..)
    }
}
