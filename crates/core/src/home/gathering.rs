//! When rooms write. Where there is little to write, each does so at once. Where there is much, and the store answers late,
//! all rooms of the shard write together, at intervals, and what comes meanwhile goes along. So the same messages take
//! fewer appends, fewer letters, fewer writes to sockets and fewer wake-ups.
//!
//! Both have to be: with room to spare answers come soon, however much is done, and where little is done nobody should wait
//! because an answer was late.

use roomcast_protocol::mutated;

use crate::home::gate::Gate;
use crate::id::HomeRoomId;
use crate::settings::GatherSettings;
use crate::store::Ticket;
use crate::time::Now;
use crate::traffic::Traffic;

/// An interval that is shorter is none: threads sleep for whole milliseconds.
const SHORTEST: u64 = 1_000;
/// One answer changes what is known of them by this part.
const SMOOTH: u64 = 8;
/// Microseconds for which an answer counts as the quickest, at least; twice that at most. The way to the store may change.
const LATELY: u64 = 10_000_000;

/// The rooms that wait until the shard writes, and what is known of the store.
#[derive(Debug)]
pub(super) struct Gathering {
    settings: GatherSettings,
    rooms: Vec<HomeRoomId>,
    /// When they write.
    at: u64,
    /// Rooms may write in this turn.
    is_open: bool,
    /// Events that were written lately.
    traffic: Traffic,
    /// The first append of the last batch, and when it was asked for, until it is answered.
    timed: Option<(Ticket, u64)>,
    /// Microseconds that the quickest answers took, before `since` and from then on.
    quickest: [u64; 2],
    since: u64,
    /// Microseconds by which answers come later than those, smoothed.
    late: u64,
}

impl Gathering {
    pub(super) fn new(settings: GatherSettings) -> Gathering {
        Gathering {
            settings,
            rooms: Vec::new(),
            at: 0,
            is_open: true,
            traffic: Traffic::default(),
            timed: None,
            quickest: [u64::MAX; 2],
            since: 0,
            late: 0,
        }
    }

    /// A turn begins. Returns the rooms that wait no longer.
    pub(super) fn begin_turn(&mut self, now: Now) -> Vec<HomeRoomId> {
        self.is_open = self.at <= now.micros;
        if !self.is_open || self.rooms.is_empty() {
            return Vec::new();
        }
        let rooms = std::mem::take(&mut self.rooms);
        if mutated!("gathered_rooms_do_not_write") {
            return Vec::new();
        }
        rooms
    }

    /// Whether rooms may write in this turn.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// A room waits: to be called once, until it is returned.
    pub(super) fn wait(&mut self, room: HomeRoomId) {
        self.rooms.push(room);
    }

    /// When rooms write that wait.
    pub(super) fn next_wake(&self) -> Option<u64> {
        (!self.rooms.is_empty()).then_some(self.at)
    }

    /// An append is asked for.
    pub(super) fn asked(&mut self, now: Now, ticket: Ticket, gate: &mut Gate) {
        // What no other node is told of counts for nothing: little is saved by it.
        let events = gate.appended.saturating_sub(gate.appended_before);
        let counts = std::mem::take(&mut gate.tells_others) || self.settings.counts_own;
        let events = if counts { events.max(1) } else { 0 };
        self.traffic.add(now.micros, events);
        // One that could not wait changes nothing for those that do.
        if !self.is_open {
            return;
        }
        let is_first = self.timed.is_none_or(|(_, asked)| asked < now.micros);
        if is_first {
            // What has no answer yet has taken so long at least.
            if let Some((_, asked)) = self.timed.replace((ticket, now.micros)) {
                self.took(now, now.micros - asked);
            }
        }
        self.at = now.micros.saturating_add(self.interval());
    }

    /// Something was answered.
    pub(super) fn answered(&mut self, now: Now, ticket: Ticket) {
        if let Some((_, asked)) = self.timed.take_if(|(timed, _)| *timed == ticket) {
            self.took(now, now.micros.saturating_sub(asked));
        }
    }

    fn took(&mut self, now: Now, micros: u64) {
        if now.micros.saturating_sub(self.since) > LATELY {
            self.quickest = [self.quickest[1], u64::MAX];
            self.since = now.micros;
        }
        self.quickest[1] = self.quickest[1].min(micros);
        let [before, since] = self.quickest;
        let late = micros - before.min(since);
        self.late = self.late - self.late / SMOOTH + late / SMOOTH;
    }

    fn interval(&self) -> u64 {
        let GatherSettings {
            longest,
            busy,
            events,
            slack,
            times,
            ..
        } = self.settings;
        let much = self.traffic.gather(longest, busy);
        let late = times.saturating_mul(self.late.saturating_sub(slack));
        let interval = much.min(late).min(self.traffic.time_of(events));
        if interval < SHORTEST { 0 } else { interval }
    }
}
