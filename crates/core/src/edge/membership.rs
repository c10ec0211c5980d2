//! A session's place in a room: what was asked of the room's home, and what it still owes.

use std::num::NonZeroU64;

use crate::edge::rights::RoomRights;
use crate::id::EdgeRoomId;
use crate::player::PlayerNum;
use crate::state_position::StatePosition;
use crate::time::Now;

/// A session's place in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    /// The shard's room.
    pub(super) room: EdgeRoomId,
    /// 0 while it is not in the room, as far as the home has told.
    pub(super) player: PlayerNum,
    pub(super) stay: Stay,
    pub(super) events: Events,
    pub(super) state: State,
    pub(super) rights: RoomRights,
    /// It was given state while it was behind: perhaps of players of whom it had yet to hear. All since `seen` is told
    /// again when it has caught up.
    pub(super) retell: bool,
    /// The first answer that is owed is to a leave of an earlier connection: its client is not told.
    pub(super) unheard: bool,
    /// How much it has of the room's state, with what waits in the lane.
    pub(super) has: StatePosition,
    /// The version that it had when it fell behind.
    pub(super) seen: u64,
    /// The offset after which its events began: what waits of an earlier stay is not given again.
    pub(super) floor: u64,
}

/// What the session wants of the room, and how many answers the home owes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stay {
    /// It joins, or comes back.
    Joining { answers: u32 },
    /// It is in, and nothing is owed.
    In,
    /// It leaves.
    Leaving { answers: u32 },
}

/// Where the room's events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Events {
    /// There are none: it is not in, or has no connection.
    None,
    /// From what the room makes: it is among the receivers.
    Live,
    /// From the log, until it has caught up.
    Behind(Behind),
}

/// Packed, as each membership has room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed(4))]
pub(super) struct Behind {
    /// The offset up to which it was given the log.
    pub(super) after: u64,
    /// Microseconds at which it fell behind, where that was because it reads slowly.
    pub(super) slow_since: Option<NonZeroU64>,
    /// Whether the home was asked for what comes next, and owes it.
    pub(super) asked: bool,
}

/// What the session has of the room's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All that was made.
    Fresh,
    /// Some was withheld: the newest has to be asked for when the socket drains.
    Stale,
    /// The home was asked for the newest, and owes it. Until it comes, other state is not for this one.
    Asked,
}

impl Membership {
    /// Somebody who has just asked to join.
    pub(super) fn new(room: EdgeRoomId, rights: RoomRights) -> Membership {
        Membership {
            room,
            player: 0,
            stay: Stay::Joining { answers: 1 },
            events: Events::None,
            state: State::Fresh,
            rights,
            retell: false,
            unheard: false,
            has: StatePosition::default(),
            seen: 0,
            floor: 0,
        }
    }

    /// In the room, with a connection, and given events from the log until it has caught up: from which offset on.
    pub(super) fn behind(&self) -> Option<Behind> {
        match self.events {
            Events::Behind(behind) if self.player != 0 && self.stay == Stay::In => Some(behind),
            _ => None,
        }
    }

    /// State was withheld.
    pub(super) fn miss_state(&mut self) {
        if self.state == State::Fresh {
            self.state = State::Stale;
        }
    }

    /// Its events come from the log from here on, from this offset, as it reads slowly. State would wait behind them: the
    /// newest is asked for meanwhile, and all since now is told again when it has caught up. So is what was told before, if it
    /// is behind again before that was done.
    pub(super) fn fall_behind(&mut self, now: Now, after: u64) {
        self.events = Events::Behind(Behind {
            after,
            asked: false,
            slow_since: NonZeroU64::new(now.micros),
        });
        self.miss_state();
        let has = self.has.since;
        self.seen = if self.retell { has.min(self.seen) } else { has };
    }

    /// It gets no more events. Whether it was among the receivers.
    pub(super) fn stop_events(&mut self) -> bool {
        std::mem::replace(&mut self.events, Events::None) == Events::Live
    }

    /// Whether there is nothing more to hear from the home: it is not in the room, and all was answered.
    pub(super) fn is_over(&self) -> bool {
        self.player == 0 && self.stay.answers() == 0
    }

    /// Its connection is gone, and nobody waits for an answer any more.
    pub(super) fn rest(&mut self) {
        self.stay = Stay::In;
        self.events = Events::None;
        self.state = State::Fresh;
    }

    /// It has another connection, and the home was asked to take it.
    pub(super) fn come_back(&mut self) {
        self.rest();
        self.stay = Stay::Joining { answers: 1 };
    }
}

impl Stay {
    /// Whether joining was asked for last, not leaving.
    pub(super) fn is_staying(self) -> bool {
        !matches!(self, Stay::Leaving { .. })
    }

    /// Answers that the home owes.
    fn answers(self) -> u32 {
        match self {
            Stay::Joining { answers } | Stay::Leaving { answers } => answers,
            Stay::In => 0,
        }
    }

    /// The home is asked to join.
    pub(super) fn join(&mut self) {
        let answers = self.answers().saturating_add(1);
        *self = Stay::Joining { answers };
    }

    /// The home is asked to leave.
    pub(super) fn leave(&mut self) {
        let answers = self.answers().saturating_add(1);
        *self = Stay::Leaving { answers };
    }

    /// The home has answered one of them.
    pub(super) fn answered(&mut self) {
        let answers = self.answers().saturating_sub(1);
        *self = match *self {
            Stay::Leaving { .. } => Stay::Leaving { answers },
            Stay::Joining { .. } if answers > 0 => Stay::Joining { answers },
            Stay::Joining { .. } | Stay::In => Stay::In,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Rights;

    #[test]
    fn who_falls_behind_again_is_told_all_that_it_was_told_too_early() {
        let rights = RoomRights::new(Rights::NONE, Rights::NONE, 0);
        let mut it = Membership::new(EdgeRoomId::NONE, rights);
        let now = Now::default();
        (it.has, it.events) = (StatePosition::at(3), Events::Live);
        it.fall_behind(now, 10);
        // Meanwhile it is given state, and the last of the log. That is dropped before the state is told again.
        (it.has, it.retell, it.events) = (StatePosition::at(5), true, Events::Live);
        it.fall_behind(now, 10);
        assert_eq!(it.seen, 3);
        // Where nothing is to be told again, it has seen what it has.
        (it.retell, it.events) = (false, Events::Live);
        it.fall_behind(now, 12);
        assert_eq!(it.seen, 5);
    }
}
