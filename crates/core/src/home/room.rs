//! One room: its members, and the operations on it one after the other.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hashbrown::HashTable;
use roomcast_protocol::mutated;
use smallvec::SmallVec;

use crate::context::Context;
use crate::home::acks::Acks;
use crate::home::gate::{Gate, Phase};
use crate::home::load::Load;
use crate::home::logic_calls::Kick;
use crate::home::output::{EdgeReceivers, Output};
use crate::home::publish::NOBODY;
use crate::home::rules::Rules;
use crate::home::state_parts::Parts;
use crate::home::state_sync::StateSyncer;
use crate::home::undecided::Undecided;
use crate::host::{Encoding, Host, Notice};
use crate::id::{ClientId, ConnRef, HomeRoomId};
use crate::kinds::KindEntry;
use crate::letter::{Op, OpHead, OpKind};
use crate::log::Epoch;
use crate::logic::{LogicRules, RoomLogic};
use crate::logs::{LogId, Logs, Opened};
use crate::member::Member;
use crate::numbered::Numbered;
use crate::player::PlayerNum;
use crate::settings::PresenceMode;
use crate::table::Row;
use crate::time::Now;

/// What an operation costs a room's turn beyond the bytes that it sends.
const OVERHEAD: i64 = 512;
/// What a list of members may cost to encode, in bytes.
const LIST: i64 = 32 * 1024;

pub(crate) struct Room {
    pub(crate) name: Arc<str>,
    pub(crate) hash: u64,
    pub(crate) id: HomeRoomId,
    pub(super) entry: Arc<KindEntry>,
    pub(super) log: LogId,
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
    pub(super) timestamp: i64,
    pub(super) members: Numbered<Member>,
    /// Players with a user's id, by that.
    pub(super) users: HashTable<PlayerNum>,
    pub(super) next_num: PlayerNum,
    pub(super) edges: SmallVec<[EdgeReceivers; 1]>,
    pub(super) receivers: [u32; Encoding::COUNT],
    /// `full` presence has become `count` for the rest of the room's life.
    pub(super) counts_presence: bool,
    /// Operations that wait. [`Context::enqueue`] gives a room its queue: an idle one has none.
    pub(super) pending: VecDeque<Op>,
    pub(super) queued: bool,
    pub(super) deficit: i64,
    /// The turn that [`Output::handed`] counts for.
    turn: u64,
    pub(super) output: Output,
    pub(super) acks: Acks,
    /// The log said that it is too short for those who come back; told once.
    pub(super) short_log: bool,
    pub(super) unsealed: bool,
    /// Where a store has the room too.
    pub(super) gate: Option<Box<Gate>>,
    /// A shard with members takes no more for now; counted once, until it does.
    link_full: bool,
    pub(super) syncer: StateSyncer,
    pub(super) parts: Parts,
    pub(super) logic: Option<Box<dyn RoomLogic>>,
    /// Most rooms need none.
    beside: Option<Box<Beside>>,
    pub(super) wake_at: u64,
    /// Milliseconds that the room's clock is ahead of the node's: it has had another home.
    pub(super) clock: i64,
    /// The earliest timer that is set for this room.
    pub(super) timer_at: u64,
    pub(super) failed: bool,
    /// Whom the application does not let in.
    pub(super) rules: Option<Box<Rules>>,
    pub(super) load: Load,
}

/// What most rooms have nothing of.
#[derive(Default)]
struct Beside {
    /// Of the room's logic.
    rules: LogicRules,
    /// In the order in which logic has said so.
    kicks: VecDeque<Kick>,
    /// Operations that wait for a backend to decide, and those behind them: they came before those that are pending.
    undecided: Option<Box<Undecided>>,
}

impl Row for Room {
    type Number = HomeRoomId;

    fn number(&self) -> HomeRoomId {
        self.id
    }
}

impl Room {
    /// Names that the room's logic holds, and whether it is asked.
    pub(super) fn logic_rules(&self) -> LogicRules {
        self.beside
            .as_ref()
            .map_or_else(LogicRules::default, |beside| beside.rules)
    }

