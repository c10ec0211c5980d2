//! The metrics of `memory.snapshot_path`. Without it they are missing.

use std::sync::atomic::Ordering;

use super::families::{Family, counter, gauge};

pub(super) const SNAPSHOT_FAMILIES: &[Family] = &[
    counter(
        "roomcast_snapshots_total",
        &["outcome"],
        "Times that `memory.snapshot_path` was written, and that it could not be.",
        |scrape, out| {
            if let Some(stats) = scrape.snapshots {
                let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
                out.sample(&[("outcome", &"written")], count(&stats.written));
                out.sample(&[("outcome", &"failed")], count(&stats.failed));
            }
        },
    ),
    gauge(
        "roomcast_snapshot_bytes",
        &[],
        "Bytes of the file that was written last.",
        |scrape, out| {
            if let Some(stats) = scrape.snapshots {
                out.sample(&[], stats.bytes.load(Ordering::Relaxed));
            }
        },
    ),
    gauge(
        "roomcast_snapshot_timestamp_seconds",
        &[],
        "When that was begun, in seconds since the Unix epoch: what came later is not in it.",
        |scrape, out| {
            if let Some(stats) = scrape.snapshots {
                let begun_at = stats.begun_at.load(Ordering::Relaxed);
                out.sample(&[], begun_at.unsigned_abs() / 1_000);
            }
        },
    ),
    gauge(
        "roomcast_kept_bytes",
        &[],
        "Bytes of rooms and sessions that are kept for that file, about.",
        |scrape, out| {
            if let Some(stats) = scrape.snapshots {
                out.sample(&[], stats.held());
            }
        },
    ),
];
