//! What is asked of many shards: lists of rooms, and the sessions of a user.
//!
//! Rooms are asked of all shards, each for a page. A user's sessions are found by way of the user's home on each node, so
//! that a question costs as much as the user has sessions. Where a user is to be sent away, those sessions end first that
//! no node has: else one could come back to a node that was asked already.

use std::collections::{BTreeMap, BTreeSet};

use super::together;
use crate::address::{NodeNumber, ShardAddress};
use crate::backend::{Found, Query, Reply};
use crate::context::Context;
use crate::host::Host;
use crate::id::ClientId;
use crate::letter::Letter;

/// A question to many shards.
#[derive(Debug)]
pub(super) struct All {
    query: Query,
    step: Step,
    /// Shards that have not answered.
    waiting: BTreeSet<ShardAddress>,
    /// Whether a store has sessions that no node may have.
    has_store: bool,
    /// A node was lost meanwhile: what it had is nobody's now.
    again: bool,
    /// Sessions that are to be asked for, and where.
    to_ask: Vec<(ShardAddress, ClientId)>,
    found: Vec<Found>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Each shard is asked about what it has.
    Each,
    /// Sessions that no node has end.
    Orphans,
    /// Which sessions a user has on each node.
    Whose,
    /// What is asked of these.
    Sessions,
}

impl All {
    /// Begins to ask.
    pub(super) fn ask<H: Host>(
        ctx: &mut Context<H>,
        number: u32,
        query: Query,
        has_store: bool,
    ) -> All {
        let mut all = All {
            query,
            step: Step::Each,
            waiting: BTreeSet::new(),
            has_store,
            again: false,
            to_ask: Vec::new(),
            found: Vec::new(),
        };
        all.begin(ctx, number);
        all
    }

    fn begin<H: Host>(&mut self, ctx: &mut Context<H>, number: u32) {
        self.again = false;
        match &self.query {
            Query::Disconnect { user, .. } if self.has_store => {
                self.step = Step::Orphans;
                let query = Query::EndOrphans(user.clone());
                let home = ctx.home_of(ctx.names.hash(user));
                self.post(ctx, number, home, query);
            }
            Query::Disconnect { .. } | Query::Sessions { .. } => self.ask_whose(ctx, number),
            _ => {
                self.step = Step::Each;
                for shard in all_shards(ctx) {
                    self.post(ctx, number, shard, self.query.clone());
                }
            }
        }
    }

    fn ask_whose<H: Host>(&mut self, ctx: &mut Context<H>, number: u32) {
        let user = match &self.query {
            Query::Disconnect { user, .. } | Query::Sessions { user, .. } => user.clone(),
            _ => return,
        };
        self.step = Step::Whose;
        let hash = ctx.names.hash(&user);
        for home in homes(ctx, hash) {
            self.post(ctx, number, home, Query::Whose(user.clone()));
        }
    }

    fn post<H: Host>(&mut self, ctx: &mut Context<H>, number: u32, to: ShardAddress, query: Query) {
        self.waiting.insert(to);
        ctx.post(to, Letter::Query(Box::new((number, query))));
    }

    /// A shard has answered. The reply, once all have.
    pub(super) fn hear<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        number: u32,
        from: ShardAddress,
        found: Found,
    ) -> Option<Reply> {
        if !self.waiting.remove(&from) {
            return None;
        }
        match found {
            Found::Whose(clients) => self.found_whose(ctx, from, clients),
            found => self.found.push(found),
        }
        self.go_on(ctx, number)
    }

    /// The sessions that a user's home on a node knows; they are asked for once all have answered.
    fn found_whose<H: Host>(
        &mut self,
        ctx: &Context<H>,
        from: ShardAddress,
        mut clients: Vec<ClientId>,
    ) {
        let user = match &self.query {
            Query::Disconnect { user, .. } | Query::Sessions { user, .. } => user,
            _ => return,
        };
        // Without a token the user is the client.
        clients.extend(ClientId::parse(user));
        let node = from.node();
        let lines = clients.into_iter().filter_map(|client| {
            let hash = ctx.names.hash(client.as_str());
            Some((ctx.home_on(node, hash)?, client))
        });
        let lines: Vec<_> = lines.collect();
        self.to_ask.extend(lines);
    }

    /// A node is lost: what it had is nowhere now, or is elsewhere. The reply, if nothing else was waited for.
    pub(super) fn node_lost<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        number: u32,
        node: NodeNumber,
    ) -> Option<Reply> {
        self.waiting.retain(|shard| shard.node() != node);
        self.to_ask.retain(|(shard, _)| shard.node() != node);
        self.again = self.has_store && matches!(self.query, Query::Disconnect { .. });
        self.go_on(ctx, number)
    }

    fn go_on<H: Host>(&mut self, ctx: &mut Context<H>, number: u32) -> Option<Reply> {
        if !self.waiting.is_empty() {
            return None;
        }
        if self.step == Step::Orphans {
            self.ask_whose(ctx, number);
        }
        if self.waiting.is_empty() && self.step == Step::Whose {
            self.ask_sessions(ctx, number);
        }
        if self.waiting.is_empty() && self.again {
            self.begin(ctx, number);
        }
        let is_done = self.waiting.is_empty();
        is_done.then(|| together(&self.query, std::mem::take(&mut self.found)))
    }

    fn ask_sessions<H: Host>(&mut self, ctx: &mut Context<H>, number: u32) {
        self.step = Step::Sessions;
        let mut by_shard: BTreeMap<ShardAddress, Vec<ClientId>> = BTreeMap::new();
        for (shard, client) in std::mem::take(&mut self.to_ask) {
            by_shard.entry(shard).or_default().push(client);
        }
        for (shard, clients) in by_shard {
            let query = match &self.query {
                Query::Disconnect { user, reason, .. } => Query::Disconnect {
                    user: user.clone(),
                    clients,
                    reason: reason.clone(),
                },
                Query::Sessions { user, .. } => Query::Sessions {
                    user: user.clone(),
                    clients,
                },
                _ => return,
            };
            self.post(ctx, number, shard, query);
        }
    }
}

/// All shards of all living nodes, this one too.
fn all_shards<H: Host>(ctx: &Context<H>) -> Vec<ShardAddress> {
    let own = (0..ctx.count).map(ShardAddress::own);
    let living = ctx.cluster.nodes().living.iter();
    let others =
        living.flat_map(|node| (0..node.shards).map(|shard| ShardAddress::new(node.number, shard)));
    own.chain(others).collect()
}

/// The shard of each living node at which a name with this hash is at home.
fn homes<H: Host>(ctx: &Context<H>, hash: u64) -> Vec<ShardAddress> {
    let living = ctx.cluster.nodes().living.iter();
    let others = living.filter_map(|node| ctx.home_on(node.number, hash));
    [ctx.home_of(hash)].into_iter().chain(others).collect()
}
