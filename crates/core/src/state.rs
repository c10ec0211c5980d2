//! What a `state` room keeps of each player.

use roomcast_protocol::{Position, Velocity};

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
