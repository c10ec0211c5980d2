//! A room's operations that an application's backend decides: they wait in their room for its answer.
//!
//! What waits stays in the room's queue, so all that becomes of a queue becomes of it too. Behind it waits what is from the same
//! connection or about the same session, in its order. All else goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use roomcast_protocol::{
    Body, ErrorCode, Format, GameAction, MessageType, Outgoing, Payload, encode,
};

use crate::authorize::{Decision, Inquiry, Wish};
use crate::context::{Context, Fault};
use crate::home::Home;
use crate::home::publish::NOBODY;
use crate::home::room::Room;
use crate::host::Host;
use crate::id::{ClientId, ConnRef, HomeRoomId};
use crate::letter::{Op, OpHead, OpKind, Publish};
use crate::log::Verdict;
use crate::logs::Logs;
use crate::store::Store;
use crate::time::{Now, micros};

/// Inquiries of a shard that may wait for an answer.
const MOST: usize = 4_096;
/// Answers of a shard that are kept, for as long as they say.
const MOST_KNOWN: usize = 16_384;
/// Milliseconds after which it is worth trying again, where nobody has answered.
const TRY_AGAIN: u64 = 1_000;

/// The inquiries of a shard.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    last: u32,
    under_way: HashMap<u32, UnderWay>,
    /// When each is over, in microseconds.
    ends: BTreeSet<(u64, u32)>,
    /// Answers that are good until then, by what was asked.
    known: HashMap<Box<str>, (u64, Decision)>,
    /// What waits, by room: those rooms alone in which something does.
    rooms: BTreeMap<HomeRoomId, InRoom>,
}

/// What waits in a room.
#[derive(Debug, Default)]
struct InRoom {
    /// The first operation of each connection of which one waits.
    asked: HashMap<ConnRef, Waiting>,
    /// All operations of the room's queue, where none of them may be done.
    ops: usize,
}

#[derive(Debug)]
struct UnderWay {
    room: HomeRoomId,
    conn: ConnRef,
    ends: u64,
    /// What its answer is kept under.
    about: Box<str>,
}

/// An operation of a room that waits: the first one of its connection there.
#[derive(Debug)]
struct Waiting {
    number: u32,
    /// When its operation came.
    born: u64,
    client: ClientId,
    decision: Option<Decision>,
}

impl Waiting {
    /// Whether this operation of its connection is the one that it is about, and no later one.
    fn is_about(&self, op: &Op) -> bool {
        self.born == op.head.born && matches!(op.request, OpKind::Join(_) | OpKind::Publish(_))
    }

    /// Whether its operation is still in the room's queue: impatience takes operations out, and the loss of their node.
    fn is_in(&self, conn: ConnRef, queue: &VecDeque<Op>) -> bool {
        let mut of_conn = queue.iter().filter(|op| op.head.conn == conn);
        of_conn.any(|op| self.is_about(op))
    }
}

impl InRoom {
    /// Whether it is about a session of which something waits that came over another connection.
    fn is_followed_by(&self, op: &Op, queue: &VecDeque<Op>) -> bool {
        let client = match &op.request {
            OpKind::Join(join) => join.client_id,
            OpKind::Resume(resume) => resume.client_id,
            OpKind::Leave(leave) => leave.client_id,
            _ => return false,
        };
        let mut asked = self.asked.iter();
        asked.any(|(conn, waiting)| waiting.client == client && waiting.is_in(*conn, queue))
    }
}

impl Inquiries {
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Whether none of so many operations in a room's queue may be done now.
    pub(super) fn all_wait(&self, room: HomeRoomId, ops: usize) -> bool {
        let waiting = self.rooms.get(&room).map_or(0, |it| it.ops);
        ops == waiting
    }

    /// A room is gone, with what waited there.
    pub(super) fn forget(&mut self, room: HomeRoomId) {
        self.rooms.remove(&room);
    }

