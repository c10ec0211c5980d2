//! News of what is in an inbox may be lost: with the link to the node that it comes from, or with that node. The message is
//! in the inbox all the same, and its sender was told so. So where a node is lost, those who are here look into their
//! inboxes, a few at a time.
//!
//! The two ends of a link do not lose it at the same moment, and one that has looked may not have been told of what came
//! after that. So who loses a link over which it has told news says so over the next one, behind all that is lost. And
//! what is for a node that is not known yet waits until it is, as all does while this node has no lease.
//!
//! That a session was taken is news too, for the node that had it. Where that may be lost, the node looks at the records of
//! the sessions that it has: its client would stay with a session that is another node's.

use std::collections::{BTreeMap, VecDeque};

use roomcast_protocol::mutated;

use crate::address::{NodeNumber, ShardAddress};
use crate::context::Context;
use crate::edge::Edge;
use crate::host::Host;
use crate::id::ClientId;
use crate::letter::{Letter, News, SessionTaken};
use crate::store::{KeyOf, NodeId, Store};
use crate::time::Now;

/// So many inboxes are looked into at once, and then none for so many microseconds: a node that is lost is lost for all
/// others, and they share one store.
const AT_ONCE: usize = 8;
const PAUSE: u64 = 50_000;
/// Bytes of news that waits, and how many views of the cluster it waits for its node: all others hear of a node with their
/// next beat.
const MOST: usize = 1024 * 1024;
const VIEWS: u32 = 8;
/// Nodes that are to be told that news to them may be lost. Those beyond are gone for ever, most likely.
const MOST_OWED: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct LostNews {
    /// When inboxes are looked into next, and behind whose.
    next: Option<(u64, Option<ClientId>)>,
    /// For which node, how many views it has waited for, what.
    waiting: VecDeque<(NodeId, u32, News)>,
    bytes: usize,
    /// Other nodes may be known than before.
    pub(super) met: bool,
    /// Links over which news was told, each with its node.
    pub(super) told: BTreeMap<NodeNumber, NodeId>,
    /// Nodes to which news may be lost, and that do not know it.
    owed: VecDeque<NodeId>,
}

impl LostNews {
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.next.map(|(at, _)| at)
    }

    /// News to a node may be lost: it is told so, once it can be.
    fn owe(&mut self, node: NodeId) {
        if self.owed.contains(&node) {
            return;
        }
        self.owed.push_back(node);
        if self.owed.len() > MOST_OWED {
            self.owed.pop_front();
        }
    }
}

impl<S: Store> Edge<S> {
    /// The link to a node is lost, and with it what it was about to say. Or a node says that it had said something.
    pub(crate) fn miss_news(&mut self, now: Now) {
        if S::WAITS && !mutated!("lost_news_is_not_missed") {
            self.keeper.news.next = Some((now.micros, None));
            self.keeper.doubt_takes();
        }
    }

    /// The link to a node is lost, and with it what it was not told yet.
    pub(super) fn owe_look(&mut self, node: NodeNumber) {
        let news = &mut self.keeper.news;
        if let Some(node) = news.told.remove(&node) {
            news.owe(node);
        }
    }

    /// Looks into the next inboxes, if the time for it has come.
    pub(super) fn look_into_inboxes<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        let due = self.keeper.news.next.filter(|(at, _)| *at <= now.micros);
        let Some((_, behind)) = due else { return };
        let clients = self.keeper.copies_behind(behind, AT_ONCE);
        let last = clients.last().filter(|_| clients.len() == AT_ONCE);
        let next = last.map(|last| (now.micros.saturating_add(PAUSE), Some(*last)));
        self.keeper.news.next = next;
        for client in clients {
            let store = ctx.cluster.of(KeyOf::Session(&client)).store;
            // What is not written there yet has nothing there.
            let is_there = self.keeper.copy(client).and_then(|it| it.known) == Some(store);
            let hash = ctx.names.hash(client.as_str());
            match self.live(hash, client) {
                Some(id) if is_there => {
                    self.look_into_inbox(ctx, client, id);
                    self.look_at_owner(ctx, client);
                }
                Some(_) => self.doubt_inbox(client),
                None => {}
            }
        }
    }

    /// A session was taken from a node, which is to forget it.
    pub(super) fn tell_taken<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        from: NodeId,
        taken: SessionTaken,
    ) {
        match self.shard_at(ctx, from, taken.client) {
            Some(home) if home == ctx.own => {}
            Some(home) => {
                if !home.is_own() {
                    self.keeper.news.told.insert(home.node(), from);
                }
                ctx.post(home, Letter::SessionTaken(taken));
            }
            // It may be new, and live.
            None => self.keeper.news.owe(from),
        }
    }

    /// The node is not known here that has a session: it may be new. Or nothing can be told now.
    pub(super) fn keep_news(&mut self, node: NodeId, views: u32, news: News) {
        let kept = &mut self.keeper.news;
        kept.bytes += news.body.size();
        kept.waiting.push_back((node, views, news));
        while kept.bytes > MOST
            && let Some((node, _, oldest)) = kept.waiting.pop_front()
        {
            kept.bytes -= oldest.body.size();
            kept.owe(node);
        }
    }

    /// Tells nodes that are known by now.
    pub(super) fn tell_late_news<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        if !std::mem::take(&mut self.keeper.news.met) {
            return;
        }
        self.keeper.news.bytes = 0;
        for (node, views, news) in std::mem::take(&mut self.keeper.news.waiting) {
            let acts = ctx.cluster.of(KeyOf::Session(&news.client));
            let acts = acts.acts(now.micros).is_some();
            if acts && self.shard_at(ctx, node, news.client).is_some() {
                self.tell_node(ctx, now, node, news);
            } else if views < VIEWS {
                self.keep_news(node, views + u32::from(acts), news);
            } else {
                self.keeper.news.owe(node);
            }
        }
        self.tell_of_lost_news(ctx, now);
    }

    /// Tells nodes that are known by now that they were not told all.
    fn tell_of_lost_news<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        let owed = &mut self.keeper.news.owed;
        if owed.is_empty() || ctx.cluster.nodes().acts(now.micros).is_none() {
            return;
        }
        let nodes = ctx.cluster.nodes();
        let known = owed.iter().filter_map(|node| nodes.node(*node));
        let known: Vec<_> = known
            .map(|it| (it.home.node, it.number, it.shards))
            .collect();
        for (node, number, shards) in known {
            owed.retain(|it| *it != node);
            // Where a new letter is lost with its link, that is a loss like any other.
            self.keeper.news.told.insert(number, node);
            for shard in 0..shards {
                ctx.post(ShardAddress::new(number, shard), Letter::NewsLost);
            }
        }
    }
}
