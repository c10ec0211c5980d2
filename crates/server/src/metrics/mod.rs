//! Metrics in the Prometheus text format. None is labelled by user or room.
//!
//! Shards count in plain numbers of their own. A scrape asks each for a copy, which it sends in its next turn: counting
//! costs no atomics, and nothing is done while nobody asks.

mod exposition;
mod families;
mod kinds;
mod sessions;
mod snapshot;
mod store;
mod webhooks;

use std::fmt;
use std::fmt::Write as _;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roomcast_core::Kinds;

use crate::api::ApiStats;
use crate::authorize::TableStats;
use crate::engine::{NodeReport, Status};
use crate::http::HttpStats;
use crate::limits::Admission;
use crate::mailbox::Mailboxes;
use crate::memory::CountingAllocator;
use crate::shard::{Order, Report};
use crate::snapshot::SnapshotStats;
use crate::spans::SpanStats;
use crate::streams::Streams;
use crate::webhooks::WebhookStats;
use exposition::Exposition;
use families::{FAMILIES, Family};
use kinds::KIND_FAMILIES;
use sessions::SESSION_FAMILIES;
use snapshot::SNAPSHOT_FAMILIES;
use store::STORE_FAMILIES;
use webhooks::WEBHOOK_FAMILIES;

/// How long a scrape waits for the shards. One whose turn takes longer is shown as it was before.
const PATIENCE: Duration = Duration::from_millis(250);

fn all() -> impl Iterator<Item = &'static Family> {
    FAMILIES
        .iter()
        .chain(KIND_FAMILIES)
        .chain(SESSION_FAMILIES)
        .chain(STORE_FAMILIES)
        .chain(SNAPSHOT_FAMILIES)
        .chain(WEBHOOK_FAMILIES)
}

/// All metrics as a Markdown table, as in `docs/metrics.md`.
pub fn reference() -> String {
    let mut out = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in all() {
        let labels: Vec<String> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            family.name,
            family.kind.as_str(),
            labels.join(", "),
            family.help
        );
    }
    out
}

/// What only some servers have: webhooks, tables of questions, a snapshot.
type Optional = (
    Option<WebhookStats>,
    Vec<Arc<TableStats>>,
    Option<Arc<SnapshotStats>>,
);

/// Where all numbers come together.
pub(crate) struct Registry {
    start: Instant,
    mailboxes: Arc<Mailboxes>,
    http: Arc<HttpStats>,
    admission: Arc<Admission>,
    engine: Option<Arc<Status>>,
    api: Arc<ApiStats>,
    snapshots: Option<Arc<SnapshotStats>>,
    webhooks: Option<WebhookStats>,
    authorize: Vec<Arc<TableStats>>,
    streams: Arc<Streams>,
    kinds: Arc<Kinds>,
    spans: Arc<SpanStats>,
    /// What each shard reported last.
    reports: Mutex<Vec<Report>>,
}

/// What a scrape shows.
struct Scrape<'a> {
    shards: &'a [Report],
    /// Shards that did not answer in time.
    late: usize,
    http: &'a HttpStats,
    api: &'a ApiStats,
    snapshots: Option<&'a SnapshotStats>,
    streams: &'a Streams,
    kinds: &'a Kinds,
    spans: &'a SpanStats,
    open: usize,
    memory: Option<u64>,
    /// 0 where nothing counts it.
    in_use: u64,
    uptime: Duration,
    /// Where there is a store.
    node: Option<NodeReport>,
    webhooks: Option<&'a WebhookStats>,
    authorize: &'a [Arc<TableStats>],
}

impl Registry {
    pub(crate) fn new(
        mailboxes: &Arc<Mailboxes>,
        http: &Arc<HttpStats>,
        admission: &Arc<Admission>,
        engine: Option<Arc<Status>>,
        (api, streams): (&Arc<ApiStats>, &Arc<Streams>),
        (webhooks, authorize, snapshots): Optional,
        (kinds, spans): (&Arc<Kinds>, &Arc<SpanStats>),
    ) -> Registry {
        let report = |shard| Report {
            shard,
            ..Report::default()
        };
        Registry {
            start: Instant::now(),
            mailboxes: Arc::clone(mailboxes),
            http: Arc::clone(http),
            admission: Arc::clone(admission),
            engine,
            api: Arc::clone(api),
            snapshots,
            webhooks,
            authorize,
            streams: Arc::clone(streams),
            kinds: Arc::clone(kinds),
            spans: Arc::clone(spans),
            reports: Mutex::new((0..mailboxes.count()).map(report).collect()),
        }
    }

    /// Everything, as text. Waits for the shards, 250 ms at most.
    pub(crate) fn render(&self) -> String {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let late = self.ask(&mut reports);
        let scrape = Scrape {
            shards: &reports,
            late,
            http: &self.http,
            api: &self.api,
            snapshots: self.snapshots.as_deref(),
            streams: &self.streams,
            kinds: &self.kinds,
            spans: &self.spans,
            open: self.admission.connections(),
            memory: crate::limits::memory::resident_bytes(),
            in_use: CountingAllocator::in_use() as u64,
            uptime: self.start.elapsed(),
            node: self.engine.as_ref().map(|it| it.last_report()),
            webhooks: self.webhooks.as_ref(),
            authorize: &self.authorize,
        };
        let mut out = Exposition::default();
        for family in all() {
            out.family(family.name, family.kind, family.help);
            (family.samples)(&scrape, &mut out);
        }
        out.finish()
    }

    /// Replaces the reports of the shards that answer in time; returns how many don't.
    fn ask(&self, reports: &mut [Report]) -> usize {
        let (sender, receiver) = mpsc::channel();
        for mailbox in self.mailboxes.iter() {
            mailbox.order(Order::Report(sender.clone()));
        }
        drop(sender);
        let deadline = Instant::now() + PATIENCE;
        let mut missing = reports.len();
        while missing > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(report) = receiver.recv_timeout(left) else {
                break;
            };
            missing -= 1;
            if let Some(place) = reports.get_mut(usize::from(report.shard)) {
                *place = report;
            }
        }
        missing
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
