//! The rooms at home here that have the most of something.

use std::ops::Range;

use crate::backend::{Greatest, MOST_LINES, TopLine, TopOrder, TopQuery, greatest};
use crate::home::Home;
use crate::home::room::Room;
use crate::kinds::kind_name;
use crate::stats::Stats;
use crate::store::Store;
use crate::time::Now;

impl<S: Store> Home<S> {
    /// Counts rooms and their members by kind. It looks at each room.
    pub(crate) fn count_kinds(&self, stats: &mut Stats) {
        for kind in &mut stats.kinds {
            (kind.rooms, kind.members) = (0, 0);
        }
        for room in self.rooms.rows() {
            let kind = stats.kind(room.entry.label);
            kind.rooms += 1;
            kind.members += room.members.len();
        }
    }

    /// Places at which there may be rooms.
    pub(crate) fn places(&self) -> usize {
        self.rooms.places()
    }

    /// Looks at the rooms at these places, and copies the names of few.
    pub(crate) fn top(
        &self,
        now: Now,
        query: &TopQuery,
        places: Range<usize>,
        found: &mut Greatest<TopLine>,
    ) {
        let most = query.limit.min(MOST_LINES) as usize;
        let is_asked_for = |room: &&Room| {
            let is_of_kind = query.kind.is_empty() || kind_name(&room.name) == &*query.kind;
            is_of_kind && !(room.members.is_empty() && room.load.rate(now) < 0.001)
        };
        let rooms = self.rooms.rows_at(places).filter(is_asked_for);
        let rooms = rooms.map(|room| (room, (room.load.rate(now) * 1_000.0) as u64));
        let greatest = greatest(rooms, most, |(room, rate)| match query.order {
            TopOrder::Busiest => *rate,
            TopOrder::Biggest | TopOrder::Slowest => room.members.len() as u64,
        });
        let line = |(room, rate): (&Room, u64)| TopLine {
            room: (*room.name).into(),
            members: u32::try_from(room.members.len()).unwrap_or(u32::MAX),
            rate,
            ..TopLine::default()
        };
        found.add(greatest.into_iter().map(line), key(query.order));
    }
}

/// What rooms are listed by.
pub(crate) fn key(order: TopOrder) -> impl Fn(&TopLine) -> u64 {
    move |line| match order {
        TopOrder::Busiest => line.rate,
        TopOrder::Biggest | TopOrder::Slowest => u64::from(line.members),
    }
}
