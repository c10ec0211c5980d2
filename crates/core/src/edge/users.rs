//! The sessions of each user, at the user's home shard: where a message to a user finds them.

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::id::ClientId;

#[derive(Debug)]
struct User {
    id: Box<str>,
    hash: u64,
    sessions: SmallVec<[ClientId; 1]>,
}

/// The users at home on a shard that have sessions.
#[derive(Debug, Default)]
pub(super) struct Users {
    table: HashTable<User>,
}

impl Users {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// A user has one session more. False where that would be more than `most`, which is any for 0: then it is not added.
    pub(super) fn add(&mut self, id: &str, hash: u64, session: ClientId, most: usize) -> bool {
        let entry = self
            .table
            .entry(hash, |user| *user.id == *id, |user| user.hash);
        let user = entry.or_insert_with(|| User {
            id: id.into(),
            hash,
            sessions: SmallVec::new(),
        });
        let sessions = &mut user.into_mut().sessions;
        let known = sessions.contains(&session);
        let full = !known && most > 0 && sessions.len() >= most;
        if !known && !full {
            sessions.push(session);
        }
        !full
    }

    /// A session of a user has ended.
    pub(super) fn remove(&mut self, id: &str, hash: u64, session: ClientId) {
        let Ok(mut entry) = self.table.find_entry(hash, |user| *user.id == *id) else {
            return;
        };
        let sessions = &mut entry.get_mut().sessions;
        sessions.retain(|other| *other != session);
        if sessions.is_empty() {
            entry.remove();
        }
    }

    /// A user's sessions.
    pub(super) fn sessions(&self, id: &str, hash: u64) -> &[ClientId] {
        let user = self.table.find(hash, |user| *user.id == *id);
        user.map_or(&[], |user| &user.sessions)
    }
}
