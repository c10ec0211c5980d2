//! One room: its members, and the operations on it one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use roomcast_protocol::{ErrorCode, MessageType};
use smallvec::SmallVec;

use crate::context::{Context, Fault};
use crate::engine::{Completion, Engine, Epoch, LogId, Opened, Record, Submitted};
use crate::home::member::Member;
use crate::home::output::{EdgeLink, Output};
use crate::home::state_sync::StateSyncer;
use crate::host::{Encoding, Host, Notice};
use crate::id::ConnRef;
use crate::kinds::KindEntry;
use crate::link::{Op, OpKind, RoomId, ToEdge};
use crate::logic::{Effect, PlayerNum, RoomContext, RoomLogic, Scene};
use crate::settings::PresenceMode;
use crate::time::{Now, micros};

/// What an operation costs a room's turn beyond the bytes that it sends.
const OVERHEAD: i64 = 512;
/// What a list of members may cost to encode, in bytes.
const LIST: i64 = 32 * 1024;

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
    pub(super) next_num: PlayerNum,
    pub(super) edges: SmallVec<[EdgeLink; 1]>,
    pub(super) receivers: [u32; Encoding::COUNT],
    /// `full` presence has become `count` for the rest of the room's life.
    pub(super) crowded: bool,
    pub(super) pending: VecDeque<Op>,
    pub(super) queued: bool,
    pub(super) deficit: i64,
    /// The turn that [`Output::handed`] counts for.
    turn: u64,
    /// Submitted and not completed, in order; the engine is a slow one.
    in_flight: VecDeque<Op>,
    pub(super) output: Output,
    pub(super) touched: bool,
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
            next_num: 1,
            edges: SmallVec::new(),
            receivers: [0; Encoding::COUNT],
            crowded: false,
            pending: VecDeque::new(),
            queued: false,
            deficit: 0,
            turn: 0,
            in_flight: VecDeque::new(),
            output: Output::default(),
            touched: false,
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
            PresenceMode::Full if self.crowded => PresenceMode::Count,
            mode => mode,
        }
    }

    /// Nobody is here, nothing waits.
    pub(super) fn is_over(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty() && self.in_flight.is_empty()
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
        let comes_or_goes = |op: &Op| matches!(op.request, OpKind::Join(_) | OpKind::Leave { .. });
        match self.pending.front() {
            Some(next) if comes_or_goes(next) => !self.in_flight.is_empty(),
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
            OpKind::Leave { .. } | OpKind::CatchUp { .. } => 128 * members,
            OpKind::Presence(_) => ctx.settings.message.max_presence as i64 * members,
            OpKind::Members { .. } => LIST,
        };
        match op.request {
            OpKind::Join(_) => self.join(ctx, engine, now, op),
            OpKind::Leave { .. } => self.leave(ctx, engine, now, op),
            OpKind::Publish(_) => self.publish(ctx, engine, now, op),
            OpKind::Presence(_) => self.update_presence(ctx, now, op),
            OpKind::Members { .. } => self.list_members(ctx, now, op),
            OpKind::CatchUp { since } => self.catch_up(ctx, now, &op, since),
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
        let player = self
            .members
            .get(&op.player)
            .map_or("", |member| member.player_id());
        let record = match &op.request {
            OpKind::Join(join) => Record {
                message_type: MessageType::PlayerJoined,
                client_id: join.client_id.as_str(),
                ..EMPTY
            },
            OpKind::Publish(publish) => Record {
                message_type: publish.message_type,
                client_id: player,
                seq: publish.seq,
                name: publish.name(),
                payload_kind: publish.payload_kind,
                payload: publish.payload(),
            },
            _ => Record {
                client_id: player,
                ..EMPTY
            },
        };
        match engine.submit(now, self.log, record) {
            Submitted::Done(completion) => self.complete(ctx, now, op, Some(completion)),
            Submitted::Pending => self.in_flight.push_back(op),
            Submitted::Unavailable { retry_after_ms } => {
                self.unavailable(ctx, now, op, retry_after_ms)
            }
        }
    }

    /// A pending submission of this room has ended.
    pub(super) fn completed<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
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
            Submitted::Done(completion) => self.complete(ctx, now, op, Some(completion)),
            Submitted::Unavailable { retry_after_ms } => {
                self.unavailable(ctx, now, op, retry_after_ms)
            }
            Submitted::Pending => self.in_flight.push_front(op),
        }
    }

    /// Delivers what the engine has ordered. Without a completion nothing was to be logged.
    pub(super) fn complete<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
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
            OpKind::Join(_) => self.joined(ctx, now, op, completion),
            OpKind::Leave { .. } => self.left(ctx, now, op, completion),
            OpKind::Publish(publish) => {
                self.deliver(ctx, op.conn, op.player, op.born, &publish);
                ctx.recycle_for(op.conn.shard, publish.bytes);
            }
            _ => {}
        }
    }

    /// The engine can't log now. Whoever leaves leaves all the same.
    fn unavailable<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
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
            OpKind::Leave { .. } => self.left(ctx, now, op, None),
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
            Some(member) if member.conn == op.conn => Some(op.player),
            // A search for each newcomer would make joining a big room quadratic.
            _ if op.player == Op::NEWCOMER => None,
            _ => self.find(op.conn),
        }
    }

    pub(super) fn find(&self, conn: ConnRef) -> Option<PlayerNum> {
        self.members
            .iter()
            .rev()
            .find(|(_, member)| member.conn == conn)
            .map(|(num, _)| *num)
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
        let scene = Scene {
            now,
            name: &self.name,
            kind: &self.entry.kind,
            members: &mut self.members,
            changed: &mut self.syncer.changed,
            effects,
            wake_at: &mut self.wake_at,
            random: &mut || host.random(),
        };
        let mut room = RoomContext { scene };
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
            let fault = Fault {
                room: &self.name,
                ..Fault::new(
                    ErrorCode::RoomFailed,
                    "the room's logic failed and the room is closed",
                )
            };
            let farewell = Some(ctx.error(member.encoding, now.micros, now.unix_ms, fault));
            let edge_room = self.edge_room(member.conn.shard);
            ctx.send_edge(
                member.conn.shard,
                ToEdge::Left {
                    conn: member.conn.conn,
                    edge_room,
                    asked: false,
                    farewell,
                },
            );
        }
        self.edges.clear();
        self.receivers = [0; Encoding::COUNT];
        self.syncer = StateSyncer::default();
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

