//! One room: its members, and the operations on it one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hashbrown::HashTable;
use roomcast_protocol::{ErrorCode, MessageType, mutated};
use smallvec::SmallVec;

use crate::context::{Context, Fault};
use crate::engine::{Completion, Engine, Epoch, LogId, Opened, Record, Submitted};
use crate::home::acks::Acks;
use crate::home::member::{Member, Seat};
use crate::home::output::{EdgeReceivers, Output};
use crate::home::publish::NOBODY;
use crate::home::state_sync::StateSyncer;
use crate::host::{Encoding, Host, Notice};
use crate::id::{ClientId, ConnRef};
use crate::kinds::KindEntry;
use crate::letter::{Op, OpKind, RoomId, ToEdge};
use crate::logic::{Effect, PlayerNum, RoomContext, RoomLogic, RoomParts};
use crate::settings::PresenceMode;
use crate::time::{Now, micros};

/// What an operation costs a room's turn beyond the bytes that it sends.
const OVERHEAD: i64 = 512;
/// What a list of members may cost to encode, in bytes.
const LIST: i64 = 32 * 1024;
/// Numbered messages of one sender that may wait for a slow engine.
pub(crate) const MAX_UNANSWERED: usize = 32;

pub(crate) struct Room {
    pub(crate) name: Arc<str>,
    pub(crate) hash: u64,
    pub(crate) id: RoomId,
    pub(super) entry: Arc<KindEntry>,
    pub(super) log: LogId,
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
    pub(super) timestamp: i64,
    pub(super) members: BTreeMap<PlayerNum, Member>,
    /// Players with a user's id, by that.
    pub(super) users: HashTable<PlayerNum>,
    pub(super) next_num: PlayerNum,
    pub(super) edges: SmallVec<[EdgeReceivers; 1]>,
    pub(super) receivers: [u32; Encoding::COUNT],
    /// `full` presence has become `count` for the rest of the room's life.
    pub(super) counts_presence: bool,
    pub(super) pending: VecDeque<Op>,
    pub(super) queued: bool,
    pub(super) deficit: i64,
    /// The turn that [`Output::handed`] counts for.
    turn: u64,
    /// Submitted and not completed, in order; the engine is a slow one.
    in_flight: VecDeque<Op>,
    pub(super) output: Output,
    pub(super) acks: Acks,
    /// The log said that it is too short for those who come back; told once.
    short_log: bool,
    pub(super) unsealed: bool,
    /// A shard with members takes no more for now; counted once, until it does.
    link_full: bool,
    pub(super) syncer: StateSyncer,
    logic: Option<Box<dyn RoomLogic>>,
    wake_at: u64,
    /// The earliest timer that is set for this room.
    pub(super) timer_at: u64,
    failed: bool,
}

impl Room {
    pub(super) fn new(
        name: Arc<str>,
        hash: u64,
        id: RoomId,
        entry: Arc<KindEntry>,
        opened: Opened,
        now: Now,
    ) -> Room {
        // Somebody's code, given a name from the network: a panic must stay in this room.
        let made = catch_unwind(AssertUnwindSafe(|| entry.new_logic(&name)));
        let failed = made.is_err();
        let logic = made.unwrap_or_default();
        Room {
            name,
            hash,
            id,
            entry,
            log: opened.log,
            epoch: opened.epoch,
            offset: opened.offset,
            timestamp: now.unix_ms,
            members: BTreeMap::new(),
            users: HashTable::new(),
            next_num: 1,
            edges: SmallVec::new(),
            receivers: [0; Encoding::COUNT],
            counts_presence: false,
            pending: VecDeque::new(),
            queued: false,
            deficit: 0,
            turn: 0,
            in_flight: VecDeque::new(),
            output: Output::default(),
            acks: Acks::default(),
            short_log: false,
            unsealed: false,
            link_full: false,
            syncer: StateSyncer::default(),
            logic,
            wake_at: u64::MAX,
            timer_at: u64::MAX,
            failed,
        }
    }

