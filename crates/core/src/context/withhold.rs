//! What a node of an older version in the cluster would not understand: it is not said, and whoever asked is told so.

use super::Context;
use crate::address::NodeNumber;
use crate::letter::{Letter, Op, ToEdge};
use crate::wire::letter::{needs, needs_of_op};
use crate::wire::version::{VERSION, Version};

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

    /// Whether a node may be sent a letter.
    pub(super) fn is_understood_at(&self, node: NodeNumber, letter: &Letter) -> bool {
        needs(letter) <= self.version_for(node, letter)
    }

    /// The version that a letter is written in. What answers a node's own question is for that node alone, which knows
    /// what it has asked: here a node that has ended may be believed to live still. What else is said is of rooms and
    /// sessions, which an older node may have next.
    pub(super) fn version_for(&self, node: NodeNumber, letter: &Letter) -> Version {
        let answers = matches!(
            letter,
            Letter::Edge(ToEdge::Backend { .. }) | Letter::Found(_)
        );
        let addressee = self.cluster.nodes().numbered(node);
        match addressee.filter(|_| answers) {
            Some(node) => Version(node.version.min(VERSION)),
            None => self.version(),
        }
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