    /// The next operation of a room that may be done now. Those that are refused are done with.
    pub(super) fn next_op<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        room: &mut Room,
    ) -> Option<Op> {
        let mut here = self.rooms.remove(&room.id).unwrap_or_default();
        let next = self.next_here(ctx, logs, now, room, &mut here);
        here.ops = match &next {
            Some(_) => 0,
            None => room.pending.len(),
        };
        if !here.asked.is_empty() || here.ops > 0 {
            self.rooms.insert(room.id, here);
        }
        next
    }

    fn next_here<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        room: &mut Room,
        here: &mut InRoom,
    ) -> Option<Op> {
        let mut passed = HashSet::new();
        let mut at = 0;
        while let Some(op) = room.pending.get(at) {
            let conn = op.head.conn;
            if conn == NOBODY || matches!(op.request, OpKind::Backend(_)) {
                return room.pending.remove(at);
            }
            let is_first = !passed.contains(&conn);
            let is_another = |waiting: &Waiting| !waiting.is_about(op);
            if is_first && here.asked.get(&conn).is_some_and(is_another) {
                here.asked.remove(&conn);
            }
            let decided = match here.asked.get(&conn) {
                _ if !is_first => None,
                Some(waiting) => waiting.decision.clone().map(Some),
                None if here.is_followed_by(op, &room.pending) => None,
                None => match room.inquiry(ctx, logs, now, op) {
                    None => Some(None),
                    Some(inquiry) => self
                        .ask(ctx, now, (room, here), &op.head, inquiry)
                        .map(Some),
                },
            };
            let Some(decision) = decided else {
                passed.insert(conn);
                at += 1;
                continue;
            };
            here.asked.remove(&conn);
            let mut op = room.pending.remove(at)?;
            match decision {
                None => return Some(op),
                Some(Decision::Allow { nickname, .. }) => {
                    if let (OpKind::Join(join), Some(nickname)) = (&mut op.request, nickname) {
                        join.nickname = nickname;
                    }
                    return Some(op);
                }
                Some(Decision::Silent) if room.entry.kind.asks.allows_silence => return Some(op),
                Some(Decision::Silent) => {
                    ctx.stats.inquiries[2] += 1;
                    let sentence =
                        "the application has not said whether this is allowed; ask again later";
                    let fault = Fault {
                        retry_after_ms: TRY_AGAIN,
                        ..Fault::new(ErrorCode::Unavailable, sentence)
                    };
                    room.refuse_undecided(ctx, logs, now, op, fault);
                }
                Some(Decision::Refuse { reason, .. }) => {
                    ctx.stats.inquiries[1] += 1;
                    let sentence = match &*reason {
                        "" => "the application does not allow this",
                        reason => reason,
                    };
                    let fault = Fault::new(ErrorCode::Forbidden, sentence);
                    room.refuse_undecided(ctx, logs, now, op, fault);
                }
            }
        }
        None
    }

    /// Asks the backend, unless its answer is known. `None`: its answer will come.
    fn ask<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        (room, here): (&Room, &mut InRoom),
        head: &OpHead,
        (mut inquiry, about): (Inquiry, Box<str>),
    ) -> Option<Decision> {
        if let Some((until, decision)) = self.known.get(&about) {
            if *until > now.micros {
                ctx.stats.inquiries[3] += 1;
                return Some(decision.clone());
            }
            self.known.remove(&about);
        }
        if self.under_way.len() >= MOST {
            return Some(Decision::Silent);
        }
        self.last = self.last.wrapping_add(1);
        let number = self.last;
        inquiry.number = number;
        let ends = now
            .micros
            .saturating_add(micros(room.entry.kind.asks.timeout));
        let waiting = Waiting {
            number,
            born: head.born,
            client: inquiry.client,
            decision: None,
        };
        let under_way = UnderWay {
            room: room.id,
            conn: head.conn,
            ends,
            about,
        };
        self.under_way.insert(number, under_way);
        self.ends.insert((ends, number));
        here.asked.insert(head.conn, waiting);
        ctx.stats.inquiries[0] += 1;
        ctx.host.ask(inquiry);
        None
    }

    /// Keeps an answer for as long as it says.
    fn note(&mut self, now: Now, about: Box<str>, decision: &Decision) {
        let cache = match decision {
            Decision::Allow { cache, .. } | Decision::Refuse { cache, .. } => *cache,
            Decision::Silent => 0,
        };
        if cache == 0 {
            return;
        }
        if self.known.len() >= MOST_KNOWN {
            self.known.retain(|_, (until, _)| *until > now.micros);
        }
        if self.known.len() < MOST_KNOWN {
            let until = now.micros.saturating_add(micros(cache));
            self.known.insert(about, (until, decision.clone()));
        }
    }
}

impl<S: Store> Home<S> {
    /// The backend has decided. What it says late, or about a room that is gone, is dropped.
    pub(crate) fn decide(&mut self, now: Now, number: u32, decision: Decision) {
        let Some(asked) = self.inquiries.under_way.remove(&number) else {
            return;
        };
        self.inquiries.ends.remove(&(asked.ends, number));
        self.inquiries.note(now, asked.about, &decision);
        let Some(here) = self.inquiries.rooms.get_mut(&asked.room) else {
            return;
        };
        let waiting = here.asked.get_mut(&asked.conn);
        if let Some(waiting) = waiting.filter(|it| it.number == number) {
            let room = self.rooms.get(asked.room);
            if room.is_some_and(|room| waiting.is_in(asked.conn, &room.pending)) {
                waiting.decision = Some(decision);
            } else {
                here.asked.remove(&asked.conn);
            }
            here.ops = 0;
            self.mark_unsealed(asked.room);
        }
    }