    pub(super) fn begin_turn(&mut self, turn: u64) {
        if self.turn != turn {
            self.turn = turn;
            self.output.begin_turn();
        }
    }

    /// How much members learn about each other now.
    pub(super) fn presence(&self) -> PresenceMode {
        match self.entry.kind.presence {
            PresenceMode::Full if self.counts_presence => PresenceMode::Count,
            mode => mode,
        }
    }

    /// Nobody is here, nothing waits.
    pub(super) fn is_over(&self) -> bool {
        self.members.is_empty()
            && self.pending.is_empty()
            && self.in_flight.is_empty()
            && !mutated!("room_outlives_its_members")
    }

    /// Whether a shard with members takes no more for now. Nothing is made for the room then: no operation is done,
    /// no state is sent, and its logic is not woken.
    pub(super) fn waits_for_link<H: Host>(&mut self, ctx: &mut Context<H>) -> bool {
        let full = self
            .edges
            .iter()
            .find(|edge| !ctx.link_has_room(edge.shard));
        let was_full = std::mem::replace(&mut self.link_full, full.is_some());
        if let Some(edge) = full.filter(|_| !was_full) {
            ctx.stats.link_waits += 1;
            ctx.host.notice(Notice::LinkFull { shard: edge.shard });
        }
        self.link_full
    }

    /// Who comes and who goes decides what the next operation may do: it waits for both.
    pub(super) fn waits_for_engine(&self) -> bool {
        let comes_or_goes = |op: &Op| op.request.comes_or_goes();
        // A number that is given up is one in the sender's order.
        let waits =
            |op: &Op| comes_or_goes(op) || matches!(op.request, OpKind::Skip | OpKind::Refused(_));
        match self.pending.front() {
            Some(next) if waits(next) => !self.in_flight.is_empty(),
            _ => self.in_flight.iter().any(comes_or_goes),
        }
    }

    /// An idle room holds no queue.
    pub(super) fn shrink(&mut self) {
        if self.pending.capacity() > 64 {
            self.pending = VecDeque::new();
        }
    }

