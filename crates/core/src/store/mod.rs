//! What makes the changes of rooms and sessions durable, and many nodes one system: the second copy.
//!
//! A room's home decides and runs ahead in memory. What the room says waits until the store has confirmed the append
//! that has what was done before it. The store never decides about a room: it keeps what the home gives it, and refuses
//! whoever is not the room's home any more.
//!
//! All of it is asynchronous: a request is submitted under a ticket, and its answer is polled. A request whose answer is
//! [`StoreError::Again`] may have been done: the same request, to the same byte, may be submitted again as often as
//! needed, and what was done once is not done twice.
//!
//! With a store that does not wait ([`Store::WAITS`]) nothing is submitted, and nothing of this costs anything.

mod kept;
mod node;
mod room;
mod session;
mod slot;
mod sorted;

pub use kept::{Kept, KeptMessage, KeptRoom, KeptSession, KeptUser};
pub use node::{Beat, Beaten, NodeEntry};
pub use room::{
    Append, Claim, Claimed, Epochs, FieldKey, Header, HomeName, Log, Release, Renew, RoomRecord,
};
pub use session::{
    End, InboxAppend, InboxAppended, InboxRead, InboxSlice, Save, SessionRecord, Take, Taken,
    UserChange,
};

pub use slot::{KeyOf, Slot};

pub(crate) use sorted::Sorted;

use std::sync::Arc;

use crate::id::ClientId;
use crate::time::Now;

/// A node for all the others: random, drawn when the process starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Which store it is that answers, told apart by what does not survive a loss of writes: for Redis a hash of its run id
/// and its replication id. Another one may lack what this one had confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u128);

/// Which request an answer belongs to: the submitter's number, not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What is asked of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Answered with [`Answer::Claim`].
    Claim(Claim),
    /// Answered with [`Answer::Written`]. The home keeps it until then, to submit it again.
    Append(Arc<Append>),
    /// The same.
    Renew(Arc<Renew>),
    /// Answered with [`Answer::Done`], also where the room is another's or nobody's.
    Release(Release),
    /// Answered with [`Answer::Session`].
    Take(Take),
    /// Answered with [`Answer::Turn`].
    Save(Save),
    /// Answered with [`Answer::Turn`].
    End(End),
    /// Answered with [`Answer::Inbox`].
    InboxAppend(InboxAppend),
    /// Answered with [`Answer::InboxSlice`].
    InboxRead(InboxRead),
    /// Answered with [`Answer::Clients`]: the user's sessions after the change.
    User(UserChange),
    /// Answered with [`Answer::Beat`].
    Beat(Box<Beat>),
}

/// What a store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a claim.
    Claim(Claimed),
    /// To an append or a renewal.
    Written(Written),
    /// It is done.
    Done,
    /// To a takeover.
    Session(Taken),
    /// Whether it is done, now or before; else the session is another's, or has ended.
    Turn(bool),
    /// To a direct message.
    Inbox(InboxAppended),
    /// Messages of an inbox.
    InboxSlice(InboxSlice),
    /// Clients of a user, in their order, at this store.
    Clients(StoreId, Vec<ClientId>),
    /// To a beat.
    Beat(Beaten),
}

/// What became of an append or a renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is in the record; this time, or when it was submitted before.
    Confirmed,
    /// The record is another's, or of another store, or has more than this home wrote. Nothing was changed. `None`:
    /// there is no record.
    Refused(Option<Box<Header>>),
    /// The room is pending at this store, and who asks is not settled there: ask again later. Nothing was changed.
    Unsettled,
    /// What the renewal adds to is not there: an earlier part, or the record of its `base`. Nothing was changed: renew
    /// with everything, from the first part.
    Incomplete,
}

/// Why a store did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The request may have been done, or not: submit the same again, after a delay.
    Again(Cause),
    /// It was not done, and won't be: what the operator has to change.
    Never(Cause),
}

/// What stood in the way, for the log and for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No connection, or it was lost.
    Connection,
    /// No answer in time.
    Timeout,
    /// It starts, loads, fails over, or moves the slot.
    Busy,
    /// It has no memory left for what would grow.
    Memory,
    /// It is another store than the one that was meant: its id is read again.
    OtherStore,
    /// The user lacks a right.
    Rights,
    /// The queue to it is full.
    Queue,
    /// It said what is not understood.
    Protocol,
}

/// The second copy of rooms and sessions, as one shard reaches it.
pub trait Store {
    /// Whether rooms wait for what this store confirms. `false`: nothing is ever submitted.
    const WAITS: bool;

    /// Submits a request. Requests about one room or one session are done in the order in which they were submitted.
    fn submit(&mut self, now: Now, ticket: Ticket, request: Request);

    /// Sends what was submitted: called at the end of a turn, so that a turn is one write.
    fn flush(&mut self) {}

    /// The next answer, in any order.
    fn poll(&mut self, now: Now) -> Option<(Ticket, Result<Answer, StoreError>)>;

    /// Microseconds at which [`Store::poll`] has something to say that nothing else wakes for.
    fn next_wake(&self) -> Option<u64> {
        None
    }
}

/// The store of one node that keeps all it has in its own memory, until its process ends: nothing waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStore;

impl Store for NoStore {
    const WAITS: bool = false;

    fn submit(&mut self, _now: Now, _ticket: Ticket, _request: Request) {}

    fn poll(&mut self, _now: Now) -> Option<(Ticket, Result<Answer, StoreError>)> {
        None
    }
}