    /// Whom logic wants out, if it has ever wanted that.
    pub(super) fn kicks(&mut self) -> Option<&mut VecDeque<Kick>> {
        Some(&mut self.beside.as_mut()?.kicks)
    }

    pub(super) fn push_kick(&mut self, kick: Kick) {
        self.beside.get_or_insert_default().kicks.push_back(kick);
    }

    /// Operations that wait for a backend to decide.
    pub(super) fn undecided(&self) -> Option<&Undecided> {
        self.beside.as_ref()?.undecided.as_deref()
    }

    pub(super) fn undecided_mut(&mut self) -> Option<&mut Undecided> {
        self.beside.as_mut()?.undecided.as_deref_mut()
    }

    pub(super) fn make_undecided(&mut self) -> &mut Undecided {
        let beside = self.beside.get_or_insert_default();
        beside.undecided.get_or_insert_default()
    }

    pub(super) fn take_undecided(&mut self) -> Option<Box<Undecided>> {
        self.beside.as_mut()?.undecided.take()
    }

    pub(super) fn new(
        name: Arc<str>,
        hash: u64,
        id: HomeRoomId,
        entry: Arc<KindEntry>,
        opened: Opened,
        now: Now,
    ) -> Room {
        // Somebody's code, given a name from the network: a panic must stay in this room.
        let made = catch_unwind(AssertUnwindSafe(|| {
            let logic = entry.new_logic(&name);
            let rules = logic.as_deref().map(LogicRules::of);
            let beside = rules.filter(|rules| !rules.is_empty()).map(|rules| {
                Box::new(Beside {
                    rules,
                    ..Beside::default()
                })
            });
            (logic, beside)
        }));
        let failed = made.is_err();
        let (logic, beside) = made.unwrap_or_default();
        Room {
            name,
            hash,
            id,
            entry,
            log: opened.log,
            epoch: opened.epoch,
            offset: opened.offset,
            timestamp: now.unix_ms,
            members: Numbered::default(),
            users: HashTable::new(),
            next_num: 1,
            edges: SmallVec::new(),
            receivers: [0; Encoding::COUNT],
            counts_presence: false,
            pending: VecDeque::new(),
            queued: false,
            deficit: 0,
            turn: 0,
            output: Output::default(),
            acks: Acks::default(),
            short_log: false,
            unsealed: false,
            gate: None,
            link_full: false,
            syncer: StateSyncer::default(),
            parts: Parts::default(),
            logic,
            beside,
            wake_at: u64::MAX,
            clock: 0,
            timer_at: u64::MAX,
            failed,
            rules: None,
            load: Load::default(),
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
            && self.waiting() == 0
            && !self.has_rules()
            && !self.output.is_tapped()
            && self
                .gate
                .as_ref()
                .is_none_or(|gate| gate.may_end() && !gate.wanted.is_wanted())
            && !mutated!("room_outlives_its_members")
    }

    /// It is empty, and this node never was its home.
    pub(super) fn is_nobodys(&self) -> bool {
        let gate = self.gate.as_ref();
        gate.is_none_or(|gate| gate.phase == Phase::Opening)
    }

    /// Whether it takes no more operations for now, because of the store.
    pub(super) fn is_shut<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) -> bool {
        self.gate
            .as_mut()
            .is_some_and(|gate| gate.is_shut(ctx, now))
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

    /// Does what was asked for. Returns what it cost, in bytes of fan-out.
    pub(super) fn process<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        op: Op,
    ) -> i64 {
        let Op { head: op, request } = op;
        let (conn, window) = (op.conn, op.window);
        let members = self.members.len() as i64;
        // Who comes and who goes is told to all, or it is no more than a number.
        let heard = match self.presence() {
            PresenceMode::Full => 128 * members,
            PresenceMode::Count | PresenceMode::None => 0,
        };
        let fan_out = match &request {
            OpKind::Publish(publish) => {
                self.load.note(now);
                self.count_message(ctx, publish.bytes.len());
                publish.bytes.len() as i64 * members
            }
            OpKind::Join(_) => LIST + heard,
            OpKind::Leave(_) | OpKind::Detach => heard,
            OpKind::Resume(_) => 2 * LIST + heard,
            OpKind::ReadLog(_) | OpKind::ReadState(_) | OpKind::History(_) => LIST,
            OpKind::Skip | OpKind::Refused(_) | OpKind::Forbidden(..) => 0,
            OpKind::Presence(_) => ctx.settings.message.max_presence as i64 * members,
            OpKind::Members(_) => LIST,
            OpKind::Backend(ask) => ask.held() as i64 * members.max(1),
        };
        match request {
            OpKind::Join(join) => self.join(ctx, logs, now, op, join),
            OpKind::Leave(leave) => self.leave(ctx, logs, now, op, leave),
            OpKind::Publish(publish) => self.publish(ctx, logs, now, op, publish),
            OpKind::Presence(update) => self.update_presence(ctx, now, &op, &update),
            OpKind::Members(page) => self.list_members(ctx, now, &op, page),
            OpKind::ReadState(read) => {
                let answer = self.read_state(ctx, now, &op, read);
                ctx.send_edge(conn.shard, answer);
            }
            OpKind::Detach => self.detach(ctx, now, &op),
            OpKind::Resume(resume) => self.resume(ctx, logs, now, &op, &resume),
            OpKind::ReadLog(_)
                if mutated!("slice_is_not_answered") && self.turn.is_multiple_of(8) => {}
            OpKind::ReadLog(read) => {
                let answer = self.read_log(ctx, logs, now, &op, read);
                ctx.send_edge(conn.shard, answer);
            }
            OpKind::History(request) => self.history(ctx, logs, now, &op, request),
            OpKind::Backend(ask) => self.answer_backend(ctx, logs, now, &op, &ask),
            OpKind::Skip => self.skip(ctx, logs, now, &op),
            OpKind::Refused(code) => self.note_refusal(logs, &op, code),
            OpKind::Forbidden(request, right) => {
                self.forbid(ctx, logs, now, &op, request, right);
            }
        }
        self.put_out_kicked(ctx, logs, now);
        if window > 0 {
            self.accepted(ctx, conn, window);
        }
        if self.output.is_full() {
            self.seal(ctx);
        }
        OVERHEAD + fan_out
    }

