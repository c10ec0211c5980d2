//! The rooms that are at home on this shard: who is in them, their order, their state.
//!
//! Operations wait in their room and are served in rounds by bytes, so that a busy room delays a
//! quiet one by at most a round. What a room sends in a turn is encoded once per encoding and
//! handed to each shard with members when the turn ends, or earlier when somebody comes or goes.
//!
//! With a store, a room is claimed before it is opened, and what it says waits at its gate (`gate`, `store`, `record`).

mod absent;
mod acks;
mod answers;
mod append;
mod ask_logic;
mod asking;
mod authorize;
mod backend;
mod big_room;
mod drain;
mod facts;
mod first;
mod gate;
mod gathering;
mod join;
mod joined;
mod leave;
mod line;
mod list;
mod load;
mod logic_calls;
mod looked_for;
mod meet;
mod moved;
mod output;
mod overdue;
mod properties;
mod publish;
mod put_out;
mod receivers;
mod record;
mod recover;
mod refusals;
mod relay;
mod renew;
mod resume;
mod room;
mod rules;
mod saved;
mod state_parts;
mod state_span;
mod state_sync;
mod store;
mod tail;
mod top;
mod undecided;

pub(crate) use refusals::refuse_withheld;
pub(crate) use top::key as top_key;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashTable;
use roomcast_protocol::mutated;

use crate::address::NodeNumber;
use crate::context::{Context, Fault};
use crate::host::{Host, LogNews, Notice};
use crate::id::{ClientId, HomeRoomId};
use crate::letter::{Op, OpKind, RoomRef};
use crate::log::Retention;
use crate::logs::Logs;
use crate::node::ClusterViews;
use crate::settings::GatherSettings;
use crate::store::{NodeId, Store, StoreId, Ticket};
use crate::table::{Number, Table};
use crate::time::Now;
use authorize::Inquiries;
use backend::{answer_absent, failure_of, refuse_question, too_many_waiting};
use drain::GivingUp;
use gate::shard_is_full;
use gathering::Gathering;
use line::Line;
use meet::Seen;
use refusals::{no_memory, refuse_absent, refuse_new_room, unknown_kind};
use relay::Relays;
use room::Room;
use store::half_a_lane;

/// Bytes of fan-out that a room may cause in one round.
const QUANTUM: i64 = 256 * 1024;

pub(crate) struct Home<S> {
    logs: Logs,
    store: S,
    /// Rooms that have asked the store for something.
    tickets: HashMap<Ticket, HomeRoomId>,
    /// Claims under way for rooms that are not wanted any more, with their names.
    strays: HashMap<Ticket, Arc<str>>,
    /// Sessions that the store is asked about, and the rooms in which their seats are.
    overdue: HashMap<Ticket, (HomeRoomId, ClientId)>,
    /// Nodes that do not live any more, and when that was heard, in microseconds: as long as a grace.
    gone: BTreeMap<NodeId, u64>,
    next_ticket: u64,
    /// Rooms that have something to say that need not wait for the store any more, and whether the turn was too short
    /// for that.
    letting_out: Vec<HomeRoomId>,
    let_out_cut: bool,
    /// Rooms that take no operations while all of the shard hold too much.
    shut: Vec<HomeRoomId>,
    /// The cluster as it was handed over last; what was seen of it at each store, and rooms that ask for their records
    /// there.
    met: ClusterViews,
    seen: Vec<Seen>,
    lines: Vec<Line>,
    /// Stores, and which of the rooms that there were when one was met may have to be written there.
    to_settle: Vec<(StoreId, Vec<HomeRoomId>)>,
    rooms: Table<Room>,
    by_name: HashTable<HomeRoomId>,
    /// By their names, for lists.
    in_order: BTreeMap<Arc<str>, HomeRoomId>,
    /// Rooms that are at home on other nodes.
    relays: Relays,
    /// The node is about to end: nothing is claimed any more.
    drains: bool,
    giving_up: GivingUp,
    gathering: Gathering,
    /// Rooms with operations that wait, in the order in which they are served. One that is shut comes back once the store
    /// has answered, or the cluster is another one.
    active: VecDeque<HomeRoomId>,
    /// Rooms that have something to hand out before the turn ends.
    unsealed: Vec<HomeRoomId>,
    timers: BinaryHeap<Reverse<(u64, HomeRoomId)>>,
    /// Counts the turns, so that a room knows when one begins.
    turn: u64,
    /// What backends are asked about operations that wait.
    inquiries: Inquiries,
}

