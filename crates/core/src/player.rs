//! A player in a room: its number, what logic sees of it, and what a `state` room keeps of it.

use roomcast_protocol::{Position, Velocity};

/// A player's number in its room, from 1; given once in a room's life.
pub type PlayerNum = u32;

/// Somebody in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Player<'a> {
    /// The number that the room gave.
    pub num: PlayerNum,
    /// The user's id, `player_id` on the wire.
    pub id: &'a str,
    /// The nickname; may be empty.
    pub nickname: &'a str,
    /// Whether a connection is there: a player whose connection was lost stays for its session's grace.
    pub connected: bool,
}

/// A player's state, the seed's `PlayerState` without its names.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlayerBody {
    /// Where the player is.
    pub position: Position,
    /// Units a second.
    pub velocity: Velocity,
    /// 0 is down.
    pub health: i32,
    /// Points.
    pub score: i32,
}
