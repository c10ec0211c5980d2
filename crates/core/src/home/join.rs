//! Coming and going.

use std::sync::Arc;

use roomcast_protocol::{
    Body, ErrorCode, Joined as JoinedBody, MessageType, Outgoing, Payload, presence,
};

use crate::chunk::{Chunk, ChunkBuilder};
use crate::context::{Context, Fault};
use crate::engine::{Completion, Engine, Record, Since};
use crate::home::member::{Member, Seat};
use crate::home::output::{EdgeReceivers, Via};
use crate::home::publish::{PAGE, page};
use crate::home::room::{Room, refuse_non_member};
use crate::host::{Encoding, Host, Notice};
use crate::id::ConnRef;
use crate::letter::{Join, Joined, Op, OpHead, OpKind, RoomId, ToEdge};
use crate::logic::PlayerNum;
use crate::settings::PresenceMode;
use crate::state::PlayerBody;
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
}

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
        let OpKind::Join(join) = &op.request else {
            return;
        };
        if let Err(code) = presence::merge("", &join.presence, &ctx.settings.message) {
            let fault = Fault::new(code, "a member's presence has at most 2 KiB");
            return self.refuse_join(ctx, now, &op, fault);
        }
        // One more session of a player who is here: nobody comes.
        if self.player_of_user(ctx, &join.user_id).is_some() {
            return self.joined(ctx, engine, now, op, None);
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
        match self.presence() {
            PresenceMode::Full => self.submit(ctx, engine, now, op),
            PresenceMode::Count | PresenceMode::None => self.complete(ctx, engine, now, op, None),
        }
    }

    /// The record of somebody who joins: in a room that becomes too big, the event that says so.
    pub(super) fn join_record<'a>(&self, join: &'a Join, presence: &'a str) -> Record<'a> {
        if self.outgrows_full_presence(self.members.len() + 1) {
            return Record {
                message_type: MessageType::Event,
                name: PRESENCE_EVENT,
                payload: presence.as_bytes(),
                ..Record::default()
            };
        }
        Record {
            message_type: MessageType::PlayerJoined,
            client_id: join.client_id.as_str(),
            player_id: &join.user_id,
            player_num: self.next_num,
            name: &join.nickname,
            payload: presence.as_bytes(),
            ..Record::default()
        }
    }

    /// What the record of one who joins has as its payload.
    pub(super) fn join_payload<H: Host>(&self, ctx: &Context<H>, join: &Join) -> String {
        let members = self.members.len() + 1;
        if self.outgrows_full_presence(members) {
            return count_json(members);
        }
        presence::merge("", &join.presence, &ctx.settings.message).unwrap_or_default()
    }

    fn outgrows_full_presence(&self, members: usize) -> bool {
        let most = self.entry.kind.full_presence_limit as usize;
        self.presence() == PresenceMode::Full && most > 0 && members > most
    }

    /// Somebody is in: it gets `joined`, everybody hears of it, as far as the kind tells.
    pub(super) fn joined<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
        completion: Option<Completion>,
    ) {
        // While the engine was asked, its logic may have failed.
        if self.has_failed() {
            return self.refuse_join(ctx, now, &op, failed());
        }
        let head = op.head();
        let OpKind::Join(join) = op.request else {
            return;
        };
        // What was said before goes to those who were there.
        self.seal(ctx);
        let seat = Seat {
            conn: op.conn,
            encoding: op.encoding,
            client_id: join.client_id,
            connected: true,
        };
        let (edge_room, place, client_id) = (join.edge_room, join.place, join.client_id);
        let here = self.player_of_user(ctx, &join.user_id);
        let (player, was_connected) = match here {
            Some(player) => (player, self.add_seat(player, seat)),
            None => (self.add_player(ctx, *join, seat), true),
        };
        self.add_receiver(op.conn.shard, edge_room, op.encoding);
        let mut effects = Vec::new();
        if here.is_none() {
            self.note_newcomer(player);
            self.call_logic(ctx, now, &mut effects, |logic, room| {
                logic.join(room, player)
            });
            if self.has_failed() {
                return self.let_go(ctx, op.conn, edge_room);
            }
        }
        self.timestamp = self.timestamp.max(now.unix_ms);
        let before = completion.map_or(self.offset, |completion| completion.offset - 1);
        let outgrown = here.is_none() && self.outgrows_full_presence(self.members.len());
        let fields = JoinedFields {
            offset: before,
            recovered: false,
            repeats_possible: engine.enter(
                self.log,
                client_id,
                place.first_seq,
                place.since.is_some(),
            ),
            alone: here.is_none() && (completion.is_none() || outgrown),
        };
        self.send_joined(ctx, engine, &head, (edge_room, player), place.since, fields);
        if outgrown {
            self.switch_to_count(ctx, op.born);
        } else if completion.is_some() {
            self.announce(ctx, op.born, player, true);
        }
        if here.is_none() && self.presence() == PresenceMode::Count {
            self.syncer.count_changed();
        }
        if !was_connected {
            self.tell_connection(ctx, now, op.born, player);
        }
        self.note_changes();
        // What logic says to the newcomer comes behind its `joined`.
        self.apply(ctx, now, effects);
    }

    fn add_player<H: Host>(&mut self, ctx: &mut Context<H>, join: Join, seat: Seat) -> PlayerNum {
        let player = self.next_num;
        self.next_num = self.next_num.saturating_add(1);
        let presence = presence::merge("", &join.presence, &ctx.settings.message);
        if !join.user_id.is_empty() {
            let hash = ctx.names.hash(&join.user_id);
            let members = &self.members;
            let hash_of = |player: &PlayerNum| {
                let user = members.get(player).map_or("", |member| &member.user_id);
                ctx.names.hash(user)
            };
            self.users.insert_unique(hash, player, hash_of);
        }
        let member = Member {
            seats: smallvec::smallvec![seat],
            user_id: join.user_id,
            nickname: join.nickname,
            presence: presence.unwrap_or_default().into_boxed_str(),
            presence_version: self.syncer.version(),
            body: PlayerBody::default(),
            body_version: self.syncer.version(),
            changed: false,
        };
        self.members.insert(player, member);
        player
    }

    /// Whether the player had a connection already.
    fn add_seat(&mut self, player: PlayerNum, seat: Seat) -> bool {
        let Some(member) = self.members.get_mut(&player) else {
            return true;
        };
        let connected = member.connected();
        member.seats.push(seat);
        connected
    }

    /// The player that a user is, if one of its sessions is in the room.
    fn player_of_user<H: Host>(&self, ctx: &Context<H>, user_id: &str) -> Option<PlayerNum> {
        if user_id.is_empty() {
            return None;
        }
        let is_it = |player: &PlayerNum| {
            let member = self.members.get(player);
            member.is_some_and(|member| *member.user_id == *user_id)
        };
        self.users.find(ctx.names.hash(user_id), is_it).copied()
    }

    /// `joined`, what was missed, and the state. What the room makes from now on is delivered, once that was all.
    pub(super) fn send_joined<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &E,
        op: &OpHead,
        (edge_room, player): (RoomId, PlayerNum),
        since: Option<Since>,
        mut fields: JoinedFields,
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
            let reached = since.offset <= newest && self.reaches(engine, &since);
            ctx.stats.recoveries[usize::from(reached)] += 1;
            if reached {
                (fields.recovered, fields.offset) = (true, since.offset);
            }
        }
        let slice = self.slice(ctx, engine, &seat, op.born, (fields.offset, newest));
        let answer = self.joined_answer(ctx, seat.encoding, op.born, player, fields);
        let joined = Joined {
            conn: op.conn.conn,
            edge_room,
            room: self.id,
            player,
            version: self.syncer.version(),
            answer,
            slice,
            unasked: false,
            state: self.whole_state(ctx, seat.encoding, op.born),
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
            }),
            ..Outgoing::default()
        };
        let mut builder = ChunkBuilder::new(&mut ctx.pool, 0, born);
        let compression = &self.entry.kind.compression;
        ctx.append(encoding, compression, &message, &mut builder);
        if fields.alone {
            let message = Outgoing {
                from_client_id: own.seats.first().map_or("", |seat| seat.client_id.as_str()),
                room_id: &self.name,
                timestamp: self.timestamp,
                body: Body::PlayerJoined(own.listed(player)),
                ..Outgoing::default()
            };
            ctx.append(encoding, compression, &message, &mut builder);
        }
        builder.finish(&mut ctx.pool)
    }

    /// Joining again only repeats `joined`. All that came since a position of this connection was or will be sent.
    fn repeat_joined<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, op: &Op) {
        // Its events follow what was handed out before.
        self.seal(ctx);
        self.timestamp = self.timestamp.max(now.unix_ms);
        let OpKind::Join(join) = &op.request else {
            return;
        };
        // It missed nothing, wherever in its lane or in the log its next event waits: its own position holds.
        let since = join.place.since.filter(|since| since.offset <= self.offset);
        let fields = JoinedFields {
            offset: since.map_or(self.offset, |since| since.offset),
            recovered: true,
            ..JoinedFields::default()
        };
        let answer = self.joined_answer(ctx, op.encoding, op.born, op.player, fields);
        ctx.send_edge(
            op.conn.shard,
            ToEdge::JoinedAgain {
                conn: op.conn.conn,
                edge_room: join.edge_room,
                answer,
            },
        );
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
            return refuse_non_member(ctx, now, op);
        };
        op.player = player;
        let last = self
            .members
            .get(&player)
            .is_none_or(|it| it.seats.len() == 1);
        // An empty room's last event has no reader.
        if self.presence() == PresenceMode::Full && last && self.members.len() > 1 {
            self.submit(ctx, engine, now, op);
        } else {
            self.complete(ctx, engine, now, op, None);
        }
    }

    pub(super) fn left<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
        completion: Option<Completion>,
    ) {
        let OpKind::Leave { gone, edge_room } = op.request else {
            return;
        };
        let last = self
            .members
            .get(&op.player)
            .is_none_or(|it| it.seats.len() == 1);
        if last {
            self.with_logic(ctx, now, |logic, room| logic.leave(room, op.player));
        }
        self.seal(ctx);
        let Some(seat) = self.take_seat(op.player, op.conn) else {
            if !gone {
                self.let_go(ctx, op.conn, edge_room);
            }
            return;
        };
        if seat.connected {
            self.remove_receiver(op.conn.shard, seat.encoding);
        }
        engine.exit(self.log, seat.client_id);
        self.timestamp = self.timestamp.max(now.unix_ms);
        let gone_player = if last {
            self.members.remove(&op.player)
        } else {
            None
        };
        let Some(member) = gone_player
            .as_ref()
            .or_else(|| self.members.get(&op.player))
        else {
            return;
        };
        let player_id = match member.player_id() {
            "" => seat.client_id.as_str(),
            player_id => player_id,
        };
        let message = Outgoing {
            from_client_id: seat.client_id.as_str(),
            room_id: &self.name,
            timestamp: self.timestamp,
            offset: completion.map_or(0, |completion| completion.offset),
            epoch: completion.map_or("", |_| self.epoch.as_str()),
            body: Body::PlayerLeft {
                player_id,
                player_num: op.player,
            },
            ..Outgoing::default()
        };
        if !gone {
            let farewell = Some(ctx.single(seat.encoding, op.born, &message));
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
        if last && self.keeps_state() {
            self.syncer.player_left(player_id);
        }
        if last && self.presence() == PresenceMode::Count {
            self.syncer.count_changed();
        }
        if let Some(member) = &gone_player {
            self.forget_user(ctx, op.player, member);
        } else if seat.connected && !member.connected() {
            self.tell_connection(ctx, now, op.born, op.player);
        }
        self.note_changes();
    }

    fn take_seat(&mut self, player: PlayerNum, conn: ConnRef) -> Option<Seat> {
        let seats = &mut self.members.get_mut(&player)?.seats;
        let at = seats.iter().position(|seat| seat.conn == conn)?;
        Some(seats.remove(at))
    }

    fn forget_user<H: Host>(&mut self, ctx: &Context<H>, player: PlayerNum, member: &Member) {
        let hash = ctx.names.hash(&member.user_id);
        if let Ok(entry) = self.users.find_entry(hash, |other| *other == player) {
            entry.remove();
        }
    }

    /// Answers a join or leave whose room failed meanwhile, which everybody was told.
    pub(super) fn let_go<H: Host>(&self, ctx: &mut Context<H>, to: ConnRef, edge_room: RoomId) {
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
            from_client_id: member
                .seats
                .first()
                .map_or("", |seat| seat.client_id.as_str()),
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
    fn switch_to_count<H: Host>(&mut self, ctx: &mut Context<H>, born: u64) {
        self.counts_presence = true;
        let payload = count_json(self.members.len());
        let payload = Payload::json(&payload);
        let message = Outgoing {
            room_id: &self.name,
            timestamp: self.timestamp,
            offset: self.offset,
            epoch: self.epoch.as_str(),
            body: Body::Event {
                name: PRESENCE_EVENT,
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

    pub(super) fn add_receiver(&mut self, shard: u16, edge_room: RoomId, encoding: Encoding) {
        self.receivers[encoding.index()] += 1;
        let at = self
            .edges
            .iter()
            .position(|edge| edge.shard == shard)
            .unwrap_or_else(|| {
                let receivers = [0; Encoding::COUNT];
                self.edges.push(EdgeReceivers {
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

    pub(super) fn remove_receiver(&mut self, shard: u16, encoding: Encoding) {
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

/// Tells that a room has become too big for `full` presence.
const PRESENCE_EVENT: &str = "roomcast.presence";

fn count_json(members: usize) -> String {
    format!(r#"{{"presence":"count","total":{members}}}"#)
}

fn failed() -> Fault<'static> {
    Fault::new(
        ErrorCode::RoomFailed,
        "the room's logic failed; join again for a new room",
    )
}
