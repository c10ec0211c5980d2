//! Rooms: the fence, the number of appends, and what is written again at another store.

use std::collections::BTreeMap;
use std::sync::Arc;

use roomcast_core::store::{
    Append, Cause, Claim, Claimed, Epochs, FieldKey, Header, Log, Release, Renew, RoomRecord,
    StoreError, StoreId, Written,
};

use super::{Model, ends, has_ended};

/// How long the parts of a renewal wait for the next one, in milliseconds.
const PARTS_END_AFTER: u64 = 60 * 60 * 1_000;

#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) header: Header,
    pub(super) fields: Fields,
    pub(super) log: Entries,
    pub(super) ends: Option<u64>,
}

/// What was written of a renewal, up to a part.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    fence: u64,
    next: u32,
    fields: Fields,
    log: Entries,
    pub(super) ends: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) kept: BTreeMap<FieldKey, Box<[u8]>>,
    held: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    pub(super) kept: BTreeMap<u64, Arc<[u8]>>,
    /// The last event that there ever was.
    pub(super) last: u64,
    held: usize,
}

/// Bytes that an entry of a table takes beside what it has.
const ENTRY: usize = 64;

impl Room {
    pub(super) fn has_ended(&self, now_ms: u64) -> bool {
        has_ended(self.ends, now_ms)
    }

    /// Bytes that it holds, about.
    pub(super) fn held(&self) -> usize {
        size_of::<Room>() + ENTRY + self.fields.held + self.log.held
    }

    pub(super) fn record(&self) -> RoomRecord {
        let log = |(last, events): (&u64, &Arc<[u8]>)| Log {
            last: *last,
            events: Arc::clone(events),
        };
        RoomRecord {
            header: self.header.clone(),
            fields: self.fields.kept.clone().into_iter().collect(),
            log: self.log.kept.iter().map(log).collect(),
        }
    }
}

impl Model {
    pub(super) fn claim(&mut self, now_ms: u64, claim: &Claim) -> Claimed {
        let Some(room) = self.rooms.get_mut(&claim.room) else {
            if !claim.settled {
                return Claimed::Unsettled;
            }
            if claim.only_existing {
                return Claimed::Absent;
            }
            let room = new_room(now_ms, claim);
            let record = room.record();
            self.rooms.insert(Arc::clone(&claim.room), room);
            return Claimed::Loaded(Box::new(record));
        };
        let header = &mut room.header;
        if let Some(home) = header.home
            && home.node != claim.home.node
            && Some(home) != claim.dead
        {
            return Claimed::Theirs(home);
        }
        let other_store = header.store != self.store;
        if (other_store || header.pending) && !claim.settled {
            return Claimed::Unsettled;
        }
        let own = header.home.is_none_or(|it| it.node == claim.home.node);
        let kept = own && !other_store && has(header, claim.has);
        header.home = Some(claim.home);
        // Frames of a room's state begin at its fence: where the clock was set back, it rises by more than a home has made.
        header.fence = match header.fence {
            before if now_ms > before => now_ms,
            before => before + 1_000_000,
        };
        header.pending = false;
        if other_store {
            header.store = self.store;
            begin_epoch(header, claim);
        }
        room.ends = ends(now_ms, claim.ends_after, room.ends);
        if kept {
            Claimed::Kept(Box::new(room.header.clone()))
        } else {
            Claimed::Loaded(Box::new(room.record()))
        }
    }

    pub(super) fn append(&mut self, now_ms: u64, append: &Append) -> Result<Written, StoreError> {
        let Some(room) = self.rooms.get_mut(&append.room) else {
            return Ok(Written::Refused(None));
        };
        let (old, new) = (&room.header, &append.header);
        let same = (old.store, old.home, old.fence) == (new.store, new.home, new.fence);
        if !same || new.home.is_none() {
            return Ok(refused(old));
        }
        if old.pending && !append.settled {
            return Ok(Written::Unsettled);
        }
        // A pending record's number is that of its renewal.
        if new.n == old.n && !old.pending {
            return Ok(Written::Confirmed);
        }
        if new.n != old.n + 1 {
            return Ok(refused(old));
        }
        room.log.add(append.log.as_slice())?;
        room.log.drop_before(append.first);
        room.fields.change(&append.fields);
        room.header = Header {
            pending: false,
            ..new.clone()
        };
        room.ends = ends(now_ms, append.ends_after, room.ends);
        Ok(Written::Confirmed)
    }

