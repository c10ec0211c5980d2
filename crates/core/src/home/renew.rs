//! A room whose home has another lease, or has met another store: it is claimed back, or written there.
//!
//! What the room has in memory stays, and operations go on being done as far as that may wait. Nothing leaves the room
//! meanwhile. Nobody knows whether the append under way was done: what it had goes with what is written next.

use std::collections::BTreeSet;
use std::sync::Arc;

use roomcast_protocol::mutated;

use crate::context::Context;
use crate::home::Home;
use crate::home::gate::Gate;
use crate::home::record::{KEPT, pack_member, pack_sender};
use crate::home::room::Room;
use crate::host::{Host, LogNews};
use crate::id::{ClientId, HomeRoomId};
use crate::letter::ToEdge;
use crate::log::{Epoch, Producer, Since};
use crate::logs::{LogId, Logs};
use crate::player::PlayerNum;
use crate::store::{
    Answer, Claim, Claimed, Epochs, FieldKey, Header, KeyOf, Log, Renew, Request, Store, StoreId,
    Written,
};
use crate::time::Now;
use crate::wire::events::EventWriter;

/// Bytes of a part of a renewal, and of an entry of the log in it, about.
const PART: usize = 128 * 1024;
const ENTRY: usize = 64 * 1024;

type Field = (FieldKey, Option<Box<[u8]>>);

/// What a renewal is made of.
#[derive(Debug)]
pub(super) struct Renewal {
    parts: Vec<Arc<Renew>>,
    /// Which part is under way.
    at: usize,
    /// What had changed when it was made, and the offset up to which the record had all events.
    members: BTreeSet<PlayerNum>,
    senders: Vec<ClientId>,
    appended: u64,
}

impl<S: Store> Home<S> {
    /// A room that this node still has was claimed.
    pub(super) fn claimed_back<H: Host>(
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
            Claimed::Kept(header) => room.is_back(ctx, *header),
            // The claim was asked for twice, and done the first time.
            Claimed::Loaded(record) if room.has(&record.header) => {
                room.is_back(ctx, record.header);
            }
            Claimed::Loaded(record) => {
                let name = room.name.clone();
                self.lose(ctx, now, id);
                let answer = Ok(Answer::Claim(Claimed::Loaded(record)));
                return self.release_stray(ctx, now, name, answer);
            }
            Claimed::Theirs(_) => return self.lose(ctx, now, id),
            Claimed::Unsettled | Claimed::Absent => return self.ask_again(ctx, now, id, None),
        }
        self.letting_out.push(id);
    }

    /// A part of a room was written at another store, or was not.
    pub(super) fn renewed<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        id: HomeRoomId,
        renew: &Renew,
        written: Written,
    ) {
        let Some(room) = self.rooms.get_mut(id) else {
            return;
        };
        match written {
            Written::Confirmed if renew.part.1 => {
                ctx.stats.rooms_renewed += 1;
                room.is_renewed(ctx, &renew.header);
            }
            Written::Confirmed => room.next_part(),
            // The record is not the one that this adds to, or the parts before are gone: all of it.
            Written::Incomplete => room.renew_whole(ctx, &mut self.logs, now, renew),
            // A claim of this node was done that was never answered, and nothing since: it has had a higher fence.
            Written::Refused(Some(header)) if room.was_claimed(ctx, &header) => {
                room.renew_over(ctx, &mut self.logs, &header);
            }
            Written::Refused(_) => self.lose(ctx, now, id),
            Written::Unsettled => self.ask_again(ctx, now, id, None),
        }
    }
}

