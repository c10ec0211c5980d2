//! Whom the application does not let into a room: bans, and a lock.
//!
//! They are kept in the room's record, so that the next home knows them. A room that has some stays open though it is empty,
//! until they are over.

use std::collections::BTreeMap;

use roomcast_protocol::ErrorCode;

use crate::backend::{Failure, Reply};
use crate::context::{Context, Fault};
use crate::home::room::Room;
use crate::host::Host;
use crate::letter::{Leave, OpHead, ToEdge};
use crate::logs::Logs;
use crate::member::Seat;
use crate::player::PlayerNum;
use crate::store::FieldKey;
use crate::time::{Now, micros};
use crate::wire::room::{PackedRules, read_rules, write_rules};

/// Bans of one room.
const MOST_BANS: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Milliseconds since the Unix epoch; 0: it is not locked.
    locked_until: i64,
    /// The same of each user that is banned.
    bans: BTreeMap<Box<str>, i64>,
    /// Microseconds at which the next of them ends.
    look_at: u64,
}

impl Rules {
    fn is_empty(&self) -> bool {
        self.locked_until == 0 && self.bans.is_empty()
    }

    /// Drops what is over. Whether anything is left.
    fn prune(&mut self, now: Now) -> bool {
        if self.locked_until <= now.unix_ms {
            self.locked_until = 0;
        }
        self.bans.retain(|_, until| *until > now.unix_ms);
        let ends = self.bans.values().copied();
        let lock = Some(self.locked_until).filter(|until| *until > 0);
        let next = ends.chain(lock).min();
        let left = |until: i64| u64::try_from(until.saturating_sub(now.unix_ms)).unwrap_or(0);
        self.look_at = next.map_or(u64::MAX, |until| {
            now.micros.saturating_add(micros(left(until)))
        });
        !self.is_empty()
    }
}

impl Room {
    pub(super) fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Microseconds at which a ban or a lock ends.
    pub(super) fn rules_end_at(&self) -> u64 {
        self.rules.as_ref().map_or(u64::MAX, |rules| rules.look_at)
    }

    /// Milliseconds until the last of them ends.
    pub(super) fn rules_last(&self, now: Now) -> u64 {
        let rules = self.rules.as_ref();
        let last = rules.and_then(|rules| {
            let bans = rules.bans.values().copied();
            bans.chain([rules.locked_until]).max()
        });
        let left = last.map_or(0, |until| until.saturating_sub(now.unix_ms));
        u64::try_from(left).unwrap_or(0)
    }

    /// Ends bans and locks that are over.
    pub(super) fn end_rules(&mut self, now: Now) {
        if self.rules_end_at() > now.micros {
            return;
        }
        let left = self.rules.as_mut().is_some_and(|rules| rules.prune(now));
        if !left {
            self.rules = None;
        }
        self.note_rules();
    }

