//! Time as an argument.

/// A moment, as the embedder sees it. Within one turn of a shard it stands still, but for what is written at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since any fixed moment; never falls. One scale for all shards of a node.
    pub micros: u64,
    /// Milliseconds since the Unix epoch; may jump.
    pub unix_ms: i64,
}

/// Milliseconds as microseconds, without overflow.
pub(crate) fn micros(ms: u64) -> u64 {
    ms.saturating_mul(1_000)
}
