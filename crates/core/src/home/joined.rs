//! What somebody who is in a room now is sent first.

use std::sync::Arc;

use roomcast_protocol::{Body, Joined as JoinedBody, Outgoing};

use crate::chunk::{Chunk, ChunkBuilder};
use crate::context::Context;
use crate::home::publish::{PAGE, page};
use crate::home::room::Room;
use crate::host::{Encoding, Host};
use crate::id::EdgeRoomId;
use crate::letter::{Joined, OpHead, ToEdge};
use crate::log::Since;
use crate::logs::Logs;
use crate::player::PlayerNum;
use crate::settings::PresenceMode;
use crate::time::Now;

/// What a `joined` says of the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct JoinedFields {
    /// Events after this one follow.
    pub(super) offset: u64,
    pub(super) recovered: bool,
    pub(super) repeats_possible: bool,
    /// Nobody else hears of the newcomer: it gets a `player_joined` of its own.
    pub(super) alone: bool,
    /// The client's number for the request that it answers; 0 for none.
    pub(super) request_id: u32,
}

impl Room {
    /// `joined`, what was missed, and the state. What the room makes from now on is delivered, once that was all.
    pub(super) fn send_joined<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        (edge_room, player): (EdgeRoomId, PlayerNum),
        (since, mut fields): (Option<Since>, JoinedFields),
    ) {
        let Some(seat) = self
            .members
            .get(&player)
            .and_then(|it| it.seat(op.conn))
            .copied()
        else {
            return;
        };
        let newest = fields.offset;
        if let Some(since) = since {
            let reached = since.offset <= newest && self.reaches(logs, now, &since);
            ctx.stats.recoveries[usize::from(reached)] += 1;
            if reached {
                (fields.recovered, fields.offset) = (true, since.offset);
            }
        }
        let slice = self.slice(ctx, logs, now, &seat, op.born, (fields.offset, newest));
        let answer = self.joined_answer(ctx, seat.encoding, op.born, player, fields);
        let joined = Joined {
            conn: op.conn.conn,
            edge_room,
            room: self.id,
            player,
            epoch: self.epoch,
            version: self.syncer.version(),
            answer,
            slice,
            unasked: false,
            state: self.owe_state((op.conn, edge_room, op.born), player),
        };
        ctx.send_edge(op.conn.shard, ToEdge::Joined(Box::new(joined)));
    }

    /// The joiner's `joined`; and its own `player_joined`, where nobody else gets one.
    pub(super) fn joined_answer<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        encoding: Encoding,
        born: u64,
        player: PlayerNum,
        fields: JoinedFields,
    ) -> Arc<Chunk> {
        let mode = self.presence();
        let Some(own) = self.members.get(&player) else {
            return ChunkBuilder::new(&mut ctx.pool, 0, born).finish(&mut ctx.pool);
        };
        let listed: Vec<_> = match mode {
            PresenceMode::None => vec![own.listed(player)],
            _ => page(self.members.iter(), PAGE),
        };
        let message = Outgoing {
            room_id: &self.name,
            timestamp: self.timestamp,
            request_id: fields.request_id,
            body: Body::Joined(JoinedBody {
                members: &listed,
                total: self.told_total(),
                player_id: own.player_id(),
                player_num: player,
                epoch: self.epoch.as_str(),
                offset: fields.offset,
                recovered: fields.recovered,
                repeats_possible: fields.repeats_possible,
                mode: self.entry.kind.mode.as_str(),
                presence: mode.as_str(),
                properties: self.properties(),
            }),
            ..Outgoing::default()
        };
        let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, born);
        let compression = &self.entry.kind.compression;
        ctx.append(encoding, compression, &message, &mut builder);
        if fields.alone {
            let message = Outgoing {
                from: own.itself(player),
                room_id: &self.name,
                timestamp: self.timestamp,
                body: Body::PlayerJoined(own.listed(player)),
                ..Outgoing::default()
            };
            ctx.append(encoding, compression, &message, &mut builder);
        }
        builder.finish(&mut ctx.pool)
    }
}
