//! A room's operations that an application's backend decides: they wait in their room for its answer.
//!
//! Behind one that waits is what came over the same connection, or is about the same session, in its order (`undecided`). All
//! else goes on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use roomcast_protocol::{
    Body, ErrorCode, Format, GameAction, MessageType, Outgoing, Payload, encode,
};

use crate::authorize::{Decision, Inquiry, Wish};
use crate::context::{Context, Fault};
use crate::home::Home;
use crate::home::answers::{About, Answers};
use crate::home::publish::NOBODY;
use crate::home::room::Room;
use crate::home::undecided::Asked;
use crate::host::Host;
use crate::id::{ClientId, ConnRef, HomeRoomId};
use crate::letter::{Op, OpHead, OpKind, Publish};
use crate::log::Verdict;
use crate::logs::Logs;
use crate::store::Store;
use crate::time::{Now, micros};

/// Inquiries of a shard that may wait for an answer.
const MOST: usize = 4_096;
/// Milliseconds after which it is worth trying again, where nobody has answered.
const TRY_AGAIN: u64 = 1_000;

/// The inquiries of a shard.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    last: u32,
    under_way: HashMap<u32, UnderWay>,
    /// When each is over, in microseconds.
    ends: BTreeSet<(u64, u32)>,
    /// Answers that are good for a time.
    known: Answers,
}

#[derive(Debug)]
struct UnderWay {
    room: HomeRoomId,
    conn: ConnRef,
    ends: u64,
    /// What its answer is kept under.
    about: About,
}

/// What becomes of an operation that is looked at.
enum Next {
    /// It is done, or refused, if this is what was decided. `None`: nobody had to.
    Decided(Option<Decision>),
    /// Its answer will come.
    Asked(Asked),
    /// It waits for what is said about this session, over another connection.
    Behind(ClientId),
}

impl Inquiries {
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// The next operation of a room that may be done now. Those that are refused are done with.
    pub(super) fn next_op<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        room: &mut Room,
    ) -> Option<Op> {
        while let Some(undecided) = room.undecided_mut() {
            let Some(mut taken) = undecided.take_ready() else {
                if undecided.is_empty() {
                    room.take_undecided();
                }
                break;
            };
            let conn = taken.op.head.conn;
            let next = match taken.decision.take() {
                Some(decision) => Next::Decided(Some(decision)),
                None => self.look(ctx, logs, now, room, &taken.op),
            };
            let undecided = room.make_undecided();
            match next {
                Next::Asked(asked) => {
                    undecided.put_back(taken);
                    undecided.asks(conn, asked);
                }
                Next::Behind(client) => {
                    undecided.put_back(taken);
                    undecided.waits_for(conn, client);
                }
                Next::Decided(decision) => {
                    undecided.go_on(conn);
                    let done = room.decided(ctx, logs, now, taken.op, decision);
                    if done.is_some() {
                        return done;
                    }
                }
            }
        }
        while let Some(op) = room.pending.pop_front() {
            let conn = op.head.conn;
            if conn == NOBODY || matches!(op.request, OpKind::Backend(_)) {
                return Some(op);
            }
            let undecided = room.undecided_mut();
            if let Some(undecided) = undecided.filter(|it| it.has_line(conn)) {
                undecided.push(op);
                continue;
            }
            match self.look(ctx, logs, now, room, &op) {
                Next::Asked(asked) => {
                    let undecided = room.make_undecided();
                    undecided.push(op);
                    undecided.asks(conn, asked);
                }
                Next::Behind(client) => {
                    let undecided = room.make_undecided();
                    undecided.push(op);
                    undecided.waits_for(conn, client);
                }
                Next::Decided(decision) => {
                    let done = room.decided(ctx, logs, now, op, decision);
                    if done.is_some() {
                        return done;
                    }
                }
            }
        }
        None
    }

    /// Looks at an operation, the first one of its connection. Asks the backend, unless its answer is known.
    fn look<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        room: &Room,
        op: &Op,
    ) -> Next {
        let session = match &op.request {
            OpKind::Join(join) => Some(join.client_id),
            OpKind::Resume(resume) => Some(resume.client_id),
            OpKind::Leave(leave) => Some(leave.client_id),
            _ => None,
        };
        let undecided = room.undecided();
        if let Some(client) = session
            && undecided.is_some_and(|it| it.is_asked_about(client))
        {
            return Next::Behind(client);
        }
        let Some((mut inquiry, about)) = room.inquiry(ctx, logs, now, op) else {
            return Next::Decided(None);
        };
        if let Some(decision) = self.known.get(now, &about.what) {
            ctx.stats.inquiries[3] += 1;
            return Next::Decided(Some(decision));
        }
        if self.under_way.len() >= MOST {
            return Next::Decided(Some(Decision::Silent));
        }
        self.last = self.last.wrapping_add(1);
        let number = self.last;
        inquiry.number = number;
        let ends = now
            .micros
            .saturating_add(micros(room.entry.kind.asks.timeout));
        let under_way = UnderWay {
            room: room.id,
            conn: op.head.conn,
            ends,
            about,
        };
        self.under_way.insert(number, under_way);
        self.ends.insert((ends, number));
        ctx.stats.inquiries[0] += 1;
        let client = inquiry.client;
        ctx.host.ask(inquiry);
        Next::Asked(Asked {
            number,
            client,
            decision: None,
        })
    }
}

