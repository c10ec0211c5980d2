//! A store as a model: one Redis with its data, without Redis. The simulation runs on it, and the scripts for Redis are
//! compared with it, request by request.
//!
//! A clone is a dump. A store that comes back with the same or with older data is [`Model::restarted`] on it, one that
//! has lost all is [`Model::new`]; each has another id. Two that both take writes are two models.

mod kept;
mod nodes;
mod room;
mod session;

use std::collections::BTreeMap;
use std::sync::Arc;

use roomcast_core::ClientId;
use roomcast_core::store::{
    Answer, Cause, HomeName, NodeEntry, NodeId, Request, RoomRecord, SessionRecord, StoreError,
    StoreId,
};

pub use kept::Place;
use room::{Parts, Room};
use session::{Session, User};

/// One store with all that it has.
#[derive(Clone, Debug)]
pub struct Model {
    store: StoreId,
    full: bool,
    rooms: BTreeMap<Arc<str>, Room>,
    parts: BTreeMap<(Arc<str>, HomeName), Parts>,
    sessions: BTreeMap<ClientId, Session>,
    users: BTreeMap<Box<str>, User>,
    nodes: BTreeMap<NodeId, NodeEntry>,
    /// Bytes of rooms and inboxes.
    held: usize,
}

impl Model {
    /// An empty store.
    pub fn new(store: StoreId) -> Model {
        Model {
            store,
            full: false,
            rooms: BTreeMap::new(),
            parts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            users: BTreeMap::new(),
            nodes: BTreeMap::new(),
            held: 0,
        }
    }

    /// The same data under another id: as after a restart, or at a replica that has become the store.
    pub fn restarted(self, store: StoreId) -> Model {
        Model { store, ..self }
    }

    /// Which store it is.
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// Whether it has no memory left: what would grow is refused, what frees memory is done.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Does what is asked, at this time, milliseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`Cause::OtherStore`] if another one was meant, [`Cause::Memory`] if it is full, and [`Cause::Protocol`] for an
    /// entry of a log that does not come after the one before. Nothing is changed then.
    pub fn apply(&mut self, now_ms: u64, request: &Request) -> Result<Answer, StoreError> {
        if meant_for(request).is_some_and(|it| it != self.store) {
            return Err(StoreError::Again(Cause::OtherStore));
        }
        if self.full && grows(request) {
            return Err(StoreError::Again(Cause::Memory));
        }
        Ok(match request {
            Request::Claim(it) => {
                Answer::Claim(self.with_room(now_ms, &it.room, |model| model.claim(now_ms, it)))
            }
            Request::Append(it) => {
                Answer::Written(self.with_room(now_ms, &it.room, |model| model.append(now_ms, it))?)
            }
            Request::Renew(it) => {
                Answer::Written(self.with_room(now_ms, &it.room, |model| model.renew(now_ms, it))?)
            }
            Request::Release(it) => {
                self.with_room(now_ms, &it.room, |model| model.release(now_ms, it));
                Answer::Done
            }
            Request::Take(it) => Answer::Session(self.take(now_ms, it)),
            Request::Save(it) => {
                Answer::Turn(self.with_session(&it.client, |model| model.save(now_ms, it)))
            }
            Request::End(it) => {
                Answer::Turn(self.with_session(&it.client, |model| model.end(now_ms, it)))
            }
            Request::InboxAppend(it) => {
                let append = |model: &mut Model| model.inbox_append(now_ms, it);
                Answer::Inbox(self.with_session(&it.to, append))
            }
            Request::InboxRead(it) => Answer::InboxSlice(self.inbox_read(now_ms, it)),
            Request::User(it) => Answer::Clients(self.store, self.user(now_ms, it)),
            Request::Beat(it) => Answer::Beat(self.beat(now_ms, it)),
        })
    }

    /// What nodes have said of themselves, by node.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeEntry> {
        self.nodes.values()
    }

    /// What it has of a room, whoever is its home.
    pub fn room(&self, now_ms: u64, name: &str) -> Option<RoomRecord> {
        let room = self.rooms.get(name);
        room.filter(|it| !it.has_ended(now_ms)).map(Room::record)
    }

    /// When a room's record ends, milliseconds since the Unix epoch; `None`: never, or there is none.
    pub fn room_ends(&self, now_ms: u64, name: &str) -> Option<u64> {
        let room = self.rooms.get(name);
        room.filter(|it| !it.has_ended(now_ms))?.ends
    }

    /// The same of a session's record.
    pub fn session_ends(&self, now_ms: u64, client: &ClientId) -> Option<u64> {
        let session = self.sessions.get(client);
        session.filter(|it| !it.has_ended(now_ms))?.ends
    }

    /// The sessions that it has.
    pub fn sessions(&self, now_ms: u64) -> impl Iterator<Item = (ClientId, &SessionRecord)> {
        let live = self
            .sessions
            .iter()
            .filter(move |(_, it)| !it.has_ended(now_ms));
        live.map(|(client, it)| (*client, &it.record))
    }

    /// What it has of a session, whoever has it.
    pub fn session(&self, now_ms: u64, client: &ClientId) -> Option<&SessionRecord> {
        let session = self.sessions.get(client);
        session
            .filter(|it| !it.has_ended(now_ms))
            .map(|it| &it.record)
    }
}

/// The store that a request names; sessions are saved by whichever store there is.
fn meant_for(request: &Request) -> Option<StoreId> {
    match request {
        Request::Claim(it) => Some(it.store),
        Request::Append(it) => Some(it.header.store),
        Request::Renew(it) => Some(it.header.store),
        Request::Release(it) => Some(it.store),
        Request::Beat(it) => Some(it.store),
        Request::Take(it) => it.store,
        Request::End(it) => it.store,
        Request::Save(_) | Request::InboxAppend(_) | Request::InboxRead(_) | Request::User(_) => {
            None
        }
    }
}

/// Whether a store without memory refuses this. Leases are kept, and what ends or shrinks ends all the same.
pub(crate) fn grows(request: &Request) -> bool {
    match request {
        Request::Append(it) => it.log.is_some() || it.fields.iter().any(|(_, it)| it.is_some()),
        Request::Claim(_) | Request::Renew(_) | Request::Save(_) | Request::InboxAppend(_) => true,
        Request::User(it) => it.add.is_some(),
        Request::Release(_)
        | Request::Take(_)
        | Request::End(_)
        | Request::InboxRead(_)
        | Request::Beat(_) => false,
    }
}

/// When something ends that was written now: milliseconds since the Unix epoch, `None` never.
fn ends(now_ms: u64, after: u64, before: Option<u64>) -> Option<u64> {
    if after == 0 {
        before
    } else {
        Some(now_ms.saturating_add(after))
    }
}

fn has_ended(ends: Option<u64>, now_ms: u64) -> bool {
    ends.is_some_and(|it| now_ms > it)
}