    pub(super) fn renew(&mut self, now_ms: u64, renew: &Renew) -> Result<Written, StoreError> {
        let old = self.rooms.get_mut(&renew.room);
        if let Some(written) = old
            .as_ref()
            .and_then(|it| stands(&it.header, renew, self.store))
        {
            return Ok(written);
        }
        if let Some(base) = renew.base {
            let Some(room) =
                old.filter(|it| it.header.n == base && it.header.fence + 1 == renew.header.fence)
            else {
                return Ok(Written::Incomplete);
            };
            room.log.add(&renew.log)?;
            room.fields.change(&renew.fields);
            room.header = renew.header.clone();
            room.ends = ends(now_ms, renew.ends_after, room.ends);
            return Ok(Written::Confirmed);
        }
        self.renew_part(now_ms, renew)
    }

    fn renew_part(&mut self, now_ms: u64, renew: &Renew) -> Result<Written, StoreError> {
        let (part, is_last) = renew.part;
        if part == 0 && is_last {
            let room = whole(now_ms, renew, Fields::default(), Entries::default())?;
            self.rooms.insert(Arc::clone(&renew.room), room);
            return Ok(Written::Confirmed);
        }
        let Some(home) = renew.header.home else {
            return Err(StoreError::Never(Cause::Protocol));
        };
        let key = (Arc::clone(&renew.room), home);
        let fence = renew.header.fence;
        let mut parts = match self.parts.remove(&key) {
            _ if part == 0 => Parts {
                fence,
                next: 0,
                fields: Fields::default(),
                log: Entries::default(),
                ends: None,
            },
            Some(parts) if parts.fence == fence => parts,
            other => {
                self.parts.extend(other.map(|it| (key, it)));
                return Ok(Written::Incomplete);
            }
        };
        if part != parts.next {
            let before = part + 1 == parts.next;
            self.parts.insert(key, parts);
            return Ok(if before && !is_last {
                Written::Confirmed
            } else {
                Written::Incomplete
            });
        }
        if is_last {
            let room = whole(now_ms, renew, parts.fields, parts.log)?;
            self.rooms.insert(Arc::clone(&renew.room), room);
            return Ok(Written::Confirmed);
        }
        parts.log.add(&renew.log)?;
        parts.fields.change(&renew.fields);
        parts.next += 1;
        parts.ends = ends(now_ms, PARTS_END_AFTER, None);
        self.parts.insert(key, parts);
        Ok(Written::Confirmed)
    }

    pub(super) fn release(&mut self, now_ms: u64, release: &Release) {
        let Some(room) = self.rooms.get_mut(&release.room) else {
            return;
        };
        let header = &mut room.header;
        let as_asked = (header.store, header.home, header.fence)
            == (release.store, Some(release.home), release.fence);
        if !as_asked {
            return;
        }
        header.home = None;
        room.ends = ends(now_ms, release.ends_after, room.ends);
        if release.ends_after == 0 {
            self.rooms.remove(&release.room);
        }
    }

    /// Does something with a room, if it has not ended, and counts what it holds then.
    pub(super) fn with_room<T>(
        &mut self,
        now_ms: u64,
        room: &str,
        change: impl FnOnce(&mut Model) -> T,
    ) -> T {
        let before = self.rooms.get(room).map_or(0, Room::held);
        if self.rooms.get(room).is_some_and(|it| it.has_ended(now_ms)) {
            self.rooms.remove(room);
        }
        self.parts.retain(|_, it| !has_ended(it.ends, now_ms));
        let result = change(self);
        let after = self.rooms.get(room).map_or(0, Room::held);
        self.held = self.held + after - before;
        result
    }
}

