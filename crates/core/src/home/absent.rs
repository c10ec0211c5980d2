//! Seats without a connection, and until when they are waited for.

use std::collections::HashMap;

use crate::id::ClientId;
use crate::player::PlayerNum;
use crate::time::Now;

/// Seats by session, and when each ends, in microseconds.
#[derive(Debug)]
pub(super) struct Absent {
    seats: HashMap<ClientId, (PlayerNum, u64)>,
    /// No later than the first of them ends: one that has come back leaves its time behind.
    next: u64,
}

impl Absent {
    pub(super) fn new() -> Absent {
        Absent {
            seats: HashMap::new(),
            next: u64::MAX,
        }
    }

    pub(super) fn put(&mut self, client: ClientId, player: PlayerNum, until: u64) {
        self.seats.insert(client, (player, until));
        self.next = self.next.min(until);
    }

    pub(super) fn remove(&mut self, client: ClientId) -> Option<PlayerNum> {
        self.seats.remove(&client).map(|(player, _)| player)
    }

    pub(super) fn contains(&self, client: ClientId) -> bool {
        self.seats.contains_key(&client)
    }

    /// When to look at them.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Nobody looks at them before another one comes.
    pub(super) fn wait(&mut self) {
        self.next = u64::MAX;
    }

    /// Takes those out whose time is over.
    pub(super) fn take_overdue(&mut self, now: Now, over: &mut Vec<(PlayerNum, ClientId)>) {
        if self.next > now.micros {
            return;
        }
        self.seats.retain(|client, (player, until)| {
            let is_over = *until <= now.micros;
            if is_over {
                over.push((*player, *client));
            }
            !is_over
        });
        let untils = self.seats.values().map(|(_, until)| *until);
        self.next = untils.min().unwrap_or(u64::MAX);
    }
}
