//! Members whose connection is lost, and who come back.

use roomcast_protocol::{Body, Outgoing};

use crate::context::Context;
use crate::home::joined::JoinedFields;
use crate::home::output::Via;
use crate::home::refusals::{come_back, refuse_resume, tell_put_out};
use crate::home::room::Room;
use crate::host::Host;
use crate::id::ClientId;
use crate::letter::{OpHead, Resume};
use crate::logs::Logs;
use crate::player::PlayerNum;
use crate::settings::PresenceMode;
use crate::time::{Now, micros};

impl Room {
    /// A member's connection is gone. It stays: the others are told that it is not connected.
    pub(super) fn detach<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, op: &OpHead) {
        let Some(player) = self.player_of(op) else {
            return;
        };
        self.seal(ctx);
        let Some(member) = self.members.get_mut(&player) else {
            return;
        };
        let mut seats = member.seats.iter_mut();
        let Some(seat) = seats.find(|seat| seat.conn == op.conn && seat.connected) else {
            return;
        };
        seat.connected = false;
        let (encoding, client) = (seat.encoding, seat.client_id);
        let lost = !member.connected();
        self.remove_receiver(op.conn.shard, encoding);
        if let Some(gate) = &mut self.gate {
            let spare = ctx.settings.session_grace.saturating_mul(2);
            gate.note_detached(client, player, now.micros.saturating_add(micros(spare)));
        }
        if lost {
            self.tell_connection(ctx, now, op.born, player);
        }
    }

    /// A member's session has another connection. From here on the one before is not believed.
    pub(super) fn resume<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &OpHead,
        resume: &Resume,
    ) {
        let (client, edge_room, place) = (resume.client_id, resume.edge_room, resume.place);
        let Some(player) = self.player_with(op.player, client) else {
            return match self.was_put_out(now, client) {
                Some(fault) => tell_put_out(ctx, now, op, (edge_room, fault)),
                None => refuse_resume(ctx, now, op, resume),
            };
        };
        if self.is_late(client, resume.turn) {
            return come_back(ctx, op.conn);
        }
        // What was made before goes to those who were there.
        self.seal(ctx);
        let Some(member) = self.members.get_mut(&player) else {
            return;
        };
        if let Some(gate) = &mut self.gate {
            gate.note_attached(client);
            gate.note_turn(client, resume.turn);
            gate.members.insert(player);
        }
        let was_connected = member.connected();
        let Some(seat) = member.seat_of(client) else {
            return;
        };
        let before = *seat;
        (seat.conn, seat.encoding, seat.connected) = (op.conn, op.encoding, true);
        if before.connected {
            self.remove_receiver(before.conn.shard, before.encoding);
            // Its node may not have heard yet that the session was taken, and the client may wait for nothing there.
            if before.conn.shard.node() != op.conn.shard.node() {
                come_back(ctx, before.conn);
            }
        }
        self.add_receiver(op.conn.shard, edge_room, op.encoding);
        self.timestamp = self.timestamp.max(now.unix_ms);
        // Its client sends nothing again where the edge comes back for it.
        let back = place.since.is_some() && !resume.by_edge;
        let unsure = logs.enter(self.log, client, place.first_seq, back);
        let fields = JoinedFields {
            offset: self.offset,
            request_id: op.request_id,
            repeats_possible: unsure && !resume.by_edge,
            ..JoinedFields::default()
        };
        self.send_joined(
            ctx,
            logs,
            now,
            op,
            (edge_room, player),
            (place.since, fields),
        );
        if !was_connected {
            self.tell_connection(ctx, now, op.born, player);
        }
    }

    /// Whether another node has the session by now.
    pub(super) fn is_late(&self, client: ClientId, turn: u64) -> bool {
        self.gate
            .as_ref()
            .is_some_and(|gate| gate.is_late(client, turn))
    }

    /// The player with a seat for this session; `hint` is who it was when the edge last heard.
    fn player_with(&mut self, hint: PlayerNum, client: ClientId) -> Option<PlayerNum> {
        let has_it = self
            .members
            .get_mut(&hint)
            .and_then(|it| it.seat_of(client));
        if has_it.is_some() {
            return Some(hint);
        }
        // Its `joined` was on its way when the connection was lost: it is among the newest.
        let mut newest = self.members.iter_mut().rev();
        newest.find_map(|(player, member)| member.seat_of(client).is_some().then_some(*player))
    }

    /// Tells whether a player has a connection, and lets logic know.
    pub(super) fn tell_connection<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        born: u64,
        player: PlayerNum,
    ) {
        self.with_logic(ctx, now, |logic, room| logic.connection(room, player));
        self.note_changes();
        let mode = self.presence();
        let Some(member) = self.members.get_mut(&player) else {
            return;
        };
        member.presence_version = self.syncer.next_version();
        if mode != PresenceMode::Full {
            return;
        }
        self.timestamp = self.timestamp.max(now.unix_ms);
        let message = Outgoing {
            from: member.itself(player),
            room_id: &self.name,
            timestamp: self.timestamp,
            body: Body::Presence(member.listed(player)),
            ..Outgoing::default()
        };
        let (receivers, compression) = (&self.receivers, &self.entry.kind.compression);
        self.output.broadcast(
            ctx,
            Via::State,
            receivers,
            compression,
            born,
            &message,
            None,
        );
        self.output.set_version(self.syncer.version());
    }
}
