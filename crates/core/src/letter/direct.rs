//! Direct messages, and who is where to get them.

use std::sync::Arc;

use roomcast_protocol::{ErrorCode, MessageType};
use smallvec::SmallVec;

use crate::direct::DirectBody;
use crate::host::Encoding;
use crate::id::{ClientId, ConnRef};

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

#[derive(Debug)]
pub(crate) struct UserSession {
    pub(crate) user_id: Box<str>,
    pub(crate) session: ClientId,
    /// Whether it is there, or gone.
    pub(crate) present: bool,
}
