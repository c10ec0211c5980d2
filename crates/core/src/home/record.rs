//! A room and its record in the store: what has changed goes into an append, and a record that was loaded becomes a room.

use std::sync::Arc;

use roomcast_protocol::mutated;

use crate::context::Context;
use crate::home::gate::{Gate, Phase, Tenure};
use crate::home::publish::NOBODY;
use crate::home::room::Room;
use crate::host::{Host, LogNews};
use crate::log::{Producer, Retention};
use crate::logs::Logs;
use crate::member::{Member, Seat};
use crate::player::{PlayerBody, PlayerNum};
use crate::store::{Append, FieldKey, Header, Log, NodeId, RoomRecord};
use crate::time::{Now, micros};
use crate::wire::events::{EventWriter, read_events};
use crate::wire::room::{
    PackedMember, PackedSeat, read_member, read_sender, write_member, write_sender,
};
use crate::wire::version::Version;

/// Milliseconds for which a record is kept that nothing is written to. A room that is open writes in less.
pub(super) const KEPT: u64 = 24 * 3_600_000;

impl Room {
    /// Milliseconds for which its record is kept that nothing is written to: as long as its bans and its lock, at least.
    pub(super) fn kept(&self, now: Now) -> u64 {
        KEPT.max(self.rules_last(now))
    }

    /// A member has changed, in what its record has of it.
    pub(super) fn touch(&mut self, player: PlayerNum) {
        if let Some(gate) = &mut self.gate {
            gate.members.insert(player);
        }
    }

    /// Whether something was done that no append has.
    pub(super) fn has_changed(&self, logs: &Logs) -> bool {
        self.gate.as_ref().is_some_and(|gate| {
            gate.phase == Phase::Open
                && (gate.appended != self.offset
                    || !gate.members.is_empty()
                    || gate.is_stale
                    || gate.must_write
                    || gate.rules_changed
                    || gate.is_astray
                    || gate.logic.is_to_be_written()
                    || logs.has_changed(self.log))
        })
    }

    /// What was said since [`Context::hold`] goes on its way, or waits.
    pub(super) fn speak<H: Host>(&mut self, ctx: &mut Context<H>, logs: &Logs, now: Now) {
        let changed = self.has_changed(logs);
        if let Some(gate) = &mut self.gate {
            gate.say(ctx, now, changed);
        }
    }

    /// Whether an append can be made now of what has changed.
    pub(super) fn writes<H>(&self, ctx: &Context<H>, logs: &Logs) -> bool {
        self.may_write(ctx) && self.has_changed(logs)
    }

    /// Whether an append could be made now.
    pub(super) fn may_write<H>(&self, ctx: &Context<H>) -> bool {
        let may = |gate: &Gate| {
            let may = !gate.is_asking() && !gate.is_astray && gate.tenure.is_some();
            // Others may still replace a record that is pending: what is done meanwhile goes with one append.
            let cluster = ctx.cluster.at(gate.slot);
            may && cluster.own.is_some() && (!gate.is_pending || cluster.settled)
        };
        self.gate.as_ref().is_some_and(|gate| may(gate))
    }

    /// Whether so much waits that it writes at once.
    pub(super) fn is_half_full<H>(&self, ctx: &Context<H>) -> bool {
        let gate = self.gate.as_ref();
        gate.is_some_and(|gate| gate.is_half_full(ctx))
    }

    /// Whether it begins to wait until the rooms of the shard write.
    pub(super) fn gathers<H>(&mut self, ctx: &Context<H>, logs: &Logs) -> bool {
        let writes = self.writes(ctx, logs);
        let gate = self.gate.as_mut().filter(|_| writes);
        gate.is_some_and(|gate| !std::mem::replace(&mut gate.gathers, true))
    }

    /// Puts what has changed into the next append, unless one is under way.
    pub(super) fn write<H: Host>(&mut self, ctx: &mut Context<H>, logs: &mut Logs, now: Now) {
        if !self.writes(ctx, logs) {
            return;
        }
        let rules = self.gate.as_ref().filter(|gate| gate.rules_changed);
        let rules = rules.map(|_| self.rules_field());
        let kept = self.kept(now);
        let Some(gate) = &mut self.gate else {
            return;
        };
        let cluster = ctx.cluster.at(gate.slot);
        let Some(own) = cluster.own else {
            return;
        };
        let (settled, version) = (cluster.settled, ctx.version());
        let logic = gate.logic.take_field();
        let Some(tenure) = &gate.tenure else {
            return;
        };
        let mut fields: Vec<_> = logic.into_iter().collect();
        fields.extend(rules);
        for player in &gate.members {
            let member = self.members.get(player);
            let packed = member.map(|member| pack_member(member, own.home.node));
            fields.push((FieldKey::Member(*player), packed));
        }
        logs.take_changed(self.log, |client, sender| {
            let packed = sender.map(|sender| pack_sender(version, sender));
            if !mutated!("append_lacks_senders") {
                fields.push((FieldKey::Sender(client), packed));
            }
        });
        let (mut events, mut any, mut first) = (EventWriter::new(), false, self.offset + 1);
        if let Some(log) = logs.events(now, self.log) {
            first = log.first();
            log.after(gate.appended, |event| {
                any = true;
                events.push(&event);
                true
            });
        }
        let append = Append {
            room: self.name.clone(),
            header: Header {
                home: Some(tenure.home),
                fence: tenure.fence,
                n: gate.made + 1,
                store: tenure.store,
                pending: false,
                epochs: tenure.epochs.clone(),
                offset: self.offset,
                next_player: self.next_num,
                timestamp: self.timestamp,
                counts_presence: self.counts_presence,
            },
            settled,
            fields,
            log: any.then(|| Log {
                last: self.offset,
                events: events.finish().into(),
            }),
            first,
            ends_after: kept,
        };
        let stale_at = now.micros.saturating_add(micros(KEPT / 3));
        gate.append(ctx, Arc::new(append), self.offset, stale_at);
    }

