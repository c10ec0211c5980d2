//! The desk: what backends have asked at this shard, until it is answered.
//!
//! A question goes on its way as an operation, with a [`ConnId`] that names the question and no connection. Whoever has a
//! room answers with [`ToEdge::Backend`](crate::letter::ToEdge::Backend). Where a home is lost, the question is asked
//! again wherever the room is next, unless it may have been done and doing it again would be noticed.

mod all;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use roomcast_protocol::ErrorCode;

use crate::address::{NodeNumber, ShardAddress};
use crate::backend::{
    Ask, Asker, Busy, Failure, Found, NodeLine, Query, Question, Recipient, Reply, RoomLine, Taken,
    TopLine, TopOrder, greatest,
};
use crate::context::Context;
use crate::edge::Edge;
use crate::host::{Encoding, Host};
use crate::id::{ConnId, ConnRef, HomeRoomId};
use crate::letter::{Letter, Op, OpHead, OpKind, Receipt, Receipted, RoomRef, ToEdge};
use crate::store::{NodeId, Store};
use crate::time::{Now, micros};
use crate::wire::version::Version;
use all::All;

/// Questions without an answer, and the bytes that they hold.
const MOST: usize = 8_192;
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// So many times as much as one who asks may have.
const SHARE: usize = 4;
/// Bytes that the questions of one who asks hold at most.
pub(crate) const MOST_OF_ASKER: usize = MOST_BYTES / SHARE;
/// Milliseconds after which who asks is told that there is no answer. A lease is over by then, and a room has another home.
pub(crate) const PATIENCE: u64 = 10_000;
/// Milliseconds after which a home does not do any more what was asked: whoever has asked was told that it may not be.
pub(crate) const TOO_LATE: u64 = 15_000;
/// Milliseconds for which a question without an answer counts, as it may still wait somewhere.
const FORGOTTEN: u64 = 60_000;
/// Milliseconds after which a question is asked again: the first time, and at most.
const AGAIN: (u64, u64) = (10, 500);

/// Names a question at its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId(pub(crate) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its answer is on the way.
    Asked,
    /// It was not done, and is asked again.
    Again,
    /// Whoever has asked was told that there is no answer.
    GivenUp,
}

/// What was asked, and what is known of the answer.
#[derive(Debug)]
enum What {
    Room {
        room: Arc<str>,
        ask: Arc<Ask>,
    },
    Direct {
        /// Inboxes that will say what became of it, once that is known.
        copies: Option<u32>,
        stored: u32,
        failed: u32,
        /// Why not in the last one that has it not.
        code: ErrorCode,
    },
    All(Box<All>),
    /// A batch is handed over to this shard.
    Batch {
        to: ShardAddress,
    },
}

#[derive(Debug)]
struct Asked {
    asker: Asker,
    what: What,
    held: usize,
    state: State,
    /// Microseconds after which nobody waits for it.
    deadline: u64,
    /// When to look at it next.
    look_at: u64,
    tries: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Desk {
    questions: HashMap<u32, Asked>,
    last: u32,
    /// By [`Question::look_at`].
    times: BTreeSet<(u64, u32)>,
    bytes: usize,
    /// Of each who asks: questions without an answer, and their bytes.
    askers: HashMap<Asker, (usize, usize)>,
    replies: VecDeque<(QuestionId, Reply)>,
}

impl Desk {
    pub(crate) fn ask<H: Host, S: Store>(
        &mut self,
        ctx: &mut Context<H>,
        edge: &mut Edge<S>,
        now: Now,
        (asker, question): (Asker, Question),
    ) -> Result<QuestionId, Busy> {
        let held = question.held();
        let too_many = |(count, bytes): (usize, usize), parts: usize| {
            count >= MOST / parts || bytes.saturating_add(held) > MOST_BYTES / parts
        };
        if too_many((self.questions.len(), self.bytes), 1) {
            return Err(Busy::Shard);
        }
        let of_asker = self.askers.get(&asker).copied().unwrap_or_default();
        if too_many(of_asker, SHARE) {
            return Err(Busy::Asker);
        }
        let number = self.free_number();
        let is_of_room = matches!(question, Question::Room(..));
        if !is_of_room && ctx.version() < Version::V2 {
            let sentence = "the servers are being upgraded, and one of them can't do this yet; ask again later";
            let reply = Reply::Failed(Failure::unavailable(sentence));
            self.replies.push_back((QuestionId(number), reply));
            return Ok(QuestionId(number));
        }
        let what = match question {
            Question::Room(room, ask) => {
                let (room, ask) = (Arc::from(room), Arc::new(ask));
                send(ctx, now, number, &room, &ask);
                What::Room { room, ask }
            }
            Question::Direct(to, publication) => {
                let copies = matches!(to, Recipient::Client(_)).then_some(1);
                edge.direct_of_backend(ctx, now, number, to, publication);
                What::Direct {
                    copies,
                    stored: 0,
                    failed: 0,
                    code: ErrorCode::RecipientNotFound,
                }
            }
            Question::All(query) => What::All(Box::new(All::ask(ctx, number, query, S::WAITS))),
            Question::Batch(node, batch) => match hand_over(ctx, number, node, Query::Batch(batch))
            {
                Some(to) => What::Batch { to },
                None => {
                    let reply = (QuestionId(number), Reply::Taken(Taken::Gone));
                    self.replies.push_back(reply);
                    return Ok(QuestionId(number));
                }
            },
        };
        let deadline = now.micros.saturating_add(micros(PATIENCE));
        let asked = Asked {
            asker,
            what,
            held,
            state: State::Asked,
            deadline,
            look_at: deadline,
            tries: 0,
        };
        self.bytes += held;
        self.askers
            .insert(asker, (of_asker.0 + 1, of_asker.1 + held));
        self.times.insert((deadline, number));
        self.questions.insert(number, asked);
        Ok(QuestionId(number))
    }

