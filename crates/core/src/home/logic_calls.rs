//! A room calls its logic, does what that asks for, and is closed when it panics.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use roomcast_protocol::ErrorCode;

use crate::context::{Context, Fault};
use crate::home::publish::NOBODY;
use crate::home::room::Room;
use crate::home::state_sync::StateSyncer;
use crate::host::{Encoding, Host, Notice};
use crate::letter::{Op, OpKind, ToEdge};
use crate::logic::{Effect, RoomContext, RoomLogic, RoomParts};
use crate::logs::Logs;
use crate::member::Seat;
use crate::player::PlayerNum;
use crate::time::{Now, micros};

/// Somebody whom logic wants out of the room.
#[derive(Debug)]
pub(super) struct Kick {
    player: PlayerNum,
    reason: Box<str>,
    /// Events of the room's own that waited when it was said, and go first.
    behind: usize,
}

impl Room {
    /// Runs logic within its budget, then does what it asked for. A panic closes the room, not the server.
    pub(super) fn with_logic<H: Host, T>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        call: impl FnOnce(&mut dyn RoomLogic, &mut RoomContext<'_>) -> T,
    ) -> Option<T> {
        self.note_logic(true);
        self.with_logic_aside(ctx, now, call)
    }

    /// The same, where nobody is told of more than the next `sync` shows: a store may get that later.
    pub(super) fn with_logic_aside<H: Host, T>(
        &mut self,
        ctx: &mut Context<H>,
        now: Now,
        call: impl FnOnce(&mut dyn RoomLogic, &mut RoomContext<'_>) -> T,
    ) -> Option<T> {
        let mut effects = Vec::new();
        let result = self.call_logic(ctx, now, &mut effects, call);
        self.note_logic(!effects.is_empty());
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
            clock: self.clock,
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
                Effect::Kick { player, reason } => {
                    let is_own = |op: &&Op| op.head.conn == NOBODY;
                    let behind = self.pending.iter().filter(is_own).count();
                    let kick = Kick {
                        player,
                        reason,
                        behind,
                    };
                    self.push_kick(kick);
                }
            }
        }
    }

    /// Puts those out whom logic wants out. Logic hears of it, and may want more: so it is done after each call, and not in
    /// it. Events that were sent before go first.
    pub(super) fn put_out_kicked<H: Host>(
        &mut self,
        ctx: &mut Context<H>,
        logs: &mut Logs,
        now: Now,
    ) {
        while let Some(kick) = self.kicks().and_then(VecDeque::pop_front) {
            for _ in 0..kick.behind {
                let at = self.pending.iter().position(|op| op.head.conn == NOBODY);
                let own = at.and_then(|at| self.pending.remove(at));
                let Some(Op { head, request }) = own else {
                    break;
                };
                if let OpKind::Publish(publish) = request {
                    self.publish(ctx, logs, now, head, publish);
                }
            }
            for later in self.kicks().into_iter().flatten() {
                later.behind = later.behind.saturating_sub(kick.behind);
            }
            let fault = Fault::new(ErrorCode::Removed, &kick.reason);
            self.put_out_player(ctx, logs, now, kick.player, &fault);
        }
    }

    /// The time that logic asked for has come.
    pub(super) fn wake<H: Host>(&mut self, ctx: &mut Context<H>, now: Now) {
        if self.wake_at <= now.micros {
            if self.waits_for_link(ctx) || self.is_shut(ctx, now) {
                let tick = micros(self.entry.kind.tick.max(1));
                self.wake_at = now.micros.saturating_add(tick);
                return;
            }
            self.wake_at = u64::MAX;
            self.with_logic_aside(ctx, now, |logic, room| logic.wake(room));
        }
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
        let players: Vec<_> = self.members.iter().map(|(player, _)| *player).collect();
        for player in players {
            self.touch(player);
            let Some(member) = self.members.remove(&player) else {
                continue;
            };
            for seat in &member.seats {
                self.dismiss(ctx, now, seat);
            }
            if let Some(seat) = member.seats.first() {
                self.tell_left(ctx, now, (player, &member), seat.client_id);
            }
        }
        self.users.clear();
        if let Some(kicks) = self.kicks() {
            kicks.clear();
        }
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
}
