//! A store in the memory of one process, for a node alone that is to come back as it was: what it has is written to a file
//! ([`write()`]), and read again by the next process ([`read`]).
//!
//! It keeps the rules of a store, which are those of [`crate::model`], and answers at once. So what a home, a session or
//! an inbox does here is what it does with Redis, and a restart is what a restart with Redis is.

mod file;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roomcast_core::Now;
use roomcast_core::store::{
    Answer, Kept, KeyOf, Request, Slot, Store, StoreError, StoreId, Ticket,
};

use crate::model::Model;

pub use file::{FileError, Head, Written, read, write};

/// Parts of the store, each with a lock of its own: shards seldom meet.
const PARTS: usize = 64;

/// A store in memory, which all shards of a node share.
#[derive(Debug)]
pub struct KeptStore {
    parts: Vec<Mutex<Model>>,
    store: StoreId,
    /// Bytes that all parts hold.
    held: AtomicUsize,
    /// Bytes that they may hold; 0 is any.
    most: usize,
}

/// It, as one shard reaches it.
#[derive(Debug)]
pub struct ShardStore {
    kept: Arc<KeptStore>,
    answers: VecDeque<(Ticket, Result<Answer, StoreError>)>,
}

impl KeptStore {
    /// An empty one. `most`: bytes that it may hold; beyond it takes nothing that grows, as a Redis without memory. 0 is
    /// any.
    ///
    /// Each process has another `store`: what an earlier one has confirmed may not be in the file, and clients have to hear
    /// of that.
    pub fn new(store: StoreId, most: usize) -> KeptStore {
        let part = |_| Mutex::new(Model::new(store));
        KeptStore {
            parts: (0..PARTS).map(part).collect(),
            store,
            held: AtomicUsize::new(0),
            most,
        }
    }

    /// Which store it is.
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// Bytes that it holds, about.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Rooms and sessions.
    pub fn len(&self) -> (usize, usize) {
        let parts = (0..PARTS).map(|part| self.lock(part).len());
        parts.fold((0, 0), |(rooms, sessions), (more_rooms, more_sessions)| {
            (rooms + more_rooms, sessions + more_sessions)
        })
    }

    /// As one shard reaches it.
    pub fn shard(self: &Arc<KeptStore>) -> ShardStore {
        ShardStore {
            kept: Arc::clone(self),
            answers: VecDeque::new(),
        }
    }

    /// Takes in what was read of a file.
    pub fn put(&self, kept: Kept) {
        let part = match &kept {
            Kept::Room(room) => part_of(KeyOf::Room(&room.name)),
            Kept::Session(session) => part_of(KeyOf::Session(&session.client)),
            Kept::User(user) => part_of(KeyOf::User(&user.user)),
        };
        self.change(part, |model| model.put(kept));
    }

    /// Drops what has ended. Where the store is nearly full, rooms go that nobody is in, and then what inboxes have, those
    /// first that would end first: whoever lacks something of an inbox is told. To be called every few seconds.
    pub fn sweep(&self, now_ms: u64) {
        for part in 0..PARTS {
            self.change(part, |model| model.sweep(now_ms));
        }
        let enough = self.most / 4 * 3;
        if self.most == 0 || self.held() <= enough {
            return;
        }
        let mut released = Vec::new();
        for part in 0..PARTS {
            let of_part = self.lock(part);
            released.extend(of_part.released().map(|(ends, room)| (ends, part, room)));
        }
        released.sort_unstable();
        for (_, part, room) in released {
            if self.held() <= enough {
                break;
            }
            self.change(part, |model| model.drop_released(&room));
        }
        let mut inboxes = Vec::new();
        for part in 0..PARTS {
            if self.held() <= enough {
                return;
            }
            let of_part = self.lock(part);
            inboxes.extend(of_part.inboxes().map(|(ends, client)| (ends, part, client)));
        }
        inboxes.sort_unstable_by_key(|(ends, ..)| *ends);
        for (_, part, client) in inboxes {
            if self.held() <= enough {
                break;
            }
            self.change(part, |model| model.empty_inbox(&client));
        }
    }

    fn apply(&self, now_ms: u64, request: &Request) -> Result<Answer, StoreError> {
        let part = match request {
            Request::Claim(it) => part_of(KeyOf::Room(&it.room)),
            Request::Append(it) => part_of(KeyOf::Room(&it.room)),
            Request::Renew(it) => part_of(KeyOf::Room(&it.room)),
            Request::Release(it) => part_of(KeyOf::Room(&it.room)),
            Request::Take(it) => part_of(KeyOf::Session(&it.client)),
            Request::Save(it) => part_of(KeyOf::Session(&it.client)),
            Request::End(it) => part_of(KeyOf::Session(&it.client)),
            Request::InboxAppend(it) => part_of(KeyOf::Session(&it.to)),
            Request::InboxRead(it) => part_of(KeyOf::Session(&it.client)),
            Request::User(it) => part_of(KeyOf::User(&it.user)),
            Request::Beat(_) => 0,
        };
        let is_full = self.most > 0 && self.held() >= self.most;
        self.change(part, |model| {
            model.set_full(is_full);
            model.apply(now_ms, request)
        })
    }

    fn change<T>(&self, part: usize, change: impl FnOnce(&mut Model) -> T) -> T {
        let mut model = self.lock(part);
        let before = model.held();
        let result = change(&mut model);
        let after = model.held();
        if after >= before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }

    fn lock(&self, part: usize) -> MutexGuard<'_, Model> {
        // A shard that panicked ends the process. What is there is written all the same.
        self.parts[part]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn part_of(key: KeyOf<'_>) -> usize {
    usize::from(Slot::of(key).0) % PARTS
}

impl Store for ShardStore {
    const WAITS: bool = true;

    fn submit(&mut self, now: Now, ticket: Ticket, request: Request) {
        let now_ms = u64::try_from(now.unix_ms).unwrap_or(0);
        let answer = self.kept.apply(now_ms, &request);
        self.answers.push_back((ticket, answer));
    }

    fn poll(&mut self, _now: Now) -> Option<(Ticket, Result<Answer, StoreError>)> {
        self.answers.pop_front()
    }

    fn next_wake(&self) -> Option<u64> {
        (!self.answers.is_empty()).then_some(0)
    }
}
