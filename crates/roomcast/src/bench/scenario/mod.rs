//! The benchmarks, one file each.

pub(crate) mod api;
pub(crate) mod cluster;
pub(crate) mod compression;
pub(crate) mod fanout;
pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod resume;
pub(crate) mod rooms;
pub(crate) mod snapshot;
pub(crate) mod stalled;
pub(crate) mod storm;
pub(crate) mod tls;
pub(crate) mod webhooks;
