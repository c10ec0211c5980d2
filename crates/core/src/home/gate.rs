//! What a room says waits here until the store has confirmed what was done before it.
//!
//! Everything passes in its order. One append of a room is under way; what is done meanwhile goes with the next one, and
//! what is said meanwhile waits for that. Where nothing is unconfirmed, all goes out at once.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use roomcast_protocol::mutated;

use crate::context::{Context, Said};
use crate::home::absent::Absent;
use crate::home::asking::Asked;
use crate::home::first::Wanted;
use crate::home::renew::Renewal;
use crate::home::saved::LogicRecord;
use crate::home::store::MERGED;
use crate::host::Host;
use crate::id::{ClientId, ConnRef};
use crate::letter::ToEdge;
use crate::player::PlayerNum;
use crate::store::{Append, Epochs, Header, HomeName, Request, Slot, StoreId, Ticket};
use crate::time::Now;
use crate::trace::{AllTraced, Span, Step};

/// Numbered messages of one sender that may wait for the store.
const UNANSWERED: u32 = 32;
/// With so many its room does not wait for others: a control lane has room for the answers to about a dozen.
const PRESSED: u32 = 8;

/// Where a room stands with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is claimed: nothing is known of it yet.
    Opening,
    /// It is at home here.
    Open,
    /// It is given up, and the store has not said so: nothing is written any more, and nothing that is said goes out.
    Releasing,
}

/// What a record says of whose the room is, as this home knows it.
#[derive(Clone, Debug)]
pub(super) struct Tenure {
    pub(super) home: HomeName,
    pub(super) fence: u64,
    pub(super) store: StoreId,
    pub(super) epochs: Epochs,
}

/// Why something is left that need not wait for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing is.
    Nothing,
    /// The way to a shard is full.
    ForLink,
    /// It is enough for this turn.
    ForTurn,
}

/// Something that was said.
#[derive(Debug)]
struct Waiting {
    /// The append that it waits for.
    n: u64,
    bytes: usize,
    said: Said,
}

#[derive(Debug)]
pub(super) struct Gate {
    /// Says which store has the room's record.
    pub(super) slot: Slot,
    pub(super) phase: Phase,
    pub(super) tenure: Option<Tenure>,
    /// Whose the room is, as its record said, and when it said so first, in microseconds.
    pub(super) theirs: Option<(HomeName, u64)>,
    pub(super) asked: Option<Asked>,
    /// The last append that was made, and the last one that was confirmed.
    pub(super) made: u64,
    pub(super) confirmed: u64,
    /// The offset of the last event that is in an append; and what it was before the append under way.
    pub(super) appended: u64,
    pub(super) appended_before: u64,
    /// The number of the last append that the record has for sure, and what the one after it would make of the header.
    pub(super) recorded: u64,
    pub(super) unsure: Option<Header>,
    /// Its lease or its store are not those of now: it is claimed back, or written anew.
    pub(super) is_astray: bool,
    /// A record that was renewed, and to which nothing was appended since: another home may still replace it.
    pub(super) is_pending: bool,
    /// An append is made though nothing has changed: something waits for it.
    pub(super) must_write: bool,
    /// It waits until the rooms of the shard write.
    pub(super) gathers: bool,
    /// A sender has so many numbered messages without an answer that it should not wait for more.
    is_pressed: bool,
    /// Something that waits for the next append is for another node.
    pub(super) tells_others: bool,
    /// The record has not what the application says of who may join.
    pub(super) rules_changed: bool,
    pub(super) renewal: Option<Renewal>,
    /// The highest fence that this home may have written anywhere.
    pub(super) had: u64,
    /// The store for which the epoch got its name.
    pub(super) named_for: Option<StoreId>,
    /// It waits until fewer claims are under way.
    pub(super) in_line: bool,
    /// Members that changed since the last append was made.
    pub(super) members: BTreeSet<PlayerNum>,
    waiting: VecDeque<Waiting>,
    /// Bytes of what waits, and of the append under way.
    bytes: usize,
    append_bytes: usize,
    /// Bytes that receivers were handed in a turn, and which turn it was.
    handed: (u64, usize),
    /// Numbered messages without an answer, by sender: of the append under way, and of the next.
    unanswered: [HashMap<ConnRef, u32>; 2],
    /// Nothing was written for so long that the record may end; and when it will be so.
    pub(super) is_stale: bool,
    pub(super) stale_at: u64,
    /// Seats of which no connection is known, and that are not parked on a node that lives.
    pub(super) orphans: Absent,
    /// Seats that lost their connection here. Their node ends them before their time, or another one has taken the session
    /// by then; but for a session that was taken with a record of before it came here.
    pub(super) detached: Absent,
    /// Turns of sessions that were taken by another node than the one that they began at.
    turns: HashMap<ClientId, u64>,
    /// The player of each session that has a seat.
    pub(super) players: HashMap<ClientId, PlayerNum>,
    /// When an operation that waits has waited for too long.
    pub(super) patience_until: u64,
    /// It took no more operations; counted once, until it does.
    was_full: bool,
    /// Operations that wait when they are merged the next time.
    pub(super) merge_at: usize,
    /// The node ends: the room goes to another home as soon as all that was done is written.
    pub(super) gives_up: bool,
    /// What its record has of the room's logic.
    pub(super) logic: LogicRecord,
    /// Other nodes that have asked this one to claim the room.
    pub(super) wanted: Wanted,
}

