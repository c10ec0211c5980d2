//! The way out to other nodes: letters as bytes.

use std::collections::VecDeque;

use super::Context;
use crate::address::{NodeNumber, ShardAddress};
use crate::id::NameHash;
use crate::letter::{Letter, Op, OpKind, ToEdge};
use crate::time::Now;
use crate::wire::letter::{Sending, write};

/// Letters for a shard of another node, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForNode {
    /// That shard.
    pub to: ShardAddress,
    /// What its [`Shard::from_node`](crate::Shard::from_node) takes.
    pub bytes: Vec<u8>,
    /// Whether somebody may wait for them. Else they say only that there is room again, and may go with others.
    pub urgent: bool,
}

/// Bytes after which letters for a shard go on in another buffer.
const BUFFER: usize = 256 * 1024;

impl<H> Context<H> {
    /// Whether a node lives, as far as is known here. Nothing goes to one that doesn't, and nothing comes from it.
    pub(crate) fn lives(&self, node: NodeNumber) -> bool {
        node == NodeNumber::OWN || self.cluster.nodes().numbered(node).is_some()
    }

    /// The shard of a node on which a name with this hash is at home. All nodes have the same key for it.
    pub(crate) fn home_on(&self, node: NodeNumber, hash: u64) -> Option<ShardAddress> {
        if node == NodeNumber::OWN {
            return Some(self.home_of(hash));
        }
        let living = self.cluster.nodes().numbered(node)?;
        let shard = NameHash::home(hash, living.shards);
        Some(ShardAddress::new(node, shard))
    }

    pub(super) fn post_to_node(&mut self, to: ShardAddress, letter: Letter) {
        if !self.lives(to.node()) {
            return;
        }
        if !self.is_understood_at(to.node(), &letter) {
            return self.withhold(letter);
        }
        match letter {
            // Before an edge there is told, which asks that gateway at once.
            Letter::HomeGone { .. } => self.to_gateways.entry(to).or_default().push_back(letter),
            _ => self.to_nodes.entry(to).or_default().push_back(letter),
        }
    }

    /// Letters for a shard of another node, in their order: what this turn has made for it, or the first part of that.
    pub(crate) fn next_for_node(&mut self, now: Now) -> Option<ForNode> {
        let first = !self.to_gateways.is_empty();
        let (to, mut letters) = self.queue(first).pop_first()?;
        let (mut bytes, mut urgent) = (Vec::new(), false);
        while bytes.len() < BUFFER
            && let Some(letter) = letters.pop_front()
        {
            let sending = Sending {
                to,
                now: now.micros,
                version: self.version_for(to.node(), &letter),
            };
            write(sending, &letter, &mut bytes);
            urgent |= !matches!(letter, Letter::Credit(_));
            self.recycle_letter(letter);
        }
        if !letters.is_empty() {
            self.queue(first).insert(to, letters);
        }
        Some(ForNode { to, bytes, urgent })
    }

    fn queue(&mut self, first: bool) -> &mut ToNodes {
        match first {
            true => &mut self.to_gateways,
            false => &mut self.to_nodes,
        }
    }

    /// What was written is not needed any more.
    pub(super) fn recycle_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Op(Op {
                head,
                request: OpKind::Publish(publish),
            }) => self.recycle_for(head.conn.shard, publish.bytes),
            Letter::Edge(ToEdge::Deliver(delivery)) => {
                let chunks = delivery.events.into_iter().chain(delivery.state);
                for chunk in chunks.flatten() {
                    self.pool.give_back(chunk);
                }
                self.spare_exclusions.give_back(delivery.exclusions);
            }
            _ => {}
        }
    }

    /// Nothing more goes to a node: the link to it is lost. What was on its way there is gone.
    pub(crate) fn forget_node(&mut self, node: NodeNumber) {
        let of_it = |to: &ShardAddress| to.node() == node;
        self.ending.remove(&node);
        self.to_nodes.retain(|to, _| !of_it(to));
        self.to_gateways.retain(|to, _| !of_it(to));
        self.in_transit_to_nodes.retain(|to, _| !of_it(to));
        if self.lives(node) {
            self.cluster
                .change(|view| view.living.retain(|it| it.number != node));
        }
    }
}

pub(super) type ToNodes = std::collections::BTreeMap<ShardAddress, VecDeque<Letter>>;
