//! How far a log was received: a room's, or the inbox.

use roomcast_protocol::mutated;

use super::seen::Seen;
use crate::message::Position;

/// How far a log was received, without what came twice.
#[derive(Debug, Default)]
pub(super) struct Log {
    position: Option<Position>,
    seen: Seen,
}

/// What an event's place says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Next,
    Repeat,
    /// The log began anew, and nothing said so.
    Jump(Position),
}

impl Log {
    pub(super) fn at(position: Option<Position>) -> Log {
        Log {
            position,
            seen: Seen::default(),
        }
    }

    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    pub(super) fn set(&mut self, position: Option<Position>) {
        self.position = position;
    }

    /// An event at this place was received.
    pub(super) fn advance(&mut self, epoch: &str, offset: u64) -> Place {
        let Some(position) = &mut self.position else {
            let epoch = epoch.to_owned();
            self.position = Some(Position { epoch, offset });
            return Place::Next;
        };
        let is_same = position.epoch == epoch;
        if is_same && offset <= position.offset {
            return Place::Repeat;
        }
        // A log may go on under another name: what comes behind the position follows it.
        if is_same || offset > position.offset {
            if !is_same {
                epoch.clone_into(&mut position.epoch);
            }
            position.offset = offset;
            return Place::Next;
        }
        let epoch = epoch.to_owned();
        let next = Position { epoch, offset };
        Place::Jump(std::mem::replace(position, next))
    }

    /// Whether an event with this number was not received before, at another place.
    pub(super) fn is_new(&mut self, from: &str, seq: u64) -> bool {
        self.seen.insert(from, seq) || mutated!("client_forgets_what_it_saw")
    }
}