impl<S: Store> Home<S> {
    /// `log_memory`: bytes that its rooms' logs may take together; 0 is any.
    pub(crate) fn new(log_memory: usize, gather: GatherSettings, store: S) -> Home<S> {
        Home {
            logs: Logs::new(log_memory),
            store,
            tickets: HashMap::new(),
            strays: HashMap::new(),
            overdue: HashMap::new(),
            gone: BTreeMap::new(),
            next_ticket: 0,
            letting_out: Vec::new(),
            let_out_cut: false,
            shut: Vec::new(),
            met: ClusterViews::default(),
            seen: vec![Seen::default()],
            lines: vec![Line::default()],
            to_settle: Vec::new(),
            rooms: Table::default(),
            by_name: HashTable::new(),
            in_order: BTreeMap::new(),
            relays: Relays::default(),
            drains: false,
            giving_up: GivingUp::default(),
            gathering: Gathering::new(gather),
            active: VecDeque::new(),
            unsealed: Vec::new(),
            timers: BinaryHeap::new(),
            turn: 0,
            inquiries: Inquiries::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Queues an operation in its room, which is made where somebody joins one that is not there.
    pub(crate) fn enqueue<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, op: Op) {
        let found = self.find(&op.head.room);
        let (found, op) = match found {
            None if S::WAITS && ctx.kinds.of_room(&op.head.room.name).is_some() => {
                match self.seek(ctx, now, op) {
                    Some((id, op)) => (Some(id), op),
                    None => return,
                }
            }
            _ => (found, op),
        };
        let id = match (found, &op.request) {
            (Some(id), _) => id,
            (None, OpKind::Join(join)) => match self.open(ctx, now, &op.head.room) {
                Ok(id) => id,
                Err(fault) => return refuse_new_room(ctx, now, &op.head, join.edge_room, fault),
            },
            (None, OpKind::Backend(ask))
                if !ask.opens() && !self.logs.has_one_of(&op.head.room.name) =>
            {
                return answer_absent(ctx, now, &op.head, ask);
            }
            (None, OpKind::Backend(_)) => match self.open(ctx, now, &op.head.room) {
                Ok(id) => id,
                Err(fault) => return refuse_question(ctx, &op.head, failure_of(&fault)),
            },
            (None, _) => {
                // It was left, or closed, while this was on its way.
                ctx.accepted(op.head.conn, op.head.window);
                return refuse_absent(ctx, now, op);
            }
        };
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        if S::WAITS && !op.head.conn.shard.is_own() {
            room.claim_at_once();
        }
        if let OpKind::Backend(ask) = &op.request
            && !ask.moderates()
            && !room.takes_questions()
        {
            return refuse_question(ctx, &op.head, too_many_waiting());
        }
        ctx.enqueue(&mut room.pending, op);
        if S::WAITS {
            room.merge_pending();
            let gate = room.gate.as_ref().filter(|gate| gate.in_line);
            if let Some(gate) = gate.filter(|_| room.waiting() == 1)
                && let Some(at) = ctx.cluster.place(gate.slot)
                && let Some(line) = self.lines.get_mut(at)
            {
                line.wait(id, true);
            }
        }
        if !room.queued {
            room.queued = true;
            self.active.push_back(id);
        }
    }

    pub(crate) fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Sends what the store was asked.
    pub(crate) fn flush_store(&mut self) {
        if S::WAITS {
            self.store.flush();
        }
    }

    /// Begins a turn.
    pub(crate) fn begin_turn(&mut self, now: Now) {
        self.turn += 1;
        self.logs.sweep(now);
        if S::WAITS {
            self.relays.sweep(now);
            self.give_up_more(now);
            for id in self.gathering.begin_turn(now) {
                if let Some(gate) = self.rooms.get_mut(id).and_then(|it| it.gate.as_mut()) {
                    gate.gathers = false;
                }
                self.mark(id);
            }
        }
        if self.timers.len() > 1_024 + 4 * self.rooms.len() {
            self.sweep_timers();
        }
    }

    /// Rooms that are gone leave their timers behind, and one that looks at an earlier time than it
    /// had set sets the later one again.
    fn sweep_timers(&mut self) {
        let mut timers = std::mem::take(&mut self.timers).into_vec();
        timers.retain(|Reverse((at, id))| {
            let room = self.rooms.get(*id);
            room.is_some_and(|room| room.timer_at == *at)
        });
        timers.sort_unstable();
        timers.dedup();
        self.timers = timers.into();
    }

    /// Serves rooms in rounds until none waits or the turn's bytes are spent. Returns whether
    /// there is more that could be served.
    pub(crate) fn serve<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        budget: &mut i64,
    ) -> bool {
        if S::WAITS {
            self.note_lease(ctx, now);
            self.hear(ctx, now);
        }
        let most = half_a_lane(ctx);
        let (mut stuck, mut cut) = (0, false);
        while *budget > 0 && stuck < self.active.len() {
            let Some(id) = self.active.pop_front() else {
                break;
            };
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            room.begin_turn(self.turn);
            let sated = room.output.handed() >= most;
            cut |= sated;
            if sated || room.waits_for_link(ctx) {
                self.active.push_back(id);
                stuck += 1;
                continue;
            }
            if S::WAITS && room.is_shut(ctx, now) {
                room.queued = false;
                let wakes = room.note_patience(ctx);
                if shard_is_full(ctx) {
                    self.shut.push(id);
                }
                if wakes {
                    self.mark(id);
                }
                continue;
            }
            if S::WAITS {
                ctx.hold();
            }
            room.deficit = (room.deficit + QUANTUM).min(QUANTUM);
            let asks = room.entry.kind.asks.any();
            while room.deficit > 0 && room.output.handed() < most {
                if S::WAITS && room.is_shut(ctx, now) {
                    break;
                }
                let next = match asks {
                    false => room.pending.pop_front(),
                    true => self.inquiries.next_op(ctx, &mut self.logs, now, room),
                };
                let Some(op) = next else {
                    break;
                };
                let is_lost = |op: &Op| {
                    op.is_for_another_home(NodeNumber::OWN)
                        || op.follows_unanswered() && room.player_of(&op.head).is_none()
                };
                if S::WAITS && is_lost(&op) {
                    ctx.come_back(op);
                    continue;
                }
                let cost = room.process(ctx, &mut self.logs, now, op);
                room.deficit -= cost;
                *budget -= cost;
            }
            if S::WAITS {
                room.speak(ctx, &self.logs, now);
            }
            // One that is in debt from a large operation comes round again until it is not.
            stuck = 0;
            // What waits for answers of a backend is no work.
            if !room.has_work() {
                room.queued = false;
                room.deficit = 0;
                ctx.recycle_queue(&mut room.pending);
            } else {
                self.active.push_back(id);
            }
            self.mark_unsealed(id);
        }
        let let_out_cut = std::mem::take(&mut self.let_out_cut);
        (*budget <= 0 || cut) && !self.active.is_empty() || let_out_cut
    }

