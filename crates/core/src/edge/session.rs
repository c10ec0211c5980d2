//! What outlives a connection, and where it waits for the next one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroU64;
use std::ops::Range;

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::edge::admission::Admission;
use crate::edge::inbox::DirectMessages;
use crate::edge::membership::{Events, Membership};
use crate::host::Encoding;
use crate::id::{ClientId, ConnId, EdgeRoomId};
use crate::identity::{Identity, Origin};
use crate::settings::Settings;
use crate::token::SessionKey;

/// A client's rooms, its direct messages, and who it is.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// What its resume token has to show; `None`: it ends with its connection.
    pub(super) key: Option<SessionKey>,
    /// The generation with which it began: who shows an older token has not heard that it is another session.
    pub(super) first: u32,
    /// In the order in which they were joined.
    pub(super) memberships: SmallVec<[Membership; 1]>,
    pub(super) direct_messages: Option<Box<DirectMessages>>,
    pub(super) admission: Admission,
}

impl Session {
    pub(super) fn membership(&mut self, room: EdgeRoomId) -> Option<&mut Membership> {
        let mut memberships = self.memberships.iter_mut();
        memberships.find(|membership| membership.room == room)
    }

    /// Microseconds since which it is behind in a room because it reads slowly.
    pub(super) fn slow_since(&self) -> Option<u64> {
        let slow = |membership: &Membership| match membership.events {
            Events::Behind(behind) => behind.slow_since.map(NonZeroU64::get),
            Events::None | Events::Live => None,
        };
        self.memberships.iter().filter_map(slow).min()
    }

    /// What its token says, if it has one.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.admission.identity()
    }

    /// Whom its token names; empty for nobody.
    pub(super) fn user_id(&self) -> &str {
        self.identity().map_or("", |identity| &identity.user_id)
    }

    pub(super) fn direct_messages(&mut self) -> &mut DirectMessages {
        self.direct_messages.get_or_insert_default()
    }
}

/// A session without a connection.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) client_id: ClientId,
    pub(super) hash: u64,
    /// The connection that it had: by it rooms know their member.
    pub(super) conn: ConnId,
    pub(super) encoding: Encoding,
    /// Where that came from.
    pub(super) origin: Origin,
    pub(super) session: Session,
    /// Microseconds at which that was opened; 0: on another node.
    pub(super) opened: u64,
    /// Microseconds at which it ends.
    pub(super) until: u64,
}

/// The sessions of a shard that have no connection.
#[derive(Debug, Default)]
pub(super) struct Parking {
    parked: slab::Slab<(u64, Parked)>,
    by_client: HashTable<u32>,
    /// When each ends: the microsecond, the slot, and which use of the slot it is.
    ends: BinaryHeap<Reverse<(u64, u32, u64)>>,
    uses: u64,
    /// Those that have left a room without an answer, by the connection that it comes to.
    leaving: BTreeMap<u64, u32>,
    /// How many each origin has. Ordered, because clients choose the keys.
    by_origin: BTreeMap<Origin, usize>,
}

/// What there are too many of already for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All.
    All,
    /// Those of the same origin.
    Origin,
}

