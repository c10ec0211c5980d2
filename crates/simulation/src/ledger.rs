//! What is true: each event that was ever put into a room's log, kept for as long as the schedule runs.

use std::collections::{BTreeMap, BTreeSet};

use roomcast_core::log::{Epoch, EventLog, Logged, Retention};
use roomcast_core::settings::Kind;
use roomcast_core::store::{Epochs, NodeId};
use roomcast_core::{ClientId, LogNews, Now, kind_name};
use roomcast_protocol::MessageType;

use crate::lost::Lost;

/// An event as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: MessageType,
    pub(crate) silent: bool,
    pub(crate) from: String,
    pub(crate) num: u32,
    pub(crate) seq: u64,
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) timestamp: i64,
    /// Microseconds at which it was appended.
    at: u64,
    /// The number that a message of ours begins with.
    number: Option<u64>,
}

/// One life of a room's log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) room: String,
    pub(crate) epoch: String,
    /// All events, those that are no longer kept among them: the first has the offset 1.
    pub(crate) entries: Vec<Entry>,
    /// The highest number that a player in `entries` was given. It is asked for with each event.
    newest_player: Option<u32>,
    /// The newest event that anybody was told of.
    told: u64,
    /// The epoch that it goes on from, and up to where: the store has come back in between.
    follows: Option<(String, u64)>,
}

/// All logs that there ever were.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) logs: Vec<Log>,
    /// A store has what is logged.
    stored: bool,
    /// Logs keep everything.
    roomy: bool,
    /// How much is kept of the log of each kind of room.
    kept: BTreeMap<String, Retention>,
    /// The log of each room of which the store has spoken last.
    current: BTreeMap<String, usize>,
    /// What the store has come back without.
    pub(crate) lost: Lost,
    /// Clients whose session a node has ended in the store, where it has not gone on since.
    pub(crate) ended: BTreeSet<ClientId>,
    /// It has come back, with what it had or with less.
    pub(crate) came_back: bool,
    /// Drafts that there ever were.
    begun: u64,
    /// Nodes that have given a room up, and have not loaded it since.
    given_up: BTreeSet<(NodeId, String)>,
    /// Several nodes write logs, and true is what the store has confirmed: what each node has logged beyond what it has
    /// loaded, by the log.
    pub(crate) drafts: Option<BTreeMap<(NodeId, usize), Draft>>,
}

/// What a node has logged, and after which offset.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Which one it is, of all: a node logs in the newest that it has of a room.
    number: u64,
    after: u64,
    entries: Vec<Entry>,
}

impl Draft {
    /// The offset of the newest event.
    fn last(&self) -> u64 {
        self.after + self.entries.len() as u64
    }
}

impl Ledger {
    pub(crate) fn new(kinds: &[Kind], stored: bool, roomy: bool) -> Ledger {
        let kept = kinds.iter().map(|kind| (kind.name.clone(), kind.retention));
        Ledger {
            logs: Vec::new(),
            stored,
            roomy,
            kept: kept.collect(),
            current: BTreeMap::new(),
            lost: Lost::default(),
            ended: BTreeSet::new(),
            came_back: false,
            begun: 0,
            given_up: BTreeSet::new(),
            drafts: None,
        }
    }

    /// A server tells what becomes of a log.
    pub(crate) fn note(
        &mut self,
        now: Now,
        node: NodeId,
        room: &str,
        epoch: &Epoch,
        news: LogNews<'_>,
    ) {
        let epoch = epoch.as_str();
        let known = self.logs.iter().position(|it| it.is(room, epoch));
        let at = known.unwrap_or(self.logs.len());
        match news {
            LogNews::Opened { last }
                if known.is_none()
                    && self.drafts.is_some()
                    && self.is_renamed(node, room, last) =>
            {
                self.rename(node, room, epoch, last);
            }
            LogNews::Opened { last } => {
                if known.is_none() {
                    self.check_new(room);
                    self.logs.push(Log::new(room, epoch, &[], None));
                }
                if self.drafts.is_some() {
                    let newest = self.logs[at].entries.len() as u64;
                    assert!(last <= newest, "{last} is loaded of {newest}");
                    self.begin_draft(node, at, last, Vec::new());
                    return;
                }
                let log = &mut self.logs[at];
                let newest = log.entries.len() as u64;
                if self.stored {
                    // What was not confirmed, nobody was told of.
                    assert!(
                        (log.told..=newest).contains(&last),
                        "{last} of {newest}, and {} was told",
                        log.told
                    );
                    log.truncate(last as usize);
                } else {
                    assert_eq!(last, newest, "a log that goes on goes on where it was");
                }
            }
            LogNews::Logged(event) if self.drafts.is_some() => {
                let draft = self.drafts.as_mut().and_then(|it| it.get_mut(&(node, at)));
                let draft = draft.expect("who logs has loaded");
                draft.entries.push(Entry::of(now, event));
                let offset = draft.after + draft.entries.len() as u64;
                assert_eq!(event.offset, offset, "offsets count");
            }
            LogNews::Logged(event) => {
                let entry = Entry::of(now, event);
                let log = &mut self.logs[at];
                if self.stored {
                    log.check_number(&entry);
                }
                let record = &event.record;
                let again = |it: &&Entry| it.seq == record.seq && it.from == record.client_id;
                if self.roomy && record.seq > 0 {
                    let before = log.entries.iter().find(again);
                    assert!(
                        before.is_none(),
                        "{room}: {event:?} was logged before: {before:?}"
                    );
                }
                log.push(entry);
                assert_eq!(event.offset, log.entries.len() as u64, "offsets count");
            }
            LogNews::Read(log) => self.check_read(now, at, log),
        }
    }

