//! Going.

use roomcast_protocol::{Body, MessageType, Outgoing};

use crate::context::Context;
use crate::home::output::Via;
use crate::home::refusals::{come_back, refuse_leave};
use crate::home::room::Room;
use crate::host::Host;
use crate::id::{ClientId, ConnRef};
use crate::letter::{Leave, OpHead, ToEdge};
use crate::log::{Completion, Record};
use crate::logs::{Appended, Logs};
use crate::member::{Member, Seat};
use crate::player::PlayerNum;
use crate::settings::PresenceMode;
use crate::time::Now;

impl Room {
    pub(super) fn leave<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: OpHead,
        leave: Leave,
    ) {
        if self.gate.is_some() {
            // Who has left is owed no answer any more.
            self.flush_acks(ctx, now);
        }
        let player = self.player_of(&op);
        let client = self.client_of(&op);
        if let Some(who) = player.zip(client) {
            return self.depart(ctx, logs, now, op, leave, who);
        }
        if self.is_late(leave.client_id, leave.turn) && leave.turn > 0 {
            return refuse_leave(ctx, now, &op, leave);
        }
        if let Some(who) = self.take_orphan(leave.client_id) {
            return self.depart(ctx, logs, now, op, leave, who);
        }
        match self.seat_of_ended(&leave) {
            Some((who, conn)) => {
                // Its node may not have heard yet that the session is another's.
                if let Some(conn) = conn {
                    come_back(ctx, conn);
                }
                self.depart(ctx, logs, now, op, leave, who);
            }
            None => refuse_leave(ctx, now, &op, leave),
        }
    }

    /// A session's seat ends, and its player goes with the last one.
    pub(super) fn depart<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        mut op: OpHead,
        leave: Leave,
        (player, client): (PlayerNum, ClientId),
    ) {
        op.player = player;
        let last = self
            .members
            .get(&player)
            .is_none_or(|it| it.seats.len() == 1);
        let mut completion = None;
        // An empty room's last event has no reader.
        if self.presence() == PresenceMode::Full && last && self.members.len() > 1 {
            let record = Record {
                message_type: MessageType::PlayerLeft,
                client_id: client.as_str(),
                player_num: player,
                ..Record::default()
            };
            // Whoever leaves has left, whether or not that can be told.
            if let Some(Appended::Done(done)) = self.append(ctx, logs, now, None, record) {
                completion = Some(done);
            }
        }
        self.left(ctx, logs, now, op, leave, (client, completion));
    }

    fn left<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: OpHead,
        leave: Leave,
        (client, completion): (ClientId, Option<Completion>),
    ) {
        let last = self
            .members
            .get(&op.player)
            .is_none_or(|it| it.seats.len() == 1);
        if last {
            self.with_logic(ctx, now, |logic, room| logic.leave(room, op.player));
        }
        self.seal(ctx);
        let Some(seat) = self.take_seat(op.player, client) else {
            // The room has failed meanwhile: everybody was told, and this is the answer.
            return refuse_leave(ctx, now, &op, leave);
        };
        let Leave {
            gone, edge_room, ..
        } = leave;
        if seat.connected {
            self.remove_receiver(seat.conn.shard, seat.encoding);
        }
        logs.exit(self.log, seat.client_id);
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
            from: member.sender(op.player, Some(&seat)),
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
            // Events that a lagging member has yet to receive are behind this one's place: it is no position of theirs.
            let answer = Outgoing {
                request_id: op.request_id,
                offset: 0,
                epoch: "",
                ..message
            };
            let farewell = Some(ctx.single(seat.encoding, op.born, &answer));
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
            self.tell_left(ctx, now, (op.player, member), client);
            if self.members.is_empty() {
                self.keep_properties(now);
            }
        } else if seat.connected && !member.connected() {
            self.tell_connection(ctx, now, op.born, op.player);
        }
        self.note_changes();
    }

    /// A session that leaves, and has not come back since the room's home has moved or its own node was lost.
    fn take_orphan(&mut self, client: ClientId) -> Option<(PlayerNum, ClientId)> {
        let player = self.gate.as_mut()?.orphans.remove(client)?;
        Some((player, client))
    }

    /// The seat of a session that has ended, where it is that of another connection: what that one said has come late, or
    /// what was said for the last one never came. And that connection, if it is open.
    fn seat_of_ended(&mut self, leave: &Leave) -> Option<((PlayerNum, ClientId), Option<ConnRef>)> {
        if !leave.gone || leave.turn == 0 {
            return None;
        }
        let client = leave.client_id;
        let player = *self.gate.as_ref()?.players.get(&client)?;
        let seat = self.members.get_mut(&player)?.seat_of(client)?;
        let conn = seat.connected.then_some(seat.conn);
        Some(((player, client), conn))
    }

    fn take_seat(&mut self, player: PlayerNum, client: ClientId) -> Option<Seat> {
        self.touch(player);
        let seats = &mut self.members.get_mut(&player)?.seats;
        let at = seats.iter().position(|seat| seat.client_id == client)?;
        if let Some(gate) = &mut self.gate {
            gate.forget_session(client);
        }
        Some(seats.remove(at))
    }

    pub(super) fn forget_user<H: Host>(
        &mut self,
        ctx: &Context<H>,
        player: PlayerNum,
        member: &Member,
    ) {
        let hash = ctx.names.hash(&member.user_id);
        if let Ok(entry) = self.users.find_entry(hash, |other| *other == player) {
            entry.remove();
        }
    }
}
