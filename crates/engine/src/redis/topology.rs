//! Which masters there are, and which slots each has.

use std::sync::{Arc, RwLock};

use roomcast_core::store::StoreId;
use tokio::sync::watch;

use super::cluster;
use super::config::{Mode, RedisConfig};
use super::master::{Shared, Source, Trouble, keep};
use super::sentinel::{self, Sentinels};
use super::slot::{SLOTS, anchor, tag_for};

/// A master, as the table has it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) shared: Arc<Shared>,
    /// What stands between braces in the names that are kept at each master, and its slot.
    pub(crate) tag: Arc<str>,
    pub(crate) anchor: u16,
    pub(crate) ranges: Ranges,
}

/// First and last slots.
pub(crate) type Ranges = Vec<(u16, u16)>;

/// Masters by slots. It is replaced as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// By their lowest slot.
    pub(crate) masters: Vec<Entry>,
    /// First slot, last slot, which master; by the slots, without overlaps.
    ranges: Vec<(u16, u16, usize)>,
}

impl Table {
    /// Of masters with their ranges.
    pub(crate) fn new(masters: Vec<(Arc<Shared>, Ranges)>) -> Self {
        let mut table = Self::default();
        let mut masters: Vec<_> = masters
            .into_iter()
            .filter_map(|(shared, ranges)| {
                let lowest = ranges.iter().map(|range| range.0).min()?;
                Some((lowest, shared, ranges))
            })
            .collect();
        masters.sort_by_key(|master| master.0);
        for (at, (_, shared, ranges)) in masters.into_iter().enumerate() {
            let anchor = anchor(&ranges);
            let each = ranges.iter().map(|(first, last)| (*first, *last, at));
            table.ranges.extend(each);
            table.masters.push(Entry {
                shared,
                tag: tag_for(anchor).into(),
                anchor,
                ranges,
            });
        }
        table.ranges.sort_unstable();
        table
    }

    pub(crate) fn master_of(&self, slot: u16) -> Option<&Entry> {
        let after = self.ranges.partition_point(|range| range.0 <= slot);
        let &(_, last, at) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= last).then(|| self.masters.get(at)).flatten()
    }

    pub(crate) fn master_at(&self, store: StoreId) -> Option<&Entry> {
        self.masters
            .iter()
            .find(|entry| entry.shared.store() == Some(store))
    }
}

/// The table that is used now.
#[derive(Debug)]
pub(crate) struct Topology {
    table: RwLock<Arc<Table>>,
    /// Counts the tables.
    pub(crate) changes: watch::Sender<u64>,
    /// Counts them, and what changes at each master.
    pub(crate) seen: Arc<watch::Sender<u64>>,
    /// Something may have changed.
    pub(crate) trouble: Trouble,
}

impl Topology {
    pub(crate) fn table(&self) -> Arc<Table> {
        let table = self
            .table
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(&table)
    }

    pub(crate) fn replace(&self, table: Table) {
        let mut place = self
            .table
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *place = Arc::new(table);
        drop(place);
        self.changes.send_modify(|count| *count += 1);
        self.seen.send_modify(|count| *count += 1);
    }

    /// Begins to reach all masters.
    pub(crate) fn start(config: &Arc<RedisConfig>) -> Arc<Self> {
        let topology = Arc::new(Self {
            table: RwLock::default(),
            changes: watch::Sender::new(0),
            seen: Arc::new(watch::Sender::new(0)),
            trouble: Trouble::default(),
        });
        let sources: Vec<Source> = match &config.mode {
            Mode::Standalone => config
                .endpoints
                .iter()
                .cloned()
                .map(Source::Fixed)
                .collect(),
            Mode::Sentinel { master, login } => vec![Source::Sentinel(Sentinels {
                endpoints: config.endpoints.clone(),
                master: master.clone(),
                login: login.clone(),
            })],
            Mode::Cluster => Vec::new(),
        };
        let count = sources.len();
        let masters = sources.into_iter().enumerate().map(|(at, source)| {
            let watched = match &source {
                Source::Sentinel(sentinels) => Some(sentinels.clone()),
                Source::Fixed(_) => None,
            };
            let shared = topology.reach(config, source);
            if let Some(sentinels) = watched {
                tokio::spawn(sentinel::watch(
                    sentinels,
                    Arc::clone(config),
                    Arc::clone(&shared),
                ));
            }
            let first = (usize::from(SLOTS) * at / count) as u16;
            let last = (usize::from(SLOTS) * (at + 1) / count - 1) as u16;
            (shared, vec![(first, last)])
        });
        topology.replace(Table::new(masters.collect()));
        if config.mode == Mode::Cluster {
            tokio::spawn(cluster::follow(
                Arc::downgrade(&topology),
                Arc::clone(config),
            ));
        }
        topology
    }

    /// Begins to reach one master.
    pub(crate) fn reach(&self, config: &Arc<RedisConfig>, source: Source) -> Arc<Shared> {
        let shared = Shared::new(config, &self.seen);
        let task = keep(
            Arc::clone(&shared),
            Arc::clone(config),
            source,
            Arc::clone(&self.trouble),
        );
        tokio::spawn(task);
        shared
    }

    /// Lets all masters go.
    pub(crate) fn close(&self) {
        for entry in &self.table().masters {
            entry.shared.queue.close();
        }
    }
}