    /// The store has what a node has logged up to this offset.
    pub(crate) fn confirm(&mut self, room: &str, epoch: &Epoch, offset: u64, node: NodeId) {
        let epoch = epoch.as_str();
        let Some(at) = self.logs.iter().position(|it| it.is(room, epoch)) else {
            return;
        };
        self.current.insert(room.to_owned(), at);
        let log = &mut self.logs[at];
        let draft = self.drafts.as_ref().and_then(|it| it.get(&(node, at)));
        while (log.entries.len() as u64) < offset {
            let newest = log.entries.len() as u64;
            let entry = draft.and_then(|it| it.entries.get((newest - it.after) as usize));
            let entry = entry.unwrap_or_else(|| panic!("{newest} of {room} was logged by nobody"));
            let again = |it: &&Entry| it.seq == entry.seq && it.from == entry.from;
            if self.roomy && entry.seq > 0 {
                let before = log.entries.iter().find(again);
                assert!(
                    before.is_none(),
                    "{room}: {entry:?} was logged before: {before:?}"
                );
            }
            log.check_number(entry);
            log.push(entry.clone());
        }
    }

    /// Whether a log that nobody knows is one that a node has had by another name.
    fn is_renamed(&self, node: NodeId, room: &str, last: u64) -> bool {
        let had_none = || {
            self.newest_draft(node, room)
                .is_some_and(|it| it.1.last() == 0)
        };
        last > 0 || self.came_back && had_none()
    }

    /// Whether a node has this log in its memory.
    pub(crate) fn has_loaded(&self, node: NodeId, room: &str, epoch: &Epoch) -> bool {
        let newest = self.newest_draft(node, room);
        let is_it = newest.is_some_and(|(at, _)| self.logs[at].epoch == epoch.as_str());
        is_it && !self.given_up.contains(&(node, room.to_owned()))
    }

    /// The store has a room back from a node.
    pub(crate) fn give_up(&mut self, node: NodeId, room: &str) {
        self.given_up.insert((node, room.to_owned()));
    }

    /// What a node has logged last in a room, and which log it is.
    fn newest_draft(&self, node: NodeId, room: &str) -> Option<(usize, &Draft)> {
        let drafts = self.drafts.iter().flatten();
        let own = drafts.filter(|((of, at), _)| *of == node && self.logs[*at].room == room);
        let newest = own.max_by_key(|(_, draft)| draft.number);
        newest.map(|((_, at), draft)| (*at, draft))
    }

    /// A node gives the log that it has another name, as there is another store.
    fn rename(&mut self, node: NodeId, room: &str, epoch: &str, last: u64) {
        let newest = self.newest_draft(node, room);
        let (before, draft) = newest.expect("who renames has a log");
        let log = &self.logs[before];
        let mut entries = draft.entries.clone();
        assert_eq!(draft.last(), last, "{room} is renamed");
        let after = draft.after;
        // What another home has confirmed meanwhile is not this node's.
        let of_log = log.entries.iter().skip(after as usize);
        let same = of_log.zip(&entries).take_while(|(one, other)| one == other);
        let confirmed = after as usize + same.count();
        let follows = Some((log.epoch.clone(), last));
        let renamed = Log::new(room, epoch, &log.entries[..confirmed], follows);
        entries.shrink_to_fit();
        self.logs.push(renamed);
        self.begin_draft(node, self.logs.len() - 1, after, entries);
    }

    /// A node logs in this log from here on.
    fn begin_draft(&mut self, node: NodeId, at: usize, after: u64, entries: Vec<Entry>) {
        self.begun += 1;
        self.given_up.remove(&(node, self.logs[at].room.clone()));
        let draft = Draft {
            number: self.begun,
            after,
            entries,
        };
        let drafts = self.drafts.get_or_insert_default();
        drafts.insert((node, at), draft);
    }

    /// A room is loaded whose log may have another name than before.
    pub(crate) fn load(&mut self, room: &str, epochs: &Epochs) {
        let epoch = epochs.current.as_str();
        let known = self.logs.iter().position(|it| it.is(room, epoch));
        let at = known.unwrap_or(self.logs.len());
        if known.is_none() {
            let Some((before, end)) = epochs.ended.first() else {
                return;
            };
            // Nobody may have heard of it, before there was anything in it.
            let log = self.log(room, before.as_str());
            let entries = log.map_or(&[][..], |log| &log.entries);
            let follows = Some((before.as_str().to_owned(), *end));
            let renamed = Log::new(room, epoch, &entries[..*end as usize], follows);
            self.logs.push(renamed);
        }
        self.current.insert(room.to_owned(), at);
    }