impl<S: Store> Home<S> {
    /// The backend has decided. What it says late, or about a room that is gone, is dropped.
    pub(crate) fn decide(&mut self, now: Now, number: u32, decision: Decision) {
        let Some(asked) = self.inquiries.under_way.remove(&number) else {
            return;
        };
        self.inquiries.ends.remove(&(asked.ends, number));
        self.inquiries.known.note(now, asked.about, &decision);
        let room = self.rooms.get_mut(asked.room);
        let undecided = room.and_then(|room| room.undecided_mut());
        if undecided.is_some_and(|it| it.decide(asked.conn, number, decision)) {
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
    /// Does what was decided. An operation that may be done is given back.
    fn decided<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        mut op: Op,
        decision: Option<Decision>,
    ) -> Option<Op> {
        let fault = match &decision {
            None => return Some(op),
            Some(Decision::Allow { nickname, .. }) => {
                if let (OpKind::Join(join), Some(nickname)) = (&mut op.request, nickname) {
                    join.nickname.clone_from(nickname);
                }
                return Some(op);
            }
            Some(Decision::Silent) if self.entry.kind.asks.allows_silence => return Some(op),
            Some(Decision::Silent) => {
                ctx.stats.inquiries[2] += 1;
                let sentence =
                    "the application has not said whether this is allowed; ask again later";
                Fault {
                    retry_after_ms: TRY_AGAIN,
                    ..Fault::new(ErrorCode::Unavailable, sentence)
                }
            }
            Some(Decision::Refuse { reason, .. }) => {
                ctx.stats.inquiries[1] += 1;
                let sentence = match &**reason {
                    "" => "the application does not allow this",
                    reason => reason,
                };
                Fault::new(ErrorCode::Forbidden, sentence)
            }
        };
        self.refuse_undecided(ctx, logs, now, op, fault);
        None
    }

    /// What the backend is to be asked about an operation, and what its answer is kept under; nothing where it has no say:
    /// also where the room refuses it anyway, or has answered it before.
    fn inquiry<H: Host>(
        &self,
        ctx: &Context<H>,
        logs: &mut Logs,
        now: Now,
        op: &Op,
    ) -> Option<(Inquiry, About)> {
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
        // A session without a user may have the name of one.
        let who: Arc<str> = match &*user_id {
            "" => format!("-{}", client.as_str()).into(),
            user => format!("+{user}").into(),
        };
        let kind = match &op.request {
            OpKind::Publish(publish) => publish.message_type.as_str(),
            _ => "join",
        };
        let known_as = format!("{who}\n{}\n{kind}\n{topic}", self.name);
        let inquiry = Inquiry {
            number: 0,
            room: self.name.clone(),
            client,
            user_id,
            nickname,
            what,
        };
        let about = About {
            who,
            what: known_as.into(),
        };
        Some((inquiry, about))
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