impl Gate {
    /// What is under way may have been done, or not: it is to be written again, and its answer counts no more.
    pub(super) fn give_back<H>(&mut self, ctx: &mut Context<H>, logs: &mut Logs, log: LogId) {
        let renewal = self.renewal.take();
        let asked = self.take_asked();
        if let Some(renewal) = renewal {
            self.appended = renewal.appended;
            self.members.extend(renewal.members);
            self.logic.note(true);
            self.rules_changed = true;
            logs.note_changed(log, renewal.senders);
        } else if let Some(Request::Append(append)) = asked {
            self.appended = self.appended_before;
            for (key, _) in &append.fields {
                match key {
                    FieldKey::Member(player) => drop(self.members.insert(*player)),
                    FieldKey::Sender(client) => logs.note_changed(log, [*client]),
                    FieldKey::State => self.logic.note(true),
                    FieldKey::Rules => self.rules_changed = true,
                }
            }
            self.unsure = Some(append.header.clone());
            self.append_is_unsure(ctx);
        }
    }
}

impl Room {
    /// A position in the log, by any of its names: of one that has ended, up to its end.
    pub(super) fn knows(&self, since: &Since) -> bool {
        let is_it = |(epoch, end): &(Epoch, u64)| *epoch == since.epoch && since.offset <= *end;
        let tenure = self.gate.as_ref().and_then(|it| it.tenure.as_ref());
        since.epoch == self.epoch && since.offset <= self.offset
            || tenure.is_some_and(|it| it.epochs.ended.iter().any(is_it))
    }

