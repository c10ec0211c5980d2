//! Where connections go, and where they come from.

use std::net::{Ipv4Addr, SocketAddr};

use super::plan::Shape;

/// Connections from one loopback address.
const PER_SOURCE: u32 = 10_000;
/// The port of the first of them. A kernel that has to find a free one searches long where many are in use, or were in the
/// minute before.
const FIRST_PORT: u16 = 40_000;

/// The servers of a run.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Where they listen. There is at least one.
    pub(crate) nodes: Vec<SocketAddr>,
    /// The value of `Host`.
    pub(crate) host: String,
    /// The path of their WebSocket.
    pub(crate) path: String,
    /// The first member of the first room goes to this one.
    pub(crate) first: u32,
    /// Where that is known: the home of each room, which its first member goes to if `first` is 0.
    pub(crate) homes: Vec<u32>,
    /// Processes that connect have loopback addresses of their own: each another one of these.
    pub(crate) source: u8,
}

impl Route {
    /// Neighbours of a room go to different nodes, and so do the first members of neighbouring rooms.
    pub(crate) fn of(&self, connection: u32, shape: Shape) -> SocketAddr {
        let (room, place) = (connection / shape.members, connection % shape.members);
        let first = self.homes.get(room as usize).copied().unwrap_or(room);
        self.nth(self.first + first + place)
    }

    /// One of them for each number.
    pub(crate) fn nth(&self, number: u32) -> SocketAddr {
        self.nodes[number as usize % self.nodes.len()]
    }

    /// What a connection binds its socket to, with a port of its own; `None`: the system chooses.
    pub(crate) fn source(&self, connection: u32, to: SocketAddr) -> Option<SocketAddr> {
        let group = connection / PER_SOURCE;
        if to.ip() != Ipv4Addr::LOCALHOST || (group == 0 && self.source == 0) {
            return None;
        }
        let address = Ipv4Addr::new(127, self.source, 0, 1 + (group % 250) as u8);
        let port = FIRST_PORT + (connection % PER_SOURCE) as u16;
        Some(SocketAddr::from((address, port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_and_their_first_members_are_spread() {
        let port = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let route = Route {
            nodes: vec![port(1), port(2), port(3)],
            host: String::new(),
            path: String::new(),
            first: 1,
            homes: Vec::new(),
            source: 0,
        };
        let shape = Shape::new(3, 2);
        let to: Vec<u16> = (0..6).map(|it| route.of(it, shape).port()).collect();
        assert_eq!(to, [2, 3, 3, 1, 1, 2]);
        assert_eq!(route.source(9_999, port(1)), None);
        let homes = vec![2, 2, 0];
        let known = Route {
            homes,
            ..route.clone()
        };
        let to: Vec<u16> = (0..6).map(|it| known.of(it, shape).port()).collect();
        assert_eq!(to, [1, 2, 1, 2, 2, 3]);
        let other = Route { source: 7, ..route };
        let from = other.source(10_000, port(1));
        assert_eq!(from, Some(SocketAddr::from(([127, 7, 0, 2], 40_000))));
        let mut all: Vec<_> = (0..30_000).map(|it| other.source(it, port(1))).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 30_000);
    }
}
