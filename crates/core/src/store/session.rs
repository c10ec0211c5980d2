//! A session in the store: a record with its turn, its inbox, and whose it is.

use super::{NodeId, StoreId};
use crate::id::ClientId;

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Rises with each takeover, and from one session to the next of the same name: of two that want it, one has the
    /// higher turn. Below 2^53.
    pub turn: u64,
    /// The node that has the session, or had it last.
    pub node: NodeId,
    /// What the node has packed: the token's key, the identity, rooms, numbers sent, since when without a connection.
    pub value: Box<[u8]>,
}

/// Takes a session over: its turn becomes one more, and its node the one that asks. With a turn that no session has, 0,
/// it is only looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// Whose session.
    pub client: ClientId,
    /// The turn that it was seen with; `None`: whatever it is. Where it has another one nothing is taken.
    pub turn: Option<u64>,
    /// The store at which it was seen so, or is to be looked at. At another one nothing is done:
    /// [`super::Cause::OtherStore`]. `None`: whichever there is.
    pub store: Option<StoreId>,
    /// Who asks.
    pub node: NodeId,
    /// Which asking it is, a random number: one that is repeated is answered as it was before.
    pub attempt: u64,
}

impl Take {
    /// Only looks at a session, at this store alone: another one may have an older record. `attempt`: a random number.
    pub(crate) fn look(client: ClientId, store: StoreId, attempt: u64) -> Take {
        Take {
            client,
            turn: Some(0),
            store: Some(store),
            node: NodeId::default(),
            attempt,
        }
    }
}

/// The answer to a takeover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// There is no record.
    Nothing {
        /// At this store.
        store: StoreId,
        /// Its time, milliseconds since the Unix epoch: higher than the turn of any session of this name that has ended
        /// there. One that begins now begins with it, so that what is left of those before comes late.
        now: u64,
    },
    /// Whoever asks has the session: its record, with the new turn and the new node.
    Taken(SessionRecord),
    /// Its turn is another. Nothing was changed.
    Other(SessionRecord),
}

/// Writes a session's record.
///
/// Where the store knows it ([`Save::known`]), the record has to be the one that this node has: of the same turn and node.
/// Where no store does, there must be none, or that one: what another node has begun is not replaced. Where another store
/// does, one that is there may be older: of a lower turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// Whose session.
    pub client: ClientId,
    /// What is written.
    pub record: SessionRecord,
    /// The store that has confirmed a save or a takeover of this session by this node last. If there is no record any more
    /// at that one, the session has ended, and is not written: else a node that was stopped would bring it back.
    pub known: Option<StoreId>,
    /// Milliseconds after which the record ends with its inbox if nothing is written; 0: as before.
    pub ends_after: u64,
}

/// Ends a session and its inbox. Which record is ended is decided as for [`Save`]; where there is none, it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Whose session.
    pub client: ClientId,
    /// Its turn.
    pub turn: u64,
    /// Who ends it.
    pub node: NodeId,
    /// As in [`Save::known`].
    pub known: Option<StoreId>,
    /// The store that there is, as its node knows; another one refuses it ([`Cause::OtherStore`](super::Cause)). `None`:
    /// whichever there is.
    pub store: Option<StoreId>,
}

/// Appends a direct message to an inbox. One that is numbered is not put in again while the inbox keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxAppend {
    /// Whose inbox: nothing is done where there is no session.
    pub to: ClientId,
    /// Who sends.
    pub from: ClientId,
    /// The sender's number. Where it has none, a random one from 2^53 on, so that one that is asked again is known; 0: a
    /// repeat is a second message.
    pub seq: u64,
    /// The message, packed.
    pub message: Box<[u8]>,
    /// Messages that the inbox keeps, at least one: the newest.
    pub most: u32,
    /// Bytes of messages that it keeps, but one.
    pub most_bytes: u32,
}

/// What became of a direct message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboxAppended {
    /// It is in the inbox, at this offset, now or since before; and the node that has the session.
    Stored {
        /// 1 for the first.
        offset: u64,
        /// Who has the session.
        node: NodeId,
        /// Its turn: whose inbox it is, of the sessions that this name has had.
        turn: u64,
        /// The store whose offset that is: see [`InboxSlice::store`].
        store: StoreId,
    },
    /// This store has no such session.
    NoSession(StoreId),
}

/// Reads an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxRead {
    /// Whose.
    pub client: ClientId,
    /// After this offset.
    pub after: u64,
    /// At most so many bytes of messages, but one.
    pub most_bytes: u32,
}

/// A part of an inbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxSlice {
    /// Offsets and messages, in their order.
    pub messages: Vec<(u64, Box<[u8]>)>,
    /// The offset of the oldest that is kept; one more than the last where none is.
    pub first: u64,
    /// The offset of the newest.
    pub last: u64,
    /// The store at which the newest was appended; of nobody while there was none. Offsets mean something with it alone:
    /// another store may have lost some, and have given them to other messages since.
    pub store: StoreId,
    /// The one before, with the offset of the newest that there was when the first message came at `store`. What it had
    /// confirmed up to there has the same offset still.
    pub before: Option<(StoreId, u64)>,
}

/// A user has a session more, or one less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    /// The user's id.
    pub user: Box<str>,
    /// A session that is there now.
    pub add: Option<ClientId>,
    /// Sessions that are gone.
    pub remove: Vec<ClientId>,
    /// Sessions that a user may have: one more is not added, once the others are removed. 0 is any.
    pub most: u32,
    /// Milliseconds after which all are forgotten if nothing is written; 0: as before.
    pub ends_after: u64,
}
