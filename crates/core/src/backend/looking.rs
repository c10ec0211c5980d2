//! What whoever runs the servers looks at: nodes, the rooms with the most of something, and who lags.

use std::cmp::Reverse;

use crate::id::ClientId;

/// Lines in one answer, at most.
pub const MOST_LINES: u32 = 100;

/// Which rooms come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopOrder {
    /// Those with the most messages a second.
    Busiest,
    /// Those with the most players.
    Biggest,
    /// Those with the most connections that lag.
    Slowest,
}

/// The rooms with the most of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopQuery {
    /// Of what.
    pub order: TopOrder,
    /// Of this kind alone; empty: of all.
    pub kind: Box<str>,
    /// So many at most, and not over [`MOST_LINES`].
    pub limit: u32,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopLine {
    /// Its name.
    pub room: Box<str>,
    /// Players in it. Of the slowest ones: connections that are given its events.
    pub members: u32,
    /// Messages in 1000 seconds, as they were published lately: half of it is of the last five seconds. Not of the
    /// slowest ones.
    pub rate: u64,
    /// Connections in it that lag. Of the slowest ones alone.
    pub lagging: u32,
    /// Bytes that wait for those.
    pub pending: u64,
}

/// Whose connections are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's, as far as they lag.
    Lagging,
    /// Of those who are in this room.
    Room(Box<str>),
    /// Of this user, with the sessions that wait for their client.
    User(Box<str>),
}

/// Connections, those that lag most first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionsQuery {
    /// Which ones.
    pub whose: Whose,
    /// So many at most, and not over [`MOST_LINES`].
    pub limit: u32,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLine {
    /// The node that it is on.
    pub node: Box<str>,
    /// Its session.
    pub client: ClientId,
    /// Whom its token names; empty for nobody.
    pub user: Box<str>,
    /// Its number in the room that was asked about; 0: none was, or it is not in yet.
    pub player_num: u32,
    /// False of a session that waits for its client to come back.
    pub connected: bool,
    /// It speaks Protobuf.
    pub protobuf: bool,
    /// Bytes of events that wait for its socket, and of state, and of answers.
    pub pending: [u64; 3],
    /// Milliseconds for which its socket has taken no byte, while some wait; 0: it takes them.
    pub blocked: u64,
    /// Milliseconds for which it has been given events from the log, as it reads too slowly; 0: it keeps up.
    pub behind: u64,
    /// Milliseconds since its last sign of life.
    pub idle: u64,
    /// Rooms that it is in.
    pub rooms: u32,
}

impl ConnectionLine {
    /// Whether it lags.
    pub fn lags(&self) -> bool {
        self.blocked > 0 || self.behind > 0
    }

    /// What it is listed by: those who are behind, then those whose sockets take nothing, by what waits.
    pub(crate) fn lag(&self) -> (bool, bool, u64) {
        let pending = self.pending.iter().sum();
        (self.behind > 0, self.blocked > 0, pending)
    }
}

/// A node, or the part of it that one shard is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeLine {
    /// Its name: another one after each start.
    pub node: Box<str>,
    /// It is the one that was asked.
    pub own: bool,
    /// The software's version.
    pub version: Box<str>,
    /// It is about to end: it opens no rooms, and its clients go elsewhere.
    pub draining: bool,
    /// It has a lease at some store, or needs none.
    pub leased: bool,
    /// It has written all its rooms at the store that there is now, and so have the others; or it needs none.
    pub settled: bool,
    /// Its shards that have answered.
    pub shards: u32,
    /// What it counts, by name.
    pub counters: Vec<(Box<str>, u64)>,
}

impl NodeLine {
    /// Another shard of the same node.
    pub(crate) fn add(&mut self, other: NodeLine) {
        self.own |= other.own;
        self.draining |= other.draining;
        self.leased &= other.leased;
        self.settled &= other.settled;
        self.shards += other.shards;
        for (name, value) in other.counters {
            match self.counters.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum = sum.saturating_add(value),
                None => self.counters.push((name, value)),
            }
        }
    }
}

/// The lines with the greatest keys among all that were added. Never holds more than twice as many as are wanted.
#[derive(Debug)]
pub(crate) struct Greatest<T> {
    most: usize,
    first: Vec<T>,
}

impl<T> Greatest<T> {
    /// None yet, and at most so many.
    pub(crate) fn new(most: usize) -> Greatest<T> {
        Greatest {
            most: most.max(1),
            first: Vec::new(),
        }
    }

    /// Each time with the same `key`.
    pub(crate) fn add<K: Ord>(&mut self, lines: impl Iterator<Item = T>, key: impl Fn(&T) -> K) {
        for line in lines {
            self.first.push(line);
            if self.first.len() >= 2 * self.most {
                let last = self.most - 1;
                self.first
                    .select_nth_unstable_by(last, |a, b| key(b).cmp(&key(a)));
                self.first.truncate(self.most);
            }
        }
    }

    /// Those with the greatest keys, these first.
    pub(crate) fn take<K: Ord>(&mut self, key: impl Fn(&T) -> K) -> Vec<T> {
        let mut first = std::mem::take(&mut self.first);
        first.sort_by_key(|line| Reverse(key(line)));
        first.truncate(self.most);
        first
    }
}

/// The `most` with the greatest keys, those first.
pub(crate) fn greatest<T, K: Ord>(
    lines: impl Iterator<Item = T>,
    most: usize,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut greatest = Greatest::new(most);
    greatest.add(lines, &key);
    greatest.take(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_are_found_among_many() {
        let numbers = (0..1_000_u32).map(|it| it.wrapping_mul(7919) % 1_000);
        assert_eq!(greatest(numbers, 3, |it| *it), [999, 998, 997]);
        assert_eq!(greatest([1, 2].into_iter(), 5, |it| *it), [2, 1]);
        assert_eq!(greatest([1, 2].into_iter(), 0, |it| *it), [2]);
    }
}