    /// What a room asks for that has another lease, or another store.
    pub(super) fn seek<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
    ) -> Option<Request> {
        let gate = self.gate.as_ref()?;
        let cluster = ctx.cluster.at(gate.slot);
        let tenure = gate.tenure.as_ref()?;
        if tenure.store != cluster.store {
            let is_added = gate.had == tenure.fence;
            return self.renew(ctx, logs, now, is_added, None);
        }
        Some(Request::Claim(Claim {
            room: self.name.clone(),
            home: cluster.own?.home,
            store: cluster.store,
            dead: None,
            settled: cluster.settled,
            // Where a record begins with it, this room is lost.
            epoch: Epoch::from_random(ctx.host.random()),
            timestamp: now.unix_ms,
            has: Some((gate.recorded, tenure.fence)),
            ends_after: KEPT,
            only_existing: false,
        }))
    }

    /// Whether a record is what this home wrote last, by its number; or what it tried to write.
    fn has(&self, record: &Header) -> bool {
        let Some(gate) = &self.gate else {
            return false;
        };
        let name = record.epochs.current;
        let is_own = gate.tenure.as_ref().is_some_and(|it| {
            let mut ended = it.epochs.ended.iter();
            it.epochs.current == name || ended.any(|(epoch, _)| *epoch == name)
        });
        let was_tried = gate.unsure.as_ref().is_some_and(|tried| {
            let what = |it: &Header| (it.n, it.offset, it.next_player, it.timestamp);
            what(tried) == what(record)
        });
        is_own && (record.n == gate.recorded || was_tried) && record.offset <= self.offset
    }

    /// Whether a record of another store names this node, and has no more than this home wrote.
    fn was_claimed<H>(&self, ctx: &Context<H>, record: &Header) -> bool {
        let cluster = ctx.cluster.of(KeyOf::Room(&self.name));
        let own = cluster.own.map(|own| own.home.node);
        let is_own = record.home.is_some_and(|home| Some(home.node) == own);
        is_own && record.store != cluster.store && self.has(record)
    }

    /// What is asked next is a renewal with a higher fence than that record has.
    fn renew_over<H>(&mut self, ctx: &mut Context<H>, logs: &mut Logs, record: &Header) {
        let log = self.log;
        if let Some(gate) = &mut self.gate {
            gate.give_back(ctx, logs, log);
            gate.had = gate.had.max(record.fence);
        }
    }

    /// The record is this lease's, and has what this home had written.
    fn is_back<H>(&mut self, ctx: &Context<H>, header: Header) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        gate.answered();
        gate.appended = header.offset;
        gate.go_on_from(header.n);
        gate.named_for = None;
        gate.is_pending = header.pending;
        gate.had = gate.had.max(header.fence);
        if let Some((tenure, home)) = gate.tenure.as_mut().zip(header.home) {
            (tenure.home, tenure.fence, tenure.store) = (home, header.fence, header.store);
        }
        self.note_astray(ctx);
    }

    /// Everything is at the other store. It is not given out before an append is confirmed there, which ends that others may
    /// replace it by what is newer.
    fn is_renewed<H>(&mut self, ctx: &Context<H>, header: &Header) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        gate.answered();
        gate.renewal = None;
        gate.unsure = None;
        (gate.recorded, gate.is_pending, gate.must_write) = (header.n, true, true);
        if let Some((tenure, home)) = gate.tenure.as_mut().zip(header.home) {
            (tenure.home, tenure.fence, tenure.store) = (home, header.fence, header.store);
        }
        self.note_astray(ctx);
    }

    fn next_part(&mut self) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        let next = gate.renewal.as_mut().and_then(|renewal| {
            renewal.at += 1;
            renewal.parts.get(renewal.at).cloned()
        });
        if let Some(part) = next {
            gate.ask(Request::Renew(part));
        }
    }

    fn renew_whole<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        renew: &Renew,
    ) {
        let log = self.log;
        let Some(gate) = &mut self.gate else {
            return;
        };
        gate.give_back(ctx, logs, log);
        let fence = Some(renew.header.fence);
        if let Some(request) = self.renew(ctx, logs, now, false, fence)
            && let Some(gate) = &mut self.gate
        {
            gate.ask(request);
        }
    }

    /// Makes the first part of a renewal. `is_added`: only what has changed since the record was written last. `fence`: that
    /// of an earlier try, which was not done.
    fn renew<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        is_added: bool,
        fence: Option<u64>,
    ) -> Option<Request> {
        let cluster = ctx.cluster.at(self.gate.as_ref()?.slot);
        let (home, store) = (cluster.own?.home, cluster.store);
        self.name_epoch(ctx, logs, now, store);
        ctx.hold();
        let logic = self.logic_field(ctx, now, !is_added);
        self.speak(ctx, logs, now);
        let rules = self.rules_field();
        let gate = self.gate.as_mut()?;
        let tenure = gate.tenure.as_ref()?;
        let base = is_added.then_some(gate.recorded);
        gate.had = fence.unwrap_or(gate.had + 1);
        gate.made += 1;
        let header = Header {
            home: Some(home),
            fence: gate.had,
            n: gate.made,
            store,
            pending: true,
            epochs: tenure.epochs.clone(),
            offset: self.offset,
            next_player: self.next_num,
            timestamp: self.timestamp,
            counts_presence: self.counts_presence,
        };
        let appended = std::mem::replace(&mut gate.appended, self.offset);
        let members = std::mem::take(&mut gate.members);
        let version = ctx.version();
        let pack = |sender: &Producer| pack_sender(version, sender);
        let (mut fields, mut senders): (Vec<Field>, _) = (Vec::from_iter(logic), Vec::new());
        // Where all is written anew, there is nothing to take away.
        if is_added && gate.rules_changed || rules.1.is_some() {
            fields.push(rules);
        }
        gate.rules_changed = false;
        logs.take_changed(self.log, |client, sender| {
            senders.push(client);
            if is_added {
                fields.push((FieldKey::Sender(client), sender.map(pack)));
            }
        });
        if is_added {
            fields.extend(members.iter().map(|player| {
                let member = self.members.get(player);
                let packed = member.map(|it| pack_member(it, home.node));
                (FieldKey::Member(*player), packed)
            }));
        } else {
            logs.each_sender(self.log, |client, sender| {
                if !mutated!("renewal_lacks_senders") {
                    fields.push((FieldKey::Sender(client), Some(pack(sender))));
                }
            });
            fields.extend(self.members.iter().map(|(player, member)| {
                let packed = pack_member(member, home.node);
                (FieldKey::Member(*player), Some(packed))
            }));
        }
        let after = if is_added { appended } else { 0 };
        let log = entries(logs, now, self.log, after);
        let parts = parts(&self.name, &header, base, fields, log);
        let first = parts.first()?.clone();
        gate.renewal = Some(Renewal {
            parts,
            at: 0,
            members,
            senders,
            appended,
        });
        Some(Request::Renew(first))
    }

    /// At another store the log has another name. Whoever has a position of the old one may go on from it, up to here:
    /// another home may have gone on elsewhere behind that.
    fn name_epoch<H: Host>(&mut self, ctx: &mut Context<H>, logs: &Logs, now: Now, store: StoreId) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        if gate.named_for.replace(store) == Some(store) {
            return;
        }
        let Some(tenure) = &mut gate.tenure else {
            return;
        };
        let ended = &mut tenure.epochs.ended;
        ended.insert(0, (self.epoch, self.offset));
        ended.truncate(Epochs::KEPT);
        self.epoch = Epoch::from_random(ctx.host.random());
        tenure.epochs.current = self.epoch;
        let last = self.offset;
        let news = LogNews::Opened { last };
        ctx.host.log_news(now, &self.name, &self.epoch, news);
        // Edges learn of it behind all that has the old name.
        ctx.hold();
        for edge in &self.edges {
            let (edge_room, epoch) = (edge.edge_room, self.epoch);
            ctx.send_edge(edge.shard, ToEdge::Renamed { edge_room, epoch });
        }
        self.speak(ctx, logs, now);
    }
}

