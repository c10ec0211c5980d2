//! Messages to users, on their way to all sessions of theirs: a bounded part of the copies in each turn.

use std::collections::VecDeque;

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::address::ShardAddress;
use crate::id::ClientId;
use crate::letter::DirectMessage;

/// Bytes of copies that one user gets before the next one's turn.
const ROUND: usize = 64 * 1024;
/// What a copy costs beside its bytes: finding the session, and its place in the inbox.
const COPY: usize = 1_024;

/// Users with messages that wait, each of them in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    users: slab::Slab<User>,
    by_id: HashTable<u32>,
    /// Whose turn is next.
    turns: VecDeque<u32>,
}

#[derive(Debug)]
struct User {
    hash: u64,
    messages: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    message: DirectMessage,
    /// Those that it has still to reach, by home shard, the next one last.
    sessions: Vec<(ShardAddress, ClientId)>,
}

/// A part of a message's copies: sessions that are at home on one shard.
pub(super) struct Part<'a> {
    pub(super) message: &'a DirectMessage,
    pub(super) home: ShardAddress,
    pub(super) sessions: SmallVec<[ClientId; 1]>,
    /// It has reached all with this.
    pub(super) is_last: bool,
}

impl FanOut {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// A message to a user, for these sessions with their home shards.
    pub(super) fn push(
        &mut self,
        hash: u64,
        message: DirectMessage,
        mut sessions: Vec<(ShardAddress, ClientId)>,
    ) {
        sessions.sort_unstable_by_key(|(home, _)| *home);
        let is_it = |slot: &u32| {
            let user = self.users.get(*slot as usize);
            let first = user.and_then(|user| user.messages.front());
            first.is_some_and(|it| it.message.body.to_user == message.body.to_user)
        };
        let slot = match self.by_id.find(hash, is_it) {
            Some(slot) => *slot,
            None => {
                let messages = VecDeque::new();
                let slot = self.users.insert(User { hash, messages }) as u32;
                let users = &self.users;
                let hash_of = |slot: &u32| users.get(*slot as usize).map_or(0, |it| it.hash);
                self.by_id.insert_unique(hash, slot, hash_of);
                self.turns.push_back(slot);
                slot
            }
        };
        if let Some(user) = self.users.get_mut(slot as usize) {
            user.messages.push_back(Waiting { message, sessions });
        }
    }

    /// Takes such messages out.
    pub(super) fn withdraw(&mut self, is_such: impl Fn(&DirectMessage) -> bool) {
        // Who has none left goes with the next turn.
        for (_, user) in &mut self.users {
            user.messages.retain(|it| !is_such(&it.message));
        }
    }

    /// Gives the next part to `send`, and takes what it cost from `budget`. False where nothing waits.
    pub(super) fn next(&mut self, budget: &mut usize, send: impl FnOnce(Part<'_>)) -> bool {
        let Some(slot) = self.turns.pop_front() else {
            return false;
        };
        let Some(user) = self.users.get_mut(slot as usize) else {
            return true;
        };
        if let Some(Waiting { message, sessions }) = user.messages.front_mut() {
            let cost = COPY + message.body.bytes.len();
            let most = ((*budget).min(ROUND) / cost).max(1);
            let home = sessions
                .last()
                .map_or(ShardAddress::NONE, |(home, _)| *home);
            let same = sessions.iter().rev().take(most);
            let count = same.take_while(|(other, _)| *other == home).count();
            let part = sessions.drain(sessions.len() - count..).rev();
            let part = part.map(|(_, client)| client).collect();
            *budget = budget.saturating_sub(cost * count);
            let is_last = sessions.is_empty();
            send(Part {
                message,
                home,
                sessions: part,
                is_last,
            });
            if is_last {
                user.messages.pop_front();
            }
        }
        if user.messages.is_empty() {
            let hash = user.hash;
            self.users.remove(slot as usize);
            if let Ok(entry) = self.by_id.find_entry(hash, |other| *other == slot) {
                entry.remove();
            }
        } else {
            self.turns.push_back(slot);
        }
        true
    }
}
