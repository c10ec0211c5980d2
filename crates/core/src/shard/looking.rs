//! What a shard says of its node, for whoever runs it: its counters, its rooms, and who lags.
//!
//! It looks at all that it has, a slice in each turn, so that nobody waits for that. Who asks the same before a look has begun
//! gets its answer.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;

use super::Shard;
use crate::address::ShardAddress;
use crate::backend::{
    ConnectionLine, Found, Greatest, MOST_LINES, NodeLine, Query, TopLine, TopOrder, Whose,
};
use crate::desk::PATIENCE;
use crate::edge::Lagging;
use crate::home::top_key;
use crate::host::Host;
use crate::letter::Letter;
use crate::store::Store;
use crate::time::{Now, micros};

/// Connections, sessions or rooms that are looked at in one turn: some 0.1 ms. Where there are many, so much more that all
/// are seen in `SLICES` turns: who asks does not wait longer than `PATIENCE`.
const SLICE: usize = 1_024;
const SLICES: usize = 128;

/// What is looked for, the first one now.
#[derive(Debug, Default)]
pub(super) struct Looks(VecDeque<Look>);

#[derive(Debug)]
struct Look {
    query: Query,
    /// Who gets the answer, each with its number for it.
    askers: Vec<(ShardAddress, u32)>,
    /// Microseconds after which nobody waits for it.
    until: u64,
    /// What comes next: connections or rooms from this place on, or sessions without a connection.
    at: usize,
    is_at_parked: bool,
    found: Looked,
}

/// What was found so far.
#[derive(Debug)]
enum Looked {
    Lag(u64, u64),
    Rooms(Greatest<TopLine>),
    Slowest(Lagging),
    Connections(Greatest<ConnectionLine>),
}

impl Looks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Somebody asks. False: it is nothing that is looked for here.
    pub(super) fn begin(&mut self, now: Now, asker: (ShardAddress, u32), query: &Query) -> bool {
        let most = |limit: u32| limit.min(MOST_LINES) as usize;
        let found = match query {
            Query::Nodes => Looked::Lag(0, 0),
            Query::Top(top) if top.order == TopOrder::Slowest => Looked::Slowest(Lagging::new()),
            Query::Top(top) => Looked::Rooms(Greatest::new(most(top.limit))),
            Query::Connections(query) => Looked::Connections(Greatest::new(most(query.limit))),
            _ => return false,
        };
        let until = now.micros.saturating_add(micros(PATIENCE));
        // One that has begun would say what was before the question.
        let mut same = self.0.iter_mut().filter(|it| it.query == *query);
        if let Some(look) = same.find(|it| !it.has_begun()) {
            look.askers.push(asker);
            look.until = until;
            return true;
        }
        self.0.push_back(Look {
            query: query.clone(),
            askers: vec![asker],
            until,
            at: 0,
            is_at_parked: looks_at_parked(query),
            found,
        });
        true
    }
}

/// Sessions without a connection come first: one that comes back in between is found among the connections then.
fn looks_at_parked(query: &Query) -> bool {
    matches!(query, Query::Connections(query) if matches!(query.whose, Whose::User(_)))
}

impl Look {
    fn has_begun(&self) -> bool {
        self.at > 0 || self.is_at_parked != looks_at_parked(&self.query)
    }

    /// The next places, of so many; none where all were looked at.
    fn next(&mut self, places: usize) -> Option<Range<usize>> {
        let from = self.at;
        self.at = from.saturating_add(SLICE.max(places / SLICES));
        (from < places).then(|| from..self.at.min(places))
    }
}

impl<H: Host, S: Store> Shard<H, S> {
    /// Says what its node is called, for whoever looks at nodes.
    pub fn call_node(&mut self, name: &str) {
        self.node_name = name.into();
    }

    /// Looks at the next slice. Whether there is more to look at.
    pub(super) fn look(&mut self, now: Now) -> bool {
        while self
            .looks
            .0
            .front()
            .is_some_and(|it| it.until <= now.micros)
        {
            self.looks.0.pop_front();
        }
        if let Some(mut look) = self.looks.0.pop_front() {
            match self.look_on(now, &mut look) {
                true => self.looks.0.push_front(look),
                false => self.say_found(now, look),
            }
        }
        !self.looks.is_empty()
    }

