//! News of what is in an inbox may be lost: with the link to the node that it comes from, or with that node. The message is
//! in the inbox all the same, and its sender was told so. So where a node is lost, those who are here look into their
//! inboxes, a few at a time. And what is for a node that is not known yet waits until it is, as all does while this node has
//! no lease: others may have given the link up, and looked before the message came.

use std::collections::VecDeque;

use roomcast_protocol::mutated;

use crate::context::Context;
use crate::edge::Edge;
use crate::host::Host;
use crate::id::ClientId;
use crate::letter::News;
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

#[derive(Debug, Default)]
pub(super) struct LostNews {
    /// When inboxes are looked into next, and behind whose.
    next: Option<(u64, Option<ClientId>)>,
    /// For which node, how many views it has waited for, what.
    waiting: VecDeque<(NodeId, u32, News)>,
    bytes: usize,
    /// Other nodes may be known than before.
    pub(super) met: bool,
}

impl LostNews {
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.next.map(|(at, _)| at)
    }
}

impl<S: Store> Edge<S> {
    /// The link to a node is lost, and with it what it was about to say.
    pub(super) fn miss_news(&mut self, now: Now) {
        if S::WAITS && !mutated!("lost_news_is_not_missed") {
            self.keeper.news.next = Some((now.micros, None));
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
            if let Some(id) = self.live(hash, client).filter(|_| is_there) {
                self.look_into_inbox(ctx, client, id);
            }
        }
    }

    /// The node is not known here that has a session: it may be new. Or nothing can be told now.
    pub(super) fn keep_news(&mut self, node: NodeId, views: u32, news: News) {
        let kept = &mut self.keeper.news;
        kept.bytes += news.body.size();
        kept.waiting.push_back((node, views, news));
        while kept.bytes > MOST
            && let Some((_, _, oldest)) = kept.waiting.pop_front()
        {
            kept.bytes -= oldest.body.size();
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
            }
        }
    }
}
