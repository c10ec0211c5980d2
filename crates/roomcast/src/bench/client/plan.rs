//! What a run sends: who is in which room, who speaks, what, and when.

use std::time::Duration;

/// Rooms, their members and their senders. Rooms, memberships, senders and connections are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many rooms there are.
    pub(crate) rooms: u32,
    /// Members of each room.
    pub(crate) members: u32,
    /// Members of each room that send. The first ones of each room are.
    pub(crate) senders: u32,
    /// Connections; with fewer than memberships each is in several rooms.
    pub(crate) connections: u32,
}

impl Shape {
    /// Rooms with a connection for each member, all of whom send.
    pub(crate) fn new(rooms: u32, members: u32) -> Shape {
        Shape {
            rooms,
            members,
            senders: members,
            connections: rooms * members,
        }
    }

    /// The same with at most `senders` a room that send.
    pub(crate) fn with_senders(self, senders: u32) -> Shape {
        Shape {
            senders: senders.clamp(1, self.members),
            ..self
        }
    }

    /// The same on at most `connections` connections, which are then in several rooms each.
    pub(crate) fn with_connections(self, connections: u32) -> Shape {
        Shape {
            connections: connections.clamp(self.members, self.connections),
            ..self
        }
    }

    pub(crate) fn memberships(self) -> u32 {
        self.rooms * self.members
    }

    /// All senders of all rooms.
    pub(crate) fn all_senders(self) -> u32 {
        self.rooms * self.senders
    }

    /// The connection behind a membership.
    pub(crate) fn conn_of(self, membership: u32) -> u32 {
        membership % self.connections
    }

    /// The connection of a sender.
    pub(crate) fn conn_of_sender(self, sender: u32) -> u32 {
        self.conn_of(sender / self.senders * self.members + sender % self.senders)
    }

    /// The membership of a connection in a room, if it is in it.
    #[inline]
    pub(crate) fn membership(self, conn: u32, room: u32) -> Option<u32> {
        let first = room.checked_mul(self.members)?;
        let place = if self.memberships() == self.connections {
            conn.checked_sub(first)?
        } else {
            (conn + self.connections - first % self.connections) % self.connections
        };
        (place < self.members && room < self.rooms).then_some(first + place)
    }

    /// The rooms of a connection.
    pub(crate) fn rooms_of(self, conn: u32) -> impl Iterator<Item = u32> {
        (conn..self.memberships())
            .step_by(self.connections as usize)
            .map(move |m| m / self.members)
    }
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// So many a second of all senders together, evenly spread, whatever comes back (an open loop).
    Rate(f64),
    /// Each sender has so many messages under way and sends the next when one has arrived everywhere (a closed loop).
    InFlight(u32),
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// An `event` named `bench`, whose payload is a text.
    Event,
    /// A `game_action` that no room logic knows, which is relayed.
    Action,
    /// A `move`: the room's next `sync` shows it.
    Move,
}

/// The wire format that the clients speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wire {
    /// JSON text frames.
    #[default]
    Json,
    /// Protobuf binary frames.
    Protobuf,
}

/// Everything that a run needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Who is where.
    pub(crate) shape: Shape,
    /// When.
    pub(crate) pace: Pace,
    /// What.
    pub(crate) say: Say,
    /// The rooms' kind, which is the part of their names before the colon; empty for none.
    pub(crate) kind: &'static str,
    /// Bytes of each message's payload.
    pub(crate) payload: usize,
    /// Wire format.
    pub(crate) wire: Wire,
    /// The run's part of the rooms' names: what another run left behind must not get in.
    pub(crate) run: String,
    /// Whether clients say `hello`, so that they have sessions.
    pub(crate) greets: bool,
    /// Whether compression is offered.
    pub(crate) deflate: bool,
    /// Of every room, members from this one on join, and then read nothing more.
    pub(crate) stalled_from: Option<u32>,
    /// Time in which messages are sent and not counted yet.
    pub(crate) warm_up: Duration,
    /// Time that counts.
    pub(crate) measure: Duration,
}

impl Plan {
    /// A plan with payloads of 128 bytes and a warm-up of a second.
    pub(crate) fn new(shape: Shape, pace: Pace, measure: Duration) -> Plan {
        Plan {
            shape,
            pace,
            say: Say::Event,
            kind: "",
            payload: 128,
            wire: Wire::Json,
            run: format!("bench-{}", std::process::id()),
            greets: true,
            deflate: false,
            stalled_from: None,
            warm_up: Duration::from_secs(1),
            measure,
        }
    }

    /// Whether a connection reads nothing once it has joined.
    pub(crate) fn is_stalled(&self, conn: u32) -> bool {
        self.stalled_from
            .is_some_and(|from| conn % self.shape.members >= from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_and_connections_agree() {
        for shape in [
            Shape::new(5, 8),
            Shape::new(50, 8).with_connections(24),
            Shape::new(7, 3).with_connections(10).with_senders(1),
        ] {
            for conn in 0..shape.connections {
                let rooms: Vec<u32> = shape.rooms_of(conn).collect();
                for room in 0..shape.rooms {
                    let membership = shape.membership(conn, room);
                    assert_eq!(membership.is_some(), rooms.contains(&room));
                    if let Some(membership) = membership {
                        assert_eq!(shape.conn_of(membership), conn);
                        assert_eq!(membership / shape.members, room);
                    }
                }
            }
            for sender in 0..shape.all_senders() {
                let conn = shape.conn_of_sender(sender);
                assert!(shape.membership(conn, sender / shape.senders).is_some());
            }
            let memberships: usize = (0..shape.connections)
                .map(|c| shape.rooms_of(c).count())
                .sum();
            assert_eq!(memberships, shape.memberships() as usize);
        }
    }
}
