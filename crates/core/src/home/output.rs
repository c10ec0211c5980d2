//! What a room has made in a turn and not handed out yet.

use roomcast_protocol::Outgoing;
use smallvec::SmallVec;

use crate::address::ShardAddress;
use crate::chunk::ChunkBuilder;
use crate::context::Context;
use crate::home::tail::Tap;
use crate::host::{Encoding, Host};
use crate::id::{ConnRef, EdgeRoomId};
use crate::letter::{Delivery, Encoded, Exclusion, ToEdge};
use crate::settings::Compression;
use crate::trace::AllTraced;

/// A chunk of this size is handed out at once: larger ones would not fit a slow lane's bound.
const CHUNK_LIMIT: usize = 32 * 1024;

/// The lane that a broadcast goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// Ordered events.
    Events,
    /// State; what is ephemeral goes here as well, as the first to be dropped.
    State,
}

/// A shard on which a room has members.
#[derive(Debug)]
pub(crate) struct EdgeReceivers {
    pub(crate) shard: ShardAddress,
    pub(crate) edge_room: EdgeRoomId,
    pub(crate) receivers: [u32; Encoding::COUNT],
}

impl EdgeReceivers {
    /// Leaves out what is in an encoding that nobody there uses.
    fn drop_unused<H>(&self, ctx: &mut Context<H>, encoded: &mut Encoded) {
        for (chunk, receivers) in encoded.iter_mut().zip(self.receivers) {
            if let Some(chunk) = chunk.take_if(|_| receivers == 0) {
                ctx.pool.give_back(chunk);
            }
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Output {
    events: [Option<ChunkBuilder>; Encoding::COUNT],
    state: [Option<ChunkBuilder>; Encoding::COUNT],
    version: Option<u64>,
    /// The offset before the first of the events.
    base: Option<u64>,
    /// The offset of the last of them.
    last: u64,
    exclusions: Vec<Exclusion>,
    largest: usize,
    /// Bytes of events that each receiver was handed in this turn, in the longest encoding.
    handed: usize,
    /// Messages in it that are traced.
    pub(super) traced: AllTraced,
    /// Somebody listens to the room.
    pub(super) tap: Option<Box<Tap>>,
}

impl Output {
    /// Encodes a message for everybody but `except`.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a room that a broadcast reads"
    )]
    pub(crate) fn broadcast<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        via: Via,
        receivers: &[u32; Encoding::COUNT],
        compression: &Compression,
        born: u64,
        message: &Outgoing<'_>,
        except: Option<(ConnRef, Encoding)>,
    ) {
        if let Some(tap) = &mut self.tap {
            tap.take(message);
        }
        if except.is_some() && self.exclusions.capacity() == 0 {
            self.exclusions = ctx.spare_exclusions.take();
        }
        if via == Via::Events {
            self.last = message.offset;
            if self.base.is_none() {
                self.base = Some(message.offset.saturating_sub(1));
            }
        }
        let Output {
            events,
            state,
            exclusions,
            largest,
            ..
        } = self;
        let builders = match via {
            Via::Events => events,
            Via::State => state,
        };
        ctx.broadcast(
            receivers,
            compression,
            born,
            message,
            builders,
            |encoding, start, end| {
                *largest = (*largest).max(end as usize);
                if let Some((conn, of)) = except
                    && of.index() == encoding
                {
                    exclusions.push(Exclusion {
                        conn,
                        state_lane: via == Via::State,
                        offset: message.offset,
                        start,
                        end,
                    });
                }
            },
        );
    }

    pub(crate) fn begin_turn(&mut self) {
        self.handed = 0;
    }

    /// Bytes that each receiver has been or is about to be handed in this turn.
    pub(crate) fn handed(&self) -> usize {
        self.handed + self.largest
    }

    /// The state that was broadcast brings receivers to this version.
    pub(crate) fn set_version(&mut self, version: u64) {
        self.version = Some(version);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.largest >= CHUNK_LIMIT
    }

    /// Hands everything out to the shards with members.
    pub(crate) fn seal<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        edges: &SmallVec<[EdgeReceivers; 1]>,
    ) {
        if self.largest == 0 {
            self.traced = None;
            return;
        }
        let traced = self.traced.take();
        self.handed += std::mem::take(&mut self.largest);
        let version = self.version.take();
        let base = self.base.take().unwrap_or(0);
        let newest = std::mem::take(&mut self.last);
        let exclusions = std::mem::take(&mut self.exclusions);
        let mut finish = |builders: &mut [Option<ChunkBuilder>; Encoding::COUNT]| -> Encoded {
            let mut encoded = Encoded::default();
            for (builder, encoded) in builders.iter_mut().zip(&mut encoded) {
                if let Some(builder) = builder.take() {
                    *encoded = Some(builder.finish(&mut ctx.pool));
                }
            }
            encoded
        };
        let (events, state) = (finish(&mut self.events), finish(&mut self.state));
        if edges
            .iter()
            .any(|edge| edge.shard.is_own() && edge.shard != ctx.own)
        {
            for chunk in events.iter().chain(&state).flatten() {
                ctx.pool.lend(chunk);
            }
        }
        let mut whole = Some((events, state, exclusions));
        for (nth, edge) in edges.iter().enumerate() {
            let last = nth + 1 == edges.len();
            let Some((mut events, mut state, exclusions)) =
                (if last { whole.take() } else { whole.clone() })
            else {
                return;
            };
            if !edge.shard.is_own() {
                // Each of them goes there as bytes.
                edge.drop_unused(ctx, &mut events);
                edge.drop_unused(ctx, &mut state);
            }
            let lengths = |encoded: &Encoded| -> usize {
                encoded
                    .iter()
                    .flatten()
                    .map(|chunk| chunk.bytes().len())
                    .sum()
            };
            let bytes = lengths(&events) + lengths(&state);
            let edge_room = edge.edge_room;
            let delivery = Delivery {
                edge_room,
                events,
                state,
                base,
                last: newest,
                version,
                exclusions,
                bytes,
                traced: traced.clone(),
            };
            ctx.send_edge(edge.shard, ToEdge::Deliver(delivery));
        }
        // A room that everybody left while it spoke.
        if let Some((events, state, _)) = whole {
            events
                .into_iter()
                .chain(state)
                .flatten()
                .for_each(|chunk| ctx.pool.give_back(chunk));
        }
    }
}