    /// Ends inquiries that nobody has answered in time.
    pub(super) fn end_inquiries(&mut self, now: Now) {
        while let Some((at, number)) = self.inquiries.ends.first().copied() {
            if at > now.micros {
                break;
            }
            self.decide(now, number, Decision::Silent);
        }
    }
}

impl Room {
    /// What the backend is to be asked about an operation, and what its answer is kept under; nothing where it has no say:
    /// also where the room refuses it anyway, or has answered it before.
    fn inquiry<H: Host>(
        &self,
        ctx: &Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &Op,
    ) -> Option<(Inquiry, Box<str>)> {
        let asks = self.entry.kind.asks;
        let (client, user_id, nickname, what, topic) = match &op.request {
            OpKind::Join(join) if asks.joins => {
                if self.player_of(&op.head).is_some() || self.has_seat(join) || self.has_failed() {
                    return None;
                }
                let (user, nickname) = (join.user_id.clone(), join.nickname.clone());
                (join.client_id, user, nickname, Wish::Join, "")
            }
            OpKind::Publish(publish) => {
                let is_asked = match publish.message_type {
                    MessageType::Chat => asks.chats,
                    MessageType::GameAction => asks.actions,
                    _ => asks.events,
                };
                let player = self.player_of(&op.head).filter(|_| is_asked)?;
                let client = self.client_of(&op.head)?;
                let mut is_next = |seq| matches!(logs.check(self.log, client, seq), Verdict::Next);
                if op.head.seq > 0 && !is_next(op.head.seq) {
                    return None;
                }
                let member = self.members.get(&player)?;
                let (user, nickname) = (member.user_id.clone(), member.nickname.clone());
                let json = self.unsent(ctx, now, &op.head, player, publish)?;
                let topic = match publish.message_type {
                    MessageType::Event => publish.name(),
                    other => other.as_str(),
                };
                (client, user, nickname, Wish::Send(json), topic)
            }
            _ => return None,
        };
        let who = match &*user_id {
            "" => client.as_str(),
            user => user,
        };
        let kind = match &op.request {
            OpKind::Publish(publish) => publish.message_type.as_str(),
            _ => "join",
        };
        let about = format!(
            "{}\n{}\n{who}\n{kind}\n{topic}",
            self.name,
            user_id.is_empty()
        );
        let inquiry = Inquiry {
            number: 0,
            room: self.name.clone(),
            client,
            user_id,
            nickname,
            what,
        };
        Some((inquiry, about.into()))
    }

    /// A message as members would get it, but for its place.
    fn unsent<H: Host>(
        &self,
        ctx: &Context<H>,
        now: Now,
        op: &OpHead,
        player: u32,
        publish: &Publish,
    ) -> Option<Box<[u8]>> {
        let member = self.members.get(&player)?;
        let payload = Payload {
            kind: publish.payload_kind,
            data: publish.payload(),
        };
        let action;
        let body = match publish.message_type {
            MessageType::Chat => Body::Chat(payload),
            MessageType::GameAction => {
                let limits = &ctx.settings.message;
                action = GameAction::parse(publish.format, publish.payload(), limits).ok()?;
                Body::GameAction(&action)
            }
            _ => Body::Event {
                name: publish.name(),
                payload,
            },
        };
        let message = Outgoing {
            from: member.sender(player, member.seat(op.conn)),
            room_id: &self.name,
            timestamp: now.unix_ms,
            ephemeral: publish.ephemeral,
            body,
            ..Outgoing::default()
        };
        let mut json = Vec::new();
        encode(Format::Json, &message, &mut json);
        Some(json.into())
    }

    /// What was asked for is not done. Where it is refused for good, its number is used up.
    fn refuse_undecided<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: Op,
        fault: Fault<'_>,
    ) {
        let Op { head, request } = op;
        match request {
            OpKind::Join(join) => self.refuse_join(ctx, now, &head, join.edge_room, fault),
            OpKind::Publish(publish) => {
                if head.seq > 0 && fault.code.uses_seq() {
                    self.note_refusal(logs, &head, fault.code);
                }
                let asked = publish.message_type;
                self.refuse_seq(ctx, now, &head, asked, fault, head.seq);
                ctx.recycle_for(head.conn.shard, publish.bytes);
            }
            // Of nothing else anybody is asked.
            _ => {}
        }
        if head.window > 0 {
            self.accepted(ctx, head.conn, head.window);
        }
    }
}