    fn free_number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.questions.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    /// Takes what is said to a question instead of a connection.
    pub(crate) fn hear(&mut self, now: Now, number: u32, message: ToEdge) {
        match message {
            ToEdge::Backend {
                reply: Some(reply), ..
            } => {
                self.end(number, *reply);
            }
            ToEdge::Backend { reply: None, .. } => self.ask_again(now, number),
            ToEdge::ComeBack { .. } => self.note_lost(now, number),
            _ => {}
        }
    }

    /// An inbox, or whoever knows a user's sessions, says what became of a message.
    pub(crate) fn take_receipt(&mut self, receipted: &Receipted) {
        let number = receipted.request_id;
        let asked = self.questions.get_mut(&number);
        let Some(What::Direct {
            copies,
            stored,
            failed,
            code,
        }) = asked.map(|it| &mut it.what)
        else {
            return;
        };
        match receipted.receipt {
            Receipt::Copies(count) => *copies = Some(count),
            Receipt::Stored(_) => *stored += 1,
            Receipt::Failed(why) => (*failed, *code) = (*failed + 1, why),
        }
        if copies.is_none_or(|count| *stored + *failed < count) {
            return;
        }
        let reply = match (*stored, *code) {
            (0, ErrorCode::Unavailable) => {
                let sentence = "too much waits for this recipient; send it again later";
                Reply::Failed(Failure::unavailable(sentence))
            }
            (0, code) => {
                let sentence = "no session has this id, or no session is of this user";
                Reply::Failed(Failure::new(code, sentence))
            }
            (stored, _) => Reply::Sent {
                stored,
                failed: *failed,
            },
        };
        self.end(number, reply);
    }

    /// A shard has answered what many are asked.
    pub(crate) fn found<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        from: ShardAddress,
        number: u32,
        found: Found,
    ) {
        let asked = self.questions.get_mut(&number);
        match asked.map(|it| &mut it.what) {
            Some(What::All(all)) => {
                if let Some(reply) = all.hear(ctx, number, from, found) {
                    self.end(number, reply);
                }
            }
            Some(What::Batch { to }) if *to == from => {
                if let Found::Taken(taken) = found {
                    self.end(number, Reply::Taken(taken));
                }
            }
            _ => {}
        }
    }

    /// A question has its answer.
    fn end(&mut self, number: u32, reply: Reply) {
        let asked = self.remove(number);
        if asked.is_some_and(|it| it.state != State::GivenUp) {
            self.replies.push_back((QuestionId(number), reply));
        }
    }