    pub(super) fn count_message<H>(&self, ctx: &mut Context<H>, bytes: usize) {
        let kind = ctx.stats.kind(self.entry.label);
        kind.messages += 1;
        kind.bytes += bytes as u64;
    }

    /// The sender of an operation, if it is in the room. A home that has not yet told it its
    /// number finds it among the newest.
    pub(super) fn player_of(&self, op: &OpHead) -> Option<PlayerNum> {
        match self.members.get(&op.player) {
            Some(member) if member.seat(op.conn).is_some() => Some(op.player),
            // A search for each newcomer would make joining a big room quadratic.
            _ if op.player == OpHead::NEWCOMER => None,
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
    pub(super) fn client_of(&self, op: &OpHead) -> Option<ClientId> {
        if op.conn == NOBODY {
            return None;
        }
        let player = self.player_of(op)?;
        let seat = self.members.get(&player)?.seat(op.conn)?;
        Some(seat.client_id)
    }

    /// When this room wants to be looked at next.
    pub(super) fn next_timer(&self) -> Option<u64> {
        let store = self.gate.as_ref().map_or(u64::MAX, |gate| gate.due_at());
        let at = self.wake_at.min(self.syncer.due_at()).min(store);
        let at = at.min(self.rules_end_at()).min(self.output.tapped_until());
        (at != u64::MAX).then_some(at)
    }

    /// Hands out what was made since the last time. Before somebody comes or goes, so that each
    /// gets exactly what was sent while it was in.
    pub(super) fn seal<H: Host>(&mut self, ctx: &mut Context<H>) {
        self.output.seal(ctx, &self.edges);
    }
}
