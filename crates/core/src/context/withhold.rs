//! What a node of an older version in the cluster would not understand: it is not said, and whoever asked is told so.

use super::Context;
use crate::letter::{Letter, Op};
use crate::wire::letter::{needs, needs_of_op};
use crate::wire::version::Version;

impl<H> Context<H> {
    /// The oldest version among the living nodes, this one among them.
    pub(crate) fn version(&self) -> Version {
        Version(self.cluster.nodes().version)
    }

    /// Whether an operation is one that a living node is too old for. It is not done here either: its room may have its
    /// next home there, which has to understand what is in the room's record.
    pub(super) fn is_too_new(&self, op: &Op) -> bool {
        needs_of_op(&op.request) > self.version()
    }

    /// Whether no living node is too old for a letter.
    pub(super) fn is_understood(&self, letter: &Letter) -> bool {
        needs(letter) <= self.version()
    }

    /// A letter that is not understood everywhere. An operation is refused in this turn, by what
    /// [`Context::take_withheld`] gives. Nobody waits for any other one.
    pub(super) fn withhold(&mut self, letter: Letter) {
        self.stats.withheld += 1;
        match letter {
            Letter::Op(op) => self.withheld.push(op),
            letter => self.recycle_letter(letter),
        }
    }

    /// Operations that are to be refused.
    pub(crate) fn take_withheld(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.withheld)
    }

    pub(crate) fn has_withheld(&self) -> bool {
        !self.withheld.is_empty()
    }
}
