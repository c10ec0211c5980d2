//! Counters of a shard. Plain numbers that only grow, unless a field says that it is a gauge.

use roomcast_protocol::{CloseCode, ErrorCode, Format, MessageType};

/// What a shard counted since it began.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Messages read, by format (JSON, Protobuf) and [`MessageType`] number.
    pub messages_in: [[u64; Stats::TYPES]; 2],
    /// Bytes of messages read, by format and type.
    pub bytes_in: [[u64; Stats::TYPES]; 2],
    /// Messages put into lanes, by format and type: an event counts once for each receiver.
    pub messages_out: [[u64; Stats::TYPES]; 2],
    /// Events that a room ordered and encoded.
    pub events: u64,
    /// Events and state messages queued for receivers, each counted once a receiver.
    pub deliveries: u64,
    /// Errors answered, by [`ErrorCode`] number.
    pub errors: Vec<u64>,
    /// Close frames sent, by close code; 0 stands for codes of clients that are neither the server's nor RFC 6455's, of
    /// which there are thousands.
    pub closes: Vec<(u16, u64)>,
    /// Connections closed because their event lane was full.
    pub slow_readers: u64,
    /// State snapshots that a slow reader did not get because a newer one replaced them.
    pub state_replaced: u64,
    /// Ephemeral events that a slow reader did not get.
    pub ephemeral_dropped: u64,
    /// Newest states made for single readers that had missed some.
    pub catch_ups: u64,
    /// Messages refused by the rate limit.
    pub rate_limited: u64,
    /// Messages after which a connection was not read on: its publish window, or its room for answers, was full.
    pub reads_paused: u64,
    /// Times that a room waited because the link to a shard with members was full.
    pub link_waits: u64,
    /// Times that a turn ended with rooms still waiting to be served.
    pub turns_cut: u64,
    /// Connections closed by the pool because nothing used them.
    pub pool_idle: u64,
    /// Connections closed by the pool because of their age.
    pub pool_lifetime: u64,
    /// Pings sent.
    pub pings: u64,
    /// Connections closed because they gave no sign of life.
    pub heartbeat_timeouts: u64,
    /// Connections closed because their socket took nothing for too long.
    pub write_timeouts: u64,
    /// Calls of room logic beyond their time budget.
    pub slow_logic: u64,
    /// Rooms closed because their logic panicked.
    pub failed_rooms: u64,
    /// Sessions that were resumed.
    pub resumed: u64,
    /// Of these, from a connection that was still there.
    pub taken_over: u64,
    /// Resume tokens that were not taken: wrong, stale, or of a session that is gone.
    pub resumes_refused: u64,
    /// Sessions that ended because nobody came back to them in time.
    pub sessions_expired: u64,
    /// Sessions that ended with their connection because too many had none already: on the shard, of the same origin.
    pub sessions_not_parked: [u64; 2],
    /// Sessions that ended because their user had as many as one may have.
    pub sessions_refused: u64,
    /// Positions that were asked for and no longer in the log, and those that were.
    pub recoveries: [u64; 2],
    /// Parts of logs that were told again to single members.
    pub recovered_slices: u64,
    /// Slow readers whose events were dropped, to be told again from the log.
    pub readers_behind: u64,
    /// Slow readers whose events were no longer in the log when they had caught up.
    pub log_overruns: u64,
    /// Rooms whose log was too short for the grace of sessions.
    pub short_logs: u64,
    /// Pages of history.
    pub history_pages: u64,
    /// Numbered messages that were acked.
    pub acks: u64,
    /// Numbered messages that had their answer already.
    pub repeats: u64,
    /// Numbered messages that came before one that is missing.
    pub seq_gaps: u64,
    /// Direct messages put into inboxes.
    pub inbox_messages: u64,
    /// Inboxes that lost their messages to stay under the ceiling of all of them.
    pub inboxes_evicted: u64,
    /// Gauge: bytes that inboxes take.
    pub inbox_bytes: usize,
    /// Gauge: sessions without a connection.
    pub parked: usize,
    /// Gauge: bytes that rooms' logs hold.
    pub log_bytes: usize,
    /// Logs that went whole to stay under the ceiling of all of them.
    pub logs_evicted: u64,
    /// Requests to the store about rooms, and those of them that were made again.
    pub store_requests: [u64; 2],
    /// What backends were asked before something was done; what they refused; what they did not answer, so that it was not
    /// done; and what they had answered before.
    pub inquiries: [u64; 4],
    /// Rooms that were given up because the store had another home for them.
    pub rooms_lost: u64,
    /// Rooms that were written at another store.
    pub rooms_renewed: u64,
    /// Times that a room took no more operations, as too much of it waited for the store.
    pub store_waits: u64,
    /// Operations that were refused because they had waited for the store for too long.
    pub impatient: u64,
    /// Letters and operations that were not sent, as a node of an older version would not understand them.
    pub withheld: u64,
    /// Fields and entries of records that could not be read, and were passed over.
    pub records_unread: u64,
    /// Gauge: bytes that wait for the store to confirm what was done before them.
    pub unconfirmed_bytes: usize,
    /// Microseconds from reading what caused a message to having written it, for each written piece.
    pub latency: Histogram,
    /// By the labels of kinds ([`Kinds::labels`](crate::Kinds::labels)), as far as there were rooms of them.
    pub kinds: Vec<KindStats>,
    /// Gauge: pieces that wait in all lanes.
    pub lane_pieces: usize,
    /// Gauge: chunks that those pieces share.
    pub chunks: usize,
    /// Gauge: bytes of empty buffers that are kept for reuse.
    pub spare_bytes: usize,
}