    /// Hands out what the rooms have made in this turn, and closes those that are empty.
    pub(crate) fn seal<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        while let Some(id) = self.unsealed.pop() {
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            room.unsealed = false;
            if S::WAITS {
                ctx.hold();
            }
            room.put_out_kicked(ctx, &mut self.logs, now);
            room.flush_state(ctx, now);
            room.seal(ctx);
            room.send_first_states(ctx);
            room.flush_acks(ctx, now);
            if S::WAITS {
                let mut writes = self.gathering.is_open();
                room.save_logic(ctx, &self.logs, now, writes);
                room.speak(ctx, &self.logs, now);
                if !writes && room.is_half_full(ctx) {
                    writes = true;
                    room.save_logic(ctx, &self.logs, now, writes);
                }
                if writes {
                    room.write(ctx, &mut self.logs, now);
                } else if room.gathers(ctx, &self.logs) {
                    self.gathering.wait(id);
                }
            }
            match room.next_timer() {
                Some(at) if at < room.timer_at => {
                    room.timer_at = at;
                    self.timers.push(Reverse((at, id)));
                }
                _ => {}
            }
            // What was done and is not written yet is written first.
            let unwritten = S::WAITS && room.has_changed(&self.logs);
            let ends = room.is_over() || S::WAITS && room.is_given_up();
            match ends && !unwritten {
                true if !S::WAITS => self.close(now, id),
                true if room.is_nobodys() => self.abandon(ctx, now, id),
                true => self.release(now, id),
                false => {}
            }
            if S::WAITS {
                self.ask(ctx, now, id);
            }
        }
    }

    /// Wakes rooms whose time has come.
    pub(crate) fn run_timers<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        if S::WAITS {
            self.note_lease(ctx, now);
        }
        self.end_inquiries(now);
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > now.micros {
                break;
            }
            self.timers.pop();
            if S::WAITS {
                self.ask_about_overdue(ctx, now, id);
            }
            if let Some(room) = self.rooms.get_mut(id) {
                room.timer_at = u64::MAX;
                if S::WAITS {
                    ctx.hold();
                }
                room.end_rules(now);
                room.output.end_tap(now);
                room.wake(ctx, now);
                if S::WAITS {
                    room.speak(ctx, &self.logs, now);
                    self.look(ctx, now, id);
                }
                self.mark_unsealed(id);
            }
        }
    }

    /// Bytes that logs hold, and how many went whole.
    pub(crate) fn log_usage(&self) -> (usize, u64) {
        self.logs.usage()
    }

    pub(crate) fn next_wake(&self) -> Option<u64> {
        if !self.unsealed.is_empty() {
            return Some(0);
        }
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let others = [
            self.logs.next_wake(),
            self.store.next_wake(),
            self.inquiries.next_wake(),
            self.gathering.next_wake(),
            self.gives_up_at(),
        ];
        timer.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// The room is sealed before the turn ends.
    fn mark(&mut self, id: HomeRoomId) {
        if let Some(room) = self.rooms.get_mut(id).filter(|it| !it.unsealed) {
            room.unsealed = true;
            self.unsealed.push(id);
        }
    }

    /// The same, and what waits in it is looked at.
    fn mark_unsealed(&mut self, id: HomeRoomId) {
        self.mark(id);
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        // Logic may have queued events of the room's own.
        if !room.queued && room.has_work() {
            room.queued = true;
            self.active.push_back(id);
        }
    }

    fn find(&self, room: &RoomRef) -> Option<HomeRoomId> {
        // The number may be one that another node gave, or that is of the room's home of before.
        let is_named = |it: &Room| {
            !S::WAITS || it.name == room.name || mutated!("number_of_another_home_counts")
        };
        if self.rooms.get(room.id).is_some_and(is_named) {
            return Some(room.id);
        }
        if mutated!("letter_reaches_who_took_the_number")
            && let Some(other) = self.rooms.at(room.id.place())
        {
            return Some(other.id);
        }
        let is_it = |id: &HomeRoomId| self.rooms.get(*id).is_some_and(|it| it.name == room.name);
        self.by_name.find(room.hash, is_it).copied()
    }

    fn open<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        room: &RoomRef,
    ) -> Result<HomeRoomId, Fault<'static>> {
        let Some(entry) = ctx.kinds.of_room(&room.name).cloned() else {
            ctx.host.notice(Notice::UnknownKind);
            return Err(unknown_kind());
        };
        let retention = Retention {
            grace: ctx.settings.session_grace,
            ..entry.kind.retention
        };
        let random = ctx.host.random();
        let Some(opened) = self.logs.open(now, &room.name, retention, random) else {
            ctx.host.notice(Notice::NoLogMemory);
            return Err(no_memory());
        };
        let news = LogNews::Opened {
            last: opened.offset,
        };
        ctx.host.log_news(now, &room.name, &opened.epoch, news);
        let id = self
            .rooms
            .insert(|id| Room::new(room.name.clone(), room.hash, id, entry, opened, now));
        self.enter_name(room.hash, id);
        Ok(id)
    }

    fn enter_name(&mut self, hash: u64, id: HomeRoomId) {
        let rooms = &self.rooms;
        let hash_of = |id: &HomeRoomId| rooms.get(*id).map_or(0, |room| room.hash);
        self.by_name.insert_unique(hash, id, hash_of);
        if let Some(room) = self.rooms.get(id) {
            self.in_order.insert(room.name.clone(), id);
        }
    }

    fn close(&mut self, now: Now, id: HomeRoomId) {
        if let Some(room) = self.remove(id) {
            self.logs.close(now, room.log);
        }
    }

    fn remove(&mut self, id: HomeRoomId) -> Option<Room> {
        let room = self.rooms.remove(id)?;
        if let Ok(entry) = self.by_name.find_entry(room.hash, |other| *other == id) {
            entry.remove();
        }
        if self.in_order.get(&room.name) == Some(&id) {
            self.in_order.remove(&room.name);
        }
        if let Some(ticket) = room.gate.as_ref().and_then(|it| it.claim_under_way()) {
            self.tickets.remove(&ticket);
            self.strays.insert(ticket, room.name.clone());
        }
        Some(room)
    }
}
