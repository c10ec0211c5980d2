//! Traces: what becomes of a message from a backend, step by step. The ids are those of W3C Trace Context.
//!
//! A message is traced if its [`Publication`](crate::backend::Publication) says so. Its context goes with it: in the
//! operation, and in what the room hands to each shard. Each step is told to the [`Host`](crate::Host) when it is over.

/// A span of a trace, for those that have it as their parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace. Not 0.
    pub trace: u128,
    /// The span. Not 0.
    pub span: u64,
}

/// A step that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// At the room's home: from when it was asked until the message is in the room's log, or done without one.
    Append,
    /// What the room says of it waited until the store had confirmed the append.
    GateWait,
    /// It has come to a shard with members, and waits for each of their sockets.
    Deliver,
    /// The last socket of that shard has taken it, or gets it no more.
    LastWrite,
}

impl Step {
    /// As traces call it.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Append => "append",
            Step::GateWait => "gate wait",
            Step::Deliver => "deliver",
            Step::LastWrite => "last write",
        }
    }
}

/// A span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub step: Step,
    /// Its trace and its parent.
    pub parent: TraceContext,
    /// Its own id.
    pub id: u64,
    /// Microseconds at which it began, and at which it was over.
    pub start: u64,
    /// Not before that.
    pub end: u64,
    /// Sockets that were to take it, of [`Step::Deliver`].
    pub receivers: u32,
}

/// A message on its way to the members of its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traced {
    /// The append.
    pub(crate) parent: TraceContext,
    /// Microseconds at which it left the place where it was last.
    pub(crate) at: u64,
}

/// The messages of one delivery that are traced: of most deliveries none.
#[allow(
    clippy::box_collection,
    reason = "each delivery has room for one, and few have any"
)]
pub(crate) type AllTraced = Option<Box<Vec<Traced>>>;

/// Messages of one delivery that are traced at most: further ones have no spans after their append.
pub(crate) const MOST_TRACED: usize = 16;