/// What is counted of the rooms of one kind that are at home here.
#[derive(Clone, Copy, Debug, Default)]
pub struct KindStats {
    /// Gauge: rooms.
    pub rooms: usize,
    /// Gauge: players in them.
    pub members: usize,
    /// Messages that were published, those of backends too.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

impl Stats {
    /// The kind with this label.
    pub(crate) fn kind(&mut self, label: usize) -> &mut KindStats {
        if self.kinds.len() <= label {
            self.kinds.resize(label + 1, KindStats::default());
        }
        &mut self.kinds[label]
    }

    /// Message types that are told apart; type numbers are below it.
    pub const TYPES: usize = 24;

    pub(crate) fn format(format: Format) -> usize {
        match format {
            Format::Json => 0,
            Format::Protobuf => 1,
        }
    }

    pub(crate) fn read(&mut self, format: Format, message_type: Option<MessageType>, bytes: usize) {
        let (format, kind) = (Stats::format(format), kind(message_type));
        self.messages_in[format][kind] += 1;
        self.bytes_in[format][kind] += bytes as u64;
    }

    pub(crate) fn queued(&mut self, format: Format, message_type: MessageType, receivers: u64) {
        self.messages_out[Stats::format(format)][kind(Some(message_type))] += receivers;
    }

    pub(crate) fn error(&mut self, code: ErrorCode) {
        let code = code as usize;
        if self.errors.len() <= code {
            self.errors.resize(code + 1, 0);
        }
        self.errors[code] += 1;
    }

    pub(crate) fn close(&mut self, code: u16) {
        let known = matches!(code, 1000..=1015) || CloseCode::from_code(code).is_some();
        let code = if known { code } else { 0 };
        match self.closes.iter_mut().find(|(other, _)| *other == code) {
            Some((_, count)) => *count += 1,
            None => self.closes.push((code, 1)),
        }
    }
}

fn kind(message_type: Option<MessageType>) -> usize {
    message_type.map_or(0, |kind| (kind as usize).min(Stats::TYPES - 1))
}

/// A histogram with two buckets a doubling, from 1 µs to over an hour.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: [u64; Histogram::BUCKETS],
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: [0; Histogram::BUCKETS],
            sum: 0,
        }
    }
}

impl Histogram {
    /// Number of buckets.
    pub const BUCKETS: usize = 64;

    /// Counts a value in microseconds.
    pub fn record(&mut self, value: u64) {
        let value = value.max(1);
        let doubling = value.ilog2() as usize;
        let upper_half = doubling > 0 && value >> (doubling - 1) & 1 == 1;
        let bucket = (2 * doubling + usize::from(upper_half)).min(Histogram::BUCKETS - 1);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// The buckets: each one's exclusive upper bound in microseconds, and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.counts.iter().enumerate().map(|(bucket, count)| {
            let base = 1u64 << (bucket / 2);
            let bound = if bucket % 2 == 0 {
                base + base.div_ceil(2)
            } else {
                2 * base
            };
            (bound, *count)
        })
    }

    /// Sum of all values, in microseconds.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Number of all values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_below_its_buckets_bound_and_not_below_the_one_before() {
        for value in (1..5_000).chain([1 << 20, (1 << 30) + 7]) {
            let mut histogram = Histogram::default();
            histogram.record(value);
            let mut below = 0;
            for (bound, count) in histogram.buckets() {
                if count > 0 {
                    assert!(below <= value && value < bound, "{value}: {below}..{bound}");
                }
                below = bound;
            }
        }
    }
}
