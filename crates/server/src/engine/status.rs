//! How the node is: for `/readyz` and `/metrics`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use roomcast_core::cluster::ClusterStats;
use roomcast_core::node::NodeStats;
use roomcast_core::post::PostStats;

use crate::clock::Clock;
use crate::config::RedisSettings;

/// What the node's task counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeReport {
    pub(crate) cluster: ClusterStats,
    pub(crate) agent: NodeStats,
    pub(crate) post: PostStats,
    /// Living nodes, with this one.
    pub(crate) living: usize,
    /// Redis servers that share the rooms, and at how many of them this server has a lease.
    pub(crate) masters: usize,
    pub(crate) leases: usize,
    /// Nodes that it has connected to without Redis.
    pub(crate) connected: usize,
    /// Other living nodes with another secret, or other settings.
    pub(crate) differing: usize,
}

/// Written by the node's task, read by HTTP.
#[derive(Debug)]
pub(crate) struct Status {
    clock: Clock,
    patience: Duration,
    lease: Duration,
    /// Others were here first, and have another secret.
    refused: AtomicBool,
    /// Rooms of all masters could be opened at least once.
    settled: AtomicBool,
    /// Microseconds at which a Redis has answered a beat last. Where one of several is away its rooms wait on all nodes:
    /// nobody is better off elsewhere.
    heard_at: AtomicU64,
    report: Mutex<NodeReport>,
}

impl Status {
    pub(super) fn new(clock: Clock, settings: &RedisSettings) -> Status {
        Status {
            clock,
            patience: settings.not_ready_after,
            lease: Duration::from_millis(settings.lease),
            refused: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            heard_at: AtomicU64::new(0),
            report: Mutex::default(),
        }
    }

    /// Redis has answered.
    pub(super) fn heard(&self, micros: u64) {
        self.heard_at.store(micros, Ordering::Relaxed);
    }

    /// Rooms can be opened.
    pub(super) fn settled(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    /// Why clients are better sent elsewhere.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        if self.refused.load(Ordering::Relaxed) {
            return Some("other servers at this Redis have another session.secret");
        }
        if !self.settled.load(Ordering::Relaxed) {
            return Some("starting: not settled at Redis yet");
        }
        let patient = self.silence() <= self.patience + BEAT;
        (!patient).then_some("no Redis")
    }

    /// Whether Redis has not answered for longer than the lease: nothing can be handed over.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.silence() > self.lease
    }

    /// Whether this server is home of nothing, as others were here first and have another secret.
    pub(super) fn refused(&self, is: bool) {
        self.refused.store(is, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        let heard_at = self.heard_at.load(Ordering::Relaxed);
        Duration::from_micros(self.clock.micros().saturating_sub(heard_at))
    }

    pub(super) fn report(&self, report: NodeReport) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// What was counted last.
    pub(crate) fn last_report(&self) -> NodeReport {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.clone()
    }
}

/// Between two beats nothing is heard. One may be late.
const BEAT: Duration = Duration::from_secs(2);