    /// Whether who has come to an offset in one epoch goes on from there in another one.
    pub(crate) fn goes_on(&self, room: &str, (from, offset): (&str, u64), to: &str) -> bool {
        let mut at = to;
        while at != from {
            match self.log(room, at).and_then(|log| log.follows.as_ref()) {
                Some((before, end)) if offset <= *end => at = before,
                _ => return false,
            }
        }
        true
    }

    /// A room begins anew only where nothing was kept of it.
    fn check_new(&self, room: &str) {
        let has_all = self.stored && self.roomy && !self.lost.has_lost(room);
        let before = self.newest(room).filter(|_| has_all);
        let events = before.map_or(0, |log| log.entries.len());
        assert_eq!(events, 0, "{room} has another log, and nothing ended it");
    }

    /// Somebody was told of this event.
    pub(crate) fn told(&mut self, room: &str, epoch: &str, offset: u64) {
        let log = self.logs.iter_mut().rev().find(|it| it.is(room, epoch));
        if let Some(log) = log {
            log.told = log.told.max(offset);
        }
    }

    /// What is read is not too old, and not too much.
    fn check_read(&self, now: Now, at: usize, log: &EventLog) {
        let Log { room, entries, .. } = &self.logs[at];
        let retention = &self.kept[kind_name(room)];
        let several = self.drafts.is_some();
        if let Some(oldest) = entries.get(log.first() as usize - 1).filter(|_| !several) {
            let age = (now.micros - oldest.at) / 1_000;
            assert!(age <= retention.age, "an event of {age} ms is read");
        }
        let most = retention.events;
        assert!(most == 0 || log.len() <= most, "{} events", log.len());
    }

    pub(crate) fn log(&self, room: &str, epoch: &str) -> Option<&Log> {
        self.logs.iter().rev().find(|log| log.is(room, epoch))
    }

    /// The last life of a room's log.
    pub(crate) fn newest(&self, room: &str) -> Option<&Log> {
        match self.current.get(room) {
            Some(at) => self.logs.get(*at),
            None => self.logs.iter().rev().find(|log| log.room == room),
        }
    }

    pub(crate) fn entry(&self, room: &str, epoch: &str, offset: u64) -> Option<&Entry> {
        let at = usize::try_from(offset).ok()?.checked_sub(1)?;
        let own = self.log(room, epoch)?.entries.get(at);
        // It may have been confirmed when the log had another name.
        own.or_else(|| {
            let names = self.logs.iter().filter(|log| log.room == room);
            let mut later = names.filter(|log| log.follows.is_some());
            // Several names may go on from there, and some end before it was confirmed.
            later.find_map(|log| {
                let goes_on = self.goes_on(room, (epoch, offset), &log.epoch);
                log.entries.get(at).filter(|_| goes_on)
            })
        })
    }
}

impl Log {
    fn new(room: &str, epoch: &str, entries: &[Entry], follows: Option<(String, u64)>) -> Log {
        Log {
            room: room.to_owned(),
            epoch: epoch.to_owned(),
            entries: entries.to_vec(),
            newest_player: newest_player(entries),
            told: 0,
            follows,
        }
    }

    fn push(&mut self, entry: Entry) {
        self.newest_player = self.newest_player.max(entry.player());
        self.entries.push(entry);
    }

    fn truncate(&mut self, length: usize) {
        if length < self.entries.len() {
            self.entries.truncate(length);
            self.newest_player = newest_player(&self.entries);
        }
    }

    fn is(&self, room: &str, epoch: &str) -> bool {
        self.room == room && self.epoch == epoch
    }

    /// A player has a number that nobody had before.
    fn check_number(&self, entry: &Entry) {
        let (newest, player) = (self.newest_player, entry.player());
        assert!(
            player.is_none() || player > newest,
            "{}: {newest:?} was given before {entry:?}",
            self.room
        );
    }
}

fn newest_player(entries: &[Entry]) -> Option<u32> {
    entries.iter().filter_map(Entry::player).max()
}

/// The number that a message of a client of ours begins with.
pub(crate) fn leading_number(data: &[u8]) -> Option<u64> {
    let start = data.iter().position(|byte| *byte != b'"')?;
    let digits = &data[start..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit());
    let digits = &digits[..end.unwrap_or(digits.len())];
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Entry {
    /// The number that a player gets with it.
    fn player(&self) -> Option<u32> {
        (self.kind == MessageType::PlayerJoined).then_some(self.num)
    }

    /// The number that a message of ours begins with.
    pub(crate) fn number(&self) -> Option<u64> {
        self.number
    }

    fn of(now: Now, event: &Logged<'_>) -> Entry {
        let record = &event.record;
        let ours = matches!(record.message_type, MessageType::Chat | MessageType::Event);
        Entry {
            number: ours.then(|| leading_number(record.payload)).flatten(),
            kind: record.message_type,
            silent: record.silent,
            from: record.client_id.to_owned(),
            num: record.player_num,
            seq: record.seq,
            name: record.name.to_owned(),
            payload: record.payload.to_vec(),
            timestamp: event.timestamp,
            at: now.micros,
        }
    }
}
