//! What a shard needs from whoever runs it: frames, randomness, a stopwatch, a log.

use roomcast_protocol::{ErrorCode, Format};

use crate::address::ShardAddress;
use crate::authorize::Inquiry;
use crate::fact::Fact;
use crate::identity::{Identity, TokenFault};
use crate::log::{Epoch, EventLog, Logged};
use crate::settings::Compression;
use crate::store::Cause;
use crate::time::Now;
use crate::trace::Span;

/// What a connection understands: a format, and whether its messages may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// JSON in text frames or Protobuf in binary ones.
    pub format: Format,
    /// permessage-deflate was agreed, without context takeover.
    pub deflate: bool,
}

impl Encoding {
    /// How many encodings there are.
    pub const COUNT: usize = 4;

    /// All of them, by [`Encoding::index`].
    pub const ALL: [Encoding; Encoding::COUNT] = [
        Encoding {
            format: Format::Json,
            deflate: false,
        },
        Encoding {
            format: Format::Json,
            deflate: true,
        },
        Encoding {
            format: Format::Protobuf,
            deflate: false,
        },
        Encoding {
            format: Format::Protobuf,
            deflate: true,
        },
    ];

    /// Place in a table of [`Encoding::COUNT`].
    pub fn index(self) -> usize {
        let format = match self.format {
            Format::Json => 0,
            Format::Protobuf => 2,
        };
        format + usize::from(self.deflate)
    }
}

/// A control frame of RFC 6455 section 5.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control<'a> {
    /// An empty ping.
    Ping,
    /// A pong with the ping's application data.
    Pong(&'a [u8]),
    /// A close frame.
    Close {
        /// Status code.
        code: u16,
        /// Reason; cut to what fits.
        reason: &'a str,
    },
}

/// Something that whoever runs the server should read in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A connection sent more messages than `messages_per_second` and `burst` allow.
    RateLimited,
    /// A connection's event lane was full; it is closed.
    SlowReader {
        /// Bytes that waited for it.
        waiting: usize,
    },
    /// A connection caused too many errors and is closed.
    TooManyErrors {
        /// The last of them.
        code: ErrorCode,
    },
    /// Somebody was refused because a room is full.
    RoomFull {
        /// The room's kind, whose `max_players` says so.
        kind: &'a str,
    },
    /// A room of a kind that nobody configured was refused.
    UnknownKind,
    /// A room was not opened, as those that are open take all the memory that logs may take.
    NoLogMemory,
    /// A call of room logic took longer than its budget.
    SlowLogic {
        /// The room's kind.
        kind: &'a str,
        /// Microseconds that the call took.
        micros: u64,
    },
    /// A room's logic and its players' states are more than a store keeps: they begin anew at the next home.
    LogicTooLarge {
        /// The room's kind.
        kind: &'a str,
        /// How many there are.
        bytes: usize,
    },
    /// Room logic wants something passed on that is no such message: its sender was refused.
    BadRelay {
        /// The room's kind.
        kind: &'a str,
        /// What is wrong with it.
        why: &'a str,
        /// How many bytes it has.
        bytes: usize,
    },
    /// Room logic panicked; the room is closed.
    LogicPanicked {
        /// The room's kind.
        kind: &'a str,
    },
    /// A room's log is shorter than sessions live without a connection: who comes back may find a gap.
    ShortLog {
        /// The room's kind, whose `log_events` and `log_bytes` say so.
        kind: &'a str,
    },
    /// The store does not do what a room asks, and won't before somebody has changed something.
    StoreRefuses {
        /// What stands in the way.
        cause: Cause,
    },
    /// The way to another shard is full; rooms with members there wait.
    LinkFull {
        /// The other shard.
        shard: ShardAddress,
    },
}

/// What becomes of a room's log.
#[derive(Clone, Copy, Debug)]
pub enum LogNews<'a> {
    /// It is opened: a new one, or one that goes on.
    Opened {
        /// The offset of its last event; 0 before the first.
        last: u64,
    },
    /// An event has its place.
    Logged(&'a Logged<'a>),
    /// It is about to be read for somebody.
    Read(&'a EventLog),
}

/// Given to a shard by whoever runs it.
pub trait Host {
    /// Appends `message` as one whole WebSocket message: text for JSON, binary for Protobuf,
    /// compressed where `encoding` and `compression` allow and it gets smaller.
    fn frame(
        &mut self,
        encoding: Encoding,
        compression: &Compression,
        message: &[u8],
        out: &mut Vec<u8>,
    );

    /// Appends a control frame.
    fn control(&mut self, control: Control<'_>, out: &mut Vec<u8>);

    /// A random number that nobody can guess.
    fn random(&mut self) -> u64;

    /// Microseconds of a running clock, to measure calls of room logic with.
    fn stopwatch(&mut self) -> u64;

    /// Checks a token that a client has sent, at this time in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The token is not good, or there is nothing to check it with.
    fn verify(&mut self, unix_ms: i64, token: &str) -> Result<Identity, TokenFault> {
        let _ = (unix_ms, token);
        Err(TokenFault::NotSupported)
    }

    /// Something for the log. Called as often as it happens: the host limits the rate.
    fn notice(&mut self, notice: Notice<'_>);

    /// Something that an application's backend may be told, where the settings ask for it.
    fn fact(&mut self, fact: Fact) {
        let _ = fact;
    }

    /// So many facts of a room are not told: the room was lost to another home before the store had confirmed them. What was
    /// not done is done there, and told. What was done and not confirmed is told by nobody.
    fn facts_lost(&mut self, count: u64) {
        let _ = count;
    }

    /// A backend is asked, where the settings say so: [`Shard::decide`](crate::Shard::decide) takes what it says.
    fn ask(&mut self, inquiry: Inquiry) {
        let _ = inquiry;
    }

    /// A step of a message that is traced is over.
    fn span(&mut self, span: Span) {
        let _ = span;
    }

    /// Something becomes of a room's log. Tests know from this what is true.
    fn log_news(&mut self, now: Now, room: &str, epoch: &Epoch, news: LogNews<'_>) {
        let _ = (now, room, epoch, news);
    }
}