    /// Does what was asked for. Returns what it cost, in bytes of fan-out.
    pub(super) fn process<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
    ) -> i64 {
        let (conn, window) = (op.conn, op.window);
        let in_flight = self.in_flight.len();
        let members = self.members.len() as i64;
        let fan_out = match &op.request {
            OpKind::Publish(publish) => publish.bytes.len() as i64 * members,
            OpKind::Join(_) => LIST + 128 * members,
            OpKind::Leave { .. } | OpKind::ReadState { .. } | OpKind::Detach => 128 * members,
            OpKind::Resume(_) => 2 * LIST + 128 * members,
            OpKind::ReadLog { .. } | OpKind::History(_) => LIST,
            OpKind::Skip | OpKind::Refused(_) => 0,
            OpKind::Presence(_) => ctx.settings.message.max_presence as i64 * members,
            OpKind::Members { .. } => LIST,
        };
        match op.request {
            OpKind::Join(_) => self.join(ctx, engine, now, op),
            OpKind::Leave { .. } => self.leave(ctx, engine, now, op),
            OpKind::Publish(_) => self.publish(ctx, engine, now, op),
            OpKind::Presence(_) => self.update_presence(ctx, now, op),
            OpKind::Members { .. } => self.list_members(ctx, now, op),
            OpKind::ReadState { since } => self.read_state(ctx, now, &op, since),
            OpKind::Detach => self.detach(ctx, now, &op),
            OpKind::Resume(_) => self.resume(ctx, engine, now, op),
            OpKind::ReadLog { after, edge_room } => {
                self.read_log(ctx, engine, now, &op, (after, edge_room));
            }
            OpKind::History(_) => self.history(ctx, engine, now, op),
            OpKind::Skip => self.skip(ctx, engine, now, op),
            OpKind::Refused(_) => self.note_refusal(engine, &op),
        }
        // What a slow engine holds is given back when it has completed.
        if window > 0 && self.in_flight.len() == in_flight {
            ctx.accepted(conn, window);
        }
        if self.output.is_full() {
            self.seal(ctx);
        }
        OVERHEAD + fan_out
    }

    /// Submits an event; done or refused at once, or put in flight.
    pub(super) fn submit<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
    ) {
        if mutated!("ack_before_append") && op.seq > 0 {
            self.acked((op.conn, op.encoding), op.born, op.seq, self.offset + 1);
        }
        let payload;
        let sender = self.client_of(&op);
        let member = self.members.get(&op.player);
        let client_id = sender.as_ref().map_or("", ClientId::as_str);
        let record = match &op.request {
            OpKind::Join(join) => {
                payload = self.join_payload(ctx, join);
                self.join_record(join, &payload)
            }
            OpKind::Publish(publish) => Record {
                message_type: publish.message_type,
                payload_kind: publish.payload_kind,
                format: publish.format,
                silent: publish.no_echo.unwrap_or(self.entry.kind.no_echo),
                client_id,
                seq: publish.seq,
                name: publish.name(),
                payload: publish.payload(),
                ..Record::default()
            },
            _ => Record {
                message_type: MessageType::PlayerLeft,
                client_id,
                player_id: member.map_or("", |member| &member.user_id),
                player_num: op.player,
                ..Record::default()
            },
        };
        match engine.submit(now, self.log, sender, record) {
            Submitted::Pending => self.in_flight.push_back(op),
            submitted => self.settle(ctx, engine, now, op, submitted),
        }
        self.note_short_log(ctx, engine);
    }

    /// What became of a submission.
    fn settle<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
        submitted: Submitted,
    ) {
        match submitted {
            Submitted::Done(completion) => {
                self.complete(ctx, engine, now, op, Some(completion));
            }
            Submitted::Known(verdict) => {
                self.answer_known(ctx, now, &op, verdict);
                if let OpKind::Publish(publish) = op.request {
                    ctx.recycle_for(op.conn.shard, publish.bytes);
                }
            }
            Submitted::Unavailable { retry_after_ms } => {
                self.unavailable(ctx, engine, now, op, retry_after_ms);
            }
            Submitted::Pending => {}
        }
    }

    /// Numbered messages of the same sender that wait for the engine.
    pub(super) fn waiting_of(&self, op: &Op) -> usize {
        let same = |other: &&Op| other.conn == op.conn && other.seq > 0;
        self.in_flight.iter().filter(same).count()
    }

    /// A log that is shorter than sessions live leaves gaps for those who come back: it is said which setting is why.
    fn note_short_log<H: Host, E: Engine>(&mut self, ctx: &mut Context<H>, engine: &E) {
        if self.short_log || engine.events(self.log).is_none_or(|log| log.cut() == 0) {
            return;
        }
        self.short_log = true;
        ctx.stats.short_logs += 1;
        ctx.host.notice(Notice::ShortLog {
            kind: &self.entry.kind.name,
        });
    }

    /// A pending submission of this room has ended.
    pub(super) fn completed<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        submitted: Submitted,
    ) {
        let Some(op) = self.in_flight.pop_front() else {
            return;
        };
        let (conn, window) = (op.conn, op.window);
        if window > 0 && !matches!(submitted, Submitted::Pending) {
            ctx.accepted(conn, window);
        }
        match submitted {
            Submitted::Pending => self.in_flight.push_front(op),
            submitted => self.settle(ctx, engine, now, op, submitted),
        }
    }

    /// Delivers what the engine has ordered. Without a completion nothing was to be logged.
    pub(super) fn complete<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
        completion: Option<Completion>,
    ) {
        if let Some(completion) = completion {
            self.offset = completion.offset;
            self.timestamp = self.timestamp.max(completion.timestamp);
            ctx.stats.events += 1;
        }
        match op.request {
            OpKind::Join(_) => self.joined(ctx, engine, now, op, completion),
            OpKind::Leave { .. } => self.left(ctx, engine, now, op, completion),
            OpKind::Publish(publish) => {
                if publish.seq > 0 && completion.is_some() {
                    let to = (op.conn, op.encoding);
                    self.acked(to, op.born, publish.seq, self.offset);
                }
                self.deliver(ctx, op.conn, op.player, op.born, &publish);
                ctx.recycle_for(op.conn.shard, publish.bytes);
            }
            _ => {}
        }
    }

    /// The engine can't log now. Whoever leaves leaves all the same.
    fn unavailable<H: Host, E: Engine>(
        &mut self,
        ctx: &mut Context<H>,
        engine: &mut E,
        now: Now,
        op: Op,
        retry_after_ms: u64,
    ) {
        let fault = Fault {
            retry_after_ms,
            ..Fault::new(
                ErrorCode::Unavailable,
                "the room's log can't be written now; send it again",
            )
        };
        match op.request {
            OpKind::Leave { .. } => self.left(ctx, engine, now, op, None),
            OpKind::Join(_) => self.refuse_join(ctx, now, &op, fault),
            OpKind::Publish(publish) => {
                let seq = publish.seq;
                let request = Some(publish.message_type);
                ctx.recycle(publish.bytes);
                let fault = Fault {
                    seq,
                    request,
                    room: &self.name,
                    ..fault
                };
                ctx.refuse(op.conn, op.encoding, op.born, now.unix_ms, fault);
            }
            _ => {}
        }
    }

    /// The sender of an operation, if it is in the room. A home that has not yet told it its
    /// number finds it among the newest.
    pub(super) fn player_of(&self, op: &Op) -> Option<PlayerNum> {
        match self.members.get(&op.player) {
            Some(member) if member.seat(op.conn).is_some() => Some(op.player),
            // A search for each newcomer would make joining a big room quadratic.
            _ if op.player == Op::NEWCOMER => None,
            _ => self.find(op.conn),
        }
    }

    pub(super) fn find(&self, conn: ConnRef) -> Option<PlayerNum> {
        self.members
            .iter()
            .rev()
            .find(|(_, member)| member.seat(conn).is_some())
            .map(|(num, _)| *num)
    }

    /// The session that an operation is from, if it is in the room.
    pub(super) fn client_of(&self, op: &Op) -> Option<ClientId> {
        if op.conn == NOBODY {
            return None;
        }
        let player = self.player_of(op)?;
        let seat = self.members.get(&player)?.seat(op.conn)?;
        Some(seat.client_id)
    }

    /// Runs logic within its budget, then does what it asked for. A panic closes the room, not the server.
    pub(super) fn with_logic<H: Host, T>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        call: impl FnOnce(&mut dyn RoomLogic, &mut RoomContext<'_>) -> T,
    ) -> Option<T> {
        let mut effects = Vec::new();
        let result = self.call_logic(ctx, now, &mut effects, call);
        self.apply(ctx, now, effects);
        result
    }

    /// Runs logic, and leaves what it asked for to the caller.
    pub(super) fn call_logic<H: Host, T>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        effects: &mut Vec<Effect>,
        call: impl FnOnce(&mut dyn RoomLogic, &mut RoomContext<'_>) -> T,
    ) -> Option<T> {
        let mut logic = self.logic.take()?;
        let started = ctx.host.stopwatch();
        let host = &mut ctx.host;
        let parts = RoomParts {
            now,
            name: &self.name,
            kind: &self.entry.kind,
            members: &mut self.members,
            changed: &mut self.syncer.changed,
            effects,
            wake_at: &mut self.wake_at,
            random: &mut || host.random(),
        };
        let mut room = RoomContext { parts };
        let result = catch_unwind(AssertUnwindSafe(|| call(logic.as_mut(), &mut room)));
        let took = ctx.host.stopwatch().saturating_sub(started);
        if took > micros(ctx.settings.logic_budget) && ctx.settings.logic_budget > 0 {
            ctx.stats.slow_logic += 1;
            ctx.host.notice(Notice::SlowLogic {
                kind: &self.entry.kind.name,
                micros: took,
            });
        }
        let Ok(result) = result else {
            effects.clear();
            self.fail(ctx, now);
            return None;
        };
        self.logic = Some(logic);
        Some(result)
    }

    /// Does what logic asked for.
    pub(super) fn apply<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Broadcast { name, json } => self.queue_own(ctx, now, &name, &json),
                Effect::Send { to, name, json } => self.send_own(ctx, now, to, &name, &json),
            }
        }
    }

    /// The time that logic asked for has come.
    pub(super) fn wake<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        if self.wake_at <= now.micros {
            if self.waits_for_link(ctx) {
                let tick = micros(self.entry.kind.tick.max(1));
                self.wake_at = now.micros.saturating_add(tick);
                return;
            }
            self.wake_at = u64::MAX;
            self.with_logic(ctx, now, |logic, room| logic.wake(room));
        }
    }

    /// When this room wants to be looked at next.
    pub(super) fn next_timer(&self) -> Option<u64> {
        let at = self.wake_at.min(self.syncer.due_at());
        (at != u64::MAX).then_some(at)
    }

    /// Hands out what was made since the last time. Before somebody comes or goes, so that each
    /// gets exactly what was sent while it was in.
    pub(super) fn seal<H: Host>(&mut self, ctx: &mut Context<H>) {
        self.output.seal(ctx, &self.edges);
    }

    /// Logic panicked: everybody is told and out.
    fn fail<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        ctx.stats.failed_rooms += 1;
        ctx.host.notice(Notice::LogicPanicked {
            kind: &self.entry.kind.name,
        });
        self.failed = true;
        self.wake_at = u64::MAX;
        self.seal(ctx);
        for (_, member) in std::mem::take(&mut self.members) {
            for seat in member.seats {
                self.dismiss(ctx, now, &seat);
            }
        }
        self.users.clear();
        self.edges.clear();
        self.receivers = [0; Encoding::COUNT];
        self.syncer = StateSyncer::default();
    }

    /// Tells somebody that the room has failed.
    fn dismiss<H: Host>(&self, ctx: &mut Context<H>, now: Now, seat: &Seat) {
        let fault = Fault {
            room: &self.name,
            ..Fault::new(
                ErrorCode::RoomFailed,
                "the room's logic failed and the room is closed",
            )
        };
        let farewell = Some(ctx.error(seat.encoding, now.micros, now.unix_ms, fault));
        let edge_room = self.edge_room(seat.conn.shard);
        ctx.send_edge(
            seat.conn.shard,
            ToEdge::Left {
                conn: seat.conn.conn,
                edge_room,
                asked: false,
                farewell,
            },
        );
    }

    pub(super) fn has_logic(&self) -> bool {
        self.logic.is_some()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) fn edge_room(&self, shard: u16) -> RoomId {
        let edge = self.edges.iter().find(|edge| edge.shard == shard);
        edge.map_or(RoomId::UNKNOWN, |edge| edge.edge_room)
    }
}

