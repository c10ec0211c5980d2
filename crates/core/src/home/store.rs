//! A home with a store: it claims rooms before it opens them, writes what they do, and releases those that are empty.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use roomcast_protocol::mutated;

use crate::context::{Context, Fault};
use crate::home::Home;
use crate::home::append::log_unavailable;
use crate::home::backend::answer;
use crate::home::gate::{Gate, Left, Phase, shard_is_full};
use crate::home::publish::NOBODY;
use crate::home::record::KEPT;
use crate::home::refusals::{refuse_leave, refuse_op};
use crate::home::room::Room;
use crate::host::{Host, Notice};
use crate::id::HomeRoomId;
use crate::letter::{Op, OpKind, RoomRef};
use crate::log::Epoch;
use crate::logs::{LogId, Logs, Opened};
use crate::store::{
    Answer, Append, Cause, Claim, Claimed, HomeName, KeyOf, Release, Request, Slot, Store,
    StoreError, Ticket, Written,
};
use crate::time::{Now, micros};

/// Milliseconds after which an operation that was refused for lack of patience may be tried again.
const TRY_AGAIN: u64 = 200;
/// Operations that wait in a room before those of sessions that have come back again are merged.
pub(super) const MERGED: usize = 64;

impl<S: Store> Home<S> {
    /// A room that somebody asks for is made, and claimed. Its operations wait until it is loaded.
    pub(super) fn claim<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        room: &RoomRef,
    ) -> Option<HomeRoomId> {
        let entry = ctx.kinds.of_room(&room.name)?.clone();
        let epoch = Epoch::from_random(ctx.host.random());
        let opened = Opened {
            log: LogId::NONE,
            epoch,
            offset: 0,
        };
        let (name, hash) = (&room.name, room.hash);
        let id = self
            .rooms
            .insert(|id| Room::new(name.clone(), hash, id, entry, opened, now));
        self.enter_name(hash, id);
        let room = self.rooms.get_mut(id)?;
        let mut gate = Gate::new(Slot::of(KeyOf::Room(&room.name)));
        gate.ask(claim_of(ctx, now, room, None));
        room.gate = Some(Box::new(gate));
        self.mark_unsealed(id);
        Some(id)
    }

    /// Takes what the store has answered.
    pub(super) fn hear<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        while let Some((ticket, result)) = self.store.poll(now) {
            self.gathering.answered(now, ticket);
            for line in &mut self.lines {
                line.end(ticket);
            }
            if let Some(name) = self.strays.remove(&ticket) {
                self.release_stray(ctx, now, name, result);
                continue;
            }
            if let Some((id, client)) = self.overdue.remove(&ticket) {
                self.heard_of_overdue(ctx, now, (ticket, id, client), result);
                continue;
            }
            // One that was answered before has no ticket any more.
            let Some(id) = self.tickets.remove(&ticket) else {
                continue;
            };
            let Some(room) = self.rooms.get_mut(id) else {
                continue;
            };
            let gate = room.gate.as_ref();
            let Some(asked) = gate.and_then(|gate| gate.asked_with(ticket)) else {
                continue;
            };
            match (asked, result) {
                (Request::Claim(claim), Ok(Answer::Claim(claimed))) => match claim.has {
                    None => self.claimed(ctx, now, id, claimed),
                    Some(_) => self.claimed_back(ctx, now, id, claimed),
                },
                (Request::Renew(renew), Ok(Answer::Written(written))) => {
                    let renew = renew.clone();
                    self.renewed(ctx, now, id, &renew, written);
                }
                (Request::Append(append), Ok(Answer::Written(written))) => {
                    let append = append.clone();
                    self.written(ctx, now, id, &append, written);
                }
                (Request::Release(_), Ok(Answer::Done)) => self.released(ctx, now, id),
                // There is nothing to give up at another store, and nothing to be had from asking for ever.
                (Request::Release(release), Err(StoreError::Again(Cause::OtherStore)))
                    if ctx.cluster.of(KeyOf::Room(&release.room)).store != release.store =>
                {
                    self.released(ctx, now, id);
                }
                (Request::Release(_), Err(StoreError::Never(_))) => self.released(ctx, now, id),
                (_, Err(StoreError::Never(cause))) => self.wait_rarely(ctx, now, id, cause),
                _ => self.ask_again(ctx, now, id, None),
            }
            self.mark_unsealed(id);
        }
        self.move_up(ctx);
        self.let_out(ctx, now);
    }

    /// Lets out what rooms have said, as far as it may go. What is left follows in later turns.
    fn let_out<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        let most = half_a_lane(ctx);
        for id in std::mem::take(&mut self.letting_out) {
            let gate = self.rooms.get_mut(id).and_then(|it| it.gate.as_mut());
            let Some(gate) = gate else {
                continue;
            };
            if ctx.cluster.at(gate.slot).acts(now.micros).is_none() {
                self.letting_out.push(id);
                continue;
            }
            let left = gate.let_out(ctx, self.turn, most, now);
            self.let_out_cut |= left == Left::ForTurn;
            if left != Left::Nothing {
                self.letting_out.push(id);
            }
            self.mark_unsealed(id);
        }
        if !shard_is_full(ctx) {
            for id in std::mem::take(&mut self.shut) {
                self.mark_unsealed(id);
            }
        }
    }

    /// Whether the node may act at this moment: if not, rooms wait for the next view of the cluster.
    pub(super) fn note_lease<H: Host>(&mut self, ctx: &Context<H>, now: Now) {
        let stores = ctx.cluster.stores().iter();
        for (at, seen) in stores.zip(&mut self.seen) {
            seen.stopped |= at.acts(now.micros).is_none();
        }
    }

    /// The store does not do it before somebody has changed something: it is asked rarely, and nobody waits for that.
    fn wait_rarely<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: HomeRoomId,
        cause: Cause,
    ) {
        ctx.host.notice(Notice::StoreRefuses { cause });
        let random = ctx.host.random();
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        room.refuse_waiting(ctx, now, u64::MAX);
        if let Some(gate) = &mut room.gate {
            gate.retry_rarely(now, random);
        }
    }

    /// A claim that nobody wants any more was answered: the room is given up again, so that it names no home.
    pub(super) fn release_stray<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        room: Arc<str>,
        result: Result<Answer, StoreError>,
    ) {
        let (header, is_bare) = match result {
            Ok(Answer::Claim(Claimed::Loaded(it))) => {
                let is_bare = it.fields.is_empty() && it.log.is_empty();
                (it.header, is_bare)
            }
            Ok(Answer::Claim(Claimed::Kept(header))) => (*header, false),
            _ => return,
        };
        let Some(home) = header.home else {
            return;
        };
        let release = Release {
            room,
            home,
            fence: header.fence,
            store: header.store,
            ends_after: if is_bare { 0 } else { KEPT },
        };
        // Without an answer it is as it was before: who is asked for the room claims it.
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ctx.stats.store_requests[0] += 1;
        self.store.submit(now, ticket, Request::Release(release));
    }

    fn claimed<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: HomeRoomId,
        claimed: Claimed,
    ) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        room.forget_joins_of_gone();
        match claimed {
            Claimed::Loaded(record) => {
                ctx.hold();
                let cluster = ctx.cluster.of(KeyOf::Room(&room.name));
                let home = cluster.own.map(|own| own.home);
                let loaded = room.load(ctx, &mut self.logs, now, *record);
                room.note_astray(ctx);
                room.speak(ctx, &self.logs, now);
                if loaded.is_none() {
                    ctx.host.notice(Notice::NoLogMemory);
                    room.refuse_waiting(ctx, now, u64::MAX);
                    self.ask_again(ctx, now, id, None);
                }
                self.answer_wanted(ctx, now, id, home.filter(|_| loaded.is_some()));
            }
            Claimed::Theirs(home) => self.theirs(ctx, now, id, home),
            Claimed::Absent => self.absent(ctx, now, id),
            // It has nothing, so that it is never told that it has all.
            Claimed::Unsettled | Claimed::Kept(_) => {
                self.answer_wanted(ctx, now, id, None);
                self.ask_again(ctx, now, id, None);
            }
        }
    }

    fn written<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: HomeRoomId,
        append: &Append,
        written: Written,
    ) {
        match written {
            Written::Refused(_) if !mutated!("refused_room_goes_on") => self.lose(ctx, now, id),
            Written::Confirmed | Written::Refused(_) => {
                let room = self.rooms.get_mut(id);
                if let Some(gate) = room.and_then(|it| it.gate.as_mut()) {
                    gate.append_confirmed(ctx);
                    self.letting_out.push(id);
                }
            }
            Written::Unsettled | Written::Incomplete => {
                let append = Append {
                    settled: ctx.cluster.of(KeyOf::Room(&append.room)).settled,
                    ..append.clone()
                };
                let request = Request::Append(Arc::new(append));
                self.ask_again(ctx, now, id, Some(request));
            }
        }
    }

    /// The store did not do it, or did not say so.
    pub(super) fn ask_again<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: HomeRoomId,
        other: Option<Request>,
    ) {
        let random = ctx.host.random();
        if let Some(gate) = self.rooms.get_mut(id).and_then(|it| it.gate.as_mut()) {
            gate.retry(now, random, other);
        }
    }

    /// Submits what the room has to ask, if its time has come.
    pub(super) fn ask<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: HomeRoomId) {
        let Some(gate) = self.rooms.get_mut(id).and_then(|it| it.gate.as_mut()) else {
            return;
        };
        let seeks = gate.seeks_its_record();
        let is_first = seeks && !gate.is_asking();
        if gate.in_line || !is_first && !gate.is_due(now) {
            return;
        }
        if ctx.cluster.at(gate.slot).acts(now.micros).is_none() {
            return gate.wait_for_cluster();
        }
        if seeks && self.has_to_line_up(ctx, id) {
            return;
        }
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        // As the cluster is known now: nothing depends on what an earlier one said.
        let request = room.claim_now(ctx, &mut self.logs, now);
        let Some(gate) = &mut room.gate else {
            return;
        };
        match request {
            Some(request) if is_first => gate.ask(request),
            Some(request) => gate.ask_this(request),
            None => {}
        }
        let ticket = Ticket(self.next_ticket);
        if let Some((request, again)) = gate.begin_asking(now, ticket) {
            self.next_ticket += 1;
            let place = ctx.cluster.place(gate.slot);
            if let Some(line) = place.and_then(|at| self.lines.get_mut(at))
                && seeks
            {
                line.begin(ticket);
            }
            self.tickets.insert(ticket, id);
            if matches!(request, Request::Append(_)) {
                self.gathering.asked(now, ticket, gate);
            }
            ctx.stats.store_requests[usize::from(again)] += 1;
            self.store.submit(now, ticket, request);
        }
    }

    /// A room is given up: it is empty, or the node ends.
    pub(super) fn release(&mut self, now: Now, id: HomeRoomId) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let age = room.entry.kind.retention.age;
        let ends_after = match self.logs.is_bare(room.log) {
            _ if !room.members.is_empty() || room.has_rules() => room.kept(now),
            true => 0,
            false if age == 0 => KEPT,
            false => age,
        };
        let name = room.name.clone();
        let Some(gate) = &mut room.gate else {
            return;
        };
        let Some(tenure) = &gate.tenure else {
            return;
        };
        let release = Release {
            room: name,
            home: tenure.home,
            fence: tenure.fence,
            store: tenure.store,
            ends_after,
        };
        gate.phase = Phase::Releasing;
        gate.ask(Request::Release(release));
    }

    /// The room has another home, or its record is gone. What it did since the last append that was confirmed is not
    /// done, and nobody was told of it: all who wait for an answer come back and ask again. The others go on where the
    /// room is next.
    pub(super) fn lose<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: HomeRoomId) {
        ctx.stats.rooms_lost += 1;
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        room.forget_joins_of_gone();
        let pending = room.take_waiting();
        room.tell_gone(ctx);
        self.drop_room(ctx, now, id);
        for op in pending.into_iter().filter(|op| op.head.conn != NOBODY) {
            // Who has joined, and is gone since, is gone at the next home too.
            if op.is_for_any_home() || matches!(op.request, OpKind::Detach) {
                self.enqueue(ctx, now, op);
            } else {
                ctx.come_back(op);
            }
        }
    }

    /// It is not at home here any more. Who has asked for it meanwhile claims it anew.
    pub(super) fn drop_room<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: HomeRoomId) {
        let Some(mut room) = self.remove(id) else {
            return;
        };
        self.logs.forget(room.log);
        self.relays.note_lost(now, &room);
        let pending = room.take_waiting();
        for op in pending.into_iter().filter(|op| op.head.conn != NOBODY) {
            self.enqueue(ctx, now, op);
        }
    }

    /// Looks at a room whose time has come.
    pub(super) fn look<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, id: HomeRoomId) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        let Some(gate) = &mut room.gate else {
            return;
        };
        if gate.phase != Phase::Open {
            room.wake_at = u64::MAX;
        }
        gate.is_stale |= gate.stale_at <= now.micros;
        gate.wanted.look(now);
        if gate.patience_until <= now.micros {
            gate.patience_until = u64::MAX;
            if gate.is_shut(ctx, now) {
                room.lose_patience(ctx, now);
            }
        }
    }
}