    /// What was under way there may have been done, or not.
    pub(crate) fn node_lost<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, node: NodeNumber) {
        let asked = self.questions.iter();
        let asked = asked.filter(|(_, it)| it.state == State::Asked);
        let mut lost: Vec<_> = asked.map(|(number, _)| *number).collect();
        lost.sort_unstable();
        for number in lost {
            match self.questions.get_mut(&number).map(|it| &mut it.what) {
                Some(What::Room { .. }) => self.note_lost(now, number),
                // The stream is gone with it.
                Some(What::Batch { to }) if to.node() == node => {
                    self.end(number, Reply::Taken(Taken::Gone));
                }
                Some(What::All(all)) => {
                    if let Some(reply) = all.node_lost(ctx, number, node) {
                        self.end(number, reply);
                    }
                }
                _ => {}
            }
        }
    }

    fn note_lost(&mut self, now: Now, number: u32) {
        let Some(question) = self.questions.get(&number) else {
            return;
        };
        if question.state != State::Asked {
            return;
        }
        let What::Room { ask, .. } = &question.what else {
            return;
        };
        if ask.is_repeatable() {
            return self.ask_again(now, number);
        }
        self.remove(number);
        let sentence = "the room's home was lost, so it is not known whether this was done; with an `Idempotency-Key` it is asked again";
        let failure = Failure::unavailable(sentence);
        let reply = (QuestionId(number), Reply::Failed(failure));
        self.replies.push_back(reply);
    }

    fn ask_again(&mut self, now: Now, number: u32) {
        let Some(question) = self.questions.get_mut(&number) else {
            return;
        };
        if question.state == State::GivenUp {
            self.remove(number);
            return;
        }
        let (first, most) = AGAIN;
        let delay = (first << question.tries.min(16)).min(most);
        question.tries += 1;
        question.state = State::Again;
        let at = now.micros.saturating_add(micros(delay));
        let at = at.min(question.deadline);
        let before = std::mem::replace(&mut question.look_at, at);
        self.times.remove(&(before, number));
        self.times.insert((at, number));
    }

    pub(crate) fn run_timers<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        while let Some((at, number)) = self.times.first().copied() {
            if at > now.micros {
                break;
            }
            self.times.pop_first();
            let Some(question) = self.questions.get_mut(&number) else {
                continue;
            };
            let over = question.deadline <= now.micros;
            match question.state {
                State::GivenUp => drop(self.remove(number)),
                State::Again if !over => {
                    question.state = State::Asked;
                    question.look_at = question.deadline;
                    self.times.insert((question.look_at, number));
                    if let What::Room { room, ask } = &question.what {
                        send(ctx, now, number, room, ask);
                    }
                }
                before => {
                    question.state = State::GivenUp;
                    question.look_at = now.micros.saturating_add(micros(FORGOTTEN));
                    self.times.insert((question.look_at, number));
                    if before == State::Again {
                        self.remove(number);
                    }
                    let sentence = "there was no answer in time; what was asked may still be done";
                    let failure = Failure::unavailable(sentence);
                    let reply = (QuestionId(number), Reply::Failed(failure));
                    self.replies.push_back(reply);
                }
            }
        }
    }

    pub(crate) fn next_wake(&self) -> Option<u64> {
        match self.replies.is_empty() {
            true => self.times.first().map(|(at, _)| *at),
            false => Some(0),
        }
    }

    pub(crate) fn next_reply(&mut self) -> Option<(QuestionId, Reply)> {
        self.replies.pop_front()
    }

    /// Questions without an answer.
    pub(crate) fn len(&self) -> usize {
        self.questions.len()
    }

    fn remove(&mut self, number: u32) -> Option<Asked> {
        let question = self.questions.remove(&number)?;
        self.times.remove(&(question.look_at, number));
        self.bytes -= question.held;
        if let Some((count, bytes)) = self.askers.get_mut(&question.asker) {
            (*count, *bytes) = (count.saturating_sub(1), bytes.saturating_sub(question.held));
            if *count == 0 {
                self.askers.remove(&question.asker);
            }
        }
        Some(question)
    }
}

fn send<H: Host>(ctx: &mut Context<H>, now: Now, number: u32, room: &Arc<str>, ask: &Arc<Ask>) {
    let room = RoomRef {
        hash: ctx.names.hash(room),
        name: room.clone(),
        id: HomeRoomId::NONE,
        node: NodeNumber::NONE,
    };
    let head = OpHead {
        room,
        conn: ConnRef {
            shard: ctx.own,
            conn: ConnId::of_question(number),
        },
        encoding: Encoding::ALL[0],
        player: OpHead::NEWCOMER,
        born: now.micros,
        window: 0,
        seq: 0,
        request_id: 0,
    };
    let request = OpKind::Backend(Arc::clone(ask));
    ctx.send_home(Op { head, request });
}

