//! One connection: who it is, where it is, what waits for it.

use crate::edge::membership::Membership;
use crate::edge::session::Session;
use crate::host::Encoding;
use crate::id::{ConnId, EdgeRoomId};
use crate::identity::Origin;
use crate::lane::Lanes;
use crate::pool::Pooled;
use crate::rate::Rate;
use crate::table::Row;
use crate::time::micros;

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
    /// Milliseconds between that and the next ping. Differs, so that pings spread out.
    pub(super) ping_after: u32,
    /// Microseconds at which the socket last took a byte, while it is blocked.
    pub(super) progress_at: u64,
    pub(super) messages: Rate,
    /// Few clients make mistakes.
    pub(super) mistakes: Option<Box<Mistakes>>,
    /// Bytes published that their rooms' homes have not taken.
    pub(super) window: u32,
    /// How many operations that is: each may be answered by an error.
    pub(super) operations: u32,
    /// One of them may be about a room of which it has no place any more: no membership tells where that was at home.
    pub(super) asks_of_left: bool,
    /// Where it comes from.
    pub(super) origin: Origin,
    /// What outlives it.
    pub(super) session: Session,
    pub(super) lanes: Lanes,
}

/// How many requests of a client were refused lately.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    /// By the rate limit: no offence.
    pub(super) refusals: Rate,
    pub(super) offences: Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Messages are read. Whether its client was let in is said by its session's [`Admission`](super::admission::Admission).
    Open,
    /// It said `hello` to a session that lives on another shard, and is on its way there.
    Moving,
    /// It said `hello` to a session that the store is asked for.
    Asking,
    /// A close frame is queued; nothing else is.
    Closing,
}

impl Row for Conn {
    type Number = ConnId;

    fn number(&self) -> ConnId {
        self.id
    }
}

impl Conn {
    /// Whether its client may ask for anything: it was let in, and not sent away.
    pub(super) fn is_served(&self) -> bool {
        self.phase == Phase::Open && self.session.admission.is_inside()
    }

    /// Microseconds between the last byte that arrived and the next ping.
    pub(super) fn ping_after(&self) -> u64 {
        micros(u64::from(self.ping_after))
    }

    /// Whether it is in a room, or about to be: then it is not too old for the pool.
    pub(super) fn is_in_use(&self) -> bool {
        !self.session.memberships.is_empty()
    }

    pub(super) fn membership(&mut self, room: EdgeRoomId) -> Option<&mut Membership> {
        self.session.membership(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Membership>() <= 88, "{}", size_of::<Membership>());
        assert!(size_of::<Conn>() <= 296, "{}", size_of::<Conn>());
    }
}