    /// Whether there is more.
    fn look_on(&self, now: Now, look: &mut Look) -> bool {
        let (conns, parked) = self.edge.places();
        let places = match &look.found {
            Looked::Rooms(_) => self.home.places(),
            _ if look.is_at_parked => parked,
            _ => conns,
        };
        let Some(slice) = look.next(places) else {
            look.at = 0;
            return std::mem::take(&mut look.is_at_parked);
        };
        match (&mut look.found, &look.query) {
            (Looked::Lag(lagging, pending), _) => {
                let (more, bytes) = self.edge.lag_at(slice);
                (*lagging, *pending) = (*lagging + more, *pending + bytes);
            }
            (Looked::Rooms(found), Query::Top(query)) => self.home.top(now, query, slice, found),
            (Looked::Slowest(rooms), _) => self.edge.lagging_at(slice, rooms),
            (Looked::Connections(found), Query::Connections(query)) => match &query.whose {
                Whose::User(user) if look.is_at_parked => {
                    self.edge.parked_at(user, &self.node_name, slice, found);
                }
                _ => {
                    let names = (&self.ctx.names, &*self.node_name);
                    self.edge.connections_at(names, now, query, slice, found);
                }
            },
            _ => return false,
        }
        true
    }

    fn say_found(&mut self, now: Now, mut look: Look) {
        let found = match (look.found, &look.query) {
            (Looked::Rooms(mut found), Query::Top(query)) => {
                Found::Top(found.take(top_key(query.order)))
            }
            (Looked::Slowest(rooms), Query::Top(query)) => {
                Found::Top(self.edge.slowest(query, rooms))
            }
            (Looked::Connections(mut found), _) => {
                let mut lines = found.take(ConnectionLine::lag);
                // One that came back in between was met twice.
                let there = lines.iter().filter(|it| it.connected);
                let there: HashSet<_> = there.map(|it| it.client).collect();
                lines.retain(|it| it.connected || !there.contains(&it.client));
                Found::Connections(lines)
            }
            (Looked::Lag(lagging, pending), _) => {
                let line = self.node_line(now, (lagging, pending));
                for (from, number) in look.askers.drain(..) {
                    let line = NodeLine {
                        own: from.is_own(),
                        ..line.clone()
                    };
                    let found = (number, Found::Node(Box::new(line)));
                    self.ctx.post(from, Letter::Found(Box::new(found)));
                }
                return;
            }
            _ => Found::Unknown,
        };
        for (from, number) in look.askers {
            let found = (number, found.clone());
            self.ctx.post(from, Letter::Found(Box::new(found)));
        }
    }

    /// This shard's part of its node.
    fn node_line(&mut self, now: Now, (lagging, pending): (u64, u64)) -> NodeLine {
        let (connections, (rooms, _)) = (self.connections(), self.rooms());
        let (parked, _) = self.sessions();
        let stores = self.ctx.cluster.stores();
        let leased = !S::WAITS || stores.iter().any(|it| it.acts(now.micros).is_some());
        let settled = !S::WAITS || stores.iter().all(|it| it.settled);
        let draining = self.home.is_draining();
        let (log_bytes, _) = self.home.log_usage();
        let stats = &self.ctx.stats;
        let sum = |counts: &[[u64; crate::stats::Stats::TYPES]; 2]| -> u64 {
            counts.iter().flatten().sum()
        };
        let counters = [
            ("connections", connections as u64),
            ("sessions_waiting", parked as u64),
            ("rooms", rooms as u64),
            ("messages_in", sum(&stats.messages_in)),
            ("messages_out", sum(&stats.messages_out)),
            ("acks", stats.acks),
            ("errors", stats.errors.iter().sum()),
            ("resumed", stats.resumed),
            ("readers_behind", stats.readers_behind),
            ("lagging", lagging),
            ("pending_bytes", pending),
            ("log_bytes", log_bytes as u64),
            ("unconfirmed_bytes", stats.unconfirmed_bytes as u64),
        ];
        let counters = counters.map(|(name, value)| (name.into(), value));
        NodeLine {
            node: self.node_name.clone(),
            own: false,
            version: env!("CARGO_PKG_VERSION").into(),
            draining,
            leased,
            settled,
            shards: 1,
            counters: counters.into(),
        }
    }
}
