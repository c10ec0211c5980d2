//! Sessions with their inboxes, and the sessions of a user.

use std::collections::{BTreeSet, VecDeque};

use roomcast_core::ClientId;
use roomcast_core::store::{
    End, InboxAppend, InboxAppended, InboxRead, InboxSlice, KeptMessage, NodeId, Save,
    SessionRecord, StoreId, Take, Taken, UserChange,
};

use super::{Model, ends, has_ended};

#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) record: SessionRecord,
    /// Which asking took it last.
    pub(super) attempt: Option<u64>,
    pub(super) inbox: VecDeque<KeptMessage>,
    /// The offset of the newest message that there ever was.
    pub(super) last: u64,
    /// At which store that came, and which one it was before, up to which offset.
    pub(super) store: StoreId,
    pub(super) before: Option<(StoreId, u64)>,
    pub(super) ends: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct User {
    pub(super) clients: BTreeSet<ClientId>,
    pub(super) ends: Option<u64>,
}

/// Whether a record is that of a node, with a turn; or is older, where another store has confirmed that one.
fn gives_way(
    old: &SessionRecord,
    (turn, node): (u64, NodeId),
    known: Option<StoreId>,
    store: StoreId,
) -> bool {
    let is_elsewhere = known.is_some_and(|it| it != store);
    (old.turn, old.node) == (turn, node) || is_elsewhere && old.turn < turn
}

impl Session {
    pub(super) fn has_ended(&self, now_ms: u64) -> bool {
        has_ended(self.ends, now_ms)
    }

    fn bytes(&self) -> usize {
        self.inbox.iter().map(|it| it.bytes.len()).sum()
    }

    /// Bytes that it holds, about.
    pub(super) fn held(&self) -> usize {
        let messages = self.inbox.len() * size_of::<KeptMessage>() + self.bytes();
        2 * size_of::<Session>() + self.record.value.len() + messages
    }
}

impl Model {
    /// Does something with a session, and counts what it holds then.
    pub(super) fn with_session<T>(
        &mut self,
        client: &ClientId,
        change: impl FnOnce(&mut Model) -> T,
    ) -> T {
        let before = self.sessions.get(client).map_or(0, Session::held);
        let result = change(self);
        let after = self.sessions.get(client).map_or(0, Session::held);
        self.held = self.held + after - before;
        result
    }

    pub(super) fn take(&mut self, now_ms: u64, take: &Take) -> Taken {
        let store = self.store;
        let Some(session) = self.live_session(now_ms, &take.client) else {
            return Taken::Nothing { store, now: now_ms };
        };
        let record = &mut session.record;
        let again = session.attempt == Some(take.attempt) && record.node == take.node;
        if !again {
            if take.turn.is_some_and(|it| it != record.turn) {
                return Taken::Other(record.clone());
            }
            record.turn += 1;
            record.node = take.node;
            session.attempt = Some(take.attempt);
        }
        Taken::Taken(session.record.clone())
    }

    pub(super) fn save(&mut self, now_ms: u64, save: &Save) -> bool {
        let store = self.store;
        let new = &save.record;
        let Some(session) = self.live_session(now_ms, &save.client) else {
            // One that has ended is replaced.
            if save.known == Some(store) {
                return false;
            }
            let session = Session {
                record: new.clone(),
                attempt: None,
                inbox: VecDeque::new(),
                last: 0,
                store: StoreId::default(),
                before: None,
                ends: ends(now_ms, save.ends_after, None),
            };
            self.sessions.insert(save.client, session);
            return true;
        };
        if !gives_way(&session.record, (new.turn, new.node), save.known, store) {
            return false;
        }
        session.record = new.clone();
        session.ends = ends(now_ms, save.ends_after, session.ends);
        true
    }

    pub(super) fn end(&mut self, now_ms: u64, end: &End) -> bool {
        let store = self.store;
        if let Some(session) = self.live_session(now_ms, &end.client)
            && !gives_way(&session.record, (end.turn, end.node), end.known, store)
        {
            return false;
        }
        self.sessions.remove(&end.client);
        true
    }

    pub(super) fn inbox_append(&mut self, now_ms: u64, append: &InboxAppend) -> InboxAppended {
        let store = self.store;
        let Some(session) = self.live_session(now_ms, &append.to) else {
            return InboxAppended::NoSession(store);
        };
        let SessionRecord { node, turn, .. } = session.record;
        let same = |it: &&KeptMessage| it.seq == append.seq && it.from == append.from;
        if let Some(known) = session.inbox.iter().find(same).filter(|it| it.seq > 0) {
            let (offset, store) = (known.offset, session.store);
            return InboxAppended::Stored {
                offset,
                node,
                turn,
                store,
            };
        }
        if session.store != store {
            let none = session.store == StoreId::default();
            session.before = (!none).then_some((session.store, session.last));
            session.store = store;
        }
        session.last += 1;
        let offset = session.last;
        session.inbox.push_back(KeptMessage {
            offset,
            from: append.from,
            seq: append.seq,
            bytes: append.message.clone(),
        });
        while session.inbox.len() > 1
            && (session.inbox.len() > append.most as usize
                || session.bytes() > append.most_bytes as usize)
        {
            session.inbox.pop_front();
        }
        InboxAppended::Stored {
            offset,
            node,
            turn,
            store,
        }
    }

    pub(super) fn inbox_read(&mut self, now_ms: u64, read: &InboxRead) -> InboxSlice {
        let Some(session) = self.live_session(now_ms, &read.client) else {
            return InboxSlice {
                first: 1,
                ..InboxSlice::default()
            };
        };
        let mut bytes = 0;
        let mut messages = Vec::new();
        for message in session.inbox.iter().filter(|it| it.offset > read.after) {
            bytes += message.bytes.len();
            if !messages.is_empty() && bytes > read.most_bytes as usize {
                break;
            }
            messages.push((message.offset, message.bytes.clone()));
        }
        let last = session.last;
        InboxSlice {
            messages,
            first: session.inbox.front().map_or(last + 1, |it| it.offset),
            last,
            store: session.store,
            before: session.before,
        }
    }

    pub(super) fn user(&mut self, now_ms: u64, change: &UserChange) -> Vec<ClientId> {
        let known = self.users.get(&change.user);
        if known.is_some_and(|it| has_ended(it.ends, now_ms)) {
            self.users.remove(&change.user);
        }
        let user = self.users.entry(change.user.clone()).or_default();
        for client in &change.remove {
            user.clients.remove(client);
        }
        if let Some(client) = change.add
            && (change.most == 0 || user.clients.len() < change.most as usize)
        {
            user.clients.insert(client);
        }
        user.ends = ends(now_ms, change.ends_after, user.ends);
        let clients: Vec<_> = user.clients.iter().copied().collect();
        if clients.is_empty() {
            self.users.remove(&change.user);
        }
        clients
    }

    fn live_session(&mut self, now_ms: u64, client: &ClientId) -> Option<&mut Session> {
        let session = self.sessions.get(client)?;
        if session.has_ended(now_ms) {
            return None;
        }
        self.sessions.get_mut(client)
    }
}