/// The events of a log after an offset.
fn entries(logs: &mut Logs, now: Now, log: LogId, after: u64) -> Vec<Log> {
    let mut entries = Vec::new();
    let (mut events, mut bytes, mut last) = (EventWriter::new(), 0, 0);
    let Some(log) = logs.events(now, log) else {
        return entries;
    };
    log.after(after, |event| {
        if bytes >= ENTRY {
            let full = std::mem::replace(&mut events, EventWriter::new());
            let events = full.finish().into();
            entries.push(Log { last, events });
            bytes = 0;
        }
        bytes += 64 + event.record.name.len() + event.record.payload.len();
        last = event.offset;
        events.push(&event);
        true
    });
    if bytes > 0 {
        let events = events.finish().into();
        entries.push(Log { last, events });
    }
    entries
}

/// Puts it all into parts; what is added to a record is in one.
fn parts(
    room: &Arc<str>,
    header: &Header,
    base: Option<u64>,
    fields: Vec<Field>,
    log: Vec<Log>,
) -> Vec<Arc<Renew>> {
    let empty = || Renew {
        room: room.clone(),
        header: header.clone(),
        base,
        part: (0, false),
        fields: Vec::new(),
        log: Vec::new(),
        ends_after: KEPT,
    };
    let mut parts = vec![empty()];
    let mut bytes = 0;
    let mut make_room = |parts: &mut Vec<Renew>, more: usize| {
        if bytes > 0 && bytes + more > PART && base.is_none() {
            parts.push(empty());
            bytes = 0;
        }
        bytes += more;
    };
    for entry in log {
        make_room(&mut parts, entry.events.len());
        parts
            .last_mut()
            .into_iter()
            .for_each(|it| it.log.push(entry.clone()));
    }
    for field in fields {
        make_room(&mut parts, 64 + field.1.as_ref().map_or(0, |it| it.len()));
        parts
            .last_mut()
            .into_iter()
            .for_each(|it| it.fields.push(field.clone()));
    }
    let last = parts.len() - 1;
    let numbered = parts.into_iter().enumerate().map(|(at, part)| {
        let part_number = (at as u32, at == last);
        Arc::new(Renew {
            part: part_number,
            ..part
        })
    });
    numbered.collect()
}
