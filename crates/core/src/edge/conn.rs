//! One connection: who it is, where it is, what waits for it.

use smallvec::SmallVec;

use crate::host::Encoding;
use crate::id::ConnId;
use crate::lane::Lanes;
use crate::logic::PlayerNum;
use crate::pool::Pooled;
use crate::rate::Rate;

/// A connection of this shard. Holds no memory of its own while it is in at most one room and
/// nothing waits for it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) encoding: Encoding,
    pub(super) phase: Phase,
    /// In the batcher's list.
    pub(super) queued: bool,
    /// Its socket takes no more bytes for now.
    pub(super) blocked: bool,
    /// Pinged since the last sign of life.
    pub(super) pinged: bool,
    /// Some ranges of the delivery at hand are not for it.
    pub(super) excluded: bool,
    pub(super) pooled: Pooled,
    /// Microseconds at which the last byte arrived.
    pub(super) last_seen: u64,
    /// Microseconds between that and the next ping. Differs, so that pings spread out.
    pub(super) ping_after: u64,
    /// Microseconds at which the socket last took a byte, while it is blocked.
    pub(super) progress_at: u64,
    pub(super) messages: Rate,
    /// Refusals by the rate limit that are no offence.
    pub(super) refusals: Rate,
    pub(super) offences: Rate,
    /// Bytes published that their rooms' homes have not taken.
    pub(super) window: u32,
    /// How many operations that is: each may be answered by an error.
    pub(super) operations: u32,
    /// In the order in which they were joined.
    pub(super) memberships: SmallVec<[Membership; 1]>,
    pub(super) lanes: Lanes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was received yet.
    Silent,
    Open,
    /// A close frame is queued; nothing else is.
    Closing,
}

/// A connection's place in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    /// The shard's room.
    pub(super) room: u32,
    /// 0 while it is not in the room, as far as the home has told.
    pub(super) player: PlayerNum,
    /// Whether `join_room` or `leave_room` was sent last.
    pub(super) wanted: bool,
    /// Of both, how many the home has not answered.
    pub(super) unanswered: u32,
    /// State was withheld: the newest has to be asked for when the socket drains.
    pub(super) stale: bool,
    /// It was asked for; until it comes, other state is not for this one.
    pub(super) asked: bool,
    /// The room's state version that was last put into the lane.
    pub(super) version: u64,
}

impl Conn {
    pub(super) fn membership(&mut self, room: u32) -> Option<&mut Membership> {
        self.memberships
            .iter_mut()
            .find(|membership| membership.room == room)
    }
}
