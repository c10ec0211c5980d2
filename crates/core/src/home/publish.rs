//! What members send: chat, events, actions, presence; and what they ask for.

use roomcast_protocol::{
    Body, ErrorCode, Format, GameAction, MessageType, Outgoing, Payload, PayloadKind,
    PresenceUpdate, Sender, mutated, presence,
};

use crate::address::{NodeNumber, ShardAddress};
use crate::context::{Context, Fault};
use crate::home::append::log_unavailable;
use crate::home::ask_logic::Asked;
use crate::home::output::Via;
use crate::home::refusals::refuse_non_member;
use crate::home::room::Room;
use crate::host::{Encoding, Host};
use crate::id::{ClientId, ConnId, ConnRef};
use crate::letter::{MembersPage, Op, OpHead, OpKind, Publish, RoomRef, ToEdge};
use crate::log::{Completion, Record};
use crate::logs::{Appended, Logs};
use crate::member::Member;
use crate::player::PlayerNum;
use crate::settings::{Mode, PresenceMode};
use crate::time::Now;

/// Most members in one page of a list.
pub(crate) const PAGE: usize = 100;
/// Bytes after which a page takes no further member.
const PAGE_BYTES: usize = 32 * 1024;

/// Whose a room's own events are: no connection's.
pub(super) const NOBODY: ConnRef = ConnRef {
    shard: ShardAddress::NONE,
    conn: ConnId::NONE,
};

/// Whose a message is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Author<'a> {
    /// A member's, or with [`NOBODY`] the room's own.
    Client(ConnRef, PlayerNum),
    /// A service's, which is no member.
    Service(&'a str),
}

impl Author<'_> {
    /// The member's number; 0 of a service.
    pub(super) fn player(&self) -> PlayerNum {
        match self {
            Author::Client(_, player) => *player,
            Author::Service(_) => 0,
        }
    }
}

