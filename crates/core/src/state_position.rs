//! How much of a room's state a connection has.

use crate::player::PlayerNum;
use roomcast_protocol::mutated;

/// How much of a room's state a connection has. Large state comes in parts, the players in the order of their numbers.
///
/// What changes while the parts are told is told in the next round, which begins where this one began: so each round
/// comes to an end, however slow the reader is.
/// Packed, as each membership has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, packed(4))]
pub(crate) struct StatePosition {
    /// It has all that changed up to this version of the room; 0: it has nothing.
    pub(crate) since: u64,
    /// Within a round: the version at which that began. Of who has nothing: that of the members that it knows.
    pub(crate) begun: u64,
    /// Within a round: the last player that a part went through.
    pub(crate) cursor: PlayerNum,
}

impl StatePosition {
    /// The cursor when the last of several parts was made.
    pub(crate) const END: PlayerNum = PlayerNum::MAX;
    /// A piece that is a part within a round has this and the cursor before it in the place of a version.
    const PART: u64 = 1 << 61;

    /// Up to date with this version.
    pub(crate) fn at(version: u64) -> StatePosition {
        StatePosition {
            since: version,
            begun: 0,
            cursor: 0,
        }
    }

    /// Nothing, but for the members that were listed at this version.
    pub(crate) fn nothing(listed: u64) -> StatePosition {
        StatePosition {
            begun: listed,
            ..StatePosition::default()
        }
    }

    /// Whether parts of a round are missing.
    pub(crate) fn is_within(&self) -> bool {
        self.cursor != 0
    }

    /// What is noted with a piece that is told from here on, for the case that it is dropped unsent.
    pub(crate) fn base(&self) -> u64 {
        if self.is_within() {
            StatePosition::PART | u64::from(self.cursor)
        } else {
            self.since
        }
    }

    /// A piece with this base was dropped unsent.
    pub(crate) fn miss(&mut self, base: u64) {
        if base & StatePosition::PART == 0 {
            *self = StatePosition::at(self.since.min(base));
        } else if !mutated!("dropped_part_is_lost") {
            self.cursor = base as PlayerNum;
        }
    }

    /// All parts of a round arrived: what changed meanwhile is told in the next one.
    pub(crate) fn end_round(&mut self) {
        if self.cursor == StatePosition::END {
            *self = StatePosition::at(self.begun);
        }
    }
}