fn new_room(now_ms: u64, claim: &Claim) -> Room {
    Room {
        header: Header {
            home: Some(claim.home),
            fence: now_ms.max(1),
            n: 0,
            store: claim.store,
            pending: false,
            epochs: Epochs {
                current: claim.epoch,
                ended: Default::default(),
            },
            offset: 0,
            next_player: 1,
            timestamp: claim.timestamp,
            counts_presence: false,
        },
        fields: Fields::default(),
        log: Entries::default(),
        ends: ends(now_ms, claim.ends_after, None),
    }
}

/// What a renewal's last part makes of what came before it.
fn whole(
    now_ms: u64,
    renew: &Renew,
    mut fields: Fields,
    mut log: Entries,
) -> Result<Room, StoreError> {
    log.add(&renew.log)?;
    fields.change(&renew.fields);
    Ok(Room {
        header: renew.header.clone(),
        fields,
        log,
        ends: ends(now_ms, renew.ends_after, None),
    })
}

/// Whether the claimant's copy is what the record has. Only it has had this fence, so that a number that is one higher is
/// its own append, of which it has had no answer.
fn has(header: &Header, copy: Option<(u64, u64)>) -> bool {
    copy.is_some_and(|(n, fence)| header.fence == fence && (header.n == n || header.n == n + 1))
}

fn begin_epoch(header: &mut Header, claim: &Claim) {
    let epochs = &mut header.epochs;
    epochs.ended.insert(0, (epochs.current, header.offset));
    epochs.ended.truncate(Epochs::KEPT);
    epochs.current = claim.epoch;
}

/// What is said to a renewal over this record; `None`: it may be written.
fn stands(old: &Header, renew: &Renew, store: StoreId) -> Option<Written> {
    let new = &renew.header;
    if old.store == store {
        if old == new {
            return Some(Written::Confirmed);
        }
        let replaced = old.pending && old.fence < new.fence;
        return (!replaced).then(|| refused(old));
    }
    let same_node = match (old.home, new.home) {
        (Some(old), Some(new)) => old.node == new.node,
        (None, _) => true,
        (Some(_), None) => false,
    };
    let older = old.fence + 1 < new.fence || (old.fence + 1 == new.fence && same_node);
    (!older).then(|| refused(old))
}

fn refused(header: &Header) -> Written {
    Written::Refused(Some(Box::new(header.clone())))
}

impl Fields {
    pub(super) fn change(&mut self, changes: &[(FieldKey, Option<Box<[u8]>>)]) {
        for (key, value) in changes {
            let before = match value {
                Some(value) => {
                    self.held += ENTRY + value.len();
                    self.kept.insert(*key, value.clone())
                }
                None => self.kept.remove(key),
            };
            self.held -= before.map_or(0, |it| ENTRY + it.len());
        }
    }
}

impl Entries {
    /// Adds all of them, or none.
    pub(super) fn add(&mut self, logs: &[Log]) -> Result<(), StoreError> {
        let mut last = self.last;
        for log in logs {
            if log.last <= last {
                return Err(StoreError::Never(Cause::Protocol));
            }
            last = log.last;
        }
        self.last = last;
        let held = logs.iter().map(|it| ENTRY + it.events.len());
        self.held += held.sum::<usize>();
        let entry = |it: &Log| (it.last, Arc::clone(&it.events));
        self.kept.extend(logs.iter().map(entry));
        Ok(())
    }

    fn drop_before(&mut self, first: u64) {
        let kept = self.kept.split_off(&first);
        let dropped = std::mem::replace(&mut self.kept, kept);
        let held = dropped.values().map(|it| ENTRY + it.len());
        self.held -= held.sum::<usize>();
    }
}
