//! All that a store has, piece by piece, and what it drops by itself.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use roomcast_core::ClientId;
use roomcast_core::store::{FieldKey, Header, Kept, KeptRoom, KeptSession, KeptUser};

use super::room::{Entries, Fields, Room};
use super::session::{Session, User};
use super::{Model, has_ended};

/// How far all was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Not at all.
    #[default]
    Start,
    /// Up to this room.
    Room(Arc<str>),
    /// All rooms, and up to this session.
    Session(Option<ClientId>),
    /// All sessions, and up to this user.
    User(Option<Box<str>>),
    /// To the end.
    End,
}

impl Model {
    /// What comes after a place, about `most` bytes of it or one piece, and how far that is. What has ended is left out.
    /// Rooms are nobody's in it: whoever reads it is another process.
    pub fn kept(&self, now_ms: u64, place: &Place, most: usize) -> (Vec<Kept>, Place) {
        match place {
            Place::Start => self.kept_rooms(now_ms, Bound::Unbounded, most),
            Place::Room(room) => self.kept_rooms(now_ms, Bound::Excluded(room), most),
            Place::Session(client) => self.kept_sessions(now_ms, client.as_ref(), most),
            Place::User(user) => self.kept_users(now_ms, user.clone(), most),
            Place::End => (Vec::new(), Place::End),
        }
    }

    /// Takes one in that was written before. It replaces what there is.
    pub fn put(&mut self, kept: Kept) {
        match kept {
            Kept::Room(room) => self.put_room(*room),
            Kept::Session(session) => {
                let client = session.client;
                self.with_session(&client, |model| model.put_session(*session));
            }
            Kept::User(user) => {
                let KeptUser {
                    user,
                    clients,
                    ends,
                } = *user;
                let clients = clients.into_iter().collect();
                self.users.insert(user, User { clients, ends });
            }
        }
    }

    /// Bytes that rooms and sessions hold, about.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Rooms and sessions.
    pub fn len(&self) -> (usize, usize) {
        (self.rooms.len(), self.sessions.len())
    }

    /// Drops what has ended: it counts no more, but takes memory.
    pub fn sweep(&mut self, now_ms: u64) {
        self.rooms.retain(|_, it| !it.has_ended(now_ms));
        self.parts.retain(|_, it| !has_ended(it.ends, now_ms));
        self.sessions.retain(|_, it| !it.has_ended(now_ms));
        self.users.retain(|_, it| !has_ended(it.ends, now_ms));
        let rooms = self.rooms.values().map(Room::held);
        let sessions = self.sessions.values().map(Session::held);
        self.held = rooms.chain(sessions).sum();
    }

    /// Rooms that nobody is home of or in, with the time at which each ends.
    pub fn released(&self) -> impl Iterator<Item = (u64, Arc<str>)> {
        let released = self.rooms.iter().filter(|(_, it)| {
            let mut fields = it.fields.kept.keys();
            it.header.home.is_none() && !fields.any(|key| matches!(key, FieldKey::Member(_)))
        });
        released.map(|(name, it)| (it.ends.unwrap_or(u64::MAX), Arc::clone(name)))
    }

    /// Drops a room that nobody is home of.
    pub fn drop_released(&mut self, room: &str) {
        if let Some(it) = self.rooms.get(room).filter(|it| it.header.home.is_none()) {
            self.held -= it.held();
            self.rooms.remove(room);
        }
    }

    /// Sessions whose inboxes have something, with the time at which each ends.
    pub fn inboxes(&self) -> impl Iterator<Item = (u64, ClientId)> {
        let filled = self.sessions.iter().filter(|(_, it)| !it.inbox.is_empty());
        filled.map(|(client, it)| (it.ends.unwrap_or(u64::MAX), *client))
    }

    /// Drops what an inbox has. Its numbers go on, so whoever reads it knows what is missing.
    pub fn empty_inbox(&mut self, client: &ClientId) {
        self.with_session(client, |model| {
            if let Some(session) = model.sessions.get_mut(client) {
                session.inbox = VecDeque::new();
            }
        });
    }

    fn kept_rooms(&self, now_ms: u64, after: Bound<&Arc<str>>, most: usize) -> (Vec<Kept>, Place) {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        let rooms = self.rooms.range::<Arc<str>, _>((after, Bound::Unbounded));
        for (name, room) in rooms {
            bytes += room.held();
            if !room.has_ended(now_ms) {
                kept.push(Kept::Room(Box::new(kept_room(name, room))));
            }
            if bytes >= most {
                return (kept, Place::Room(Arc::clone(name)));
            }
        }
        (kept, Place::Session(None))
    }

    fn kept_sessions(
        &self,
        now_ms: u64,
        after: Option<&ClientId>,
        most: usize,
    ) -> (Vec<Kept>, Place) {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for (client, session) in behind(&self.sessions, after) {
            bytes += session.held();
            if !session.has_ended(now_ms) {
                kept.push(Kept::Session(Box::new(kept_session(*client, session))));
            }
            if bytes >= most {
                return (kept, Place::Session(Some(*client)));
            }
        }
        (kept, Place::User(None))
    }

    fn kept_users(&self, now_ms: u64, after: Option<Box<str>>, most: usize) -> (Vec<Kept>, Place) {
        let (mut kept, mut bytes) = (Vec::new(), 0);
        for (user, it) in behind(&self.users, after.as_ref()) {
            bytes += user.len() + it.clients.len() * ClientId::LENGTH;
            if !has_ended(it.ends, now_ms) {
                kept.push(Kept::User(Box::new(KeptUser {
                    user: user.clone(),
                    clients: it.clients.iter().copied().collect(),
                    ends: it.ends,
                })));
            }
            if bytes >= most {
                return (kept, Place::User(Some(user.clone())));
            }
        }
        (kept, Place::End)
    }

    fn put_room(&mut self, room: KeptRoom) {
        let name: Arc<str> = room.name.into();
        let mut fields = Fields::default();
        let changes = room.record.fields.into_iter();
        let changes: Vec<_> = changes.map(|(key, value)| (key, Some(value))).collect();
        fields.change(&changes);
        let mut log = Entries::default();
        // Out of their order they are of no use.
        let _ = log.add(&room.record.log);
        log.last = log.last.max(room.last);
        let room = Room {
            header: room.record.header,
            fields,
            log,
            ends: room.ends,
        };
        self.held += room.held();
        let before = self.rooms.insert(name, room);
        self.held -= before.as_ref().map_or(0, Room::held);
    }

    fn put_session(&mut self, session: KeptSession) {
        let client = session.client;
        let session = Session {
            record: session.record,
            attempt: None,
            inbox: session.inbox.into(),
            last: session.last,
            store: session.store,
            before: session.before,
            ends: session.ends,
        };
        self.sessions.insert(client, session);
    }
}

fn kept_room(name: &Arc<str>, room: &Room) -> KeptRoom {
    let mut record = room.record();
    record.header = Header {
        home: None,
        ..record.header
    };
    KeptRoom {
        name: (&**name).into(),
        record,
        last: room.log.last,
        ends: room.ends,
    }
}

fn kept_session(client: ClientId, session: &Session) -> KeptSession {
    KeptSession {
        client,
        record: session.record.clone(),
        inbox: session.inbox.iter().cloned().collect(),
        last: session.last,
        store: session.store,
        before: session.before,
        ends: session.ends,
    }
}

/// What comes behind a key.
fn behind<'a, K: Ord, V>(
    map: &'a BTreeMap<K, V>,
    after: Option<&'a K>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let after = after.map_or(Bound::Unbounded, Bound::Excluded);
    map.range((after, Bound::Unbounded))
}