    /// Becomes what a record says. `None`: logs have no memory left for it.
    pub(super) fn load<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        record: RoomRecord,
    ) -> Option<()> {
        let RoomRecord {
            header,
            fields,
            log,
        } = record;
        let retention = self.retention(ctx);
        let grace = retention.grace;
        self.log = logs.load(now, &self.name, retention, header.epochs.current)?;
        let mut unread = 0;
        for entry in log {
            let read = read_events(&entry.events, entry.last, |event| {
                logs.load_event(now, self.log, &event);
            });
            unread += u64::from(read.is_err());
        }
        logs.load_end(self.log, header.offset, header.timestamp);
        self.epoch = header.epochs.current;
        self.offset = header.offset;
        self.timestamp = header.timestamp.max(now.unix_ms);
        self.syncer.begin_after_another_home(header.fence);
        self.next_num = match mutated!("load_counts_players_anew") {
            true => 1,
            false => header.next_player.max(1),
        };
        self.counts_presence = header.counts_presence;
        let news = LogNews::Opened {
            last: header.offset,
        };
        ctx.host.log_news(now, &self.name, &self.epoch, news);
        let (mut senders, mut logic) = (Vec::new(), None);
        for (key, bytes) in fields {
            let read = match key {
                FieldKey::Member(player) => read_member(&bytes).map(|packed| {
                    if !mutated!("load_forgets_members") {
                        // It may be old, and its sessions may have been connected until now: each has all its grace.
                        let until = now.micros.saturating_add(micros(grace));
                        self.load_member(ctx, player, packed, until);
                    }
                }),
                FieldKey::Sender(client) => {
                    read_sender(&bytes).map(|sender| senders.push((client, sender)))
                }
                FieldKey::Rules => self.load_rules(ctx, now, &bytes),
                FieldKey::State => {
                    logic = Some(bytes);
                    Ok(())
                }
            };
            unread += u64::from(read.is_err());
        }
        ctx.stats.records_unread += unread;
        let gate = self.gate.as_mut()?;
        if mutated!("load_forgets_senders") {
            senders.clear();
        }
        for (client, sender) in senders {
            let present = gate.orphans.contains(client);
            logs.load_sender(self.log, client, sender, present);
        }
        (gate.made, gate.confirmed, gate.recorded) = (header.n, header.n, header.n);
        gate.had = header.fence;
        gate.appended = header.offset;
        gate.answered();
        gate.stale_at = now.micros.saturating_add(micros(KEPT / 3));
        gate.tenure = header.home.map(|home| Tenure {
            home,
            fence: header.fence,
            store: header.store,
            epochs: header.epochs,
        });
        gate.phase = Phase::Open;
        self.load_logic(ctx, now, logic.as_deref());
        Some(())
    }

    /// How much is kept of the log.
    pub(super) fn retention<H: Host>(&self, ctx: &Context<H>) -> Retention {
        Retention {
            grace: ctx.settings.session_grace,
            ..self.entry.kind.retention
        }
    }

    fn load_member<H: Host>(
        &mut self,
        ctx: &Context<H>,
        player: PlayerNum,
        packed: PackedMember,
        until: u64,
    ) {
        let Some(gate) = &mut self.gate else {
            return;
        };
        let seats = packed.seats.iter().map(|seat| Seat {
            conn: NOBODY,
            encoding: seat.encoding,
            client_id: seat.client_id,
            connected: false,
        });
        let member = Member {
            seats: seats.collect(),
            user_id: packed.user_id,
            nickname: packed.nickname,
            presence: packed.presence,
            presence_version: 0,
            body: PlayerBody::default(),
            body_version: 0,
            changed: false,
        };
        if member.seats.is_empty() {
            return;
        }
        for seat in &member.seats {
            gate.put_orphan(seat.client_id, player, until);
            gate.players.insert(seat.client_id, player);
        }
        self.add_user(ctx, player, &member.user_id);
        self.members.insert(player, member);
    }
}

pub(super) fn pack_sender(version: Version, sender: &Producer) -> Box<[u8]> {
    let mut out = Vec::new();
    write_sender(&mut out, version, sender);
    out.into()
}

pub(super) fn pack_member(member: &Member, own: NodeId) -> Box<[u8]> {
    let mut out = Vec::new();
    let texts = (&*member.user_id, &*member.nickname, &*member.presence);
    let seats = member.seats.iter().map(|seat| PackedSeat {
        client_id: seat.client_id,
        encoding: seat.encoding,
        node: own,
    });
    write_member(&mut out, texts, seats);
    out.into()
}
