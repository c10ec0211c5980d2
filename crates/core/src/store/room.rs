//! A room in the store: its header, a field for each member and sender, its state, and its log.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{NodeId, StoreId};
use crate::id::ClientId;
use crate::log::Epoch;
use crate::player::PlayerNum;

/// Whose a room is: a node, and the number of its lease, which rises whenever the node was given up. So a claim over a
/// node that is gone spares the rooms that it has claimed since it came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HomeName {
    /// The node.
    pub node: NodeId,
    /// The number of its lease.
    pub lease: u64,
}

/// The names of a room's epochs. Offsets run on over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// That of the log now.
    pub current: Epoch,
    /// Those before, the newest first, each with the offset up to which its positions are good; [`Epochs::KEPT`] at
    /// most.
    pub ended: SmallVec<[(Epoch, u64); 1]>,
}

impl Epochs {
    /// Ended epochs that are kept.
    pub const KEPT: usize = 8;
}

/// What a record says of its room, apart from members, senders, state and log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The room's home; `None`: it was released.
    pub home: Option<HomeName>,
    /// Rises with each claim and renewal. Who has a lower one is not the home any more. Below 2^53.
    pub fence: u64,
    /// The number of the last append that is in the record.
    pub n: u64,
    /// The store that the record was last claimed or renewed at.
    pub store: StoreId,
    /// It was renewed at this store by a home, while others may still have newer copies: a renewal with a higher fence
    /// replaces it, and appends and claims wait until who makes them is settled.
    pub pending: bool,
    /// The names of the log's epochs.
    pub epochs: Epochs,
    /// The offset of the last event; 0 before the first.
    pub offset: u64,
    /// The number that the next player is given.
    pub next_player: PlayerNum,
    /// The room's time, milliseconds since the Unix epoch: what it says later is not earlier.
    pub timestamp: i64,
    /// `full` presence has become `count`.
    pub counts_presence: bool,
}

/// A field of a record beside the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldKey {
    /// A member with its seats.
    Member(PlayerNum),
    /// The last numbers and answers of a client whose messages are numbered.
    Sender(ClientId),
    /// What the room's logic keeps.
    State,
    /// Whom the application does not let in.
    Rules,
}

/// One entry of a room's log: the events of one append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The offset of the last of them, by which the entry is named.
    pub last: u64,
    /// The events, packed by the home: a version, then each of them.
    pub events: Arc<[u8]>,
}

/// All of a room, as it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRecord {
    /// The header, with the new home and fence in it.
    pub header: Header,
    /// The other fields, in any order.
    pub fields: Vec<(FieldKey, Box<[u8]>)>,
    /// The log's entries that are kept, in their order.
    pub log: Vec<Log>,
}

/// Asks for a room, so as to be its home.
///
/// It is given where there is no record, or the record's home is nobody, a lease of the same node, or `dead`. Where there
/// is no record, or one that is pending or of another store, who asks must also be settled. Then home, fence (the greater
/// of one more and the store's clock in milliseconds), this store and, if it was another or none, the new epoch are
/// written at once, and nothing is pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The room's name.
    pub room: Arc<str>,
    /// Who wants to be its home.
    pub home: HomeName,
    /// The store at which the claimant saw what it goes by. At another one nothing is done: [`super::Cause::OtherStore`].
    pub store: StoreId,
    /// A home that is given up, as it was seen at this store.
    pub dead: Option<HomeName>,
    /// Whether the claimant is settled at this store: no living node can have a newer copy of a room that it has not
    /// written here.
    pub settled: bool,
    /// The name of the epoch that begins where there is no record, or one of another store.
    pub epoch: Epoch,
    /// Milliseconds since the Unix epoch, by the claimant's clock: the time of a room without a record.
    pub timestamp: i64,
    /// The claimant has the room still: the number of its last append that was confirmed, and its fence. Where the record
    /// has that fence, and that number or the next one, which was under way, it is not loaded.
    pub has: Option<(u64, u64)>,
    /// Milliseconds after which the record ends if nothing is written; 0: as before, and a new one does not end.
    pub ends_after: u64,
    /// Where there is no record, nothing is done.
    pub only_existing: bool,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Whoever asked is the room's home.
    Loaded(Box<RoomRecord>),
    /// The same, and what it has is what the record has: the header has the new fence, and says whether the append that was
    /// under way is in the record.
    Kept(Box<Header>),
    /// It is another's.
    Theirs(HomeName),
    /// Whoever asks is not settled at this store: ask again later.
    Unsettled,
    /// There is no record, and none was made: [`Claim::only_existing`].
    Absent,
}

/// Changes of a room, all or none of which are written. The header is written last.
///
/// It is done where the record's store, home and fence are these and `header.n` is one more than its own; it is
/// confirmed where `header.n` is its own and it is not pending. Else it is refused. An entry of the log comes after all that the log ever had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The room's name.
    pub room: Arc<str>,
    /// What the header is afterwards: home, fence, store and `n` are compared first. `pending` ends with it.
    pub header: Header,
    /// Whether the home is settled at this store.
    pub settled: bool,
    /// Fields that have changed, each once; `None`: that are gone.
    pub fields: Vec<(FieldKey, Option<Box<[u8]>>)>,
    /// An entry of the log, if there are events.
    pub log: Option<Log>,
    /// Entries of the log whose last event is before this offset are dropped.
    pub first: u64,
    /// Milliseconds after which the record ends if nothing is written; 0: as before.
    pub ends_after: u64,
}

/// A home writes its room at another store than the one that its record was of.
///
/// The fence of the header is one more than the one that the home had. It is done over a record that is missing; over one
/// of another store that has no higher fence than the home had, nor the same one from another node; and over one of this
/// store that is pending and has a lower fence than the header. It is confirmed where the record has this header. Else it
/// is refused.
///
/// Parts are written one after the other, each once the one before is confirmed. They wait beside the record, and replace
/// it with the last: until then it is as it was. A part that has been written before is confirmed; the first one begins
/// anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renew {
    /// The room's name.
    pub room: Arc<str>,
    /// What the header is afterwards, pending.
    pub header: Header,
    /// `None`: everything is here. Else there is one part, and it is what was changed since this append: it is added to the
    /// record, if that has this `n` and the fence that the home had, and is [`super::Written::Incomplete`] if not.
    pub base: Option<u64>,
    /// Which part this is, from 0, and whether it is the last.
    pub part: (u32, bool),
    /// Fields.
    pub fields: Vec<(FieldKey, Option<Box<[u8]>>)>,
    /// Entries of the log, in their order.
    pub log: Vec<Log>,
    /// Milliseconds after which the record ends if nothing is written; 0: it does not end, or as before where something is
    /// added.
    pub ends_after: u64,
}

/// Gives a room up that its home has nothing more to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The room's name.
    pub room: Arc<str>,
    /// As the record has them: else nothing is done.
    pub home: HomeName,
    /// The same.
    pub fence: u64,
    /// The same. At another store nothing is done: [`super::Cause::OtherStore`].
    pub store: StoreId,
    /// Milliseconds after which the record ends if nobody claims it; 0: at once.
    pub ends_after: u64,
}
