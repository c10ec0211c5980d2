//! What a store in memory has, piece by piece: so that it can be written to a file and read again.

use super::{RoomRecord, SessionRecord, StoreId};
use crate::id::ClientId;

/// One thing that a store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A room.
    Room(Box<KeptRoom>),
    /// A session with its inbox.
    Session(Box<KeptSession>),
    /// The sessions of a user.
    User(Box<KeptUser>),
}

/// A room's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRoom {
    /// Its name.
    pub name: Box<str>,
    /// All of it.
    pub record: RoomRecord,
    /// The last event that its log ever had.
    pub last: u64,
    /// When it ends, milliseconds since the Unix epoch; `None`: never.
    pub ends: Option<u64>,
}

/// A session's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSession {
    /// Whose.
    pub client: ClientId,
    /// What its node has packed.
    pub record: SessionRecord,
    /// The messages of its inbox, in their order.
    pub inbox: Vec<KeptMessage>,
    /// The offset of the newest message that there ever was.
    pub last: u64,
    /// At which store that came.
    pub store: StoreId,
    /// Which one it was before, up to which offset.
    pub before: Option<(StoreId, u64)>,
    /// When it ends, milliseconds since the Unix epoch; `None`: never.
    pub ends: Option<u64>,
}

/// A direct message in an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMessage {
    /// Its place.
    pub offset: u64,
    /// Who has sent it.
    pub from: ClientId,
    /// The sender's number.
    pub seq: u64,
    /// As its node has packed it.
    pub bytes: Box<[u8]>,
}

/// The sessions of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptUser {
    /// The user's id.
    pub user: Box<str>,
    /// Its sessions.
    pub clients: Vec<ClientId>,
    /// When they are forgotten, milliseconds since the Unix epoch; `None`: never.
    pub ends: Option<u64>,
}
