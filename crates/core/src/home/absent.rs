//! Seats without a connection, and until when they are waited for.

use std::collections::HashMap;

use crate::id::ClientId;
use crate::player::PlayerNum;
use crate::store::Ticket;
use crate::time::Now;

/// Seats by session, and when each is to be looked at.
#[derive(Debug)]
pub(super) struct Absent {
    seats: HashMap<ClientId, Seat>,
    /// No later than the first of them is looked at: one that has come back leaves its time behind.
    next: u64,
}

#[derive(Debug)]
struct Seat {
    player: PlayerNum,
    /// Microseconds; [`u64::MAX`] while the store is asked.
    until: u64,
    /// When its time was over first; [`u64::MAX`] before that.
    overdue_since: u64,
    /// The store is asked who has its session.
    asked: Option<Ticket>,
}

impl Absent {
    pub(super) fn new() -> Absent {
        Absent {
            seats: HashMap::new(),
            next: u64::MAX,
        }
    }

    pub(super) fn put(&mut self, client: ClientId, player: PlayerNum, until: u64) {
        let seat = Seat {
            player,
            until,
            overdue_since: u64::MAX,
            asked: None,
        };
        self.seats.insert(client, seat);
        self.next = self.next.min(until);
    }

    pub(super) fn remove(&mut self, client: ClientId) -> Option<PlayerNum> {
        self.seats.remove(&client).map(|seat| seat.player)
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
        let first = over.len();
        self.begin_overdue(now, over);
        for (_, client) in over.iter().skip(first) {
            self.seats.remove(client);
        }
    }

    /// Those whose time is over. They stay, and nobody looks at them again before the store has answered.
    pub(super) fn begin_overdue(&mut self, now: Now, over: &mut Vec<(PlayerNum, ClientId)>) {
        if self.next > now.micros {
            return;
        }
        for (client, seat) in &mut self.seats {
            if seat.until <= now.micros {
                seat.overdue_since = seat.overdue_since.min(seat.until);
                seat.until = u64::MAX;
                over.push((seat.player, *client));
            }
        }
        let untils = self.seats.values().map(|seat| seat.until);
        self.next = untils.min().unwrap_or(u64::MAX);
    }

    /// The store is asked about a seat.
    pub(super) fn note_asked(&mut self, client: ClientId, ticket: Ticket) {
        if let Some(seat) = self.seats.get_mut(&client) {
            seat.asked = Some(ticket);
        }
    }

    /// Whose seat an answer is about, unless it has had a connection since; and since when its time is over.
    pub(super) fn asked_about(&self, client: ClientId, ticket: Ticket) -> Option<(PlayerNum, u64)> {
        let seat = self.seats.get(&client)?;
        (seat.asked == Some(ticket)).then_some((seat.player, seat.overdue_since))
    }

    /// A seat whose time is over is looked at again then.
    pub(super) fn put_off(&mut self, client: ClientId, until: u64) {
        if let Some(seat) = self.seats.get_mut(&client) {
            (seat.until, seat.asked) = (until, None);
            self.next = self.next.min(until);
        }
    }
}