    fn note_rules(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.rules_changed = true;
        }
    }

    /// Why somebody may not join now.
    pub(super) fn shuts_out(
        &self,
        now: Now,
        player_id: &str,
        is_here: bool,
    ) -> Option<Fault<'static>> {
        let rules = self.rules.as_ref()?;
        let banned = rules
            .bans
            .get(player_id)
            .is_some_and(|until| *until > now.unix_ms);
        if banned {
            return Some(banned_fault());
        }
        (rules.locked_until > now.unix_ms && !is_here).then(|| {
            Fault::new(
                ErrorCode::RoomLocked,
                "the application lets nobody more into this room for a time",
            )
        })
    }

    pub(super) fn ban<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        user: &str,
        until: i64,
    ) -> Reply {
        let rules = self.rules.get_or_insert_default();
        rules.prune(now);
        if until > now.unix_ms {
            if rules.bans.len() >= MOST_BANS && !rules.bans.contains_key(user) {
                let sentence = "the room has as many bans as it may have";
                return Reply::Failed(Failure::new(ErrorCode::TooMany, sentence));
            }
            rules.bans.insert(user.into(), until);
        } else if until == 0 {
            rules.bans.remove(user);
        }
        self.rules_have_changed(now);
        match until {
            0 => Reply::Done(0),
            // One that comes when its time is over lifts no other one.
            _ => Reply::Done(self.put_out(ctx, logs, now, user, &banned_fault())),
        }
    }

    pub(super) fn lock(&mut self, now: Now, until: i64) -> Reply {
        if until == 0 || until > now.unix_ms {
            self.rules.get_or_insert_default().locked_until = until;
        }
        self.rules_have_changed(now);
        Reply::Done(0)
    }

    fn rules_have_changed(&mut self, now: Now) {
        let left = self.rules.as_mut().is_some_and(|rules| rules.prune(now));
        if !left {
            self.rules = None;
        }
        self.note_rules();
    }

    pub(super) fn kick<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        user: &str,
    ) -> Reply {
        let sentence = "the application has put you out of this room";
        let fault = Fault::new(ErrorCode::Removed, sentence);
        Reply::Done(self.put_out(ctx, logs, now, user, &fault))
    }

    /// All seats of a user end. Returns how many there were.
    fn put_out<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        user: &str,
        fault: &Fault<'_>,
    ) -> u32 {
        let of_user = self.members.iter().filter(|(_, it)| it.player_id() == user);
        let seats = of_user.flat_map(|(player, it)| it.seats.iter().map(|seat| (*player, *seat)));
        let seats = seats.collect();
        self.end_seats(ctx, logs, now, seats, fault)
    }

    /// All seats of a player end.
    pub(super) fn put_out_player<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        player: PlayerNum,
        fault: &Fault<'_>,
    ) {
        let seats = self.members.get(&player).map(|it| it.seats.clone());
        let seats = seats.into_iter().flatten().map(|seat| (player, seat));
        self.end_seats(ctx, logs, now, seats.collect(), fault);
    }

    fn end_seats<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
        seats: Vec<(PlayerNum, Seat)>,
        fault: &Fault<'_>,
    ) -> u32 {
        if seats.is_empty() {
            return 0;
        }
        // Who is out is owed no answer any more, and what was said before goes before it.
        self.flush_acks(ctx, now);
        self.seal(ctx);
        for (player, seat) in &seats {
            let (edge_room, conn) = (self.edge_room(seat.conn.shard), seat.conn);
            let fault = Fault {
                room: &self.name,
                ..*fault
            };
            let farewell = Some(ctx.error(seat.encoding, now.micros, now.unix_ms, fault));
            let left = ToEdge::Left {
                conn: conn.conn,
                edge_room,
                asked: false,
                farewell,
            };
            ctx.send_edge(conn.shard, left);
            let op = OpHead {
                conn,
                encoding: seat.encoding,
                player: *player,
                ..self.own_head(now)
            };
            let leave = Leave {
                gone: true,
                edge_room,
                client_id: seat.client_id,
            };
            self.depart(ctx, logs, now, op, leave, (*player, seat.client_id));
        }
        u32::try_from(seats.len()).unwrap_or(u32::MAX)
    }

    /// What its record is to have of them.
    pub(super) fn rules_field(&self) -> (FieldKey, Option<Box<[u8]>>) {
        let packed = self.rules.as_ref().map(|rules| {
            let mut out = Vec::new();
            let bans = rules.bans.iter().map(|(user, until)| (&**user, *until));
            let packed = PackedRules {
                locked_until: rules.locked_until,
                bans: bans.collect(),
            };
            write_rules(&mut out, &packed);
            out.into()
        });
        (FieldKey::Rules, packed)
    }

    /// Takes what a record has of them.
    pub(super) fn load_rules(
        &mut self,
        now: Now,
        bytes: &[u8],
    ) -> Result<(), crate::wire::WireError> {
        let packed = read_rules(bytes)?;
        let bans = packed.bans.into_iter();
        let mut rules = Rules {
            locked_until: packed.locked_until,
            bans: bans.map(|(user, until)| (user.into(), until)).collect(),
            look_at: 0,
        };
        self.rules = rules.prune(now).then(|| Box::new(rules));
        Ok(())
    }

    /// The log forgets its events. Members who are behind are told that they missed some.
    pub(super) fn clear_log(&mut self, logs: &mut Logs) -> Reply {
        logs.clear(self.log);
        if let Some(gate) = &mut self.gate {
            gate.must_write = true;
        }
        Reply::Done(0)
    }
}

fn banned_fault() -> Fault<'static> {
    Fault::new(
        ErrorCode::Banned,
        "the application does not let you into this room for a time",
    )
}