const EMPTY: Record<'static> = Record {
    message_type: MessageType::PlayerLeft,
    client_id: "",
    seq: 0,
    name: "",
    payload_kind: roomcast_protocol::PayloadKind::Json,
    payload: &[],
};

/// Something for a room from somebody who is not in it. Gives no window back.
pub(super) fn refuse_stranger<H: Host>(ctx: &mut Context<H>, now: Now, op: Op) {
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
        OpKind::Leave { gone: true, .. } | OpKind::CatchUp { .. } | OpKind::Join(_) => return,
        OpKind::Leave { gone: false, .. } => MessageType::LeaveRoom,
        OpKind::Presence(_) => MessageType::Presence,
        OpKind::Members { .. } => MessageType::Members,
        OpKind::Publish(publish) => publish.message_type,
    };
    let fault = Fault {
        seq,
        request: Some(answers),
        room: &room.name,
        ..Fault::new(
            ErrorCode::NotInRoom,
            "you are not in this room; send `join_room` first",
        )
    };
    match request {
        OpKind::Leave { edge_room, .. } => {
            let farewell = Some(ctx.error(encoding, born, now.unix_ms, fault));
            let left = ToEdge::Left {
                conn: conn.conn,
                edge_room,
                asked: true,
                farewell,
            };
            return ctx.send_edge(conn.shard, left);
        }
        OpKind::Publish(publish) => ctx.recycle(publish.bytes),
        _ => {}
    }
    ctx.refuse(conn, encoding, born, now.unix_ms, fault);
}