impl Gate {
    pub(super) fn new(slot: Slot) -> Gate {
        Gate {
            slot,
            phase: Phase::Opening,
            tenure: None,
            theirs: None,
            asked: None,
            made: 0,
            confirmed: 0,
            appended: 0,
            appended_before: 0,
            recorded: 0,
            unsure: None,
            is_astray: false,
            is_pending: false,
            must_write: false,
            gathers: false,
            is_pressed: false,
            tells_others: false,
            rules_changed: false,
            renewal: None,
            had: 0,
            named_for: None,
            in_line: false,
            members: BTreeSet::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            append_bytes: 0,
            handed: (0, 0),
            unanswered: Default::default(),
            is_stale: false,
            stale_at: u64::MAX,
            orphans: Absent::new(),
            detached: Absent::new(),
            turns: HashMap::new(),
            players: HashMap::new(),
            patience_until: u64::MAX,
            was_full: false,
            merge_at: MERGED,
            gives_up: false,
            logic: LogicRecord::default(),
            wanted: Wanted::default(),
        }
    }

    /// Whether no more operations may be done for now.
    pub(super) fn is_shut<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) -> bool {
        let acts = ctx.cluster.at(self.slot).acts(now.micros).is_some();
        if self.phase != Phase::Open || self.gives_up || !acts {
            return true;
        }
        let (room, _) = ctx.settings.unconfirmed;
        let full = self.bytes + self.append_bytes >= room.max(1) || shard_is_full(ctx);
        if full && !self.was_full {
            ctx.stats.store_waits += 1;
        }
        self.was_full = full;
        full
    }

    /// Whether half of what may wait for the store waits, in the room or in all of the shard, or a sender can't do much more.
    pub(super) fn is_half_full<H>(&self, ctx: &Context<H>) -> bool {
        let (room, shard) = ctx.settings.unconfirmed;
        let held = ctx.stats.unconfirmed_bytes;
        self.is_pressed || self.bytes >= room / 2 || held >= shard / 2
    }

    /// Whether something is asked of the store.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// A claim that may be done, though nobody has heard so.
    pub(super) fn claim_under_way(&self) -> Option<Ticket> {
        let asked = self.asked.as_ref()?;
        let is_claim = matches!(asked.request, Request::Claim(_));
        asked.ticket.filter(|_| is_claim)
    }

    /// A claim that may be done at another store than this.
    pub(super) fn claims_at_another(&self, store: StoreId) -> bool {
        let asked = self.asked.as_ref().filter(|it| it.ticket.is_some());
        asked.is_some_and(|it| matches!(&it.request, Request::Claim(claim) if claim.store != store))
    }

    /// Whether a claim or a renewal is to be asked for.
    pub(super) fn seeks_its_record(&self) -> bool {
        let asked = self.asked.as_ref().map(|it| &it.request);
        match asked {
            Some(Request::Claim(_) | Request::Renew(_)) => true,
            Some(_) => false,
            None => self.is_astray && self.phase == Phase::Open,
        }
    }

    /// Nothing may be asked before the cluster is another one: [`Gate::cluster_changed`].
    pub(super) fn wait_for_cluster(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.retry_at = u64::MAX;
        }
    }

    /// What waits may be asked at once.
    pub(super) fn cluster_changed(&mut self) {
        if let Some(asked) = self.asked.as_mut().filter(|it| it.ticket.is_none()) {
            asked.retry_at = 0;
        }
    }

    /// Whether something waits to go out.
    pub(super) fn holds(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether nothing waits, for the store or to go out.
    fn is_idle(&self) -> bool {
        self.asked.is_none() && self.waiting.is_empty()
    }

    /// Whether an empty room may end: all that was said is out, or the room was never opened.
    pub(super) fn may_end(&self) -> bool {
        match self.phase {
            Phase::Opening => true,
            Phase::Open => self.is_idle() || mutated!("released_before_confirmed"),
            Phase::Releasing => false,
        }
    }

    /// When the room is to be looked at because of the store.
    pub(super) fn due_at(&self) -> u64 {
        let waits = self.asked.as_ref().filter(|it| it.ticket.is_none());
        let retry = waits.map_or(u64::MAX, |it| it.retry_at);
        let stale = if self.is_stale {
            u64::MAX
        } else {
            self.stale_at
        };
        retry
            .min(stale)
            .min(self.orphans.next())
            .min(self.detached.next())
            .min(self.patience_until)
            .min(self.wanted.until())
            .min(self.saves_logic_at())
    }

    /// When logic is saved. Not before something else that is asked for is done: that looks for itself.
    fn saves_logic_at(&self) -> u64 {
        let may = self.phase == Phase::Open && self.asked.is_none() && !self.is_astray;
        let may = may && !self.is_pending;
        if may { self.logic.due_at() } else { u64::MAX }
    }

    /// A seat has lost its connection.
    pub(super) fn note_detached(&mut self, client: ClientId, player: PlayerNum, until: u64) {
        self.detached.put(client, player, until);
    }

    /// Whether another node has taken the session since this turn of it, and was here first. Letters of two nodes come in
    /// any order.
    pub(super) fn is_late(&self, client: ClientId, turn: u64) -> bool {
        let known = self.turns.get(&client);
        known.is_some_and(|known| *known > turn)
    }

    /// A session with this turn has a seat.
    pub(super) fn note_turn(&mut self, client: ClientId, turn: u64) {
        if turn > 1 {
            self.turns.insert(client, turn);
        }
    }

    /// A seat is gone.
    pub(super) fn forget_session(&mut self, client: ClientId) {
        self.note_attached(client);
        self.turns.remove(&client);
        self.players.remove(&client);
    }

    /// A seat has a connection again, or is gone.
    pub(super) fn note_attached(&mut self, client: ClientId) {
        self.orphans.remove(client);
        self.detached.remove(client);
    }

    /// Seats of a session that is nowhere known from now on.
    pub(super) fn put_orphan(&mut self, client: ClientId, player: PlayerNum, until: u64) {
        self.detached.remove(client);
        let until = if mutated!("orphans_end_at_once") {
            0
        } else {
            until
        };
        self.orphans.put(client, player, until);
    }

    /// Takes in what was said. `changed`: something was done that no append has.
    pub(super) fn say<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, changed: bool) {
        // The next home of a room that is being given up has its record alone: what is done meanwhile counts only if the room
        // stays, as it does at another store, where it is written first.
        let n = self.made + u64::from(changed || self.phase == Phase::Releasing);
        let free = self.waiting.is_empty() && n <= self.confirmed;
        // Without a lease the room may have another home: what needs no append is not told either.
        let free = free && ctx.cluster.at(self.slot).acts(now.micros).is_some();
        if free {
            let said: Vec<_> = ctx.let_go().collect();
            for (shard, message) in said {
                ctx.send_edge(shard, message);
            }
            return;
        }
        let mut bytes = 0;
        let waiting = &mut self.waiting;
        let mut early = Vec::new();
        for said in ctx.let_go() {
            let answers = matches!(said.1, ToEdge::Answer { ordered: false, .. });
            if mutated!("ack_before_confirm") && answers {
                early.push(said);
                continue;
            }
            let (held, _) = said.1.held();
            bytes += held;
            self.tells_others |= !said.0.is_own();
            waiting.push_back(Waiting {
                n,
                bytes: held,
                said,
            });
        }
        self.bytes += bytes;
        ctx.stats.unconfirmed_bytes += bytes;
        for (shard, message) in early {
            ctx.send_edge(shard, message);
        }
        if mutated!("gate_lets_one_overtake") && self.waiting.len() % 8 == 7 {
            self.let_out_last(ctx);
        }
    }

    /// Takes in refusals of what was never done. They go out at once; but who is told of its coming or going first is told
    /// of that first.
    pub(super) fn say_refused<H: Host>(&mut self, ctx: &mut Context<H>) {
        let waiting = self
            .waiting
            .iter()
            .filter(|it| is_of_membership(&it.said.1));
        let waiting: HashSet<_> = waiting.filter_map(|it| receiver(&it.said)).collect();
        let said: Vec<_> = ctx.let_go().collect();
        for said in said {
            if !receiver(&said).is_some_and(|it| waiting.contains(&it)) {
                ctx.send_edge(said.0, said.1);
                continue;
            }
            let (bytes, _) = said.1.held();
            self.bytes += bytes;
            ctx.stats.unconfirmed_bytes += bytes;
            let n = self.confirmed;
            self.waiting.push_back(Waiting { n, bytes, said });
        }
    }

    fn let_out_last<H: Host>(&mut self, ctx: &mut Context<H>) {
        if let Some(Waiting { bytes, said, .. }) = self.waiting.pop_back() {
            self.bytes -= bytes;
            ctx.stats.unconfirmed_bytes -= bytes;
            ctx.send_edge(said.0, said.1);
        }
    }

    /// Lets out what need not wait any more, as much as receivers can take in a turn.
    pub(super) fn let_out<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        turn: u64,
        most: usize,
        now: Now,
    ) -> Left {
        if self.handed.0 != turn {
            self.handed = (turn, 0);
        }
        while let Some(first) = self.waiting.front() {
            if first.n > self.confirmed || self.is_astray || self.is_pending {
                return Left::Nothing;
            }
            let (shard, message) = &first.said;
            if matches!(message, ToEdge::Deliver(_)) {
                if !ctx.link_has_room(*shard) {
                    return Left::ForLink;
                }
                if self.handed.1 >= most {
                    return Left::ForTurn;
                }
                self.handed.1 += first.bytes;
            }
            let Some(Waiting {
                bytes, mut said, ..
            }) = self.waiting.pop_front()
            else {
                break;
            };
            self.bytes -= bytes;
            ctx.stats.unconfirmed_bytes -= bytes;
            if let ToEdge::Deliver(delivery) = &mut said.1 {
                end_wait(ctx, now, &mut delivery.traced);
            }
            ctx.send_edge(said.0, said.1);
        }
        if self.waiting.capacity() > 64 {
            self.waiting = VecDeque::new();
        }
        Left::Nothing
    }

    /// Drops all that waits. Who was to be told something that only a home knows.
    pub(super) fn drop_all<H: Host>(&mut self, ctx: &mut Context<H>) -> Vec<ConnRef> {
        ctx.stats.unconfirmed_bytes -= std::mem::take(&mut self.bytes);
        self.free_append(ctx);
        let waiting = std::mem::take(&mut self.waiting);
        let facts = waiting
            .iter()
            .filter(|it| matches!(it.said.1, ToEdge::Fact(_)));
        let facts = facts.count() as u64;
        if facts > 0 {
            ctx.host.facts_lost(facts);
        }
        // These are asked for again wherever the room is.
        let again = |message: &ToEdge| {
            matches!(
                message,
                ToEdge::LogSlice { .. } | ToEdge::NewestState { .. }
            )
        };
        let waiting = waiting.iter().filter(|it| !again(&it.said.1));
        waiting.filter_map(|it| receiver(&it.said)).collect()
    }

    fn free_append<H>(&mut self, ctx: &mut Context<H>) {
        ctx.stats.unconfirmed_bytes -= std::mem::take(&mut self.append_bytes);
    }

    /// The next append has all that was done until now, the event with this offset among it.
    pub(super) fn append<H>(
        &mut self,
        ctx: &mut Context<H>,
        append: Arc<Append>,
        offset: u64,
        stale_at: u64,
    ) {
        self.append_bytes = held(&append);
        ctx.stats.unconfirmed_bytes += self.append_bytes;
        self.made += 1;
        (self.must_write, self.rules_changed) = (false, false);
        self.is_pressed = false;
        self.appended_before = std::mem::replace(&mut self.appended, offset);
        self.members.clear();
        (self.is_stale, self.stale_at) = (false, stale_at);
        self.unanswered[0] = std::mem::take(&mut self.unanswered[1]);
        self.ask(Request::Append(append));
    }

    /// The append that is under way is confirmed.
    pub(super) fn append_confirmed<H>(&mut self, ctx: &mut Context<H>) {
        self.answered();
        self.free_append(ctx);
        (self.confirmed, self.recorded) = (self.made, self.made);
        (self.is_pending, self.unsure) = (false, None);
        self.unanswered[0].clear();
    }

    /// It is not known whether the append under way was done.
    pub(super) fn append_is_unsure<H>(&mut self, ctx: &mut Context<H>) {
        self.free_append(ctx);
        for (conn, count) in std::mem::take(&mut self.unanswered[0]) {
            *self.unanswered[1].entry(conn).or_default() += count;
        }
    }

    /// The record has all up to the append of this number: what waits for a later one waits for the next.
    pub(super) fn go_on_from(&mut self, n: u64) {
        (self.made, self.confirmed, self.recorded) = (n, n, n);
        for waiting in &mut self.waiting {
            waiting.n = waiting.n.min(n + 1);
        }
        self.unsure = None;
        self.must_write = self.holds();
    }

    /// Whether a sender may have one more numbered message without an answer.
    pub(super) fn may_number(&self, conn: ConnRef) -> bool {
        let of = |part: &HashMap<ConnRef, u32>| part.get(&conn).copied().unwrap_or(0);
        self.unanswered.iter().map(of).sum::<u32>() < UNANSWERED
    }

    pub(super) fn note_numbered(&mut self, conn: ConnRef) {
        let count = self.unanswered[1].entry(conn).or_default();
        *count += 1;
        self.is_pressed |= *count >= PRESSED;
    }
}

