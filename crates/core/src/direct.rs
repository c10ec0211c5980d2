//! A direct message, as all inboxes that have it share it, and the memory that inboxes may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roomcast_protocol::{Body, MessageType, Payload, PayloadKind, Sender};

use crate::id::ClientId;

/// What a direct message says, once for all who get it.
#[derive(Debug)]
pub(crate) struct DirectBody {
    pub(crate) message_type: MessageType,
    pub(crate) payload_kind: PayloadKind,
    /// Whose number [`DirectBody::seq`] is. It is not told where it is nobody's.
    pub(crate) from: ClientId,
    /// That one's user, or the user that the service names; empty where there is none.
    pub(crate) from_user: Box<str>,
    /// The service that sent it; empty where a client did.
    pub(crate) service: Box<str>,
    /// The user that it is for; empty where it is for one client.
    pub(crate) to_user: Box<str>,
    /// The sender's number for it; 0 for none.
    pub(crate) seq: u64,
    pub(crate) ephemeral: bool,
    /// The event's name, then the payload.
    pub(crate) bytes: Box<[u8]>,
    pub(crate) name_length: u32,
}

/// A message that inboxes of a shard hold, counted once however many they are.
#[derive(Debug)]
pub(crate) struct CountedBody {
    pub(crate) body: Arc<DirectBody>,
    _memory: InboxShare,
}

impl CountedBody {
    pub(crate) fn new(body: &Arc<DirectBody>, memory: &Arc<InboxMemory>) -> Arc<CountedBody> {
        Arc::new(CountedBody {
            body: Arc::clone(body),
            _memory: memory.take(body.size()),
        })
    }
}

/// What a message counts for beside its ids, its name and its payload, in bytes.
const OVERHEAD: usize = 64;

impl DirectBody {
    /// What a message counts for between these two, an id of its sender and one of the user that it is for, with so many
    /// bytes of name and payload.
    pub(crate) fn size_of(from: &str, to_user: &str, bytes: usize) -> usize {
        OVERHEAD + ClientId::LENGTH + from.len() + to_user.len() + bytes
    }

    pub(crate) fn size(&self) -> usize {
        DirectBody::size_of(&self.from_user, &self.to_user, self.bytes.len()) + self.service.len()
    }

    /// Who it is from, as those who get it see it. A direct message belongs to no room, so its sender has no number.
    pub(crate) fn sender(&self) -> Sender<'_> {
        Sender {
            client_id: if self.from.is_nobodys() {
                ""
            } else {
                self.from.as_str()
            },
            user_id: &self.from_user,
            player_num: 0,
            service: &self.service,
        }
    }

    /// Whether the sender is to hear what became of it.
    pub(crate) fn is_numbered(&self) -> bool {
        self.seq > 0 && !self.ephemeral
    }

    /// The event's name, and the payload.
    pub(crate) fn name_and_payload(&self) -> (&str, &[u8]) {
        let (name, payload) = self
            .bytes
            .split_at_checked(self.name_length as usize)
            .unwrap_or_default();
        (std::str::from_utf8(name).unwrap_or_default(), payload)
    }

    /// As it is sent on.
    pub(crate) fn body(&self) -> Body<'_> {
        let (name, data) = self.name_and_payload();
        let payload = Payload {
            kind: self.payload_kind,
            data,
        };
        match self.message_type {
            MessageType::Chat => Body::Chat(payload),
            _ => Body::Event { name, payload },
        }
    }
}

/// The memory that a shard's inboxes take.
#[derive(Debug, Default)]
pub(crate) struct InboxMemory(AtomicUsize);

/// A part of it, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct InboxShare {
    memory: Arc<InboxMemory>,
    bytes: usize,
}

impl InboxMemory {
    /// Bytes that are held now.
    pub(crate) fn held(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts so many bytes more.
    pub(crate) fn take(self: &Arc<InboxMemory>, bytes: usize) -> InboxShare {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        let memory = Arc::clone(self);
        InboxShare { memory, bytes }
    }
}

impl InboxShare {
    /// Counts so many bytes in the place of those before.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            *self = self.memory.take(bytes);
        }
    }
}

impl Drop for InboxShare {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
