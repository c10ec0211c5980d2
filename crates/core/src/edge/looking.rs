//! Which connections lag, and why: for whoever runs the servers.

use std::collections::BTreeMap;
use std::ops::Range;

use roomcast_protocol::Format;

use crate::backend::{
    ConnectionLine, ConnectionsQuery, Greatest, MOST_LINES, TopLine, TopQuery, Whose, greatest,
};
use crate::edge::Edge;
use crate::edge::backend::is_of;
use crate::edge::conn::Conn;
use crate::edge::session::Parked;
use crate::id::{EdgeRoomId, NameHash};
use crate::kinds::kind_name;
use crate::store::Store;
use crate::time::Now;

/// Rooms in which connections lag: how many do, and what waits for them.
pub(crate) type Lagging = BTreeMap<EdgeRoomId, (u32, u64)>;

impl<S: Store> Edge<S> {
    /// Places at which there may be connections, and sessions without one.
    pub(crate) fn places(&self) -> (usize, usize) {
        (self.conns.places(), self.parking.places())
    }

    /// Looks at the connections at these places.
    pub(crate) fn connections_at(
        &self,
        (names, node): (&NameHash, &str),
        now: Now,
        query: &ConnectionsQuery,
        places: Range<usize>,
        found: &mut Greatest<ConnectionLine>,
    ) {
        let conns = self.conns.rows_at(places).filter(|conn| conn.is_served());
        match &query.whose {
            Whose::Lagging => {
                let lines = conns.filter(|conn| lags(conn));
                let lines = lines.map(|conn| line(conn, node, now, None));
                found.add(lines, ConnectionLine::lag);
            }
            Whose::Room(room) => {
                let Some(room) = self.rooms.find(room, names.hash(room)) else {
                    return;
                };
                let lines = conns.filter(|conn| place_in(conn, room).is_some());
                let lines = lines.map(|conn| line(conn, node, now, Some(room)));
                found.add(lines, ConnectionLine::lag);
            }
            Whose::User(user) => {
                let conns = conns.filter(|it| is_of(user, it.pooled.client_id, &it.session));
                let lines = conns.map(|conn| line(conn, node, now, None));
                found.add(lines, ConnectionLine::lag);
            }
        }
    }

    /// Looks at the sessions without a connection at these places, for those of a user.
    pub(crate) fn parked_at(
        &self,
        user: &str,
        node: &str,
        places: Range<usize>,
        found: &mut Greatest<ConnectionLine>,
    ) {
        let parked = self.parking.at(places);
        let parked = parked.filter(|it| is_of(user, it.client_id, &it.session));
        found.add(parked.map(|it| parked_line(it, node)), ConnectionLine::lag);
    }

    /// Looks at the connections at these places for rooms in which some lag.
    pub(crate) fn lagging_at(&self, places: Range<usize>, rooms: &mut Lagging) {
        let conns = self.conns.rows_at(places).filter(|conn| conn.is_served());
        for conn in conns.filter(|conn| lags(conn)) {
            for membership in &conn.session.memberships {
                let (lagging, pending) = rooms.entry(membership.room).or_default();
                *lagging += 1;
                *pending += conn.lanes.bytes() as u64;
            }
        }
    }

    /// The rooms in which most connections lag, of those that were found.
    pub(crate) fn slowest(&self, query: &TopQuery, rooms: Lagging) -> Vec<TopLine> {
        let most = query.limit.min(MOST_LINES) as usize;
        let is_of_kind = |room: &str| query.kind.is_empty() || kind_name(room) == &*query.kind;
        let lines = rooms.into_iter().filter_map(|(id, (lagging, pending))| {
            let room = self.rooms.get(id).filter(|it| is_of_kind(&it.name))?;
            Some((room, lagging, pending))
        });
        let greatest = greatest(lines, most, |(_, lagging, pending)| (*lagging, *pending));
        let line = |(room, lagging, pending): (&super::rooms::EdgeRoom, u32, u64)| TopLine {
            room: (*room.name).into(),
            members: u32::try_from(room.receivers.len()).unwrap_or(u32::MAX),
            lagging,
            pending,
            ..TopLine::default()
        };
        greatest.into_iter().map(line).collect()
    }

    /// Connections at these places that lag, and the bytes that wait for all there.
    pub(crate) fn lag_at(&self, places: Range<usize>) -> (u64, u64) {
        let each = self.conns.rows_at(places).map(|conn| {
            let lags = conn.is_served() && lags(conn);
            (u64::from(lags), conn.lanes.bytes() as u64)
        });
        each.fold((0, 0), |(count, bytes), (one, more)| {
            (count + one, bytes + more)
        })
    }
}

fn lags(conn: &Conn) -> bool {
    conn.blocked || conn.session.slow_since().is_some()
}

/// Its number in a room; `None`: it is not there.
fn place_in(conn: &Conn, room: EdgeRoomId) -> Option<u32> {
    let mut memberships = conn.session.memberships.iter();
    memberships.find(|it| it.room == room).map(|it| it.player)
}

fn line(conn: &Conn, node: &str, now: Now, room: Option<EdgeRoomId>) -> ConnectionLine {
    let since = |at: u64| now.micros.saturating_sub(at) / 1_000;
    let lanes = &conn.lanes;
    let pending = [
        lanes.event_bytes(),
        lanes.state_bytes(),
        lanes.control_bytes(),
    ];
    ConnectionLine {
        node: node.into(),
        client: conn.pooled.client_id,
        user: conn.session.user_id().into(),
        player_num: room.and_then(|room| place_in(conn, room)).unwrap_or(0),
        connected: true,
        protobuf: conn.encoding.format == Format::Protobuf,
        pending: pending.map(|bytes| bytes as u64),
        blocked: match conn.blocked {
            true => since(conn.progress_at).max(1),
            false => 0,
        },
        behind: conn.session.slow_since().map_or(0, |at| since(at).max(1)),
        idle: since(conn.last_seen),
        rooms: u32::try_from(conn.session.memberships.len()).unwrap_or(u32::MAX),
    }
}

fn parked_line(parked: &Parked, node: &str) -> ConnectionLine {
    ConnectionLine {
        node: node.into(),
        client: parked.client_id,
        user: parked.session.user_id().into(),
        player_num: 0,
        connected: false,
        protobuf: parked.encoding.format == Format::Protobuf,
        pending: [0; 3],
        blocked: 0,
        behind: 0,
        idle: 0,
        rooms: u32::try_from(parked.session.memberships.len()).unwrap_or(u32::MAX),
    }
}
