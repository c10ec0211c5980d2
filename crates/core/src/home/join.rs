//! Coming.

use roomcast_protocol::{ErrorCode, MessageType, mutated, presence};

use crate::context::{Context, Fault};
use crate::home::append::log_unavailable;
use crate::home::ask_logic::fault_of;
use crate::home::big_room::{PRESENCE_EVENT, count_json};
use crate::home::joined::JoinedFields;
use crate::home::refusals::come_back;
use crate::home::room::Room;
use crate::host::{Host, Notice};
use crate::id::{ClientId, EdgeRoomId};
use crate::letter::{Join, OpHead, Resume, ToEdge};
use crate::log::{Completion, Record, Since};
use crate::logic::Refusal;
use crate::logs::{Appended, Logs};
use crate::member::{Member, Seat};
use crate::player::{PlayerBody, PlayerNum};
use crate::settings::PresenceMode;
use crate::time::Now;

impl Room {
    pub(super) fn join<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        mut now: Now,
        mut op: OpHead,
        mut join: Box<Join>,
    ) {
        if self.members.is_empty() && self.offset > 0 {
            // An empty room does not log that its last member has left. What is older than the list of members is no news,
            // so this one is newer than all that was before.
            now.unix_ms = now.unix_ms.max(self.timestamp + 1);
            // What follows is dated alike in the log and on its way to members.
            logs.not_before(self.log, now.unix_ms);
        }
        if let Some(player) = self.player_of(&op) {
            op.player = player;
            return self.repeat_joined(ctx, now, &op, &join);
        }
        if self.has_failed() {
            return self.refuse_join(ctx, now, &op, join.edge_room, failed());
        }
        if self.is_late(join.client_id, join.turn) {
            return come_back(ctx, op.conn);
        }
        if self.has_seat(&join) {
            let resume = Resume {
                client_id: join.client_id,
                edge_room: join.edge_room,
                place: join.place,
                by_edge: false,
                turn: join.turn,
            };
            return self.resume(ctx, logs, now, &op, &resume);
        }
        if let Err(code) = presence::merge("", &join.presence, &ctx.settings.message) {
            let fault = Fault::new(
                code,
                "the presence has more than `message.max_presence` bytes",
            );
            return self.refuse_join(ctx, now, &op, join.edge_room, fault);
        }
        let is_here = self.player_of_user(ctx, &join.user_id).is_some();
        let player_id = match &*join.user_id {
            "" => join.client_id.as_str(),
            user => user,
        };
        if let Some(fault) = self.shuts_out(now, player_id, is_here) {
            return self.refuse_join(ctx, now, &op, join.edge_room, fault);
        }
        // Who names a position comes back by itself. Whoever joins anew has heard that it was put out.
        match self.was_put_out(now, join.client_id) {
            Some(fault) if join.place.since.is_some() => {
                return self.refuse_join(ctx, now, &op, join.edge_room, fault);
            }
            Some(_) => self.forget_put_out(now, join.client_id),
            None => {}
        }
        // One more session of a player who is here: nobody comes.
        if self.player_of_user(ctx, &join.user_id).is_some() {
            return self.joined(ctx, logs, now, op, *join, None);
        }
        let most = self.entry.kind.max_players as usize;
        if most > 0 && self.members.len() >= most {
            ctx.host.notice(Notice::RoomFull {
                kind: &self.entry.kind.name,
            });
            let fault = Fault::new(
                ErrorCode::RoomFull,
                "the room has as many players as its kind allows (`max_players`)",
            );
            return self.refuse_join(ctx, now, &op, join.edge_room, fault);
        }
        if let Err(refusal) = self.admit(ctx, now, &mut join) {
            return self.refuse_join_by_rule(ctx, now, &op, join.edge_room, &refusal);
        }
        match self.presence() {
            PresenceMode::Full => {
                let presence = self.join_payload(ctx, &join);
                let record = self.join_record(&join, &presence);
                match self.append(ctx, logs, now, None, record) {
                    Some(Appended::Done(completion)) => {
                        self.joined(ctx, logs, now, op, *join, Some(completion));
                    }
                    _ => self.refuse_join(ctx, now, &op, join.edge_room, log_unavailable()),
                }
            }
            PresenceMode::Count | PresenceMode::None => {
                self.joined(ctx, logs, now, op, *join, None);
            }
        }
    }

    /// The record of somebody who joins: in a room that becomes too big, the event that says so.
    fn join_record<'a>(&self, join: &'a Join, presence: &'a str) -> Record<'a> {
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
            user_id: &join.user_id,
            player_num: self.next_num,
            name: &join.nickname,
            payload: presence.as_bytes(),
            ..Record::default()
        }
    }

    /// What the record of one who joins has as its payload.
    fn join_payload<H: Host>(&self, ctx: &Context<H>, join: &Join) -> String {
        let members = self.members.len() + 1;
        if self.outgrows_full_presence(members) {
            return count_json(members);
        }
        presence::merge("", &join.presence, &ctx.settings.message).unwrap_or_default()
    }

    /// Somebody is in: it gets `joined`, everybody hears of it, as far as the kind tells.
    fn joined<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: OpHead,
        join: Join,
        completion: Option<Completion>,
    ) {
        // What was said before goes to those who were there.
        self.seal(ctx);
        let seat = Seat {
            conn: op.conn,
            encoding: op.encoding,
            client_id: join.client_id,
            connected: true,
        };
        let (edge_room, place, client_id) = (join.edge_room, join.place, join.client_id);
        if let Some(gate) = &mut self.gate {
            gate.note_turn(client_id, join.turn);
        }
        let here = self.player_of_user(ctx, &join.user_id);
        let (player, was_connected) = match here {
            Some(player) => (player, self.add_seat(player, seat)),
            None => (self.add_player(ctx, join, seat), true),
        };
        self.add_receiver(op.conn.shard, edge_room, op.encoding);
        let mut effects = Vec::new();
        if here.is_none() {
            self.tell_joined(ctx, now, player, client_id);
            self.note_newcomer(player);
            self.note_logic(true);
            self.call_logic(ctx, now, &mut effects, |logic, room| {
                logic.join(room, player)
            });
            if self.has_failed() {
                return self.refuse_join(ctx, now, &op, edge_room, failed());
            }
        }
        self.timestamp = self.timestamp.max(now.unix_ms);
        let before = completion.map_or(self.offset, |completion| completion.offset - 1);
        let outgrown = here.is_none() && self.outgrows_full_presence(self.members.len());
        let fields = JoinedFields {
            offset: before,
            recovered: false,
            repeats_possible: logs.enter(
                self.log,
                client_id,
                place.first_seq,
                place.since.is_some(),
            ),
            alone: here.is_none() && (completion.is_none() || outgrown),
            request_id: op.request_id,
        };
        self.send_joined(
            ctx,
            logs,
            now,
            &op,
            (edge_room, player),
            (place.since, fields),
        );
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
        self.touch(player);
        self.note_seat(seat.client_id, player);
        self.add_user(ctx, player, &join.user_id);
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

    /// A player is this user, where it is one.
    pub(super) fn add_user<H: Host>(&mut self, ctx: &Context<H>, player: PlayerNum, user: &str) {
        if user.is_empty() {
            return;
        }
        let members = &self.members;
        let hash_of = |player: &PlayerNum| {
            let user = members.get(player).map_or("", |member| &member.user_id);
            ctx.names.hash(user)
        };
        let hash = ctx.names.hash(user);
        self.users.insert_unique(hash, player, hash_of);
    }

    /// Whether the session has a seat here, of another connection: that one is lost, or is about to be.
    pub(super) fn has_seat(&self, join: &Join) -> bool {
        let gate = self.gate.as_ref();
        let player = gate.and_then(|gate| gate.players.get(&join.client_id));
        let member = player.and_then(|player| self.members.get(player));
        member.is_some_and(|member| member.user_id == join.user_id)
            && !mutated!("session_has_two_seats")
    }

    fn note_seat(&mut self, client: ClientId, player: PlayerNum) {
        if let Some(gate) = &mut self.gate {
            gate.players.insert(client, player);
        }
    }

    /// Whether the player had a connection already.
    fn add_seat(&mut self, player: PlayerNum, seat: Seat) -> bool {
        self.touch(player);
        self.note_seat(seat.client_id, player);
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

    /// Joining again only repeats `joined`. All that came since a position of this connection was or will be sent.
    fn repeat_joined<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, op: &OpHead, join: &Join) {
        // Its events follow what was handed out before.
        self.seal(ctx);
        self.timestamp = self.timestamp.max(now.unix_ms);
        // It missed nothing, wherever in its lane or in the log its next event waits: its own position holds, if it is
        // one of this log.
        let own = |since: &Since| {
            let any = mutated!("joining_again_believes_any_epoch") && since.offset <= self.offset;
            self.knows(since) || any
        };
        let since = join.place.since.filter(own);
        let fields = JoinedFields {
            offset: since.map_or(self.offset, |since| since.offset),
            recovered: since.is_some() || join.place.since.is_none(),
            request_id: op.request_id,
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
        op: &OpHead,
        edge_room: EdgeRoomId,
        fault: Fault<'_>,
    ) {
        let code = fault.code;
        self.refuse_join_as(ctx, now, op, edge_room, fault, code);
    }

    /// The logic does not let somebody in. Whatever the code, it is no offence.
    fn refuse_join_by_rule<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        edge_room: EdgeRoomId,
        refusal: &Refusal,
    ) {
        let (fault, code) = (fault_of(refusal), ErrorCode::ActionRefused);
        self.refuse_join_as(ctx, now, op, edge_room, fault, code);
    }

    /// `code`: what it counts as where offences are counted.
    fn refuse_join_as<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        edge_room: EdgeRoomId,
        fault: Fault<'_>,
        code: ErrorCode,
    ) {
        let fault = Fault {
            seq: op.seq,
            request_id: op.request_id,
            request: Some(MessageType::JoinRoom),
            room: &self.name,
            ..fault
        };
        let error = ctx.error(op.encoding, op.born, now.unix_ms, fault);
        let conn = op.conn.conn;
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
}

fn failed() -> Fault<'static> {
    Fault::new(
        ErrorCode::RoomFailed,
        "the room's logic failed; join again for a new room",
    )
}
