//! Direct messages, and who is where to get them.

use std::sync::Arc;

use roomcast_protocol::{ErrorCode, MessageType};
use smallvec::SmallVec;

use crate::direct::DirectBody;
use crate::host::Encoding;
use crate::id::{ClientId, ConnRef};
use crate::store::StoreId;

/// A direct message on its way.
#[derive(Debug)]
pub(crate) struct DirectMessage {
    pub(crate) to: Recipient,
    pub(crate) from: ConnRef,
    pub(crate) from_encoding: Encoding,
    pub(crate) born: u64,
    /// As in [`Op::window`]; 0 of a copy.
    pub(crate) window: u32,
    pub(crate) request_id: u32,
    pub(crate) body: Arc<DirectBody>,
}

impl DirectMessage {
    /// The same for one client.
    pub(crate) fn copy_to(&self, client: ClientId) -> DirectMessage {
        DirectMessage {
            to: Recipient::client(client),
            body: Arc::clone(&self.body),
            ..*self
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// Clients that are at home on one shard.
    Clients(SmallVec<[ClientId; 1]>),
    /// All sessions of [`DirectBody::to_user`].
    User,
}

impl Recipient {
    pub(crate) fn client(client: ClientId) -> Recipient {
        Recipient::Clients(SmallVec::from_slice(&[client]))
    }

    /// The first client, where it names clients.
    pub(crate) fn first(&self) -> Option<ClientId> {
        match self {
            Recipient::Clients(clients) => clients.first().copied(),
            Recipient::User => None,
        }
    }
}

/// What became of a direct message that its sender had numbered.
#[derive(Debug)]
pub(crate) struct Receipted {
    pub(crate) sender: ClientId,
    pub(crate) seq: u64,
    pub(crate) request: MessageType,
    pub(crate) request_id: u32,
    pub(crate) receipt: Receipt,
}

/// What an inbox, or whoever knows a user's sessions, says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It is in an inbox, at this offset.
    Stored(u64),
    /// It is not.
    Failed(ErrorCode),
    /// So many inboxes will say.
    Copies(u32),
}

/// A direct message that the inbox of a client has in the store.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) client: ClientId,
    /// Its offset there, and the store whose offset that is.
    pub(crate) offset: u64,
    pub(crate) store: StoreId,
    /// The session's turn then. 0 where nobody says it.
    pub(crate) turn: u64,
    /// Milliseconds since the Unix epoch at which its sender's node took it.
    pub(crate) unix_ms: i64,
    pub(crate) body: Arc<DirectBody>,
}

/// Another node has taken a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTaken {
    pub(crate) client: ClientId,
    /// Its turn from then on.
    pub(crate) turn: u64,
    /// The generation of the resume token that was shown.
    pub(crate) shown: u32,
}

#[derive(Debug)]
pub(crate) struct UserSession {
    pub(crate) user_id: Box<str>,
    pub(crate) session: ClientId,
    /// Whether it is there, or gone.
    pub(crate) present: bool,
}