/// Asks one shard of another node, where that lives.
fn hand_over<H: Host>(
    ctx: &mut Context<H>,
    number: u32,
    node: NodeId,
    query: Query,
) -> Option<ShardAddress> {
    let node = ctx.cluster.nodes().node(node)?;
    let shard = number % u32::from(node.shards.max(1));
    let to = ShardAddress::new(node.number, shard as u16);
    ctx.post(to, Letter::Query(Box::new((number, query))));
    Some(to)
}

/// What all shards have said, as one answer.
fn together(query: &Query, found: Vec<Found>) -> Reply {
    if found.contains(&Found::Unknown) {
        let sentence = "a node of the cluster is of an older version and does not know this";
        return Reply::Failed(Failure::new(ErrorCode::NotSupported, sentence));
    }
    match query {
        Query::Rooms(query) => {
            // A room that is just moving may be at two.
            let mut rooms: BTreeMap<Box<str>, RoomLine> = BTreeMap::new();
            // Behind this name not all have looked.
            let mut end: Option<Box<str>> = None;
            for found in found {
                if let Found::Rooms { rooms: lines, cut } = found {
                    rooms.extend(lines.into_iter().map(|line| (line.room.clone(), line)));
                    end = [end, cut].into_iter().flatten().min();
                }
            }
            let limit = query.limit as usize;
            rooms.retain(|room, _| end.as_ref().is_none_or(|end| room <= end));
            let is_full = rooms.len() > limit;
            let rooms: Vec<RoomLine> = rooms.into_values().take(limit).collect();
            let next = match is_full {
                true => rooms.last().map(|line| line.room.clone()),
                false => end,
            };
            Reply::Rooms { rooms, next }
        }
        Query::Sessions { .. } => {
            let sessions = found.into_iter().filter_map(|found| match found {
                Found::Sessions(sessions) => Some(sessions),
                _ => None,
            });
            let mut sessions: Vec<_> = sessions.flatten().collect();
            // Of one that is just moving the connected one counts.
            sessions.sort_by_key(|it| (it.client, !it.connected));
            sessions.dedup_by_key(|it| it.client);
            Reply::Sessions(sessions)
        }
        Query::Disconnect { .. } => Reply::Disconnected(
            found
                .iter()
                .map(|found| match found {
                    Found::Ended(count) => *count,
                    _ => 0,
                })
                .sum(),
        ),
        Query::Nodes => {
            let lines = found.into_iter().filter_map(|found| match found {
                Found::Node(line) => Some(*line),
                _ => None,
            });
            let mut nodes: BTreeMap<Box<str>, NodeLine> = BTreeMap::new();
            for line in lines {
                match nodes.get_mut(&line.node) {
                    Some(node) => node.add(line),
                    None => drop(nodes.insert(line.node.clone(), line)),
                }
            }
            Reply::Nodes(nodes.into_values().collect())
        }
        Query::Top(query) => {
            let mut rooms: BTreeMap<Box<str>, TopLine> = BTreeMap::new();
            for found in found {
                if let Found::Top(lines) = found {
                    lines.into_iter().for_each(|line| add_top(&mut rooms, line));
                }
            }
            let limit = query.limit as usize;
            Reply::Top(match query.order {
                TopOrder::Busiest => greatest(rooms.into_values(), limit, |it| it.rate),
                TopOrder::Biggest => greatest(rooms.into_values(), limit, |it| it.members),
                TopOrder::Slowest => {
                    greatest(rooms.into_values(), limit, |it| (it.lagging, it.pending))
                }
            })
        }
        Query::Connections(query) => {
            let lines = found.into_iter().filter_map(|found| match found {
                Found::Connections(lines) => Some(lines),
                _ => None,
            });
            let limit = query.limit as usize;
            Reply::Connections(greatest(lines.flatten(), limit, |it| it.lag()))
        }
        Query::Whose(_) | Query::EndOrphans(_) | Query::Newer | Query::Batch(_) => {
            let sentence = "this version does not know what was asked";
            Reply::Failed(Failure::new(ErrorCode::NotSupported, sentence))
        }
    }
}

/// Of the slowest ones each shard has a part of the connections; others have one home.
fn add_top(rooms: &mut BTreeMap<Box<str>, TopLine>, line: TopLine) {
    let room = rooms.entry(line.room.clone()).or_default();
    room.room = line.room;
    if line.lagging == 0 {
        (room.members, room.rate) = (line.members, line.rate);
        return;
    }
    room.members += line.members;
    room.lagging += line.lagging;
    room.pending += line.pending;
}
