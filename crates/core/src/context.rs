//! What the two halves of a shard share: settings, the host, free lists, and the ways out.

use std::sync::Arc;

use roomcast_protocol::{Body, ErrorBody, ErrorCode, MessageType, Outgoing, encode};

use crate::chunk::{Chunk, ChunkBuilder, ChunkPool};
use crate::host::{Encoding, Host};
use crate::id::{ConnRef, NameHash};
use crate::kinds::Kinds;
use crate::letter::{Delivery, Exclusion, Letter, Op, ShardMessage, ToEdge};
use crate::settings::{Compression, Settings};
use crate::stats::Stats;

/// Free payload buffers that a shard keeps, and the largest that it keeps, in bytes.
const SPARE_BUFFERS: usize = 4_096;
const SPARE_BUFFER_SIZE: usize = 4_096;
/// Longest WebSocket header that a server sends.
const FRAME_HEADER: usize = 10;

pub(crate) struct Context<H> {
    pub(crate) index: u16,
    pub(crate) count: u16,
    pub(crate) settings: Arc<Settings>,
    pub(crate) kinds: Arc<Kinds>,
    pub(crate) names: NameHash,
    pub(crate) host: H,
    pub(crate) pool: ChunkPool,
    pub(crate) stats: Stats,
    /// One encoded message, before it becomes a frame.
    scratch: Vec<u8>,
    spare_buffers: Vec<Vec<u8>>,
    pub(crate) spare_exclusions: Vec<Vec<Exclusion>>,
    /// Operations for rooms at home here.
    pub(crate) local_ops: Vec<Op>,
    /// Deliveries and answers for connections here.
    pub(crate) local_edge: Vec<ToEdge>,
    pub(crate) outboxes: Vec<Vec<ShardMessage>>,
    /// Bytes of deliveries on their way to each shard.
    in_transit: Vec<usize>,
}

/// Why somebody gets an `error`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault<'a> {
    pub(crate) code: ErrorCode,
    pub(crate) message: &'a str,
    pub(crate) seq: u64,
    pub(crate) retry_after_ms: u64,
    pub(crate) request: Option<MessageType>,
    pub(crate) room: &'a str,
}

impl<'a> Fault<'a> {
    pub(crate) fn new(code: ErrorCode, message: &'a str) -> Fault<'a> {
        Fault {
            code,
            message,
            seq: 0,
            retry_after_ms: 0,
            request: None,
            room: "",
        }
    }
}

impl<H: Host> Context<H> {
    pub(crate) fn new(
        (index, count): (u16, u16),
        settings: Arc<Settings>,
        kinds: Arc<Kinds>,
        names: NameHash,
        host: H,
    ) -> Context<H> {
        Context {
            index,
            count,
            settings,
            kinds,
            names,
            host,
            pool: ChunkPool::new(),
            stats: Stats::default(),
            scratch: Vec::new(),
            spare_buffers: Vec::new(),
            spare_exclusions: Vec::new(),
            local_ops: Vec::new(),
            local_edge: Vec::new(),
            outboxes: (0..count).map(|_| Vec::new()).collect(),
            in_transit: vec![0; usize::from(count)],
        }
    }

    /// Sends an operation to the home of its room.
    pub(crate) fn send_home(&mut self, op: Op) {
        let home = NameHash::home(op.room.hash, self.count);
        if home == self.index {
            self.local_ops.push(op);
        } else if let Some(outbox) = self.outboxes.get_mut(usize::from(home)) {
            outbox.push(ShardMessage(Letter::Op(op)));
        }
    }

    /// Sends a delivery or an answer to the shard of a connection.
    pub(crate) fn send_edge(&mut self, shard: u16, message: ToEdge) {
        if shard == self.index {
            self.local_edge.push(message);
            return;
        }
        if let ToEdge::Deliver(Delivery { bytes, .. }) = &message
            && let Some(in_transit) = self.in_transit.get_mut(usize::from(shard))
        {
            *in_transit += bytes;
        }
        if let Some(outbox) = self.outboxes.get_mut(usize::from(shard)) {
            outbox.push(ShardMessage(Letter::Edge(message)));
        }
    }

    /// Whether a delivery to a shard has room on the way there.
    pub(crate) fn link_has_room(&self, shard: u16) -> bool {
        let in_transit = self
            .in_transit
            .get(usize::from(shard))
            .copied()
            .unwrap_or(0);
        in_transit < self.settings.link_window.max(1)
    }

    /// Bytes of deliveries on their way to other shards.
    pub(crate) fn link_bytes(&self) -> usize {
        self.in_transit.iter().sum()
    }

    pub(crate) fn link_credit(&mut self, shard: u16, bytes: usize) {
        if let Some(in_transit) = self.in_transit.get_mut(usize::from(shard)) {
            *in_transit = in_transit.saturating_sub(bytes);
        }
    }

    /// A buffer for a payload; [`Context::recycle`] takes it back.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare_buffers.pop().unwrap_or_default()
    }

    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare_buffers.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_BUFFER_SIZE {
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }

    /// Takes a buffer back that came from a shard, for that shard: what goes one way only would run out there.
    pub(crate) fn recycle_for(&mut self, shard: u16, buffer: Vec<u8>) {
        let outbox = self.outboxes.get_mut(usize::from(shard));
        match outbox.filter(|_| shard != self.index && buffer.capacity() <= SPARE_BUFFER_SIZE) {
            Some(outbox) => outbox.push(ShardMessage(Letter::Spare(buffer))),
            None => self.recycle(buffer),
        }
    }

    /// Encodes a message once for each encoding that has receivers, and appends the frames.
    ///
    /// Calls `appended` with the encoding's index and the range that it got there.
    pub(crate) fn broadcast(
        &mut self,
        receivers: &[u32; Encoding::COUNT],
        compression: &Compression,
        born: u64,
        message: &Outgoing<'_>,
        builders: &mut [Option<ChunkBuilder>; Encoding::COUNT],
        mut appended: impl FnMut(usize, u32, u32),
    ) {
        let mut encoded = None;
        for (encoding, builder) in Encoding::ALL.into_iter().zip(builders) {
            let index = encoding.index();
            if receivers[index] == 0 {
                continue;
            }
            if encoded != Some(encoding.format) {
                self.scratch.clear();
                encode(encoding.format, message, &mut self.scratch);
                encoded = Some(encoding.format);
            }
            let size = self.scratch.len() + FRAME_HEADER;
            let builder =
                builder.get_or_insert_with(|| ChunkBuilder::new(&mut self.pool, size, born));
            let start = builder.len() as u32;
            let out = builder.reserve(&mut self.pool, size);
            self.host.frame(encoding, compression, &self.scratch, out);
            appended(index, start, builder.len() as u32);
            let message_type = message.body.message_type();
            self.stats
                .queued(encoding.format, message_type, u64::from(receivers[index]));
        }
    }

    /// Appends a message for one receiver to what it will get.
    pub(crate) fn append(
        &mut self,
        encoding: Encoding,
        compression: &Compression,
        message: &Outgoing<'_>,
        builder: &mut ChunkBuilder,
    ) {
        self.scratch.clear();
        encode(encoding.format, message, &mut self.scratch);
        let out = builder.reserve(&mut self.pool, self.scratch.len() + FRAME_HEADER);
        self.host.frame(encoding, compression, &self.scratch, out);
        self.stats
            .queued(encoding.format, message.body.message_type(), 1);
    }

    /// A message for one receiver, as a chunk of its own.
    pub(crate) fn single(
        &mut self,
        encoding: Encoding,
        born: u64,
        message: &Outgoing<'_>,
    ) -> Arc<Chunk> {
        let mut builder = ChunkBuilder::new(&mut self.pool, 0, born);
        self.append(encoding, &Compression::default(), message, &mut builder);
        builder.finish(&mut self.pool)
    }

    /// An `error` for one receiver.
    pub(crate) fn error(
        &mut self,
        encoding: Encoding,
        born: u64,
        unix_ms: i64,
        fault: Fault<'_>,
    ) -> Arc<Chunk> {
        self.stats.error(fault.code);
        // A name that was refused for its length is not sent back.
        let room = if room_fits(fault.room) {
            fault.room
        } else {
            ""
        };
        let Fault {
            code,
            message,
            seq,
            retry_after_ms,
            request,
            room: _,
        } = fault;
        let body = Body::Error(ErrorBody {
            code,
            message,
            seq,
            retry_after_ms,
            request,
        });
        let outgoing = Outgoing {
            room_id: room,
            timestamp: unix_ms,
            body,
            ..Outgoing::default()
        };
        self.single(encoding, born, &outgoing)
    }

    /// Gives a connection the window back that a publish took.
    pub(crate) fn accepted(&mut self, conn: ConnRef, window: u32) {
        if let Some(ToEdge::Accepted {
            conn: last,
            window: sum,
            operations,
        }) = self.local_edge.last_mut()
            && conn.shard == self.index
            && *last == conn.conn
        {
            *sum += window;
            *operations += 1;
            return;
        }
        let (shard, conn, operations) = (conn.shard, conn.conn, 1);
        self.send_edge(
            shard,
            ToEdge::Accepted {
                conn,
                window,
                operations,
            },
        );
    }

    /// Answers a request that failed at a room's home.
    pub(crate) fn refuse(
        &mut self,
        to: ConnRef,
        encoding: Encoding,
        born: u64,
        unix_ms: i64,
        fault: Fault<'_>,
    ) {
        let answer = self.error(encoding, born, unix_ms, fault);
        let offence = Some(fault.code);
        let ordered = false;
        self.send_edge(
            to.shard,
            ToEdge::Answer {
                conn: to.conn,
                answer,
                offence,
                ordered,
            },
        );
    }
}

/// Whether a name may be part of an answer, whose size is bounded.
fn room_fits(name: &str) -> bool {
    name.len() <= 512
}