/// Whether as much waits for the store as may, of all rooms of the shard.
pub(super) fn shard_is_full<H>(ctx: &Context<H>) -> bool {
    let (_, most) = ctx.settings.unconfirmed;
    ctx.stats.unconfirmed_bytes >= most.max(1)
}

fn held(append: &Append) -> usize {
    let field = |value: &Option<Box<[u8]>>| value.as_ref().map_or(0, |it| it.len());
    let fields = append.fields.iter();
    let fields: usize = fields.map(|(key, it)| size_of_val(key) + field(it)).sum();
    let events = append.log.as_ref().map_or(0, |log| log.events.len());
    size_of::<Append>() + fields + events
}

/// The connection that something is for; none where it is for all in the room.
fn receiver((shard, message): &Said) -> Option<ConnRef> {
    let (_, conn) = message.held();
    let shard = *shard;
    conn.map(|conn| ConnRef { shard, conn })
}

/// Whether it says that somebody is in the room, or is not.
fn is_of_membership(message: &ToEdge) -> bool {
    matches!(
        message,
        ToEdge::Joined(_)
            | ToEdge::JoinedAgain { .. }
            | ToEdge::JoinRefused { .. }
            | ToEdge::Left { .. }
    )
}

/// Traced messages have waited at the gate until now.
fn end_wait<H: Host>(ctx: &mut Context<H>, now: Now, traced: &mut AllTraced) {
    for traced in traced.iter_mut().flat_map(|all| all.iter_mut()) {
        let id = ctx.host.random().max(1);
        ctx.host.span(Span {
            step: Step::GateWait,
            parent: traced.parent,
            id,
            start: traced.at,
            end: now.micros.max(traced.at),
            receivers: 0,
        });
        traced.at = now.micros;
    }
}