/// Something for a room from somebody who is not in it. Gives no window back.
pub(super) fn refuse_non_member<H: Host>(ctx: &mut Context<H>, now: Now, op: Op) {
    let Op {
        room,
        conn,
        encoding,
        born,
        seq,
        request,
        ..
    } = op;
    let answers = match &request {
        OpKind::Leave { gone: true, .. } | OpKind::Join(_) => return,
        OpKind::Resume(_) => Some(MessageType::JoinRoom),
        request => match request.message_type() {
            None => return,
            answers => answers,
        },
    };
    let fault = Fault {
        seq,
        request: answers,
        room: &room.name,
        ..Fault::new(
            ErrorCode::NotInRoom,
            "you are not in this room; send `join_room` first",
        )
    };
    let edge_room = match request {
        OpKind::Leave { edge_room, .. } => edge_room,
        OpKind::Resume(resume) => resume.edge_room,
        OpKind::Publish(publish) => {
            ctx.recycle(publish.bytes);
            return ctx.refuse(conn, encoding, born, now.unix_ms, fault);
        }
        _ => return ctx.refuse(conn, encoding, born, now.unix_ms, fault),
    };
    let farewell = Some(ctx.error(encoding, born, now.unix_ms, fault));
    let left = ToEdge::Left {
        conn: conn.conn,
        edge_room,
        asked: true,
        farewell,
    };
    ctx.send_edge(conn.shard, left);
}