impl Room {
    pub(super) fn publish<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        mut op: OpHead,
        mut publish: Publish,
    ) {
        let asked = publish.message_type;
        if op.conn != NOBODY {
            match self.player_of(&op) {
                Some(player) => op.player = player,
                None => {
                    ctx.recycle(publish.bytes);
                    return refuse_non_member(ctx, now, &op, asked);
                }
            }
        }
        if op.seq > 0 && self.has_too_many(op.conn) {
            let sentence = "too many messages to this room are unanswered; send this one again after the next answer";
            let fault = Fault::new(ErrorCode::TooManyUnanswered, sentence);
            self.refuse_seq(ctx, now, &op, asked, fault, op.seq);
            return ctx.recycle_for(op.conn.shard, publish.bytes);
        }
        if self.asks_logic(&publish, Author::Client(op.conn, op.player)) {
            match self.ask_logic(ctx, logs, now, &op, &mut publish) {
                Asked::Relay => {}
                Asked::Answered => return ctx.recycle_for(op.conn.shard, publish.bytes),
            }
        }
        if publish.ephemeral {
            self.timestamp = self.timestamp.max(now.unix_ms);
            return self.published(ctx, &op, publish, None);
        }
        if mutated!("ack_before_append") && op.seq > 0 {
            self.acked((op.conn, op.encoding), op.born, op.seq, self.offset + 1);
        }
        let sender = self.client_of(&op);
        let client_id = sender.as_ref().map_or("", ClientId::as_str);
        let record = Record {
            player_num: sender.map_or(0, |_| op.player),
            ..publish.record(client_id, self.entry.kind.no_echo)
        };
        match self.append(ctx, logs, now, sender, record) {
            Some(Appended::Done(completion)) => {
                return self.published(ctx, &op, publish, Some(completion));
            }
            Some(Appended::Known(verdict)) => self.answer_known(ctx, now, &op, asked, verdict),
            None => {
                let fault = Fault {
                    seq: op.seq,
                    request_id: op.request_id,
                    request: Some(asked),
                    room: &self.name,
                    ..log_unavailable()
                };
                ctx.refuse(op.conn, op.encoding, op.born, now.unix_ms, fault);
            }
        }
        ctx.recycle_for(op.conn.shard, publish.bytes);
    }

    /// Whether as many numbered messages of a sender as may be wait for the store.
    fn has_too_many(&self, conn: ConnRef) -> bool {
        let gate = self.gate.as_ref();
        gate.is_some_and(|gate| !gate.may_number(conn))
    }

    /// A publish has its place in the order, or needs none: it is delivered, and acked if it was logged.
    fn published<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        op: &OpHead,
        publish: Publish,
        completion: Option<Completion>,
    ) {
        if let Some(completion) = completion.filter(|_| publish.seq > 0) {
            if let Some(gate) = &mut self.gate {
                gate.note_numbered(op.conn);
            }
            let to = (op.conn, op.encoding);
            self.acked(to, op.born, publish.seq, completion.offset);
        }
        let author = Author::Client(op.conn, op.player);
        self.deliver(ctx, author, op.born, &publish);
        ctx.recycle_for(op.conn.shard, publish.bytes);
    }

    /// Broadcasts a publish that has its place in the order.
    pub(super) fn deliver<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        author: Author<'_>,
        born: u64,
        publish: &Publish,
    ) {
        let kind = &self.entry.kind;
        let silent = publish.no_echo.unwrap_or(kind.no_echo);
        let (from, except) = match author {
            Author::Client(conn, player) => {
                let member = self.members.get(&player);
                let sender = member.and_then(|member| Some((member, member.seat(conn)?)));
                let except = sender
                    .filter(|_| silent)
                    .map(|(_, seat)| (conn, seat.encoding));
                let from = sender.map_or(Sender::NOBODY, |(member, seat)| {
                    member.sender(player, Some(seat))
                });
                (from, except)
            }
            Author::Service(service) => {
                let from = Sender {
                    service,
                    ..Sender::NOBODY
                };
                (from, None)
            }
        };
        let payload = Payload {
            kind: publish.payload_kind,
            data: publish.payload(),
        };
        let action;
        let body = match publish.message_type {
            MessageType::Chat => Body::Chat(payload),
            MessageType::GameAction => {
                let limits = &ctx.settings.message;
                match GameAction::parse(publish.format, publish.payload(), limits) {
                    Ok(parsed) => action = parsed,
                    Err(_) => return,
                }
                Body::GameAction(&action)
            }
            _ => Body::Event {
                name: publish.name(),
                payload,
            },
        };
        let logged = !publish.ephemeral;
        let message = Outgoing {
            from,
            room_id: &self.name,
            timestamp: self.timestamp,
            seq: publish.seq,
            offset: if logged { self.offset } else { 0 },
            epoch: if logged { self.epoch.as_str() } else { "" },
            ephemeral: publish.ephemeral,
            body,
            ..Outgoing::default()
        };
        if self.receivers.iter().all(|count| *count == 0) && matches!(author, Author::Service(_)) {
            return self.output.tell_tap(&message);
        }
        let via = if logged { Via::Events } else { Via::State };
        let (receivers, compression) = (&self.receivers, &kind.compression);
        self.output
            .broadcast(ctx, via, receivers, compression, born, &message, except);
    }

    /// Queues an event of the room's own, behind what waits.
    pub(super) fn queue_own<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        name: &str,
        json: &str,
    ) {
        let mut bytes = ctx.buffer();
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(json.as_bytes());
        let publish = Publish {
            message_type: MessageType::Event,
            format: Format::Json,
            payload_kind: PayloadKind::Json,
            bytes,
            name_length: name.len() as u32,
            seq: 0,
            ephemeral: false,
            no_echo: None,
        };
        let head = self.own_head(now);
        let request = OpKind::Publish(publish);
        ctx.enqueue(&mut self.pending, Op { head, request });
    }

    /// Of what nobody has asked for.
    pub(super) fn own_head(&self, now: Now) -> OpHead {
        OpHead {
            room: RoomRef {
                name: self.name.clone(),
                hash: self.hash,
                id: self.id,
                node: NodeNumber::OWN,
            },
            conn: NOBODY,
            encoding: Encoding::ALL[0],
            player: 0,
            born: now.micros,
            window: 0,
            seq: 0,
            request_id: 0,
        }
    }

    /// Sends an event of the room's own to one player, in order.
    pub(super) fn send_own<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        to: PlayerNum,
        name: &str,
        json: &str,
    ) {
        self.seal(ctx);
        let Some(member) = self.members.get(&to) else {
            return;
        };
        for seat in member.seats.iter().filter(|seat| seat.connected) {
            let payload = Payload::json(json);
            let message = Outgoing {
                to_client_id: seat.client_id.as_str(),
                room_id: &self.name,
                timestamp: self.timestamp.max(now.unix_ms),
                body: Body::Event { name, payload },
                ..Outgoing::default()
            };
            let answer = ctx.single(seat.encoding, now.micros, &message);
            let (conn, offence, ordered) = (seat.conn.conn, None, true);
            ctx.send_edge(
                seat.conn.shard,
                ToEdge::Answer {
                    conn,
                    answer,
                    offence,
                    ordered,
                },
            );
        }
    }

    pub(super) fn update_presence<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        update: &PresenceUpdate<'_>,
    ) {
        let Some(player) = self.player_of(op) else {
            return refuse_non_member(ctx, now, op, MessageType::Presence);
        };
        let mode = self.presence();
        let Some(member) = self.members.get(&player) else {
            return;
        };
        let merged = match presence::merge(&member.presence, update, &ctx.settings.message) {
            Ok(merged) => merged,
            Err(code) => {
                let fault = Fault {
                    seq: op.seq,
                    request: Some(MessageType::Presence),
                    request_id: op.request_id,
                    room: &self.name,
                    ..Fault::new(
                        code,
                        "the presence would have more than `message.max_presence` bytes or `message.max_presence_keys` keys; set a key to null to remove it",
                    )
                };
                return ctx.refuse(op.conn, op.encoding, op.born, now.unix_ms, fault);
            }
        };
        let (nickname, presence) = match self.ask_presence(ctx, now, player, update, merged) {
            Ok(taken) => taken,
            // Everybody was told, and nobody waits for an answer.
            Err(_) if self.has_failed() && op.seq == 0 && op.request_id == 0 => return,
            Err(refusal) => {
                self.refuse_by_rule(ctx, now, op, MessageType::Presence, &refusal);
                return;
            }
        };
        let Some(member) = self.members.get_mut(&player) else {
            return;
        };
        member.presence = presence.into_boxed_str();
        if let Some(nickname) = nickname {
            member.nickname = nickname;
        }
        member.presence_version = self.syncer.next_version();
        if let Some(gate) = &mut self.gate {
            gate.members.insert(player);
        }
        if mode != PresenceMode::Full {
            return;
        }
        self.timestamp = self.timestamp.max(now.unix_ms);
        let message = Outgoing {
            from: member.sender(player, member.seat(op.conn)),
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
            op.born,
            &message,
            None,
        );
        self.output.set_version(self.syncer.version());
    }

    pub(super) fn list_members<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        op: &OpHead,
        MembersPage { after, limit }: MembersPage,
    ) {
        let Some(player) = self.player_of(op) else {
            return refuse_non_member(ctx, now, op, MessageType::Members);
        };
        let most = if limit == 0 {
            PAGE
        } else {
            (limit as usize).min(PAGE)
        };
        let listed: Vec<_> = if self.presence() == PresenceMode::None {
            let own = self.members.get(&player);
            own.map(|member| member.listed(player))
                .into_iter()
                .collect()
        } else {
            page(self.members.between(after, None), most)
        };
        let last = listed.last().map_or(0, |member| member.player_num);
        let more = self.presence() != PresenceMode::None
            && self.members.between(last, None).next().is_some();
        let message = Outgoing {
            room_id: &self.name,
            timestamp: self.timestamp.max(now.unix_ms),
            request_id: op.request_id,
            body: Body::Members {
                members: &listed,
                total: self.told_total(),
                next: if more && last > 0 { last } else { 0 },
            },
            ..Outgoing::default()
        };
        let answer = ctx.single(op.encoding, op.born, &message);
        let (conn, offence, ordered) = (op.conn.conn, None, true);
        ctx.send_edge(
            op.conn.shard,
            ToEdge::Answer {
                conn,
                answer,
                offence,
                ordered,
            },
        );
    }

    /// How many there are, as far as members are told.
    pub(super) fn told_total(&self) -> u64 {
        if self.presence() == PresenceMode::None {
            1
        } else {
            self.members.len() as u64
        }
    }

    /// Whether a `game_action` may end in a `sync` here.
    pub(super) fn keeps_state(&self) -> bool {
        self.entry.kind.mode == Mode::State
    }
}

/// The first members, as many as fit a page: `most`, and a bound in bytes, as each may have 2 KiB of presence.
pub(super) fn page<'a>(
    members: impl Iterator<Item = (&'a PlayerNum, &'a Member)>,
    most: usize,
) -> Vec<roomcast_protocol::Member<'a>> {
    let mut bytes = 0;
    let fits = |(_, member): &(&PlayerNum, &Member)| {
        let before = bytes;
        bytes += 128 + member.nickname.len() + member.presence.len();
        before < PAGE_BYTES
    };
    let members = members.take(most).take_while(fits);
    members.map(|(num, member)| member.listed(*num)).collect()
}