/// What a receiver's socket can't take at once must still fit its lane: so many bytes go out in a turn.
pub(super) fn half_a_lane<H: Host>(ctx: &Context<H>) -> usize {
    match ctx.settings.event_lane / 2 {
        0 => usize::MAX,
        most => most,
    }
}

/// `theirs`: whose the room is, and when its record said so first.
fn claim_of<H: Host>(
    ctx: &Context<H>,
    now: Now,
    room: &Room,
    theirs: Option<(HomeName, u64)>,
) -> Request {
    let cluster = ctx.cluster.of(KeyOf::Room(&room.name));
    let dead = theirs.filter(|(home, named_at)| {
        cluster.is_dead(*home, *named_at) || mutated!("takes_from_the_living")
    });
    Request::Claim(Claim {
        room: room.name.clone(),
        home: cluster.own.map_or_else(HomeName::default, |own| own.home),
        store: cluster.store,
        dead: dead.map(|(home, _)| home),
        settled: cluster.settled,
        epoch: room.epoch,
        timestamp: now.unix_ms,
        has: None,
        ends_after: KEPT,
        only_existing: room.is_only_looked_for(),
    })
}

impl Room {
    /// What it asks for to be at home here, as things are now.
    fn claim_now<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
    ) -> Option<Request> {
        let gate = self.gate.as_ref()?;
        match gate.phase {
            Phase::Opening => Some(claim_of(ctx, now, self, gate.theirs)),
            // A renewal is repeated to the same byte.
            Phase::Open if gate.is_astray && gate.renewal.is_none() => self.seek(ctx, logs, now),
            _ => None,
        }
    }

    /// The gate is shut: it is noted until when those wait who do not wait for ever.
    pub(super) fn note_patience<H: Host>(&mut self, ctx: &Context<H>) -> bool {
        let gate = self.gate.as_ref();
        if gate.is_none_or(|gate| gate.patience_until != u64::MAX) {
            return false;
        }
        let undecided = self.undecided().into_iter().flat_map(|it| it.iter());
        let waiting = undecided.chain(&self.pending);
        let oldest = waiting.filter(|op| may_be_refused(op));
        let Some(oldest) = oldest.map(|op| op.head.born).min() else {
            return false;
        };
        if let Some(gate) = &mut self.gate {
            gate.patience_until = oldest.saturating_add(micros(ctx.settings.patience));
        }
        true
    }

    fn lose_patience<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        let limit = now.micros.saturating_sub(micros(ctx.settings.patience));
        self.refuse_waiting(ctx, now, limit);
        self.note_patience(ctx);
    }

    /// Refuses what was asked before `limit`, in microseconds. None of it was done.
    fn refuse_waiting<H: Host>(&mut self, ctx: &mut Context<H>, now: Now, limit: u64) {
        ctx.hold();
        // Whose join is refused is not in the room, unless it has come back, or joins again: its leave does not wait either.
        let (mut refused, mut comes) = (HashSet::new(), HashSet::new());
        self.filter_waiting(|room, op| {
            let conn = op.head.conn;
            match &op.request {
                OpKind::Leave(leave) if refused.contains(&conn) => {
                    refuse_leave(ctx, now, &op.head, *leave);
                    ctx.accepted(conn, op.head.window);
                    return None;
                }
                OpKind::Detach if refused.contains(&conn) => return None,
                _ => {}
            }
            if op.head.born > limit || !may_be_refused(&op) {
                if matches!(op.request, OpKind::Join(_) | OpKind::Resume(_)) {
                    refused.remove(&conn);
                    comes.insert(conn);
                }
                return Some(op);
            }
            let is_out = || !comes.contains(&conn) && room.find(conn).is_none();
            if matches!(op.request, OpKind::Join(_)) && is_out() {
                refused.insert(conn);
            }
            ctx.stats.impatient += 1;
            let fault = Fault {
                retry_after_ms: TRY_AGAIN,
                ..log_unavailable()
            };
            // Whoever has asked has a patience of its own.
            match &op.request {
                OpKind::Backend(_) => answer(ctx, &op.head, None),
                _ => refuse_op(ctx, now, op, fault),
            }
            None
        });
        if let Some(gate) = &mut self.gate {
            gate.say_refused(ctx);
        }
    }

    /// While a room is shut, sessions come and go: of one that has come back several times, the last time counts. Looked
    /// at whenever twice as much waits.
    pub(super) fn merge_pending(&mut self) {
        let gate = self.gate.as_ref();
        if gate.is_none_or(|gate| self.pending.len() < gate.merge_at) {
            return;
        }
        let mut last = HashMap::new();
        let undecided = self.undecided().into_iter().flat_map(|it| it.iter());
        let mut others: HashSet<_> = undecided.map(|op| op.head.conn).collect();
        for (at, op) in self.pending.iter().enumerate() {
            match &op.request {
                OpKind::Resume(resume) => drop(last.insert(resume.client_id, at)),
                OpKind::Detach => {}
                _ => drop(others.insert(op.head.conn)),
            }
        }
        // A connection that was the session's for a while, and has asked for nothing else.
        let mut over = HashSet::new();
        let mut at = 0;
        self.pending.retain(|op| {
            at += 1;
            let conn = op.head.conn;
            match &op.request {
                OpKind::Resume(resume) => {
                    let is_over = last.get(&resume.client_id).is_some_and(|it| *it >= at)
                        && !others.contains(&conn);
                    if is_over {
                        over.insert(conn);
                    }
                    !is_over
                }
                OpKind::Detach => !over.contains(&conn),
                _ => true,
            }
        });
        if let Some(gate) = &mut self.gate {
            gate.merge_at = MERGED.max(2 * self.pending.len());
        }
    }
}

/// Whether somebody waits for it who is told when it takes too long. Who leaves, and who comes back, does so at last.
fn may_be_refused(op: &Op) -> bool {
    let asks = matches!(
        op.request,
        OpKind::Join(_)
            | OpKind::Publish(_)
            | OpKind::Presence(_)
            | OpKind::Members(_)
            | OpKind::History(_)
            | OpKind::Backend(_)
    );
    asks && op.head.conn != NOBODY
}
