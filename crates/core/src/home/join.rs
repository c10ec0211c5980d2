//! Coming and going.

use std::sync::Arc;

use roomcast_protocol::{
    Body, ErrorCode, Joined as JoinedBody, MessageType, Outgoing, Payload, presence,
};

use crate::chunk::{Chunk, ChunkBuilder};
use crate::context::{Context, Fault};
use crate::engine::{Completion, Engine};
use crate::home::Member;
use crate::home::output::{EdgeLink, Via};
use crate::home::publish::{PAGE, page};
use crate::home::room::{Room, refuse_stranger};
use crate::host::{Encoding, Host, Notice};
use crate::id::ConnRef;
use crate::link::{Joined, Op, OpKind, RoomId, ToEdge};
use crate::logic::PlayerNum;
use crate::settings::PresenceMode;
use crate::state::PlayerBody;
use crate::time::Now;

impl Room {
    pub(super) fn join<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        mut op: Op,
    ) {
        if let Some(player) = self.player_of(&op) {
            op.player = player;
            return self.repeat_joined(ctx, now, &op);
        }
        if self.has_failed() {
            return self.refuse_join(ctx, now, &op, failed());
        }
        let most = self.entry.kind.max_players as usize;
        if most > 0 && self.members.len() >= most {
            ctx.host.notice(Notice::RoomFull {
                kind: &self.entry.kind.name,
            });
            let fault = Fault::new(
                ErrorCode::RoomFull,
                "the room has all the players that its kind allows",
            );
            return self.refuse_join(ctx, now, &op, fault);
        }
        if let OpKind::Join(join) = &op.request
            && let Err(code) = presence::merge("", &join.presence, &ctx.settings.message)
        {
            let fault = Fault::new(code, "a member's presence has at most 2 KiB");
            return self.refuse_join(ctx, now, &op, fault);
        }
        match self.presence() {
            PresenceMode::Full => self.submit(ctx, engine, now, op),
            PresenceMode::Count | PresenceMode::None => self.complete(ctx, now, op, None),
        }
    }

    /// Somebody is in: it gets `joined`, everybody hears of it, as far as the kind tells.
    pub(super) fn joined<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: Op,
        completion: Option<Completion>,
    ) {
        // While the engine was asked, its logic may have failed.
        if self.has_failed() {
            return self.refuse_join(ctx, now, &op, failed());
        }
        let OpKind::Join(join) = op.request else {
            return;
        };
        // What was said before goes to those who were there.
        self.seal(ctx);
        let player = self.next_num;
        self.next_num = self.next_num.saturating_add(1);
        let presence = presence::merge("", &join.presence, &ctx.settings.message);
        let member = Member {
            conn: op.conn,
            encoding: op.encoding,
            client_id: join.client_id,
            nickname: join.nickname,
            presence: presence.unwrap_or_default().into_boxed_str(),
            presence_version: self.syncer.version(),
            body: PlayerBody::default(),
            body_version: self.syncer.version(),
            changed: false,
        };
        self.members.insert(player, member);
        self.add_receiver(op.conn.shard, join.edge_room, op.encoding);
        self.note_newcomer(player);
        let mut effects = Vec::new();
        self.call_logic(ctx, now, &mut effects, |logic, room| {
            logic.join(room, player)
        });
        if self.has_failed() {
            return self.let_go(ctx, op.conn, join.edge_room);
        }
        self.timestamp = self.timestamp.max(now.unix_ms);
        let before = completion.map_or(self.offset, |completion| completion.offset - 1);
        let crowds = self.presence() == PresenceMode::Full
            && self.entry.kind.full_presence_limit > 0
            && self.members.len() > self.entry.kind.full_presence_limit as usize;
        let alone = completion.is_none() || crowds;
        let answer = self.joined_answer(ctx, op.encoding, op.born, player, before, alone);
        let state = self.whole_state(ctx, op.encoding, op.born);
        let joined = Joined {
            conn: op.conn.conn,
            edge_room: join.edge_room,
            room: self.id,
            player,
            version: self.syncer.version(),
            answer,
            state,
        };
        ctx.send_edge(op.conn.shard, ToEdge::Joined(Box::new(joined)));
        if crowds {
            self.crowd(ctx, op.born);
        } else if completion.is_some() {
            self.announce(ctx, op.born, player, true);
        }
        if self.presence() == PresenceMode::Count {
            self.syncer.count_changed();
        }
        self.note_changes();
        // What logic says to the newcomer comes behind its `joined`.
        self.apply(ctx, now, effects);
    }

    /// The joiner's `joined`; and its own `player_joined`, where nobody else gets one.
    fn joined_answer<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        encoding: Encoding,
        born: u64,
        player: PlayerNum,
        offset: u64,
        alone: bool,
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
            body: Body::Joined(JoinedBody {
                members: &listed,
                total: self.told_total(),
                player_id: own.player_id(),
                player_num: player,
                epoch: self.epoch.as_str(),
                offset,
                recovered: false,
                repeats_possible: false,
                mode: self.entry.kind.mode.as_str(),
                presence: mode.as_str(),
            }),
            ..Outgoing::default()
        };
        let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, born);
        let compression = &self.entry.kind.compression;
        ctx.append(encoding, compression, &message, &mut builder);
        if alone {
            let message = Outgoing {
                from_client_id: own.client_id.as_str(),
                room_id: &self.name,
                timestamp: self.timestamp,
                body: Body::PlayerJoined(own.listed(player)),
                ..Outgoing::default()
            };
            ctx.append(encoding, compression, &message, &mut builder);
        }
        builder.finish(&mut ctx.pool)
    }

    /// Joining again only repeats `joined`.
    fn repeat_joined<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, op: &Op) {
        // Its events follow what was handed out before.
        self.seal(ctx);
        self.timestamp = self.timestamp.max(now.unix_ms);
        let OpKind::Join(join) = &op.request else {
            return;
        };
        let answer = self.joined_answer(ctx, op.encoding, op.born, op.player, self.offset, false);
        let joined = Joined {
            conn: op.conn.conn,
            edge_room: join.edge_room,
            room: self.id,
            player: op.player,
            version: self.syncer.version(),
            answer,
            state: None,
        };
        ctx.send_edge(op.conn.shard, ToEdge::Joined(Box::new(joined)));
    }

    pub(super) fn refuse_join<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: &Op,
        fault: Fault<'_>,
    ) {
        let OpKind::Join(join) = &op.request else {
            return;
        };
        let fault = Fault {
            seq: op.seq,
            request: Some(MessageType::JoinRoom),
            room: &self.name,
            ..fault
        };
        let error = ctx.error(op.encoding, op.born, now.unix_ms, fault);
        let (conn, edge_room, code) = (op.conn.conn, join.edge_room, fault.code);
        ctx.send_edge(
            op.conn.shard,
            ToEdge::JoinRefused {
                conn,
                edge_room,
                error,
                code,
            },
        );
    }

    pub(super) fn leave<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        mut op: Op,
    ) {
        let Some(player) = self.player_of(&op) else {
            return refuse_stranger(ctx, now, op);
        };
        op.player = player;
        // An empty room's last event has no reader.
        if self.presence() == PresenceMode::Full && self.members.len() > 1 {
            self.submit(ctx, engine, now, op);
        } else {
            self.complete(ctx, now, op, None);
        }
    }

    pub(super) fn left<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: Op,
        completion: Option<Completion>,
    ) {
        let OpKind::Leave { gone, edge_room } = op.request else {
            return;
        };
        self.with_logic(ctx, now, |logic, room| logic.leave(room, op.player));
        self.seal(ctx);
        let Some(member) = self.members.remove(&op.player) else {
            if !gone {
                self.let_go(ctx, op.conn, edge_room);
            }
            return;
        };
        self.remove_receiver(op.conn.shard, member.encoding);
        self.timestamp = self.timestamp.max(now.unix_ms);
        let message = Outgoing {
            from_client_id: member.client_id.as_str(),
            room_id: &self.name,
            timestamp: self.timestamp,
            offset: completion.map_or(0, |completion| completion.offset),
            epoch: completion.map_or("", |_| self.epoch.as_str()),
            body: Body::PlayerLeft {
                player_id: member.player_id(),
                player_num: op.player,
            },
            ..Outgoing::default()
        };
        if !gone {
            let farewell = Some(ctx.single(member.encoding, op.born, &message));
            ctx.send_edge(
                op.conn.shard,
                ToEdge::Left {
                    conn: op.conn.conn,
                    edge_room,
                    asked: true,
                    farewell,
                },
            );
        }
        if completion.is_some() {
            let (receivers, compression) = (&self.receivers, &self.entry.kind.compression);
            self.output.broadcast(
                ctx,
                Via::Events,
                receivers,
                compression,
                op.born,
                &message,
                None,
            );
        }
        if self.keeps_state() {
            self.syncer.player_left(member.player_id());
        }
        if self.presence() == PresenceMode::Count {
            self.syncer.count_changed();
        }
        self.note_changes();
    }

    /// Answers a join or leave whose room failed meanwhile, which everybody was told.
    fn let_go<H: Host>(&self, ctx: &mut Context<H>, to: ConnRef, edge_room: RoomId) {
        let conn = to.conn;
        let left = ToEdge::Left {
            conn,
            edge_room,
            asked: true,
            farewell: None,
        };
        ctx.send_edge(to.shard, left);
    }

    /// `player_joined` to everybody in the room.
    fn announce<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        born: u64,
        player: PlayerNum,
        logged: bool,
    ) {
        let Some(member) = self.members.get(&player) else {
            return;
        };
        let message = Outgoing {
            from_client_id: member.client_id.as_str(),
            room_id: &self.name,
            timestamp: self.timestamp,
            offset: if logged { self.offset } else { 0 },
            epoch: if logged { self.epoch.as_str() } else { "" },
            body: Body::PlayerJoined(member.listed(player)),
            ..Outgoing::default()
        };
        let (receivers, compression) = (&self.receivers, &self.entry.kind.compression);
        self.output.broadcast(
            ctx,
            Via::Events,
            receivers,
            compression,
            born,
            &message,
            None,
        );
    }

    /// The room has become too big to tell everybody of everybody: one logged event says so, in
    /// the place of the `player_joined` that went over the limit.
    fn crowd<H: Host>(&mut self, ctx: &mut Context<H>, born: u64) {
        self.crowded = true;
        let payload = format!(r#"{{"presence":"count","total":{}}}"#, self.members.len());
        let payload = Payload::json(&payload);
        let message = Outgoing {
            room_id: &self.name,
            timestamp: self.timestamp,
            offset: self.offset,
            epoch: self.epoch.as_str(),
            body: Body::Event {
                name: "roomcast.presence",
                payload,
            },
            ..Outgoing::default()
        };
        let (receivers, compression) = (&self.receivers, &self.entry.kind.compression);
        self.output.broadcast(
            ctx,
            Via::Events,
            receivers,
            compression,
            born,
            &message,
            None,
        );
    }

    fn add_receiver(&mut self, shard: u16, edge_room: RoomId, encoding: Encoding) {
        self.receivers[encoding.index()] += 1;
        let at = self
            .edges
            .iter()
            .position(|edge| edge.shard == shard)
            .unwrap_or_else(|| {
                let receivers = [0; Encoding::COUNT];
                self.edges.push(EdgeLink {
                    shard,
                    edge_room,
                    receivers,
                });
                self.edges.len() - 1
            });
        let edge = &mut self.edges[at];
        // The shard may have dropped the room and met it again.
        edge.edge_room = edge_room;
        edge.receivers[encoding.index()] += 1;
    }

    fn remove_receiver(&mut self, shard: u16, encoding: Encoding) {
        let index = encoding.index();
        self.receivers[index] = self.receivers[index].saturating_sub(1);
        self.edges.retain(|edge| {
            if edge.shard == shard {
                edge.receivers[index] = edge.receivers[index].saturating_sub(1);
            }
            edge.receivers.iter().any(|receivers| *receivers > 0)
        });
    }
}

fn failed() -> Fault<'static> {
    Fault::new(
        ErrorCode::RoomFailed,
        "the room's logic failed; join again for a new room",
    )
}
