//! A room's logic in its record: saved with an append, so that the next home goes on from there.
//!
//! What a numbered message did, and all that somebody is told of, goes with the append that has the rest of it. What only
//! the next `sync` shows, such as moves without a number, goes with an append that is made anyway, and not with each; or
//! with one of its own after a while.

use crate::context::Context;
use crate::home::room::Room;
use crate::host::{Host, Notice};
use crate::logic::SAVED_LOGIC;
use crate::logs::Logs;
use crate::player::PlayerBody;
use crate::store::FieldKey;
use crate::time::{Now, micros};
use crate::wire::room::{PackedLogic, read_logic, write_logic};

/// Milliseconds for which appends go without what may be written later.
const LATER: u64 = 1_000;
/// Milliseconds after which an append is made for that alone.
const ALONE: u64 = 5_000;

type Field = (FieldKey, Option<Box<[u8]>>);

/// What a room's record has of its logic.
#[derive(Debug, Default)]
pub(super) struct LogicRecord {
    /// Logic was called since it was saved.
    has_run: bool,
    /// What it did then goes with the next append.
    is_due: bool,
    /// For the append that is made next.
    field: Option<Field>,
    /// The record may have something of it.
    is_recorded: bool,
    /// Microseconds.
    saved_at: u64,
    /// It said that it has nothing to save.
    saves_nothing: bool,
}

impl LogicRecord {
    pub(super) fn note(&mut self, is_due: bool) {
        self.has_run = true;
        self.is_due |= is_due;
    }

    /// Whether the next append has something of it.
    pub(super) fn is_to_be_written(&self) -> bool {
        self.field.is_some()
    }

    /// Microseconds at which it is saved though nothing else is written; `u64::MAX`: not at all.
    pub(super) fn due_at(&self) -> u64 {
        match self.has_run && !self.saves_nothing {
            true => self.saved_at.saturating_add(micros(ALONE)),
            false => u64::MAX,
        }
    }

    /// It can't be saved now.
    fn put_off(&mut self, now: Now) {
        if self.due_at() <= now.micros {
            self.saved_at = now.micros.saturating_sub(micros(ALONE - LATER));
        }
    }

    pub(super) fn take_field(&mut self) -> Option<Field> {
        self.field.take()
    }
}

impl Room {
    /// Logic is called. `is_due`: what comes of it must be in the record before anybody hears of it.
    pub(super) fn note_logic(&mut self, is_due: bool) {
        if let Some(gate) = self.gate.as_mut().filter(|_| self.logic.is_some()) {
            gate.logic.note(is_due);
        }
    }

    /// Saves logic for the append that is about to be made, if the room `writes`.
    pub(super) fn save_logic<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &Logs,
        now: Now,
        writes: bool,
    ) {
        let Some(gate) = self.gate.as_ref().filter(|gate| gate.logic.has_run) else {
            return;
        };
        let later = gate.logic.saved_at.saturating_add(micros(LATER));
        let goes_along = gate.logic.is_due || later <= now.micros;
        let goes_alone = gate.gives_up || gate.logic.due_at() <= now.micros;
        let goes_along = goes_along && writes && self.writes(ctx, logs);
        let goes_alone = goes_alone && self.may_write(ctx);
        if !(goes_along || goes_alone) {
            if let Some(gate) = &mut self.gate {
                gate.logic.put_off(now);
            }
            return;
        }
        let field = self.logic_field(ctx, now, false);
        if let Some(gate) = &mut self.gate {
            gate.logic.field = field;
        }
    }

    /// What is to be written of logic as it is now. `anew`: the record has nothing.
    pub(super) fn logic_field<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        anew: bool,
    ) -> Option<Field> {
        // An empty room ends, and its logic with it.
        let saved = match self.members.is_empty() {
            true => None,
            false => self.call_logic(ctx, now, &mut Vec::new(), |logic, _| logic.save()),
        };
        let saved = saved.flatten();
        let saves_nothing = saved.is_none();
        let packed = saved.map(|logic| self.pack_logic(now, &logic));
        let size = packed.as_ref().map_or(0, |it| it.len());
        if size > SAVED_LOGIC {
            ctx.host.notice(Notice::LogicTooLarge {
                kind: &self.entry.kind.name,
                bytes: size,
            });
        }
        let packed = packed.filter(|_| size <= SAVED_LOGIC);
        let record = &mut self.gate.as_mut()?.logic;
        let had = std::mem::replace(&mut record.is_recorded, packed.is_some()) && !anew;
        (record.has_run, record.is_due, record.saved_at) = (false, false, now.micros);
        record.saves_nothing = saves_nothing;
        (packed.is_some() || had).then_some((FieldKey::State, packed))
    }

    fn pack_logic(&self, now: Now, logic: &[u8]) -> Box<[u8]> {
        let clock = (now.micros / 1_000).saturating_add_signed(self.clock);
        let wake_in = self.wake_at.checked_sub(now.micros).map(|it| it / 1_000);
        let wake_in = wake_in.filter(|_| self.wake_at != u64::MAX);
        let bodies = self.members.iter().map(|(player, it)| (*player, it.body));
        let packed = PackedLogic {
            clock,
            unix_ms: now.unix_ms,
            wake_in,
            bodies: bodies
                .filter(|(_, it)| *it != PlayerBody::default())
                .collect(),
            logic,
        };
        let mut out = Vec::new();
        write_logic(&mut out, &packed);
        out.into()
    }

    /// The room was loaded: its logic goes on from what was saved, or begins anew.
    pub(super) fn load_logic<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        saved: Option<&[u8]>,
    ) {
        if let Some(gate) = &mut self.gate {
            (gate.logic.is_recorded, gate.logic.saved_at) = (saved.is_some(), now.micros);
        }
        let read = saved.filter(|_| !self.members.is_empty()).map(read_logic);
        if matches!(read, Some(Err(_))) {
            ctx.stats.records_unread += 1;
        }
        let goes_on = match read {
            Some(Ok(packed)) => self.take_logic(ctx, now, &packed),
            _ => false,
        };
        let players: Vec<_> = self.members.iter().map(|(player, _)| *player).collect();
        for player in players {
            self.note_newcomer(player);
            if !goes_on {
                self.with_logic(ctx, now, |logic, room| logic.join(room, player));
            }
        }
        self.note_changes();
    }

    /// Whether logic takes what was saved.
    fn take_logic<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        packed: &PackedLogic<'_>,
    ) -> bool {
        // The room's clock has gone on meanwhile. Where clocks of nodes differ it does not go back.
        let since = u64::try_from(now.unix_ms - packed.unix_ms).unwrap_or(0);
        let clock = packed.clock.saturating_add(since);
        self.clock = i64::try_from(clock).unwrap_or(i64::MAX) - (now.micros / 1_000) as i64;
        for (player, body) in &packed.bodies {
            if let Some(member) = self.members.get_mut(player) {
                member.body = *body;
            }
        }
        if let Some(wake_in) = packed.wake_in {
            let wake_in = wake_in.saturating_sub(since);
            self.wake_at = now.micros.saturating_add(micros(wake_in));
        }
        let load = self.with_logic(ctx, now, |logic, room| logic.load(room, packed.logic));
        if load != Some(true) {
            (self.clock, self.wake_at) = (0, u64::MAX);
            for (_, member) in self.members.iter_mut() {
                member.body = PlayerBody::default();
            }
        }
        load == Some(true)
    }
}