impl Parking {
    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }

    /// Whether there is a place for one more of an origin.
    pub(super) fn place_for(&self, origin: Origin, settings: &Settings) -> Result<(), Full> {
        let of_origin = self.by_origin.get(&origin).copied().unwrap_or(0);
        let most_of_origin = settings.max_parked_per_origin;
        if self.parked.len() >= settings.max_parked.max(1) {
            Err(Full::All)
        } else if most_of_origin > 0 && of_origin >= most_of_origin {
            Err(Full::Origin)
        } else {
            Ok(())
        }
    }

    pub(super) fn put(&mut self, parked: Parked) {
        if parked.origin != Origin::NONE {
            *self.by_origin.entry(parked.origin).or_default() += 1;
        }
        self.uses += 1;
        let (until, hash) = (parked.until, parked.hash);
        let mut memberships = parked.session.memberships.iter();
        let leaves = memberships.any(|it| !it.stay.is_staying());
        let conn = parked.conn.to_u64();
        let slot = self.parked.insert((self.uses, parked)) as u32;
        if leaves {
            self.leaving.insert(conn, slot);
        }
        self.ends.push(Reverse((until, slot, self.uses)));
        let parked = &self.parked;
        let hash_of = |slot: &u32| parked.get(*slot as usize).map_or(0, |(_, it)| it.hash);
        self.by_client.insert_unique(hash, slot, hash_of);
        // Those that were resumed leave their ends behind.
        if self.ends.len() > 64 + 2 * self.parked.len() {
            let mut ends = std::mem::take(&mut self.ends).into_vec();
            ends.retain(|Reverse((_, slot, uses))| {
                parked
                    .get(*slot as usize)
                    .is_some_and(|(own, _)| own == uses)
            });
            self.ends = ends.into();
        }
    }

    /// Places at which there may be one.
    pub(super) fn places(&self) -> usize {
        self.parked.capacity()
    }

    pub(super) fn at(&self, places: Range<usize>) -> impl Iterator<Item = &Parked> {
        let all = places.filter_map(|place| self.parked.get(place));
        all.map(|(_, parked)| parked)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Parked> {
        self.parked.iter_mut().map(|(_, (_, parked))| parked)
    }

    pub(super) fn get(&mut self, hash: u64, client: ClientId) -> Option<&mut Parked> {
        let slot = self.find(hash, client)?;
        self.parked.get_mut(slot as usize).map(|(_, parked)| parked)
    }

    /// One that has left a room without an answer, by the connection that it had.
    pub(super) fn leaving(&mut self, conn: ConnId) -> Option<&mut Parked> {
        let slot = *self.leaving.get(&conn.to_u64())?;
        self.parked.get_mut(slot as usize).map(|(_, parked)| parked)
    }

    pub(super) fn peek(&self, hash: u64, client: ClientId) -> Option<&Parked> {
        let slot = self.find(hash, client)?;
        self.parked.get(slot as usize).map(|(_, parked)| parked)
    }

    pub(super) fn take(&mut self, hash: u64, client: ClientId) -> Option<Parked> {
        let slot = self.find(hash, client)?;
        self.remove(slot)
    }

    /// One whose time is over.
    pub(super) fn take_due(&mut self, micros: u64) -> Option<Parked> {
        loop {
            let Reverse((at, slot, uses)) = self.ends.peek().copied()?;
            if at > micros {
                return None;
            }
            self.ends.pop();
            if self.is_current(slot, uses) {
                return self.remove(slot);
            }
        }
    }

    /// Microseconds at which the next one ends.
    pub(super) fn next_end(&self) -> Option<u64> {
        // May be one that was resumed: looking once too often costs little.
        self.ends.peek().map(|Reverse((at, ..))| *at)
    }

    fn is_current(&self, slot: u32, uses: u64) -> bool {
        let parked = self.parked.get(slot as usize);
        parked.is_some_and(|(own, _)| *own == uses)
    }

    fn find(&self, hash: u64, client: ClientId) -> Option<u32> {
        let is_it = |slot: &u32| {
            let parked = self.parked.get(*slot as usize);
            parked.is_some_and(|(_, parked)| parked.client_id == client)
        };
        self.by_client.find(hash, is_it).copied()
    }

    fn remove(&mut self, slot: u32) -> Option<Parked> {
        let (_, parked) = self.parked.try_remove(slot as usize)?;
        if !self.leaving.is_empty() {
            self.leaving.remove(&parked.conn.to_u64());
        }
        if let Ok(entry) = self
            .by_client
            .find_entry(parked.hash, |other| *other == slot)
        {
            entry.remove();
        }
        if let Some(count) = self.by_origin.get_mut(&parked.origin) {
            *count -= 1;
            if *count == 0 {
                self.by_origin.remove(&parked.origin);
            }
        }
        Some(parked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(number: u64, until: u64) -> Parked {
        Parked {
            client_id: ClientId::from_random([number, 1]),
            hash: number,
            conn: ConnId::NONE,
            encoding: Encoding::ALL[0],
            origin: Origin(number % 2),
            session: Session::default(),
            opened: 0,
            until,
        }
    }

    fn ends(parking: &mut Parking, micros: u64) -> Vec<u64> {
        std::iter::from_fn(|| parking.take_due(micros).map(|it| it.hash)).collect()
    }

    #[test]
    fn sessions_end_in_the_order_of_their_times() {
        let mut parking = Parking::default();
        for (number, until) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
            parking.put(parked(number, until));
        }
        let client = ClientId::from_random([3, 1]);
        assert!(parking.take(3, client).is_some() && parking.take(3, client).is_none());
        assert_eq!(ends(&mut parking, 9), [0; 0]);
        assert_eq!(ends(&mut parking, 30), [2, 1]);
        assert_eq!(ends(&mut parking, 40), [4]);
        assert_eq!((parking.len(), parking.by_client.len()), (0, 0));
        assert!(parking.by_origin.is_empty());
    }

    #[test]
    fn sessions_that_come_and_go_leave_nothing() {
        let mut parking = Parking::default();
        parking.put(parked(10_000, 2_000_000));
        for number in 0..10_000 {
            parking.put(parked(number, 1_000_000));
            parking.take(number, ClientId::from_random([number, 1]));
        }
        assert_eq!(ends(&mut parking, 1_500_000), [0; 0]);
        assert!(parking.ends.len() < 100, "{}", parking.ends.len());
    }
}
